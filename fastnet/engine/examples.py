"""The examples of a fit: their weights, and those held out to validate with."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastnet import checks
from fastnet.activations import AnyActivation
from fastnet.engine.sparse import SparseRows


class Data(NamedTuple):
    """Examples as a `Run` takes them: X (m, n_x), y (m, n_L) or (m, 1), and weights (m,) or None."""

    X: np.ndarray | SparseRows
    y: np.ndarray
    weights: np.ndarray | None

    def take(self, indices: np.ndarray) -> "Data":
        """Return the examples of those indices."""
        return self._each(lambda array: array[indices])

    def astype(self, dtype: np.dtype) -> "Data":
        """Return the examples in another dtype, or themselves."""
        return self if self.y.dtype == dtype else self._each(lambda array: array.astype(dtype))

    def _each(self, changed: Callable[[Any], Any]) -> "Data":
        weights = None if self.weights is None else read_only(changed(self.weights))
        return Data(read_only(changed(self.X)), read_only(changed(self.y)), weights)


Rows = TypeVar("Rows", np.ndarray, SparseRows)


def read_only(array: Rows) -> Rows:
    """Mark an array read-only, as the kernels take it, and return it; sparse rows are so already."""
    if isinstance(array, np.ndarray):
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
    array = checks.real_array(sample_weight, "sample_weight")
    if array.shape != (m,):
        raise ValueError(f"sample_weight must have shape ({m},), one for each example, but has {array.shape}.")
    weights = checks.in_dtype(array, dtype, "sample_weight", "Drop those examples, or give them weight 0.")
    checks.refuse(weights, weights < 0, "sample_weight", "negative {}", "Weights must be at least 0.")
    tiny = np.finfo(dtype).tiny
    subnormal = (weights > 0) & (weights < tiny)
    checks.refuse(weights, subnormal, "sample_weight", f"{{}} below {tiny:.2g}", "Scale all: ratios alone matter.")
    if not weights.any():
        raise ValueError("sample_weight is zero for every example. At least one must be greater than 0.")
    return weights


def class_numbers(y: np.ndarray, last_activation: AnyActivation) -> np.ndarray | None:
    """Return the class of each example, (m,), of targets as `checks.targets` makes them.

    None if there is not one for each: for regression, several sigmoid units, or probabilities.
    """
    one_column = y.shape[1] == 1
    if last_activation == "softmax" and one_column:
        return y[:, 0].astype(np.int64)
    one_each = last_activation == "softmax" or (last_activation == "sigmoid" and one_column)
    if not one_each or not np.isin(y, (0, 1)).all():
        return None
    return y[:, 0].astype(np.int64) if one_column else np.argmax(y, axis=1)


def with_class_weights(data: Data, class_weight: Any, last_activation: AnyActivation, n_outputs: int) -> Data:
    """Return the examples with their weights multiplied by those of their classes.

    `class_weight` is a dictionary, in which classes that are not there weigh 1; "balanced", by which each class that
    occurs has the same weight in all, m / number of classes; or None.

    Raises
    ------
    TypeError, ValueError
        If it is none of them, or targets are not one class each.
    """
    if class_weight is None:
        return data
    balanced = isinstance(class_weight, str) and class_weight == "balanced"
    if not balanced and not isinstance(class_weight, Mapping):
        raise TypeError(
            f"class_weight must be a dictionary of weights by class, 'balanced' or None, not {class_weight!r}."
        )
    classes, n_classes = class_numbers(data.y, last_activation), max(2, n_outputs)
    if classes is None:
        raise ValueError(
            "class_weight needs targets of one class each: 0 and 1 for one 'sigmoid' unit, or classes, or a 1 among "
            f"zeros, for a 'softmax'. y is none of them, for a last layer of {n_outputs} x {last_activation!r}. Pass "
            "sample_weight instead."
        )
    by_class = np.ones(n_classes)
    if balanced:
        counts = np.bincount(classes, minlength=n_classes)
        by_class = len(classes) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        for label, weight in class_weight.items():
            if isinstance(label, str) or label not in range(n_classes):
                raise ValueError(f"class_weight has a class {label!r}, but the classes are 0 to {n_classes - 1}.")
            by_class[int(label)] = checks.non_negative_number(weight, f"class_weight[{label!r}]")
    weights = by_class[classes] if data.weights is None else by_class[classes] * data.weights
    with np.errstate(over="ignore"):
        weights = weights.astype(data.X.dtype)
    if not np.isfinite(weights).all() or not weights.any():
        raise ValueError(
            f"class_weight makes weights that are all zero, or beyond the range of {data.X.dtype}. Choose others."
        )
    return data._replace(weights=read_only(weights))


def check_split(data: Data) -> None:
    """Raise ValueError unless there are two examples of some weight, one to train with and one to validate with."""
    counted = len(data.X) if data.weights is None else np.count_nonzero(data.weights)
    if counted < 2:
        raise ValueError(
            "validation_split needs at least 2 examples with a weight greater than 0, one to train with and one to "
            f"validate with, but there is {counted}. Pass validation_data, or leave it out."
        )


def split(data: Data, share: float, last_activation: AnyActivation, key: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the examples to train with, and of a share of them to validate with, both in order.

    They are drawn by `key`; of every class the same share, as nearly as can be, where targets are classes. Examples of
    no weight are not drawn, so that either part has some. `check_split` must have passed.
    """
    m = len(data.X)
    counted = np.arange(m) if data.weights is None else np.flatnonzero(data.weights)
    classes = class_numbers(data.y, last_activation)
    order = np.random.default_rng(key).permutation(counted)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    # Sorted by class, and in random order in each, they are taken at even distances.
    n = len(order)
    n_held_out = min(max(1, round(share * n)), n - 1)
    kept = np.ones(m, dtype=bool)
    kept[order[(np.arange(n_held_out) * n + n // 2) // n_held_out]] = False
    return np.flatnonzero(kept), np.flatnonzero(~kept)
