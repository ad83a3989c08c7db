"""The estimators of fastnet.sklearn against scikit-learn's, and what they have beyond those."""

import copy
import inspect
import pickle
import re
import subprocess
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("sklearn")
from scipy import sparse
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

import fastnet
from fastnet import sklearn as ours
from fastnet.engine import memory
from fastnet.engine import sparse as sparse_module
from fastnet.engine.run import Run

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS, Y_IRIS = load_iris(return_X_y=True)
X_IRIS = StandardScaler().fit_transform(X_IRIS)
PAIRS = [(ours.MLPClassifier, theirs.MLPClassifier), (ours.MLPRegressor, theirs.MLPRegressor)]
SMALL = {"hidden_layer_sizes": (7, 5), "random_state": 0, "max_iter": 3}


OLD = "sample_weight" not in inspect.signature(theirs.MLPClassifier.fit).parameters
"""Before 1.7, scikit-learn's MLP knew no weights and no Poisson's loss."""


def skip_if_too_old(needed):
    if OLD and needed:
        pytest.skip("needs scikit-learn 1.7")


def problem(kind, m=65):
    """Return X and y of some kind of target."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((m, 9))
    y = {
        "two classes": (X[:, 0] > 0).astype(int),
        "three classes": np.array(["a", "bb", "ccc"])[(X[:, 0] > 0.5).astype(int) + (X[:, 1] > 0)],
        "labels": (X[:, :3] > 0.3).astype(int),
        "one number": X[:, 0] - X[:, 1] ** 2,
        "numbers": np.stack([X[:, 0], X[:, 1] * X[:, 2]], axis=1),
        "counts": rng.poisson(np.exp(X[:, 0] / 2)),
    }[kind]
    return X, y


def assert_same_network(estimator, other, rtol):
    for ours_, theirs_ in zip(
        [*estimator.coefs_, *estimator.intercepts_], [*other.coefs_, *other.intercepts_], strict=True
    ):
        assert ours_.shape == theirs_.shape
        np.testing.assert_allclose(ours_, theirs_, rtol=rtol, atol=rtol * np.abs(theirs_).max())


# ------------------------------------------------------------------------------------------------ as scikit-learn does


@pytest.mark.parametrize(("mine", "other"), PAIRS)
def test_the_arguments_are_theirs_in_their_order_with_their_defaults(mine, other):
    skip_if_too_old(other is theirs.MLPRegressor)
    expected = list(inspect.signature(other).parameters.values())
    found = list(inspect.signature(mine).parameters.values())[: len(expected)]
    assert [(p.name, p.default, p.kind) for p in found] == [(p.name, p.default, p.kind) for p in expected]


@pytest.mark.jit
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("kind", ["two classes", "three classes", "labels", "one number", "numbers", "counts"])
@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "sgd"},
        {"solver": "sgd", "momentum": 0.5, "nesterovs_momentum": False, "learning_rate": "invscaling"},
        {"solver": "sgd", "momentum": 0.0, "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2},
        {"solver": "adam"},
        {"solver": "adam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3, "learning_rate_init": 0.01, "batch_size": 7},
    ],
)
def test_fifty_epochs_give_their_network(kind, activation, shuffle, solver):
    """The same weights to start from, shuffles and batches: parameters within 1e-8, and the same curves."""
    skip_if_too_old(kind == "counts")
    mine, other = PAIRS[kind in ("one number", "numbers", "counts")]
    arguments = {
        "hidden_layer_sizes": (17, 5), "activation": activation, "shuffle": shuffle, "random_state": 1, "max_iter": 50,
        "tol": 0.0, "n_iter_no_change": 1000, "alpha": 0.01, "batch_size": 32, **solver,
    }  # fmt: skip
    if kind == "counts":
        arguments["loss"] = "poisson"
    X, y = problem(kind)
    estimator, expected = mine(**arguments).fit(X, y), other(**arguments).fit(X, y)
    assert_same_network(estimator, expected, rtol=1e-8)
    np.testing.assert_allclose(estimator.loss_curve_, expected.loss_curve_, rtol=1e-8)
    np.testing.assert_allclose(estimator.best_loss_, expected.best_loss_, rtol=1e-8)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(estimator, name) == getattr(expected, name), name
    if mine is ours.MLPClassifier:
        np.testing.assert_array_equal(estimator.predict(X), expected.predict(X))
    np.testing.assert_allclose(estimator.model_.forward(X), expected._forward_pass_fast(X), rtol=1e-7, atol=1e-7)


@pytest.mark.jit
@pytest.mark.parametrize("kind", ["two classes", "three classes", "one number"])
@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping_is_theirs(kind, weighted):
    """The same examples held out, scores, epoch to stop at, and best parameters."""
    skip_if_too_old(weighted)
    mine, other = PAIRS[kind == "one number"]
    X, y = problem(kind, 209)
    if kind == "three classes":
        y = np.unique(y, return_inverse=True)[1]  # of strings, theirs failed before 1.9
    weights = (np.random.default_rng(0).random(209),) if weighted else ()
    arguments = {
        "hidden_layer_sizes": 17, "early_stopping": True, "random_state": 2, "max_iter": 60, "learning_rate_init": 0.02,
        "n_iter_no_change": 5, "validation_fraction": 0.2, "batch_size": 32,
    }  # fmt: skip
    estimator = mine(**arguments).fit(X, y, *weights)
    expected = other(**arguments).fit(X, y, *weights)
    assert estimator.n_iter_ == expected.n_iter_ < 60
    assert estimator.best_loss_ is None
    np.testing.assert_allclose(estimator.validation_scores_, expected.validation_scores_, rtol=1e-9)
    np.testing.assert_allclose(estimator.best_validation_score_, expected.best_validation_score_, rtol=1e-9)
    assert_same_network(estimator, expected, rtol=1e-8)


@pytest.mark.jit
@pytest.mark.parametrize("kind", ["two classes", "three classes", "labels", "one number", "counts"])
def test_lbfgs_finds_what_theirs_does(kind):
    skip_if_too_old(kind == "counts")
    mine, other = PAIRS[kind in ("one number", "counts")]
    arguments = {"hidden_layer_sizes": 5, "solver": "lbfgs", "random_state": 1, "max_iter": 10, "activation": "tanh"}
    if kind == "counts":
        arguments["loss"] = "poisson"
    X, y = problem(kind)
    estimator, expected = mine(**arguments).fit(X, y), other(**arguments).fit(X, y)
    assert_same_network(estimator, expected, rtol=1e-6)
    np.testing.assert_allclose(estimator.loss_, expected.loss_, rtol=1e-8)
    assert estimator.n_iter_ == expected.n_iter_


@pytest.mark.jit
def test_weights_go_on_from_a_warm_start_and_partial_fit():
    X, y = problem("three classes")
    arguments = {"hidden_layer_sizes": 7, "random_state": 1, "max_iter": 4, "warm_start": True, "batch_size": 16}
    estimator, expected = ours.MLPClassifier(**arguments), theirs.MLPClassifier(**arguments)
    for _ in range(3):
        assert_same_network(estimator.fit(X, y), expected.fit(X, y), rtol=1e-8)
    for each in (estimator, expected):
        each.set_params(warm_start=False, alpha=0.1)
        for _ in range(3):
            each.partial_fit(X[:17], y[:17])
    assert_same_network(estimator, expected, rtol=1e-8)
    np.testing.assert_allclose(estimator.loss_curve_, expected.loss_curve_, rtol=1e-8)


@pytest.mark.parametrize(("mine", "other"), PAIRS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"hidden_layer_sizes": -1}, {"activation": "ReLU"}, {"solver": "newton"}, {"alpha": -1}, {"batch_size": 0},
        {"learning_rate": "down"}, {"learning_rate_init": 0}, {"power_t": -1}, {"max_iter": 0}, {"shuffle": "yes"},
        {"random_state": -1}, {"tol": -1}, {"verbose": -1}, {"warm_start": "no"}, {"momentum": 2},
        {"nesterovs_momentum": "x"}, {"early_stopping": "x"}, {"validation_fraction": 1.0}, {"beta_1": 1},
        {"beta_2": 1}, {"epsilon": 0}, {"n_iter_no_change": 0}, {"max_fun": 0}, {"alpha": "much"}, {"max_iter": 1.5},
    ],
)  # fmt: skip
def test_bad_arguments_get_their_message(mine, other, arguments):
    X, y = X_IRIS, Y_IRIS
    with pytest.raises(ValueError) as expected:  # noqa: PT011 - the message is what is compared
        other(**arguments).fit(X, y)
    with pytest.raises(type(expected.value)) as found:
        mine(**arguments).fit(X, y)
    name = next(iter(arguments))
    told, wanted = str(found.value), str(expected.value)
    if name in ("activation", "solver"):  # there are more to choose from
        assert name in told
        assert "must be" in told
        assert all(choice in told for choice in ("'relu'",) if name == "activation")
    else:
        assert sorted(re.split(r"[ ,{}]+", told)) == sorted(re.split(r"[ ,{}]+", wanted))  # choices come in any order


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dropout": 1.0}, "The 'dropout' parameter of MLPClassifier must be"),
        ({"dropout": [0.1]}, "dropout has 1 entries, but hidden_layer_sizes has 2"),
        ({"dropout": [0.1, 2.0]}, "dropout must be a number of at least 0 and less than 1"),
        ({"activation": ["relu"]}, "activation has 1 entries, but hidden_layer_sizes has 2"),
        ({"activation": ["relu", "softmax"]}, "activation must be among"),
        ({"clip_norm": 0}, "The 'clip_norm' parameter of MLPClassifier must be"),
        ({"label_smoothing": 1}, "The 'label_smoothing' parameter of MLPClassifier must be"),
        ({"class_weight": "even"}, "The 'class_weight' parameter of MLPClassifier must be"),
        ({"n_threads": 0}, "The 'n_threads' parameter of MLPClassifier must be"),
        ({"dtype": "float16"}, "The 'dtype' parameter of MLPClassifier must be"),
        ({"scoring": "good", "early_stopping": True}, "'good' is not a valid scoring value"),
        ({"hidden_layer_sizes": (2.5, 1)}, r"hidden_layer_sizes\[0\] must be an integer"),
    ],
)
def test_bad_arguments_of_ours_are_named(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ours.MLPClassifier(**{**SMALL, **arguments}).fit(X_IRIS, Y_IRIS)


@pytest.mark.parametrize("missing", ["sklearn", "sklearn.utils.validation"])
def test_without_scikit_learn_the_extra_is_named(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; import fastnet, fastnet.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: fastnet.sklearn needs scikit-learn 1.6 or later" in done.stderr
    assert "fastnet-mlp[sklearn]" in done.stderr


# ------------------------------------------------------------------------------------------------------- parameters


def test_coefs_are_views_of_the_network():
    estimator = ours.MLPClassifier(**SMALL).fit(X_IRIS, Y_IRIS)
    before = estimator.predict_proba(X_IRIS)
    estimator.coefs_[0][:] = 0
    assert not np.array_equal(estimator.predict_proba(X_IRIS), before)
    assert not estimator.model_.layers[0].W.any()
    estimator.intercepts_[1] = np.ones(5)  # in its place
    estimator.predict(X_IRIS)
    np.testing.assert_array_equal(estimator.model_.layers[1].b, np.ones((5, 1)))
    assert np.shares_memory(estimator.intercepts_[1], estimator.model_.parameters)


def test_copies_and_pickles_have_a_network_of_their_own():
    estimator = ours.MLPClassifier(**SMALL, dtype="float32").fit(X_IRIS, Y_IRIS)
    expected = estimator.predict_proba(X_IRIS)
    for made in (copy.copy(estimator), copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator))):
        np.testing.assert_array_equal(made.predict_proba(X_IRIS), expected)
        made.partial_fit(X_IRIS, Y_IRIS)
        assert not np.array_equal(made.predict_proba(X_IRIS), expected)
        assert np.shares_memory(made.coefs_[0], made.model_.parameters)
    np.testing.assert_array_equal(estimator.predict_proba(X_IRIS), expected)
    one, other = pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)
    for each in (one, other):  # with what Adam remembers
        each.partial_fit(X_IRIS, Y_IRIS)
    np.testing.assert_array_equal(one.predict_proba(X_IRIS), other.predict_proba(X_IRIS))
    assert not hasattr(clone(estimator), "coefs_")


@pytest.mark.parametrize("kind", ["two classes", "three classes", "labels", "one number", "counts"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conversion_keeps_predictions(kind, dtype):
    skip_if_too_old(kind == "counts")
    mine, other = PAIRS[kind in ("one number", "counts")]
    loss = {"loss": "poisson"} if kind == "counts" else {}
    X, y = problem(kind)
    X = X.astype(dtype)
    rtol = 1e-5 if dtype is np.float32 else 1e-12
    for estimator in (mine(**SMALL, **loss).fit(X, y), ours.from_sklearn(other(**SMALL, **loss).fit(X, y))):
        converted = estimator.to_sklearn()
        assert type(converted) is other
        assert type(ours.from_sklearn(converted)) is type(mine.from_sklearn(converted)) is mine
        method = "predict" if mine is ours.MLPRegressor else "predict_proba"
        expected = getattr(converted, method)(X)
        for each in (estimator, ours.from_sklearn(converted)):
            np.testing.assert_allclose(getattr(each, method)(X), expected, rtol=rtol, atol=rtol)
            np.testing.assert_array_equal(each.coefs_[0], converted.coefs_[0])
        if mine is ours.MLPClassifier:
            np.testing.assert_array_equal(estimator.predict(X), converted.predict(X))
        for each in (estimator, converted):
            each.partial_fit(X, y)
        assert len(converted.loss_curve_) == len(estimator.loss_curve_) == 4


def test_conversion_refuses_what_would_be_lost():
    assert isinstance(ours.MLPClassifier(alpha=0.5, n_threads=1).to_sklearn(), theirs.MLPClassifier)
    with pytest.raises(ValueError, match=r"MLPClassifier has no dropout, which is 0\.5"):
        ours.MLPClassifier(dropout=0.5).to_sklearn()
    with pytest.raises(ValueError, match="MLPClassifier cannot be this network: The 'activation' parameter"):
        ours.MLPClassifier(activation="gelu").to_sklearn()
    for other in (theirs.MLPRegressor(), StandardScaler()):
        with pytest.raises(TypeError, match=re.escape(f"must be scikit-learn's MLPClassifier, not {other!r}.")):
            ours.MLPClassifier.from_sklearn(other)
    with pytest.raises(TypeError, match="estimator must be scikit-learn's MLPClassifier or MLPRegressor, not"):
        ours.from_sklearn(StandardScaler())


# ------------------------------------------------------------------------------------------------------- prediction


def test_rows_of_any_form_give_the_same_bits():
    """An array that is right goes straight to the kernel; anything else through scikit-learn's checks first."""
    X = X_IRIS.astype(np.float32)
    estimator = ours.MLPClassifier(**SMALL).fit(X, Y_IRIS)
    expected = estimator.predict_proba(X)
    forms = (np.asfortranarray(X), X.astype(np.float64), X.tolist(), sparse.csr_matrix(X), sparse.csc_array(X))
    for form in forms:
        np.testing.assert_array_equal(estimator.predict_proba(form), expected)
    np.testing.assert_array_equal(estimator.predict_proba(X[:1]), expected[:1])
    assert expected.dtype == np.float32
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        estimator.predict(bad)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4 features as input"):
        estimator.predict(X[:, :3])
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError, match="This MLPClassifier instance is not fitted yet"):
            getattr(ours.MLPClassifier(), method)(X)
    with pytest.raises(NotFittedError):
        ours.MLPClassifier().model_


