"""Estimators that several ranks fit together: what one of them must know of the others."""

from __future__ import annotations

import json

import numpy as np

from fastnet.engine.checkpoints import text_of
from fastnet.engine.examples import Data
from fastnet.engine.ranks import Ranks
from fastnet.sklearn.parameters import NetworkEstimator

MAY_DIFFER = ("batch_size", "callbacks", "n_threads", "random_state", "solver", "verbose")
"""Arguments that need not be the same on all ranks, or have no text that is."""


def check_arguments(estimator: NetworkEstimator, ranks: Ranks) -> None:
    """Raise ValueError for an argument that is not for ranks, or is another than that of rank 0."""
    if estimator.solver == "lbfgs":
        raise ValueError("communicator is only for stochastic solvers. Use solver='sgd' or 'adam', or leave it out.")
    if estimator.scoring not in (None, "loss"):
        raise ValueError(
            "With a communicator, scoring must be None or 'loss': a scorer would see the examples of one rank alone."
        )
    arguments = {name: value for name, value in estimator.get_params().items() if name not in MAY_DIFFER}
    ranks.check_text(f"{type(estimator).__name__} {arguments}")


def labels_of_all(y: np.ndarray, ranks: Ranks) -> np.ndarray:
    """Return the classes that y (m,) has on any rank, or y itself (m, n_labels)."""
    ranks.check_text(f"y with rows of shape {y.shape[1:]}")
    if y.ndim != 1:
        return y
    line = (json.dumps(np.unique(y).tolist()) + "\n").encode()
    lines = ranks.gathered(np.frombuffer(line, np.uint8)[:, np.newaxis]).tobytes().decode().splitlines()
    return np.unique(np.concatenate([np.asarray(json.loads(each)) for each in lines]))


def take_from_first(estimator: NetworkEstimator, ranks: Ranks, *, validated: bool) -> None:
    """Take the parameters, and what the optimizer remembers, of rank 0; ValueError if it is another network or fit.

    Another is one, too, that a warm start goes on from with another record, by which all ranks are to stop.
    """
    state, record = estimator._moments, estimator.__dict__
    names = ("best_loss_", "best_validation_score_", "_no_improvement_count")
    known = {
        "optimizer": text_of(estimator._optimizer), "epochs": estimator._epochs_finished, "t_": estimator.t_,
        "validated": validated, "goes on": state is not None, "record": [record.get(name) for name in names],
    }  # fmt: skip
    ranks.check_text(f"{estimator._design} {known}")
    key = np.array([estimator._dropout_key])
    ranks.take_from_first(estimator._model.parameters, key, *(state or ()))
    estimator._dropout_key = int(key[0])


def targets_of_all(held_out: Data, ranks: Ranks) -> Data:
    """Return targets and weights of the examples that all ranks hold out, in their order, without X."""
    weights = np.ones(len(held_out.y)) if held_out.weights is None else held_out.weights.astype(np.float64)
    return Data(np.empty((0, 0)), ranks.gathered(held_out.y), ranks.gathered(weights[:, np.newaxis])[:, 0])
