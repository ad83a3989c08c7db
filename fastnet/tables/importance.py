"""How much each column of a table matters: the rise of the loss when its values are permuted among rows held out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnet.model import Model

MOST_ROWS, PERMUTATIONS = 2000, 5
"""Rows that are looked at, at most; and how often the values of a column are permuted."""


class HeldOut(NamedTuple):
    """Compact rows C (m, columns), their targets, and which network has not trained with each; those networks.

    `parameters` are those with which they had not: they may have trained with all rows since.
    """

    C: np.ndarray
    y: np.ndarray
    networks: np.ndarray
    parameters: list[np.ndarray]


def held_out_by(models: Sequence[Model], C: np.ndarray, y: np.ndarray, rows: Sequence[np.ndarray]) -> HeldOut:
    """Return some of the rows of C that each of the models has not trained with, evenly chosen."""
    networks, all_rows = np.repeat(np.arange(len(rows)), [len(each) for each in rows]), np.concatenate(rows)
    chosen = np.arange(len(networks))[:: -(-len(networks) // MOST_ROWS)]
    parameters = [model.parameters.copy() for model in models]
    return HeldOut(C[all_rows[chosen]], y[all_rows[chosen]], networks[chosen], parameters)


def importances(
    held_out: HeldOut, models: Sequence[Model], places: Sequence[Any],
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Return by how much the mean loss rises, on the average, for each of the features, whose `places` in C are given.

    `loss(A, y)` returns that of each row. A feature without places has 0.
    """
    models = [copy.deepcopy(model) for model in models]
    for model, parameters in zip(models, held_out.parameters, strict=True):
        model.parameters[:] = parameters

    def mean_loss(C: np.ndarray) -> float:
        masks = [held_out.networks == i for i in range(len(models))]
        parts = [loss(model.forward(C[of]), held_out.y[of]) for model, of in zip(models, masks, strict=True)]
        return float(np.mean(np.concatenate(parts)))

    before, rises = mean_loss(held_out.C), np.zeros(len(places))
    for feature, columns in enumerate(places):
        generator = np.random.default_rng(feature)
        for _ in range(PERMUTATIONS if len(columns) else 0):
            permuted, order = held_out.C.copy(), generator.permutation(len(held_out.C))
            permuted[:, columns] = held_out.C[order][:, columns]
            rises[feature] += mean_loss(permuted) - before
    return rises / PERMUTATIONS
