"""Quantiles through the model: costs, gradients and predictions, that they cover what they should and never cross."""

import numpy as np
import pytest
import reference
from bounds import DTYPES, SEVEN_UNITS, TEN_BATCHES, assert_within, network_errors
from compiled import make_model, random_data, reference_parameters
from conftest import JIT_DISABLED

from fastnet import Adam, CosineDecay, Dense, Dropout, Model, Quantile

LEVELS = (0.05, 0.3, 0.5, 0.9, 0.95)
UNITS = (1, 17) if JIT_DISABLED else SEVEN_UNITS
BATCHES = (1, 65) if JIT_DISABLED else TEN_BATCHES


def check_gradients_and_cost(units, activations, loss, m, l2, dtype, spoil=1.0):
    """`activations`, of which the last may be "increasing", are the reference's."""
    names = [name if name != "increasing" else "linear" for name in activations]
    model = make_model(units, names, loss=loss, l2=l2, dtype=dtype, scale=1 / np.sqrt(max(units)))
    X, _ = random_data(m, units[0], seed=m)
    y = random_data(m, 1 if activations[-1] == "increasing" else units[-1], seed=m + 1)[0]
    parameters = reference_parameters(model)
    A_L, caches = reference.forward(X.T, parameters, activations)
    exact = reference.backward(caches, y.T, activations, loss, l2)
    errors = network_errors(caches, y.T, activations, loss, l2, np.finfo(dtype).eps)
    for layer, (dW, db) in enumerate(model.gradients(X, y), start=1):
        assert_within(dW * spoil, exact[f"dW{layer}"], errors.gradients[f"dW{layer}"], 1)
        assert_within(db * spoil, exact[f"db{layer}"], errors.gradients[f"db{layer}"], 1)
    cost = reference.compute_cost(caches, y.T, parameters, loss, l2)
    assert_within(np.array(model.cost(X, y) * spoil, dtype), np.float64(cost), errors.cost, 1)
    assert_within(model.forward(X) * spoil, A_L.T, errors.output.T, 1)


