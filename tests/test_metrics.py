"""Metrics against scikit-learn's, where it has an answer; and what is said of names that will not do."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics
from compiled import make_model, random_classes, random_data
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning

from fastnet import metrics
from fastnet.metrics import METRICS, compute, metrics_for

SIZES = (1, 7, 17, 33, 65, 1000)
DTYPES = ("float32", "float64")
N = 4

# Sums of m terms in another order, in float64; scikit-learn computes some in float32, from 1 - a rounded to it.
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}
EXACT = ("accuracy", "f1")


def sigmoids(m, n_outputs, dtype, *, ties=False, seed=0):
    """Return A and y, (m, n_outputs); A has some values of exactly 0, 0.5 and 1."""
    rng = np.random.default_rng([m, n_outputs, seed])
    y = (rng.random((m, n_outputs)) < 0.5).astype(dtype)
    A = 1 / (1 + np.exp(-rng.normal(y - 0.5, 1)))
    A = np.round(A * 8) / 8 if ties else np.where(rng.random(A.shape) < 0.1, rng.integers(3, size=A.shape) / 2, A)
    return A.astype(dtype), y


def softmaxes(m, dtype, n_classes=N):
    """Return A (m, n_classes), class numbers (m, 1) and the same one-hot."""
    rng = np.random.default_rng([m, n_classes])
    classes, one_hot = random_classes(m, n_classes, seed=m)
    Z = rng.normal(2 * one_hot, 2)
    A = np.exp(Z - Z.max(axis=1, keepdims=True))
    A /= A.sum(axis=1, keepdims=True)
    return A.astype(dtype), classes[:, None].astype(dtype), one_hot.astype(dtype)


def quiet(function, *arguments, **settings):
    """Return what a function of scikit-learn does, without the warnings that a metric is undefined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        return function(*arguments, **settings)


def assert_same(name, found, expected, dtype):
    assert type(found) is float
    if name in EXACT:
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=0)
    else:
        np.testing.assert_allclose(found, expected, **TOLERANCE[dtype])


def errors(A, y):
    """Return mae, mse and r2 by scikit-learn, in float64."""
    A, y = A.astype(np.float64), y.astype(np.float64)
    return {
        "mae": sklearn.metrics.mean_absolute_error(y, A),
        "mse": sklearn.metrics.mean_squared_error(y, A),
        "r2": quiet(sklearn.metrics.r2_score, y, A),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("m", SIZES)
def test_one_sigmoid(m, ties, dtype):
    A, y = sigmoids(m, 1, dtype, ties=ties)
    a, labels = A[:, 0], y[:, 0].astype(int)
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(labels, a > 0.5),
        "auc": quiet(sklearn.metrics.roc_auc_score, labels, a) if m > 1 else math.nan,
        "log_loss": sklearn.metrics.log_loss(labels, a, labels=[0, 1]),
        "f1": sklearn.metrics.f1_score(labels, a > 0.5, zero_division=0),
        **errors(A, y),
    }
    found = compute(METRICS, A, y, "sigmoid")
    assert list(found) == list(METRICS)
    for name in METRICS:
        assert_same(name, found[name], expected[name], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", SIZES)
def test_several_sigmoids(m, dtype):
    A, y = sigmoids(m, N, dtype)
    labels = y.astype(int)
    expected = {
        "accuracy": np.mean((A > 0.5) == labels),
        "auc": quiet(sklearn.metrics.roc_auc_score, labels, A) if m > 1 else math.nan,
        "log_loss": np.mean([sklearn.metrics.log_loss(labels[:, c], A[:, c], labels=[0, 1]) for c in range(N)]),
        "f1": sklearn.metrics.f1_score(labels, A > 0.5, average="macro", zero_division=0),
        **errors(A, y),
    }
    found = compute(METRICS, A, y, "sigmoid")
    for name in METRICS:
        assert_same(name, found[name], expected[name], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [2, 3, N])
@pytest.mark.parametrize("m", SIZES)
def test_softmax(m, n_classes, dtype):
    A, y, one_hot = softmaxes(m, dtype, n_classes)
    classes, predicted = y[:, 0].astype(int), A.argmax(axis=1)
    with warnings.catch_warnings():  # scikit-learn wants rows that sum to 1 in its own dtype
        warnings.simplefilter("ignore", UserWarning)
        log_loss = sklearn.metrics.log_loss(classes, A, labels=range(n_classes))
    if len(np.unique(classes)) < n_classes:
        auc = math.nan
    elif n_classes == 2:
        auc = sklearn.metrics.roc_auc_score(classes, A[:, 1])
    else:
        auc = sklearn.metrics.roc_auc_score(classes, A, multi_class="ovr", average="macro")
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(classes, predicted),
        "auc": auc,
        "log_loss": log_loss,
        "f1": sklearn.metrics.f1_score(classes, predicted, average="macro", zero_division=0),
        **errors(A, one_hot),
    }
    for targets in (y, one_hot):
        found = compute(METRICS, A, targets, "softmax")
        for name in METRICS:
            assert_same(name, found[name], expected[name], dtype)


