"""The examples of a fit: their weights, and those held out to validate with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastnet import validation
from fastnet.activations import AnyActivation


class Data(NamedTuple):
    """Examples as the kernels take them: X (m, n_x), y (m, n_L) or (m, 1), and weights (m,) or None."""

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None

    def take(self, indices: np.ndarray) -> "Data":
        """Return the examples of those indices."""
        X, y, weights = (None if array is None else read_only(array[indices]) for array in self)
        assert X is not None
        assert y is not None
        return Data(X, y, weights)


def read_only(array: np.ndarray) -> np.ndarray:
    """Mark an array read-only, as the kernels take it, and return it."""
    array.flags.writeable = False
    return array


def sample_weights(sample_weight: Any, m: int, dtype: np.dtype) -> np.ndarray | None:
    """Return the weights of m examples as the kernels take them; None for None.

    Raises
    ------
    TypeError, ValueError
        Unless they are m finite numbers, not negative, nor all zero.
    """
    if sample_weight is None:
        return None
    array = validation.real_array(sample_weight, "sample_weight")
    if array.shape != (m,):
        raise ValueError(f"sample_weight must have shape ({m},), one for each example, but has {array.shape}.")
    weights = validation.in_dtype(array, dtype, "sample_weight", "Drop those examples, or give them weight 0.")
    validation.refuse(weights, weights < 0, "sample_weight", "negative {}", "Weights must be at least 0.")
    if not weights.any():
        raise ValueError("sample_weight is zero for every example. At least one must be greater than 0.")
    return weights


def classes_of(y: np.ndarray, last_activation: AnyActivation, purpose: str) -> np.ndarray:
    """Return the class of each example, (m,), of targets as `validation.targets` makes them.

    Raises
    ------
    ValueError
        If the last activation is not that of a classifier of one class an example, or y holds probabilities.
    """
    one_column = y.shape[1] == 1
    if last_activation == "softmax" and one_column:
        return y[:, 0].astype(np.int64)
    if last_activation not in ("sigmoid", "softmax") or (last_activation == "sigmoid" and not one_column):
        raise ValueError(
            f"{purpose} needs targets of one class each, for a last layer of one 'sigmoid' unit or a 'softmax', but "
            f"that has {y.shape[1]} of {last_activation!r}."
        )
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"{purpose} needs targets that are classes, but y holds probabilities other than 0 and 1.")
    return y[:, 0].astype(np.int64) if one_column else np.argmax(y, axis=1)


def with_class_weights(data: Data, class_weight: Any, last_activation: AnyActivation) -> Data:
    """Return the examples with their weights multiplied by those of their classes.

    `class_weight` is a dictionary, in which classes that are not there weigh 1; "balanced", by which each class that
    occurs has the same weight in all, m / number of classes; or None.

    Raises
    ------
    TypeError, ValueError
        If it is none of them, or the network is no classifier.
    """
    if class_weight is None:
        return data
    balanced = isinstance(class_weight, str) and class_weight == "balanced"
    if not balanced and not isinstance(class_weight, Mapping):
        raise TypeError(
            f"class_weight must be a dictionary of weights by class, 'balanced' or None, not {class_weight!r}."
        )
    classes = classes_of(data.y, last_activation, "class_weight")
    n_classes = max(2, data.y.shape[1], int(classes.max()) + 1)
    if balanced:
        counts = np.bincount(classes, minlength=n_classes)
        by_class = len(classes) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        by_class = np.ones(n_classes)
        for label, weight in class_weight.items():
            if isinstance(label, str) or label not in range(n_classes):
                raise ValueError(f"class_weight has a class {label!r}, but y holds classes from 0 to {n_classes - 1}.")
            by_class[int(label)] = validation.non_negative_number(weight, f"class_weight[{label!r}]")
    weights = by_class[classes] if data.weights is None else by_class[classes] * data.weights
    with np.errstate(over="ignore"):
        weights = weights.astype(data.X.dtype)
    if not np.isfinite(weights).all() or not weights.any():
        raise ValueError(
            f"class_weight makes weights that are all zero, or beyond the range of {data.X.dtype}. Choose others."
        )
    return data._replace(weights=read_only(weights))


def split(data: Data, share: float, last_activation: AnyActivation, key: int) -> tuple[Data, Data]:
    """Return the examples in two: those to train with, and a share of them to validate with, at least one in each.

    They are drawn by `key`; of every class the same share, as nearly as can be, where targets are classes.

    Raises
    ------
    ValueError
        If there are fewer than two examples.
    """
    m = len(data.X)
    if m < 2:
        raise ValueError("validation_split needs at least 2 examples, one to train with and one to validate with.")
    generator = np.random.default_rng(key)
    try:
        classes = classes_of(data.y, last_activation, "")
    except ValueError:
        classes = np.zeros(m, dtype=np.int64)
    n_held_out = min(max(1, round(share * m)), m - 1)
    # Sorted by class, and in random order in each, they are taken at even distances.
    order = generator.permutation(m)
    order = order[np.argsort(classes[order], kind="stable")]
    held_out = order[(np.arange(n_held_out) * m + m // 2) // n_held_out]
    kept = np.ones(m, dtype=bool)
    kept[held_out] = False
    return data.take(np.flatnonzero(kept)), data.take(np.sort(held_out))