def test_one_class_alone_is_predicted():
    estimator = ours.MLPClassifier(**SMALL).fit(X_IRIS[:10], ["only"] * 10)
    assert set(estimator.predict(X_IRIS)) == {"only"}


# ----------------------------------------------------------------------------------------------------------- sparse


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_rows_train_as_dense_ones_do(solver, container, monkeypatch):
    monkeypatch.setattr("fastnet.sklearn.rules.DENSE_BYTES", 0)  # as if these were large
    monkeypatch.setattr(sparse_module, "DENSE_BYTES", 8 * 9 * 40)
    X, y = problem("three classes", 209)
    X[X < 0.5] = 0
    arguments = {**SMALL, "solver": solver, "batch_size": 33, "early_stopping": True}
    dense = ours.MLPClassifier(**arguments).fit(X, y)
    estimator = ours.MLPClassifier(**arguments).fit(container(X), y)
    assert_same_network(estimator, dense, rtol=0)
    assert getattr(estimator, "validation_scores_", None) == getattr(dense, "validation_scores_", None)
    np.testing.assert_array_equal(estimator.predict_proba(container(X)), dense.predict_proba(X))


@pytest.mark.jit
def test_sparse_rows_are_never_all_dense(monkeypatch):
    """20,000 x 2,000 would be 320 MB."""
    X = sparse.random(20_000, 2_000, density=0.002, format="csr", random_state=0)
    y = np.arange(20_000) % 2
    estimator = ours.MLPClassifier(4, max_iter=1).fit(X[:64], y[:64])  # compiled by now
    monkeypatch.setattr(memory, "LARGE", sys.maxsize)  # tracemalloc does not see what is mapped
    tracemalloc.start()
    estimator.fit(X, y)
    estimator.predict_proba(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", ["float32", "float64"])
@pytest.mark.parametrize("validates", [False, True])
def test_what_a_callback_does_to_sparse_rows_has_no_effect(validates, given, dtype, monkeypatch):
    monkeypatch.setattr("fastnet.sklearn.rules.DENSE_BYTES", 0)  # as if these were large
    X = sparse.random(90, 8, density=0.5, format="csr", dtype=given, random_state=0)
    y, held_out = np.arange(90) % 2, X.copy()

    def change(*_):
        for rows in (X, held_out):
            rows.data[:], rows.indices[:], rows.indptr[1:] = np.nan, 0, 0

    def fitted(callbacks):
        estimator = ours.MLPClassifier(**SMALL, batch_size=20, dtype=dtype, callbacks=callbacks)
        estimator.fit(X, y, eval_set=(held_out, y) if validates else None)
        return estimator.loss_curve_, estimator.__dict__.get("validation_scores_")

    assert fitted(None) == fitted(change)


@pytest.mark.parametrize("bytes_of_large", [0, 2**23])
@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_array])
def test_indices_out_of_range_are_refused(container, bytes_of_large, monkeypatch):
    monkeypatch.setattr("fastnet.sklearn.rules.DENSE_BYTES", bytes_of_large)
    X = sparse.random(9, 9, density=0.5, random_state=0)
    y = np.arange(9) % 2
    estimator = ours.MLPClassifier(**SMALL).fit(container(X), y)
    before = estimator.coefs_[0].copy()
    for name, value in (("indices", 9), ("indices", -1), ("indices", 10**9), ("indptr", 10**9), ("indptr", -1)):
        bad = container(X)
        getattr(bad, name)[3] = value
        for call in (
            lambda bad=bad: estimator.fit(bad, y),
            lambda bad=bad: estimator.partial_fit(bad, y),
            lambda bad=bad: ours.MLPClassifier(**SMALL).fit(container(X), y, eval_set=(bad, y)),
            lambda bad=bad: estimator.predict(bad),
        ):
            with pytest.raises(ValueError, match=r"X is sparse, but where its values are is not valid: .*\. Make it a"):
                call()
    np.testing.assert_array_equal(estimator.coefs_[0], before)


