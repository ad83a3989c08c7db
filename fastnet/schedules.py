"""Schedules: the learning rate as a function of the epoch.

They compute with +, -, * and / alone, so that a rate is the same number on every machine, as a libm's is not.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from fastnet import checks

PI = 3.141592653589793


def cos_of_pi(x: float) -> float:
    """Return cos(pi x) for 0 <= x <= 1, by its Taylor series; off by a few units in the last place of 1."""
    if x > 0.5:
        return -cos_of_pi(1.0 - x)
    square, term, total = (PI * x) ** 2, 1.0, 1.0
    for n in range(2, 28, 2):
        term *= -square / (n * (n - 1))
        total += term
    return total


def power(base: float, exponent: int) -> float:
    """Return base to a power of at least 0, by squaring."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


@dataclass(frozen=True)
class Schedule(checks.CheckedSettings):
    """What all schedules have: the rate that they start from, and how many epochs they take to get there.

    In epoch e = 0, 1, ... below `warmup` the rate is learning_rate (e + 1) / (warmup + 1); then the schedule begins.
    """

    checked: ClassVar[checks.Checks] = {
        "learning_rate": checks.positive_number,
        "warmup": checks.non_negative_integer,
        "epochs": checks.positive_integer,
        "step": checks.positive_integer,
        "gamma": checks.positive_number,
        "final": checks.non_negative_number,
        "rising": checks.number_below_one,
        "start_factor": checks.positive_number,
        "end_factor": checks.positive_number,
    }

    learning_rate: float
    warmup: int = field(default=0, kw_only=True)

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if epoch < self.warmup:
            return self.learning_rate * (epoch + 1) / (self.warmup + 1)
        return self._after_warmup(epoch - self.warmup)

    @abstractmethod
    def _after_warmup(self, epoch: int) -> float:
        """Return the rate, counted from the end of the warm-up."""


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """alpha = learning_rate * gamma^e.

    Parameters
    ----------
    learning_rate : float
        Greater than 0.
    gamma : float, default 0.95
        Greater than 0.
    warmup : int, default 0
        Epochs of a linear rise before it begins.

    Examples
    --------
    >>> schedule = ExponentialDecay(0.1, gamma=0.5)
    >>> [schedule(epoch) for epoch in range(4)]
    [0.1, 0.05, 0.025, 0.0125]
    >>> SGD(schedule)
    SGD(learning_rate=ExponentialDecay(learning_rate=0.1, warmup=0, gamma=0.5), momentum=0.0, nesterov=False)
    """

    gamma: float = 0.95

    def _after_warmup(self, epoch: int) -> float:
        return self.learning_rate * power(self.gamma, epoch)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """alpha = learning_rate * gamma^(e // step).

    Parameters
    ----------
    learning_rate, gamma, warmup
        As ExponentialDecay's, but a gamma of 0.1 by default.
    step : int, default 30
        Epochs between two falls.

    Examples
    --------
    >>> schedule = StepDecay(0.8, step=2, gamma=0.5)
    >>> [schedule(epoch) for epoch in range(5)]
    [0.8, 0.8, 0.4, 0.4, 0.2]
    """

    step: int = 30
    gamma: float = 0.1

    def _after_warmup(self, epoch: int) -> float:
        return self.learning_rate * power(self.gamma, epoch // self.step)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """alpha = final + (learning_rate - final) (1 + cos(pi e / epochs)) / 2, and `final` from epoch `epochs` on.

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017, without restarts.

    Parameters
    ----------
    learning_rate, warmup
        As ExponentialDecay's.
    epochs : int
        How many the descent takes.
    final : float, default 0.0
        Where it ends. 0 is no learning rate: a fit that gets there, after `warmup` + `epochs`, raises ValueError.

    Examples
    --------
    >>> schedule = CosineDecay(0.1, epochs=4, final=0.001, warmup=1)
    >>> [round(schedule(epoch), 4) for epoch in range(7)]
    [0.05, 0.1, 0.0855, 0.0505, 0.0155, 0.001, 0.001]
    """

    epochs: int
    final: float = 0.0

    def _after_warmup(self, epoch: int) -> float:
        return between(self.learning_rate, self.final, min(1.0, epoch / self.epochs))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up along half a cosine from learning_rate / 25 to learning_rate, then down to learning_rate / 250,000.

    PyTorch's OneCycleLR with its defaults, a step an epoch. Source: Smith and Topin, Super-convergence, 2018.

    Parameters
    ----------
    learning_rate : float
        The highest; greater than 0.
    epochs : int
        How many the cycle takes, at least 2; afterwards the rate stays where it ended.
    rising : float, default 0.3
        The part of them in which it rises.
    start_factor, end_factor : float, default 25 and 1e4
        How many times the first rate is below the highest, and the last below the first.
    warmup
        As ExponentialDecay's.

    Examples
    --------
    >>> schedule = OneCycle(0.1, epochs=10)
    >>> [round(schedule(epoch), 4) for epoch in range(10)]
    [0.004, 0.052, 0.1, 0.095, 0.0812, 0.0611, 0.0389, 0.0188, 0.005, 0.0]
    """

    epochs: int
    rising: float = 0.3
    start_factor: float = 25.0
    end_factor: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 2:
            raise ValueError(f"epochs must be at least 2 for a cycle, not {self.epochs}.")

    def _after_warmup(self, epoch: int) -> float:
        first, last = self.learning_rate / self.start_factor, self.learning_rate / self.start_factor / self.end_factor
        top, end = self.rising * self.epochs - 1, self.epochs - 1
        if top > 0 and epoch <= top:
            return between(first, self.learning_rate, epoch / top)
        return between(self.learning_rate, last, min(1.0, (epoch - top) / (end - top)))


def function(value: Any, name: str) -> Callable[..., Any]:
    """Return a value that can be called; TypeError otherwise."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {value!r}.")
    return value  # type: ignore[no-any-return]


@dataclass(frozen=True)
class SlowedDown(checks.CheckedSettings):
    """A schedule times a factor, but no less than `least`, nor raised to it: what `ReduceOnPlateau` makes of it."""

    checked: ClassVar[checks.Checks] = {
        "schedule": function,
        "factor": checks.positive_number,
        "least": checks.non_negative_number,
    }

    schedule: Callable[[int], float]
    factor: float
    least: float

    def __call__(self, epoch: int) -> float:
        """Return the rate of an epoch, counted from 0."""
        rate = self.schedule(epoch)
        return max(self.factor * rate, min(self.least, rate))


def between(start: float, end: float, part: float) -> float:
    """Return what lies at that part of the way from start to end, along half a cosine."""
    return end + (start - end) * (1.0 + cos_of_pi(part)) / 2


def learning_rate_of(schedule: Callable[[int], float], epoch: int, dtype: np.dtype | None = None) -> float:
    """Return the rate of an epoch; TypeError or ValueError unless it is a positive, finite number, as in that dtype."""
    name = f"learning_rate({epoch})"
    try:
        rate = checks.positive_number(schedule(epoch), name)
        if dtype is not None and not 1e-37 < rate < 1e38:  # which either dtype holds
            checks.in_range_of(dtype, rate, name)
        return rate
    except ValueError as error:
        raise ValueError(
            f"{error} Epochs count on from fit to fit: for one more, give the model another optimizer, as in "
            "model.optimizer = SGD(0.01)."
        ) from None
