"""What an encoder has learned of each column of a table; as data, for files, and back, without trust."""

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fastnet.tables.columns import LARGEST, Level, in_order, sorts_of
from fastnet.tables.dates import DATE_PARTS

CATEGORIES = ("boolean", "category")
"""The kinds of columns that are one-hot; the others are numbers."""

PARTS = {"number": ("value",), "duration": ("value",), "date": tuple(DATE_PARTS)}
"""The numbers that are made of a column, by its kind."""

KINDS = (*PARTS, *CATEGORIES, "empty")


@dataclass(frozen=True)
class Column:
    """What a column of the raw table is, and what became of it.

    Attributes
    ----------
    name : str
        Its name, or its number from 0 in a table without names.
    kind : str
        "number", "boolean", "category" (text too), "date", "duration", or "empty": missing throughout.
    missing : float
        The share of missing values in training.
    parts : tuple of str
        The numbers made of it: ("value",), or parts of a date; none if they were all constant.
    levels : tuple
        The categories that have columns, in their order: numbers, then texts; truth values are 0 and 1.
    n_levels : int
        How many categories training had.
    sorts : tuple of str
        What those were: "numbers", "text" or both.
    shown : str
        Its range, as text.
    """

    name: str
    kind: str
    missing: float = 0.0
    parts: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    n_levels: int = 0
    sorts: tuple[str, ...] = ()
    shown: str = ""

    @property
    def has_indicator(self) -> bool:
        """Whether a column says where a number is missing."""
        return self.missing > 0 and self.kind not in (*CATEGORIES, "empty")

    @property
    def n_one_hot(self) -> int:
        """How many columns its categories make: one for two, signed; none if all rows are of the same."""
        if self.n_levels < 2 and self.missing == 0:
            return 0
        return 1 if len(self.levels) == 2 else len(self.levels)


Learned = tuple[tuple[str, ...] | None, tuple[Column, ...], np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""The names, the columns, and the medians, units, edges and edge_offsets of an encoder."""


def described(names: tuple[str, ...] | None, columns: tuple[Column, ...]) -> dict[str, Any]:
    """Return what was learned of the columns as JSON has it."""
    described = [{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(each).items()} for each in columns]
    return {"names": None if names is None else list(names), "columns": described}


def restored(settings: Any, arrays: Any, bins: int, max_categories: int) -> Learned:
    """Return what was learned, of a description that may be anything; ValueError or LookupError says what is wrong."""
    names, entries = settings["names"], settings["columns"]
    require(isinstance(entries, list) and len(entries) > 0, "its columns are no list, or an empty one")
    columns = tuple(column(entry, max_categories) for entry in entries)
    if names is not None:
        require(
            is_of_texts(names) and names == [each.name for each in columns], "its names are not those of its columns"
        )
    medians, units, edges = (array(arrays, name, np.float64) for name in ("medians", "units", "edges"))
    n = sum(len(each.parts) for each in columns)
    require(len(medians) == len(units) == n, f"medians and units must be {n}")
    for name, values in (("medians", medians), ("edges", edges)):
        require(bool((np.abs(values) <= LARGEST).all()), f"its {name} are not all within {LARGEST:.4g}")
    require(bool((np.isfinite(units) & (units > 0)).all()), "its units are not all finite and above 0")
    offsets = array(arrays, "edge_offsets", np.int64)
    is_of_edges = len(offsets) == n + 1 and offsets[0] == 0 and offsets[-1] == len(edges)
    require(is_of_edges and bool((offsets[1:] >= offsets[:-1]).all()), "its edge_offsets are none of its edges")
    counts = np.diff(offsets)
    require(
        bool(((counts == 0) | ((counts > 2) & (counts <= bins + 1))).all()), f"its edges are not those of {bins} bins"
    )
    for start, stop in pairwise(offsets):
        require(bool((np.diff(edges[start:stop]) > 0).all()), "its edges do not increase")
    return None if names is None else tuple(names), columns, medians, units, edges, offsets


def column(entry: Any, max_categories: int) -> Column:
    """Return a column of its description; ValueError or LookupError if it is none."""
    require(isinstance(entry, dict) and entry.keys() == asdict(Column("", "")).keys(), "a column has other entries")
    name, kind, missing, shown = (entry[key] for key in ("name", "kind", "missing", "shown"))
    parts, levels, n_levels, sorts = (entry[key] for key in ("parts", "levels", "n_levels", "sorts"))
    require(is_of_texts([name, shown, kind]) and kind in KINDS, f"a column has the kind {kind!r}, or no texts")
    require(type(missing) in (int, float) and 0 <= missing <= 1, f"a share of missing values is {missing!r}")
    require(is_of_texts(parts), "the parts of a column are no list of texts")
    require(
        parts == [each for each in PARTS.get(kind, ()) if each in parts], f"a column of kind {kind!r} has other parts"
    )
    require(isinstance(levels, list) and all(map(is_level, levels)), "categories must be texts or finite numbers")
    require(
        len(set(levels)) == len(levels) and in_order(levels) == levels, "categories are twice there, or in no order"
    )
    require(
        type(n_levels) is int and len(levels) <= n_levels, f"a column has {n_levels!r} categories, but more columns"
    )
    require(len(levels) <= max_categories, f"a column has more than {max_categories} categories")
    require(bool(levels) == (kind in CATEGORIES), f"a column of kind {kind!r} has {len(levels)} categories")
    require(kind != "boolean" or set(levels) <= {0, 1}, "truth values are neither 0 nor 1")
    require(
        is_of_texts(sorts)
        and set(sorts_of(levels)) <= set(sorts) <= {"numbers", "text"}
        and sorts == sorted(set(sorts)),
        "the sorts of categories are not theirs",
    )
    return Column(name, kind, float(missing), tuple(parts), tuple(levels), n_levels, tuple(sorts), shown)


def require(is_so: bool, otherwise: str) -> None:
    """Raise ValueError unless something is so."""
    if not is_so:
        raise ValueError(f"{otherwise}.")


def is_of_texts(values: Any) -> bool:
    """Return whether a value is a list of texts."""
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def is_level(value: Any) -> bool:
    """Return whether a value is a category: truth values are not."""
    return type(value) in (str, int) or (type(value) is float and math.isfinite(value))


def array(arrays: Any, name: str, dtype: Any) -> np.ndarray:
    """Return a flat array of a dtype, in memory of its own; ValueError or LookupError if there is none of that name."""
    found = arrays[name]
    is_flat = isinstance(found, np.ndarray) and found.ndim == 1
    require(is_flat and found.dtype == dtype, f"{name} must be a flat array of {np.dtype(dtype)}")
    return np.array(found)
