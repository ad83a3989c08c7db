"""What is looked at after every epoch of a fit: metrics, the cost of examples held out, and callbacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnet.callbacks import (
    AnyCallback,
    AnyModel,
    Callback,
    Checkpoint,
    EarlyStopping,
    Pruning,
    ReduceOnPlateau,
    TimeLimit,
    finish,
)
from fastnet.engine.run import Run
from fastnet.history import History
from fastnet.metrics import compute
from fastnet.scaling import in_units

CHANGE_NOTHING = (Checkpoint, EarlyStopping, Pruning, ReduceOnPlateau, TimeLimit)
"""The callbacks that change no parameter between epochs; a subclass of one may."""


def check_callbacks(callbacks: tuple[AnyCallback, ...], metrics: tuple[str, ...], validated: bool) -> None:
    """Raise ValueError if a callback cannot do with what the logs of a fit will hold."""
    names: tuple[str, ...] = ("cost", *metrics)
    if validated:
        names = (*names, *(f"val_{name}" for name in names))
    for callback in callbacks:
        if isinstance(callback, Callback):
            callback.check(names)


@dataclass
class Watch:
    """Fills the history, epoch by epoch, and calls the callbacks.

    `run` trains, and `validation` validates, with outputs if there are metrics; whoever made them ends them.
    """

    model: AnyModel
    run: Run
    history: History
    metrics: tuple[str, ...]
    validation: Run | None
    callbacks: tuple[AnyCallback, ...]
    changed_something: bool = False
    """Whether a callback may have changed, after the last epoch, what repeating the run would not change."""

    def __post_init__(self) -> None:
        self.activation = self.model.output_layer.activation
        for name in self.metrics:
            self.history.metrics[name] = []
            if self.validation:
                self.history.metrics[f"val_{name}"] = []
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                callback.start(self.model)

    def after_epoch(self) -> str:
        """Record the epoch just finished, and call the callbacks; return why the fit should end, or ""."""
        run, epoch = self.run, self.run.finished_epochs - 1
        self.model.epochs_finished = run.first_epoch + run.finished_epochs  # for who copies or saves it in a callback
        logs = {"cost": run.costs_of(epoch, epoch + 1)[0], **self.metrics_of(run)}
        self.history.record(logs)
        if self.validation:
            cost = self.validation.cost()
            found = {"cost": cost, **self.metrics_of(self.validation)}
            of_held_out = {f"val_{name}": value for name, value in found.items()}
            self.history.record(of_held_out)
            logs |= of_held_out
        reason, optimizer = "", self.model.optimizer
        for callback in self.callbacks:
            answer = callback(self.model, epoch, dict(logs))
            if isinstance(answer, (bool, np.bool_)) and answer:
                reason = callback.reason if isinstance(callback, Callback) else Callback.reason
        if run.ranks is not None:
            reason = run.ranks.first_text(reason)
        self.changed_something = any(type(callback) not in CHANGE_NOTHING for callback in self.callbacks)
        if self.model.optimizer is not optimizer:
            run.use(self.model.optimizer)
            self.changed_something = True
        return reason

    def metrics_of(self, run: Run) -> dict[str, float]:
        """Return the metrics of what a run has found, on the scale of y."""
        if not self.metrics:
            return {}
        return compute(self.metrics, *in_units(self.model.y_scales, *run.results), self.activation)

    def finish(self) -> None:
        """Tell the callbacks that the fit has ended."""
        for callback in self.callbacks:
            if isinstance(callback, EarlyStopping) and callback.restore_best:
                self.history.kept_epoch = callback.best_epoch
        finish(self.callbacks, self.model)
