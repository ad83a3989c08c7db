"""What was reported on other libraries' estimators, played on fastnet's."""

import copy

import numpy as np
import pytest

pytest.importorskip("sklearn")
import joblib
import pandas as pd
from scipy import sparse
from sklearn import config_context
from sklearn import neural_network as sklearn_mlp
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import make_scorer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import fastnet
from fastnet import Dense, Model, checks
from fastnet.sklearn import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.jit,  # not about kernels, and minutes in plain Python
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((65, 4))
SIGNS = (X[:, 0] > 0).astype(int)
THREE = np.digitize(X[:, 1], [-0.5, 0.5])
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}


def assert_same_network(one, other):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


# scikit-learn #34883: labels that are texts of digits, #22413: not all classes in class_weight
@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        (np.array(["0", "1"]), {"0": 1, "1": 5}),
        (np.array(["0", "1"], object), {"0": 1, "1": 5}),
        (np.array(["0", "1"]), {"1": 5}),
        (np.array([0, 1]), {1: 5}),
        (np.array([0, 1]), {np.int64(1): np.float32(5)}),
        (np.array([0.0, 1.0]), {1: 5}),
        (np.array([False, True]), {True: 5}),
        (np.array(["no", "yes"]), {"yes": 5.0}),
    ],
    ids=str,
)
def test_class_weights_by_label_of_any_kind(labels, weights):
    by_class = MLPClassifier(**SMALL, class_weight=weights).fit(X, labels[SIGNS])
    by_example = MLPClassifier(**SMALL).fit(X, labels[SIGNS], np.where(SIGNS, 5.0, 1.0))
    assert_same_network(by_class, by_example)
    in_parts = MLPClassifier(**SMALL, class_weight=weights).partial_fit(X, labels[SIGNS], classes=labels)
    in_parts.partial_fit(X[SIGNS == 0], labels[SIGNS[SIGNS == 0]])  # a batch that lacks the class


def test_a_fold_that_lacks_a_class_and_a_class_that_is_nowhere():
    rare = THREE.copy()
    rare[:3] = 7
    with pytest.warns(UserWarning, match=r"class_weight has the class 7, which is none of \[0, 1, 2\]"):
        scores = cross_val_score(
            MLPClassifier(**SMALL, class_weight={7: 2}), X, rare, cv=[(range(3, 65), range(3, 65))]
        )
    assert np.isfinite(scores).all()
    with pytest.warns(UserWarning, match="class_weight has the class 'x'"):
        MLPClassifier(**SMALL, class_weight={"x": 2}).fit(X, THREE)
    with pytest.raises(TypeError, match=r"class_weight\[1\] must be a finite number"):
        MLPClassifier(**SMALL, class_weight={1: "2"}).fit(X, THREE)


def test_class_weights_of_labels_of_which_one_is_left_out():
    labels = np.column_stack([SIGNS, THREE > 0])
    full = MLPClassifier(**SMALL, class_weight=[{0: 1, 1: 3}, {0: 1, 1: 1}]).fit(X, labels)
    assert_same_network(MLPClassifier(**SMALL, class_weight=[{1: 3}, {}]).fit(X, labels), full)


# scikit-learn #5956, #8053: what joblib maps from a file is read-only
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", fastnet.Adagrad(0.01)], ids=str)
def test_a_network_that_joblib_has_mapped_read_only_trains_on(solver, tmp_path):
    known = MLPClassifier(**SMALL, solver=solver, warm_start=True)
    known.fit(X, SIGNS)
    joblib.dump(known, tmp_path / "estimator")

    def mapped():
        return joblib.load(tmp_path / "estimator", mmap_mode="r")

    np.testing.assert_array_equal(mapped().predict_proba(X), known.predict_proba(X))
    assert_same_network(mapped().fit(X, SIGNS), copy.deepcopy(known).fit(X, SIGNS))
    if solver != "lbfgs":
        assert_same_network(mapped().partial_fit(X, SIGNS), copy.deepcopy(known).partial_fit(X, SIGNS))
        joblib.dump(known.model_, tmp_path / "model")
        model, expected = joblib.load(tmp_path / "model", mmap_mode="r"), copy.deepcopy(known.model_)
        for each in (model, expected):
            each.fit(X, SIGNS, epochs=2, verbose=False)
            each.step(X, SIGNS)
        joblib.dump(model, tmp_path / "model")
        again = joblib.load(tmp_path / "model", mmap_mode="r")
        for each in (again, expected):
            each.fit(X, SIGNS, epochs=2, verbose=False)
        np.testing.assert_array_equal(again.parameters, expected.parameters)


