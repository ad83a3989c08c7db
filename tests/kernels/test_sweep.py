"""A sweep over the features of a very wide input: its sums and products, training against the reference, its bits."""

import numpy as np
import pytest
from bounds import DTYPES, Guarded, assert_within
from compiled import from_python, make_model, random_classes, random_data, raw_run
from conftest import JIT_DISABLED
from test_fit import assert_equal_training

from fastnet import SGD, Adagrad, Adam, AdamW, RMSprop
from fastnet.engine.divergence import diverged, take_snapshot
from fastnet.kernels import codes, gather
from fastnet.kernels.build.jit import kernel
from fastnet.kernels.build.parts import address_of
from fastnet.kernels.ir import squares
from fastnet.kernels.ir.squares import SQUARE
from fastnet.kernels.plan import AT, LOAD, PANEL_SIZE, SLAB, SWEPT, WIDE_INPUT, make_plan, padded

FEATURES = (1, 7, 16)
BATCHES = (1, 16, 17, 65, 209, 512)
WIDE = WIDE_INPUT + 5  # the last of its slabs is short, and so are the last squares
assert WIDE % SLAB == 5
assert WIDE % SQUARE == 5


@kernel
def call_sums(target, t, features, S, x, m, y, block):
    squares.sums_over_examples(target, t, features, S, x, m, y, block)


@kernel
def call_products(P, p, parameters, w, features, X, x, m, begins):
    squares.add_products(P, p, parameters, w, features, X, x, m, begins)


def in_squares(matrix, beyond=1e30):
    """Return features (at most SQUARE, m) as squares; past the last feature and example lie other numbers."""
    features, m = matrix.shape
    whole = np.full((SQUARE, padded(m)), beyond, matrix.dtype)
    whole[:features, :m] = matrix
    return whole.reshape(SQUARE, -1, SQUARE).transpose(1, 0, 2).ravel()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", FEATURES)
