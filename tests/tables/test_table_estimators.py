"""TableClassifier and TableRegressor: what a raw table gives, and what is said of what they cannot take."""

import copy
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnet
from fastnet.tables import TableClassifier, TableRegressor, load

QUICK = {"epochs": 4, "hidden_layer_sizes": (16,), "random_state": 0}


def table(m=200, seed=0):
    """Return a frame of every kind of column, with gaps; y of classes; and y of values."""
    rng = np.random.default_rng(seed)
    number = rng.normal(size=m) * 1e4
    frame = pd.DataFrame(
        {
            "number": number,
            "gaps": np.where(rng.random(m) < 0.3, np.nan, rng.exponential(size=m)),
            "whole": rng.integers(0, 5, m),
            "flag": rng.random(m) < 0.5,
            "kind": pd.Categorical(rng.choice(["a", "b", "c"], m)),
            "text": rng.choice(["red", "green"], m),
            "day": pd.Timestamp("2024-02-27") + pd.to_timedelta(rng.integers(0, 500, m), unit="D"),
            "constant": 7.0,
            "empty": np.nan,
        }
    )
    signal = number / 1e4 + (frame["kind"] == "a") - 2 * frame["flag"]
    return frame, np.where(signal > 0, "yes", "no"), 1e5 + 1e3 * signal.to_numpy(float)


