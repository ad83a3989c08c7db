"""What can be done after each epoch: stop early, in time or pruned, lower the rate, write a checkpoint; or any."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from fastnet import checks, words
from fastnet.layers import Dense
from fastnet.losses import AnyLoss
from fastnet.metrics import METRICS
from fastnet.optimizers import Optimizer
from fastnet.scaling import Scales

Logs = Mapping[str, float]
AnyCallback = Callable[[Any, int, Logs], Any]
"""A function of the model, the epoch and its logs."""


class AnyModel(Protocol):
    """The part of a `Model` that fastnet's own callbacks work with, and pictures."""

    dtype: np.dtype
    loss: AnyLoss
    output_layer: Dense
    optimizer: Optimizer
    epochs_finished: int
    y_scales: Scales | None

    @property
    def parameters(self) -> np.ndarray:
        """All parameters as one flat vector; writable."""

    def forward(self, X: Any) -> np.ndarray:
        """Return A_L (m, n_L) for X (m, n_x)."""


class Callback(metaclass=words.Helpful):
    """A callback that is told when a fit starts and ends as well; for anything else, a function will do."""

    reason: ClassVar[str] = "callback"
    """`History.stopped_reason` of a fit that it ends."""

    def check(self, names: Collection[str]) -> None:
        """Refuse, by a ValueError, a fit whose logs will have those names, if it cannot be worked with."""

    def start(self, model: Any) -> None:
        """Get ready for a fit of a model, which is built by now."""

    def __call__(self, model: Any, epoch: int, logs: Logs) -> bool | None:
        """Do something after an epoch, counted from 0 in each fit; True ends the fit."""
        raise NotImplementedError

    def finish(self, model: Any) -> None:
        """Do something after the last epoch, unless the fit ended by an error or Ctrl-C; fit raises what this does."""

    def state(self) -> dict[str, Any]:
        """Return what it must know to go on after a kill, for a `Checkpoint`: arrays, and what JSON has, by name."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take that over from a checkpoint, after `start`; ValueError, TypeError or KeyError if it is not right."""


class Checkpoint(Callback):
    """Write where a fit stands to files in a folder, from which `fit(resume=folder)` goes on, to the bit.

    Parameters, the optimizer's memory, schedules, the order of the epoch, callbacks and history. Killed at any moment,
    and resumed in another process, on any number of threads, a fit ends with the parameters that it would have had. A
    file is on the disk, whole, before training goes on. One is written when the fit ends, too.

    Parameters
    ----------
    path : str or os.PathLike
        The folder, which is made: it holds checkpoint-00000001.fastnet and so on, which `fastnet.load` reads too.
    every : int, default 1
        Epochs from one to the next.
    keep : int, default 3
        So many of the newest are kept, and older ones deleted.
    batches : int or None
        Write one after so many batches within an epoch as well, and after each epoch: for epochs that take long.
    most_time : float, default 0.03
        The part of the time of a fit that writing may take, waiting for the disk included: where one that is due would
        make it more, it is left to a later one. (Ten epochs of a small network take a millisecond, and so may the
        disk.) 1.0: write every one that is due.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.

    Notes
    -----
    Of callbacks that are functions nothing is saved; of a `Callback` of your own, what its `state` returns.

    Examples
    --------
    >>> model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], seed=0)
    >>> history = model.fit(X, y, epochs=3, callbacks=Checkpoint("run"))

    And, after a kill, in another process:

    >>> model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], seed=0)
    >>> model.fit(X, y, epochs=5, callbacks=Checkpoint("run"), resume="run").epochs
    5
    """

    def __init__(
        self, path: Any, every: int = 1, keep: int = 3, *, batches: int | None = None, most_time: float = 0.03
    ) -> None:
        self.folder = Path(checks.path(path, "path"))
        self.every = checks.positive_integer(every, "every")
        self.keep = checks.positive_integer(keep, "keep")
        self.batches = None if batches is None else checks.positive_integer(batches, "batches")
        self.most_time = checks.real_number(
            most_time, "most_time", "a number above 0, and at most 1", low=math.ulp(0.0)
        )
        if self.most_time > 1:
            raise ValueError(f"most_time must be a number above 0, and at most 1, not {most_time!r}.")

    def __call__(self, model: Any, epoch: int, logs: Logs) -> None:
        """Do nothing: `Model.fit` writes the file, when all callbacks were called."""

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in ("every", "keep", "batches", "most_time"))
        return f"Checkpoint({str(self.folder)!r}, {settings})"


