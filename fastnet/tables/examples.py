"""What the networks of an estimator train and validate with: rows of one encoded table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnet.tables.rows import folds


class Others(NamedTuple):
    """Compact rows C (n, columns) to validate with, their targets for networks, and weights (n,), or None: 1."""

    C: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None


class Examples(NamedTuple):
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
) -> Examples:  # fmt: skip
    """Let each network hold out a fold of some rows, the next one; if one were empty, let all have all."""
    places = folds(rows, y if stratify else None, n_folds, seed)
    places = [places[i % n_folds] for i in range(n_nets)]
    held_out, training = [rows[each] for each in places], [np.delete(rows, each) for each in places]
    if any(len(each) == 0 for each in (*held_out, *training)):
        return Examples(C, y, weights, [rows] * n_nets, [rows] * n_nets, None)
    return Examples(C, y, weights, training, held_out, np.sort(np.concatenate(held_out[:n_folds])))


def with_others(
    C: np.ndarray, y: np.ndarray, weights: np.ndarray | None, rows: np.ndarray, n_nets: int, others: Others
) -> Examples:
    """Let all networks train with some rows and validate with others, which come behind them."""
    m, n = len(C), len(others.C)
    if weights is not None or others.weights is not None:
        weights = np.concatenate([all_of(weights, m), all_of(others.weights, n)])
    C, y, held_out = np.concatenate([C, others.C]), np.concatenate([y, others.y]), np.arange(m, m + n)
    return Examples(C, y, weights, [rows] * n_nets, [held_out] * n_nets, held_out)


def all_of(weights: np.ndarray | None, m: int) -> np.ndarray:
    """Return the weights of m rows."""
    return np.ones(m) if weights is None else weights


def product(weights: np.ndarray | None, factors: np.ndarray | None) -> np.ndarray | None:
    """Return weights times factors, either of which may be None: 1 for each row."""
    if weights is None or factors is None:
        return factors if weights is None else weights
    found: np.ndarray = weights * factors
    return found
