"""Predictions: a row's bits depend on no other row, on no other thread, and cost no memory."""

import _thread
import threading
import tracemalloc

import numpy as np
import pytest
from bounds import DTYPES, GUARD
from compiled import make_model, random_data, start_only, threads_left
from conftest import JIT_DISABLED

from fastnet import LeakyReLU
from fastnet.engine import predict, threads
from fastnet.engine.predict import FEW
from fastnet.kernels.plan import LANES, WIDE_FROM

WIDTHS = (1, 17) if JIT_DISABLED else (1, 7, 16, 17, 33, 65)
NETS = [(("relu",), "sigmoid"), (("tanh", "leaky_relu"), "linear"), ((), "softmax"), (("sigmoid",), "softmax")]
NETS += [(("gelu", LeakyReLU(0.2)), "linear"), (("silu", "selu", "elu"), "softmax"), (("mish", "softplus"), "sigmoid")]


def net(width, hidden, last, dtype, use_bias=True, n_x=None):
    units = (n_x or width, *(width for _ in hidden), max(width, 2) if last == "softmax" else width)
    loss = "mean_squared_error" if last == "linear" else None
    return make_model(
        units, (*hidden, last), loss=loss, dtype=dtype, use_bias=use_bias, scale=1 / np.sqrt(max(units[:-1]))
    )


def rows_of(m, n_x, dtype):
    return random_data(m, n_x)[0].astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(("hidden", "last"), NETS)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_prediction_does_not_depend_on_the_rows_beside_it(width, hidden, last, use_bias, dtype):
    """One by one, in groups of every size up to past where blocks begin, and among a thousand."""
    model = net(width, hidden, last, dtype, use_bias)
    m = 70 if JIT_DISABLED else 1000
    X = rows_of(m, width, dtype)
    together = model.forward(X)
    assert np.isfinite(together).all()
    assert len(np.unique(together, axis=0)) > m // 20  # a narrow layer of ReLUs lets few through
    largest_group = FEW + 2
    for size in range(1, largest_group + 1):
        for start in range(0, 20, size):
            group = X[start : start + size]
            np.testing.assert_array_equal(model.forward(group), together[start : start + size])
    for start, stop in ((3, 3 + LANES), (3, 4 + LANES), (5, 70)):
        np.testing.assert_array_equal(model.forward(X[start:stop]), together[start:stop])


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [3, 20])
def test_nor_does_that_of_a_wide_input(n, dtype):
    model = make_model((WIDE_FROM + 3, n, 3), ("tanh", "softmax"), dtype=dtype)
    X = rows_of(200, WIDE_FROM + 3, dtype)
    together = model.forward(X)
    for size in (1, 2, 4, FEW, FEW + 1, 33):
        for start in range(0, 20, size):
            np.testing.assert_array_equal(model.forward(X[start : start + size]), together[start : start + size])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 4, FEW, FEW + 1, 65, 200])
def test_out_receives_the_result_and_nothing_around_it(m, dtype):
    model = net(7, ("relu",), "softmax", dtype)
    X = rows_of(m, 7, dtype)
    memory = np.full((m + 2 * GUARD, 7), 12345.0, dtype)
    out = memory[GUARD:-GUARD]
    out[:] = np.nan
    assert model.forward(X, out=out) is out
    np.testing.assert_array_equal(out, model.forward(X))
    assert (memory[:GUARD] == 12345).all()
    assert (memory[-GUARD:] == 12345).all()
    for unusual in (X.tolist(), np.asfortranarray(X), X.astype(">f8")):
        out[:] = np.nan
        np.testing.assert_array_equal(model.forward(unusual, out=out), model.forward(X))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, FEW, LANES, LANES + 1, 200, 1000])
def test_out_may_overlap_what_is_read(m, dtype, team_of_four):
    """X itself, X a row further, or before, and the parameters: the rows are those of memory apart."""
    m = min(m, 200) if JIT_DISABLED else m
    X = rows_of(m, 7, dtype)
    model = net(7, ("relu",), "linear", dtype)
    expected = model.forward(X)
    for shift in (0, 1, 3, -1):
        memory = np.zeros((m + 6, 7), dtype)
        rows, out = memory[3 : m + 3], memory[3 + shift : m + 3 + shift]
        rows[:] = X
        np.testing.assert_array_equal(model.forward(rows, out=out), expected)
    out = X.copy()
    assert model.forward(np.asfortranarray(out), out=out) is out
    np.testing.assert_array_equal(out, expected)
    square = make_model((7, m, 7), ("relu", "linear"), dtype=dtype)
    expected = square.forward(X)
    out = square.parameters[: m * 7].reshape(m, 7)
    np.testing.assert_array_equal(square.forward(X, out=out), expected)


