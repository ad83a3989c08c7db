"""Training by models: gradients and costs against the reference, epochs in pieces, no allocation, one signature."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import reference
from bounds import DTYPES, SEVEN_UNITS, TEN_BATCHES, assert_within, network_errors
from compiled import make_model, random_classes, random_data, raw_run, reference_optimizer, reference_parameters
from conftest import JIT_DISABLED
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet import SGD, Adam, LeakyReLU, checks
from fastnet.activations import ACTIVATIONS
from fastnet.engine.run import CALL_SECONDS
from fastnet.losses import LOSSES

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
    (("tanh",), "linear", "huber"),
    (("silu",), "sigmoid", "mean_absolute_error"),
    (("relu",), "linear", "poisson"),
]


def outputs(last, n):
    """Return how many units the last layer has."""
    return n + 1 if last == "softmax" else 1 if n % 2 else 2


def check_gradients_and_cost(
    units, activations, loss, m, l2, dtype, spoil=1.0, *, l1=0.0, weights=None, batch_size=None, optimizer=None
):
    """Check them, what `forward` gives, the cost of an epoch in batches, and a step, against the reference."""
    model = make_model(units, activations, loss=loss, l2=l2, l1=l1, dtype=dtype, scale=1 / np.sqrt(max(units)))
    X, Y = random_data(m, units[0], units[-1], seed=m)
    y = Y
    if activations[-1] == "softmax":
        classes, Y = random_classes(m, units[-1], seed=m)
        y = classes if m % 2 else Y
    parameters = reference_parameters(model)
    A_L, caches = reference.forward(X.T, parameters, activations)
    exact = reference.backward(caches, Y.T, activations, model.loss, l2, l1, weights)
    errors = network_errors(caches, Y.T, activations, model.loss, l2, np.finfo(dtype).eps, l1, weights)
    for layer, (dW, db) in enumerate(model.gradients(X, y, weights), start=1):
        assert_within(dW * spoil, exact[f"dW{layer}"], errors.gradients[f"dW{layer}"], 1)
        assert_within(db * spoil, exact[f"db{layer}"], errors.gradients[f"db{layer}"], 1)
    cost = reference.compute_cost(caches, Y.T, parameters, model.loss, l2, l1, weights)
    assert_within(np.array(model.cost(X, y, weights) * spoil, dtype), np.float64(cost), errors.cost, 1)
    outputs = np.exp(A_L) if loss == "poisson" else A_L
    assert_within(model.forward(X) * spoil, outputs.T, errors.output.T, 1)
    if batch_size is not None:
        check_costs_of_batches(model, parameters, X, y, Y, weights, batch_size)
    if optimizer is not None:
        check_a_step(model, optimizer, parameters, exact, errors, X, y, weights)


def check_costs_of_batches(model, parameters, X, y, Y, weights, batch_size):
    """Check the mean of the costs of batches, of a fit whose learning rate is too low to change a parameter."""
    activations = [layer.activation for layer in model.layers]
    before, eps = model.parameters.copy(), np.finfo(model.dtype).eps
    model.optimizer = SGD(1e-30)
    found = model.fit(X, y, sample_weight=weights, epochs=1, batch_size=batch_size, shuffle=False).cost[0]
    np.testing.assert_array_equal(model.parameters, before)
    weights = np.ones(len(X)) if weights is None else weights
    cost = bound = 0.0
    for start in range(0, len(X), batch_size):
        batch = slice(start, start + batch_size)
        total = weights[batch].sum()
        if total:
            _, caches = reference.forward(X[batch].T, parameters, activations)
            arguments = caches, Y[batch].T
            cost += total * reference.compute_cost(
                *arguments, parameters, model.loss, model.l2, model.l1, weights[batch]
            )
            bound += (
                total
                * network_errors(*arguments, activations, model.loss, model.l2, eps, model.l1, weights[batch]).cost
            )
    assert_within(np.array(found, model.dtype), np.float64(cost / weights.sum()), bound / weights.sum(), 1)


def check_a_step(model, optimizer, parameters, gradients, errors, X, y, weights):
    """Check the parameters after a step of SGD: they are off by what the gradient is, and by their own rounding."""
    theirs = reference_optimizer(optimizer)
    after = {name: value.copy() for name, value in parameters.items()}
    theirs.update(after, gradients)
    model.optimizer = optimizer
    model.step(X, y, weights)
    most = optimizer.learning_rate * (1 + optimizer.momentum)
    for index, layer in enumerate(model.layers, start=1):
        for name, found in ((f"W{index}", layer.W), (f"b{index}", layer.b)):
            g = np.abs(gradients[f"d{name}"])
            magnitude = most * (errors.gradients[f"d{name}"] + 2 * g) + np.abs(parameters[name])
            assert_within(found, after[name], magnitude, 1)


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
        weighted = {"l1": 0.3, "weights": np.arange(m) % 3 + 1.0} if m % 2 else {}
        with pytest.raises(AssertionError, match="off by"):
            check_gradients_and_cost(units, [*hidden, last], loss, m, 0.0, dtype, spoil=1.05, **weighted)


@settings(max_examples=5 if JIT_DISABLED else 60)
@given(data=st.data())
def test_any_network(data):
    widths = st.integers(1, 12 if JIT_DISABLED else 70)
    units = data.draw(st.lists(widths, min_size=2, max_size=6))
    hidden = st.sampled_from([*(name for name in ACTIVATIONS if name != "softmax"), LeakyReLU(0.2)])
    activations = [data.draw(hidden) for _ in units[1:]]
    losses = [name for name in LOSSES if name != "categorical_crossentropy" or units[-1] > 1]
    loss = data.draw(st.sampled_from(losses))
    activations[-1] = LOSSES[loss].activation or activations[-1]
    m = data.draw(st.integers(1, 20 if JIT_DISABLED else 600))
    dtype = data.draw(st.sampled_from(DTYPES))
    weights = None
    if data.draw(st.booleans()):
        weights = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 9, m) / 4.0
        weights[data.draw(st.integers(0, m - 1))] = 1.0
    strengths = st.sampled_from([0.0, 1.5])
    check_gradients_and_cost(
        units, activations, loss, m, data.draw(strengths), dtype, l1=data.draw(strengths), weights=weights,
        batch_size=data.draw(st.integers(1, m)),
        optimizer=data.draw(st.sampled_from([SGD(0.5), SGD(0.25, 0.5), SGD(0.25, 0.5, nesterov=True)])),
    )  # fmt: skip


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
            run.progress["epoch"], run.progress["example"] = run.finished_epochs + (stop == m), stop % m
        clock["now"] += done[-1] / speed

    monkeypatch.setattr(run, "work", work)
    monkeypatch.setattr("fastnet.engine.run.time.perf_counter", lambda: clock["now"])
    for _ in range(20):
        done.append(0)
        run.advance()
    assert max(done) <= max(speed * CALL_SECONDS * 1.01, run.chunk)
    assert 6 * sum(a * b for a, b in pairwise(units)) * run.chunk <= 2**33 or run.chunk == 64


@pytest.mark.jit
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.01)])
def test_a_step_allocates_nothing(optimizer):
    """Neither on Python's heap nor on numba's, whether a run has ten steps or a thousand."""
    from numba.core.registry import cpu_target
    from numba.core.runtime import rtsys

    rtsys.initialize(cpu_target.target_context)  # which counts; where all code came from the store, nothing else does
    X, y = random_data(209, 7)
    model = make_model((7, 17, 5, 1), ("relu", "tanh", "sigmoid"), dtype="float32", optimizer=optimizer)
    peaks, allocations = [], []
    for many in (10, 1000):
        run = raw_run(model, X, y, batch_size=16, epochs=many)
        run.work(1)
        run._set_rates(many)  # as a call does, for all of its epochs, before the kernel
        before = rtsys.get_allocation_stats()
        tracemalloc.start()
        run.work(10**6)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert run.done
        allocations.append(rtsys.get_allocation_stats().alloc - before.alloc)  # one for each array passed in
    assert allocations[1] == allocations[0] < 20
    assert peaks[1] < peaks[0] + 1000, peaks  # less than a byte for each epoch


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_signature_per_dtype_whatever_the_input(dtype, monkeypatch):
    """Of each part that a fit and a prediction have made."""
    parts = {}
    monkeypatch.setattr("fastnet.kernels.build.load._addresses", parts)
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
    assert {str(of_dtype) for _, of_dtype, _ in parts} == {dtype}
    assert {"train", "predict", "forward", "backward", "gather"} <= {name for name, _, _ in parts}


def test_the_gate_copies_nothing_that_is_already_right():
    X = np.zeros((3, 2), np.float32)
    assert np.shares_memory(checks.examples(X, np.dtype("float32")), X)
    columns = np.zeros((2, 3), np.float32, order="F")
    assert np.shares_memory(checks.examples(columns.T, np.dtype("float32")), columns)
