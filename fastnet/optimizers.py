"""The optimizers: what to do with a gradient g of a batch. Definitions and defaults are PyTorch's."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np

from fastnet import checks, words
from fastnet.kernels import codes
from fastnet.schedules import ByStep, Schedule, SlowedDown, is_by_step, learning_rate_of

LearningRate = float | Callable[[Any], float]


def number_or_function(rate: Any, name: str) -> LearningRate:
    """Return a learning rate, a positive number or a function of the epoch; TypeError or ValueError otherwise."""
    if isinstance(rate, type) and issubclass(rate, (Schedule, ByStep)):
        raise TypeError(
            f"{name} must be a number, a schedule or a function of the epoch, not the class {rate.__name__}. Pass a "
            "schedule with its settings, such as CosLog(0.01, epochs=64)."
        )
    return rate if callable(rate) else checks.positive_number(rate, name)


@dataclass(frozen=True, repr=False)
class Optimizer(checks.CheckedSettings):
    """What all optimizers have: a learning rate, a limit for the gradient, and what the kernels know of them.

    `code` is the kernels' number for the rule, and `n_moments` how many vectors like the parameters it keeps.
    """

    code: ClassVar[int]
    n_moments: ClassVar[int]
    checked: ClassVar[checks.Checks] = {
        "learning_rate": number_or_function,
        "momentum": checks.number_below_one,
        "nesterov": checks.flag,
        "rho": checks.number_below_one,
        "beta1": checks.number_below_one,
        "beta2": checks.number_below_one,
        "epsilon": checks.positive_number,
        "weight_decay": checks.non_negative_number,
        "clip_norm": lambda length, name: None if length is None else checks.positive_number(length, name),
    }

    learning_rate: LearningRate
    clip_norm: float | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        values = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        values["clip_norm"] = values.pop("clip_norm")  # last, and only if it is set
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items() if value is not None)
        return f"{type(self).__name__}({shown})"

    @property
    def kind(self) -> tuple[type, int, bool, bool]:
        """What must stay within a fit: all but the numbers."""
        return type(self), self.code, self.clip_norm is None, self.is_by_step

    @property
    def is_by_step(self) -> bool:
        """Whether the learning rate changes with each update."""
        return is_by_step(self.learning_rate)

    @property
    def numbers(self) -> dict[str, float]:
        """The settings that are numbers, by name; of a schedule, its rate."""
        values = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        values["learning_rate"] = getattr(self.learning_rate, "learning_rate", self.learning_rate)
        return {name: value for name, value in values.items() if isinstance(value, float)}

    @property
    def settings(self) -> tuple[float, ...]:
        """The numbers that the kernels read, in the order of `kernels.codes`; the rate is that of the first epoch."""
        numbers = self.numbers
        beta1 = numbers.get("beta1", numbers.get("momentum", 0.0))
        beta2 = numbers.get("beta2", numbers.get("rho", 0.0))
        rest = (numbers.get(name, 0.0) for name in ("epsilon", "epsilon_hat", "weight_decay", "clip_norm"))
        return (self.learning_rates(0, 1)[0], beta1, beta2, *rest)

    def slowed_down(self, factor: float, least: float) -> "Optimizer":
        """Return one like it, its learning rate multiplied by a factor, but not taken below `least`."""
        rate = self.learning_rate
        if isinstance(rate, SlowedDown):
            return replace(self, learning_rate=SlowedDown(rate.schedule, rate.factor * factor, least))
        if callable(rate):
            return replace(self, learning_rate=SlowedDown(rate, factor, least))
        return replace(self, learning_rate=max(rate * factor, min(least, rate)))

    def learning_rates(self, first: int, n: int, dtype: np.dtype | None = None, batches: int = 1) -> np.ndarray:
        """Return the learning rate of each of n epochs; or of n updates, where each epoch has so many batches.

        TypeError or ValueError unless each is a positive number, in the range of a dtype, if there is one.
        """
        rate = self.learning_rate
        if not callable(rate):
            return np.full(n, rate)
        return np.array([learning_rate_of(rate, *divmod(first + i, batches), batches, dtype) for i in range(n)])


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    """Gradient descent: p <- p - alpha g, on the batch at hand; or with momentum.

    With momentum mu: v <- mu v + g; p <- p - alpha v; or, as Nesterov has it, p <- p - alpha (g + mu v).

    Parameters
    ----------
    learning_rate : float or function, default 0.01
        alpha, greater than zero; or a schedule, or any function of the epoch, counted from 0; `ByStep` of one of them.
    momentum : float, default 0.0
        mu, at least 0 and less than 1.
    nesterov : bool, default False
        Needs momentum.
    clip_norm : float or None
        Scale the gradient of all parameters together down to this length where it is longer. None: never.

    Raises
    ------
    ValueError, TypeError
        If a setting is not a finite number in its range.

    Examples
    --------
    >>> SGD(0.1, momentum=0.9, nesterov=True)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    >>> model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], optimizer=SGD(0.1, momentum=0.9), seed=0)
    >>> round(model.fit(X, y, epochs=20).cost[-1], 2)
    0.02
    """

    learning_rate: LearningRate = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs a momentum greater than 0, such as momentum=0.9.")

    @property
    def code(self) -> int:  # type: ignore[override]
        """The kernels' number for the rule."""
        if self.momentum == 0:
            return codes.SGD
        return codes.NESTEROV if self.nesterov else codes.MOMENTUM

    @property
    def n_moments(self) -> int:  # type: ignore[override]
        """How many vectors like the parameters it keeps."""
        return 0 if self.momentum == 0 else 1