def test_sums_over_examples(features, dtype):
    rng = np.random.default_rng(features)
    for m in BATCHES:
        X, y = (rng.standard_normal(shape).astype(dtype) for shape in ((features, m), m))
        blocks = np.full((-(-m // 64), 3, 64), np.nan, dtype)  # a row of three, in blocks of 64 examples
        for q, block in enumerate(blocks):
            here = y[q * 64 : (q + 1) * 64]
            block[1, : len(here)] = here
        S = np.concatenate([in_squares(X), blocks.ravel()])
        target = Guarded(features, dtype)
        start_of_y = S.size - blocks.size + 64
        from_python(call_sums)(target.whole, target.offset, features, S, 0, m, start_of_y, 3 * 64)
        target.assert_guards()
        exact = X.astype(float) @ y
        assert_within(target.inside, exact, np.abs(X.astype(float)) @ np.abs(y), m)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("begins", [True, False])
def test_add_products(begins, features, dtype):
    rng = np.random.default_rng(features)
    for m in BATCHES:
        X, w, before = (rng.standard_normal(shape).astype(dtype) for shape in ((features, m), features, m))
        P = Guarded(padded(m), dtype)
        if not begins:
            P.inside[:m] = before
        from_python(call_products)(P.whole, P.offset, w, 0, features, in_squares(X), 0, padded(m), begins)
        P.assert_guards()
        exact = w.astype(float) @ X + before * (not begins)
        magnitude = np.abs(w.astype(float)) @ np.abs(X) + np.abs(before) * (not begins)
        assert_within(P.inside[:m], exact, magnitude, features + 1)


@pytest.mark.jit
def test_order_of_sums_and_products():
    """By fmas, sums in sixteen lanes, products in the order of the features: with numbers that show all else."""
    rng = np.random.default_rng(0)
    X = rng.integers(2**19, 2**20, (SQUARE, 209)).astype(np.float32)  # whole numbers: exact in float64
    y = rng.integers(-(2**20), 2**20, 209).astype(np.float32)
    lanes = np.zeros((SQUARE, SQUARE), np.float32)
    for first in range(0, 209, SQUARE):
        terms = X[:, first : first + SQUARE].astype(float) * y[first : first + SQUARE]
        lanes[:, : terms.shape[1]] = (lanes[:, : terms.shape[1]] + terms).astype(np.float32)
    while lanes.shape[1] > 1:
        lanes = lanes[:, : lanes.shape[1] // 2] + lanes[:, lanes.shape[1] // 2 :]
    found = np.full(SQUARE, np.nan, np.float32)
    from_python(call_sums)(found, 0, SQUARE, np.concatenate([in_squares(X), y]), 0, 209, padded(209) * SQUARE, 64)
    np.testing.assert_array_equal(found, lanes[:, 0])

    total = np.zeros(209, np.float32)
    for k in range(SQUARE):
        total = (total + X[k].astype(float) * y[k]).astype(np.float32)
    P = np.full(padded(209), np.nan, np.float32)
    from_python(call_products)(P, 0, y, 0, SQUARE, in_squares(X), 0, padded(209), True)
    np.testing.assert_array_equal(P[:209], total)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [7, 70, WIDE])
def test_loading_squares(n, dtype):
    """The chosen rows, transposed; past them finite numbers, and nothing elsewhere."""
    m, order = 65, np.random.default_rng(0).permutation(80)
    X, _ = random_data(80, n)
    plan = make_plan((n, 2), (True,), examples=m, backward=True, swept=True)
    source = plan.rows[0]
    assert source[SWEPT] == 1
    source[LOAD] = address_of(gather.make_load_squares, np.dtype(dtype))
    S = Guarded(plan.n_scratch, dtype)
    for first, last in ((0, 16), (16, m)):
        from_python(gather.load_examples)(plan.rows, X.astype(dtype), order, 1, first, last, S.inside)
    S.assert_guards()
    found = S.inside[source[AT] :][: padded(n) * source[PANEL_SIZE]]
    assert np.isfinite(found).all()
    found = found.reshape(-1, source[PANEL_SIZE] // SQUARE, SQUARE, SQUARE)
    features = found.transpose(0, 2, 1, 3).reshape(padded(n), -1)
    np.testing.assert_array_equal(features[:n, :m].T, X.astype(dtype)[order[1 : 1 + m]])
    assert np.isnan(S.inside[: source[AT]]).all()
    assert np.isnan(S.inside[source[AT] + padded(n) * source[PANEL_SIZE] :]).all()


OUTPUTS = {
    "sigmoid": (1, None),
    "tanh": (2, "mean_squared_error"),
    "softmax": (3, None),
    "linear": (4, "huber"),
}


@pytest.mark.parametrize("last", OUTPUTS)
@pytest.mark.parametrize("optimizer", [SGD(0.01), Adam(0.002, 0.8, 0.95, 1e-5)])
def test_training_equals_the_reference(optimizer, last):
    n, loss = OUTPUTS[last]
    X, y = random_data(17 if JIT_DISABLED else 209, WIDE, n)
    if last == "softmax":
        y = random_classes(len(X), n)[1]
    model = make_model((WIDE, n), [last], loss=loss, l2=0.3, optimizer=optimizer)
    with raw_run(model, X, y) as run:
        assert run.plan.rows[0, SWEPT]
    assert_equal_training(model, [WIDE, n], [last], X, y, epochs=3, batch_size=None, l2=0.3)


OPTIMIZERS = [
    SGD(0.05, 0.9), SGD(0.05, 0.9, nesterov=True), RMSprop(0.001), Adagrad(0.01), AdamW(0.002, weight_decay=0.1),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
@pytest.mark.parametrize(("use_bias", "l1", "metrics"), [(True, 0.0, ["accuracy"]), (False, 0.2, [])])
def test_is_a_fit_by_rows_but_for_rounding(use_bias, l1, metrics, optimizer):
    """That of examples with weights, of one each; with penalties, metrics, and without a bias."""
    m = 17 if JIT_DISABLED else 65
    X, y = random_data(m, WIDE)
    results = []
    for weights in (None, np.ones(m)):
        model = make_model((WIDE, 1), ["sigmoid"], l1=l1, optimizer=optimizer, use_bias=use_bias)
        history = model.fit(X, y, epochs=4, batch_size=None, metrics=metrics, sample_weight=weights)
        results.append((history.cost, history.metrics, model.parameters))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-9)
    assert results[0][1] == results[1][1]
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_input_is_swept_where_every_step_sees_the_same_examples(dtype):
    X, y = random_data(33, WIDE)

    def is_swept(units=(WIDE, 1), optimizer=None, data=(X, y), **settings):
        activations = ["sigmoid"] * (len(units) - 1)
        model = make_model(units, activations, dtype=dtype, optimizer=optimizer)
        with raw_run(model, *data, **settings) as run:
            return bool(run.plan.rows[0, SWEPT])

    assert is_swept()
    assert is_swept(batch_size=33)
    assert not is_swept(batch_size=33, shuffle=True)
    assert not is_swept(batch_size=32)
    assert not is_swept(mode=codes.GRADIENT)
    assert not is_swept(optimizer=SGD(clip_norm=1.0))
    assert not is_swept((WIDE, 4, 1))
    assert not is_swept((WIDE, 5), data=(X, np.repeat(y, 5, axis=1)))
    assert not is_swept((WIDE_INPUT - 1, 1), data=(X[:, : WIDE_INPUT - 1], y))


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_the_kernel_returns_changes_no_bit(dtype):
    """Nor does it whether the products of the next step are found along with this one, or by themselves."""
    X, y = random_data(33, WIDE, 2)
    results = set()
    for chunks, threads, anew in ((1, 1, False), (1, 2, True), (2, 2, False), (10**6, 1, False), (10**6, 2, False)):
        model = make_model((WIDE, 2), ["sigmoid"], dtype=dtype)
        with raw_run(model, X, y, epochs=5, threads=threads, cores=threads) as run:
            while not run.done:
                run.work(chunks)
                if anew:
                    run.parameters_changed()
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
        run.rates[:] = [np.inf if epoch >= good_steps else 1.0 for epoch in range(10)]
        snapshot = take_snapshot(run, 0.0)
        run.work(10**6)
        assert run.status == codes.PARAMETERS_NOT_FINITE
        assert not np.isfinite(model.parameters).all()
        error = diverged(run, snapshot)
    assert error.kind == "parameter"
    assert error.epoch == good_steps + 1
    np.testing.assert_array_equal(model.parameters, expected.parameters)