@pytest.mark.jit
def test_dense_rows_in_the_dtype_of_the_network_are_not_copied(monkeypatch):
    X = np.random.default_rng(0).standard_normal((50_000, 100))
    y = X[:, 0] > 0
    estimator = ours.MLPClassifier(8, max_iter=1).fit(X[:64], y[:64])
    monkeypatch.setattr(memory, "LARGE", sys.maxsize)  # tracemalloc does not see what is mapped
    tracemalloc.start()
    estimator.fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 2


# -------------------------------------------------------------------------------------------- what scikit-learn has not


def test_class_weight_is_a_weight_of_each_example():
    X, y = problem("three classes")
    by_class = {"a": 1.0, "bb": 3.0, "ccc": 0.5}
    weighted = ours.MLPClassifier(**SMALL).fit(X, y, [by_class[label] for label in y])
    estimator = ours.MLPClassifier(**SMALL, class_weight=by_class).fit(X, y)
    assert_same_network(estimator, weighted, rtol=1e-12)
    doubled = ours.MLPClassifier(**SMALL, class_weight=by_class).fit(X, y, np.full(65, 2.0))
    balanced = ours.MLPClassifier(**SMALL, class_weight="balanced", early_stopping=True).fit(X, y)
    share = {label: 65 / (3 * np.sum(y == label)) for label in by_class}
    again = ours.MLPClassifier(**SMALL, class_weight=share, early_stopping=True).fit(X, y)
    assert_same_network(balanced, again, rtol=1e-12)
    # It counts in training alone.
    scores = [
        ours.MLPClassifier(**SMALL, class_weight=weight).fit(X, y, eval_set=(X, y)).validation_loss_curve_[0]
        for weight in (None, {"a": 1.0, "bb": 1.0, "ccc": 1.0})
    ]
    assert scores[0] == scores[1]
    with pytest.raises(ValueError, match="class_weight='balanced' is not for partial_fit"):
        balanced.partial_fit(X, y)
    with pytest.raises(ValueError, match="class_weight must hold finite numbers of at least 0"):
        ours.MLPClassifier(class_weight={"a": -1.0, "bb": 1.0, "ccc": 1.0}).fit(X, y)
    labels = problem("labels")[1]
    for_labels = ours.MLPClassifier(**SMALL, class_weight=[{0: 1, 1: 2}] * 3).fit(X, labels)
    expected = ours.MLPClassifier(**SMALL).fit(X, labels, 2.0 ** labels.sum(axis=1))
    assert_same_network(for_labels, expected, rtol=1e-12)
    assert_same_network(doubled, ours.MLPClassifier(**SMALL).fit(X, y, [2 * by_class[each] for each in y]), rtol=1e-12)


