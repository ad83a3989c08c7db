"""Gradients of the outputs with respect to the input: the reference's, central differences', and of the same bits."""

import re
import threading

import numpy as np
import pytest
import reference
from bounds import DTYPES, SEVEN_UNITS, TEN_BATCHES, assert_within, input_gradient_error
from compiled import make_model, random_data, reference_parameters, start_only
from conftest import JIT_DISABLED
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet import Dense, Dropout, LeakyReLU, Model, NotFittedError, Quantile
from fastnet.activations import ACTIVATIONS
from fastnet.engine import predict, threads
from fastnet.kernels.plan import LANES, WIDE_FROM

UNITS = (1, 17) if JIT_DISABLED else SEVEN_UNITS
BATCHES = (1, 65) if JIT_DISABLED else TEN_BATCHES
NETS = [
    ((), "sigmoid", None),
    (("tanh",), "sigmoid", None),
    (("relu",), "linear", None),
    (("linear", "leaky_relu"), "tanh", "mean_squared_error"),
    ((), "softmax", None),
    (("tanh", "relu"), "softmax", None),
    (("gelu", "softplus"), "mish", "mean_squared_error"),
    (("elu", LeakyReLU(0.2), "silu"), "sigmoid", None),
    (("mish", "selu"), "linear", "poisson"),
    (("tanh",), "linear", "quantiles"),
]
LEVELS = (0.05, 0.3, 0.5, 0.9, 0.95)


def outputs(last, n):
    """Return how many units the last layer has."""
    return n + 1 if last == "softmax" else 1 + n % 3


def net(units, activations, loss, dtype, **more):
    loss = Quantile(LEVELS[: units[-1]]) if loss == "quantiles" else loss
    return make_model(units, activations, loss=loss, dtype=dtype, scale=1 / np.sqrt(max(units)), **more)


def as_the_reference_has_them(model, activations):
    """Return the activations with the last one that the loss makes."""
    last = {"poisson": "exponential"}.get(model.loss if isinstance(model.loss, str) else "")
    if isinstance(model.loss, Quantile):
        last = "increasing"
    return [*activations[:-1], last or activations[-1]]


def check(units, activations, loss, m, dtype, spoil=1.0):
    """Compare all outputs, one of them, and what comes before the last activation."""
    model, X = net(units, activations, loss, dtype), random_data(m, units[0], seed=m)[0]
    eps, k = np.finfo(dtype).eps, m % units[-1]
    for logits in (False, True):
        names = [*activations[:-1], "linear"] if logits else as_the_reference_has_them(model, activations)
        _, caches = reference.forward(X.T, reference_parameters(model), names)
        found = model.input_gradients(X, logits=logits)
        assert found.dtype == dtype
        assert found.flags.c_contiguous
        assert found.shape == ((m, units[0]) if units[-1] == 1 else (m, units[-1], units[0]))
        found = found.reshape(m, units[-1], units[0])
        for output in range(min(units[-1], 3)):
            exact = reference.input_gradients(caches, names, output)
            errors = input_gradient_error(caches, names, output, eps)
            assert_within(found[:, output] * spoil, exact.T, errors.T, 1)
        np.testing.assert_array_equal(model.input_gradients(X, k, logits=logits), found[:, k])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("hidden", "last", "loss"), NETS)
@pytest.mark.parametrize("n", UNITS)
def test_they_are_the_references(n, hidden, last, loss, dtype):
    for m in BATCHES:
        check([n + 1, *(n for _ in hidden), outputs(last, n)], [*hidden, last], loss, m, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("hidden", "last", "loss"), NETS)
def test_the_bounds_would_notice_an_error_of_five_percent(hidden, last, loss, dtype):
    with pytest.raises(AssertionError, match="off by"):
        check([8, *(7 for _ in hidden), outputs(last, 7)], [*hidden, last], loss, 65, dtype, spoil=1.05)


