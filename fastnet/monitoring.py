"""What is looked at after every epoch of a fit: metrics, the cost of examples held out, and callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnet.callbacks import AnyCallback, Callback
from fastnet.data import Data
from fastnet.engine import Run
from fastnet.history import History
from fastnet.kernels import codes
from fastnet.metrics import compute

if TYPE_CHECKING:
    from fastnet.model import Model


def start_callbacks(callbacks: tuple[AnyCallback, ...], metrics: tuple[str, ...], validated: bool) -> None:
    """Tell the callbacks what the logs of a fit will hold; ValueError if one cannot do with that."""
    names: tuple[str, ...] = ("cost", *metrics)
    if validated:
        names = (*names, *(f"val_{name}" for name in names))
    for callback in callbacks:
        if isinstance(callback, Callback):
            callback.start(names)


class Watch:
    """Fills the history, epoch by epoch, and calls the callbacks.

    Parameters
    ----------
    model : Model
    run : Run
        The run that trains; with outputs, if there are metrics.
    history : History
        Filled.
    metrics : tuple of str
    held_out : Data or None
        Examples to validate with.
    callbacks : tuple of callables
    """

    def __init__(
        self,
        model: Model,
        run: Run,
        history: History,
        metrics: tuple[str, ...],
        held_out: Data | None,
        callbacks: tuple[AnyCallback, ...],
    ) -> None:
        self.model, self.run, self.history = model, run, history
        self.metrics, self.callbacks = metrics, callbacks
        self.activation = model.output_layer.activation
        self.held_out: Run | None = None
        if held_out is not None:
            self.held_out = Run(
                run.network,
                run.parameters,
                held_out.X,
                held_out.y,
                mode=codes.COST,
                weights=held_out.weights,
                with_outputs=bool(metrics),
                cores=run.team.threads,
            )
        for name in metrics:
            history.metrics[name] = []
            if self.held_out:
                history.metrics[f"val_{name}"] = []

    def after_epoch(self) -> str:
        """Record the epoch just finished, and call the callbacks; return why the fit should end, or ""."""
        run, epoch = self.run, self.run.finished_epochs - 1
        logs = {"cost": float(run.costs[epoch]), **compute(self.metrics, run.outputs, run.y, self.activation)}
        if self.held_out:
            logs["val_cost"] = self.held_out.cost()
            found = compute(self.metrics, self.held_out.outputs, self.held_out.y, self.activation)
            logs.update({f"val_{name}": value for name, value in found.items()})
        self.history.record(logs)
        reason, before = "", self.model.optimizer
        for callback in self.callbacks:
            if callback(self.model, epoch, dict(logs)) is True:
                reason = "early_stopping" if isinstance(callback, Callback) else "callback"
        optimizer = self.model.optimizer
        if optimizer is not before:
            if optimizer.code != before.code or (optimizer.clip_norm is None) != (before.clip_norm is None):
                raise ValueError(
                    f"A callback gave the model the optimizer {optimizer!r}, which is of another kind than {before!r}. "
                    "Within a fit, only numbers such as its learning rate may change."
                )
            run.use(optimizer)
        return reason

    @property
    def may_have_changed_something(self) -> bool:
        """Whether callbacks may have changed parameters or the learning rate, which a repeated run would not."""
        return bool(self.callbacks)

    def finish(self) -> None:
        """Tell the callbacks that the fit has ended."""
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                callback.finish(self.model)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *error: object) -> None:
        if self.held_out:
            self.held_out.__exit__(*error)