class Monitor(Callback):
    """A callback that looks at one of the logged values, `monitor`."""

    shown: ClassVar[tuple[str, ...]]
    """The settings that a printed one shows."""

    def __init__(self, monitor: str) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a logged value, such as 'val_cost', not {monitor!r}.")
        self.monitor = words.logged(monitor)

    def check(self, names: Collection[str]) -> None:
        """Refuse a fit that does not log what is monitored."""
        if self.monitor not in names:
            remedy = ""
            if self.monitor.startswith("val_") and "val_cost" not in names:
                remedy = " Pass validation_data or validation_split to fit, or monitor='cost'."
            elif self.monitor.removeprefix("val_") in METRICS:
                remedy = f" Pass metrics=[{self.monitor.removeprefix('val_')!r}] to fit."
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor!r}, but this fit logs only "
                f"{', '.join(map(repr, names))}.{remedy}"
            )

    @property
    def higher_is_better(self) -> bool:
        """Which way is up; `val_score` is what the estimators of fastnet.sklearn log, by scikit-learn's scorers."""
        metric = METRICS.get(self.monitor.removeprefix("val_"))
        return self.monitor == "val_score" or (metric is not None and metric.higher_is_better)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.shown)})"


class Waiting(Monitor):
    """A callback that waits for a logged value to improve.

    Attributes
    ----------
    best : float or None
        The best value so far in this fit, or in the last.
    best_epoch : int or None
        Its epoch, counted from 0.
    """

    def __init__(self, monitor: str, patience: int, min_delta: float) -> None:
        super().__init__(monitor)
        self.patience = checks.positive_integer(patience, "patience")
        self.min_delta = checks.non_negative_number(min_delta, "min_delta")
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0

    def start(self, model: AnyModel) -> None:
        """Forget the fit before."""
        self.best = self.best_epoch = None
        self.waited = 0

    def note(self, epoch: int, logs: Logs) -> bool:
        """Take an epoch's value in; return whether it is better than the best before by more than min_delta.

        NaN is no improvement; nor is one waited for before there was a number at all, as where a metric has no value.
        """
        value = logs[self.monitor]
        gain = math.inf
        if self.best is not None:
            gain = value - self.best if self.higher_is_better else self.best - value
        if gain > self.min_delta and not math.isnan(value):
            self.best, self.best_epoch, self.waited = value, epoch, 0
            return True
        self.waited += self.best is not None
        return False

    def state(self) -> dict[str, Any]:
        """Return the best value so far, and how long it has not improved."""
        found = {"best_epoch": self.best_epoch, "waited": self.waited}
        return found if self.best is None else found | {"best": np.array(self.best)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them over from a checkpoint."""
        epoch, best = state["best_epoch"], state.get("best")
        self.best_epoch = None if epoch is None else checks.non_negative_integer(epoch, "best_epoch")
        self.best = None if best is None else float(best)
        self.waited = checks.non_negative_integer(state["waited"], "waited")


class EarlyStopping(Waiting):
    """End the fit when a value has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default "val_cost"
        "cost", "val_cost" or a metric of the fit, such as "val_accuracy"; metrics of which more is better must rise. Of
        all but "log_loss", the same epoch is best on every machine.
    patience : int, default 10
        Stop after so many epochs in a row without improvement, at least 1.
    min_delta : float, default 0.0
        An improvement is one by more than this.
    restore_best : bool, default True
        At the end of the fit, however many epochs it had, bring back the parameters that had the best value: those
        after the best epoch or, if a value of training is monitored, those it began with. Not after an error or Ctrl-C.
    ties : "first" or "last", default "first"
        Which of epochs with the very same best value is kept, as `best_epoch`; `patience` counts from the first. "last"
        is the rule of RealMLP, for values such as "val_accuracy": Holzmüller, Grinsztajn and Steinwart, Better by
        default: strong pre-tuned MLPs and boosted trees on tabular data, 2024.

    Examples
    --------
    >>> model = Model([Dense(8, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.05), seed=0)
    >>> stop = EarlyStopping(patience=3, min_delta=0.01)
    >>> history = model.fit(X, y, epochs=1000, validation_split=0.2, callbacks=stop)
    >>> history.stopped_reason, history.epochs, history.kept_epoch
    ('early_stopping', 13, 9)
    """

    shown = ("monitor", "patience", "min_delta", "restore_best", "ties")
    reason = "early_stopping"

    def __init__(
        self, monitor: str = "val_cost", patience: int = 10, min_delta: float = 0.0, restore_best: bool = True,
        ties: str = "first",
    ) -> None:  # fmt: skip
        super().__init__(monitor, patience, min_delta)
        self.restore_best = checks.flag(restore_best, "restore_best")
        if not isinstance(ties, str) or ties not in ("first", "last"):
            raise ValueError(f"ties must be 'first' or 'last', not {ties!r}.")
        self.ties = ties
        self._best_parameters: np.ndarray | None = None
        self._before: np.ndarray | None = None
        self._form: tuple[tuple[int, ...], np.dtype]

    def start(self, model: AnyModel) -> None:
        """Forget the fit before."""
        super().start(model)
        self._best_parameters = None
        self._form = model.parameters.shape, model.dtype
        # A value of training is of the parameters before the updates of its epoch.
        of_training = self.restore_best and not self.monitor.startswith("val_")
        self._before = model.parameters.copy() if of_training else None

    def __call__(self, model: AnyModel, epoch: int, logs: Logs) -> bool:
        """Return True after `patience` epochs without improvement."""
        improved = self.note(epoch, logs)
        is_best = improved or (self.ties == "last" and logs[self.monitor] == self.best)
        if is_best:
            self.best_epoch = epoch
        if is_best and self.restore_best:
            self._best_parameters = model.parameters.copy() if self._before is None else self._before
        if self._before is not None:
            self._before = model.parameters.copy()
        return not improved and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """Return the parameters to bring back as well."""
        kept = {"best_parameters": self._best_parameters, "before": self._before}
        return super().state() | {name: array for name, array in kept.items() if array is not None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them over from a checkpoint."""
        super().restore(state)
        kept = {name: np.array(state[name]) for name in ("best_parameters", "before") if name in state}
        for name, array in kept.items():
            if (array.shape, array.dtype) != self._form:
                raise ValueError(f"{name} must be {self._form[1]} of shape {self._form[0]}.")
            checks.parameters(array)
        self._best_parameters, self._before = kept.get("best_parameters"), kept.get("before")

    def finish(self, model: AnyModel) -> None:
        """Bring the best parameters back."""
        if self._best_parameters is not None:
            model.parameters[:] = self._best_parameters
        self._best_parameters = self._before = None


class ReduceOnPlateau(Waiting):
    """Lower the learning rate when a value has not improved for some epochs.

    It gives the model another optimizer, of the same kind; that one stays after the fit.

    Parameters
    ----------
    monitor : str, default "val_cost"
        As for `EarlyStopping`.
    factor : float, default 0.1
        What the learning rate, or all that a schedule gives from then on, is multiplied by; between 0 and 1.
    patience : int, default 10
        Do so after so many epochs in a row without improvement, at least 1.
    min_delta : float, default 0.0
        An improvement is one by more than this.
    cooldown : int, default 0
        Epochs to wait, after that, before counting again.
    min_learning_rate : float, default 0.0
        Never go below, nor below what the model's dtype can hold.

    Examples
    --------
    >>> model = Model([Dense(1, "sigmoid")], optimizer=SGD(0.1), seed=0)
    >>> slow_down = ReduceOnPlateau(monitor="cost", factor=0.5, patience=2, min_delta=1.0)
    >>> history = model.fit(X, y, epochs=5, callbacks=slow_down)
    >>> model.optimizer
    SGD(learning_rate=0.025, momentum=0.0, nesterov=False)
    """

    shown = ("monitor", "factor", "patience", "min_delta", "cooldown", "min_learning_rate")

    def __init__(
        self, monitor: str = "val_cost", factor: float = 0.1, patience: int = 10, min_delta: float = 0.0,
        cooldown: int = 0, min_learning_rate: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, patience, min_delta)
        self.factor = checks.positive_number(factor, "factor")
        if self.factor >= 1:
            raise ValueError(f"factor must be a number greater than 0 and less than 1, not {factor!r}.")
        self.cooldown = checks.non_negative_integer(cooldown, "cooldown")
        self.min_learning_rate = checks.non_negative_number(min_learning_rate, "min_learning_rate")
        self._resting = 0

    def start(self, model: AnyModel) -> None:
        """Forget the fit before."""
        super().start(model)
        self._resting = 0

    def __call__(self, model: AnyModel, epoch: int, logs: Logs) -> None:
        """Lower the learning rate after `patience` epochs without improvement."""
        improved = self.note(epoch, logs)
        if self._resting:
            self._resting -= 1
            self.waited = 0
        elif not improved and self.waited >= self.patience:
            least = max(self.min_learning_rate, float(np.finfo(model.dtype).tiny))
            model.optimizer = model.optimizer.slowed_down(self.factor, least)
            self.waited, self._resting = 0, self.cooldown

    def state(self) -> dict[str, Any]:
        """Return how long it still rests as well."""
        return super().state() | {"resting": self._resting}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take that over from a checkpoint."""
        super().restore(state)
        self._resting = checks.non_negative_integer(state["resting"], "resting")


class TimeLimit(Callback):
    """End the fit with the first epoch after which so much time has passed since it began; one epoch there always is.

    Parameters
    ----------
    seconds : float
        Greater than 0. Compiling counts; what a fit has taken before a checkpoint that it goes on from does not, so
        that jobs of an hour each get on.

    Raises
    ------
    ValueError, TypeError
        If that is not a positive, finite number.

    Examples
    --------
    >>> model = Model([Dense(1, "sigmoid")], seed=0)
    >>> history = model.fit(X, y, epochs=10**6, callbacks=TimeLimit(seconds=0.05))
    >>> history.stopped_reason
    'time_limit'
    """

    reason = "time_limit"
    shown = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = checks.positive_number(seconds, "seconds")
        self._began = time.monotonic()

    def start(self, model: AnyModel) -> None:
        """Begin to count."""
        self._began = time.monotonic()

    def __call__(self, model: AnyModel, epoch: int, logs: Logs) -> bool:
        """Return whether the time is over."""
        return time.monotonic() - self._began >= self.seconds

    def __repr__(self) -> str:
        return f"TimeLimit({self.seconds!r})"


class Pruning(Monitor):
    """Report each epoch to a trial of an Optuna study, and end the fit when its pruner says that the trial is hopeless.

    `fit` raises optuna.TrialPruned then, which an objective leaves to the study, when all callbacks are told of the
    end: the model is as after its last epoch, and `model.history` is there.

    Parameters
    ----------
    trial : optuna.Trial
        As the objective is given it. Of one fit: its epochs count from 0, and Optuna takes each once.
    monitor : str, default "val_cost"
        As for `EarlyStopping`. The study must have the direction in which it is better.

    Raises
    ------
    ImportError
        Without optuna.
    TypeError
        If an argument is not as described.

    Examples
    --------
    >>> import optuna
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> def objective(trial):
    ...     rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    ...     model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(rate), seed=0)
    ...     return model.fit(X, y, epochs=20, validation_split=0.2, callbacks=Pruning(trial)).val_cost[-1]
    >>> study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    >>> study.optimize(objective, n_trials=20)
    >>> {trial.state.name for trial in study.trials} == {"COMPLETE", "PRUNED"}
    True
    """

    reason = "pruned"
    shown = ("trial", "monitor")

    def __init__(self, trial: Any, monitor: str = "val_cost") -> None:
        super().__init__(monitor)
        try:
            from optuna import TrialPruned
        except ImportError as error:
            raise ImportError("Pruning needs optuna: pip install optuna.", name="optuna") from error
        if isinstance(trial, type) or not (hasattr(trial, "report") and hasattr(trial, "should_prune")):
            raise TypeError(f"trial must be an optuna.Trial, as an objective is given it, not {trial!r}.")
        self.trial, self.error = trial, TrialPruned
        self.pruned_at: int | None = None

    def check(self, names: Collection[str]) -> None:
        """Refuse a study that goes the other way as well: it would have the best pruned."""
        super().check(names)
        study = getattr(self.trial, "study", None)  # of a FixedTrial there is none
        wrong, better = ("MINIMIZE", "more") if self.higher_is_better else ("MAXIMIZE", "less")
        if study is not None and [direction.name for direction in study.directions] == [wrong]:
            right = {"MINIMIZE": "maximize", "MAXIMIZE": "minimize"}[wrong]
            raise ValueError(
                f"Pruning monitors {self.monitor!r}, which is better the {better} it is, but the study "
                f"{wrong.lower()}s. Pass direction={right!r} to create_study, or another monitor."
            )

    def start(self, model: AnyModel) -> None:
        """Forget the fit before."""
        self.pruned_at = None

    def __call__(self, model: AnyModel, epoch: int, logs: Logs) -> bool:
        """Report; return whether to prune."""
        self.trial.report(logs[self.monitor], epoch)
        if self.trial.should_prune():
            self.pruned_at = epoch
        return self.pruned_at is not None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy it, but not the trial: a copy of that, as scikit-learn makes when it clones, would report to nobody."""
        copied = copy.copy(self)
        memo[id(self)] = copied
        return copied

    def finish(self, model: AnyModel) -> None:
        """Raise TrialPruned if the trial was."""
        if self.pruned_at is not None:
            raise self.error(f"Pruned after epoch {self.pruned_at}.")

    def state(self) -> dict[str, Any]:
        """Return whether it was: a fit that goes on from there ends at once, in the same way."""
        return {"pruned_at": self.pruned_at}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take that over from a checkpoint."""
        epoch = state["pruned_at"]
        self.pruned_at = None if epoch is None else checks.non_negative_integer(epoch, "pruned_at")


def finish(callbacks: Iterable[AnyCallback], model: Any) -> None:
    """Tell callbacks that the fit has ended, at last those that raise for its caller."""
    for callback in sorted(callbacks, key=lambda each: isinstance(each, Pruning)):
        if isinstance(callback, Callback):
            callback.finish(model)


def checked_callbacks(callbacks: Any) -> tuple[AnyCallback, ...]:
    """Return the callbacks as a tuple; TypeError unless they are some callables, or one."""
    if callable(callbacks):
        callbacks = (callbacks,)
    try:
        listed = tuple(callbacks)
    except TypeError as error:
        raise TypeError(f"callbacks must be a list of callables f(model, epoch, logs), not {callbacks!r}.") from error
    for index, callback in enumerate(listed):
        if isinstance(callback, type) or not callable(callback):
            made = f" Pass {callback.__name__}()." if isinstance(callback, type) else ""
            raise TypeError(
                f"callbacks must be callables f(model, epoch, logs), but callbacks[{index}] is {callback!r}.{made}"
            )
    return listed
