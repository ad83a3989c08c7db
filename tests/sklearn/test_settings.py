"""Arguments of the estimators as NumPy's scalars, whose own arithmetic overflows: the values that they hold count."""

import re

import numpy as np
import pytest

pytest.importorskip("sklearn")
from scipy import sparse

from fastnet import Huber
from fastnet.engine import sparse as sparse_module
from fastnet.sklearn import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.jit,  # not about kernels, and minutes in plain Python
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

ROWS = 300  # more than an int8 holds
X = np.random.default_rng(0).standard_normal((ROWS, 4))
Y = (X[:, 0] > 0).astype(int)

INTEGERS = {
    "hidden_layer_sizes": 5, "batch_size": 50, "max_iter": 3, "random_state": 1, "n_iter_no_change": 2, "max_fun": 50,
    "n_threads": 1, "verbose": 0,
}  # fmt: skip
FLOATS = {
    "alpha": 0.25, "learning_rate_init": 0.125, "power_t": 0.5, "tol": 2.0**-10, "momentum": 0.5,
    "validation_fraction": 0.25, "beta_1": 0.5, "beta_2": 0.75, "epsilon": 2.0**-10, "dropout": 0.25, "clip_norm": 0.5,
}  # fmt: skip
INTEGER_TYPES = [np.int8, np.int16, np.uint8, np.uint16, np.uint32, np.uint64]
FLOAT_TYPES = [np.float16, np.float32, np.longdouble]
SOLVERS = {
    "sgd": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 1},
    "adam": {"solver": "adam", "early_stopping": True},
    "lbfgs": {"solver": "lbfgs"},
}


def fitted(arguments, y=Y, kind=MLPClassifier):
    """Return parameters, loss and iterations of an estimator: all that arguments can change."""
    estimator = kind(**{"hidden_layer_sizes": 5, "random_state": 1, "max_iter": 3, **arguments}).fit(X, y)
    return b"".join(coef.tobytes() for coef in estimator.coefs_), estimator.loss_, estimator.n_iter_


@pytest.mark.jit
@pytest.mark.parametrize("solver", SOLVERS)
def test_scalars_of_numpy_are_the_numbers_that_they_hold(solver):
    for values, types in ((INTEGERS, INTEGER_TYPES), (FLOATS, FLOAT_TYPES)):
        for name in set(values) - ({"dropout", "clip_norm"} if solver == "lbfgs" else set()):
            expected = fitted({**SOLVERS[solver], name: values[name]})
            for each in types:
                assert fitted({**SOLVERS[solver], name: each(values[name])}) == expected, (name, each)


@pytest.mark.filterwarnings("ignore:The (features of X|targets) are far:UserWarning")
@pytest.mark.parametrize("each", FLOAT_TYPES)
@pytest.mark.parametrize("stops_early", [False, True])
def test_a_tolerance_of_few_bits_is_added_to_losses_it_could_not_hold(stops_early, each):
    arguments = {"early_stopping": stops_early, "learning_rate_init": 1e-3, "scoring": "loss" if stops_early else None}
    results = [fitted({**arguments, "tol": kind(2.0**-10)}, Y * 1e4, MLPRegressor) for kind in (float, each)]
    assert results[0] == results[1]
    assert results[0][1] > float(np.finfo(np.float16).max)


def test_arrays_of_no_dimensions_are_numbers_or_refused_by_name():
    assert fitted({"hidden_layer_sizes": np.array(5)}) == fitted({"hidden_layer_sizes": 5})
    assert fitted({"dropout": np.array(0.25)}) == fitted({"dropout": 0.25})
    assert fitted({"hidden_layer_sizes": np.array([5, 3], np.uint8)}) == fitted({"hidden_layer_sizes": (5, 3)})
    for name in sorted({*INTEGERS, *FLOATS} - {"hidden_layer_sizes", "dropout"}):
        with pytest.raises(ValueError, match=f"{name}"):
            fitted({name: np.array({**INTEGERS, **FLOATS}[name])})


