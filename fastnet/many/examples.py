"""One table for several networks: it is checked and converted once, and each works on some of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnet import checks
from fastnet.engine.examples import Data, Gate, exact_dtype, read_only, sample_weights, with_class_weights
from fastnet.engine.parts import Part


class Chosen(NamedTuple):
    """Some rows of a table (m, n_x), or all of them, None; and the weights of those examples, if they have any."""

    table: Data
    rows: np.ndarray | None
    weights: np.ndarray | None

    @property
    def y(self) -> np.ndarray:
        """The targets of those rows."""
        return self.table.y if self.rows is None else read_only(self.table.y[self.rows])

    def copied(self) -> Data:
        """Return the examples alone, X too, unless they are all."""
        table = self.table._replace(weights=None)
        return (table if self.rows is None else table.take(self.rows))._replace(weights=self.weights)

    def first(self, n: int) -> Chosen:
        """Return the first n of them, without weights."""
        return Chosen(self.table, np.arange(len(self.table.y))[:n] if self.rows is None else self.rows[:n], None)

    def in_place(self, y: np.ndarray | None = None) -> Data | Part:
        """Return the examples as a run takes them, X where it is; with other targets, if those of the rows are given.

        Targets and weights of rows that are not chosen are zero, or those of the table.
        """
        if self.rows is None:
            return Data(self.table.X, self.y if y is None else y, self.weights)
        y = self.table.y if y is None else self._at_rows(y)
        weights = None if self.weights is None else self._at_rows(self.weights)
        return Part(Data(self.table.X, y, weights), self.rows, 0, True)

    def _at_rows(self, values: np.ndarray) -> np.ndarray:
        """Return an array for the whole table that has the values of the rows where they are."""
        whole = np.zeros((len(self.table.y), *values.shape[1:]), values.dtype)
        whole[self.rows] = values
        return read_only(whole)


def tables_for(gates: Sequence[Gate], X: Any, y: Any, sample_weight: Any) -> list[Data]:
    """Return the table as each gate lets it in; alike gates get the same one, and those of one dtype the same X."""
    made: dict[Any, Data] = {}
    keys = [gate._replace(output_layer=gate.output_layer.units) for gate in gates]  # type: ignore[arg-type]
    for key, gate in zip(keys, gates, strict=True):
        if key in made:
            continue
        checks.columns(X, gate.feature_names)
        dtype = exact_dtype(X) if gate.exact_x else gate.dtype
        shared = [table.X for table in made.values() if isinstance(table.X, np.ndarray) and table.X.dtype == dtype]
        made[key] = gate._replace(feature_names=None).data(shared[0] if shared else X, y, sample_weight)
    return [made[key] for key in keys]


def chosen(table: Data, rows: np.ndarray | None, class_weight: Any, gate: Gate) -> Chosen:
    """Return rows to train with, weighted by class too; errors are those of `Model.fit` with those rows alone."""
    examples = Chosen(table, rows, table.weights)
    weights, y = table.weights, examples.y
    if weights is not None and rows is not None:
        weights = sample_weights(weights[rows], len(rows), gate.dtype)
    layer = gate.output_layer
    weights = with_class_weights(Data(y, y, weights), class_weight, layer.activation, layer.units).weights
    return examples._replace(weights=weights)


def held_out_of(table: Data, rows: np.ndarray | None, weights: np.ndarray | None) -> Chosen:
    """Return rows to validate with, with their part of weights (m,); ValueError if all of that is zero."""
    if weights is not None and rows is not None:
        weights = sample_weights(weights[rows], len(rows), weights.dtype, "validation_sample_weight")
    return Chosen(table, rows, weights)


def one_each(values: Any, n: int, name: str, what: str) -> list[Any]:
    """Return what is given for each of n models, None for all if it is None; TypeError or ValueError otherwise."""
    if values is None:
        return [None] * n
    try:
        found = list(values) if not isinstance(values, (str, bytes, dict)) else None
    except TypeError:
        found = None
    if found is None:
        raise TypeError(f"{name} must be None, or a sequence with {what} for each model, not {values!r}.")
    if len(found) != n:
        raise ValueError(f"{name} must have an entry for each of the {n} models, but has {len(found)}.")
    return found


def row_numbers(rows: Any, m: int, name: str) -> np.ndarray | None:
    """Return row numbers of a table of m examples (n,), given as such or as a mask (m,); None for None: all.

    TypeError if they are no integers or booleans; ValueError if there are none, one is not of the table, or the mask
    has another length.
    """
    if rows is None:
        return None
    try:
        array = np.asarray(rows)
    except ValueError:  # of lists of several lengths
        array = np.empty((0, 0))
    if array.ndim != 1:
        raise ValueError(f"{name} must be row numbers (n,), or a mask ({m},), but has shape {array.shape}.")
    if array.dtype == bool:
        if len(array) != m:
            raise ValueError(f"{name} is a mask of {len(array)} rows, but X has {m}.")
        array = np.flatnonzero(array)
    if len(array) == 0:
        raise ValueError(f"{name} chooses no row of X. Give at least one.")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, the numbers of rows, or booleans, not {array.dtype}.")
    beyond = (array < 0) | (array >= m)
    checks.refuse(array, beyond, name, f"{{}} not from 0 to {m - 1}", f"X has {m} rows, the first of number 0.")
    return array.astype(np.int64)
