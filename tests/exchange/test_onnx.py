"""The ONNX file, executed by ONNX Runtime: the values of `forward` and the classes of `predict`.

A value may be off by 1e-5 of its own size or, if that is more, of the terms that its last sum adds up, |W| |A_prev| +
|b|; a probability by 1e-5 of 1. In float64 by 1e-12 of that. `EXCHANGE_ALL=1 python -m pytest tests/exchange` tries
every activation with every output in every opset, instead of each pair of the three.
"""

import os
import sys

import numpy as np
import pytest
from bounds import DTYPES
from compiled import random_data, standardizing

from fastnet import Dense, Dropout, Huber, LeakyReLU, Model, NotFittedError, Quantile
from fastnet.activations import ACTIVATIONS
from fastnet.exchange import onnx_graph
from fastnet.kernels import codes
from fastnet.kernels.codes import MISSING_BELOW
from fastnet.layers import Encode, Scale

pytestmark = pytest.mark.jit  # not about kernels, and minutes in plain Python

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
HIDDEN = [*(name for name in ACTIVATIONS if name != "softmax"), LeakyReLU(0.3)]
OUTPUTS = [(1, "sigmoid", None), (3, "sigmoid", None), (4, "softmax", None), (2, "softmax", None)]
OUTPUTS += [(1, "linear", "poisson"), (3, "linear", "poisson"), (1, "linear", None), (2, "linear", Huber(2.0))]
OUTPUTS += [(2, name, "mean_squared_error") for name in HIDDEN if name not in ("sigmoid", "linear")]
ROWS = (0, 1, 7, 1000)


