"""The products of a wide input before few units: against NumPy, to the bits of the others, and in training."""

from itertools import product

import numpy as np
import pytest
from bounds import DTYPES, TEN_BATCHES, assert_within
from compiled import Chunk, assert_equal_training, make_model, part, random_classes, random_data, raw_run
from conftest import JIT_DISABLED
from test_products import assert_product, chunk_for_gradients, guarded_gradient, pieces, random_layer

from fastnet import SGD, Adagrad, Adam, AdamW, RMSprop
from fastnet.engine.divergence import diverged, take_snapshot
from fastnet.kernels import codes
from fastnet.kernels.blocks import BOUNDS_CHECKED
from fastnet.kernels.plan import PADDING, PANEL, WIDE_FROM, padded

CHUNKS = (1, 16, 65) if JIT_DISABLED else tuple(m for m in TEN_BATCHES if m <= 512)
WIDE = WIDE_FROM + 5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", [1, 33, 70] if JIT_DISABLED else [1, 16, 33, 70, WIDE_FROM + 1])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_wide_matmul_plus_bias(n, n_prev, dtype):
    """Z as blocks and as rows, of all examples at once and of parts of them, with b and without."""
    for m, with_bias in product(CHUNKS, (True, False)):
        parameters, W, b, A_prev = random_layer(n, n_prev, m, dtype)
        results = set()
        for rows, parts in product((False, True), pieces(m, PADDING)):
            chunk = Chunk((n_prev, n), m, dtype, use_bias=with_bias, backward=False, by_rows=True)
            if rows:
                chunk.layers["lanes"][1], chunk.layers["ld"][1], chunk.layers["block"][1] = 1, 1, padded(n)
            chunk.put(0, "A", A_prev)
            for first, stop in parts:
                part("wide_matmul_plus_bias")(chunk.layers, 1, first, stop, m, parameters, chunk.S.inside)
            Z = chunk.get(1, "A")
            assert_product(Z, W, b * with_bias, A_prev)
            chunk.assert_untouched(chunk.place(1, "A"))
            results.add(Z.tobytes())
        assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", [70] if JIT_DISABLED else [33, 70, WIDE_FROM + 1])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_weight_gradient_is_that_of_the_tiles_to_the_bit(n, n_prev, dtype):
    """By parts of the columns, in one pass over the examples; or, while those are near, by parts of them too."""
    for m, add in product(CHUNKS, (False, True)):
        chunk, _, _, before = chunk_for_gradients(n, n_prev, m, dtype, panels=True)
        same = guarded_gradient(before, add)
        part("weight_gradient")(chunk.layers, 1, (0, n, 0, n_prev), m, chunk.S.inside, 0, same.inside, 0, add)
        for columns, parts in product(pieces(n_prev, PANEL), (None, *pieces(m, PADDING))):
            chunk, _, _, _ = chunk_for_gradients(n, n_prev, m, dtype, by_rows=True)
            gradient, S = guarded_gradient(before, add), chunk.S.inside
            for j, j_stop in columns:
                for first, stop in parts or ():
                    part("wide_gradient")(chunk.layers, first, stop, j, j_stop, S)
                name = "take_wide_gradient" if parts else "wide_weight_gradient"
                part(name)(chunk.layers, 1, (0, n, j, j_stop), m, S, 0, gradient.inside, 0, add)
            np.testing.assert_array_equal(gradient.inside, same.inside)
            gradient.assert_guards()
            dw = int(chunk.layers["dW"][1])
            chunk.assert_untouched(slice(dw, dw + n * int(chunk.layers["block"][0])))


@pytest.mark.parametrize("dtype", DTYPES)
def test_weight_gradient_against_numpy(dtype):
    n, n_prev, m = 3, 70, 65
    chunk, dZ, A_prev, _ = chunk_for_gradients(n, n_prev, m, dtype, by_rows=True)
    dW = np.full(n * n_prev, np.nan, dtype)
    part("wide_weight_gradient")(chunk.layers, 1, (0, n, 0, n_prev), m, chunk.S.inside, 0, dW, 0, False)
    D, A = dZ.astype(float), A_prev.astype(float)
    assert_within(dW.reshape(n, n_prev), D @ A.T, np.abs(D) @ np.abs(A.T), m)


def test_an_empty_share_touches_nothing():
    chunk, none = Chunk((5, 3), 1, "float32", by_rows=True), np.zeros(0, np.float32)
    chunk.layers["dZ"][1] = chunk.layers["A"][0] = 0
    part("wide_matmul_plus_bias")(chunk.layers, 1, 16, 16, 16, none, chunk.S.inside)
    part("wide_gradient")(chunk.layers, 0, 1, 5, 5, chunk.S.inside)
    for name in ("wide_weight_gradient", "take_wide_gradient"):
        part(name)(chunk.layers, 1, (0, 3, 5, 5), 1, chunk.S.inside, 0, none, 0, False)
    chunk.assert_untouched()


OUTPUTS = {
    "sigmoid": (1, None),
    "tanh": (2, "mean_squared_error"),
    "softmax": (3, None),
    "linear": (4, "huber"),
}


@pytest.mark.parametrize("last", OUTPUTS)
@pytest.mark.parametrize("optimizer", [SGD(0.01), Adam(0.002, 0.8, 0.95, 1e-5)])
def test_training_in_one_batch_equals_the_reference(optimizer, last):
    n, loss = OUTPUTS[last]
    X, y = random_data(17 if JIT_DISABLED else 209, WIDE, n)
    if last == "softmax":
        y = random_classes(len(X), n)[1]
    model = make_model((WIDE, n), [last], loss=loss, l2=0.3, optimizer=optimizer)
    with raw_run(model, X, y) as run:
        assert run.plan.layers["lanes"][0] == 1
    assert_equal_training(model, [WIDE, n], [last], X, y, epochs=3, batch_size=None, l2=0.3)


