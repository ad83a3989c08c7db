"""The gate for examples: X, y and weights are checked and prepared here, once, and so are those held out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastnet import checks
from fastnet.activations import AnyActivation
from fastnet.engine.mapped import mapped_rows
from fastnet.engine.sparse import Rows
from fastnet.layers import Dense


class Data(NamedTuple):
    """Examples as a `Run` takes them: X (m, n_x), y (m, n_L) or (m, 1), and weights (m,) or None."""

    X: np.ndarray | Rows
    y: np.ndarray
    weights: np.ndarray | None

    def arrays(self, names: Sequence[str]) -> list[list[Any]]:
        """Return "X", "y" or both, by `names`, and the weights, as the only part of themselves."""
        return [[getattr(self, name) for name in (*names, "weights")]]

    def take(self, indices: np.ndarray) -> "Data":
        """Return the examples of those indices."""
        return self._each(lambda array: array[indices])

    def astype(self, dtype: np.dtype) -> "Data":
        """Return the examples in another dtype, or themselves."""
        return self if self.y.dtype == dtype else self._each(lambda array: array.astype(dtype))

    @property
    def total_weight(self) -> float:
        """The sum of the weights."""
        return float(len(self.X) if self.weights is None else self.weights.sum(dtype=np.float64))

    @property
    def n_counted(self) -> int:
        """How many examples have a weight greater than 0."""
        return len(self.X) if self.weights is None else int(np.count_nonzero(self.weights))

    def _each(self, changed: Callable[[Any], Any]) -> "Data":
        weights = None if self.weights is None else read_only(changed(self.weights))
        return Data(read_only(changed(self.X)), read_only(changed(self.y)), weights)


LAST_SHARE = 0.2
"""Of all examples, the share that validation_split="last" holds out."""


class FitData(NamedTuple):
    """The examples of a fit: those to train with, weighted by class too, and those to validate with, or None.

    Each is Data, or a stream. With a `share`, `held_out` are all the examples, without weights by class: `divided`
    divides them, the last ones off if `last`.
    """

    training: Any
    held_out: Any
    share: float
    last: bool = False

    def balanced(self, class_weight: Any, layer: Dense, add_up: Callable[[list[Any]], list[Any]]) -> "FitData":
        """Return them, a shard, with weights by class as `with_class_weights` makes them of all examples."""
        training = with_class_weights(
            self.training, class_weight, layer.activation, layer.units, is_part=True, add_up=add_up
        )
        return self._replace(training=training)

    @property
    def n_held_out(self) -> int:
        """How many of the examples to train with are the share to be held out; 0 without one."""
        n = self.training.n_counted if self.share else 0
        return max(0, min(max(1, round(self.share * n)), n - 1))

    def divided(self, last_activation: AnyActivation, key: int | tuple[int, int]) -> tuple[Any, Any]:
        """Return the examples to train with, and those to validate with, in the order in which they came.

        A share is the last rows, or drawn by `key`: of every class the same, as nearly as can be, where targets are
        classes. Examples of no weight are not counted, or drawn, so that either part has some.
        """
        data = self.training
        if not self.share or self.held_out is None:
            return data, self.held_out
        m = len(data.X)
        counted = np.arange(m) if data.weights is None else np.flatnonzero(data.weights)
        n, n_held_out = len(counted), self.n_held_out
        if n_held_out == 0:  # of a part of the examples
            return data, self.held_out.take(np.arange(0))
        if self.last:
            kept, rest = np.split(np.arange(m), [counted[n - n_held_out]])
            return data.take(kept), self.held_out.take(rest)
        classes = class_numbers(data.y, last_activation)
        order = np.random.default_rng(key).permutation(counted)
        if classes is not None:
            order = order[np.argsort(classes[order], kind="stable")]
        # Sorted by class, and in random order in each, they are taken at even distances.
        kept = np.ones(m, dtype=bool)
        kept[order[(np.arange(n_held_out) * n + n // 2) // n_held_out]] = False
        return data.take(np.flatnonzero(kept)), self.held_out.take(np.flatnonzero(~kept))


class Gate(NamedTuple):
    """The gate of a network: its dtype, features (None: any number), last layer, and the name of its loss.

    X, or y, that is to be standardized is let in with all its digits: `exact_x`, `exact_y`. Of a part of the examples
    (`is_part`) all weights may be zero, and there may be none.
    """

    dtype: np.dtype
    n_features: int | None
    output_layer: Dense
    loss: str
    exact_x: bool = False
    exact_y: bool = False
    is_part: bool = False
    feature_names: tuple[str, ...] | None = None

    def data(self, X: Any, y: Any, sample_weight: Any = None) -> Data:
        """Check X, y and weights together and return them as the kernels take them."""
        checks.columns(X, self.feature_names)
        dtype = exact_dtype(X) if self.exact_x else self.dtype
        rows = mapped_rows(X, dtype, self.n_features, as_rows=self.exact_x, may_be_none=self.is_part)
        X = checks.examples(X, dtype, self.n_features, may_be_none=self.is_part) if rows is None else rows
        y_dtype = exact_dtype(y) if self.exact_y else self.dtype
        y = checks.targets(y, y_dtype, X.shape, self.output_layer.units, self.loss)
        return Data(X, y, sample_weights(sample_weight, len(X), self.dtype, is_part=self.is_part))

    def prepared(
        self, X: Any, y: Any, sample_weight: Any, class_weight: Any, validation_data: Any, validation_split: Any
    ) -> FitData:
        """Check all that `Model.fit` takes of examples, and return them as the kernels take them."""
        data = self.data(X, y, sample_weight)
        named = self._replace(feature_names=self.feature_names or checks.column_names(X))
        held_out = None if validation_data is None else named.held_out(validation_data, data.X.shape[1])
        last = isinstance(validation_split, str) and validation_split == "last"
        if isinstance(validation_split, str) and not last:
            raise ValueError(
                f"validation_split must be a number of at least 0 and less than 1, or 'last', not {validation_split!r}."
            )
        share = LAST_SHARE if last else checks.number_below_one(validation_split, "validation_split")
        if share and held_out:
            raise ValueError("Pass validation_data or validation_split, not both.")
        layer = self.output_layer
        weighted = with_class_weights(data, class_weight, layer.activation, layer.units, is_part=self.is_part)
        counted = weighted.n_counted
        if share and counted < 2 and not self.is_part:
            raise ValueError(
                "validation_split needs at least 2 examples with a weight greater than 0, one to train with and one to "
                f"validate with, but there is {counted}. Pass validation_data, or leave it out."
            )
        return FitData(weighted, data if share else held_out, share, last)

    def held_out(self, validation_data: Any, n_features: int) -> Data:
        """Return the examples to validate with, which have as many features as those to train with."""
        listed = isinstance(validation_data, (tuple, list))
        if not listed or len(validation_data) not in (2, 3):
            came = type(validation_data).__name__ + (f" of {len(validation_data)}" if listed else "")
            raise TypeError(f"validation_data must be (X, y) or (X, y, sample_weight), not a {came}.")
        try:
            checks.columns(validation_data[0], self.feature_names)
            X = checks.real_array(validation_data[0], "X")
            if self.n_features is None and X.ndim == 2 and X.shape[1] != n_features:
                raise ValueError(f"X has {X.shape[1]} features, but the X to train with {n_features}.")
            return self._replace(n_features=n_features).data(X, *validation_data[1:])
        except (TypeError, ValueError) as error:
            raise type(error)(f"In validation_data: {error}") from None


def exact_dtype(values: Any) -> np.dtype:
    """Return the dtype that takes values as they are: of float32 an array keeps its memory, all else fits float64."""
    is_float32 = isinstance(values, np.ndarray) and values.dtype == np.float32
    return np.dtype(np.float32 if is_float32 else np.float64)


Array = TypeVar("Array", np.ndarray, Rows)


def read_only(array: Array) -> Array:
    """Mark an array read-only, as the kernels take it, and return it; other rows are so already."""
    if isinstance(array, np.ndarray):
        array.flags.writeable = False
    return array


def sample_weights(
    sample_weight: Any, m: int, dtype: np.dtype, name: str = "sample_weight", *, is_part: bool = False
) -> np.ndarray | None:
    """Return the weights of m examples as the kernels take them, in memory of their own; None for None.

    TypeError or ValueError unless they are m finite numbers, not negative, nor, if these are not a part of the
    examples, all zero; and their sum has a reciprocal.
    """
    if sample_weight is None:
        return None
    array = checks.real_array(sample_weight, name)
    if array.shape != (m,):
        raise ValueError(f"{name} must have shape ({m},), one for each example, but has {array.shape}.")
    weights = checks.in_dtype(array, dtype, name, "Drop those examples, or give them weight 0.")
    checks.refuse(weights, weights < 0, name, "negative {}", "Weights must be at least 0.")
    tiny = float(np.finfo(dtype).tiny)
    subnormal = (weights < tiny) & ((weights if weights.any() else array) > 0)
    checks.refuse(array, subnormal, name, f"{{}} below {tiny:.2g}", "Scale all: ratios alone matter.")
    with np.errstate(all="ignore"):
        total = float(weights.sum(dtype=np.float64))
    if total == 0 and is_part:
        return checks.own(weights, array)
    if total == 0:
        raise ValueError(f"{name} is zero for every example. At least one must be greater than 0.")
    # Losses times weights shall have all their digits, and so shall what gradients are multiplied by, 1 / total.
    least, most = tiny / float(np.finfo(dtype).eps), 1 / tiny
    if not least <= total <= most:
        raise ValueError(
            f"{name} must add up to between {least:.2g} and {most:.2g} in {dtype}, not {total:.4g}. Scale all: ratios "
            "alone matter."
        )
    return checks.own(weights, array)


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


def with_class_weights(
    data: Data, class_weight: Any, last_activation: AnyActivation, n_outputs: int, *, is_part: bool = False,
    add_up: Callable[[list[Any]], list[Any]] = list,
) -> Data:  # fmt: skip
    """Return the examples with their weights multiplied by those of their classes.

    `class_weight` is a dictionary, in which classes that are not there weigh 1; "balanced", by which each class that
    occurs has the same weight in all, m / number of classes; or None. `add_up` makes of the numbers of examples of each
    class in a shard those in all. TypeError or ValueError if it is none of them, or
    targets are not one class each.
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
        (counts,) = add_up([np.bincount(classes, minlength=n_classes)])
        by_class = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    else:
        for label, weight in class_weight.items():
            if isinstance(label, str) or label not in range(n_classes):
                raise ValueError(f"class_weight has a class {label!r}, but the classes are 0 to {n_classes - 1}.")
            by_class[int(label)] = checks.non_negative_number(weight, f"class_weight[{label!r}]")
    return weighted(data, by_class[classes], is_part=is_part)


def weighted(data: Data, factors: np.ndarray, *, is_part: bool = False) -> Data:
    """Return the examples with their weights multiplied by factors (m,), those of their classes, and checked."""
    weights, name = factors, "class_weight of the examples"
    if data.weights is not None:
        with np.errstate(all="ignore"):
            weights, name = factors * data.weights, "class_weight times sample_weight"
    return data._replace(weights=sample_weights(weights, len(weights), data.y.dtype, name, is_part=is_part))