# pytorch #32898: a schedule that is shorter than the fit
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_schedule_that_is_too_short_is_named_before_the_first_epoch(early_stopping):
    solver, seen = fastnet.Adam(fastnet.CosineDecay(0.01, epochs=5)), []
    estimator = MLPClassifier((5,), solver=solver, max_iter=20, early_stopping=early_stopping, callbacks=seen.append)
    with pytest.raises(ValueError, match=r"for all epochs from 0 to 19, as max_iter=20.*Lower max_iter"):
        estimator.fit(X, SIGNS)
    assert not seen
    MLPClassifier((5,), solver=solver, max_iter=5, early_stopping=early_stopping, random_state=0).fit(X, SIGNS)
    in_parts = MLPClassifier((5,), solver=solver, random_state=0)
    for _ in range(5):
        in_parts.partial_fit(X, SIGNS, classes=[0, 1])
    with pytest.raises(ValueError, match="all epochs from 5 to 5"):
        in_parts.partial_fit(X, SIGNS)


# keras #15373: a scorer that takes no weights
def share_of_right(y, predicted):
    return float(np.mean(y == predicted))


@pytest.mark.parametrize(
    "scoring",
    [lambda estimator, X, y: estimator.score(X, y), make_scorer(share_of_right), "accuracy", "loss"],
    ids=range(4),
)
def test_any_scorer_works_beside_weights(scoring):
    estimator = MLPClassifier(**SMALL, early_stopping=True, scoring=scoring).fit(X, SIGNS, np.linspace(1, 2, 65))
    assert np.isfinite(estimator.validation_scores_).all()


# mrdbourke #559: frames of numbers and booleans, and nullable columns
@pytest.mark.parametrize("kind", ["mixed", "nullable", "integers"])
def test_frames_of_several_kinds_of_numbers_are_read_without_objects(kind, monkeypatch):
    floats = pd.DataFrame(X.round(2), columns=list("abcd"))
    floats["d"] = (floats["d"] > 0).astype(float)
    frame = floats.copy()
    frame["d"] = frame["d"] > 0
    if kind != "mixed":
        frame = frame.convert_dtypes()
    if kind == "integers":
        floats["a"] = floats["a"].round() + 0.0  # no zero that is negative
        frame["a"] = floats["a"].astype("Int64")

    def refuse(*arguments):
        raise AssertionError("value by value")

    monkeypatch.setattr(checks, "numbers_from_objects", refuse)
    expected = MLPClassifier(**SMALL).fit(floats, SIGNS)
    found = MLPClassifier(**SMALL).fit(frame, pd.Series(SIGNS, dtype="Int64"))
    assert_same_network(found, expected)
    assert list(found.feature_names_in_) == list("abcd")
    model = Model([Dense(1)], seed=0).build(4)
    np.testing.assert_array_equal(model.forward(frame), model.forward(floats.to_numpy()))
    np.testing.assert_array_equal(found.predict_proba(frame), expected.predict_proba(floats))
    missing = frame.convert_dtypes()
    missing.loc[3, "b"] = pd.NA
    with pytest.raises(ValueError, match=r"X has 1 non-finite value; the first is X\[3, 1\] = nan"):
        model.forward(missing)
    with pytest.raises(ValueError, match="NaN"):
        found.predict(missing)


# scikit-learn #8149: what is set between two calls of partial_fit
def test_a_solver_of_fastnets_and_clip_norm_count_in_the_next_call():
    first = MLPClassifier((5,), solver=fastnet.Adam(0.01), random_state=0).partial_fit(X, SIGNS, classes=[0, 1])
    as_it_was, slower, other = (copy.deepcopy(first) for _ in range(3))
    slower.set_params(solver=fastnet.Adam(1e-9)).partial_fit(X, SIGNS)
    np.testing.assert_allclose(slower.coefs_[0], first.coefs_[0], atol=1e-7)
    other.set_params(solver=fastnet.SGD(1e-9)).partial_fit(X, SIGNS).partial_fit(X, SIGNS)
    np.testing.assert_allclose(other.coefs_[0], first.coefs_[0], atol=1e-7)
    assert not np.allclose(as_it_was.partial_fit(X, SIGNS).coefs_[0], first.coefs_[0], atol=1e-3)
    clipped = MLPClassifier((5,), solver="sgd", random_state=0).partial_fit(X, SIGNS, classes=[0, 1])
    before = [coef.copy() for coef in clipped.coefs_]
    clipped.set_params(clip_norm=1e-12, momentum=0.9).partial_fit(X, SIGNS)
    moved = max(float(np.abs(a - b).max()) for a, b in zip(before, clipped.coefs_, strict=True))
    assert moved < 0.1
    assert clipped._optimizer.clip_norm == 1e-12


def test_arguments_of_scikit_learns_count_as_there_and_that_is_said():
    ours, theirs = (kind((5,), random_state=0) for kind in (MLPClassifier, sklearn_mlp.MLPClassifier))
    for each in (ours, theirs):
        each.partial_fit(X, SIGNS, classes=[0, 1])
    with pytest.warns(UserWarning, match=r"counts from the next fit, learning_rate_init\. A solver=fastnet"):
        ours.set_params(learning_rate_init=0.5).partial_fit(X, SIGNS)
    theirs.set_params(learning_rate_init=0.5).partial_fit(X, SIGNS)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-6)
    ours.partial_fit(X, SIGNS)  # said once