@pytest.mark.jit
@parametrize_with_checks([TableClassifier(), TableRegressor()])
def test_checks_of_any_estimator(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.jit
def test_a_raw_table_is_learned():
    X, classes, values = table(600)
    test, of_test, values_of_test = table(300, seed=1)
    settings = {"random_state": 0, "epochs": 16, "hidden_layer_sizes": (32, 32)}
    assert TableClassifier(**settings).fit(X, classes).score(test, of_test) > 0.9
    assert TableRegressor(**settings).fit(X, values).score(test, values_of_test) > 0.95


def test_probabilities_and_classes_agree():
    X, y, _ = table()
    model = TableClassifier(**QUICK).fit(X, y)
    p = model.predict_proba(X)
    assert p.shape == (200, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(model.predict(X), model.classes_[p.argmax(axis=1)])
    np.testing.assert_array_equal(model.classes_, ["no", "yes"])


def test_each_row_is_left_out_by_one_network_and_predicted_by_it():
    """But for the fold that no network of the four leaves out."""
    X, y, values = table()
    model = TableClassifier(**QUICK, calibrate=False).fit(X, y)
    unknown = np.isnan(model.oof_prediction_).all(axis=1)
    assert unknown.sum() == 40
    assert len(model.model_) == len(model.history_) == 4
    whole = TableRegressor(**QUICK, n_nets=5).fit(X, values)
    assert not np.isnan(whole.oof_prediction_).any()
    assert np.corrcoef(whole.oof_prediction_, values)[0, 1] > 0.5


def test_the_temperature_lowers_the_log_loss_of_rows_left_out():
    X, y, _ = table()
    numbers = (y == "yes").astype(int)
    plain, warm = (TableClassifier(**QUICK, calibrate=calibrate).fit(X, y) for calibrate in (False, True))
    losses = []
    for model in (plain, warm):
        known = ~np.isnan(model.oof_prediction_).any(axis=1)
        losses.append(-np.log(model.oof_prediction_[known, numbers[known]]).mean())
    assert plain.temperature_ == 1
    assert losses[1] <= losses[0]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_seed_decides_everything(threads):
    X, y, values = table()
    for kind, target in ((TableClassifier, y), (TableRegressor, values)):
        first = kind(**QUICK).fit(X, target)
        again = kind(**QUICK, n_threads=threads).fit(X, target)
        other = kind(**{**QUICK, "random_state": 1}).fit(X, target)
        for one, two, three in zip(first.model_, again.model_, other.model_, strict=True):
            np.testing.assert_array_equal(one.parameters, two.parameters)
            assert (one.parameters != three.parameters).any()


def test_predictions_are_within_the_range_of_y():
    X, _, values = table()
    model = TableRegressor(**QUICK).fit(X, values)
    far = X.assign(number=1e12)
    assert model.predict(far).max() <= values.max()


@pytest.mark.jit
def test_quantiles_hold_in_as_many_cases_as_they_say():
    X, _, values = table(1000)
    values = values + np.random.default_rng(5).normal(size=1000) * 500
    model = TableRegressor(**{**QUICK, "epochs": 16}, n_nets=5).fit(X.iloc[:600], values[:600])
    found = model.predict_quantiles(X.iloc[600:], (0.1, 0.5, 0.9))
    assert found.shape == (400, 3)
    assert (np.diff(found, axis=1) >= 0).all()
    inside = (values[600:] > found[:, 0]) & (values[600:] < found[:, 2])
    assert 0.7 < inside.mean() < 0.9
    for wrong in ((), (0.0,), (0.5, 1.0)):
        with pytest.raises(ValueError, match="quantiles must be"):
            model.predict_quantiles(X, wrong)


@pytest.mark.jit
def test_importance_is_of_the_columns_that_matter():
    X, _, values = table(400)
    model = TableRegressor(**{**QUICK, "epochs": 16}).fit(X, values)
    importance = dict(zip(X.columns, model.feature_importances_, strict=True))
    assert min(importance["number"], importance["flag"]) > 10 * abs(importance["text"])
    assert importance["constant"] == importance["empty"] == 0
    np.testing.assert_array_equal(model.feature_importances_, model.feature_importances_)


@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss", "accuracy", "f1"])
def test_the_best_epoch_is_that_of_the_score(scoring):
    X, y, _ = table()
    model = TableClassifier(**QUICK, scoring=scoring).fit(X, y)
    metric = {"roc_auc": "auc", "neg_log_loss": "log_loss"}.get(scoring, scoring)
    for history in model.history_:
        values = history.metrics[f"val_{metric}"]
        best = min(values) if metric == "log_loss" else max(values)
        assert values[history.kept_epoch] == best


def test_rows_of_ones_own_choose_the_epoch():
    X, y, values = table()
    model = TableClassifier(**QUICK).fit(X.iloc[:150], y[:150], eval_set=(X.iloc[150:], y[150:]))
    other = TableClassifier(**QUICK).fit(X.iloc[:150], y[:150], X_val=X.iloc[150:], y_val=y[150:])
    assert model.oof_prediction_ is None
    np.testing.assert_array_equal(model.predict_proba(X), other.predict_proba(X))
    regressor = TableRegressor(**QUICK).fit(X.iloc[:150], values[:150], eval_set=(X.iloc[150:], values[150:]))
    for history in regressor.history_:
        assert history.val_cost[history.kept_epoch] == min(history.val_cost)
    for wrong in ({"X_val": X}, {"X_val": X, "y_val": y, "eval_set": (X, y)}):
        with pytest.raises(ValueError, match=r"pass both|not both"):
            TableClassifier(**QUICK).fit(X, y, **wrong)


@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_rows_that_choose_the_epoch_have_weights(kind):
    """A whole weight is so many rows; and 0 is none."""
    X, y, values = table()
    target, weights = (y if kind is TableClassifier else values), np.arange(50) % 3
    few, X_val, y_val = X.iloc[:150], X.iloc[150:], target[150:]
    model = kind(**QUICK).fit(few, target[:150], eval_set=(X_val, y_val, weights))
    parts = kind(**QUICK).fit(few, target[:150], X_val=X_val, y_val=y_val, sample_weight_val=weights)
    rows = np.repeat(np.arange(50), weights)
    repeated = kind(**QUICK).fit(few, target[:150], eval_set=(X_val.iloc[rows], y_val[rows]))
    plain = kind(**QUICK).fit(few, target[:150], eval_set=(X_val, y_val))
    for history, same, close, other in zip(
        model.history_, parts.history_, repeated.history_, plain.history_, strict=True
    ):
        assert history.val_cost == same.val_cost
        np.testing.assert_allclose(history.val_cost, close.val_cost, rtol=1e-5)
        assert abs(history.val_cost[0] - other.val_cost[0]) > 1e-4 * other.val_cost[0]
    with pytest.raises(ValueError, match="In eval_set: sample_weight is zero for every example"):
        kind(**QUICK).fit(few, target[:150], eval_set=(X_val, y_val, np.zeros(50)))
    with pytest.raises(ValueError, match=r"In eval_set: sample_weight has 50 values below 1\.2e-38"):
        kind(**QUICK).fit(few, target[:150], eval_set=(X_val, y_val, np.full(50, 1e-60)))


@pytest.mark.parametrize("class_weight", [None, {"yes": 9.0}])
@pytest.mark.parametrize("weights", [None, np.arange(200) % 7])
def test_weights_count_in_the_fold_that_is_held_out_and_those_of_classes_do_not(weights, class_weight):
    X, y, _ = table()
    settings = {**QUICK, "epochs": 1, "n_nets": 1, "calibrate": False, "class_weight": class_weight}
    model = TableClassifier(**settings).fit(X, y, weights)
    is_held_out = ~np.isnan(model.oof_prediction_[:, 0])
    assert 20 < is_held_out.sum() < 60
    losses = -np.log(model.oof_prediction_[is_held_out, (y[is_held_out] == "yes").astype(int)])
    expected = np.average(losses, weights=None if weights is None else weights[is_held_out])
    np.testing.assert_allclose(model.history_[0].val_cost, [expected], rtol=1e-5)


@pytest.mark.parametrize("weights", [np.arange(200) % 4, (np.arange(200) % 3 == 0) * 1], ids=["whole", "none"])
def test_classes_are_balanced_by_what_their_rows_weigh(weights):
    X, y, _ = table()
    weights = np.where(y == "no", weights, 1)
    rows = np.repeat(np.arange(200), weights)
    given = {**QUICK, "class_weight": "balanced"}
    one = TableClassifier(**given).fit(X, y, weights)
    two = TableClassifier(**given).fit(X.iloc[rows], y[rows])
    for model, other in zip(one.model_, two.model_, strict=True):
        np.testing.assert_array_equal(model.parameters, other.parameters)


def test_a_class_without_weight_changes_nothing_for_the_balance_of_the_others():
    X, y, _ = table()
    y[::8], weights = "all", np.arange(200) % 8 > 0
    counts = {label: int((y == label).sum()) for label in ("no", "yes")}
    one = TableClassifier(**QUICK, class_weight="balanced").fit(X, y, weights)
    two = TableClassifier(**QUICK, class_weight={label: 175 / (2 * n) for label, n in counts.items()})
    two.fit(X, y, weights)
    for model, other in zip(one.model_, two.model_, strict=True):
        np.testing.assert_array_equal(model.parameters, other.parameters)


def test_rows_to_validate_with_of_a_class_that_weighs_nothing_leave_the_temperature_alone():
    X, y, _ = table()
    y[::3] = "may"
    is_there = y == "yes"
    settings = {**QUICK, "class_weight": {"yes": 0}}
    with np.errstate(invalid="raise"):
        model = TableClassifier(**settings).fit(X, y, eval_set=(X[is_there], y[is_there]))
    assert model.temperature_ == 1


def test_weights_count():
    X, y, _ = table()
    for weights in ({"sample_weight": np.where(y == "yes", 50.0, 1.0)}, {}):
        settings = {} if weights else {"class_weight": {"yes": 50.0, "no": 1.0}}
        model = TableClassifier(**QUICK, **settings).fit(X, y, **weights)
        assert (model.predict(X) == "yes").mean() > (TableClassifier(**QUICK).fit(X, y).predict(X) == "yes").mean()
    counts = {label: int((y == label).sum()) for label in ("yes", "no")}
    assert counts["yes"] != counts["no"]
    by_hand = {label: 200 / (2 * n) for label, n in counts.items()}
    found = [TableClassifier(**QUICK, class_weight=each).fit(X, y).predict_proba(X) for each in ("balanced", by_hand)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_rows_that_are_alike_are_one_that_weighs_more_and_their_order_is_none(kind):
    """To the bit: so no row is held out whose twin trains, and a weight of 0 is no row."""
    X, y, values = table(60)
    target, repeats = (y if kind is TableClassifier else values), np.arange(60) % 3
    repeated = np.repeat(np.arange(60), repeats)
    shuffled = np.random.default_rng(0).permutation(60)
    one = kind(**QUICK).fit(X.iloc[repeated], target[repeated])
    two = kind(**QUICK).fit(X.iloc[shuffled], target[shuffled], sample_weight=repeats[shuffled])
    for model, other in zip(one.model_, two.model_, strict=True):
        np.testing.assert_array_equal(model.parameters, other.parameters)
    np.testing.assert_array_equal(np.isnan(two.oof_prediction_[repeats[shuffled] == 0]), True)
    np.testing.assert_array_equal(one.oof_prediction_, two.oof_prediction_[np.argsort(shuffled)][repeated])


def test_a_time_limit_ends_it_with_what_there_is():
    X, y, _ = table()
    model = TableClassifier(random_state=0, epochs=10**4, patience=10**4, hidden_layer_sizes=(16,), time_limit=0.5).fit(
        X, y
    )
    assert {history.stopped_reason for history in model.history_} == {"time_limit"}
    assert model.predict(X).shape == (200,)


@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_copies_and_files_predict_to_the_bit(kind, tmp_path):
    X, y, values = table()
    model = kind(**QUICK).fit(X, y if kind is TableClassifier else values)
    ask = model.predict_proba if kind is TableClassifier else model.predict
    model.save(tmp_path / "model.fastnet")
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), load(tmp_path / "model.fastnet")]
    for other in others:
        found = other.predict_proba(X) if kind is TableClassifier else other.predict(X)
        np.testing.assert_array_equal(found, ask(X))
    assert others[2].get_params() == model.get_params()
    with pytest.raises(AttributeError, match="no feature_importances_: they need rows held out, which a file does not"):
        others[2].feature_importances_
    if kind is TableRegressor:
        np.testing.assert_array_equal(others[2].predict_quantiles(X), model.predict_quantiles(X))
    clone(model)
    with pytest.raises(fastnet.FileFormatError, match=r"Read it by fastnet\.tables\.load"):
        fastnet.load(tmp_path / "model.fastnet")
    unfitted = kind(**QUICK)
    unfitted.save(tmp_path / "unfitted.fastnet")
    assert load(tmp_path / "unfitted.fastnet").get_params() == unfitted.get_params()


def test_few_rows():
    X, _, values = table()
    one = TableRegressor(**QUICK).fit(X.iloc[:1], values[:1])
    np.testing.assert_allclose(one.predict(X), values[0])
    two = TableClassifier(**QUICK).fit(X.iloc[:2], ["a", "b"])
    assert two.predict(X).shape == (200,)
    with pytest.raises(ValueError, match=r"quantiles needs rows held out"):
        one.predict_quantiles(X)
    assert not hasattr(one, "feature_importances_")
    with pytest.raises(ValueError, match="y has one class, 'yes'"):
        TableClassifier(**QUICK).fit(X.iloc[:3], ["yes"] * 3)
    for m in (3, 4, 6, 9):
        assert TableRegressor(**QUICK).fit(X.iloc[:m], values[:m]).predict(X).shape == (200,)


@pytest.mark.jit
def test_many_classes():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(500, 3)), rng.integers(0, 100, 500)
    model = TableClassifier(**QUICK).fit(X, y)
    assert model.predict_proba(X).shape == (500, len(np.unique(y)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_nets": 0}, "n_nets must be"), ({"n_folds": 1}, "n_folds must be"), ({"epochs": 0}, "epochs must be"),
        ({"batch_size": "small"}, "batch_size must be 'auto'"), ({"scoring": "r2"}, "scoring must be one of"),
        ({"activation": "fast"}, "activation must be"), ({"learning_rate": -1}, "learning_rate must be"),
        ({"time_limit": 0}, "time_limit must be"), ({"dtype": "int"}, "dtype must be"), ({"bins": -1}, "bins must be"),
        ({"label_smoothing": 1.0}, "label_smoothing must be"), ({"dropout": 1}, "dropout must be"),
    ],
)  # fmt: skip
def test_arguments_are_checked(settings, message):
    X, y, _ = table()
    with pytest.raises(ValueError, match=message):
        TableClassifier(**{**QUICK, **settings}).fit(X, y)