@pytest.mark.parametrize("m", [1, LANES + 1])
def test_x_stays_as_it_was_where_outputs_overflow(m):
    model = make_model((7, 7), ("linear",), dtype="float32")
    model.layers[0].W[:] = 1e38
    X, out = np.full((m, 7), 100, np.float32), np.empty((m, 7), np.float32)
    with pytest.raises(FloatingPointError, match=r"for X\[0\], layer 1"):
        model.forward(X, out=out)
    assert (X == 100).all()


def read_only(array):
    array.flags.writeable = False
    return array


BAD_OUT = [
    (np.empty((5, 3), "float64"), TypeError, "out must be an array of float32, not one of float64."),
    ([[0.0] * 3], TypeError, "out must be an array of float32, not [[0.0, 0.0, 0.0]]."),
    (np.empty((5, 2), "float32"), ValueError, "out must have shape (5, 3), not (5, 2)."),
    (np.empty(15, "float32"), ValueError, "out must have shape (5, 3), not (15,)."),
]
NOT_PLAIN = "out must be C-contiguous, aligned and writable. Pass np.empty_like(out, order='C')."
BAD_OUT += [
    (out, ValueError, NOT_PLAIN)
    for out in (
        np.empty((5, 3), "float32", order="F"),
        np.empty((5, 6), "float32")[:, ::2],
        read_only(np.zeros((5, 3), "float32")),
        np.frombuffer(bytearray(61), "float32", offset=1).reshape(5, 3),
    )
]


@pytest.mark.parametrize(("out", "kind", "message"), BAD_OUT)
def test_a_bad_out_is_refused(out, kind, message):
    model = make_model((4, 3), ("sigmoid",), dtype="float32")
    with pytest.raises(kind) as caught:
        model.forward(np.ones((5, 4), np.float32), out=out)
    assert str(caught.value) == message


