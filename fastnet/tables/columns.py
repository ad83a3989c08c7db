"""Raw tables, of any library, as plain columns: numbers, codes of categories, dates.

A table is read a column and some rows at a time, so that nobody holds a copy of it. Libraries are told by what their
objects can do; none is imported.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from fastnet import checks
from fastnet.kernels.codes import LARGEST_NUMBER
from fastnet.tables.dates import seconds, usual, utc

Level = str | int | float
"""A category; truth values are 0 and 1 among numbers."""

LARGEST = LARGEST_NUMBER
"""Numbers beyond it, in size, count as it: so no difference of two overflows."""

MISSING_TYPES = ("NoneType", "NAType", "NaTType")

SORTS: dict[str, tuple[type, ...]] = {
    "boolean": (bool, np.bool_),
    "duration": (timedelta, np.timedelta64),  # which is one of NumPy's integers
    "number": (Real, Decimal),
    "category": (str, bytes),
    "date": (date, np.datetime64),
}
"""What objects are of which kind of column; of several kinds, the first."""

NOUNS = {
    "boolean": "truth values", "number": "numbers", "category": "categories or text", "date": "dates",
    "duration": "time differences",
}  # fmt: skip


class Coded(NamedTuple):
    """Categories: the number of each row's level, -1 if it is missing."""

    codes: np.ndarray
    levels: list[Level]


class Plain(NamedTuple):
    """Rows of a column: float64, with NaN for missing, datetime64 with NaT, or `Coded`; None if all are missing."""

    kind: str
    values: Any


@dataclass(frozen=True)
class Place:
    """Where in X rows are, for messages: in which column, and from which row on."""

    column: str
    start: int = 0

    def row(self, row: Any) -> str:
        """Return what is called a cell: the column and a row, counted from `start`."""
        return f"{self.column}, row {int(row) + self.start}"


@dataclass(frozen=True)
class Table:
    """A raw table: the names of its columns, if it has some; its length; and its columns, as their library has them."""

    names: tuple[str, ...] | None
    n_rows: int
    sources: list[Any]

    def place(self, k: int, rows: slice = slice(0, None)) -> Place:
        """Return how messages call a column, by its name or its number from 0."""
        return Place(f"column {k if self.names is None else repr(self.names[k])}", rows.start)

    def read(self, k: int, rows: slice, *, as_categories: bool = False) -> Plain:
        """Return rows of column k; TypeError or ValueError for what no column is read of, such as infinite numbers.

        `as_categories`: numbers as they are, not as float64, in which large ones are another's neighbours.
        """
        place = self.place(k, rows)
        piece = cut(self.sources[k], rows)
        plain = coded(piece) if isinstance(piece, Coded) else plain_of(piece, place, as_categories)
        if plain.kind in ("number", "boolean", "duration"):
            return of_numbers(plain, place)
        if plain.kind == "category":
            return of_categories(plain, place)
        return Plain("empty", None) if plain.kind == "date" and np.isnat(plain.values).all() else plain


# ------------------------------------------------------------------------------------------------------------ tables


def table(X: Any) -> Table:
    """Return X as a table; TypeError if it is sparse, or none at all; ValueError if it has another shape than one."""
    checks.refuse_sparse(X, "X")
    checks.refuse_masked(X, "X")
    if type(X).__name__ == "Series":
        raise ValueError(
            "X must have 2 dimensions, rows and columns, but is a Series. Pass frame[[name]] for a column, or "
            "frame.iloc[[number]] for a row."
        )
    if isinstance(X, Mapping):
        raise TypeError(f"X must be a table, not a {type(X).__name__}. Pass pandas.DataFrame(X).")
    if isinstance(X, (list, tuple)) and any(isinstance(row, Mapping) for row in X[:1]):
        raise TypeError("X holds dictionaries. Pass pandas.DataFrame(X).")
    names = checks.column_names(X)
    if hasattr(X, "iloc") and getattr(X, "ndim", None) == 2:  # pandas
        return Table(names, len(X), [of_series(X.iloc[:, k]) for k in range(X.shape[1])])
    if hasattr(X, "get_columns"):  # polars
        return Table(names, len(X), list(X.get_columns()))
    if hasattr(X, "column_names") and hasattr(X, "column"):  # pyarrow
        return Table(names, X.num_rows, [X.column(k) for k in range(X.num_columns)])
    if hasattr(X, "collect_schema"):
        raise TypeError("X is lazy: its values are still to be computed. Pass X.collect().")
    array = of_rows(X) if isinstance(X, (list, tuple)) else checks.read(X, "X")
    if array.dtype.isbuiltin == 2 and np.can_cast(array.dtype, np.float32):  # another library's own, such as bfloat16
        array = array.astype(np.float32)
    if array.dtype.names is not None and array.ndim == 1:
        return Table(array.dtype.names, len(array), [array[name] for name in array.dtype.names])
    checks.two_dimensional(array)
    return Table(None, len(array), [array[:, k] for k in range(array.shape[1])])


