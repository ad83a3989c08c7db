"""What a call of `fit` leaves behind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastnet import words
from fastnet.report import html_table, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(repr=False)
class History:
    """The record of one call of `fit`.

    Attributes
    ----------
    cost : list of float
        Entry e: the mean over the batches of epoch e of J before each update, weighted by batch size. With full
        batches that is J before the update of the epoch.
    val_cost : list of float
        J on the validation data after each epoch; empty without such data.
    metrics : dict of str to list of float
        The metrics of each epoch, by name: "accuracy", of the same outputs as `cost`, and, on the validation data after
        the epoch, "val_accuracy". Each is an attribute too, as in `history.val_accuracy`.
    seconds : float
        Time spent training, compilation apart.
    compile_seconds : float
        Time spent compiling, or loading compiled code: once in a process for all that networks have in common, and once
        for each activation, loss and optimizer.
    stopped_reason : str
        Why it ended: "epochs" when all were done, "not_fallen" if the cost of a first fit has not fallen then,
        "early_stopping", "time_limit", "pruned" or "callback" when one ended it,
        "diverged", or "interrupted" by Ctrl-C or any other error.
    kept_epoch : int or None
        The epoch, counted from 0, whose parameters `EarlyStopping` brought back at the end, if it did.

    Examples
    --------
    >>> model = Model([Dense(1, "sigmoid")], optimizer=SGD(0.5), seed=0)
    >>> history = model.fit(X, y, epochs=3, validation_split=0.2, metrics=["accuracy"])
    >>> [round(cost, 3) for cost in history.cost]
    [0.602, 0.486, 0.416]
    >>> history.epochs, history.stopped_reason, round(history.val_accuracy[-1], 2)
    (3, 'epochs', 0.95)
    """

    cost: list[float] = field(default_factory=list)
    val_cost: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    compile_seconds: float = 0.0
    stopped_reason: str = ""
    kept_epoch: int | None = None

    def __repr__(self) -> str:
        shown: dict[str, object] = {"epochs": self.epochs}
        for name, values in self._series().items():
            shown[name] = f"{significant(values[0])} -> {significant(values[-1])}"
        shown |= {"best_epoch": self.best_epoch, "seconds": significant(self.seconds)}
        return f"History({', '.join(f'{name}={value}' for name, value in shown.items())}, {self.stopped_reason!r})"

    def _repr_html_(self) -> str:
        """Return the first, the best and the last epoch as a table in HTML."""
        series = self._series()
        rows = [["", "epoch, from 0", *series]]
        for name, epoch in (("first", 0), ("best", self.best_epoch), ("last", self.epochs - 1)):
            if epoch is not None and 0 <= epoch < self.epochs:
                values = [significant(each[epoch]) if epoch < len(each) else "" for each in series.values()]
                rows.append([name, str(epoch), *values])
        return f"{html_table(rows)}<p>{significant(self.seconds)} s, stopped by {self.stopped_reason!r}</p>"

    def _series(self) -> dict[str, list[float]]:
        """Return all that is recorded, if anything is, by name."""
        found = {"cost": self.cost, "val_cost": self.val_cost, **self.metrics}
        return {name: values for name, values in found.items() if values}

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.metrics]

    @property
    def best_epoch(self) -> int | None:
        """The epoch, counted from 0, that `EarlyStopping` kept; or else that of the least val_cost, or cost, if any."""
        values = self.val_cost or self.cost
        if self.kept_epoch is not None or not values:
            return self.kept_epoch
        return min(range(len(values)), key=lambda epoch: (math.isnan(values[epoch]), values[epoch]))

    def to_pandas(self) -> DataFrame:
        """Return a pandas.DataFrame with a row for each epoch, from 0, and a column for cost, val_cost and each metric.

        ImportError without pandas.
        """
        try:
            from pandas import DataFrame, RangeIndex
        except ImportError as error:
            raise ImportError("History.to_pandas needs pandas: pip install pandas.", name="pandas") from error
        return DataFrame(self._series(), index=RangeIndex(self.epochs, name="epoch"))

    @property
    def epochs(self) -> int:
        """The number of epochs finished."""
        return len(self.cost)

    def __getattr__(self, name: str) -> list[float]:
        """Return the metric of that name."""
        metrics: dict[str, list[float]] = self.__dict__.get("metrics", {})  # not there yet while it is unpickled
        if name in metrics:
            return metrics[name]
        message = f"This History has no {name!r}."
        if not name.startswith("_"):
            message += self._recorded(name)
        raise AttributeError(message, name=name, obj=self)

    def __getitem__(self, name: str) -> list[float]:
        """Return what is recorded by a name, fastnet's or another library's: "val_cost", or "val_loss"."""
        series = {"cost": self.cost, "val_cost": self.val_cost, **self.metrics}
        if words.logged(name) not in series:
            raise KeyError(f"This History has no {name!r}.{self._recorded(name)}")
        return series[words.logged(name)]

    def _recorded(self, name: str) -> str:
        """Return in sentences what is recorded, in place of a name that is not, after a space."""
        recorded = ("cost", "val_cost", *self.__dict__.get("metrics", {}))
        if words.logged(name) in recorded:
            return f" Use history.{words.logged(name)}."
        if name == "history":  # of Keras
            return " It is the record itself: use history.cost."
        return f" It has {', '.join(map(repr, recorded))}; fit(metrics=[...]) says which metrics to record."

    def plot(self, ax: Axes | None = None, *, log: bool = False) -> Axes:
        """Draw the cost of each epoch, and any metrics on a second scale to the right; return the axes of the cost.

        A vertical line marks the epoch that `EarlyStopping` kept, if it did.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to; None: a new figure.
        log : bool, default False
            Draw the cost on a logarithmic scale.

        Raises
        ------
        ImportError
            Without matplotlib, which the extra `fastnet-mlp[plot]` brings.
        ValueError
            If no epoch was finished.
        """
        from fastnet.plot import plot_history

        return plot_history(self.cost, self.val_cost, self.metrics, ax, kept=self.kept_epoch, log=log)

    def record(self, logs: Mapping[str, float]) -> None:
        """Add what an epoch gave, by name."""
        series = {"cost": self.cost, "val_cost": self.val_cost, **self.metrics}
        for name, value in logs.items():
            series[name].append(value)
