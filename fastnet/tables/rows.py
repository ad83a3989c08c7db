"""Which rows networks train with: each kind of row once, in an order that is their own, and in folds."""

from typing import NamedTuple

import numpy as np

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio, odd: Knuth, The art of computer programming, volume 3, section 6.4."""


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
    m = len(C)
    counted = np.arange(m) if weights is None else np.flatnonzero(weights)
    keys = hashes(C, y)[counted]
    order = counted[np.argsort(keys, kind="stable")]
    keys = np.sort(keys)
    alike = np.flatnonzero(keys[1:] == keys[:-1]) + 1
    for column in (y, *C.T):  # no copy of C
        alike = alike[column[order[alike]] == column[order[alike - 1]]]
    is_first = np.ones(len(order), bool)
    is_first[alike] = False
    starts, rows = np.flatnonzero(is_first), order[is_first]
    of = np.full(m, -1)
    of[order] = rows[np.cumsum(is_first) - 1]
    if weights is None and len(rows) == m:
        return Distinct(rows, of, None)
    sums = np.zeros(m)
    sums[rows] = np.add.reduceat(np.ones(m) if weights is None else weights[order], starts)
    return Distinct(rows, of, sums)


def hashes(C: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a number of 64 bits for each row of C and y: the same one for the same values."""
    found = np.zeros(len(C), np.uint64)
    for column in (*C.T, y):
        bits = (column + 0.0).astype(np.float64).view(np.uint64)  # -0 is 0
        found = (found ^ bits) * FACTOR
        found ^= found >> np.uint64(29)
    return found


def folds(rows: np.ndarray, classes: np.ndarray | None, n_folds: int, seed: int) -> list[np.ndarray]:
    """Return some rows in n folds; of every class as many in each, as nearly as can be, where `classes` has each row's.

    There may be fewer rows than folds: some are empty then.
    """
    order = np.random.default_rng([seed, 0]).permutation(rows)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    return [order[fold::n_folds] for fold in range(n_folds)]
