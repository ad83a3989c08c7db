"""What a call of `fit` leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass
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
        The metrics after each epoch, by name: "accuracy" and, on the validation data, "val_accuracy". Each is an
        attribute too, as in `history.val_accuracy`.
    seconds : float
        Time spent training, compilation apart.
    compile_seconds : float
        Time spent compiling, or loading compiled code: once in a process for all that networks have in common, and once
        for each activation, loss and optimizer.
    stopped_reason : str
        Why it ended: "epochs" when all were done, "early_stopping" or "callback" when one ended it, "diverged", or
        "interrupted" by Ctrl-C or any other error.
    """

    cost: list[float] = field(default_factory=list)
    val_cost: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    compile_seconds: float = 0.0
    stopped_reason: str = ""

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
            recorded = ", ".join(map(repr, ("cost", "val_cost", *metrics)))
            message += f" It has {recorded}; fit(metrics=[...]) says which metrics to record."
        raise AttributeError(message, name=name, obj=self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the cost of each epoch, and any metrics on a second scale to the right; return the axes of the cost.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to; None: a new figure.

        Raises
        ------
        ImportError
            Without matplotlib, which the extra `fastnet[plot]` brings.
        ValueError
            If no epoch was finished.
        """
        from fastnet.plot import plot_history

        return plot_history(self.cost, self.val_cost, self.metrics, ax)

    def record(self, logs: Mapping[str, float]) -> None:
        """Add what an epoch gave, by name."""
        series = {"cost": self.cost, "val_cost": self.val_cost, **self.metrics}
        for name, value in logs.items():
            series[name].append(value)