def test_a_list_of_activations_dropout_and_an_optimizer():
    estimator = ours.MLPClassifier(
        (7, 5), ["gelu", fastnet.LeakyReLU(0.2)], solver=fastnet.AdamW(0.01), dropout=[0.0, 0.5], clip_norm=1.0,
        random_state=0, max_iter=3,
    ).fit(X_IRIS, Y_IRIS)  # fmt: skip
    assert "LeakyReLU(slope=0.2)" in estimator.model_.summary()
    assert [type(layer).__name__ for layer in estimator.model_.layers] == ["Dense", "Dense", "Dropout", "Dense"]
    assert estimator._optimizer == fastnet.AdamW(0.01, clip_norm=1.0)
    again = clone(estimator).fit(X_IRIS, Y_IRIS)
    assert_same_network(again, estimator, rtol=0)
    without = clone(estimator).set_params(dropout=0.0).fit(X_IRIS, Y_IRIS)
    assert not np.array_equal(without.coefs_[0], estimator.coefs_[0])


def test_how_probabilities_change_with_the_features():
    estimator, h = ours.MLPClassifier(**SMALL).fit(X_IRIS, Y_IRIS), 1e-5
    found = estimator.model_.input_gradients(X_IRIS)
    assert found.shape == (len(X_IRIS), 3, 4)
    for j, shift in enumerate(np.eye(4) * h):
        difference = estimator.predict_proba(X_IRIS + shift) - estimator.predict_proba(X_IRIS - shift)
        np.testing.assert_allclose(found[:, :, j], difference / (2 * h), atol=1e-8)


