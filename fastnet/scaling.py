"""The scale that networks learn on: features, and targets, of mean 0 and spread 1, by the examples that train.

x' = (x - mean) / spread, for each column, in float64, rounded to the dtype of the network at the end; and back from the
outputs, a = a' spread + mean. Sums run over the rows in an order that their number alone decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnet import checks
from fastnet.errors import NotFittedError

SLAB = 1024
"""Rows that are summed by themselves: so sums of parts are those of the whole."""

FLOAT64 = np.dtype(np.float64)


class Scales(NamedTuple):
    """The mean and the spread, the standard deviation, of each column: (n,) both, in float64."""

    mean: np.ndarray
    spread: np.ndarray

    @np.errstate(all="ignore")
    def standardized(self, values: Any, dtype: np.dtype, name: str) -> np.ndarray:
        """Return (values - mean) / spread, of values (m, n), read-only; ValueError if one is not finite in `dtype`."""
        self.check_width(values.shape[1], name)
        scaled = np.empty(values.shape, dtype)
        for rows in checks.slabs(values):
            scaled[rows] = self.of(values[rows], dtype)
        self.refuse_what_is_beyond(scaled, name, values)
        scaled.flags.writeable = False
        return scaled

    def of(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return (values - mean) / spread in a dtype, of which infinity is not refused."""
        return np.asarray((values.astype(FLOAT64) - self.mean) / self.spread, dtype)

    def check_width(self, columns: int, name: str) -> None:
        """Raise ValueError unless there is a mean and a spread for each column."""
        if columns != len(self.mean):
            raise ValueError(
                f"{name} has {columns} columns, but its scale was learned from {len(self.mean)}. Call adapt(X) of "
                f"Standardize with such an {name}."
            )

    def refuse_what_is_beyond(self, scaled: Any, name: str, values: Any) -> None:
        """Raise ValueError if values, once they are scaled, are not finite."""
        what = f"{{}} so far from the examples that trained that they are beyond {scaled.dtype} on their scale"
        checks.refuse_not_finite(scaled, name, what, "Look for errors in them.", shown=values)

    @np.errstate(all="ignore")
    def restored(self, values: np.ndarray) -> np.ndarray:
        """Return values (m, n), or (m, 1), spread + mean, in their dtype."""
        restored: np.ndarray = (values.astype(FLOAT64) * self.spread + self.mean).astype(values.dtype)
        return restored


