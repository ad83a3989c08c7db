"""Arrays mapped from files: taken as they are, or converted some rows at a time; the bits of arrays in memory."""

import tracemalloc

import numpy as np
import pytest
from compiled import random_data

from fastnet import Adam, Checkpoint, Dense, Dropout, Model, Standardize, checks
from fastnet.engine import memory, sparse

pytestmark = pytest.mark.jit  # what the kernels compute is tested elsewhere

M = 2003
X, Y = random_data(M, 5)
Y = (Y[:, :1] > 0).astype(np.float64)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(sparse, "DENSE_BYTES", 64 * 5 * 4)


def mapped(array, folder, order="C"):
    found = np.memmap(folder / "X.bin", array.dtype, "w+", shape=array.shape, order=order)
    found[:] = array
    return found


def make_model(dtype, standardizes=False):
    layers = [Dense(17, "relu"), Dropout(0.3), Dense(1, "sigmoid")]
    return Model([Standardize()] * standardizes + layers, optimizer=Adam(0.01), dtype=dtype, seed=1)


KINDS = {
    "as it is": X.astype(np.float32),
    "float64": X,
    "big endian": X.astype(">f4"),
    "float16": X.astype(np.float16),
    "int8": np.rint(X * 20).astype(np.int8),
}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("standardizes", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_are_those_of_arrays_in_memory(kind, dtype, standardizes, order, tmp_path, monkeypatch):
    array = KINDS[kind]
    file = mapped(array, tmp_path, order)
    monkeypatch.setattr(
        checks, "slabs", lambda values: (slice(i, min(i + 300, len(values))) for i in range(0, len(values), 300))
    )
    one, other = make_model(dtype, standardizes), make_model(dtype, standardizes)
    settings = {"epochs": 2, "batch_size": 48, "validation_split": 0.2, "metrics": ["auc"], "class_weight": "balanced"}
    histories = [model.fit(data, Y, **settings) for model, data in ((one, array), (other, file))]
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert histories[0].metrics == histories[1].metrics
    assert histories[0].cost == histories[1].cost
    assert histories[0].val_cost == histories[1].val_cost
    assert one.evaluate(array, Y) == other.evaluate(file, Y)
    np.testing.assert_array_equal(one.predict_proba(array), other.predict_proba(file))
    out = np.full((M, 1), np.nan, dtype)
    np.testing.assert_array_equal(other.forward(file[::2], out=out[: len(file[::2])]), one.forward(array[::2]))


def test_neither_a_fit_nor_a_prediction_copies_it_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "LARGE", 2**40)  # tracemalloc does not see what is mapped
    monkeypatch.setattr(sparse, "DENSE_BYTES", 2**18)
    wide = np.memmap(tmp_path / "X.bin", np.float64, "w+", shape=(200_000, 64))
    wide[:] = np.random.default_rng(0).standard_normal(64)
    wide[::2] *= -1
    model = Model([Standardize(), Dense(3, "tanh"), Dense(1)], seed=0)
    model.fit(wide[:100], wide[:100, 0], epochs=1)
    tracemalloc.start()
    model.fit(wide, wide[:, 0], epochs=1, validation_split="last")
    model.predict(wide)
    model.evaluate(wide, wide[:, 0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < wide.nbytes / 2


def test_what_is_wrong_is_said_as_of_an_array_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(
        checks, "slabs", lambda values: (slice(i, min(i + 300, len(values))) for i in range(0, len(values), 300))
    )
    file = mapped(X, tmp_path)
    for value, said in ((np.nan, "non-finite values"), (1e300, "values beyond the range of float32")):
        file[1500, 3] = file[1800, 1] = value
        for call in (
            lambda: make_model("float32").fit(file, Y, epochs=1),
            lambda: make_model("float32").build(5).evaluate(file, Y),
            lambda: make_model("float32").build(5).predict(file),
        ):
            with pytest.raises(ValueError, match=rf"X has 2 {said}.*; the first is X\[1500, 3\] = ") as caught:
                call()
            assert "X[1500, 3]" in str(caught.value)
    with pytest.raises(ValueError, match="X has 5 features, but the first layer was built for 4"):
        make_model("float32").build(4).predict(file)
    with pytest.raises(ValueError, match=r"X must have 2 dimensions \(m, n_x\)"):
        make_model("float32").fit(file[:, 0], Y)


def test_a_fit_goes_on_from_a_checkpoint(tmp_path):
    file = mapped(X, tmp_path)
    whole, resumed = make_model("float32", True), make_model("float32", True)
    whole.fit(file, Y, epochs=4)
    make_model("float32", True).fit(file, Y, epochs=2, callbacks=Checkpoint(tmp_path / "kept"))
    resumed.fit(X, Y, epochs=4, resume=tmp_path / "kept")
    np.testing.assert_array_equal(whole.parameters, resumed.parameters)