@pytest.mark.jit
@pytest.mark.parametrize("m", [1, FEW, 64])
def test_with_out_a_prediction_allocates_nothing(m):
    """On numba's heap nothing, on Python's only what a call itself needs; none of it stays, and none grows with m."""
    from numba.core.registry import cpu_target
    from numba.core.runtime import rtsys

    rtsys.initialize(cpu_target.target_context)  # which counts; where all code came from the store, nothing else does
    model = net(33, ("relu",), "softmax", "float32")
    X, out = rows_of(m, 33, "float32"), np.empty((m, 33), np.float32)
    for _ in range(3):
        model.forward(X, out=out)
    peaks, kept, on_heap = [], [], []
    for _ in range(3):  # what other threads of the tests take meanwhile is not in all of them
        before = rtsys.get_allocation_stats()
        tracemalloc.start()
        start = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            model.forward(X, out=out)
        after, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        peaks.append(peak - start)
        kept.append(after - start)
        on_heap.append(rtsys.get_allocation_stats().alloc - before.alloc)
    assert min(peaks) < 1500, "less than one row of scratch memory"
    assert min(kept) < 200
    arrays_passed = 7
    assert min(on_heap) <= 100 * arrays_passed


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("m", [1, 4, FEW, FEW + 1, 64, 65, 300])
def test_x_that_is_not_finite_is_refused_in_the_usual_words(m, bad):
    """Wherever it stands, however few or many the rows."""
    model = net(33, ("relu",), "sigmoid", "float32")
    for i in {0, m // 2, m - 1}:
        for j in (0, 16, 32):
            X = rows_of(m, 33, "float32")
            X[i, j] = bad
            message = rf"X has 1 non-finite value; the first is X\[{i}, {j}\] = {bad}\. Impute or drop those rows\."
            for call in (model.forward, model.predict, model.predict_proba if m == 1 else model.forward):
                with pytest.raises(ValueError, match=message):
                    call(X)
    largest = np.full((m, 33), np.finfo(np.float32).max, np.float32)
    model.parameters[:] = 0
    np.testing.assert_array_equal(model.forward(largest), 0.5)


def test_it_sees_parameters_that_change():
    model = net(7, ("relu",), "sigmoid", "float32")
    X = rows_of(9, 7, "float32")
    for rows in (X, X[:2]):
        model.parameters[:] = 0
        np.testing.assert_array_equal(model.forward(rows), 0.5)
        model.parameters[:] = 1
        assert (model.forward(rows) > 0.7).all()
    model.build(5)
    assert model.forward(np.ones((3, 5))).shape == (3, 7)
    with pytest.raises(ValueError, match="X has 7 features, but the first layer was built for 5"):
        model.forward(X)


@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_from_four_threads_at_once_equal_those_of_one(dtype):
    model = net(33, ("relu",), "softmax", dtype)
    X = rows_of(70 if JIT_DISABLED else 700, 33, dtype)
    sizes = (1, 3, FEW, 30, len(X))
    serial = {size: model.forward(X[:size]) for size in sizes}
    wrong, begin = [], threading.Barrier(4)

    def predict(first):
        try:
            begin.wait()
            for i in range(3 if JIT_DISABLED else 150):
                size = sizes[(first + i) % len(sizes)]
                if not np.array_equal(model.forward(X[:size]), serial[size]):
                    wrong.append(size)
        except BaseException as error:
            wrong.append(error)

    others = [threading.Thread(target=predict, args=(first,)) for first in range(4)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert not wrong


@pytest.fixture
def team_of_four(monkeypatch):
    """Make every prediction of more than LANES rows worth four threads; yields the numbers that were used."""
    used = []

    class CountedHelpers(threads.Helpers):
        def __init__(self, n, work, stop):
            super().__init__(n, work, stop)
            used.append(self.n)

    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    monkeypatch.setattr(threads, "_limit", 4)
    monkeypatch.setattr(predict, "OPERATIONS_PER_THREAD", 1.0)
    monkeypatch.setattr(predict, "CALL_SECONDS", 1e-9)  # a slice is LANES rows
    monkeypatch.setattr(predict, "Helpers", CountedHelpers)
    return used


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("hidden", "last"), NETS)
def test_a_prediction_by_several_threads_gives_the_same_bits(hidden, last, dtype, team_of_four):
    model = net(17, hidden, last, dtype)
    X = rows_of(130 if JIT_DISABLED else 2011, 17, dtype)
    by_four = model.forward(X)
    assert set(team_of_four) == {4}
    assert not threads._reserved
    one_by_one = np.vstack([model.forward(X[i : i + LANES]) for i in range(0, len(X), LANES)])
    np.testing.assert_array_equal(by_four, one_by_one)
    X[-3, 5] = np.nan
    with pytest.raises(ValueError, match=rf"the first is X\[{len(X) - 3}, 5\] = nan"):
        model.forward(X)
    assert not threads._reserved


def test_no_thread_gets_so_long_a_slice_that_the_others_wait_for_it(team_of_four, monkeypatch):
    monkeypatch.setattr(predict, "CALL_SECONDS", 1e9)  # a slice could be all rows
    model = net(7, ("relu",), "sigmoid", "float32")
    X = rows_of(130 if JIT_DISABLED else 5011, 7, "float32")
    real, slices = predict.LinkedPlan.predict, []

    def recorded(self, rows, out, *more):
        start = (rows.ctypes.data - X.ctypes.data) // X.strides[0]
        slices.append((start, start + len(rows)))
        return real(self, rows, out, *more)

    monkeypatch.setattr(predict.LinkedPlan, "predict", recorded)
    model.forward(X)
    slices.sort()
    assert [start for start, _ in slices] == [0, *(stop for _, stop in slices[:-1])]
    assert slices[-1][1] == len(X)
    for start, stop in slices:
        assert stop - start <= max(LANES, (len(X) - start) / (2 * 4))


def test_an_exception_in_one_of_the_threads_reaches_the_caller(team_of_four, monkeypatch):
    model = net(17, ("relu",), "sigmoid", "float32")
    X = rows_of(500, 17, "float32")
    expected = model.forward(X)
    real, main = predict.LinkedPlan.predict, threading.current_thread()
    others_began = threading.Event()

    def fail_elsewhere(self, *arguments):
        if threading.current_thread() is main:
            others_began.wait(10)
        else:
            others_began.set()
            raise MemoryError("no room")
        return real(self, *arguments)

    monkeypatch.setattr(predict.LinkedPlan, "predict", fail_elsewhere)
    with pytest.raises(MemoryError, match="no room"):
        model.forward(X)
    assert not threads._reserved
    monkeypatch.setattr(predict.LinkedPlan, "predict", real)
    np.testing.assert_array_equal(model.forward(X), expected)


@pytest.mark.parametrize("startable", [0, 1])
def test_where_no_thread_can_be_started_one_does_it_all(startable, team_of_four, monkeypatch):
    model = net(17, ("relu",), "sigmoid", "float32")
    X = rows_of(500, 17, "float32")
    expected = model.forward(X)
    before, started = _thread._count(), start_only(startable, monkeypatch)
    np.testing.assert_array_equal(model.forward(X), expected)
    assert len(started) == startable
    assert not threads_left(before)
