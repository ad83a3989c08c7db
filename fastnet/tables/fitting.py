"""What a fit learns of a column of a raw table: its kind, scale, bins and categories, by weighted rows.

Quantiles are values that occur, so that a weight is so many rows. Weights are added up in their own order, so that the
order of the rows changes nothing.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from fastnet.tables.columns import Coded, Level, Table, in_order, sorts_of
from fastnet.tables.dates import date_part
from fastnet.tables.learned import CATEGORIES, PARTS, Column

Number = tuple[float, float, np.ndarray]
"""The median, the unit and the edges of one."""


def learned_column(
    raw: Table, k: int, weights: np.ndarray | None, bins: int, max_categories: int
) -> tuple[Column, list[Number]]:
    """Return what column k of a table is, and (median, unit, edges) of each number made of it."""
    name = str(k) if raw.names is None else raw.names[k]
    kind, values = raw.read(k, slice(0, raw.n_rows))
    if kind == "boolean":
        values = Coded(np.where(np.isnan(values), -1, values).astype(np.int64), [0, 1])
    if weights is not None and kind != "empty":
        counted = weights > 0
        weights = weights[counted]
        values = Coded(values.codes[counted], values.levels) if kind in CATEGORIES else values[counted]
    if kind == "empty":
        return Column(name, kind, 1.0), []
    is_missing = values.codes < 0 if kind in CATEGORIES else values != values
    missing = share_of(is_missing, weights)
    if missing == 1:
        return Column(name, "empty", 1.0), []
    known = None if weights is None else weights[~is_missing]
    if kind in CATEGORIES:
        return learned_categories(
            Coded(values.codes[~is_missing], values.levels), known, Column(name, kind, missing), max_categories
        ), []
    values = values[~is_missing]
    if kind == "date":
        shown = span(values.min().astype("M8[D]"), values.max().astype("M8[D]"))
    parts: list[str] = []
    numbers: list[Number] = []
    for part in PARTS[kind]:
        column = date_part(values, part) if kind == "date" else values
        low, high, number = learned_number(column, known, bins)
        if kind != "date":
            shown = span(f"{low:.4g}", f"{high:.4g}") + " s" * (kind == "duration")
        if low < high:
            parts.append(part)
            numbers.append(number)
    return Column(name, kind, missing, tuple(parts), shown=shown), numbers


def learned_number(known: np.ndarray, weights: np.ndarray | None, bins: int) -> tuple[float, float, Number]:
    """Return the least and the largest of numbers, and what is learned of them."""
    values, counts = counted_values(known, weights)
    low, q25, median, q75, high = quantiles(values, counts, np.array([0, 0.25, 0.5, 0.75, 1])).tolist()
    edges = edges_of(values, counts, bins)
    unit = q75 - q25 or (high - low) / 2 or high - low  # half of the least number is none
    return low, high, (median, unit, edges if len(edges) > 2 else edges[:0])


def edges_of(values: np.ndarray, counts: np.ndarray, bins: int) -> np.ndarray:
    """Return the edges of the bins of numbers, each with how often it occurs."""
    if bins == 0 or len(values) <= bins + 1:
        return values if bins else values[:0]
    is_frequent = counts * bins >= np.cumsum(counts)[-1]
    n_others = max(2, bins + 1 - int(np.count_nonzero(is_frequent)))
    others = quantiles(values[~is_frequent], counts[~is_frequent], np.linspace(0, 1, n_others))
    return np.unique(np.concatenate([values[is_frequent], others]))


def learned_categories(known: Coded, weights: np.ndarray | None, column: Column, max_categories: int) -> Column:
    """Return a column of categories with those, of its rows that are not missing."""
    counts: dict[Level, float] = {}
    order = slice(None) if weights is None else np.argsort(weights)
    sums = np.bincount(known.codes[order], None if weights is None else weights[order], minlength=len(known.levels))
    for value, count in zip(known.levels, sums.tolist(), strict=True):
        if count:
            counts[value] = counts.get(value, 0) + count
    ordered = in_order(counts)
    kept = ordered
    if len(ordered) > max_categories:
        kept = in_order(sorted(ordered, key=lambda value: -counts[value])[:max_categories])
    return replace(column, levels=tuple(kept), n_levels=len(ordered), sorts=tuple(sorts_of(ordered)))


def counted_values(known: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values of some numbers, in order, and the sum of the weights of each; None: all are 1."""
    if weights is None:
        known = np.sort(known)
    else:
        order = np.lexsort((weights, known))
        known, weights = known[order], weights[order]
    starts = np.flatnonzero(np.concatenate([[True], known[1:] != known[:-1]]))
    counts = np.diff(starts, append=len(known)).astype(float) if weights is None else np.add.reduceat(weights, starts)
    return known[starts], counts


def share_of(rows: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the share of the weight that some rows, a mask, have."""
    if weights is None or not rows.any():
        return int(np.count_nonzero(rows)) / len(rows)
    return 1.0 if rows.all() else float(np.cumsum(np.sort(weights[rows]))[-1] / np.cumsum(np.sort(weights))[-1])


def quantiles(values: np.ndarray, counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the least values up to which that share of the weight lies; values are in order, with their weights."""
    sums = np.cumsum(counts)
    found: np.ndarray = values[np.minimum(np.searchsorted(sums, shares * sums[-1]), len(values) - 1)]
    return found


def span(low: Any, high: Any) -> str:
    """Return a range as text."""
    return f"{low}" if low == high else f"{low} to {high}"