def test_what_does_not_fit_together_is_refused():
    X, y, _ = table()
    model = TableClassifier(**QUICK)
    with pytest.raises(ValueError, match="200 rows, but y has 199"):
        model.fit(X, y[1:])
    with pytest.raises(ValueError, match="class 'maybe', which y to train with has not"):
        model.fit(X, y, eval_set=(X, np.where(y == "yes", "maybe", "no")))
    with pytest.raises(NotFittedError):
        TableClassifier().predict(X)
    model.fit(X, y)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X.rename(columns={"flag": "banner"}))


def test_it_works_in_scikit_learns_tools():
    X, y, _ = table()
    assert cross_val_score(TableClassifier(**QUICK), X, y, cv=2).shape == (2,)


def test_columns_of_one_name_are_taken_by_their_places():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "a"])
    y = X.iloc[:, 2].to_numpy()
    model = TableRegressor(**QUICK).fit(X, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "a"]
    np.testing.assert_array_equal(model.predict(X), model.predict(X.to_numpy()))
    with pytest.raises(ValueError, match="columns in another order"):
        model.predict(X.iloc[:, [0, 2, 1]])
    with pytest.raises(ValueError, match="it lacks 'c'"):
        TableRegressor(**QUICK).fit(X.set_axis(["a", "b", "c"], axis=1), y).predict(X)


