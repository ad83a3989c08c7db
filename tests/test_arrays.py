"""Arrays of other libraries, and of other types than NumPy's own: read as what they hold, or refused in our words."""

import importlib

import numpy as np
import pytest
from compiled import make_model, random_data
from kinds import ByDLPack, Failing, library

VALUES = np.array([[0.5, -1.0, 2.0, 0.25], [1.5, 0.0, -0.75, 1.0], [-2.0, 3.0, 0.125, 4.0], [1.0, 1.0, 0.0, 0.5]])
"""In each of which bfloat16 and the floats of eight bits are exact."""


def tensor():
    return library("torch").tensor(VALUES, dtype=library("torch").float32)


READ = {
    "bfloat16": lambda: VALUES.astype(library("ml_dtypes").bfloat16),
    "float8_e4m3fn": lambda: VALUES.astype(library("ml_dtypes").float8_e4m3fn),
    "float8_e5m2": lambda: VALUES.astype(library("ml_dtypes").float8_e5m2),
    "DLPack": lambda: ByDLPack(VALUES),
    "DLPack, float32": lambda: ByDLPack(VALUES.astype(np.float32)),
    "PyTorch": tensor,
    "PyTorch, float16": lambda: tensor().half(),
    "rows of PyTorch": lambda: list(tensor()),
    "JAX": lambda: importlib.import_module("jax.numpy").asarray(VALUES) if library("jax") else None,
    "JAX, bfloat16": lambda: importlib.import_module("jax.numpy").asarray(VALUES, "bfloat16") if library("jax") else 0,
    "pandas": lambda: library("pandas").DataFrame(VALUES),
    "pandas, nullable": lambda: library("pandas").DataFrame(VALUES).convert_dtypes(),
    "polars": lambda: library("polars").DataFrame(VALUES),
    "masked, nothing missing": lambda: np.ma.masked_array(VALUES),
    "a matrix": lambda: VALUES.view(np.matrix),
    "a memoryview": lambda: memoryview(VALUES),
    "objects": lambda: VALUES.astype(object),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", READ)
def test_what_is_read(kind, dtype):
    model = make_model((4, 1), ("sigmoid",), dtype=dtype)
    y = [0, 1, 1, 0]
    np.testing.assert_array_equal(model.forward(READ[kind]()), model.forward(VALUES))
    assert model.cost(READ[kind](), y, sample_weight=[1, 2, 3, 4]) == model.cost(VALUES, y, sample_weight=[1, 2, 3, 4])


def deleted():
    array = importlib.import_module("jax.numpy").array(VALUES) if library("jax") else None
    array.delete()
    return array


def quantized():
    return library("torch").quantize_per_tensor(tensor(), 0.125, 0, library("torch").qint8)


TENSOR = r"PLACE\.detach\(\)\.cpu\(\)\.float\(\)\.numpy\(\); first PLACE\.to_dense\(\).* PLACE\.dequantize\(\)"
READ_BY_NOBODY = "PLACE cannot be made an array of numbers: "
REFUSED = {
    "gradients": (lambda: tensor().requires_grad_(), TypeError, f"{READ_BY_NOBODY}RuntimeError, .*{TENSOR}"),
    "sparse": (lambda: tensor().to_sparse(), TypeError, f"{READ_BY_NOBODY}TypeError, .*{TENSOR}"),
    "quantized": (quantized, TypeError, f"{READ_BY_NOBODY}.*{TENSOR}"),
    "PyTorch, bfloat16": (lambda: tensor().bfloat16(), TypeError, f"{READ_BY_NOBODY}.*{TENSOR}"),
    "meta": (lambda: tensor().to("meta"), TypeError, f"{READ_BY_NOBODY}.*{TENSOR}"),
    "complex": (
        lambda: tensor() + 1j,
        TypeError,
        "PLACE must hold real numbers, but holds complex .*pass real numbers",
    ),
    "rows with gradients": (lambda: list(tensor().requires_grad_()), TypeError, f"{READ_BY_NOBODY}.*Pass rows of one"),
    "deleted": (deleted, TypeError, rf"{READ_BY_NOBODY}.*deleted.* Pass PLACE as a NumPy array\."),
    "RuntimeError": (
        lambda: Failing(RuntimeError("gone")),
        TypeError,
        f"{READ_BY_NOBODY}RuntimeError, gone. Pass PLACE",
    ),
    "KeyError": (lambda: Failing(KeyError("gone")), TypeError, f"{READ_BY_NOBODY}KeyError, 'gone'. Pass PLACE as"),
    "ValueError": (
        lambda: Failing(ValueError("gone.")),
        ValueError,
        f"{READ_BY_NOBODY}ValueError, gone. Pass PLACE as",
    ),
    "rows of a mask": (
        lambda: [np.ma.masked_less(row, 0) for row in VALUES],
        ValueError,
        r"PLACE is masked: 3 of its values are missing. Impute them, as by np.ma.stack\(PLACE\).filled\(value\), or",
    ),
    "bfloat16 that is not finite": (
        lambda: (VALUES / (VALUES != 2)).astype(library("ml_dtypes").bfloat16),
        ValueError,
        r"PLACE has 1 .*finite.*; the first is PLACE\[0, 2\] = inf",
    ),
}


@pytest.mark.filterwarnings("ignore:.*quantize:")
@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("place", ["X", "y", "W"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(kind, place):
    make, error, message = REFUSED[kind]
    model = make_model((4, 4), ("linear",))
    X, y = random_data(4, 4, 4)
    values, before = make(), model.parameters.copy()
    message = message.replace("PLACE", place)
    calls = {
        "X": [lambda: model.forward(values), lambda: model.fit(values, y), lambda: model.diagnose(values)],
        "y": [lambda: model.fit(X, values), lambda: model.cost(X, values)],
        "W": [lambda: setattr(model.layers[0], "W", values)],
    }[place]
    for call in calls:
        with pytest.raises(error, match=message):
            call()
    np.testing.assert_array_equal(model.parameters, before)


def test_what_runs_out_of_memory_says_so():
    with pytest.raises(MemoryError, match="no room"):
        make_model((4, 1), ("sigmoid",)).forward(Failing(MemoryError("no room")))


def test_masked_values_are_refused_as_targets_and_weights():
    model = make_model((4, 1), ("sigmoid",))
    masked = np.ma.masked_array([0.0, 1.0, 1.0, 1.0], mask=[0, 0, 1, 0])
    for targets, weights, name in ((masked, None, "y"), ([*masked], None, "y"), (np.ones(4), masked, "sample_weight")):
        with pytest.raises(ValueError, match=f"{name} is masked: 1 of its values are missing"):
            model.fit(VALUES, targets, sample_weight=weights)