@pytest.mark.parametrize("loss", ["absolute_error", "huber", fastnet.Huber(0.3)])
def test_further_losses(loss):
    X, y = problem("one number")
    estimator = ours.MLPRegressor(loss, **SMALL).fit(X, y)
    errors = np.abs(y - estimator.predict(X))
    delta = {"huber": 1.0}.get(loss, getattr(loss, "delta", 0)) if loss != "absolute_error" else 0
    expected = np.where(errors <= delta, errors**2 / 2, delta * (errors - delta / 2)) if delta else errors
    # The loss of an epoch is that before its updates: go through the examples once more, all in one batch.
    estimator.set_params(batch_size=65, alpha=0).partial_fit(X, y)
    np.testing.assert_allclose(estimator.loss_, expected.mean(), rtol=1e-12)


def test_an_eval_set_is_scored_and_stops_the_fit():
    X, y = problem("two classes", 65)
    X_val, y_val = problem("two classes", 33)
    estimator = ours.MLPClassifier(**{**SMALL, "max_iter": 5}, alpha=0.5).fit(X, y, eval_set=[(X_val, y_val)])
    assert estimator.validation_scores_[-1] == estimator.score(X_val, y_val)
    p = estimator.predict_proba(X_val)[:, 1]
    loss = -np.mean(np.where(y_val == 1, np.log(p), np.log(1 - p)))
    np.testing.assert_allclose(estimator.validation_loss_curve_[-1], loss, rtol=1e-12)
    assert len(estimator.loss_curve_) == len(estimator.validation_loss_curve_) == 5
    assert estimator.best_loss_ is not None
    weights = np.arange(33.0)
    weighted = ours.MLPClassifier(**SMALL, alpha=0.5).fit(X, y, eval_set=(X_val, y_val, weights))
    assert weighted.validation_scores_[-1] == weighted.score(X_val, y_val, weights)
    assert weighted.fit(X, y).validation_scores_ is None
    assert not hasattr(weighted, "validation_loss_curve_")
    stopped = ours.MLPClassifier(
        7, early_stopping=True, max_iter=50, n_iter_no_change=2, tol=10, random_state=0
    ).fit(X, y, eval_set=(X_val, y_val, np.arange(33)))  # fmt: skip
    assert stopped.n_iter_ == 4
    for wrong in (X_val, (X_val,), [(X_val, y_val), (X_val, y_val)]):
        with pytest.raises(ValueError, match=r"eval_set must be \(X, y\)"):
            estimator.fit(X, y, eval_set=wrong)
    with pytest.raises(ValueError, match="classes not in"):
        estimator.fit(X, y, eval_set=(X_val, y_val + 5))