def in_units(scales: Scales | None, A: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs and targets of a network on the scale that the targets came on."""
    return (A, y) if scales is None else (scales.restored(A), scales.restored(y))


@np.errstate(all="ignore")
def scaled_gradients(
    gradients: np.ndarray, of_X: Scales | None, of_y: Scales | None, first_output: int
) -> np.ndarray:  # fmt: skip
    """Return dA / dX (m, n, n_x), of n outputs from one on, for A and X as they come, from that on the network's scale.

    None stands for what comes on that scale.
    """
    if of_X is None and of_y is None:
        return gradients
    factors = np.ones((1, 1)) if of_X is None else 1 / of_X.spread[np.newaxis]
    if of_y is not None:
        n = gradients.shape[1]
        spread = of_y.spread if len(of_y.spread) == 1 else of_y.spread[first_output : first_output + n]
        factors = factors * spread[:, np.newaxis]
    return np.asarray(gradients * factors, gradients.dtype)


def scales_of(values: Any, weights: np.ndarray | None, name: str) -> Scales:
    """Return mean and spread of the columns of values (m, n), a row of weight w (m,) counting as w rows.

    A column that is constant, but for rounding, has spread 1. ValueError if one is beyond float64.
    """
    (scales,) = scales_of_parts(lambda: [(values, weights)], (name,))
    return scales


def scales_of_parts(
    parts: Callable[[], Iterable[Sequence[Any]]],
    names: Sequence[str],
    add_up: Callable[[list[Any]], list[Any]] = list,
) -> list[Scales]:
    """Return the scales of arrays of those names that come in parts: `parts` begins anew with (arrays, ..., weights).

    All parts but the last have a multiple of SLAB rows. Then they are to the bit those of arrays that are whole. Where
    the parts are a shard of the examples, `add_up` makes of its sums those of all.
    """
    with np.errstate(all="ignore"):
        zeros = [np.zeros(1)] * len(names)
        *totals, weight = add_up(sums_of_parts(parts(), zeros, 1))
        means = [total / weight for total in totals]
        *totals, _ = add_up(sums_of_parts(parts(), means, 2))
        finfo, found = np.finfo(FLOAT64), []
        for mean, total in zip(means, totals, strict=True):
            spread = np.sqrt(total / weight)
            constant = spread <= np.maximum(16 * finfo.eps * np.abs(mean), finfo.tiny)
            found.append(Scales(mean, np.where(constant, 1.0, spread)))
    for (mean, spread), name in zip(found, names, strict=True):
        beyond = ~(np.isfinite(mean) & np.isfinite(spread))
        checks.refuse(
            mean, beyond, f"mean or spread of {name}", "{} beyond the range of float64", "Scale those columns."
        )
    return found


def sums_of_parts(parts: Iterable[Sequence[Any]], means: Sequence[np.ndarray], power: int) -> list[Any]:
    """Return the sums (n,) of w (x - mean)^power over the rows of each of some arrays, and the sum of the weights."""
    sums: list[list[Any]] = [[] for _ in (*means, "weights")]
    for *arrays, weights in parts:
        for start in range(0, max(1, len(arrays[0])), SLAB):
            rows = slice(start, start + SLAB)
            w = None if weights is None else weights[rows].astype(FLOAT64)[:, np.newaxis]
            for of_array, values, mean in zip(sums, arrays, means, strict=False):
                terms = (values[rows].astype(FLOAT64) - mean) ** power
                of_array.append(tree_sum(terms if w is None else terms * w))
            sums[-1].append([float(len(arrays[0][rows]))] if w is None else tree_sum(w))
    return [tree_sum(np.array(of_array)) for of_array in sums]


def tree_sum(terms: np.ndarray) -> np.ndarray:
    """Return the sums (n,) over the rows of terms (m, n), which are used up: those of one half and the other, again."""
    m = len(terms)
    if m == 0:
        return np.zeros(terms.shape[1:])
    while m > 1:
        half = m // 2
        terms[:half] += terms[half : 2 * half]
        if m % 2:
            terms[0] += terms[m - 1]
        m = half
    total: np.ndarray = terms[0]
    return total


class Standardize(checks.FixedSettings):
    """A first layer that brings each feature to mean 0 and spread 1: x' = (x - mean) / spread, in float64.

    Mean and spread are those of the examples that train in the first `fit` or `step`, by their weights; later ones
    change nothing, and examples held out do not count. They are part of the model: of all that it computes, of its
    files and of every export. A constant feature becomes 0. Features that are close together around a large number,
    such as years, keep all their digits, whatever the dtype of the model, if X is given in float64.

    Examples
    --------
    >>> model = Model([Standardize(), Dense(8, "relu"), Dense(1)], standardize_y=True, seed=0)
    >>> history = model.fit(X + 1000, 50 * y, epochs=5)
    >>> model.layers[0].mean.round(1), model.layers[0].spread.round(1)
    (array([ 999.9, 1000.1]), array([1. , 0.9]))
    """

    def __init__(self) -> None:
        self.scales: Scales | None = None

    @property
    def mean(self) -> np.ndarray:
        """The mean of each feature (n_x,), in float64."""
        return self.learned().mean

    @property
    def spread(self) -> np.ndarray:
        """The standard deviation of each feature (n_x,), in float64; 1 of one that is constant."""
        return self.learned().spread

    def adapt(self, X: Any) -> None:
        """Learn mean and spread from X (m, n_x) now, as for a loop of `Model.step` on a few examples each.

        ValueError or TypeError if X is not as `Model.fit` takes it.
        """
        self.scales = scales_of(checks.examples(X, FLOAT64), None, "X")

    def learned(self) -> Scales:
        """Return mean and spread; NotFittedError before there are any."""
        if self.scales is None:
            raise NotFittedError(
                "Standardize has seen no examples yet: call the model's fit(X, y), or this layer's adapt(X), first."
            )
        return self.scales

    def __repr__(self) -> str:
        return "Standardize()"