def test_no_rows_have_no_predictions():
    X, y, values = table()
    assert TableClassifier(**QUICK).fit(X, y).predict_proba(X.iloc[:0]).shape == (0, 2)
    assert TableRegressor(**QUICK).fit(X, values).predict(X.iloc[:0]).shape == (0,)


@pytest.mark.parametrize(
    "weights",
    [np.zeros(200), -np.ones(200), np.full(200, np.nan), np.ones(199)],
    ids=["zero", "negative", "NaN", "few"],
)
def test_weights_that_are_none_are_refused(weights):
    X, _, values = table()
    with pytest.raises(ValueError, match="eight"):
        TableRegressor(**QUICK).fit(X, values, sample_weight=weights)


def test_a_refused_fit_leaves_the_one_before():
    X, _, values = table()
    model = TableRegressor(**QUICK).fit(X, values)
    before = model.predict(X)
    infinite = X.assign(number=np.where(np.arange(200) == 7, np.inf, X["number"]))
    with pytest.raises(ValueError, match="infinite value in column 'number', row 7"):
        model.fit(infinite, values)
    with pytest.raises(ValueError, match="rows, but y has"):
        model.fit(X.rename(columns=str.upper), values[1:])
    np.testing.assert_array_equal(model.predict(X), before)


def test_a_second_fit_forgets_the_first():
    X, y, values = table()
    model = TableClassifier(**QUICK).fit(X, y)
    importances = model.feature_importances_
    model.set_params(n_nets=7, n_folds=3).fit(X[["number"]].to_numpy(), values > np.median(values))
    assert model.classes_.tolist() == [False, True]
    assert not hasattr(model, "feature_names_in_")
    assert len(model.model_) == 7
    assert not np.isnan(model.oof_prediction_).any()
    assert model.feature_importances_.shape == (1,) != importances.shape
