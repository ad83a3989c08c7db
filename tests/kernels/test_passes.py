"""The entry points: gradients and costs against the reference, epochs in pieces, no allocation, one signature."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import reference
from bounds import DTYPES, SEVEN_UNITS, TEN_BATCHES, Guarded, assert_within, network_errors
from compiled import from_python, make_model, random_classes, random_data, raw_run, reference_parameters
from conftest import JIT_DISABLED
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet import SGD, Adam, LeakyReLU, checks
from fastnet.activations import ACTIVATIONS
from fastnet.engine.run import CALL_SECONDS
from fastnet.kernels import gather, predict, train
from fastnet.kernels.build import jit
from fastnet.kernels.build.parts import address_of
from fastnet.kernels.plan import (
    AT,
    BY_ROWS,
    LD,
    LOAD,
    NARROW_LAYER,
    PADDING,
    PANEL,
    PANEL_SIZE,
    ROWS,
    WIDE_INPUT,
    A,
    Y,
    make_plan,
)

UNITS = (1, 17) if JIT_DISABLED else SEVEN_UNITS
BATCHES = (1, 65) if JIT_DISABLED else TEN_BATCHES
NETS = [
    ((), "sigmoid", None),
    (("tanh",), "sigmoid", None),
    (("relu",), "linear", None),
    (("leaky_relu", "sigmoid"), "sigmoid", None),
    (("relu", "tanh", "leaky_relu"), "tanh", "mean_squared_error"),
    ((), "softmax", None),
    (("tanh", "relu"), "softmax", None),
    (("gelu", "softplus"), "mish", "mean_squared_error"),
    (("elu", LeakyReLU(0.2), "silu"), "sigmoid", None),
    (("mish", "selu"), "linear", None),
]


def outputs(last, n):
    """Return how many units the last layer has."""
    return n + 1 if last == "softmax" else 1 if n % 2 else 2


def check_gradients_and_cost(units, activations, loss, m, l2, dtype, spoil=1.0):
    model = make_model(units, activations, loss=loss, l2=l2, dtype=dtype, scale=1 / np.sqrt(max(units)))
    X, Y = random_data(m, units[0], units[-1], seed=m)
    y = Y
    if activations[-1] == "softmax":
        classes, Y = random_classes(m, units[-1], seed=m)
        y = classes if m % 2 else Y
    parameters = reference_parameters(model)
    A_L, caches = reference.forward(X.T, parameters, activations)
    exact = reference.backward(caches, Y.T, activations, model.loss, l2)
    errors = network_errors(caches, Y.T, activations, model.loss, l2, np.finfo(dtype).eps)
    for layer, (dW, db) in enumerate(model.gradients(X, y), start=1):
        assert_within(dW * spoil, exact[f"dW{layer}"], errors.gradients[f"dW{layer}"], 1)
        assert_within(db * spoil, exact[f"db{layer}"], errors.gradients[f"db{layer}"], 1)
    cost = reference.compute_cost(caches, Y.T, parameters, model.loss, l2)
    assert_within(np.array(model.cost(X, y) * spoil, dtype), np.float64(cost), errors.cost, 1)
    assert_within(model.forward(X) * spoil, A_L.T, errors.output.T, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("hidden", "last", "loss"), NETS)
@pytest.mark.parametrize("n", UNITS)
def test_gradients_costs_and_predictions(n, hidden, last, loss, dtype):
    for m in BATCHES:
        activations = [*hidden, last]
        units = [n + 1, *(n for _ in hidden), outputs(last, n)]
        check_gradients_and_cost(units, activations, loss, m, 0.3 * (m % 2), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("hidden", "last", "loss"), NETS)
@pytest.mark.parametrize("n", UNITS)
def test_the_bounds_would_notice_an_error_of_five_percent(n, hidden, last, loss, dtype):
    for m in (m for m in BATCHES if m > 1):  # a single example on a kink may legitimately be off altogether
        units = [n + 1, *(n for _ in hidden), outputs(last, 1)]
        with pytest.raises(AssertionError, match="off by"):
            check_gradients_and_cost(units, [*hidden, last], loss, m, 0.0, dtype, spoil=1.05)


@settings(max_examples=5 if JIT_DISABLED else 60)
@given(data=st.data())
def test_any_network(data):
    widths = st.integers(1, 12 if JIT_DISABLED else 70)
    units = data.draw(st.lists(widths, min_size=2, max_size=6))
    hidden = st.sampled_from([*(name for name in ACTIVATIONS if name != "softmax"), LeakyReLU(0.2)])
    activations = [data.draw(hidden) for _ in units[1:]]
    loss = "mean_squared_error"
    if units[-1] > 1 and data.draw(st.booleans()):
        activations[-1], loss = "softmax", "categorical_crossentropy"
    m = data.draw(st.integers(1, 20 if JIT_DISABLED else 600))
    dtype = data.draw(st.sampled_from(DTYPES))
    check_gradients_and_cost(units, activations, loss, m, data.draw(st.sampled_from([0.0, 1.5])), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_epoch_in_pieces_gives_the_bits_of_a_whole_one(dtype):
    """Where the kernel returns to Python is a matter of time, so it must not be one of the result."""
    X, y = random_data(1300, 5)
    results = []
    for pieces in (1, 3, 10**6):
        model = make_model((5, 7, 1), ("tanh", "sigmoid"), dtype=dtype)
        with raw_run(model, X, y, batch_size=600, epochs=3, key=1, shuffle=True) as run:
            while not run.done:
                run.work(pieces)
        results.append((model.parameters.tobytes(), run.costs.tobytes()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", UNITS)
def test_loading_examples_and_targets(n, dtype):
    """AT, if there is one, holds the chosen rows, A their transposes in blocks, Y the targets; and that is all."""
    m_all, chunk, outputs = 700, 3, NARROW_LAYER + 1
    X, y = random_data(m_all, n, outputs)
    X, y = X.astype(dtype), y.astype(dtype)
    order = np.random.default_rng(0).permutation(m_all)
    for m in (m for m in BATCHES if m <= 512):
        plan = make_plan((n, outputs), (True,), examples=m, backward=True)
        middle = m // 2 // PADDING * PADDING
        for parts in ([(0, m)], [(0, middle), (middle, m)]):
            S = Guarded(plan.n_scratch, dtype)
            for first, last in parts:
                from_python(gather.load_examples)(plan.rows, X, order, chunk, first, last, S.inside)
                from_python(gather.load_targets)(plan.rows, y, order, chunk, first, last, S.inside)
            S.assert_guards()
            chosen = order[chunk : chunk + m]
            source, output = plan.rows
            assert (source[AT] < 0) == (n <= NARROW_LAYER)
            if n > NARROW_LAYER:
                np.testing.assert_array_equal(examples_in_panels(S.inside, source, n, m), X[chosen])
            np.testing.assert_array_equal(examples_in_blocks(S.inside, source, source[A], n, m), X[chosen])
            np.testing.assert_array_equal(examples_in_blocks(S.inside, output, output[Y], outputs, m), y[chosen])


def examples_in_panels(S, row, n, m):
    """Return what AT of a layer holds, (m, n)."""
    panels = S[row[AT] :][: row[PANEL_SIZE] * -(-n // PANEL)].reshape(-1, row[PANEL_SIZE] // PANEL, PANEL)
    return panels.transpose(1, 0, 2).reshape(row[PANEL_SIZE] // PANEL, -1)[:m, :n]


def examples_in_blocks(S, row, offset, n, m):
    """Return what the blocks at that offset hold, (m, n)."""
    blocks = S[offset:][: -(-m // row[LD]) * row[ROWS] * row[LD]].reshape(-1, row[ROWS], row[LD])
    return blocks[:, :n].transpose(0, 2, 1).reshape(-1, n)[:m]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [7, 70] if JIT_DISABLED else [7, 33, WIDE_INPUT, WIDE_INPUT + 3])
def test_a_wide_input_before_few_units_is_kept_by_rows(n, dtype):
    """Once; another before few units too, by blocks; any other twice, as A and as AT."""
    m, order = 65, np.random.default_rng(0).permutation(80)
    X, _ = random_data(80, n)
    for units, by_rows in ((4, n >= WIDE_INPUT), (5, False)):
        plan = make_plan((n, units), (True,), examples=m, backward=True)
        source = plan.rows[0]
        assert source[BY_ROWS] == by_rows
        assert (source[AT] < 0) == (units <= NARROW_LAYER)
        if by_rows:
            source[LOAD] = address_of(gather.make_load_by_rows, np.dtype(dtype))
        S = Guarded(plan.n_scratch, dtype)
        for first, last in ((0, 16), (16, m)):
            from_python(gather.load_examples)(plan.rows, X.astype(dtype), order, 1, first, last, S.inside)
        S.assert_guards()
        chosen = X.astype(dtype)[order[1 : 1 + m]]
        if by_rows:
            rows = S.inside[source[A] :][: m * source[ROWS]].reshape(m, -1)
            np.testing.assert_array_equal(rows[:, :n], chosen)
            assert np.isnan(rows[:, n:]).all()
        else:
            np.testing.assert_array_equal(examples_in_blocks(S.inside, source, source[A], n, m), chosen)
            if units > NARROW_LAYER:
                np.testing.assert_array_equal(examples_in_panels(S.inside, source, n, m), chosen)


@pytest.mark.parametrize("dtype", DTYPES)
def test_class_numbers_are_loaded_as_a_1_among_zeros(dtype):
    for n, m in ((2, 1), (17, 65), (33, 100)):
        classes, one_hot = random_classes(m + 3, n)
        order = np.random.default_rng(0).permutation(m + 3)
        plan = make_plan((1, n), (True,), examples=m, backward=True)
        for targets in (classes[:, None].astype(dtype), one_hot.astype(dtype)):
            S = Guarded(plan.n_scratch, dtype)
            from_python(gather.load_targets)(plan.rows, targets, order, 3, 0, m, S.inside)
            S.assert_guards()
            output = plan.rows[1]
            np.testing.assert_array_equal(examples_in_blocks(S.inside, output, output[Y], n, m), one_hot[order[3:]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("units", "activations"), [((2100, 20, 1), ("tanh", "sigmoid")), ((2100, 3), ("softmax",))])
def test_gradients_of_a_wide_input(units, activations, dtype):
    if JIT_DISABLED:
        units = (70, *units[1:])
    for m in (1, 65) if JIT_DISABLED else (1, 17, 65, 209, 1000):
        check_gradients_and_cost(units, activations, None, m, 0.3, dtype)


@pytest.mark.jit
@pytest.mark.parametrize(("units", "m"), [((1024, 1024, 1024, 1), 513), ((2048, 2048, 1), 512), ((2, 4, 1), 400)])
def test_no_call_into_the_kernel_is_long(units, m, monkeypatch):
    """What a call is given to do follows the work, not the number of chunks, and one chunk is bounded."""
    model = make_model(units, ["tanh"] * (len(units) - 2) + ["sigmoid"], dtype="float32")
    run = raw_run(model, *random_data(m, units[0]), epochs=10**6)
    speed = 2e9 / model._built().operations  # examples per second, by a pretended clock: no machine's mood enters
    clock = {"now": 0.0}
    done = []

    def work(chunks):
        for _ in range(chunks):
            start = run.finished_examples
            stop = min(m, start + run.chunk)
            done[-1:] = [done[-1] + stop - start]
            run.position[:2] = (run.finished_epochs + (stop == m), stop % m)
        clock["now"] += done[-1] / speed

    monkeypatch.setattr(run, "work", work)
    monkeypatch.setattr("fastnet.engine.run.time.perf_counter", lambda: clock["now"])
    for _ in range(20):
        done.append(0)
        run.advance()
    assert max(done) <= max(speed * CALL_SECONDS * 1.01, run.chunk)
    assert 6 * sum(a * b for a, b in pairwise(units)) * run.chunk <= 2**33 or run.chunk == 64


def test_shuffle_gives_permutations_that_depend_on_key_and_epoch_alone():
    shuffle = from_python(gather.shuffle)
    seen = set()
    for key in (0, 1, 2**61):
        for epoch in (0, 1):
            order = np.full(209, -7)
            shuffle(order, key, epoch)
            again = np.arange(209)[::-1].copy()
            shuffle(again, key, epoch)
            np.testing.assert_array_equal(order, again)
            np.testing.assert_array_equal(np.sort(order), np.arange(209))
            seen.add(order.tobytes())
    assert len(seen) == 6


@pytest.mark.jit
def test_shuffle_is_uniform():
    """Every example is equally likely in every place: a chi-squared test, at a fixed seed."""
    shuffle, m, rounds = from_python(gather.shuffle), 10, 20_000
    counts, order = np.zeros((m, m)), np.empty(m, np.int64)
    for epoch in range(rounds):
        shuffle(order, 3, epoch)
        counts[np.arange(m), order] += 1
    expected = rounds / m
    statistic = ((counts - expected) ** 2 / expected).sum()
    degrees = (m - 1) ** 2
    assert abs(statistic - degrees) < 4 * np.sqrt(2 * degrees)


@pytest.mark.jit
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.01)])
def test_a_step_allocates_nothing(optimizer):
    """Neither on Python's heap nor on numba's, whether a run has ten steps or a thousand."""
    from numba.core.runtime import rtsys

    X, y = random_data(209, 7)
    model = make_model((7, 17, 5, 1), ("relu", "tanh", "sigmoid"), dtype="float32", optimizer=optimizer)
    peaks, allocations = [], []
    for many in (10, 1000):
        run = raw_run(model, X, y, batch_size=16, epochs=many)
        run.work(1)
        before = rtsys.get_allocation_stats()
        tracemalloc.start()
        run.work(10**6)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert run.done
        allocations.append(rtsys.get_allocation_stats().alloc - before.alloc)  # one for each array passed in
    assert allocations[1] == allocations[0] < 20
    assert peaks[1] <= peaks[0] + 256, peaks


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_signature_per_dtype_whatever_the_input(dtype):
    rng = np.random.default_rng(0)
    base = np.round(rng.standard_normal((40, 6)) * 8)
    y = (base[:, 0] > 0).astype(int)
    read_only = base.astype(dtype)
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"x" + base.astype(dtype).tobytes(), dtype, offset=1).reshape(base.shape)
    variants = [
        base.tolist(), base.astype(dtype), np.asfortranarray(base), np.repeat(base, 2, axis=1)[:, ::2],
        base[::-1].copy()[::-1],
        read_only, base.astype(np.int32), base.astype(np.float16), base.astype(">f8"), unaligned, base.astype(object),
    ]  # fmt: skip
    results = []
    for X in variants:
        model = make_model((6, 5, 1), ("tanh", "sigmoid"), dtype=dtype)
        before = np.array(X, dtype=float)
        model.fit(X, y, epochs=2, batch_size=16)
        results.append(model.forward(X).tobytes() + model.parameters.tobytes())
        np.testing.assert_array_equal(np.array(X, dtype=float), before)
    assert len(set(results)) == 1
    for factory in (train.make_train, predict.make_forward):
        assert len(jit.entry_point(factory, np.dtype(dtype)).signatures) == 1


def test_the_gate_copies_nothing_that_is_already_right():
    X = np.zeros((3, 2), np.float32)
    assert np.shares_memory(checks.examples(X, np.dtype("float32")), X)
    columns = np.zeros((2, 3), np.float32, order="F")
    assert np.shares_memory(checks.examples(columns.T, np.dtype("float32")), columns)
