"""From scikit-learn's estimators to fastnet's, and back: arguments, and what a fit has left."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np

from fastnet.sklearn.parameters import NetworkEstimator

Ours = TypeVar("Ours", bound=NetworkEstimator)

FITTED = (
    "classes_", "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_", "n_iter_",
    "n_layers_", "n_outputs_", "out_activation_", "t_", "n_features_in_", "feature_names_in_", "_label_binarizer",
    "_no_improvement_count",
)  # fmt: skip
"""The attributes that a fitted estimator has in both libraries, but for the parameters."""

OF_TRAINING = {"class_weight": None, "label_smoothing": 0.0, "dropout": 0.0, "clip_norm": None, "scoring": None}
"""The arguments that scikit-learn's classes do not have, and that decide what a fit gives; and what they are there."""


def to_ours(theirs: Any, kind: type[Ours]) -> Ours:
    """Return fastnet's estimator of a class, with the arguments and the network of scikit-learn's."""
    known = set(kind().get_params())
    ours = kind(**{name: value for name, value in theirs.get_params(deep=False).items() if name in known})
    if copy_fitted(theirs, ours):
        ours._bound()
    return ours


def to_theirs(ours: NetworkEstimator, theirs: Any) -> Any:
    """Give scikit-learn's estimator the arguments and the network of fastnet's; return it, or raise ValueError."""
    name_of_theirs, arguments = type(theirs).__name__, ours.get_params(deep=False)
    for name in OF_TRAINING.keys() & arguments.keys():
        if arguments[name] is not None and np.any(np.asarray(arguments[name]) != 0):
            raise ValueError(
                f"scikit-learn's {name_of_theirs} has no {name}, which is {arguments[name]!r}. If only predictions "
                f"matter, call set_params({name}={OF_TRAINING[name]}) first."
            )
    theirs.set_params(**{name: value for name, value in arguments.items() if name in theirs.get_params()})
    try:
        theirs._validate_params()
    except ValueError as error:
        raise ValueError(f"scikit-learn's {name_of_theirs} cannot be this network: {error}") from None
    if copy_fitted(ours, theirs):  # a warm start with early stopping goes on from the best parameters
        theirs._best_coefs = [coef.copy() for coef in theirs.coefs_]
        theirs._best_intercepts = [intercept.copy() for intercept in theirs.intercepts_]
    return theirs


def copy_fitted(source: Any, target: Any) -> bool:
    """Copy what a fit has left; return whether there was one."""
    if not hasattr(source, "coefs_"):
        return False
    for name in FITTED:
        if hasattr(source, name):
            setattr(target, name, copy.deepcopy(getattr(source, name)))
    target.coefs_ = [np.array(coef, order="C") for coef in source.coefs_]
    target.intercepts_ = [np.array(intercept) for intercept in source.intercepts_]
    return True
