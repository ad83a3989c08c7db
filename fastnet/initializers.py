"""Initial weights. Biases always start at zero; weights must not, or the units of a layer would stay identical.

Each initialiser turns (shape, generator) into float64 weights of shape (n_l, n_{l-1}), so that a float32 and a
float64 model with one seed start from the same numbers.
"""

from __future__ import annotations  # NumPy loads np.random when it is first named: 20 ms of an import

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from fastnet.checks import positive_number

Shape = tuple[int, int]
Variance = Callable[[Shape], float]
Initializer: TypeAlias = "Callable[[Shape, np.random.Generator], np.ndarray]"


@dataclass(frozen=True)
class Normal:
    """Normal weights with mean 0 and standard deviation `scale`: the course notes' `randn(n_l, n_prev) * 0.01`.

    Parameters
    ----------
    scale : float, default 0.01
        The standard deviation, greater than zero.
    """

    scale: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", positive_number(self.scale, "scale"))

    def __call__(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        """Draw weights of `shape` from `generator`."""
        return generator.standard_normal(shape) * self.scale


def zeros(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Return zeros: right for logistic regression; in a hidden layer they keep all units equal for ever."""
    return np.zeros(shape)


def _he(shape: Shape) -> float:
    """Return 2 / n_prev (He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015)."""
    return 2 / shape[1]


def _glorot(shape: Shape) -> float:
    """Return 2 / (n_prev + n_l) (Glorot and Bengio, Understanding the difficulty of training, 2010)."""
    return 2 / (shape[0] + shape[1])


def _lecun(shape: Shape) -> float:
    """Return 1 / n_prev (LeCun, Bottou, Orr and Müller, Efficient backprop, 1998)."""
    return 1 / shape[1]


def _normal(variance: Variance, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    return generator.standard_normal(shape) * math.sqrt(variance(shape))


def _uniform(variance: Variance, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    limit = math.sqrt(3 * variance(shape))
    return generator.uniform(-limit, limit, shape)


INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "he_normal": partial(_normal, _he),
    "he_uniform": partial(_uniform, _he),
    "glorot_normal": partial(_normal, _glorot),
    "glorot_uniform": partial(_uniform, _glorot),
    "lecun_normal": partial(_normal, _lecun),
}
"""By name; normal ones are not truncated. `Normal(scale)` is an initialiser as well."""


def initializer_for(initializer: str | Normal | None, he_initialized: bool) -> Initializer:
    """Return the initialiser of that name, or the default: He's for the ReLU family, Glorot's (both normal) otherwise.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists those there are.
    """
    if initializer is None:
        initializer = "he_normal" if he_initialized else "glorot_normal"
    if isinstance(initializer, Normal):
        return initializer
    if not isinstance(initializer, str) or initializer not in INITIALIZERS:
        raise ValueError(
            f"initializer must be one of {', '.join(map(repr, INITIALIZERS))}, a Normal(scale) or None, "
            f"not {initializer!r}."
        )
    return INITIALIZERS[initializer]