def of_rows(rows: Any) -> np.ndarray:
    """Return a list of rows as an array of objects, in which numbers beside texts stay numbers."""
    array = np.array(rows, dtype=object)
    lengths = sorted({len(row) for row in rows if isinstance(row, (list, tuple)) or getattr(row, "ndim", 0) > 0})
    if array.ndim == 1 and len(lengths) > 1:
        raise ValueError(f"X has rows of {lengths[0]} and of {lengths[-1]} values. Pass rows of one length.")
    return array


def of_series(series: Any) -> Any:
    """Return a series of pandas as it is quickest to cut."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return series.to_numpy()
    if hasattr(dtype, "pyarrow_dtype"):
        return series.array.__arrow_array__()
    if hasattr(dtype, "categories"):
        if len(dtype.categories) and all(isinstance(value, (bool, np.bool_)) for value in dtype.categories):
            return series.to_numpy(dtype=object)
        return Coded(series.cat.codes.to_numpy(), [level(value) for value in dtype.categories])
    return series.dt.tz_convert(None).to_numpy() if hasattr(dtype, "tz") else series


def cut(source: Any, rows: slice) -> Any:
    """Return some rows of a column."""
    if isinstance(source, Coded):
        return Coded(source.codes[rows].astype(np.int64), source.levels)
    if hasattr(source, "iloc"):
        return source.iloc[rows]
    return source[rows] if isinstance(source, np.ndarray) else source.slice(rows.start, rows.stop - rows.start)


def plain_of(piece: Any, place: Place, as_categories: bool) -> Plain:
    """Return rows of a column that is not coded."""
    as_categories |= hasattr(getattr(piece, "type", None), "index_type")  # pyarrow's dictionaries
    array = natural(piece)
    if as_categories and array.dtype.kind in "biuf":
        array = objects(piece)
    if array.ndim != 1:  # of arrays and structs of polars
        raise TypeError(f"X has several values in each row of {place.column}. Pass a column for each of them.")
    kind = array.dtype.kind
    if kind in "UST":
        array = array.astype(object)
    if kind in "USTO":
        return of_objects(array.tolist(), place, as_categories)
    if kind == "M":
        return Plain("date", usual(array))
    if kind == "m":
        return Plain("duration", seconds(array))
    if kind not in "biuf":
        what, remedy = checks.REFUSED_KINDS.get(kind, checks.REFUSED_KINDS["V"])
        raise TypeError(f"X has {what} (dtype {array.dtype}) in {place.column}: {remedy}.")
    return Plain("boolean" if kind == "b" else "number", array.astype(np.float64))


def natural(piece: Any) -> np.ndarray:
    """Return rows of a column as their library makes a NumPy array of them."""
    if isinstance(piece, np.ndarray):
        return piece
    if hasattr(piece, "iloc"):  # nullable, sparse or text
        is_number = getattr(piece.dtype, "kind", "O") in "iuf"
        return np.asarray(piece.to_numpy(dtype=np.float64, na_value=np.nan) if is_number else objects(piece))
    if hasattr(piece, "type"):  # pyarrow
        is_dictionary = hasattr(piece.type, "index_type")  # in parts, whose missing values to_numpy takes for others
        piece = piece.cast(piece.type.value_type) if is_dictionary else piece
        return np.asarray(piece.to_numpy(zero_copy_only=False))
    return objects(piece) if str(piece.dtype) in ("Int128", "UInt128") else np.asarray(piece.to_numpy())


def objects(piece: Any) -> np.ndarray:
    """Return rows of a column as an array of objects."""
    if isinstance(piece, np.ndarray):
        return piece.astype(object)
    if hasattr(piece, "iloc"):
        return np.asarray(piece.to_numpy(dtype=object))
    values = piece.to_pylist() if hasattr(piece, "to_pylist") else piece.to_list()
    array = np.empty(len(values), object)
    array[:] = values
    return array


# ----------------------------------------------------------------------------------------------------------- numbers


def of_numbers(plain: Plain, place: Place) -> Plain:
    """Return numbers with none beyond LARGEST, and zero without a sign; ValueError that shows an infinite one."""
    values = plain.values
    bad = np.isinf(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"X has an infinite value in {place.row(row)}: {values[row]}. Clip it, or put NaN in its place: it is "
            "then missing."
        )
    if np.isnan(values).all():
        return Plain("empty", None)
    return Plain(plain.kind, np.clip(values, -LARGEST, LARGEST) + 0.0)


# -------------------------------------------------------------------------------------------------------- categories


def level(value: Any) -> Level:
    """Return a value of a column of categories: what is neither text nor number is taken by its text."""
    if isinstance(value, (bytes, bytearray)):
        return str(value, "utf-8", "backslashreplace")
    if isinstance(value, (Integral, np.bool_)) and not isinstance(value, np.timedelta64):
        return int(value)
    if isinstance(value, (Real, Decimal)):
        number = float(value)
        return int(number) if number.is_integer() else number
    return str(value)


def in_order(levels: Iterable[Level]) -> list[Level]:
    """Return categories in the order of their columns: numbers, then texts."""
    return sorted(levels, key=lambda value: (isinstance(value, str), value))


def coded(piece: Coded) -> Plain:
    """Return categories with only such levels as occur in these rows, if there are more than rows."""
    codes, levels = piece
    if len(levels) > len(codes):
        used, codes = np.unique(codes, return_inverse=True)
        missing = int(len(used) > 0 and used[0] == -1)
        codes, levels = codes - missing, [levels[code] for code in used[missing:]]
    return Plain("category", Coded(codes, levels))


def of_categories(plain: Plain, place: Place) -> Plain:
    """Return categories; ValueError if one is infinite."""
    codes, levels = plain.values
    if math.inf in levels or -math.inf in levels:
        infinite = np.array([each in (math.inf, -math.inf) for each in levels] + [False])[codes]
        if infinite.any():
            raise ValueError(f"X has an infinite value in {place.row(np.argmax(infinite))}. Put another in its place.")
    return plain if (codes >= 0).any() else Plain("empty", None)


def of_objects(values: list[Any], place: Place, as_categories: bool) -> Plain:
    """Return a column of Python's objects: numbers, truth values, dates or time differences if all are, or categories.

    TypeError that shows the first that is none of these, or no date among dates.
    """
    types = set(map(type, values))
    nothing = {kind for kind in types if kind.__name__ in MISSING_TYPES}
    sorts = {kind: sort_of(kind) for kind in types - nothing}
    for kind, sort in sorts.items():
        if sort is None:
            row = next(row for row, value in enumerate(values) if type(value) is kind)
            raise TypeError(
                f"X has {values[row]!r}, of type {kind.__name__}, in {place.row(row)}. Pass numbers, text, truth "
                "values, dates or time differences; None, if it is missing."
            )
    values = [None if gone else v for v, gone in zip(values, missing_among(values, nothing, sorts), strict=True)]
    found = {sorts[kind] for kind in set(map(type, values)) - {type(None)}}  # NaN beside texts decides nothing
    if not found:
        return Plain("empty", None)
    if found <= {"boolean", "number", "category"} and (as_categories or "category" in found):
        return coded_objects(values)
    if found <= {"boolean", "number"}:
        return Plain("number" if "number" in found else "boolean", floats(values, place))
    if len(found) > 1:
        first = next(sorts[type(value)] for value in values if value is not None)
        row = next(i for i, value in enumerate(values) if value is not None and sorts[type(value)] != first)
        raise TypeError(
            f"X has {NOUNS[str(first)]} in {place.column}, but {values[row]!r} in row {place.start + row}. Pass "
            "values of one kind in a column."
        )
    if found == {"duration"}:
        return Plain("duration", seconds(np.array(values, "m8[us]")))
    return Plain("date", np.array([utc(value) for value in values], "M8[us]"))


def sort_of(kind: type) -> str | None:
    """Return the kind of column that objects of a type make, or None."""
    return next((sort for sort, types in SORTS.items() if issubclass(kind, types)), None)


def missing_among(values: list[Any], nothing: set[type], sorts: dict[type, str | None]) -> np.ndarray:
    """Return which objects are missing: None and its like, NaN and NaT."""
    never = {kind for kind, sort in sorts.items() if issubclass(kind, (int, str, bytes)) or sort == "boolean"}
    if not nothing and len(never) == len(sorts):
        return np.zeros(len(values), bool)
    return np.fromiter(
        (type(v) in nothing or (type(v) not in never and is_nan(v)) for v in values), bool, count=len(values)
    )


def is_nan(value: Any) -> bool:
    """Return whether a number, a date or a time difference is none."""
    return value.is_nan() if isinstance(value, Decimal) else bool(value != value)


def floats(values: list[Any], place: Place) -> np.ndarray:
    """Return numbers as float64, NaN for None; ValueError for an integer beyond its range."""
    try:
        return np.array(values, np.float64)
    except OverflowError:
        row = next(i for i, value in enumerate(values) if value is not None and abs(value) > 2**1023)
        raise ValueError(f"X has a number beyond the range of float64 in {place.row(row)}. Scale the column.") from None


def coded_objects(values: list[Any]) -> Plain:
    """Return objects as categories, numbered as they come; None is missing."""
    index: dict[Any, int] = {None: -1}
    codes = np.fromiter((index.setdefault(value, len(index) - 1) for value in values), np.int64, count=len(values))
    return Plain("category", Coded(codes, [level(value) for value in list(index)[1:]]))


# ----------------------------------------------------------------------------------------------- as a fit has seen them


def sorts_of(levels: Iterable[Level]) -> tuple[str, ...]:
    """Return what categories are: "numbers", "text" or both."""
    return tuple(sorted({"text" if isinstance(each, str) else "numbers" for each in levels}))


def as_kind(plain: Plain, kind: str, place: Place, sorts: tuple[str, ...] = ("numbers",)) -> Any:
    """Return rows of a column as one of the kind that it had in fit: float64, datetime64 or `Coded`; None: all missing.

    Numbers and truth values stand for each other, as 0 and 1, and for categories that are numbers, by value. TypeError
    for another kind, and for categories of other `sorts` than those of fit.
    """
    if plain.kind == "empty":
        return None
    values, numeric = plain.values, ("number", "boolean")
    if plain.kind == "category" and kind in (*numeric, "category"):
        if not set(sorts_of(values.levels)) <= set(sorts):
            wrong = np.array([sorts_of([each])[0] not in sorts for each in values.levels] + [False])[values.codes]
            if wrong.any():
                row = int(np.argmax(wrong))
                value = values.levels[values.codes[row]]
                came = f"{sorts_of([value])[0]}, {value!r} in row {place.start + row}"
                raise another_kind(kind if kind in numeric else sorts[0], came, place)
        if kind == "category":
            return values
        values = np.array([*map(float, values.levels), np.nan])[values.codes]
    elif plain.kind != kind and not (plain.kind in numeric and kind in numeric):
        raise another_kind(kind, NOUNS[plain.kind], place)
    if kind == "boolean":
        wrong = ~(np.isnan(values) | (values == 0) | (values == 1))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise another_kind(kind, f"numbers, {values[row]:g} in row {place.start + row}", place)
    return values


FORMER = NOUNS | {"text": "text", "numbers": "categories that are numbers"}
REMEDIES = {
    "number": ".astype(float) makes numbers of text",
    "numbers": ".astype(float) makes numbers of text",
    "category": ".astype(str) makes text",
    "text": ".astype(str) makes text",
    "date": "pandas.to_datetime makes dates of text",
    "duration": "pandas.to_timedelta makes them of text",
    "boolean": "(column == value) makes them of others",
}


def another_kind(kind: str, came: str, place: Place) -> TypeError:
    """Return the error for a column that is not what it was in fit."""
    return TypeError(
        f"X has {came}, in {place.column}, which had {FORMER[kind]} in fit. Convert it ({REMEDIES[kind]}), or fit anew."
    )
