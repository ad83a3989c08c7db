"""Which rows networks train with: each kind of row once or, of a discrete table, as often as it is there; in folds."""

from typing import NamedTuple

import numpy as np

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio, odd: Knuth, The art of computer programming, volume 3, section 6.4."""

DISCRETE_FROM = 0.1
"""The share of its weight, or the twins of a row, from which a table is discrete, see `is_discrete`: tables of
measurements have up to 0.02."""

ROWS_AT_ONCE = 2**16
"""Rows of which a copy is made at a time, so that little memory is needed."""

MOST_REPEATS = 100_000
"""Rows as which a discrete table is repeated, about, at most; or twice its distinct rows, if those are more."""


class Distinct(NamedTuple):
    """The distinct rows of a table.

    `rows` (n,): their numbers, in an order by what they hold. `of` (m,): for each row of the table, the number of the
    one that stands for it; -1 of a row without weight. `weights` (m,): those of all that a row stands for; None: 1.
    """

    rows: np.ndarray
    of: np.ndarray
    weights: np.ndarray | None


def distinct_rows(C: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Distinct:
    """Return the distinct rows of C (m, n) with targets y (m,), and weights (m,) or None.

    So a row that is there twice counts as one of twice the weight, is in one fold alone, and the order of the table
    changes nothing.
    """
    m, keys = len(C), hashes(C, y)
    if weights is None:
        order = np.argsort(keys, kind="stable")
    else:
        order = np.flatnonzero(weights)
        order = order[np.lexsort((weights[order], keys[order]))]  # sums, too, shall not depend on the order of rows
    keys = keys[order]
    alike = np.flatnonzero(keys[1:] == keys[:-1]) + 1
    del keys
    for column in (y, *C.T):  # no copy of C
        alike = alike[column[order[alike]] == column[order[alike - 1]]]
    if weights is None and len(alike) == 0:
        return Distinct(order, np.arange(m), None)
    is_first = np.ones(len(order), bool)
    is_first[alike] = False
    starts, rows = np.flatnonzero(is_first), order[is_first]
    of = np.full(m, -1)
    of[order] = rows[np.cumsum(is_first) - 1]
    sums = np.zeros(m)
    sums[rows] = np.add.reduceat(np.ones(m) if weights is None else weights[order], starts)
    return Distinct(rows, of, sums)


def repeated(C: np.ndarray, distinct: Distinct) -> tuple[np.ndarray, np.ndarray | None]:
    """Return distinct rows of C, those of a discrete table as often as they are there; and what each of these weighs.

    Each fold shall have its share of a kind of row, where in other tables one fold has all that are alike. Weights are
    numbers of rows if they are whole.
    """
    rows, of, weights = distinct
    if weights is None:
        return rows, None
    counts = weights[rows]
    is_whole = bool((counts == np.rint(counts)).all())
    if not is_whole:
        counts = np.bincount(of[of >= 0], minlength=len(of))[rows]
    if counts.max() == 1 or not is_discrete(C, rows, counts):
        return rows, weights
    unit = max(1.0, counts.sum() / max(MOST_REPEATS, 2 * len(rows)))
    times = np.maximum(1, np.rint(counts / unit)).astype(np.int64)
    weights = weights.copy()
    weights[rows] /= times
    return np.repeat(rows, times), None if is_whole and unit == 1 else weights


def is_discrete(C: np.ndarray, rows: np.ndarray, counts: np.ndarray) -> bool:
    """Return whether rows of C are alike because there are few kinds of them, and not because some were copied.

    Then what there is to learn of a kind is how often it has which target. It is so if rows of one kind often have
    several targets; or if one may expect twins, were the values of each column dealt to the distinct rows by chance:
    how often each of these is there, or what it weighs, is no reason.
    """
    _, kinds, sizes = np.unique(hashes(C)[rows], return_inverse=True, return_counts=True)
    if counts[sizes[kinds] > 1].sum() >= DISCRETE_FROM * counts.sum():
        return True
    others = twins = len(rows) - 1.0
    for column in C.T:
        _, n = np.unique(column[rows], return_counts=True)
        twins *= (n * (n - 1.0)).sum() / max(1.0, len(rows) * others)
        if twins < DISCRETE_FROM:
            return False
    return True


def hashes(*arrays: np.ndarray) -> np.ndarray:
    """Return a number of 64 bits for each row of arrays (m, n) or (m,): the same one for the same values."""
    found = np.zeros(len(arrays[0]), np.uint64)
    for start in range(0, len(found), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        part = found[rows]
        for column in (column for array in arrays for column in np.atleast_2d(array[rows].T)):
            bits = (column + 0.0).astype(np.float64).view(np.uint64)  # -0 is 0
            part[:] = (part ^ bits) * FACTOR
            part ^= part >> np.uint64(29)
    return found


def folds(rows: np.ndarray, classes: np.ndarray | None, n_folds: int, seed: int) -> list[np.ndarray]:
    """Return the places of some rows among them, in n folds.

    As many rows of every class are in each, as nearly as can be, where `classes` has the class of each row of the
    table. There may be fewer rows than folds: some are empty then.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(rows))
    if classes is not None:
        order = order[np.argsort(classes[rows[order]], kind="stable")]
    return [order[fold::n_folds] for fold in range(n_folds)]
