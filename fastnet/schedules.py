"""Schedules: the learning rate as a function of the epoch, or of each update in it.

They compute with +, -, *, / and powers of two alone, so that a rate is the same number on every machine, as a libm's is
not.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from fastnet import checks

PI, LN_2 = 3.141592653589793, 0.6931471805599453


def cos_of_pi(x: float) -> float:
    """Return cos(pi x) for x >= 0, by its Taylor series; off by a few units in the last place of 1."""
    x %= 2.0  # which is exact
    if x > 1.0:
        x = 2.0 - x
    if x > 0.5:
        return -cos_of_pi(1.0 - x)
    square, term, total = (PI * x) ** 2, 1.0, 1.0
    for n in range(2, 28, 2):
        term *= -square / (n * (n - 1))
        total += term
    return total


def log2(x: float) -> float:
    """Return the logarithm of x > 0 to the base 2, by the series of atanh; off by a few units in the last place."""
    m, exponent = math.frexp(x)
    if m < 0.7071067811865476:
        m, exponent = 2.0 * m, exponent - 1
    s = (m - 1.0) / (m + 1.0)
    total = 0.0
    for n in range(25, 0, -2):
        total = total * (s * s) + 1.0 / n
    return exponent + 2.0 * s * total / LN_2


def exp2(x: float) -> float:
    """Return 2^x, by the Taylor series of e^(x ln 2); off by a few units in the last place."""
    whole = round(x)
    total = 1.0
    for n in range(17, 0, -1):
        total = 1.0 + total * ((x - whole) * LN_2) / n
    return math.ldexp(total, whole)


def power(base: float, exponent: float) -> float:
    """Return base to a power of at least 0: by squaring, and by logarithms for what is left of that."""
    whole = int(exponent)
    part = exponent - whole
    result = exp2(part * log2(base)) if part else 1.0
    while whole:
        if whole & 1:
            result *= base
        base *= base
        whole >>= 1
    return result


@dataclass(frozen=True)
class Schedule(checks.CheckedSettings):
    """What all schedules have: the rate that they start from, and how many epochs they take to get there.

    In epoch e = 0, 1, ... below `warmup` the rate is learning_rate (e + 1) / (warmup + 1); then the schedule begins.
    An e between two integers lies within an epoch: `ByStep` asks for those.
    """

    checked: ClassVar[checks.Checks] = {
        "learning_rate": checks.positive_number,
        "warmup": checks.non_negative_integer,
        "epochs": checks.positive_integer,
        "cycles": checks.positive_integer,
        "step": checks.positive_integer,
        "gamma": checks.positive_number,
        "final": checks.non_negative_number,
        "rising": checks.number_below_one,
        "start_factor": checks.positive_number,
        "end_factor": checks.positive_number,
    }

    learning_rate: float
    warmup: int = field(default=0, kw_only=True)

    def __call__(self, epoch: float) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if epoch < self.warmup:
            return self.learning_rate * (epoch + 1) / (self.warmup + 1)
        return self._after_warmup(epoch - self.warmup)

    def during(self, epoch: int, batch: int, batches: int) -> float:
        """Return the learning rate of an update of an epoch, counted from 0, of so many."""
        return self(place(epoch, batch, batches))

    @abstractmethod
    def _after_warmup(self, epoch: float) -> float:
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

    def _after_warmup(self, epoch: float) -> float:
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

    def _after_warmup(self, epoch: float) -> float:
        return self.learning_rate * power(self.gamma, int(epoch // self.step))


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

    def _after_warmup(self, epoch: float) -> float:
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

    def _after_warmup(self, epoch: float) -> float:
        first, last = self.learning_rate / self.start_factor, self.learning_rate / self.start_factor / self.end_factor
        top, end = self.rising * self.epochs - 1, self.epochs - 1
        if top > 0 and epoch <= top:
            return between(first, self.learning_rate, epoch / top)
        return between(self.learning_rate, last, min(1.0, (epoch - top) / (end - top)))


MOST_CYCLES = 32
"""With more, the last of them would be shorter than an update."""


@dataclass(frozen=True)
class CosLog(Schedule):
    """alpha = learning_rate (1 - cos(2 pi log2(1 + (2^cycles - 1) t))) / 2, t = (e + 1/2) / epochs: mid-epoch.

    Waves of which each takes about twice as many epochs as the one before; never less than 1e-6 learning_rate. The
    coslog4 of Holzmüller, Grinsztajn and Steinwart, Better by default: strong pre-tuned MLPs and boosted trees on
    tabular data, 2024, where it changes with each update, as `ByStep` has it do.

    Parameters
    ----------
    learning_rate : float
        The highest; greater than 0.
    epochs : int
        How many the waves take; afterwards the rate stays where it ended.
    cycles : int, default 4
        How many waves, at most 32.
    warmup
        As ExponentialDecay's.

    Examples
    --------
    >>> schedule = CosLog(1.0, epochs=8, cycles=2)
    >>> [round(schedule(epoch), 3) for epoch in range(9)]
    [0.493, 0.809, 0.021, 0.374, 0.947, 0.876, 0.402, 0.047, 0.047]
    """

    epochs: int
    cycles: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cycles > MOST_CYCLES:
            raise ValueError(f"cycles must be at most {MOST_CYCLES}, not {self.cycles}.")

    def during(self, epoch: int, batch: int, batches: int) -> float:
        """Return the learning rate in the middle of an update of an epoch, counted from 0, of so many."""
        if epoch < self.warmup:
            return super().during(epoch, batch, batches)
        return self._in_the_middle(epoch - self.warmup, batch, batches)

    def _after_warmup(self, epoch: float) -> float:
        return self._in_the_middle(epoch, 0, 1)

    def _in_the_middle(self, epoch: float, batch: int, batches: int) -> float:
        if epoch > self.epochs - 1:
            epoch, batch = self.epochs - 1, batches - 1
        t = (epoch + (batch + 0.5) / batches) / self.epochs
        wave = 1.0 - cos_of_pi(2.0 * log2(1.0 + (2**self.cycles - 1) * t))
        return self.learning_rate * max(wave / 2, 1e-6)


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

    schedule: Callable[[Any], float]
    factor: float
    least: float

    def __call__(self, epoch: float) -> float:
        """Return the rate of an epoch, counted from 0."""
        return self._slowed(self.schedule(epoch))

    def during(self, epoch: int, batch: int, batches: int) -> float:
        """Return the rate of an update of an epoch, counted from 0, of so many."""
        return self._slowed(during(self.schedule, epoch, batch, batches))

    def _slowed(self, rate: float) -> float:
        return max(self.factor * rate, min(self.least, rate))


def function_of_epochs(value: Any, name: str) -> Callable[..., Any]:
    """Return a schedule, or a function, that is not by step yet; TypeError or ValueError otherwise."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(
            f"{name} must be a schedule, such as CosLog(0.01, epochs=64), or a function of the epoch, not {value!r}."
        )
    if is_by_step(value):
        raise ValueError(f"{name} must give a rate for each epoch, but {value!r} does so for each update already.")
    return value  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ByStep(checks.CheckedSettings):
    """A learning rate that changes with each update: update i = 0, 1, ... of the n in epoch e has that of e + i / n.

    A `CosLog` gives that of the middle of the update, e + (i + 1/2) / n. Of a stream in batches, that has to have the
    attribute n_examples, the number of all its examples, as those of fastnet.streams that know it do.

    Parameters
    ----------
    schedule : schedule or function
        What gives the rate of an epoch, and takes real numbers too.

    Raises
    ------
    TypeError, ValueError
        If that is neither, or by step already.

    Examples
    --------
    >>> schedule = ByStep(CosineDecay(0.1, epochs=2, final=0.02))
    >>> [round(schedule.during(epoch, batch, 2), 3) for epoch in range(2) for batch in range(2)]
    [0.1, 0.088, 0.06, 0.032]
    >>> model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(ByStep(CosLog(0.1, epochs=20))), seed=0)
    >>> round(model.fit(X, y, epochs=20).cost[-1], 2)
    0.02
    """

    checked: ClassVar[checks.Checks] = {"schedule": function_of_epochs}

    schedule: Callable[[Any], float]

    def __call__(self, epoch: float) -> float:
        """Return the rate of an epoch, counted from 0, of one update."""
        return self.schedule(epoch)

    def during(self, epoch: int, batch: int, batches: int) -> float:
        """Return the rate of an update of an epoch, counted from 0, of so many."""
        return during(self.schedule, epoch, batch, batches)


