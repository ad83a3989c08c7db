"""Estimators for tables as ONNX files, executed by ONNX Runtime: what they predict themselves."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
pytest.importorskip("onnx")
import pandas as pd
from sklearn.exceptions import NotFittedError

from fastnet.tables import TableClassifier, TableRegressor

runtime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.jit  # not about kernels, and minutes in plain Python

SETTINGS = {"epochs": 3, "hidden_layer_sizes": (16, 8), "n_nets": 2, "random_state": 0}
TOLERANCE = {"float32": 1e-5, "float64": 1e-11}


def table(m, seed=0):
    """Return a frame of every kind of column that ONNX reads, with gaps, and values."""
    rng = np.random.default_rng(seed)
    number = rng.normal(size=m) * 1e4
    frame = pd.DataFrame(
        {
            "number": number,
            "gaps": np.where(rng.random(m) < 0.3, np.nan, rng.exponential(size=m)),
            "zeros": np.maximum(rng.normal(size=m), 0),
            "one value": np.where(rng.random(m) < 0.3, np.nan, 4.0),
            "flag": rng.random(m) < 0.5,
            "flag with gaps": np.where(rng.random(m) < 0.2, np.nan, rng.random(m) < 0.5),
            "grade": pd.Categorical(rng.choice([1, 2, 5, 7.5], m)),
            "two": pd.Categorical(rng.choice([3, 4], m)),
            "text": rng.choice(["red", "green", "", "blau ä"], m),
            "gender": rng.choice(["f", "m"], m),
            "text with gaps": np.where(rng.random(m) < 0.2, None, rng.choice(["a", "b", "c"], m)),
            "constant": 7.0,
            "empty": np.nan,
        }
    )
    frame["flag with gaps"] = frame["flag with gaps"].astype("boolean")
    return frame, number / 1e4 + (frame["text"] == "red") - 2 * frame["flag"]


def fed(frame, session):
    """Return the columns that a session asks for, as it takes them."""
    found = {}
    for each in session.get_inputs():
        column = frame[each.name]
        if each.type == "tensor(string)":
            found[each.name] = column.fillna("").astype(str).to_numpy(object)[:, np.newaxis]
        else:
            numbers = column.astype(float) if column.dtype.name == "category" else column
            found[each.name] = numbers.to_numpy(np.float64, na_value=np.nan)[:, np.newaxis]
    return found


def session_of(model, path, **settings):
    model.to_onnx(path, **settings)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_regressor_predicts_the_same(dtype, opset, tmp_path):
    X, y = table(400)
    model = TableRegressor(**SETTINGS, dtype=dtype).fit(X, 1e5 + 1e3 * y)
    session = session_of(model, tmp_path / "model.onnx", opset=opset)
    assert "constant" not in {each.name for each in session.get_inputs()}
    for m in (1, 17, 300):
        new, _ = table(m, seed=1)
        (found,) = session.run(["prediction"], fed(new, session))
        np.testing.assert_allclose(found, model.predict(new), rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 7], [False, True], [1.0, 2.0], ["a", "b", "c"]])
def test_a_classifier_says_the_same(labels, tmp_path):
    X, y = table(400)
    classes = np.array(labels)[np.digitize(y, np.quantile(y, np.arange(1, len(labels)) / len(labels)))]
    model = TableClassifier(**SETTINGS).fit(X, classes)
    session = session_of(model, tmp_path / "model.onnx")
    new, _ = table(300, seed=1)
    label, p = session.run(["label", "probabilities"], fed(new, session))
    np.testing.assert_allclose(p, model.predict_proba(new), atol=1e-5)
    is_clear = np.ptp(np.sort(p, axis=1)[:, -2:], axis=1) > 1e-4
    np.testing.assert_array_equal(label[is_clear], model.predict(new)[is_clear])
    assert label.dtype.kind == {"U": "O", "b": "i"}.get(classes.dtype.kind, classes.dtype.kind)


def test_what_was_not_there_in_training_is_none_of_the_categories(tmp_path):
    X, y = table(400)
    model = TableRegressor(**SETTINGS).fit(X, y)
    session = session_of(model, tmp_path / "model.onnx")
    new, _ = table(40, seed=1)
    new["text"], new["gender"], new["number"] = "unseen", "x", np.where(np.arange(40) % 2, 1e30, np.nan)
    new["grade"] = pd.Categorical([99] * 40)
    (found,) = session.run(None, fed(new, session))
    np.testing.assert_allclose(found, model.predict(new), rtol=1e-5)


def test_an_array_of_numbers_is_one_input(tmp_path):
    X = np.random.default_rng(0).normal(size=(200, 5))
    X[::7, 2], X[:, 4] = np.nan, 1
    model = TableRegressor(**SETTINGS).fit(X, np.nan_to_num(X).sum(axis=1))
    session = session_of(model, tmp_path / "model.onnx")
    (found,) = session.run(None, {"X": X})
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-5, atol=1e-5)


def test_what_onnx_cannot_read_is_refused_by_its_name(tmp_path):
    X, y = table(100)
    for name, column, message in (
        ("day", pd.Timestamp("2024-02-27") + pd.to_timedelta(np.arange(100), unit="D"), "'day' holds dates"),
        ("wait", pd.to_timedelta(np.arange(100), unit="h"), "'wait' holds durations"),
        ("mixed", pd.Series([3, "a"] * 50, dtype=object), "'mixed' holds both numbers and text"),
    ):
        model = TableRegressor(**SETTINGS).fit(X.assign(**{name: column}), y)
        with pytest.raises(ValueError, match=message):
            model.to_onnx(tmp_path / "model.onnx")
    twice = pd.concat([X["number"], X["gaps"].rename("number")], axis=1)
    with pytest.raises(ValueError, match="Two columns are called 'number'"):
        TableRegressor(**SETTINGS).fit(twice, y).to_onnx(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="Nothing is made of any column"):
        TableRegressor(**SETTINGS).fit(X[["constant"]], y).to_onnx(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="opset must be from 13"):
        TableRegressor(**SETTINGS).fit(X[["number"]], y).to_onnx(tmp_path / "model.onnx", opset=12)
    with pytest.raises(NotFittedError):
        TableRegressor().to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("names", ["v t unit", "t_1 t_2 t_3", "c_1 c_2 c", "codes none_2 levels", "W1 X Z1"])
def test_a_column_may_be_called_as_a_node_or_a_constant(names, tmp_path):
    X, y = table(100)
    names = names.split()
    X = X[["number", "gaps", "grade", "text"]].set_axis([*names, "text"], axis=1)
    model = TableRegressor(**SETTINGS).fit(X, y)
    session = session_of(model, tmp_path / "model.onnx")
    assert [each.name for each in session.get_inputs()] == [*names, "text"]
    np.testing.assert_allclose(session.run(None, fed(X, session))[0], model.predict(X), rtol=1e-5)


def test_a_column_may_have_the_name_of_an_output(tmp_path):
    X, y = table(100)
    X = X[["number"]].assign(label=np.arange(100) % 7, W1=np.arange(100) % 5)
    session = session_of(TableClassifier(**SETTINGS).fit(X, y > 0), tmp_path / "model.onnx")
    assert [each.name for each in session.get_inputs()] == ["number", "label", "W1"]
    assert [each.name for each in session.get_outputs()] == ["label_2", "probabilities"]
