"""Schedules: the learning rate as a function of the epoch.

They compute with +, -, * and / alone, so that a rate is the same number on every machine, as a libm's is not.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from fastnet.checks import (
    non_negative_integer,
    non_negative_number,
    number_below_one,
    positive_integer,
    positive_number,
)

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
class Schedule(ABC):
    """What all schedules have: the rate that they start from, and how many epochs they take to get there.

    In epoch e = 0, 1, ... below `warmup` the rate is learning_rate (e + 1) / (warmup + 1); then the schedule begins.
    """

    learning_rate: float
    warmup: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", positive_number(self.learning_rate, "learning_rate"))
        object.__setattr__(self, "warmup", non_negative_integer(self.warmup, "warmup"))

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if epoch < self.warmup:
            return self.learning_rate * (epoch + 1) / (self.warmup + 1)
        return self.after_warmup(epoch - self.warmup)

    @abstractmethod
    def after_warmup(self, epoch: int) -> float:
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
    """

    gamma: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "gamma", positive_number(self.gamma, "gamma"))

    def after_warmup(self, epoch: int) -> float:
        """Return the rate, counted from the end of the warm-up."""
        return self.learning_rate * power(self.gamma, epoch)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """alpha = learning_rate * gamma^(e // step).

    Parameters
    ----------
    learning_rate : float
        Greater than 0.
    step : int, default 30
        Epochs between two falls.
    gamma : float, default 0.1
        Greater than 0.
    warmup : int, default 0
        Epochs of a linear rise before it begins.
    """

    step: int = 30
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "step", positive_integer(self.step, "step"))
        object.__setattr__(self, "gamma", positive_number(self.gamma, "gamma"))

    def after_warmup(self, epoch: int) -> float:
        """Return the rate, counted from the end of the warm-up."""
        return self.learning_rate * power(self.gamma, epoch // self.step)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """alpha = final + (learning_rate - final) (1 + cos(pi e / epochs)) / 2, and `final` from epoch `epochs` on.

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017, without restarts.

    Parameters
    ----------
    learning_rate : float
        Greater than 0.
    epochs : int
        How many the descent takes.
    final : float, default 0.0
        Where it ends.
    warmup : int, default 0
        Epochs of a linear rise before it begins.
    """

    epochs: int
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "epochs", positive_integer(self.epochs, "epochs"))
        object.__setattr__(self, "final", non_negative_number(self.final, "final"))

    def after_warmup(self, epoch: int) -> float:
        """Return the rate, counted from the end of the warm-up."""
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
    warmup : int, default 0
        Epochs of a linear rise before it begins.
    """

    epochs: int
    rising: float = 0.3
    start_factor: float = 25.0
    end_factor: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "epochs", positive_integer(self.epochs, "epochs"))
        if self.epochs < 2:
            raise ValueError(f"epochs must be at least 2 for a cycle, not {self.epochs}.")
        object.__setattr__(self, "rising", number_below_one(self.rising, "rising"))
        object.__setattr__(self, "start_factor", positive_number(self.start_factor, "start_factor"))
        object.__setattr__(self, "end_factor", positive_number(self.end_factor, "end_factor"))

    def after_warmup(self, epoch: int) -> float:
        """Return the rate, counted from the end of the warm-up."""
        first, last = self.learning_rate / self.start_factor, self.learning_rate / self.start_factor / self.end_factor
        top, end = self.rising * self.epochs - 1, self.epochs - 1
        if top > 0 and epoch <= top:
            return between(first, self.learning_rate, epoch / top)
        return between(self.learning_rate, last, min(1.0, (epoch - top) / (end - top)))


@dataclass(frozen=True)
class SlowedDown:
    """A schedule times a factor, but no less than `least`, nor raised to it: what `ReduceOnPlateau` makes of it."""

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


def learning_rate_of(schedule: Callable[[int], float], epoch: int) -> float:
    """Return the rate of an epoch; TypeError or ValueError unless it is a positive, finite number."""
    try:
        return positive_number(schedule(epoch), f"learning_rate({epoch})")
    except ValueError as error:
        raise ValueError(
            f"{error} Epochs count on from fit to fit: for one more, give the model another optimizer, as in "
            "model.optimizer = SGD(0.01)."
        ) from None