OPTIMIZERS = [
    SGD(0.05, 0.9), SGD(0.05, 0.9, nesterov=True), RMSprop(0.001), Adagrad(0.01), AdamW(0.002, weight_decay=0.1),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
@pytest.mark.parametrize(("use_bias", "l1", "metrics"), [(True, 0.0, ["accuracy"]), (False, 0.2, [])])
def test_weights_of_one_change_no_bit(use_bias, l1, metrics, optimizer):
    """With penalties, metrics, and without a bias."""
    m = 17 if JIT_DISABLED else 64
    X, y = random_data(m, WIDE)
    results = []
    for weights in (None, np.ones(m)):
        model = make_model((WIDE, 1), ["sigmoid"], l1=l1, optimizer=optimizer, use_bias=use_bias)
        history = model.fit(X, y, epochs=4, batch_size=None, metrics=metrics, sample_weight=weights)
        results.append((history.cost, history.metrics, model.parameters.tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [(WIDE, 2), (WIDE, 3, 2)])
@pytest.mark.parametrize("batch_size", [None, 20])
def test_neither_threads_nor_where_the_kernel_returns_change_a_bit(batch_size, units, dtype):
    """Alone, a thread sums the gradient while its examples are near; in a team, after the backward pass."""
    X, y = random_data(33, WIDE, 2)
    results = set()
    for chunks, threads in ((1, 1), (2, 2), (10**6, 1), (10**6, 2), (10**6, 3)):
        model = make_model(units, ["sigmoid"] * (len(units) - 1), dtype=dtype)
        course = {"epochs": 5, "batch_size": batch_size}
        with raw_run(model, X, y, **course, threads=threads, cores=threads) as run:
            assert bool(run.plan.network["wide_gradient"][0]) == (threads == 1 and len(units) == 2)
            while not run.done:
                run.work(chunks)
            results.add((model.parameters.tobytes(), run.costs.tobytes()))
    assert len(results) == 1


def test_what_a_callback_does_to_the_weights_counts():
    X, y = random_data(33, WIDE)
    model = make_model((WIDE, 1), ["sigmoid"], scale=0.1)

    def set_anew(model, epoch, logs):
        model.parameters[:] = 0.0

    costs = model.fit(X, y, epochs=3, batch_size=None, callbacks=[set_anew]).cost
    np.testing.assert_allclose(costs[1:], np.log(2), rtol=1e-12)
    assert abs(costs[0] - np.log(2)) > 0.01


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.jit)])  # without the JIT, NumPy would warn
@pytest.mark.parametrize("good_steps", [0, 3])
def test_a_step_that_leaves_a_parameter_infinite_is_taken_back(good_steps, threads):
    X, y = random_data(33, WIDE)
    expected, model = (make_model((WIDE, 1), ["sigmoid"], learning_rate=1.0) for _ in range(2))
    if good_steps:
        expected.fit(X, y, epochs=good_steps, batch_size=None)
    with raw_run(model, X, y, epochs=10, threads=threads, cores=threads) as run:
        run.rates_set = 10
        run.rates[:] = [np.inf if epoch >= good_steps else 1.0 for epoch in range(10)]
        snapshot = take_snapshot(run, 0.0)
        run.work(10**6)
        assert run.status == codes.PARAMETERS_NOT_FINITE
        assert not np.isfinite(model.parameters).all()
        error = diverged(run, snapshot)
    assert error.kind == "parameter"
    assert error.epoch == good_steps + 1
    np.testing.assert_array_equal(model.parameters, expected.parameters)


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
@pytest.mark.parametrize("bad", [-1, "end", 2**40])
@pytest.mark.parametrize(
    ("name", "l", "field"),
    [
        ("wide_matmul_plus_bias", 0, "A"), ("wide_matmul_plus_bias", 1, "A"), ("wide_matmul_plus_bias", 1, "W"),
        ("wide_weight_gradient", 0, "A"), ("wide_weight_gradient", 1, "dZ"), ("wide_weight_gradient", 1, "dW"),
        ("wide_gradient", 0, "A"), ("wide_gradient", 1, "dZ"), ("wide_gradient", 1, "dW"),
        ("take_wide_gradient", 1, "dW"), ("take_wide_gradient", 1, "w"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rows", [False, True])
def test_what_lies_outside_is_refused(rows, name, l, field, bad):
    n, n_prev, m = 3, 40, 17
    chunk = Chunk((n_prev, n), m, "float32", by_rows=True)
    if rows:
        chunk.layers["lanes"][1], chunk.layers["ld"][1], chunk.layers["block"][1] = 1, 1, padded(n)
    S, parameters = chunk.S.inside, np.zeros(chunk.n_parameters, np.float32)
    gradient, share = np.zeros(n * n_prev, np.float32), (0, n, 0, n_prev)

    def call(w=0):
        if name == "wide_matmul_plus_bias":
            part(name)(chunk.layers, 1, 0, m, m, parameters, S)
        elif name == "wide_gradient":
            part(name)(chunk.layers, 0, m, 0, n_prev, S)
        else:
            part(name)(chunk.layers, 1, share, m, S, 0, gradient, w, False)

    call()
    at = S.size - 4 if bad == "end" else bad
    if field != "w":
        chunk.layers[field][l] = at
    with pytest.raises(IndexError):
        call(at if field == "w" else 0)
