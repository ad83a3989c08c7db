"""Initial weights. Biases always start at zero; weights must not, or the units of a layer would stay identical.

Each initialiser turns (shape, generator) into float64 weights of shape (n_l, n_{l-1}), so that a float32 and a
float64 model with one seed start from the same numbers.
"""

from __future__ import annotations  # NumPy loads np.random when it is first named: 20 ms of an import

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeAlias

import numpy as np

from fastnet import checks

Shape = tuple[int, int]
Initializer: TypeAlias = "Callable[[Shape, np.random.Generator], np.ndarray]"


@dataclass(frozen=True)
class Normal(checks.CheckedSettings):
    """Normal weights with mean 0 and standard deviation `scale`: the course notes' `randn(n_l, n_prev) * 0.01`.

    Parameters
    ----------
    scale : float, default 0.01
        The standard deviation, greater than zero.

    Examples
    --------
    >>> model = Model([Dense(50, "tanh", initializer=Normal(0.01)), Dense(1)], seed=0).build(n_features=200)
    >>> round(float(model.layers[0].W.std()), 3)
    0.01
    """

    checked: ClassVar[checks.Checks] = {"scale": checks.positive_number}
    scale: float = 0.01

    def __call__(self, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        """Draw weights of `shape` from `generator`."""
        return generator.standard_normal(shape) * self.scale


def zeros(shape: Shape, generator: np.random.Generator) -> np.ndarray:
    """Return zeros: right for logistic regression; in a hidden layer they keep all units equal for ever."""
    return np.zeros(shape)


def _variance(family: str, shape: Shape) -> float:
    """Return that of the weights, by the sizes of the layer, n_l, and of the one before, n_prev.

    He's is 2 / n_prev (He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015), Glorot's 2 / (n_prev + n_l) (Glorot
    and Bengio, Understanding the difficulty of training, 2010), and LeCun's 1 / n_prev (LeCun, Bottou, Orr and Müller,
    Efficient backprop, 1998).
    """
    n, n_prev = shape
    return {"he": 2 / n_prev, "glorot": 2 / (n_prev + n), "lecun": 1 / n_prev}[family]


def _normal(family: str, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    return generator.standard_normal(shape) * math.sqrt(_variance(family, shape))


def _uniform(family: str, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    limit = math.sqrt(3 * _variance(family, shape))
    return generator.uniform(-limit, limit, shape)


INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "he_normal": partial(_normal, "he"),
    "he_uniform": partial(_uniform, "he"),
    "glorot_normal": partial(_normal, "glorot"),
    "glorot_uniform": partial(_uniform, "glorot"),
    "lecun_normal": partial(_normal, "lecun"),
}
"""By name; normal ones are not truncated. `Normal(scale)` is an initialiser as well."""


def initializer_for(initializer: str | Normal | None, he_initialized: bool) -> Initializer:
    """Return the initialiser of that name, or the default: He's for the ReLU family, Glorot's (both normal) otherwise.

    ValueError if there is none of that name.
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