NETS = [
    ((), "linear"),
    (("tanh",), "linear"),
    (("relu", "gelu"), "tanh"),
    ((), "increasing"),
    (("tanh",), "increasing"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("hidden", "last"), NETS)
@pytest.mark.parametrize("n", UNITS)
def test_gradients_costs_and_predictions(n, hidden, last, dtype):
    for m in BATCHES:
        outputs = 1 + m % 5 if last == "increasing" else 1 + n % 2
        loss = Quantile(LEVELS[:outputs] if last == "increasing" else 0.8)
        units = [n + 1, *(n for _ in hidden), outputs]
        check_gradients_and_cost(units, [*hidden, last], loss, m, 0.3 * (m % 2), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("hidden", "last"), NETS)
def test_the_bounds_would_notice_an_error_of_five_percent(hidden, last, dtype):
    loss = Quantile(LEVELS[:3] if last == "increasing" else 0.8)
    units = [8, *(7 for _ in hidden), 3 if last == "increasing" else 1]
    with pytest.raises(AssertionError, match="off by"):
        check_gradients_and_cost(units, [*hidden, last], loss, 65, 0.0, dtype, spoil=1.05)


@pytest.mark.parametrize("loss", [Quantile(0.9), Quantile(LEVELS)])
def test_gradients_equal_central_differences(loss):
    X, _ = random_data(20, 3)
    y = random_data(20, 1, seed=1)[0]
    model = Model([Dense(5, "tanh"), Dense(5 if loss.q == LEVELS else 1)], loss=loss, seed=0)
    assert model.check_gradients(X, y).ok
    assert model.check_gradients(X, y[:, 0], np.arange(20.0)).ok


def test_the_median_is_half_of_the_absolute_error():
    X, _ = random_data(65, 3)
    y = random_data(65, 2, seed=1)[0]
    half, whole = (
        make_model((3, 5, 2), ("tanh", "linear"), loss=loss) for loss in (Quantile(0.5), "mean_absolute_error")
    )
    np.testing.assert_allclose(half.cost(X, y), whole.cost(X, y) / 2, rtol=1e-14)
    for (dW, db), (dW_whole, db_whole) in zip(half.gradients(X, y), whole.gradients(X, y), strict=True):
        np.testing.assert_allclose(dW, dW_whole / 2, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(db, db_whole / 2, rtol=1e-12, atol=1e-15)


def test_one_quantile_in_a_sequence_is_that_quantile():
    X, _ = random_data(65, 3)
    y = random_data(65, 1, seed=1)[0]
    alone, listed = (make_model((3, 5, 1), ("tanh", "linear"), loss=Quantile(q)) for q in (0.7, [0.7]))
    for model in (alone, listed):
        model.fit(X, y, epochs=3)
    np.testing.assert_array_equal(alone.parameters, listed.parameters)
    assert listed.predict(X).shape == (65,)


def heteroscedastic(m, seed):
    """Return X (m, 2), y, and the quantiles of y given X at LEVELS (m, 5): noise whose spread is that of a factor 6."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (m, 2))
    spread, middle = 0.35 + 0.25 * X[:, 0], np.sin(3 * X[:, 1])
    y = middle + spread * rng.standard_normal(m)
    normal = np.array([-1.6448536, -0.5244005, 0.0, 1.2815516, 1.6448536])
    return X, y, middle[:, None] + spread[:, None] * normal


@pytest.mark.jit
@pytest.mark.parametrize("q", [0.1, 0.9])
def test_of_examples_held_out_as_many_lie_below_as_should(q):
    """Where the spread is small and where it is large alike."""
    (X, y, _), (X_new, y_new, exact) = heteroscedastic(10_000, 0), heteroscedastic(20_000, 1)
    model = Model([Dense(32, "tanh"), Dense(32, "tanh"), Dense(1)], Quantile(q), Adam(CosineDecay(0.01, 20)), seed=0)
    model.fit(X, y, epochs=20, batch_size=64)
    below = y_new <= model.predict(X_new)
    assert abs(below.mean() - q) < 0.02
    for part in (X_new[:, 0] < 0, X_new[:, 0] > 0):
        assert abs(below[part].mean() - q) < 0.03
    if q == 0.9:
        assert np.abs(model.predict(X_new) - exact[:, 3]).mean() < 0.1


@pytest.mark.jit
def test_several_quantiles_are_learnt_at_once_and_never_cross():
    (X, y, _), (X_new, y_new, exact) = heteroscedastic(10_000, 0), heteroscedastic(20_000, 1)
    model = Model(
        [Dense(32, "tanh"), Dense(32, "tanh"), Dense(5)], Quantile(LEVELS), Adam(CosineDecay(0.01, 20)), seed=0
    )
    history = model.fit(X, y, epochs=20, batch_size=64, validation_split=0.1, metrics=("mae",))
    assert history.val_cost[-1] < history.val_cost[0]
    found = model.predict(X_new)
    assert found.shape == (20_000, 5)
    np.testing.assert_allclose((y_new[:, None] <= found).mean(axis=0), LEVELS, atol=0.02)
    assert np.abs(found - exact).mean() < 0.1
    far = np.random.default_rng(0).standard_normal((20_000, 2)) * 1e3
    assert (np.diff(model.predict(np.vstack([X_new, far])), axis=1) >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_by_any_number_of_threads_in_pieces_and_row_by_row(dtype):
    X, y, _ = heteroscedastic(300 if JIT_DISABLED else 2600, 0)
    results = []
    for threads in (1, 2, 3):
        layers = [Dense(20, "tanh"), Dropout(0.2), Dense(3)]
        model = Model(layers, Quantile([0.1, 0.5, 0.9]), Adam(0.01), dtype=dtype, seed=0)
        history = model.fit(X, y, epochs=2, batch_size=None, sample_weight=1 + np.arange(len(y)) % 3, threads=threads)
        results.append((model.parameters.tobytes(), np.array(history.cost).tobytes()))
    assert results[0] == results[1] == results[2]
    together = model.forward(X)
    for i in range(0, 30, 3):
        np.testing.assert_array_equal(model.forward(X[i : i + 3]), together[i : i + 3])


def test_random_parameters_do_not_make_them_cross():
    X, _ = random_data(300, 4)
    for seed in range(5):
        model = make_model((4, 9, 5), ("relu", "linear"), loss=Quantile(LEVELS), dtype="float32", seed=seed, scale=5.0)
        assert (np.diff(model.forward(X), axis=1) >= 0).all()


def test_metrics_are_means_over_the_quantiles():
    X, y, _ = heteroscedastic(100, 0)
    model = make_model((2, 5, 3), ("tanh", "linear"), loss=Quantile([0.1, 0.5, 0.9]))
    found, errors = model.evaluate(X, y, ("mae", "mse", "r2")), model.forward(X) - y[:, None]
    np.testing.assert_allclose(found["mae"], np.abs(errors).mean(), rtol=1e-12)
    np.testing.assert_allclose(found["mse"], (errors**2).mean(), rtol=1e-12)
    np.testing.assert_allclose(found["r2"], 1 - (errors**2).mean() / y.var(), rtol=1e-10)
    assert model.diagnose(X, y).layers[1].gradient_mean is not None