@settings(max_examples=5 if JIT_DISABLED else 40)
@given(data=st.data())
def test_any_network(data):
    widths = st.integers(1, 12 if JIT_DISABLED else 70)
    units = data.draw(st.lists(widths, min_size=2, max_size=6))
    names = st.sampled_from([*(name for name in ACTIVATIONS if name != "softmax"), LeakyReLU(0.2)])
    activations, loss = [data.draw(names) for _ in units[1:]], "mean_squared_error"
    if units[-1] > 1 and data.draw(st.booleans()):
        activations[-1], loss = "softmax", "categorical_crossentropy"
    m = data.draw(st.integers(1, 20 if JIT_DISABLED else 200))
    check(units, activations, loss, m, data.draw(st.sampled_from(DTYPES)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [(WIDE_FROM + 3, 3), (WIDE_FROM + 3, 20, 3), (2, 1030, 1), (700, 600, 2)])
def test_wide_layers(units, dtype):
    if JIT_DISABLED:
        pytest.skip("slow in plain Python")
    for m in (1, 70):
        check(units, [*["tanh"] * (len(units) - 2), "sigmoid"], None, m, dtype)


@pytest.mark.parametrize(("hidden", "last", "loss"), NETS)
def test_they_equal_central_differences_of_the_predictions(hidden, last, loss):
    units = [4, *(6 for _ in hidden), 3]
    model, X, h = net(units, [*hidden, last], loss, "float64"), random_data(9, 4)[0], 1e-5
    found = model.input_gradients(X)
    for j in range(4):
        shift = np.zeros(4)
        shift[j] = h
        difference = (model.forward(X + shift) - model.forward(X - shift)) / (2 * h)
        np.testing.assert_allclose(found[:, :, j], difference, rtol=1e-6, atol=1e-8)


def test_dropout_is_off_and_training_goes_on():
    X, y = random_data(50, 4)
    plain, dropping = (
        Model([Dense(9, "relu"), *between, Dense(1, "sigmoid")], dtype="float64", seed=0)
        for between in ((), (Dropout(0.5),))
    )
    for model in (plain, dropping):
        model.build(4)
    np.testing.assert_array_equal(dropping.input_gradients(X), plain.input_gradients(X))
    before = plain.parameters.copy()
    plain.input_gradients(X)
    np.testing.assert_array_equal(plain.parameters, before)
    first = plain.input_gradients(X)
    plain.fit(X, y, epochs=1)
    assert (plain.input_gradients(X) != first).any()


def test_of_a_certain_answer_the_logits_still_have_gradients():
    model = make_model((3, 2), ("softmax",), scale=1.0, dtype="float32")
    model.layers[0].b = [[200.0], [0.0]]
    X, _ = random_data(5, 3)
    assert not model.input_gradients(X).any()
    np.testing.assert_array_equal(model.input_gradients(X, logits=True), np.tile(model.layers[0].W, (5, 1, 1)))


@pytest.fixture
def team_of_four(monkeypatch):
    """Make them worth four threads, which work in slices of LANES rows."""
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    monkeypatch.setattr(threads, "_limit", 4)
    monkeypatch.setattr(predict, "OPERATIONS_PER_THREAD", 1.0)
    monkeypatch.setattr(predict, "CALL_SECONDS", 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("hidden", "last", "loss"), NETS)
def test_a_row_has_the_same_bits_beside_others_and_by_several_threads(hidden, last, loss, dtype, team_of_four):
    model = net([17, *(17 for _ in hidden), 3], [*hidden, last], loss, dtype)
    X = random_data(130 if JIT_DISABLED else 1011, 17)[0]
    together = model.input_gradients(X)
    assert not threads._reserved
    for size in (1, 2, 7, 8, 33, LANES):
        for start in (0, 3, 60):
            some = slice(start, start + size)
            np.testing.assert_array_equal(model.input_gradients(X[some]), together[some])


def test_where_no_thread_can_be_started_one_does_it_all(team_of_four, monkeypatch):
    model, X = net([5, 7, 3], ["tanh", "softmax"], None, "float64"), random_data(300, 5)[0]
    expected = model.input_gradients(X)
    start_only(1, monkeypatch)
    np.testing.assert_array_equal(model.input_gradients(X), expected)


def test_many_outputs_of_a_large_network_are_found_some_at_a_time(monkeypatch):
    """A call of the kernel is then not long; nothing else tells."""
    model, X = net([5, 7, 12], ["tanh", "softmax"], None, "float32"), random_data(70, 5)[0]
    expected, of_some, calls = model.input_gradients(X), model.input_gradients(X, 11), []
    real = predict.in_slices
    monkeypatch.setattr(predict, "in_slices", lambda *all_: calls.extend(all_[4:]) or real(*all_))
    monkeypatch.setattr(predict, "MOST_OPERATIONS", 5 * LANES * model._built().operations / 3)
    np.testing.assert_array_equal(model.input_gradients(X), expected)
    assert calls == [(0, 5), (5, 5), (10, 2)]
    np.testing.assert_array_equal(model.input_gradients(X, 11), of_some)


def test_four_threads_at_once_find_what_one_does():
    model, X = net([9, 17, 3], ["gelu", "softmax"], None, "float32"), random_data(100, 9)[0]
    expected, wrong = model.input_gradients(X), []

    def work():
        times = range(3 if JIT_DISABLED else 30)
        wrong.extend(not np.array_equal(model.input_gradients(X), expected) for _ in times)

    others = [threading.Thread(target=work) for _ in range(4)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert not any(wrong)
    assert len(wrong) == 4 * (3 if JIT_DISABLED else 30)


@pytest.mark.parametrize(
    ("X", "output", "kind", "message"),
    [
        ([[1.0, 2.0]], 3, ValueError, "output must be from 0 to 2, as the last layer has them, not 3."),
        ([[1.0, 2.0]], -1, ValueError, "output must be at least 0, not -1."),
        ([[1.0, 2.0]], 1.0, TypeError, "output must be an integer of at least 0, not 1.0."),
        ([[1.0, 2.0]], True, TypeError, "output must be an integer of at least 0, not True."),
        ([[1.0]], None, ValueError, "X has 1 feature, but the first layer was built for 2."),
        ([[1.0, np.nan]], None, ValueError, "X has 1 non-finite value; the first is X[0, 1] = nan. "),
        ([1.0, 2.0], None, ValueError, "X must have 2 dimensions (m, n_x), "),
    ],
)
def test_what_is_wrong_is_said(X, output, kind, message):
    model = make_model((2, 3), ("softmax",))
    with pytest.raises(kind, match=re.escape(message)):
        model.input_gradients(X, output)
    with pytest.raises(NotFittedError):
        Model([Dense(1)]).input_gradients([[1.0]])
