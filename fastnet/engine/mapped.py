"""Rows of an array in a file, mapped into memory, that are converted some at a time: the whole might not fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet import checks
from fastnet.engine.sparse import Rows
from fastnet.scaling import Scales


class MappedRows(Rows):
    """The rows of a mapped array (m, n_x), or some of them, in a dtype, on a scale or as they are."""

    def __init__(
        self, array: np.ndarray, dtype: np.dtype, indices: np.ndarray | None = None, scales: Scales | None = None
    ) -> None:
        self.array, self.dtype, self.indices, self.scales = array, dtype, indices, scales
        self.shape = (len(array) if indices is None else len(indices), array.shape[1])
        self.size = self.shape[0] * self.shape[1]

    def __getitem__(self, which: Any) -> Any:
        """Return the rows of a slice, as an array; or those of some indices, mapped still."""
        if isinstance(which, slice):
            return self._converted(self.array[which] if self.indices is None else self.array[self.indices[which]])
        return MappedRows(self.array, self.dtype, which if self.indices is None else self.indices[which], self.scales)

    def fill(self, indices: np.ndarray, dense: np.ndarray) -> None:
        """Write the rows of those indices to `dense` (len(indices), n_x)."""
        dense[...] = self._converted(self.array[indices if self.indices is None else self.indices[indices]])

    @np.errstate(all="ignore")
    def _converted(self, rows: np.ndarray) -> np.ndarray:
        if self.scales is not None:
            return self.scales.of(rows, self.dtype)
        return np.asarray(rows, self.dtype)

    def standardized(self, scales: Scales, dtype: np.dtype) -> MappedRows:
        """Return the rows on the scale of a network, in its dtype; ValueError if one is not finite there."""
        scales.check_width(self.shape[1], "X")
        scaled = MappedRows(self.array, dtype, self.indices, scales)
        scales.refuse_what_is_beyond(scaled, "X", self)
        return scaled


def mapped_rows(
    X: Any, dtype: np.dtype, n_features: int | None, *, as_rows: bool = False, may_be_none: bool = False
) -> MappedRows | None:
    """Return the rows of a mapped array that the kernels cannot take as it is, checked; None for anything else.

    `as_rows`: of any mapped array. It may have no rows if there `may_be_none`.
    """
    if not isinstance(X, np.memmap):
        return None
    array = checks.example_array(X, n_features, may_be_none=may_be_none)
    if not as_rows and array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return None
    rows = MappedRows(array, dtype)
    if array.dtype.kind == "f":
        checks.refuse_not_finite(array, "X", "non-finite {}", checks.IMPUTE)
    checks.refuse_beyond(rows, array, dtype, "X")
    return rows