@dataclass(frozen=True, repr=False)
class UndampedSGD(SGD):
    """SGD whose momentum may be 1, too, as scikit-learn allows: then velocity is never lost."""

    def __post_init__(self) -> None:
        momentum = float(self.momentum)
        object.__setattr__(self, "momentum", min(momentum, 0.5))
        super().__post_init__()
        object.__setattr__(self, "momentum", momentum)


@dataclass(frozen=True, repr=False)
class RMSprop(Optimizer):
    """Steps scaled by a running mean of the squared gradient.

    s <- rho s + (1 - rho) g^2; p <- p - alpha g / (sqrt(s) + epsilon).
    Source: Hinton, Neural networks for machine learning, lecture 6, 2012.

    Parameters
    ----------
    learning_rate, clip_norm
        As SGD's; and so are the errors.
    rho : float, default 0.99
        What remains of the running mean after a step; at least 0 and less than 1. PyTorch calls it alpha.
    epsilon : float, default 1e-8
        Greater than zero.

    Examples
    --------
    >>> model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], optimizer=RMSprop(0.01), seed=0)
    >>> round(model.fit(X, y, epochs=20).cost[-1], 2)
    0.07
    """

    code, n_moments = codes.RMSPROP, 1

    learning_rate: LearningRate = 0.01
    rho: float = 0.99
    epsilon: float = 1e-8


@dataclass(frozen=True, repr=False)
class Adagrad(Optimizer):
    """Steps scaled by the sum of all squared gradients so far.

    s <- s + g^2; p <- p - alpha g / (sqrt(s) + epsilon).
    Source: Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic optimization, 2011.

    Parameters
    ----------
    learning_rate, clip_norm
        As SGD's; and so are the errors.
    epsilon : float, default 1e-10
        Greater than zero.

    Examples
    --------
    >>> model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], optimizer=Adagrad(0.1), seed=0)
    >>> round(model.fit(X, y, epochs=20).cost[-1], 2)
    0.08
    """

    code, n_moments = codes.ADAGRAD, 1

    learning_rate: LearningRate = 0.01
    epsilon: float = 1e-10


@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

    m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; and in step t = 1, 2, ...
    p <- p - alpha m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).
    Source: Kingma and Ba, Adam: a method for stochastic optimization, 2015.

    Parameters
    ----------
    learning_rate, clip_norm
        As SGD's, but a rate of 0.001 by default; and so are the errors.
    beta1, beta2 : float, default 0.9 and 0.999
        What remains of the running means after a step; at least 0 and less than 1.
    epsilon : float, default 1e-8
        Greater than zero.

    Examples
    --------
    >>> model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.01), seed=0)
    >>> round(model.fit(X, y, epochs=20).cost[-1], 2)
    0.21
    >>> model.optimizer = Adam(0.001)  # it goes on with the running means
    """

    code, n_moments = codes.ADAM, 2

    learning_rate: LearningRate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with weight decay beside the gradient, not in it: p <- (1 - alpha weight_decay) p before Adam's step.

    Of all parameters, biases too. Source: Loshchilov and Hutter, Decoupled weight decay regularization, 2019.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon, clip_norm
        As Adam's; and so are the errors.
    weight_decay : float, default 0.01
        At least 0.

    Examples
    --------
    >>> AdamW(0.002, clip_norm=1.0)
    AdamW(learning_rate=0.002, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.01, clip_norm=1.0)
    >>> model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], optimizer=AdamW(0.01, weight_decay=0.1), seed=0)
    >>> round(model.fit(X, y, epochs=20).cost[-1], 2)
    0.22
    """

    weight_decay: float = 0.01


@dataclass(frozen=True, repr=False)
class EpsilonHatAdam(Adam):
    """Adam in the form that Kingma and Ba give before section 2.1, as Keras and scikit-learn have it.

    p <- p - alpha_t m / (sqrt(v) + epsilon), alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t); m and v as Adam's. It
    differs from Adam by its epsilon alone, which they call epsilon hat: it counts for more in the first steps.
    """

    @property
    def settings(self) -> tuple[float, ...]:
        """The numbers that the kernels read, in the order of `kernels.codes`."""
        rate, beta1, beta2, epsilon, _, *rest = super().settings
        return (rate, beta1, beta2, 0.0, epsilon, *rest)


OPTIMIZERS: dict[str, type[Optimizer]] = {kind.__name__.lower(): kind for kind in (SGD, RMSprop, Adagrad, Adam, AdamW)}
"""Those that a name stands for, with all settings as they are by default."""


def optimizer_for(optimizer: Any) -> Optimizer:
    """Return an optimizer; of a name or a class, one with its default settings. TypeError or ValueError otherwise."""
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer) and optimizer in OPTIMIZERS.values():
        return optimizer()  # type: ignore[call-arg]
    if isinstance(optimizer, str):
        name = words.canonical(optimizer, {})
        if name not in OPTIMIZERS:
            close = words.meant(name, OPTIMIZERS)
            raise ValueError(f"optimizer must be one of {', '.join(map(repr, OPTIMIZERS))}, not {optimizer!r}.{close}")
        return OPTIMIZERS[name]()  # type: ignore[call-arg]
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be one of fastnet's, such as SGD(0.1) or Adam(), not {optimizer!r}.")
    return optimizer


def _refuse_to_change(optimizer: Optimizer, name: str, value: Any) -> None:
    kind = type(optimizer).__name__
    raise FrozenInstanceError(
        f"{name} of {kind} cannot change. Give the model another: model.optimizer = {kind}({name}={value!r})."
    )


for _kind in (Optimizer, SGD, UndampedSGD, RMSprop, Adagrad, Adam, AdamW, EpsilonHatAdam):
    _kind.__setattr__ = _refuse_to_change  # type: ignore[assignment, method-assign]  # dataclasses say less