@pytest.mark.parametrize(("name", "value"), [("alpha", 1e-60), ("learning_rate_init", 1e39), ("epsilon", 1e-60)])
def test_numbers_out_of_the_range_of_float32_are_refused_by_their_name(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be in the range of float32, but {re.escape(f'{value:g}')} is"):
        MLPClassifier(5, dtype="float32", **{name: value}).fit(X, Y)
    with pytest.raises(ValueError, match="delta must be in the range of float32"):
        MLPRegressor(Huber(1e-60), dtype="float32").fit(X, Y)


def test_masks_are_refused():
    masked = np.ma.masked_less(X, -1)
    targets = np.ma.masked_array(Y, mask=Y == 0)
    estimator = MLPClassifier(5, max_iter=1).fit(X, Y)
    for call, name in (
        (lambda: estimator.fit(masked, Y), "X"),
        (lambda: estimator.fit([*masked], Y), "X"),
        (lambda: estimator.fit(X, targets), "y"),
        (lambda: estimator.fit(X, Y, targets), "sample_weight"),
        (lambda: estimator.fit(X, Y, eval_set=(X, Y, targets)), "sample_weight"),
        (lambda: estimator.predict(masked), "X"),
        (lambda: estimator.partial_fit(masked, Y), "X"),
    ):
        with pytest.raises(ValueError, match=rf"{name} is masked: \d+ of its values are missing. Impute them"):
            call()


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_weights_whose_sum_overflows_are_refused(solver, kind):
    for dtype, largest in (("float32", 1e37), ("float64", 1e307)):
        arguments = {"hidden_layer_sizes": 5, "solver": solver, "max_iter": 1, "dtype": dtype, "random_state": 0}
        with pytest.raises(ValueError, match="sample_weight must add up to between"):
            kind(**arguments).fit(X, Y, np.full(ROWS, largest))
        if kind is MLPClassifier:
            for weights, name in (
                (None, "class_weight of the examples"),
                (np.ones(ROWS), "class_weight times sample_"),
            ):
                with pytest.raises(ValueError, match=f"{name}.* must add up to between"):
                    kind(**arguments, class_weight={0: largest, 1: largest}).fit(X, Y, weights)


@pytest.mark.filterwarnings("ignore:The (features of X|targets) are far:UserWarning")
def test_a_loss_that_lbfgs_leaves_infinite_is_an_error():
    with pytest.raises(ValueError, match=r"Solver produced non-finite parameter weights.* The loss is (inf|nan)"):
        MLPRegressor(hidden_layer_sizes=5, solver="lbfgs", max_iter=2, random_state=0).fit(X * 1e200, Y)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"])
def test_numbers_of_ml_dtypes_are_read_wherever_arrays_are(name):
    dtype = getattr(pytest.importorskip("ml_dtypes"), name)
    values, weights = np.round(X).clip(-3, 3), np.ones(ROWS)
    for kind, y in ((MLPClassifier, Y), (MLPRegressor, values[:, 0]), (MLPRegressor, values[:, :2])):
        results = []
        for read in (np.asarray, lambda array: array.astype(dtype)):
            estimator = kind(hidden_layer_sizes=3, max_iter=2, random_state=0, dtype="float32")
            estimator.fit(read(values), read(y), read(weights), eval_set=(read(values), read(y), read(weights)))
            estimator.partial_fit(read(values), read(y))
            results.append((estimator.predict(read(values)).tolist(), estimator.validation_loss_curve_))
        assert results[0] == results[1]


def test_what_cannot_be_read_is_said_in_our_words():
    class Failing:
        def __array__(self, *arguments, **settings):
            raise RuntimeError("gone")

    estimator = MLPClassifier(5, max_iter=1).fit(X, Y)
    for call, name in (
        (lambda: estimator.fit(Failing(), Y), "X"),
        (lambda: estimator.fit(X, Failing()), "y"),
        (lambda: estimator.fit(X, Y, Failing()), "sample_weight"),
        (lambda: estimator.predict(Failing()), "X"),
    ):
        with pytest.raises(
            TypeError, match=f"{name} cannot be made an array of numbers: RuntimeError, gone. Pass {name}"
        ):
            call()


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_outputs_that_overflow_are_an_error_with_the_row(container, monkeypatch):
    monkeypatch.setattr(sparse_module, "DENSE_BYTES", 10 * 4 * 8)  # ten rows at a time
    monkeypatch.setattr("fastnet.sklearn.rules.DENSE_BYTES", 10 * 4 * 8)
    rows = np.zeros((ROWS, 4))
    rows[123:, 1] = 1.0
    classifier, regressor = (
        MLPClassifier(5, max_iter=1).fit(X, Y % 2 + (X[:, 1] > 0)),
        MLPRegressor(max_iter=1).fit(X, Y),
    )
    for estimator in (classifier, regressor):
        for coef in estimator.coefs_:
            coef[:] = 1e200
        for call in ("predict", "score", *["predict_proba", "predict_log_proba"] * (estimator is classifier)):
            arguments = (container(rows), Y) if call == "score" else (container(rows),)
            with pytest.raises(FloatingPointError, match=r"not finite in float64: for X\[123\], layer 2 is the first"):
                getattr(estimator, call)(*arguments)
