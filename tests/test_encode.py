"""`Encode`, the input layer that makes bins and one-hot categories of a table's columns as examples are loaded."""

import numpy as np
import pytest
import reference
from bounds import DTYPES, assert_within

import fastnet
from fastnet import Adam, Checkpoint, Dense, Dropout, Model, Scale, Standardize
from fastnet.layers import Encode

COLUMNS = [
    ("number", True, 3.0, -1.0, -0.5, 0.25, 0.5, 2.0),
    ("value",),
    ("number", False, 3.0),
    ("category", 3),
    ("number", False, 0.5, *range(8)),
    ("number", True, 1.0),
    ("category", 17),
]
N_INPUTS = 6 + 1 + 1 + 3 + 8 + 2 + 17


def table(m, dtype, seed=0):
    """Return compact rows, with gaps, unseen categories, and numbers beyond all bins."""
    rng = np.random.default_rng(seed)
    columns = []
    for kind, *numbers in COLUMNS:
        if kind == "category":
            columns.append(rng.integers(-1, numbers[0] + 1, m))
            continue
        x = rng.uniform(-2, 8, m)
        if kind == "number":
            x = np.where(rng.random(m) < 0.1, rng.choice([-1e9, 1e9, 0, 1, 2], m), x)
            x = np.where(rng.random(m) < 0.2, reference.MISSING, x) if numbers[0] else x
        columns.append(x)
    return np.stack(columns, axis=1).astype(dtype)


def model_of(*hidden, encode=True, dtype="float64", n_outputs=1, **settings):
    layers = [*hidden, Dense(n_outputs, "softmax" if n_outputs > 1 else "sigmoid")]
    settings = {"optimizer": Adam(0.02), "seed": 0} | settings
    return Model([Encode(COLUMNS), *layers] if encode else layers, dtype=dtype, **settings)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 3, 7, 16, 17, 63, 64, 65, 209])
def test_inputs_are_the_references(m, dtype):
    """Seen through a layer that passes them on: few rows one by one, many in blocks."""
    X = table(m, dtype)
    model = Model([Encode(COLUMNS), Dense(N_INPUTS)], dtype=dtype, seed=0).build(len(COLUMNS))
    model.layers[1].W = np.eye(N_INPUTS)
    exact = reference.encoded(X.astype(float), COLUMNS)
    found = model.forward(X)
    assert_within(found, exact, np.abs(exact) + 10, 10)
    for i in range(m):
        np.testing.assert_array_equal(model.forward(X[i : i + 1]), found[i : i + 1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "batch_size"), [(70, 16), (130, 33), (700, None), (1, 1)])
@pytest.mark.filterwarnings("ignore:The cost has not fallen")
def test_training_is_that_of_encoded_columns(m, batch_size, dtype):
    """Whose numbers come from the same kernel, so that only what is computed of them counts: to the bit."""
    X, y = table(m, dtype), np.arange(m) % 2
    identity = Model([Encode(COLUMNS), Dense(N_INPUTS)], dtype=dtype, seed=0).build(len(COLUMNS))
    identity.layers[1].W = np.eye(N_INPUTS)
    Z = identity.forward(X)
    found, expected = (
        model_of(Scale(), Dense(17, "relu"), Dropout(0.2), Dense(5, "tanh"), encode=encode, dtype=dtype)
        for encode in (True, False)
    )
    for model, data in ((found, X), (expected, Z)):
        model.fit(data, y, epochs=3, batch_size=batch_size, validation_data=(data, y), metrics="accuracy")
    assert found.layers[2].W.shape == (17, N_INPUTS)
    np.testing.assert_array_equal(found.parameters, expected.parameters)
    assert found.history.cost == expected.history.cost
    assert found.history.val_cost == expected.history.val_cost
    np.testing.assert_array_equal(found.forward(X), expected.forward(Z))
    assert found.cost(X, y) == expected.cost(Z, y)
    for pair, other in zip(found.gradients(X, y), expected.gradients(Z, y), strict=True):
        np.testing.assert_array_equal(pair[0], other[0])


@pytest.mark.parametrize(("m", "batch_size"), [(130, 33), (2200, None)])
def test_any_threads_give_the_same_bits(m, batch_size):
    X, y, found = table(m, "float32"), np.arange(m) % 3, []
    for threads in (1, 2, 3):
        model = model_of(Dense(9, "relu"), dtype="float32", n_outputs=3)
        model.fit(X, y, epochs=2, batch_size=batch_size, threads=threads)
        found.append(model.parameters.copy())
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_a_wide_encoding_before_few_units():
    """For whose width alone, rows would be read as they are."""
    columns = [("category", 700)] * 3
    X = np.random.default_rng(0).integers(0, 700, (50, 3)).astype(float)
    y = X[:, 0] > 350
    model = Model([Encode(columns), Dense(1, "sigmoid")], optimizer=Adam(0.1), seed=0, dtype="float64")
    model.fit(X, y, epochs=30)
    W, b = model.layers[1].W, model.layers[1].b
    places = X.astype(int) + np.array([0, 700, 1400])
    np.testing.assert_allclose(model.forward(X)[:, 0], reference.sigmoid(W[0, places].sum(axis=1) + b[0]), rtol=1e-12)
    assert model.evaluate(X, y)["accuracy"] == 1


