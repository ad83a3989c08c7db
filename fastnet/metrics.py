"""The metrics: what can be told of a model beside its cost, by name.

They compare A (m, n_L), the activations of the last layer, with y as `checks.targets` returns it: (m, n_L), or
(m, 1) with class numbers for a softmax. The definitions are those of scikit-learn's functions; sums are in float64.

An output alone does not tell a softmax from several sigmoid units, so every metric is told which it is. A sigmoid unit
says 1 where A > 0.5, a softmax the class of its largest A, as `Model.predict` does; targets that are probabilities
count as the class that they favour, except in `log_loss` and the errors, which take them as they are.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from fastnet import words
from fastnet.activations import AnyActivation

ROWS_AT_ONCE = 2**16
"""Examples whose classes are compared at a time, so that little memory is needed."""

CLASS_ACTIVATIONS = ("sigmoid", "softmax")
"""The last activations whose A are probabilities of classes."""


class Metric(NamedTuple):
    """A metric: `function(A, y, softmax)` returns it as a float.

    `for_classes`: it needs an output of `CLASS_ACTIVATIONS`. `higher_is_better`: which way is up.
    """

    function: Callable[[np.ndarray, np.ndarray, bool], float]
    for_classes: bool
    higher_is_better: bool


# --------------------------------------------------------------------------------------------------------- classes


def classes_of(y: np.ndarray) -> np.ndarray:
    """Return the class numbers (m,) in targets of a softmax, class numbers (m, 1) or probabilities (m, n_L).

    Examples
    --------
    >>> fastnet.metrics.classes_of(np.array([[2], [0]])), fastnet.metrics.classes_of(np.array([[0, 0, 1], [1, 0, 0]]))
    (array([2, 0]), array([2, 0]))
    """
    classes: np.ndarray = y[:, 0].astype(np.intp) if y.shape[1] == 1 else y.argmax(axis=1)
    return classes


def accuracy(A: np.ndarray, y: np.ndarray, softmax: bool) -> float:
    """Return the share of outputs predicted right; of several sigmoid units, each counts for itself.

    Examples
    --------
    >>> A, y = np.array([[0.9], [0.2], [0.4], [0.1]]), np.array([[1], [0], [1], [0]])
    >>> fastnet.metrics.accuracy(A, y, softmax=False)
    0.75
    """
    if not softmax:
        right = (A > 0.5) == (y > 0.5)
        return float(np.count_nonzero(right) / right.size)
    parts = (slice(start, start + ROWS_AT_ONCE) for start in range(0, len(A), ROWS_AT_ONCE))
    return sum(n_right(A[rows], y[rows]) for rows in parts) / len(A)


def n_right(A: np.ndarray, y: np.ndarray) -> int:
    """Return how many classes a softmax predicts right.

    Examples
    --------
    >>> fastnet.metrics.n_right(np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[1], [1]]))
    1
    """
    # Whether that of its class is the largest: less work than to find which is, where a column of A is contiguous.
    true, largest, m = classes_of(y), A.max(axis=1), len(A)
    right = A.T.reshape(-1).take(true * m + np.arange(m)) == largest
    if np.count_nonzero(largest[:, None] == A) > m:  # several are: the first of them counts
        right = A.argmax(axis=1) == true
    return int(np.count_nonzero(right))


def f1(A: np.ndarray, y: np.ndarray, softmax: bool) -> float:
    """Return F1 = 2 TP / (2 TP + FP + FN) of class 1; of several outputs the mean, of a softmax over its classes.

    It is 0 where there is neither a 1 nor a prediction of it; classes of a softmax that are neither in y nor predicted
    do not enter the mean. (`f1_score`, for the latter two with average="macro"; zero_division=0.)

    Examples
    --------
    >>> A, y = np.array([[0.9], [0.6], [0.4], [0.1]]), np.array([[1], [0], [1], [0]])
    >>> fastnet.metrics.f1(A, y, softmax=False)
    0.5
    """
    if softmax:
        n, predicted, true = A.shape[1], A.argmax(axis=1), classes_of(y)
        both = np.bincount(true, minlength=n) + np.bincount(predicted, minlength=n)
        hits = np.bincount(true[true == predicted], minlength=n)
        present = both > 0
        both, hits = both[present], hits[present]
    else:
        outputs = list(zip((A > 0.5).T, (y > 0.5).T, strict=True))
        both = np.array([np.count_nonzero(predicted) + np.count_nonzero(true) for predicted, true in outputs])
        hits = np.array([np.count_nonzero(predicted & true) for predicted, true in outputs])
    return float(np.mean(2 * hits / np.maximum(both, 1)))


def auc(A: np.ndarray, y: np.ndarray, softmax: bool) -> float:
    """Return the area under the ROC curve; of several outputs the mean area, of a softmax each class against the rest.

    It is NaN if one of them is: where a class is all of y, or none of it. A softmax of two has one area, that of class
    1. (`roc_auc_score`; for a softmax of more with multi_class="ovr".)

    Examples
    --------
    >>> A, y = np.array([[0.9], [0.2], [0.4], [0.1]]), np.array([[1], [1], [0], [0]])
    >>> fastnet.metrics.auc(A, y, softmax=False)
    0.75
    """
    if softmax:
        n, true = A.shape[1], classes_of(y)
        areas = [area_under_roc(A[:, c], true == c) for c in ((1,) if n == 2 else range(n))]
    else:
        areas = [area_under_roc(scores, positive) for scores, positive in zip(A.T, (y > 0.5).T, strict=True)]
    return math.fsum(areas) / len(areas)


def area_under_roc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the probability that a positive example scores above a negative one, ties counted half; exactly rounded.

    Computed from the rank sum of the positives (Mann and Whitney, On a test of whether one of two random variables is
    stochastically larger than the other, 1947), in integers: twice the mean rank of a tie is one. `scores` (m,) are
    floats of at least 0; NaN if one is NaN, or if all of the booleans `positive` (m,) are alike.

    Examples
    --------
    >>> fastnet.metrics.area_under_roc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    m, n_positive = len(positive), int(np.count_nonzero(positive))
    n_negative = m - n_positive
    if not n_positive or not n_negative:
        return math.nan
    # The bits of floats from 0 up, as integers, are in the order of the floats, and the sign's is free to carry the
    # label through the sort: two to three times as fast as to sort indices and gather by them.
    integer = np.dtype(f"u{scores.itemsize}")
    keys = scores.view(integer) << 1
    keys |= positive
    keys.sort()
    if keys[-1] >> 1 > np.array(np.inf, scores.dtype).view(integer):  # NaN, whose bits are beyond those of infinity
        return math.nan
    positive = (keys & 1).astype(bool)
    starts = np.flatnonzero(keys[1:] ^ keys[:-1] > 1) + 1
    if len(starts) == m - 1:
        twice_ranks = 2 * int(np.flatnonzero(positive).sum())
    else:
        starts = np.concatenate([[0], starts, [m]])
        twice_mean_rank = starts[:-1] + starts[1:] - 1
        twice_ranks = int((np.add.reduceat(positive, starts[:-1], dtype=np.int64) * twice_mean_rank).sum())
    return (twice_ranks - n_positive * (n_positive - 1)) / (2 * n_positive * n_negative)


def log_loss(A: np.ndarray, y: np.ndarray, softmax: bool) -> float:
    """Return the mean over examples of -log of the probability given to the true class; base e.

    A is clipped to eps and 1 - eps, where eps is that of A's dtype (1.2e-7 in float32, 2.2e-16 in float64), as
    `sklearn.metrics.log_loss` does; the cost is not. Of several sigmoid units, the mean of each one's. The logarithm is
    NumPy's, whose last bit may differ between CPUs: what decides about training should rather be the cost.

    Examples
    --------
    >>> A, y = np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[1], [0]])
    >>> round(fastnet.metrics.log_loss(A, y, softmax=True), 4)
    0.4581
    """
    eps = float(np.finfo(A.dtype).eps)
    if softmax and y.shape[1] == 1:
        A = A[np.arange(len(A)), classes_of(y)]
    A = A.astype(np.float64).clip(eps, 1 - eps)
    if not softmax:
        return -float(np.mean(y * np.log(A) + (1 - y) * np.log1p(-A)))
    log_A = np.log(A, out=A)
    return -float(np.sum(log_A if A.ndim == 1 else log_A * y)) / len(A)


# ---------------------------------------------------------------------------------------------------------- values


def values_of(A: np.ndarray, y: np.ndarray, softmax: bool) -> np.ndarray:
    """Return what A should be: y, class numbers one-hot.

    Examples
    --------
    >>> fastnet.metrics.values_of(np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[1], [0]]), softmax=True)
    array([[0., 1.],
           [1., 0.]])
    """
    if not (softmax and y.shape[1] == 1):
        return y
    one_hot = np.zeros(A.shape, A.dtype)
    one_hot[np.arange(len(A)), classes_of(y)] = 1
    return one_hot


def errors_of(A: np.ndarray, y: np.ndarray, softmax: bool) -> np.ndarray:
    """Return A - y in float64, (m, n_L).

    Examples
    --------
    >>> fastnet.metrics.errors_of(np.array([[1.0], [2.5]]), np.array([[1.0], [2.0]]), softmax=False)
    array([[0. ],
           [0.5]])
    """
    errors: np.ndarray = np.subtract(A, values_of(A, y, softmax), dtype=np.float64)
    return errors


def mae(A: np.ndarray, y: np.ndarray, softmax: bool) -> float:
    """Return the mean of |a - y| over all examples and outputs, as `mean_absolute_error`.

    Examples
    --------
    >>> fastnet.metrics.mae(np.array([[1.0], [2.5]]), np.array([[1.0], [2.0]]), softmax=False)
    0.25
    """
    errors = errors_of(A, y, softmax)
    return float(np.abs(errors, out=errors).mean())


def mse(A: np.ndarray, y: np.ndarray, softmax: bool) -> float:
    """Return the mean of (a - y)^2 over all examples and outputs, without the cost's one-half; as `mean_squared_error`.

    The loss "mean_squared_error" sums over the outputs of an example: the cost without L2 is n_L / 2 times this.

    Examples
    --------
    >>> fastnet.metrics.mse(np.array([[1.0], [2.5]]), np.array([[1.0], [2.0]]), softmax=False)
    0.125
    """
    errors = errors_of(A, y, softmax)
    return float(np.square(errors, out=errors).mean())


def r2(A: np.ndarray, y: np.ndarray, softmax: bool) -> float:
    """Return 1 - sum (a - y)^2 / sum (y - mean y)^2, the mean of that of each output; as `r2_score`.

    Where y is constant it is 1 if all of A is right, else 0. Of a single example it is NaN.

    Examples
    --------
    >>> fastnet.metrics.r2(np.array([[1.0], [2.5]]), np.array([[1.0], [2.0]]), softmax=False)
    0.5
    """
    if len(A) < 2:
        return math.nan
    y = values_of(A, y, softmax).T  # sums along rows are fast, and pairwise
    errors = np.subtract(A.T, y, dtype=np.float64, order="C")
    deviations = np.subtract(y, y[:, :1], dtype=np.float64, order="C")  # of a constant 0, as y - y.mean() need not be
    deviations -= deviations.mean(axis=1, keepdims=True)
    unexplained = np.square(errors, out=errors).sum(axis=1)
    total = np.square(deviations, out=deviations).sum(axis=1)
    share = np.divide(unexplained, total, out=np.sign(unexplained), where=total != 0)
    return float(np.mean(1 - share))


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, for_classes=True, higher_is_better=True),
    "auc": Metric(auc, for_classes=True, higher_is_better=True),
    "log_loss": Metric(log_loss, for_classes=True, higher_is_better=False),
    "f1": Metric(f1, for_classes=True, higher_is_better=True),
    "r2": Metric(r2, for_classes=False, higher_is_better=True),
    "mae": Metric(mae, for_classes=False, higher_is_better=False),
    "mse": Metric(mse, for_classes=False, higher_is_better=False),
}
"""By name."""


def metrics_for(metrics: Any, activation: AnyActivation) -> tuple[str, ...]:
    """Return the names in `metrics`, one or an iterable of several, each once, in their order.

    TypeError if it is no iterable of strings; ValueError if a name is unknown, or is of a metric that `activation`, the
    last layer's, does not suit.

    Examples
    --------
    >>> fastnet.metrics.metrics_for(["acc", "auc", "accuracy"], "sigmoid")
    ('accuracy', 'auc')
    """
    if isinstance(metrics, str):
        metrics = (metrics,)
    try:
        names = tuple(metrics)
    except TypeError as error:
        raise TypeError(f"metrics must be a list of names, not {metrics!r}.") from error
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"metrics must be a list of names, such as ['accuracy'], but one is {name!r}.")
    names = tuple(words.canonical(name, words.METRICS) for name in names)
    for name in names:
        if name not in METRICS:
            close = words.meant(name, [*METRICS, *words.METRICS])
            raise ValueError(f"metrics must be from {', '.join(map(repr, METRICS))}, not {name!r}.{close}")
        if METRICS[name].for_classes and activation not in CLASS_ACTIVATIONS:
            others = ", ".join(repr(other) for other, metric in METRICS.items() if not metric.for_classes)
            raise ValueError(
                f"The metric {name!r} needs a last activation of 'sigmoid' or 'softmax', but the last layer has "
                f"{activation!r}. Leave it out: {others} and metrics=() take any."
            )
    return tuple(dict.fromkeys(names))


def compute(names: Iterable[str], A: np.ndarray, y: np.ndarray, activation: AnyActivation) -> dict[str, float]:
    """Return the metrics of these names, which are as `metrics_for` returns them, in their order.

    `A` (m, n_L), m >= 1, are the last layer's activations, and `activation` is its g; `y` is as at the top.

    Examples
    --------
    >>> A, y = np.array([[0.9], [0.2], [0.4], [0.1]]), np.array([[1], [1], [0], [0]])
    >>> fastnet.metrics.compute(["accuracy", "auc"], A, y, "sigmoid")
    {'accuracy': 0.75, 'auc': 0.75}
    """
    softmax = activation == "softmax"
    with np.errstate(all="ignore"):  # an infinite error is told by its value
        return {name: METRICS[name].function(A, y, softmax) for name in names}