@pytest.mark.parametrize("scoring", ["loss", "roc_auc", lambda estimator, X, y: estimator.score(X, y)])
def test_early_stopping_goes_by_any_score(scoring):
    X, y = problem("two classes", 129)
    estimator = ours.MLPClassifier(
        7, early_stopping=True, scoring=scoring, random_state=0, max_iter=40, n_iter_no_change=3,
        learning_rate_init=0.05,
    ).fit(X, y)  # fmt: skip
    assert max(estimator.validation_scores_) == estimator.best_validation_score_
    X_val, y_val = problem("two classes", 65)
    weights = None if callable(scoring) else np.linspace(0, 1, 65)
    last = clone(estimator).set_params(early_stopping=False, max_iter=3).fit(X, y, eval_set=(X_val, y_val, weights))
    p = last.predict_proba(X_val)[:, 1]
    expected = {
        "loss": lambda: -log_loss(y_val, p, sample_weight=weights),
        "roc_auc": lambda: roc_auc_score(y_val, p, sample_weight=weights),
    }.get(scoring, lambda: last.score(X_val, y_val))()
    np.testing.assert_allclose(last.validation_scores_[-1], expected, rtol=1e-12)
    if scoring == "loss":
        assert estimator.validation_scores_ == [-loss for loss in estimator.validation_loss_curve_]


def test_callbacks_are_fastnets():
    X, y = problem("two classes")
    seen = []

    def stop(model, epoch, logs):
        seen.append((epoch, logs["cost"]))
        return epoch == 3

    estimator = ours.MLPClassifier(**{**SMALL, "max_iter": 6}, callbacks=[stop]).fit(X, y)
    assert seen == list(enumerate(estimator.loss_curve_))
    assert estimator.n_iter_ == 4
    slower = fastnet.ReduceOnPlateau("cost", patience=1, min_delta=10)
    estimator = ours.MLPClassifier(**{**SMALL, "max_iter": 6}, callbacks=slower, early_stopping=True).fit(X, y)
    assert estimator._optimizer.learning_rate < 1e-3
    with pytest.raises(ValueError, match="EarlyStopping monitors 'val_cost', but this fit logs only 'cost'"):
        ours.MLPClassifier(callbacks=fastnet.EarlyStopping()).fit(X, y)


@pytest.mark.parametrize(("monitor", "best"), [("val_score", np.argmax), ("val_cost", np.argmin)])
def test_more_of_a_score_is_better_to_callbacks(monitor, best):
    X, y = problem("two classes")
    estimator = ours.MLPClassifier(**{**SMALL, "max_iter": 12, "learning_rate_init": 0.05}, early_stopping=True)
    stopping = fastnet.EarlyStopping(monitor, patience=12)
    estimator.set_params(callbacks=stopping).fit(X, y)
    curve = estimator.validation_scores_ if monitor == "val_score" else estimator.validation_loss_curve_
    assert len(set(curve)) > 1
    assert (stopping.best_epoch, stopping.best) == (best(curve), curve[best(curve)])


def test_a_model_in_training_is_not_trained_by_a_callback():
    X, y = problem("two classes")
    with pytest.raises(RuntimeError, match="being trained"):
        ours.MLPClassifier(callbacks=lambda model, *_: model.step(X, y)).fit(X, y)