# three that were tried here
def test_messages_name_what_was_meant():
    for sizes in ((32,), 32, [32, 16]):
        with pytest.raises(ValueError, match="MLPRegressor's first argument: for the hidden layers pass hidden_"):
            MLPRegressor(sizes).fit(X, X[:, 0])
    with pytest.raises(TypeError, match=r"hidden_layer_sizes\[1\] must be an integer of at least 1, not None"):
        MLPRegressor(hidden_layer_sizes=(7, None)).fit(X, X[:, 0])
    with pytest.raises(ValueError, match=r"65 values below 1.2e-38; the first is sample_weight\[0\] = 1e-50"):
        MLPRegressor(hidden_layer_sizes=(5,), dtype="float32").fit(X, X[:, 0], np.full(65, 1e-50))


# --------------------------------------------------------------------------------------------------- a validation set


def test_x_val_is_an_eval_set_in_parts():
    weights = np.linspace(1, 2, 20)
    in_parts = MLPClassifier(**SMALL, early_stopping=True)
    in_parts.fit(X[:45], SIGNS[:45], X_val=X[45:], y_val=SIGNS[45:], sample_weight_val=weights)
    as_one = MLPClassifier(**SMALL, early_stopping=True)
    as_one.fit(X[:45], SIGNS[:45], eval_set=(X[45:], SIGNS[45:], weights))
    assert in_parts.validation_scores_ == as_one.validation_scores_
    for wrong, message in (({"X_val": X}, "belong together"), ({"sample_weight_val": weights}, "belong together")):
        with pytest.raises(ValueError, match=message):
            MLPRegressor(hidden_layer_sizes=(5,)).fit(X, X[:, 0], **wrong)
    with pytest.raises(ValueError, match="not both"):
        MLPClassifier().fit(X, SIGNS, eval_set=(X, SIGNS), X_val=X, y_val=SIGNS)


def test_a_pipeline_transforms_x_val_and_an_eval_set_on_another_scale_is_warned_of():
    large = 1e5 + 1e4 * X
    with config_context(enable_metadata_routing=True):
        network = MLPClassifier(**SMALL, early_stopping=True).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("network", network)], transform_input=["X_val"])
        pipeline.fit(large, SIGNS, X_val=large, y_val=SIGNS)
        assert pipeline["network"].validation_scores_[-1] == pipeline.score(large, SIGNS)
        network = MLPClassifier(**SMALL, early_stopping=True).set_fit_request(eval_set=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("network", network)])
        with pytest.warns(UserWarning, match=r"validate with reach 1.*e\+05, those to train with .*transform_input"):
            pipeline.fit(large, SIGNS, eval_set=(large, SIGNS))


@pytest.mark.parametrize(
    "eval_set", [(X[:, :2], SIGNS), (X, SIGNS + 5), (X,), (np.full_like(X, np.nan), SIGNS)], ids=range(4)
)
def test_a_set_to_validate_with_that_is_refused_leaves_the_network(eval_set):
    estimator = MLPClassifier(**SMALL).fit(X, SIGNS)
    before = copy.deepcopy(estimator)
    with pytest.raises(ValueError, match=r"features|classes|eval_set|NaN"):
        estimator.fit(X, SIGNS, eval_set=eval_set)
    assert_same_network(estimator, before)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    ("X_factor", "X_more", "y_factor", "y_more", "said"),
    [
        (1, 100, 1, 0, r"^The features of X are far.* feature . has mean 1.*make_pipeline\(StandardScaler\(\), MLPReg"),
        (100, 0, 1, 0, r"^The features of X are far.* and 3 more are as bad"),
        (1, 0, 100, 0, r"^The targets are far.* output 0 has mean .*TransformedTargetRegressor\("),
        (1, 0, 1, 1000, r"^The targets are far.* output 0 has mean 1e\+03"),
    ],
)
def test_a_scale_that_networks_do_not_learn_on_is_said_at_the_first_fit(
    X_factor, X_more, y_factor, y_more, said, solver
):
    regressor = MLPRegressor(**SMALL, solver=solver, warm_start=True)
    data = X_factor * X + X_more, y_factor * X[:, 0] + y_more
    with pytest.warns(UserWarning, match=said) as caught:
        regressor.fit(*data).fit(*data)
    caught = [each for each in caught if not issubclass(each.category, ConvergenceWarning)]
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_counts_classes_and_sparse_rows_have_no_such_scale(recwarn):
    MLPRegressor(loss="poisson", **SMALL).fit(X, np.arange(65.0) * 100)
    MLPClassifier(**SMALL).fit(X, SIGNS + 1000)
    MLPClassifier(**SMALL).fit(sparse.csr_array(X * 100), SIGNS)
    assert {each.category for each in recwarn} == {ConvergenceWarning}