def place(epoch: int, batch: int, batches: int) -> float:
    """Return where an update begins, in epochs; at the beginning of one its number, an integer."""
    return epoch + batch / batches if batch else epoch


def during(schedule: Callable[[Any], float], epoch: int, batch: int, batches: int) -> float:
    """Return the rate that a schedule, or a function, gives for an update of an epoch, counted from 0, of so many."""
    if isinstance(schedule, (Schedule, SlowedDown, ByStep)):
        return schedule.during(epoch, batch, batches)
    return schedule(place(epoch, batch, batches))


def is_by_step(rate: Any) -> bool:
    """Return whether a learning rate changes with each update, slowed down or not."""
    return isinstance(rate, ByStep) or (isinstance(rate, SlowedDown) and is_by_step(rate.schedule))


def innermost(rate: Any) -> Any:
    """Return the schedule, the function or the number in a learning rate that may be by step, or slowed down."""
    while isinstance(rate, (SlowedDown, ByStep)):
        rate = rate.schedule
    return rate


def between(start: float, end: float, part: float) -> float:
    """Return what lies at that part of the way from start to end, along half a cosine."""
    return end + (start - end) * (1.0 + cos_of_pi(part)) / 2


def learning_rate_of(
    schedule: Callable[[Any], float], epoch: int, batch: int, batches: int, dtype: np.dtype | None = None
) -> float:
    """Return the rate of an update of an epoch; TypeError or ValueError unless it is positive and finite, in dtype."""
    name = f"learning_rate({place(epoch, batch, batches)})"
    try:
        rate = checks.positive_number(during(schedule, epoch, batch, batches), name)
        if dtype is not None and not 1e-37 < rate < 1e38:  # which either dtype holds
            checks.in_range_of(dtype, rate, name)
        return rate
    except ValueError as error:
        raise ValueError(
            f"{error} Epochs count on from fit to fit: for one more, give the model another optimizer, as in "
            "model.optimizer = SGD(0.01)."
        ) from None