def test_one_hot_targets_mean_another_thing_to_sigmoids():
    A, y = np.array([[0.6, 0.7, 0.1], [0.2, 0.3, 0.4]]), np.array([[0.0, 1, 0], [0, 0, 1]])
    assert compute(("accuracy",), A, y, "softmax") == {"accuracy": 1}
    assert compute(("accuracy",), A, y, "sigmoid") == {"accuracy": 4 / 6}


@pytest.mark.parametrize("dtype", DTYPES)
def test_soft_targets(dtype):
    """Probabilities count as the class they favour; log_loss takes them as they are."""
    A, y = (array.astype(dtype) for array in (np.array([[0.7], [0.2], [0.6]]), np.array([[0.9], [0.4], [0.1]])))
    hard = (y > 0.5).astype(dtype)
    for name in ("accuracy", "auc", "f1"):
        assert compute((name,), A, y, "sigmoid") == compute((name,), A, hard, "sigmoid")
    expected = np.mean([-t * math.log(a) - (1 - t) * math.log(1 - a) for a, t in zip(A.T[0], y.T[0], strict=True)])
    assert_same("log_loss", METRICS["log_loss"].function(A, y, False), expected, dtype)
    A, y = np.hstack([A, 1 - A]), np.hstack([y, 1 - y])
    assert_same("log_loss", METRICS["log_loss"].function(A, y, True), expected, dtype)
    assert METRICS["accuracy"].function(A, y, True) == 2 / 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_loss_of_a_certain_error_is_that_of_the_dtypes_eps(dtype):
    A, y = np.array([[0.0], [1.0]], dtype), np.array([[1.0], [0.0]], dtype)
    expected = -math.log(np.finfo(dtype).eps)
    np.testing.assert_allclose(METRICS["log_loss"].function(A, y, False), expected, rtol=1e-6)
    np.testing.assert_allclose(METRICS["log_loss"].function(np.hstack([1 - A, A]), y, True), expected, rtol=1e-6)


# ------------------------------------------------------------------------------------------------------------- auc

SCORES = st.one_of(st.integers(0, 3).map(lambda i: i / 4), st.floats(0, 1, width=32))


@given(st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=30), st.sampled_from(DTYPES))
def test_auc_is_the_share_of_pairs_in_order(examples, dtype):
    scores = np.array([score for score, _ in examples], dtype)
    positive = np.array([label for _, label in examples])
    wins = scores[positive][:, None] - scores[~positive]
    expected = (np.sum(wins > 0) + np.sum(wins == 0) / 2) / wins.size if wins.size else math.nan
    np.testing.assert_equal(metrics.area_under_roc(scores, positive), float(expected))


@pytest.mark.parametrize("dtype", DTYPES)
def test_auc_corners(dtype):
    def area(scores, labels):
        return metrics.area_under_roc(np.array(scores, dtype), np.array(labels, bool))

    tiny = np.finfo(dtype).smallest_subnormal
    assert area([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]) == 1
    assert area([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1]) == 0
    assert area([0.5, 0.5, 0.5], [0, 1, 1]) == 0.5
    assert area([-0.0, 0.0], [0, 1]) == 0.5
    assert area([0.0, tiny, 1 - np.finfo(dtype).epsneg, 1], [0, 1, 0, 1]) == 0.75
    assert area([np.inf, 1.0], [1, 0]) == 1
    assert math.isnan(area([0.1, 0.2], [1, 1]))
    assert math.isnan(area([0.1, 0.2], [0, 0]))
    assert math.isnan(area([0.1, np.nan, 0.3], [0, 1, 1]))
    assert math.isnan(area([0.1, -np.nan, 0.3], [0, 0, 1]))


def test_auc_leaves_its_input_alone():
    A, y = sigmoids(33, 1, "float32")
    before = A.copy()
    metrics.auc(A, y, False)
    np.testing.assert_array_equal(A, before)


