"""Checks of a table and its targets that are not the encoder's."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet import checks
from fastnet.tables.columns import MISSING_TYPES


def refuse_complex(X: Any) -> None:
    """Raise ValueError for an array of complex numbers, in scikit-learn's words."""
    if getattr(getattr(X, "dtype", None), "kind", "") == "c":
        raise ValueError("Complex data not supported: pass real numbers, such as X.real and X.imag side by side.")


def refuse_missing(y: Any) -> None:
    """Raise ValueError if a target among objects is missing: None and its like, or NaN, or masked."""
    checks.refuse_masked(y, "y")
    values = np.asarray(y, object if isinstance(y, (list, tuple)) else None)
    if values.dtype != object or values.ndim != 1:
        return  # of numbers, scikit-learn says it
    for row, value in enumerate(values):
        if type(value).__name__ in MISSING_TYPES or (isinstance(value, float) and value != value):
            raise ValueError(f"y contains NaN: {value!r} in row {row}. Leave out rows whose target is missing.")
