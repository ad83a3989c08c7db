"""What estimators for tables refuse: a fit that changes nothing then, and files that are not theirs."""

import json

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
import pandas as pd

from fastnet.errors import FileFormatError
from fastnet.files import tensors
from fastnet.tables import TableClassifier, TableRegressor, files, load

QUICK = {"epochs": 2, "hidden_layer_sizes": (4,), "n_nets": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(40, 2))
VALUES, CLASSES = X[:, 0] * 3, np.where(X[:, 0] > 0, "yes", "no")


@pytest.mark.parametrize(
    ("kind", "y", "other", "arguments"),
    [
        (TableClassifier, CLASSES, ["z"] * 40, {}),
        (TableClassifier, CLASSES, np.arange(40) % 3, {"eval_set": (X, [9] * 40)}),
        (TableRegressor, VALUES, VALUES * 9, {"eval_set": (X[:3], VALUES)}),
    ],
)
def test_a_refused_fit_changes_nothing(kind, y, other, arguments):
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = kind(**QUICK).fit(frame, y)
    before = model.predict(frame)
    state = {name: id(value) for name, value in vars(model).items()}
    with pytest.raises(ValueError, match=r"one class|In eval_set"):
        model.fit(X, other, **arguments)
    assert {name: id(value) for name, value in vars(model).items()} == state
    np.testing.assert_array_equal(model.predict(frame), before)
    fresh = kind(**QUICK)
    with pytest.raises(ValueError, match=r"one class|In eval_set"):
        fresh.fit(X, other, **arguments)
    assert vars(fresh) == fresh.get_params()


def test_calibrate_is_checked_before_training(monkeypatch):
    monkeypatch.setattr("fastnet.tables.base.train_many", None)
    with pytest.raises(TypeError, match="calibrate must be"):
        TableClassifier(**QUICK, calibrate="x").fit(X, CLASSES)


def test_weights_must_be_there_for_each_row_and_some_not_zero():
    with pytest.raises(ValueError, match="class_weight leaves no row any weight"):
        TableClassifier(**QUICK, class_weight={"yes": 0, "no": 0}).fit(X, CLASSES)
    for n in (30, 41):
        with pytest.raises(ValueError, match=f"X has 40 rows, but {n} have weights"):
            TableRegressor(**QUICK).fit(X, np.arange(n), np.ones(n))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"yes": -1.0}, "class_weight must hold finite numbers of at least 0"),
        ({"yes": np.nan}, r"class_weight\['yes'\] must be a finite number"),
        ("even", "class_weight must be a dictionary of weights by class, 'balanced' or None, not 'even'"),
        ([1.0, 2.0], "class_weight must be a dictionary"),
    ],
)
def test_weights_of_classes_are_refused_by_their_own_name(weights, message):
    with pytest.raises(ValueError, match=message):
        TableClassifier(**QUICK, class_weight=weights).fit(X, CLASSES)


def test_a_class_that_is_nowhere_is_warned_of():
    with pytest.warns(UserWarning, match="class_weight has the class 'maybe', which is none of") as found:
        TableClassifier(**QUICK, class_weight={"yes": 2.0, "maybe": 3.0}).fit(X, CLASSES)
    assert found[0].filename == __file__


@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
@pytest.mark.parametrize("name", ["X", "y", "sample_weight"])
def test_what_is_masked_is_missing(kind, name):
    given = {"X": X, "y": VALUES if kind is TableRegressor else np.arange(40) % 2, "sample_weight": np.ones(40)}
    array = np.asarray(given[name], float)
    given[name] = np.ma.array(array, mask=np.arange(array.size).reshape(array.shape) == 3)
    with pytest.raises(ValueError, match=f"{name} is masked: 1 of its values"):
        kind(**QUICK).fit(**given)


def test_an_area_under_roc_needs_all_classes_among_the_rows_held_out():
    rare = np.where(np.arange(40) < 3, "rare", CLASSES)
    for given in ({}, {"eval_set": (X[3:], CLASSES[3:])}):
        with pytest.raises(ValueError, match=r"scoring='roc_auc_ovr' needs all classes .* 'rare' is missing in some"):
            TableClassifier(**{**QUICK, "n_nets": 5}, scoring="roc_auc_ovr").fit(X, rare, **given)
    TableClassifier(**QUICK, scoring="neg_log_loss").fit(X, rare)


def test_hidden_layer_sizes_must_be_integers():
    for sizes in (None, "ab"):
        with pytest.raises(TypeError, match="hidden_layer_sizes must be integers"):
            TableRegressor(**{**QUICK, "hidden_layer_sizes": sizes}).fit(X, VALUES)


def test_a_fit_without_rows_held_out_forgets_the_temperature_of_one_before():
    model = TableClassifier(**QUICK).fit(X, CLASSES)
    model.temperature_ = 2.0
    assert model.set_params(n_nets=4).fit(X[:3], ["a", "b", "a"]).temperature_ == 1


@pytest.mark.parametrize("entry", ["kinds", "standardize_y", "class"])
def test_files_of_what_is_no_estimator_are_refused(entry, tmp_path):
    arrays, texts = files.written(TableRegressor(**QUICK).fit(X, VALUES))
    name = "0.network" if entry == "standardize_y" else "table"
    values = {"kinds": [None, 3, []], "standardize_y": [True], "class": ["TableClassifier"]}[entry]
    arrays["temperature_"] = np.ones(1)
    if entry == "class":
        for of_y in ("y_range_", "y_mean", "y_spread", "predicted", "errors"):
            arrays.pop(of_y, None)
        text = json.loads(texts[name])
        text["arguments"] = TableClassifier(**QUICK).get_params() | {"hidden_layer_sizes": [4]}
        texts[name] = json.dumps(text)
    else:
        del arrays["temperature_"]
    for value in values:
        tensors.write(tmp_path / "x", arrays, {**texts, name: json.dumps(json.loads(texts[name]) | {entry: value})})
        with pytest.raises(FileFormatError):
            load(tmp_path / "x")