# ------------------------------------------------------------------------------------------------ of values, of f1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("m", SIZES)
def test_values(m, n_outputs, dtype):
    rng = np.random.default_rng(m)
    y = rng.normal(1e3, 1, (m, n_outputs)).astype(dtype)
    A = (y + rng.normal(0, 0.5, y.shape)).astype(dtype)
    found = compute(("r2", "mae", "mse"), A, y, "linear")
    for name, expected in errors(A, y).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-10)
    assert math.isnan(found["r2"]) == (m == 1)


@pytest.mark.parametrize(
    ("A", "y"), [([[2], [2]], [[2], [2]]), ([[2], [3]], [[2], [2]]), ([[2, 1], [3, 5]], [[2, 0], [2, 5]])]
)
def test_r2_of_constant_targets(A, y):
    A, y = np.array(A, float), np.array(y, float)
    assert metrics.r2(A, y, False) == sklearn.metrics.r2_score(y, A)


def test_r2_of_constants_that_their_mean_misses():
    y = np.full((6, 1), 0.1)
    assert metrics.r2(y + 1e-9, y, False) == 0
    assert metrics.r2(y, y, False) == 1


def test_errors_beyond_the_range_are_infinite_and_quiet():
    A, y = np.array([[1e200], [2.0]]), np.zeros((2, 1))
    with np.errstate(all="raise"):
        assert compute(("mse",), A, y, "linear") == {"mse": math.inf}


def test_mse_is_twice_the_cost_of_one_output():
    X, y = random_data(65, 4)
    model = make_model((4, 3, 1), ("relu", "linear"))
    found = compute(("mse",), model.forward(X), y, "linear")
    np.testing.assert_allclose(found["mse"], 2 * model.cost(X, y), rtol=1e-12)


def test_f1_where_nothing_is_predicted():
    A, y = np.full((3, 1), 0.1), np.zeros((3, 1))
    assert metrics.f1(A, y, False) == 0
    assert metrics.f1(A, y + 1, False) == 0


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_accuracy_is_that_of_evaluate(activation):
    n_outputs = 3 if activation == "softmax" else 2
    X, y = random_data(65, 4, n_outputs)
    if activation == "softmax":
        y = random_classes(65, n_outputs)[1]
    model = make_model((4, 3, n_outputs), ("relu", activation))
    found = compute(("accuracy",), model.forward(X), y, activation)
    assert found["accuracy"] == model.evaluate(X, y)["accuracy"]


# ------------------------------------------------------------------------------------------------------------ names


def test_names():
    assert metrics_for("auc", "sigmoid") == ("auc",)
    assert metrics_for((), "linear") == ()
    assert metrics_for(["f1", "accuracy", "f1"], "softmax") == ("f1", "accuracy")
    assert metrics_for((name for name in ("mae", "r2")), "tanh") == ("mae", "r2")
    assert metrics_for(METRICS, "sigmoid") == tuple(METRICS)
    assert compute((), np.zeros((1, 1)), np.zeros((1, 1)), "sigmoid") == {}
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == ["log_loss", "mae", "mse"]


@pytest.mark.parametrize(
    ("wanted", "activation", "error", "message"),
    [
        (None, "sigmoid", TypeError, "metrics must be a list of names, not None."),
        (3, "sigmoid", TypeError, "metrics must be a list of names, not 3."),
        (
            ["auc", 3],
            "sigmoid",
            TypeError,
            "metrics must be a list of names, such as ['accuracy'], but one is 3.",
        ),
        (
            [["auc"]],
            "sigmoid",
            TypeError,
            "metrics must be a list of names, such as ['accuracy'], but one is ['auc'].",
        ),
        (
            "gini",
            "sigmoid",
            ValueError,
            "metrics must be from 'accuracy', 'auc', 'log_loss', 'f1', 'r2', 'mae', 'mse', not 'gini'.",
        ),
        *(
            (
                ["mse", name],
                activation,
                ValueError,
                f"The metric {name!r} needs a last activation of 'sigmoid' or 'softmax', but the last layer has "
                f"{activation!r}. Leave it out: 'r2', 'mae', 'mse' and metrics=() take any.",
            )
            for name in ("accuracy", "auc", "log_loss", "f1")
            for activation in ("linear", "tanh")
        ),
    ],
)
def test_names_that_will_not_do(wanted, activation, error, message):
    with pytest.raises(error) as caught:
        metrics_for(wanted, activation)
    assert str(caught.value) == message