def test_files_and_checkpoints_hold_it(tmp_path):
    X, y = table(70, "float32"), np.arange(70) % 2
    whole, begun, resumed = (model_of(Scale(), Dense(9, "relu"), dtype="float32") for _ in range(3))
    whole.fit(X, y, epochs=4)
    begun.fit(X, y, epochs=2, callbacks=Checkpoint(tmp_path, most_time=1.0))
    resumed.fit(X, y, epochs=4, callbacks=Checkpoint(tmp_path), resume=tmp_path)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    whole.save(tmp_path / "model.fastnet")
    loaded = fastnet.load(tmp_path / "model.fastnet")
    assert loaded.layers[0].columns == whole.layers[0].columns
    np.testing.assert_array_equal(loaded.forward(X), whole.forward(X))


def test_it_shows_itself_and_says_what_it_cannot():
    model = model_of(Dense(4, "relu"))
    assert f"Encode(7 columns, {N_INPUTS} inputs)" in repr(model)
    assert "encode" in str(model.summary())
    with pytest.raises(ValueError, match=r"X has 6 features, but Encode\(7 columns"):
        model.fit(np.zeros((5, 6)), np.arange(5) % 2)
    model.build(7)
    with pytest.raises(ValueError, match="X has 8 features, but the first layer was built for 7"):
        model.forward(np.zeros((5, 8)))
    with pytest.raises(ValueError, match="no gradients"):
        model.input_gradients(np.zeros((5, 7)))
    with pytest.raises(ValueError, match="This export has no Encode layer yet; to_onnx has"):
        model.to_c("c")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([], "must hold at least one"), ([("values",)], "must begin with"), (["value"], "must begin with"),
        ([("value", 1)], "1 constants"), ([("category",)], "0 constants"), ([("category", 0)], "at least 1"),
        ([("category", 2**21)], "are the most"), ([("number", True)], "1 constants"),
        ([("number", True, 3.0, 1.0)], "3 constants"), ([("number", True, 3.0, 1.0, 1.0)], "must increase"),
        ([("number", True, 3.0, 1.0, np.nan)], "finite numbers"), ([("number", True, 0.0)], "clip of"),
    ],
)  # fmt: skip
def test_what_is_no_column_is_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        Encode(columns)


@pytest.mark.parametrize("columns", [None, 5, "value", {"value"}, {"a": ("value",)}])
def test_what_are_no_columns_are_refused(columns):
    with pytest.raises(TypeError, match=r"columns must be a sequence of columns, such as .*, not "):
        Encode(columns)


def test_a_kind_that_is_a_list_is_refused():
    with pytest.raises(ValueError, match=r"columns\[0\] must begin with one of 'value'.*, not \[\['value'\]\]"):
        Encode([[["value"]]])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((1e-300,), r"the clip of columns\[1\] of Encode must be in the range of float32, but 1e-300 is"),
        ((1e300,), r"the clip of columns\[1\] of Encode must be in the range of float32"),
        (
            (3.0, 0.0, 1e300),
            r"columns\[1\]\[3:\] has 1 value beyond the range of float32.* columns\[1\]\[3:\]\[1\] = 1e\+300",
        ),
    ],
)
def test_what_the_dtype_does_not_hold_is_refused(numbers, message):
    layers = [Encode([("value",), ("number", False, *numbers)]), Dense(1)]
    with pytest.raises(ValueError, match=message):
        Model(layers)
    Model(layers, dtype="float64")


def test_a_bin_too_narrow_for_the_dtype_is_a_step():
    """1 / its width is infinite; and nobody is warned of that."""
    model = Model([Encode([("number", False, 3.0, 0.0, 1e-40, 1.0)]), Dense(3)], seed=0).build(1)
    model.layers[1].W = np.eye(3)
    found = model.forward(np.array([[-1.0], [0.0], [0.5], [2.0]]))
    np.testing.assert_array_equal(found[:, 1], [-1, -1, 1, 1])
    np.testing.assert_allclose(found[:, 2], [-1, -1, 0, 1], atol=1e-6)
    model.fit([[0.0], [1.0]], [[0, 0, 0], [1, 1, 1]], epochs=1)


def test_it_stands_first():
    for layers in ([Dense(2), Encode(COLUMNS)], [Encode(COLUMNS)], [Standardize(), Encode(COLUMNS), Dense(1)]):
        with pytest.raises(ValueError, match="must be the first of several"):
            Model(layers)