def session(source):
    """Return ONNX Runtime's session of a file, or of its bytes, with one thread and silent."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def knows(opset):
    """Return whether ONNX Runtime knows an opset, given the oldest format that has it."""
    node, info = onnx.helper.make_node("Identity", ["X"], ["Y"]), onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [info("X", 1, [1])], [info("Y", 1, [1])])
    opsets = [onnx.helper.make_opsetid("", opset)]
    ir_version = max(8, onnx.helper.find_min_ir_version_for(opsets))
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    try:
        session(proto.SerializeToString())
    except runtime.capi.onnxruntime_pybind11_state.Fail:
        return False
    return True


NEWEST = onnx.defs.onnx_opset_version()
OPSETS = [opset for opset in range(onnx_graph.OLDEST_OPSET, NEWEST + 1) if knows(opset)]


def model_of(hidden, output, dtype):
    """Return a model of two hidden layers, and the same without its last layer."""
    units, activation, loss = output
    layers = [Dense(11, hidden), Dropout(0.3), Dense(7, hidden, use_bias=False)]
    model = Model([*layers, Dense(units, activation)], loss=loss, dtype=dtype)
    below = Model([Dense(11, hidden), Dense(7, hidden, use_bias=False)], loss="mean_squared_error", dtype=dtype)
    for each in (model, below):
        each.build(9)
    model.parameters[:] = np.random.default_rng(0).standard_normal(model.parameters.size) * 0.4
    below.parameters[:] = model.parameters[: below.parameters.size]
    return model, below


def execute(path, X):
    """Return what ONNX Runtime gives for X, by name."""
    made = session(str(path))
    return dict(zip([output.name for output in made.get_outputs()], made.run(None, {"X": X}), strict=True))


def assert_is(model, below, path, X):
    """Assert that a file gives, for every number of rows, what the model does."""
    made = session(str(path))
    tolerance, output = TOLERANCE[model.dtype.name], model.output_layer
    for m in ROWS:
        results = made.run(None, {"X": X[:m]})
        if output.activation in ("sigmoid", "softmax"):
            label, probabilities = results
            expected = model.predict_proba(X[:m]) if m else np.empty((0, 2 if output.units == 1 else output.units))
            assert probabilities.dtype == model.dtype
            assert label.dtype == np.int64
            np.testing.assert_allclose(probabilities, expected, rtol=0, atol=tolerance, strict=m > 0)
            np.testing.assert_array_equal(label, model.predict(X[:m]) if m else label[:0])
            assert label.shape == ((m, output.units) if output.activation == "sigmoid" and output.units > 1 else (m,))
            continue
        (prediction,) = results
        assert prediction.dtype == model.dtype
        assert prediction.shape == ((m,) if output.units == 1 else (m, output.units))
        if m:
            A = model.forward(X[:m])
            terms = np.abs(below.forward(X[:m])) @ np.abs(output.W.T) + np.abs(output.b.T)
            size = np.abs(A) if model.loss == "poisson" else np.maximum(np.abs(A), terms)
            assert (np.abs(prediction.reshape(A.shape) - A) <= tolerance * size).all()


def in_turn():
    """Yield which hidden activation, output and opset are tried together."""
    for h in range(len(HIDDEN)):
        for o in range(len(OUTPUTS)):
            if "EXCHANGE_ALL" in os.environ:
                yield from ((h, o, opset) for opset in OPSETS)
            else:
                yield h, o, OPSETS[(h + o) % len(OPSETS)]
        if "EXCHANGE_ALL" not in os.environ:
            yield from ((h, (h + opset) % len(OUTPUTS), opset) for opset in OPSETS)


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", range(len(HIDDEN)), ids=lambda h: str(HIDDEN[h]))
def test_values_and_classes_are_those_of_the_model(hidden, dtype, tmp_path):
    X = (np.random.default_rng(1).standard_normal((1000, 9)) * np.geomspace(1e-2, 10, 1000)[:, None]).astype(dtype)
    tried = [(o, opset) for h, o, opset in in_turn() if h == hidden]
    assert {opset for _, opset in tried} == set(OPSETS)
    for o in sorted({o for o, _ in tried}):
        model, below = model_of(HIDDEN[hidden], OUTPUTS[o], dtype)
        for opset in (opset for other, opset in tried if other == o):
            model.to_onnx(tmp_path / "it.onnx", opset=opset)
            assert_is(model, below, tmp_path / "it.onnx", X)


def test_every_output_is_tried_in_some_opset_of_each_kind():
    """Where operators come, 18 and 20, too."""
    assert {13, 17, 18, 20} <= set(OPSETS)
    assert {o for _, o, _ in in_turn()} == set(range(len(OUTPUTS)))


@pytest.mark.parametrize("opset", OPSETS)
def test_the_format_is_as_old_as_the_opset_allows(opset, tmp_path):
    model, _ = model_of("relu", OUTPUTS[0], "float32")
    model.to_onnx(tmp_path / "it.onnx", opset=opset)
    proto = onnx.load(tmp_path / "it.onnx")
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", opset)]
    assert proto.ir_version == max(8, onnx.helper.find_min_ir_version_for(proto.opset_import))
    assert (proto.ir_version == 8) == (opset <= 18)
    assert proto.producer_name == "fastnet"


def test_the_default_is_opset_17_of_format_8(tmp_path):
    model_of("relu", OUTPUTS[0], "float32")[0].to_onnx(str(tmp_path / "it.onnx"))
    proto = onnx.load(tmp_path / "it.onnx")
    assert (proto.opset_import[0].version, proto.ir_version) == (17, 8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_names_and_shapes(dtype, tmp_path):
    model, _ = model_of("tanh", OUTPUTS[0], dtype)
    model.to_onnx(tmp_path / "it.onnx")
    graph = onnx.load(tmp_path / "it.onnx").graph
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    first, _, second, third = model.layers
    for name, expected in (
        ("W1", first.W),
        ("b1", first.b[:, 0]),
        ("W2", second.W),
        ("W3", third.W),
        ("b3", third.b[0]),
    ):
        assert weights[name].dtype == dtype
        np.testing.assert_array_equal(weights[name], expected)
    assert "b2" not in weights
    assert [node.op_type for node in graph.node][:4] == ["Gemm", "Tanh", "Gemm", "Tanh"]
    assert [node.output[0] for node in graph.node][:4] == ["Z1", "A1", "Z2", "A2"]
    made = session(str(tmp_path / "it.onnx"))
    (given,) = made.get_inputs()
    kind = {"float32": "tensor(float)", "float64": "tensor(double)"}[dtype]
    assert (given.name, given.shape, given.type) == ("X", ["m", 9], kind)
    assert [(each.name, each.shape) for each in made.get_outputs()] == [("label", ["m"]), ("probabilities", ["m", 2])]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ((1, "linear", None), [("prediction", ["m"])]),
        ((3, "linear", None), [("prediction", ["m", 3])]),
        ((3, "sigmoid", None), [("label", ["m", 3]), ("probabilities", ["m", 3])]),
        ((3, "softmax", None), [("label", ["m"]), ("probabilities", ["m", 3])]),
        ((1, "sigmoid", "mean_squared_error"), [("label", ["m"]), ("probabilities", ["m", 2])]),
    ],
)
def test_outputs(output, expected, tmp_path):
    model_of("relu", output, "float32")[0].to_onnx(tmp_path / "it.onnx")
    made = session(str(tmp_path / "it.onnx"))
    assert [(each.name, each.shape) for each in made.get_outputs()] == expected


def test_a_trained_model_of_one_layer(tmp_path):
    X, y = random_data(60, 4)
    model = Model([Dense(1, "sigmoid")], seed=0)
    model.fit(X, y, epochs=2)
    model.to_onnx(tmp_path / "it.onnx")
    results = execute(tmp_path / "it.onnx", X.astype(np.float32))
    np.testing.assert_array_equal(results["label"], model.predict(X))
    np.testing.assert_allclose(results["probabilities"], model.predict_proba(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("opset", "error", "message"),
    [
        (12, ValueError, f"opset must be from 13 to {NEWEST}, the newest of onnx .*, not 12"),
        (NEWEST + 1, ValueError, f"not {NEWEST + 1}"),
        ("17", TypeError, "opset must be an integer"),
    ],
)
def test_an_opset_that_is_not_known_is_refused_and_nothing_written(opset, error, message, tmp_path):
    model, _ = model_of("relu", OUTPUTS[0], "float32")
    with pytest.raises(error, match=message):
        model.to_onnx(tmp_path / "it.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


def test_a_model_without_parameters_is_refused(tmp_path):
    with pytest.raises(NotFittedError, match="no parameters yet"):
        Model([Dense(1, "sigmoid")]).to_onnx(tmp_path / "it.onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_extra_is_named(monkeypatch, tmp_path):
    model, _ = model_of("relu", OUTPUTS[0], "float32")
    monkeypatch.delitem(sys.modules, "fastnet.exchange.onnx_file", raising=False)
    monkeypatch.delattr("fastnet.exchange.onnx_file", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"to_onnx needs onnx.*pip install onnx \(the extra fastnet-mlp\[onnx\]\)"):
        model.to_onnx(tmp_path / "it.onnx")


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_that_are_encoded(dtype, tmp_path):
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(size=130), rng.integers(-1, 3, 130), rng.integers(-1, 2, 130), rng.normal(size=130)], 1)
    X = X.astype(dtype)
    X[3:9, 0], X[9, 0], X[10:12, 0] = 2 * MISSING_BELOW, 1, [-1e18, 1e18]
    columns = [("number", True, 3.0, -1.0, 0.0, 1.0, 1 + 2.0**-20), ("category", 3), ("value",), ("number", False, 2.0)]
    model = Model([Encode(columns), Scale(), Dense(8, "relu"), Dense(3, "softmax")], dtype=dtype, seed=0)
    model.fit(X, rng.integers(0, 3, 130), epochs=3, verbose=False)
    model.to_onnx(tmp_path / "model.onnx")
    label, p = session(tmp_path / "model.onnx").run(None, {"X": X})
    np.testing.assert_allclose(p, model.predict_proba(X), atol=TOLERANCE[dtype])
    np.testing.assert_array_equal(label, model.predict(X))


def test_there_are_nodes_for_every_activation():
    assert set(onnx_graph.ACTIVATIONS) == {*codes.SLOPE_FROM_VALUE, *codes.SLOPE_FROM_Z, codes.SOFTMAX}


def test_several_quantiles_are_not_exported_yet():
    model = Model([Dense(3)], loss=Quantile([0.1, 0.5, 0.9]), seed=0).build(2)
    for export in (model.to_onnx, model.to_c):
        with pytest.raises(ValueError, match=r"Train one for each, such as Quantile\(0\.9\)"):
            export("never written")


@pytest.mark.parametrize(("standardize_y", "outputs"), [(False, 2), (True, 2), (True, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_standardized(dtype, standardize_y, outputs, tmp_path):
    model, X = standardizing(dtype, outputs, standardize_y)
    model.to_onnx(tmp_path / "net.onnx")
    (found,) = execute(tmp_path / "net.onnx", X).values()
    assert found.dtype == dtype
    np.testing.assert_allclose(found, model.predict(X), rtol=TOLERANCE[dtype], strict=True)
