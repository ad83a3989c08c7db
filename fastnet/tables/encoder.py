"""Raw tables as numbers that networks learn from: scaled, piecewise linear, one-hot; learned by a fit."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from fastnet import checks
from fastnet.errors import NotFittedError
from fastnet.kernels.codes import LARGEST_COMPACT, MISSING_BELOW
from fastnet.layers import Encode
from fastnet.report import Text
from fastnet.tables.columns import Coded, Table, as_kind, table
from fastnet.tables.dates import date_part
from fastnet.tables.fitting import learned_column
from fastnet.tables.learned import CATEGORIES, Column, described, restored

ROWS = 4096
"""Encoded at a time: what is computed of a number stays in the second cache."""

LARGEST_Z = 1e100
"""Of numbers before the clip, which squares them; beyond it, they are the clip, to the last bit."""

MISSING = 2 * MISSING_BELOW
"""Stands for a number that is missing, in `compact`."""

MOST_BINS = 1000
CLIPS = 0.01, 1000.0


class TableEncoder(checks.FixedSettings):
    """Prepare raw tables for a network: any columns, with missing values, become finite numbers of about unit size.

    - **Numbers** x: z = (x - median) / (q75 - q25), or by half the range if the quartiles are equal; then
      z / sqrt(1 + (z / clip)^2), which bounds outliers smoothly (Holzmüller, Grinsztajn & Steinwart, Better by default:
      strong pre-tuned MLPs and boosted trees on tabular data, 2024). A missing value is 0, the median; a column that
      has some in training gets an indicator beside it, 1 where one is missing.
    - **Bins**: with edges e, the piecewise linear code 2 clip((x - e[b]) / (e[b+1] - e[b]), 0, 1) - 1 for each bin b,
      if there are two or more (Gorishniy, Rubachev & Babenko, On embeddings for numerical features in tabular deep
      learning, 2022). Edges are all values, if there are few; or each value of 1/bins of the rows, such as the zeros
      that most rows have, and quantiles of the other rows.
    - **Truth values**: -1 and 1; missing 0.
    - **Categories and text**: a column for each value of training, 1 in its rows, numbers first, then texts; of two
      values one column, 1 for the first and -1 for the second; zeros for missing ones and those training had not.
      Values are compared as Python does, 1 with 1.0 but not with "1"; bytes are text.
    - **Dates**: numbers as above: seconds since 1970, year, month (1 to 12), day (1 to 31), weekday (0 is Monday), hour
      with its fraction; in UTC. **Time differences**: a number of seconds.

    What was constant in training, or missing throughout, makes no column; if nothing is left, there is one of zeros.
    Columns come in the order: z of all numbers, indicators, bins number by number, categories. Only IEEE operations
    are used, so a table has the same bits on every machine.

    Parameters
    ----------
    bins : int
        Of numbers, at most 1000; 0: none. 4 and 16 learn worse than 8 on twelve tables.
    clip : float
        The bound of z, from 0.01 to 1000; 3 is that of Holzmüller et al.
    max_categories : int
        Of a column; of more, the most frequent are kept, the others are as those training had not.

    Attributes
    ----------
    n_features_in_ : int
        The number of columns of the raw table.
    feature_names_in_ : tuple of str or None
        Their names; None if it had none.
    columns : tuple of Column
        What each of them is, and what became of it.
    n_columns : int
        The number of columns made.
    medians, units : ndarray (n_numbers,)
        Of the numbers: what is subtracted, and divided by.
    edges : ndarray, edge_offsets : ndarray (n_numbers + 1,)
        The edges of the bins; those of number f are edges[edge_offsets[f] : edge_offsets[f + 1]].

    Examples
    --------
    >>> from fastnet.tables.encoder import TableEncoder
    >>> encoder = TableEncoder(bins=2).fit([[1.5, "red"], [None, "blue"], [4.0, "green"], [2.5, "red"]])
    >>> print(encoder)
    column  kind      values            missing  columns
    0       number    1.5 to 4             25 %        4
    1       category  blue, green, red      0 %        3
    2 columns become 7.
    >>> encoder.transform([[2.5, "blue"], [4.0, "black"]]).shape
    (2, 7)
    """

    fixed: ClassVar[tuple[str, ...]] = ("bins", "clip", "max_categories")

    n_features_in_: int
    feature_names_in_: tuple[str, ...] | None
    columns: tuple[Column, ...]
    n_columns: int
    medians: np.ndarray
    units: np.ndarray
    edges: np.ndarray
    edge_offsets: np.ndarray

    def __init__(self, bins: int = 8, clip: float = 3.0, max_categories: int = 1000) -> None:
        self.bins = checks.non_negative_integer(bins, "bins")
        if self.bins > MOST_BINS:
            raise ValueError(f"bins must be at most {MOST_BINS}, not {bins}.")
        low, high = CLIPS
        self.clip = checks.real_number(clip, "clip", f"a number from {low:g} to {high:g}", low, np.nextafter(high, 2e3))
        self.max_categories = checks.positive_integer(max_categories, "max_categories")

    # ------------------------------------------------------------------------------------------------------- learning

    @np.errstate(all="ignore")
    def fit(self, X: Any, sample_weight: np.ndarray | None = None) -> "TableEncoder":
        """Learn the columns of a table, and return the encoder.

        With weights (m,), not negative, a row counts as so many rows, and one of weight 0 as none.

        X is a DataFrame of pandas, polars or pyarrow, an array (m, n), one of records (m,), or a list of rows. None,
        NaN, NaT and what else libraries have for it is missing.

        Raises
        ------
        TypeError
            If X is sparse, or a column holds what none is made of, such as lists, or dates beside numbers.
        ValueError
            If X has another shape, or no rows, or an infinite number; the message names the column and the row.
        """
        raw = table(X)
        if not raw.n_rows or not raw.sources:
            shape, what = (raw.n_rows, len(raw.sources)), "sample" if raw.sources else "feature"
            raise ValueError(f"X has 0 {what}(s) (shape={shape}) while a minimum of 1 is required.")
        if sample_weight is not None and len(sample_weight) != raw.n_rows:
            n = len(sample_weight)
            raise ValueError(f"X has {raw.n_rows} rows, but {n} have weights. Pass a target and a weight for each row.")
        columns, numbers = [], []
        for k in range(len(raw.sources)):
            column, found = learned_column(raw, k, sample_weight, self.bins, self.max_categories)
            columns.append(column)
            numbers += found
        medians, units, edges = zip(*numbers, strict=True) if numbers else ((), (), ())
        self._keep(
            raw.names,
            tuple(columns),
            np.array(medians, np.float64),
            np.array(units, np.float64),
            np.concatenate([np.zeros(0), *edges]),
            np.cumsum([0, *map(len, edges)]),
        )
        return self

    def _keep(
        self, names: tuple[str, ...] | None, columns: tuple[Column, ...], medians: np.ndarray, units: np.ndarray,
        edges: np.ndarray, edge_offsets: np.ndarray,
    ) -> None:  # fmt: skip
        """Set what was learned, and the places of the columns that are made."""
        self.feature_names_in_, self.n_features_in_, self.columns = names, len(columns), columns
        self.medians, self.units, self.edges, self.edge_offsets = medians, units, edges, edge_offsets
        n_bins = np.maximum(np.diff(edge_offsets) - 1, 0)
        n_indicators = sum(column.has_indicator for column in columns)
        self._first_code = len(medians) + n_indicators + np.concatenate([[0], np.cumsum(n_bins)]).astype(np.int64)
        n_categories = sum(column.n_one_hot for column in columns)
        self.n_columns = max(1, int(self._first_code[-1]) + n_categories)

    # ------------------------------------------------------------------------------------------------------ encoding

    @np.errstate(all="ignore")
    def transform(self, X: Any) -> np.ndarray:
        """Return a table's rows as float32 (m, n_columns), finite and C-contiguous.

        X is of any form that `fit` takes, with the same columns in the same order; in a table without names, they are
        taken by their places. No rows give none.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            If a column is of another kind than in `fit`, such as text where there were numbers.
        ValueError
            If X has other columns, or an infinite number; and as `fit`.
        """
        raw = self._checked(X)
        Z = np.zeros((raw.n_rows, self.n_columns), np.float32)
        for start in range(0, raw.n_rows, ROWS):
            rows = slice(start, min(start + ROWS, raw.n_rows))
            self._encode(raw, rows, Z[rows])
        return Z

    def _checked(self, X: Any) -> Table:
        """Return a table that has the columns of the one in `fit`; errors as `transform`."""
        self._check_fitted()
        raw = table(X)
        checks.same_columns(raw.names, self.feature_names_in_, "model.feature_names_in_")
        if len(raw.sources) != self.n_features_in_:
            n = len(raw.sources)
            raise ValueError(
                f"X has {n} features, but TableEncoder is expecting {self.n_features_in_} features as input."
            )
        return replace(raw, names=self.feature_names_in_)  # messages call columns as fit has known them

    def _check_fitted(self) -> None:
        """Raise NotFittedError before `fit`."""
        if not hasattr(self, "columns"):
            raise NotFittedError("This encoder has learned nothing yet: call fit(X) first.")

    def _encode(self, raw: Table, rows: slice, Z: np.ndarray) -> None:
        """Write the encoding of some rows to Z, which is zero."""
        number, indicator, category = 0, len(self.medians), int(self._first_code[-1])
        for k, column in enumerate(self.columns):
            if column.kind == "empty":
                continue
            plain = raw.read(k, rows, as_categories=column.kind == "category")
            values = as_kind(plain, column.kind, raw.place(k, rows), column.sorts or ("numbers",))
            if column.kind in CATEGORIES:
                if values is not None:
                    write_categories(column, values, Z[:, category : category + column.n_one_hot])
                category += column.n_one_hot
                continue
            for part in column.parts:
                if values is None:
                    x = np.full(len(Z), np.nan)
                else:
                    x = values if column.kind != "date" else date_part(values, part)
                self._write_number(number, x, Z)
                number += 1
            if column.has_indicator:
                Z[:, indicator] = 1 if values is None else values != values
                indicator += 1

    def _write_number(self, f: int, x: np.ndarray, Z: np.ndarray) -> None:
        """Write z and the code of number f: x, with NaN for missing."""
        median, edges = self.medians[f], self.edges[self.edge_offsets[f] : self.edge_offsets[f + 1]]
        x = np.where(np.isnan(x), median, x)
        z = np.clip((x - median) / self.units[f], -LARGEST_Z, LARGEST_Z)
        Z[:, f] = z / np.sqrt(1 + (z / self.clip) * (z / self.clip))
        if len(edges):
            code = x - edges[:-1, None]  # (bins, m): its rows are long
            code /= np.diff(edges)[:, None]
            np.clip(code, 0, 1, out=code)
            code *= 2
            code -= 1
            Z[:, self._first_code[f] : self._first_code[f + 1]] = code.T

    # ------------------------------------------------------------------------------------------- for an input layer

    def layer(self) -> Encode:
        """Return the input layer that makes of `compact` rows what the network sees.

        The inputs that `transform` would make, but column by column of X: of each number z, its code and its indicator.
        """
        self._check_fitted()
        made: list[tuple[Any, ...]] = []
        number = 0
        for column in self.columns:
            for index in range(len(column.parts)):
                made.append(self._layer_of_number(number, has_gaps=index == 0 and column.has_indicator))
                number += 1
            if not column.parts and column.has_indicator:
                made.append(("value",))
            if column.n_one_hot:
                made.append(("value",) if len(column.levels) == 2 else ("category", column.n_one_hot))
        return Encode(made or [("value",)])

    def _layer_of_number(self, f: int, *, has_gaps: bool) -> tuple[Any, ...]:
        """Return what `layers.Encode` says of number f."""
        edges = self._z(f, self.edges[self.edge_offsets[f] : self.edge_offsets[f + 1]])
        edges = np.unique(edges.astype(np.float32)).astype(float)
        return "number", has_gaps, self.clip, *(edges.tolist() if len(edges) > 1 else [])

    def _z(self, f: int, x: np.ndarray) -> np.ndarray:
        """Return numbers (m,) of column f on the scale of z, before the clip; and none so large that its square is."""
        z: np.ndarray = np.clip((x - self.medians[f]) / self.units[f], -LARGEST_COMPACT, LARGEST_COMPACT)
        return z

    @property
    def places(self) -> list[np.ndarray]:
        """For each column of the raw table, which columns of `compact` are made of it."""
        self._check_fitted()
        sizes = [
            len(column.parts) + (column.has_indicator and not column.parts) + (column.n_one_hot > 0)
            for column in self.columns
        ]
        return np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])

    def numbers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return for each column of `compact` its column of X, what is subtracted, and divided by; all (n,).

        None unless they are all numbers, and so all that there is to do.
        """
        self._check_fitted()
        if any(column.kind not in ("number", "empty") for column in self.columns) or not len(self.medians):
            return None
        if any(column.has_indicator and not column.parts for column in self.columns):
            return None
        sources = [k for k, column in enumerate(self.columns) for _ in column.parts]
        return np.array(sources, np.int64), self.medians, self.units

    @np.errstate(all="ignore")
    def compact(self, X: Any, dtype: Any = np.float32) -> np.ndarray:
        """Return a table's rows as (m, columns of `layer()`): a number each, of which that layer makes the inputs.

        X and the errors are those of `transform`.
        """
        raw = self._checked(X)
        places = self.places
        C = np.zeros((raw.n_rows, max(1, sum(map(len, places)))), dtype)
        for start in range(0, raw.n_rows, ROWS):
            rows = slice(start, min(start + ROWS, raw.n_rows))
            number = 0
            for k, column in enumerate(self.columns):
                if column.kind != "empty":
                    self._write_compact(raw, k, rows, number, C[rows], places[k])
                number += len(column.parts)
        return C

    def _write_compact(self, raw: Table, k: int, rows: slice, number: int, C: np.ndarray, places: np.ndarray) -> None:
        """Write column k of some rows to its places among the columns of C, which is zero; `number` is its first."""
        column = self.columns[k]
        plain = raw.read(k, rows, as_categories=column.kind == "category")
        values = as_kind(plain, column.kind, raw.place(k, rows), column.sorts or ("numbers",))
        if column.kind in CATEGORIES:
            if len(places):
                found = numbers_of_categories(column, values, len(C))
                if len(column.levels) == 2:
                    first = -1 if column.kind == "boolean" else 1
                    C[:, places[0]] = np.array([first, -first, 0])[found]
                else:
                    C[:, places[0]] = found
            return
        if not column.parts and column.has_indicator:
            C[:, places[0]] = 1 if values is None else values != values
        for f, (part, at) in enumerate(zip(column.parts, places, strict=False), start=number):
            if values is None:
                C[:, at] = MISSING
                continue
            x = values if column.kind != "date" else date_part(values, part)
            C[:, at] = np.where(np.isnan(x), MISSING, self._z(f, x))

    # ---------------------------------------------------------------------------------------------------------- files

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return settings, as JSON has them, and arrays, of which `of_state` makes this encoder again."""
        self._check_fitted()
        settings = {name: getattr(self, name) for name in self.fixed}
        return settings | described(self.feature_names_in_, self.columns), {
            name: getattr(self, name).copy() for name in ("medians", "units", "edges", "edge_offsets")
        }

    @classmethod
    def of_state(cls, settings: Any, arrays: Any) -> "TableEncoder":
        """Return the encoder of a state, which a file may have held: ValueError if it is that of none."""
        try:
            encoder = cls(**{name: settings[name] for name in cls.fixed})
            encoder._keep(*restored(settings, arrays, encoder.bins, encoder.max_categories))
        except (TypeError, ValueError, LookupError, OverflowError) as error:
            raise ValueError(f"This is no state of a TableEncoder: {error}") from None
        return encoder

    # ------------------------------------------------------------------------------------------------------- printing

    def __str__(self) -> str:
        if not hasattr(self, "columns"):
            return repr(self)
        rows = [("column", "kind", "values", "missing", "columns"), *self._rows()]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                f"{cell:>{w}}" if i > 2 else f"{cell:{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        n = self.n_features_in_
        lines.append(f"{n} column{'s' * (n != 1)} become{'s' * (n == 1)} {self.n_columns}.")
        return Text("\n".join(lines))

    def __repr__(self) -> str:
        return f"TableEncoder(bins={self.bins}, clip={self.clip}, max_categories={self.max_categories})"

    def _rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Yield a row of the printed table for each column."""
        number = 0
        for column in self.columns:
            numbers = range(number, number + len(column.parts))
            number += len(column.parts)
            made = sum(1 + int(self._first_code[f + 1] - self._first_code[f]) for f in numbers)
            made += column.has_indicator + column.n_one_hot
            values = column.shown or ", ".join(map(str, column.levels[:10]))
            if column.n_levels > len(column.levels):
                values = f"{len(column.levels)} of {column.n_levels}: {values}"
            if not column.parts and column.n_levels < 2 and column.kind != "empty":
                values = f"constant: {values}"
            share = (
                f"{100 * column.missing:.2g} %" if 0 < column.missing < 0.995 else f"{100 * round(column.missing)} %"
            )
            yield short(column.name), column.kind, short(values), share, str(made)


def short(text: str) -> str:
    """Return a text on a line of at most 48 characters, none of which commands a terminal."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:100])
    return text if len(text) <= 48 else text[:45] + "..."


def numbers_of_categories(column: Column, values: Any, m: int) -> np.ndarray:
    """Return for each of m rows which of a column's levels it has, -1 for none; `values` None: all are missing."""
    if values is None:
        return np.full(m, -1)
    if column.kind == "boolean":
        values = Coded(np.where(np.isnan(values), -1, values).astype(np.int64), [0, 1])
    at = {level: i for i, level in enumerate(column.levels)}
    found: np.ndarray = np.array([*(at.get(level, -1) for level in values.levels), -1])[values.codes]
    return found


def write_categories(column: Column, values: Any, hot: np.ndarray) -> None:
    """Write categories, or truth values, to their columns, which are zero."""
    if not hot.shape[1]:
        return
    found = numbers_of_categories(column, values, len(hot))
    if len(column.levels) == 2:
        first = -1 if column.kind == "boolean" else 1
        hot[:, 0] = np.array([first, -first, 0], np.float32)[found]
    else:
        rows = np.flatnonzero(found >= 0)
        hot[rows, found[rows]] = 1
