"""What the networks of an estimator train and validate with, rows of one table; and their outputs for the latter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastnet.model import Model
from fastnet.tables.rows import ROWS_AT_ONCE, folds


class Others(NamedTuple):
    """Compact rows C (n, columns) to validate with, their targets for networks, and weights (n,), or None: 1."""

    C: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None


class Division(NamedTuple):
    """Compact rows C (m, columns), their targets as the networks take them, weights (m,) or None: 1; whose they are.

    Network i trains with the rows `training[i]` and validates with `held_out[i]`. `unseen`: those with which not all
    networks train; None if all train with all.
    """

    C: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    training: list[np.ndarray]
    held_out: list[np.ndarray]
    unseen: np.ndarray | None


def in_folds(
    C: np.ndarray, y: np.ndarray, weights: np.ndarray | None, rows: np.ndarray, n_nets: int, n_folds: int, seed: int,
    *, stratify: bool,
) -> Division:  # fmt: skip
    """Let each network hold out a fold of some rows, the next one; if one were empty, let all have all."""
    places = folds(rows, y if stratify else None, n_folds, seed)
    places = [places[i % n_folds] for i in range(n_nets)]
    held_out, training = [rows[each] for each in places], [np.delete(rows, each) for each in places]
    if any(len(each) == 0 for each in (*held_out, *training)):
        return Division(C, y, weights, [rows] * n_nets, [rows] * n_nets, None)
    return Division(C, y, weights, training, held_out, np.sort(np.concatenate(held_out[:n_folds])))


def with_others(
    C: np.ndarray, y: np.ndarray, weights: np.ndarray | None, rows: np.ndarray, n_nets: int, others: Others
) -> Division:
    """Let all networks train with some rows and validate with others, which come behind them."""
    m, n = len(C), len(others.C)
    if weights is not None or others.weights is not None:
        weights = np.concatenate([all_of(weights, m), all_of(others.weights, n)])
    C, y, held_out = np.concatenate([C, others.C]), np.concatenate([y, others.y]), np.arange(m, m + n)
    return Division(C, y, weights, [rows] * n_nets, [held_out] * n_nets, held_out)


def outputs_of_unseen(
    models: Sequence[Model], C: np.ndarray, held_out: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that models hold out, ascending, and the mean output of those that do."""
    kinds = np.unique(np.concatenate(held_out))
    total, count = np.zeros((len(kinds), models[0].output_layer.units)), np.zeros((len(kinds), 1))
    for model, rows in zip(models, map(np.unique, held_out), strict=True):
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            at = np.searchsorted(kinds, some)
            total[at] += model.forward(C[some])
            count[at] += 1
    total /= count
    return kinds, total


def at_rows(values: np.ndarray, kinds: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return for each of m rows the value of its kind `of` (m,), one of `kinds`, which ascend; NaN if it is none."""
    found = np.full((len(of), *values.shape[1:]), np.nan)
    for start in range(0, len(of), ROWS_AT_ONCE):
        some = of[start : start + ROWS_AT_ONCE]
        places = np.minimum(np.searchsorted(kinds, some), len(kinds) - 1)
        is_there = kinds[places] == some
        found[start : start + len(some)][is_there] = values[places[is_there]]
    return found


def all_of(weights: np.ndarray | None, m: int) -> np.ndarray:
    """Return the weights of m rows."""
    return np.ones(m) if weights is None else weights


def product(weights: np.ndarray | None, factors: np.ndarray | None) -> np.ndarray | None:
    """Return weights times factors, either of which may be None: 1 for each row."""
    if weights is None or factors is None:
        return factors if weights is None else weights
    found: np.ndarray = weights * factors
    return found