def test_callbacks_of_scikit_learn():
    callback = pytest.importorskip("sklearn.callback")
    if not hasattr(callback, "ScoringMonitor"):
        pytest.skip("an older sklearn.callback")
    X, y = problem("two classes")

    class Recorder:
        def setup(self, estimator, context):
            self.scores, self.ends = [], 0

        def teardown(self, estimator, context):
            self.ends += 1

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            self.scores.append((context.task_name, fitted_estimator.score(X, y)))
            return len(self.scores) == 3

    for solver in ("adam", "lbfgs"):
        recorder = Recorder()
        estimator = ours.MLPClassifier(**{**SMALL, "max_iter": 6}, solver=solver).set_callbacks(recorder).fit(X, y)
        assert [name for name, _ in recorder.scores] == ["epoch"] * 3 + ["fit"]
        assert recorder.scores[-1][1] == estimator.score(X, y)
        assert recorder.ends == 1
        assert estimator.n_iter_ == 3


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_the_same_bits_on_any_number_of_threads(solver):
    X, y = problem("two classes", 600)
    found = [
        ours.MLPClassifier((33, 17), solver=solver, n_threads=n, random_state=0, max_iter=2).fit(X, y).coefs_[0]
        for n in (1, 2, 3)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_dropout_draws_anew_each_epoch_on_any_number_of_threads(kind):
    X, y = problem("two classes", 600)
    found = [
        getattr(ours, kind)(hidden_layer_sizes=(33, 17), dropout=0.3, n_threads=n, random_state=0, max_iter=4)
        .fit(X, y)
        .coefs_[0]
        for n in (1, 2, 3)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


# --------------------------------------------------------------------------------------------------- when it ends badly


@pytest.mark.filterwarnings("ignore:The (features of X|targets) are far:UserWarning")
def test_divergence_leaves_finite_parameters():
    X, y = X_IRIS * 1e300, Y_IRIS
    estimator = ours.MLPRegressor(
        hidden_layer_sizes=7, activation="identity", solver="sgd", learning_rate_init=10, momentum=0, random_state=0
    )
    with pytest.raises(
        ValueError, match=r"non-finite parameter weights.* Loss or parameters .* in iteration 1; `coefs_` are"
    ):
        estimator.fit(X, y)
    assert all(np.isfinite(coef).all() for coef in estimator.coefs_)
    estimator.set_params(early_stopping=True)
    with pytest.warns(
        ConvergenceWarning, match="Training diverged in iteration 1: the best parameters so far are kept"
    ):
        estimator.fit(X, y)
    assert np.isnan(estimator.loss_)
    assert np.isnan(estimator.validation_scores_[-1])


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": fastnet.SGD(lambda epoch: 0.1)}])
@pytest.mark.parametrize("max_iter", [10**9, 10**30])
def test_a_fit_of_endless_iterations_starts_at_once(max_iter, settings):
    X, y = problem("two classes")

    def fit(max_iter):
        stop = {"callbacks": lambda model, epoch, logs: epoch == 1}
        estimator = ours.MLPClassifier(7, max_iter=max_iter, random_state=0, **settings, **stop)
        tracemalloc.start()
        estimator.fit(X, y)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
        tracemalloc.stop()
        return estimator.coefs_[0].tobytes()

    fit(3)  # compiles
    assert fit(max_iter) == fit(3)


def test_an_interrupted_fit_is_a_fit():
    def interrupt(model, epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    X, y = problem("two classes")
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator = ours.MLPClassifier(7, callbacks=interrupt).fit(X, y)
    assert estimator.n_iter_ == 3
    assert estimator.score(X, y) > 0


@pytest.mark.parametrize("error", [None, TimeoutError, SystemExit])
def test_whatever_ends_the_call_that_diverges_leaves_the_last_finite_parameters(error, monkeypatch):
    """And an estimator that goes on with other examples."""
    settings = {"activation": "identity", "solver": "sgd", "learning_rate_init": 1e9, "random_state": 0}
    estimator = ours.MLPRegressor(hidden_layer_sizes=1, **settings)
    X, y = np.zeros((4, 1), np.float32), np.zeros(4, np.float32)
    estimator.partial_fit(X, y)
    for parameters, value in ((estimator.coefs_, 1.0), (estimator.intercepts_, 0.0)):
        for array in parameters:
            array[:] = value
    call = Run._call

    def call_and_raise(run, member):
        call(run, member)
        if run.status and error is not None:
            raise error

    monkeypatch.setattr(Run, "_call", call_and_raise)
    with pytest.raises(error or ValueError):
        estimator.partial_fit(X + 1e15, y)
    assert [float(coef[0, 0]) for coef in estimator.coefs_] == [1.0, 1.0]
    estimator.partial_fit(X, y)


@pytest.mark.parametrize("kind", [ours.MLPClassifier, ours.MLPRegressor])
def test_warnings_point_to_the_line_that_calls_fit(kind):
    estimator = kind(**SMALL, batch_size=1000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X_IRIS, Y_IRIS)
        estimator.partial_fit(X_IRIS, Y_IRIS)
    assert [warning.category for warning in caught] == [UserWarning, ConvergenceWarning, UserWarning]
    first = inspect.currentframe().f_lineno - 3
    assert [(warning.filename, warning.lineno) for warning in caught] == [
        (__file__, line) for line in (first, first, first + 1)
    ]


def test_going_on_with_other_layers_is_refused():
    estimator = ours.MLPClassifier(**SMALL).fit(X_IRIS, Y_IRIS)
    estimator.set_params(hidden_layer_sizes=(7, 6))
    with pytest.raises(ValueError, match=r"has layers of \(4, 7, 5, 3\) units, but .* make \(4, 7, 6, 3\)"):
        estimator.partial_fit(X_IRIS, Y_IRIS)
    with pytest.raises(ValueError, match=r"sample_weight has 150 negative values"):
        ours.MLPClassifier().fit(X_IRIS, Y_IRIS, -np.ones(150))


def test_sparse_labels_come_back_sparse():
    X, y = make_multilabel_classification(33, 7, n_classes=4, random_state=0)
    for labels in (y, sparse.csr_matrix(y)):
        found = ours.MLPClassifier(**SMALL).fit(X, labels).predict(X)
        expected = theirs.MLPClassifier(**SMALL).fit(X, labels).predict(X)
        assert type(found) is type(expected)
        assert (found != expected).sum() == 0


def test_predictions_may_begin_in_several_threads_at_once():
    X, y = problem("three classes")
    fitted = theirs.MLPClassifier((33, 17), random_state=0, max_iter=3).fit(X, y)
    expected = fitted.predict_proba(X)
    for _ in range(20):
        estimator = ours.from_sklearn(fitted)
        estimator.coefs_ = [coef.copy() for coef in estimator.coefs_]  # to be taken in at the first prediction
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(estimator.predict_proba, [X] * 8))
        for each in found:
            np.testing.assert_allclose(each, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("to_ours", [True, False])
def test_a_warm_start_goes_on_after_a_conversion(to_ours):
    X, y = problem("three classes")
    arguments = {**SMALL, "early_stopping": True, "warm_start": True}
    if to_ours:
        converted = ours.from_sklearn(theirs.MLPClassifier(**arguments).fit(X, np.unique(y, return_inverse=True)[1]))
    else:
        converted = ours.MLPClassifier(**arguments).fit(X, np.unique(y, return_inverse=True)[1]).to_sklearn()
    converted.set_params(learning_rate_init=1e-9).fit(X, np.unique(y, return_inverse=True)[1])
    assert len(converted.validation_scores_) == 6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_learning_rate_may_fall_below_what_the_dtype_holds(dtype):
    X, y = problem("two classes")
    arguments = {"solver": "sgd", "learning_rate": "invscaling", "power_t": 30.0, "max_iter": 5, "random_state": 0}
    found = ours.MLPClassifier(**arguments).fit(X.astype(dtype), y)
    expected = theirs.MLPClassifier(**arguments).fit(X.astype(dtype), y)
    np.testing.assert_allclose(found.loss_, expected.loss_, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:partial_fit goes on with the solver of its first call")
def test_a_schedule_stays_with_the_optimizer_it_was_made_with():
    X, y = problem("two classes")
    both = [
        kind(solver="sgd", learning_rate="invscaling", random_state=0, max_iter=3).fit(X, y)
        for kind in (ours.MLPClassifier, theirs.MLPClassifier)
    ]
    for each in both:
        each.set_params(learning_rate_init=0.5, learning_rate="constant").partial_fit(X, y).partial_fit(X, y)
    assert_same_network(*both, rtol=1e-9)


def test_a_copy_does_not_share_what_the_solver_remembers():
    X, y = problem("two classes")
    estimator, alone = (ours.MLPClassifier(**SMALL).fit(X, y) for _ in range(2))
    copy.copy(estimator).partial_fit(X, y)
    assert_same_network(estimator.partial_fit(X, y), alone.partial_fit(X, y), rtol=0)


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ({"dropout": 0.5}, {}),
        ({"clip_norm": 1.0}, {}),
        ({"callbacks": print}, {}),
        ({}, {"eval_set": (X_IRIS, Y_IRIS)}),
    ],
)
def test_lbfgs_refuses_what_it_does_not_do(arguments, given):
    name = next(iter([*arguments, *given]))
    with pytest.raises(ValueError, match=f"{name} is only for stochastic solvers"):
        ours.MLPClassifier(solver="lbfgs", **arguments).fit(X_IRIS, Y_IRIS, **given)


def test_indicators_are_not_taken_for_classes():
    indicators = np.eye(3, dtype=int)[Y_IRIS]
    estimator = ours.MLPClassifier(**SMALL).fit(X_IRIS, Y_IRIS)
    for attempt in (
        lambda: estimator.partial_fit(X_IRIS, indicators),
        lambda: ours.MLPClassifier().fit(X_IRIS, Y_IRIS, eval_set=(X_IRIS, indicators)),
    ):
        with pytest.raises(ValueError, match=r"y must hold one of the classes \[0 1 2\] for each example"):
            attempt()


def test_a_record_begins_where_an_earlier_fit_had_none():
    """After early stopping, or L-BFGS, partial_fit goes on."""
    for earlier in ({"early_stopping": True}, {"solver": "lbfgs"}):
        estimator = ours.MLPClassifier(**{**SMALL, **earlier}).fit(X_IRIS, Y_IRIS)
        estimator.set_params(early_stopping=False, solver="adam").partial_fit(X_IRIS, Y_IRIS)
        assert estimator.best_loss_ == estimator.loss_


def test_parameters_put_in_place_must_fit():
    estimator = ours.MLPClassifier(**SMALL).fit(X_IRIS, Y_IRIS)
    estimator.intercepts_[0] = np.ones(6)
    with pytest.raises(ValueError, match=r"intercepts_\[0\] must have shape \(7,\), as the others have it, not \(6,\)"):
        estimator.predict(X_IRIS)


def test_sparse_rows_of_any_format_are_scored():
    X, y = problem("two classes")
    estimator = ours.MLPClassifier(**SMALL, early_stopping=True, scoring="accuracy").fit(sparse.coo_matrix(X), y)
    assert estimator.best_validation_score_ > 0
