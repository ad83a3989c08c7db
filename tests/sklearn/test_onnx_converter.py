"""Pipelines that end with fastnet's estimators, converted by skl2onnx and executed by ONNX Runtime."""

import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")
skl2onnx = pytest.importorskip("skl2onnx")
runtime = pytest.importorskip("onnxruntime")
from sklearn.ensemble import VotingClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from fastnet import LeakyReLU  # noqa: E402
from fastnet.sklearn import MLPClassifier, MLPRegressor, register_onnx  # noqa: E402

pytestmark = [
    pytest.mark.jit,  # hundreds of epochs
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((80, 4))
BINARY, CLASSES = (X[:, 0] > 0).astype(int), np.digitize(X[:, 1], [-0.5, 0.5])
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


@pytest.fixture(autouse=True)
def registered():
    register_onnx()
    register_onnx()  # does no harm


def fitted(estimator, X, y):
    return make_pipeline(StandardScaler(), estimator.set_params(max_iter=10, random_state=0)).fit(X, y)


def executed(pipeline, X, **options):
    """Return the model as ONNX has it, and what ONNX Runtime gives for X."""
    converted = skl2onnx.to_onnx(pipeline, X[:1], **options)
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = runtime.InferenceSession(converted.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return converted, dict(zip(names, session.run(None, {"X": X}), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize(
    "y",
    [
        BINARY,
        CLASSES,
        CLASSES.astype(np.int8) - 1,
        CLASSES * 10**10,
        BINARY.astype(bool),
        CLASSES.astype(float),
        np.array(["no", "yes"])[BINARY],
        np.array(["é", "b", "a"], object)[CLASSES],
        np.stack([BINARY, CLASSES > 0], axis=1).astype(int),
        np.stack([BINARY, CLASSES > 0, 1 - BINARY], axis=1).astype(int),
    ],
    ids=["0/1", "three", "negative", "large", "booleans", "floats", "text", "objects", "two labels", "three labels"],
)
def test_labels_of_any_kind(y, dtype):
    features = (X * 3).astype(dtype)
    pipeline = fitted(MLPClassifier((6, 5), ["gelu", "relu"]), features, y)
    _, results = executed(pipeline, features, options={"zipmap": False})
    labels, probabilities = pipeline.predict(features), pipeline.predict_proba(features)
    assert list(results) == ["label", "probabilities"]
    np.testing.assert_array_equal(results["label"], labels)
    assert results["label"].dtype == (object if labels.dtype.kind in "OU" else np.int64)
    assert results["probabilities"].dtype == (np.float64 if dtype == "float64" else np.float32)
    tolerance = TOLERANCE["float64" if dtype == "float64" else "float32"]
    np.testing.assert_allclose(results["probabilities"], probabilities, rtol=0, atol=tolerance)


@pytest.mark.parametrize("y", [BINARY, np.array(["x", "y", "z"])[CLASSES]], ids=["0/1", "text"])
def test_the_options_of_classifiers(y):
    features = X.astype(np.float32)
    pipeline = fitted(MLPClassifier((6,)), features, y)
    classes, expected = pipeline.classes_, pipeline.predict_proba(features)
    by_class = executed(pipeline, features)[1]["output_probability"]
    assert list(by_class[0]) == classes.tolist()
    np.testing.assert_allclose([list(row.values()) for row in by_class], expected, rtol=0, atol=1e-5)
    columns = executed(pipeline, features, options={"zipmap": "columns"})[1]
    np.testing.assert_allclose(np.stack(list(columns.values())[1:], axis=1), expected, rtol=0, atol=1e-5)
    numbers = executed(pipeline, features, options={"zipmap": False, "nocl": True})[1]["label"]
    np.testing.assert_array_equal(classes[numbers], pipeline.predict(features))
    named = executed(pipeline, features, options={"zipmap": False, "output_class_labels": True})[1]["class_labels"]
    np.testing.assert_array_equal(named, classes)


@pytest.mark.parametrize("opset", range(13, skl2onnx.__max_supported_opset__ + 1))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_opset(opset, dtype):
    activations = ["elu", "selu", "gelu", "silu", "mish", "softplus", LeakyReLU(0.3), "tanh", "logistic"]
    pipeline = fitted(MLPRegressor("poisson", (5,) * len(activations), activations), X.astype(dtype), np.abs(X[:, 0]))
    converted, results = executed(pipeline, X.astype(dtype), target_opset=opset)
    expected = pipeline.predict(X.astype(dtype))
    np.testing.assert_allclose(results["variable"][:, 0], expected, rtol=TOLERANCE[dtype])
    assert max(each.version for each in converted.opset_import if not each.domain) <= opset


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("y", [np.abs(X[:, 0]), np.abs(X[:, :3])], ids=["one output", "three"])
def test_regression(y, loss):
    pipeline = fitted(MLPRegressor(loss, (6,)), X, y)
    converted, results = executed(pipeline, X)
    np.testing.assert_allclose(results["variable"], pipeline.predict(X).reshape(80, -1), rtol=1e-12)
    assert [d.dim_value for d in converted.graph.output[0].type.tensor_type.shape.dim][1:] == [1 if y.ndim == 1 else 3]
    names = {each.name for each in converted.graph.initializer}
    assert {"W1", "b1", "W2", "b2"} <= names


def test_within_another_estimator():
    both = [("a", MLPClassifier((3,), max_iter=5)), ("b", MLPClassifier((4,), max_iter=5))]
    voting = VotingClassifier(both, voting="soft", flatten_transform=False).fit(X, CLASSES)
    results = executed(voting, X, options={"zipmap": False})[1]
    np.testing.assert_allclose(results["probabilities"], voting.predict_proba(X), rtol=0, atol=1e-12)


def test_integers_without_a_scaler_before():
    features = (X * 5).astype(np.int64)
    estimator = MLPClassifier((4,), max_iter=5, random_state=0).fit(features, CLASSES)
    results = executed(estimator, features, options={"zipmap": False})[1]
    np.testing.assert_allclose(results["probabilities"], estimator.predict_proba(features), rtol=0, atol=1e-5)


def test_parameters_that_a_user_has_put_in_are_those_converted():
    pipeline = fitted(MLPRegressor(hidden_layer_sizes=()), X, X[:, 0])
    pipeline[-1].coefs_ = [np.ones((4, 1))]
    np.testing.assert_allclose(executed(pipeline, X)[1]["variable"][:, 0], pipeline.predict(X), rtol=0, atol=1e-12)


def test_what_cannot_be_converted_is_said():
    with pytest.raises(ValueError, match="fitted to one class, 1, and tells nothing apart"):
        skl2onnx.to_onnx(MLPClassifier(max_iter=2).fit(X, np.ones(80, int)), X[:1])
    with pytest.raises(ValueError, match="target_opset must be at least 13 for fastnet's estimators, not 12"):
        skl2onnx.to_onnx(MLPRegressor(max_iter=2).fit(X, X[:, 0]), X[:1], target_opset=12)


def test_without_skl2onnx_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"register_onnx needs skl2onnx.*pip install skl2onnx"):
        register_onnx()
