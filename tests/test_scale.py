"""`Scale`, a learned factor for each input, and rate factors by layer and kind, against the reference."""

import copy
import re

import numpy as np
import pytest
import reference
from bounds import DTYPES
from compiled import assert_equal_training, dense, random_classes, random_data

import fastnet
from fastnet import SGD, Adam, AdamW, Checkpoint, Dense, EarlyStopping, Model, RMSprop, Scale, Standardize

OPTIMIZERS = [SGD(0.05, momentum=0.5), RMSprop(0.002), Adam(0.002, 0.8, 0.95, 1e-5), AdamW(0.002, weight_decay=0.1)]
OF_REFERENCE = {
    SGD: lambda rate: reference.SGD(0.05 * rate, 0.5),
    RMSprop: lambda rate: reference.RMSprop(0.002 * rate),
    Adam: lambda rate: reference.Adam(0.002 * rate, 0.8, 0.95, 1e-5),
    AdamW: lambda rate: reference.AdamW(0.002 * rate, 0.9, 0.999, 1e-8, 0.1),
}
RATES = {"W1": 0.3, "b1": 0.1, "W2": 1.0, "b2": 0.0, "W3": 2.0, "b3": 1.0}


def network(units=(7, 17, 5, 1), activations=("tanh", "relu", "sigmoid"), *, scale=True, rates=None, **settings):
    """Return a model with those rates, and W and b other than zero."""
    rates = rates or {}
    layers = [
        Dense(n, g, learning_rate=rates.get(f"W{i}", 1.0), bias_learning_rate=rates.get(f"b{i}", 1.0))
        for i, (n, g) in enumerate(zip(units[1:], activations, strict=True), start=1)
    ]
    settings = {"optimizer": Adam(0.02), "dtype": "float64", "seed": 0} | settings
    model = Model([Scale(), *layers] if scale else layers, **settings).build(units[0])
    model.parameters[:] = np.random.default_rng(1).normal(size=len(model.parameters)) * 0.3
    return model


@pytest.mark.parametrize("l2", [0.0, 0.4])
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: type(each).__name__)
def test_training_equals_the_reference(optimizer, scale, batch_size, l2):
    X, y = random_data(65, 7)
    model = network(optimizer=optimizer, rates=RATES, scale=scale, l2=l2)
    make, factors = OF_REFERENCE[type(optimizer)], {"factors_of": 7} if scale else {"factors_of": None}
    expected = reference.WithRates(make, RATES | {"s": 6.0}, **factors)
    units, activations = [7, 17, 5, 1], ["tanh", "relu", "sigmoid"]
    assert_equal_training(
        model, units, activations, X, y, epochs=3, batch_size=batch_size, l2=l2, optimizer=expected, rtol=1e-8
    )


@pytest.mark.jit
@pytest.mark.parametrize("batch_size", [33, 1100])
def test_a_large_network_equals_the_reference(batch_size):
    """Of so many parameters that steps would be taken along with the gradients, and of batches of several chunks."""
    units, activations = (60, 300, 70, 3), ("relu", "tanh", "softmax")
    X, _ = random_data(1100, 60)
    _, y = random_classes(1100, 3)
    expected = reference.WithRates(lambda rate: reference.Adam(0.002 * rate), RATES | {"s": 6.0}, 60)
    model = network(units, activations, optimizer=Adam(0.002), rates=RATES)
    assert_equal_training(
        model, list(units), list(activations), X, y, epochs=2, batch_size=batch_size, optimizer=expected, rtol=1e-6
    )


def test_a_clipped_gradient_is_clipped_before_it_is_divided():
    X, y = random_data(33, 7)
    model = network(optimizer=SGD(0.5, clip_norm=0.05))
    expected = network(optimizer=SGD(0.5, clip_norm=None))
    gradients = expected.gradients(X, y)
    norm = np.sqrt(sum((g**2).sum() for pair in gradients for g in pair))
    assert norm > 0.05
    W, dW = dense(model)[0].W.copy(), gradients[0][0] * 0.05 / (norm + 1e-6)
    model.step(X, y)
    U, s = W - 0.5 * dW, 1 - 0.5 * 6 * (W * dW).sum(axis=0)
    np.testing.assert_allclose(dense(model)[0].W, U * s, rtol=1e-12)


def test_l1_is_of_the_weights_with_their_factors():
    X, y = random_data(33, 7)
    model, expected = network(optimizer=SGD(0.5), l1=0.7), network(optimizer=SGD(0.5), l1=0.7)
    W, dW = dense(model)[0].W.copy(), expected.gradients(X, y)[0][0]
    model.step(X, y)
    np.testing.assert_allclose(dense(model)[0].W, (W - 0.5 * dW) * (1 - 3 * (W * dW).sum(axis=0)), rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "units", "batch_size"), [(70, (7, 17, 1), 16), (2100, (5, 4, 1), None)])
@pytest.mark.parametrize("scale", [True, False])
def test_any_threads_give_the_same_bits(scale, m, units, batch_size, dtype):
    """Also where each thread has chunks of its own."""
    X, y = random_data(m, units[0])
    found = []
    for threads in (1, 2, 3):
        model = network(units, ("tanh", "sigmoid"), scale=scale, rates={"W1": 0.5, "b2": 0.1}, dtype=dtype)
        model.fit(X, y, epochs=3, batch_size=batch_size, threads=threads)
        found.append(model.parameters.copy())
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_a_rate_of_zero_lets_parameters_be():
    X, y = random_data(33, 7)
    frozen = [Dense(5, "tanh", learning_rate=0, bias_learning_rate=0.0), Dense(1, "sigmoid")]
    model = Model(frozen, optimizer=Adam(0.1), seed=0).build(7)
    W, b, last = (array.copy() for array in (frozen[0].W, frozen[0].b, frozen[1].W))
    model.fit(X, y, epochs=3)
    np.testing.assert_array_equal(frozen[0].W, W)
    np.testing.assert_array_equal(frozen[0].b, b)
    assert (last != frozen[1].W).all()


def test_training_goes_on_with_the_factors_across_fits_files_and_copies(tmp_path):
    X, y = random_data(65, 7)
    whole, parts = network(), network()
    whole.fit(X, y, epochs=6)
    parts.fit(X, y, epochs=2)
    parts = copy.deepcopy(parts)
    parts.fit(X, y, epochs=2)
    parts.save(tmp_path / "model.fastnet")
    parts = fastnet.load(tmp_path / "model.fastnet")
    assert repr(parts) == repr(whole)
    parts.fit(X, y, epochs=2)
    np.testing.assert_array_equal(parts.parameters, whole.parameters)


def test_a_killed_fit_goes_on_to_the_bit(tmp_path):
    X, y = random_data(65, 7)
    whole, begun, resumed = network(), network(), network()
    whole.fit(X, y, epochs=5)
    begun.fit(X, y, epochs=3, callbacks=Checkpoint(tmp_path, most_time=1.0))
    resumed.fit(X, y, epochs=5, callbacks=Checkpoint(tmp_path), resume=tmp_path)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)


def factors(model):
    """Return U diag(s) and W of the first layer, and s."""
    network = model._built()
    _, factored = model._optimizer_state.divided(network.n_parameters, network.n_factored)
    n, n_x = dense(model)[0].W.shape
    U, s = factored[0, : n * n_x].reshape(n, n_x), factored[0, n * n_x :]
    return U * s, dense(model)[0].W, s


def test_who_sets_the_weights_begins_with_factors_of_one():
    X, y = random_data(33, 7)
    model = network()
    model.fit(X, y, epochs=20)
    model.step(X, y)
    product, W, s = factors(model)
    np.testing.assert_array_equal(product, W)
    far = np.abs(s - 1).max()
    dense(model)[0].W = np.ones((17, 7))
    model.step(X, y)
    product, W, s = factors(model)
    np.testing.assert_array_equal(product, W)
    assert np.abs(s - 1).max() <= 0.02 * 6 * 1.01 < far


def test_a_callback_may_set_the_weights():
    """A fit whose callback sets W after each epoch is the same as fits of one epoch with W set in between."""
    X, y = random_data(33, 7)

    def halve(model, epoch, logs):
        dense(model)[0].W *= 0.5

    found, expected = network(), network()
    found.fit(X, y, epochs=3, callbacks=halve)
    for _ in range(3):
        expected.fit(X, y, epochs=1)
        halve(expected, 0, {})
    np.testing.assert_array_equal(found.parameters, expected.parameters)


def test_the_best_epoch_comes_back_and_predicts():
    X, y = random_data(65, 7)
    model = network(optimizer=Adam(0.3))
    history = model.fit(X, y, epochs=30, validation_split=0.3, callbacks=EarlyStopping(patience=4))
    assert history.kept_epoch < history.epochs - 1
    again = network(optimizer=Adam(0.3))
    again.fit(X, y, epochs=history.kept_epoch + 1, validation_split=0.3)
    np.testing.assert_array_equal(again.forward(X), model.forward(X))


def test_divergence_leaves_finite_weights_and_the_factors_that_they_have():
    X, y = random_data(65, 7)
    model = network(optimizer=SGD(lambda epoch: 0.1 if epoch < 3 else 1e200))
    with pytest.raises(fastnet.TrainingDivergedError):
        model.fit(X, y, epochs=9)
    assert np.isfinite(model.parameters).all()
    product, W, s = factors(model)
    np.testing.assert_array_equal(product, W)
    assert (s != 1).all()


def test_it_stands_after_standardize_and_shows_itself():
    X, y = random_data(33, 7)
    model = Model([Standardize(), Scale(3), Dense(2, "tanh"), Dense(1, "sigmoid")], seed=0)
    model.fit(100 * X, y, epochs=2)
    assert "Scale(3)" in repr(model)
    assert "scale " in str(model.summary())


@pytest.mark.parametrize(
    "layers",
    [
        [Dense(2), Scale(), Dense(1)], [Scale()], [Scale(), Scale(), Dense(1)], [Dense(1), Scale()],
        [Scale(), Standardize(), Dense(1)],
    ],
)  # fmt: skip
def test_it_stands_right_before_the_first_dense_layer(layers):
    with pytest.raises(ValueError, match=r"must (stand right before the first Dense|be the first of several)"):
        Model(layers)


@pytest.mark.parametrize(
    "make", [Scale, lambda rate: Dense(1, learning_rate=rate), lambda rate: Dense(1, bias_learning_rate=rate)]
)
def test_a_rate_is_a_number_of_at_least_zero(make):
    for rate in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="learning_rate must be"):
            make(rate)
    with pytest.raises(TypeError, match="learning_rate must be"):
        make("fast")


@pytest.mark.parametrize("rate", [1e39, 1e-50])
@pytest.mark.parametrize(
    "layers",
    [
        lambda rate: [Scale(rate), Dense(1)],
        lambda rate: [Dense(1, learning_rate=rate)],
        lambda rate: [Dense(1, bias_learning_rate=rate)],
    ],
)
def test_a_rate_that_the_dtype_does_not_hold_is_refused(layers, rate):
    message = f"learning_rate must be in the range of float32, but {re.escape(repr(rate))} is"
    with pytest.raises(ValueError, match=message):
        Model(layers(rate))
    Model(layers(rate), dtype="float64")


def test_without_factors_files_are_as_before(tmp_path):
    X, y = random_data(33, 7)
    model = network(scale=False)
    model.fit(X, y, epochs=1)
    arrays, _ = model._saved("fastnet model", 1)
    assert "factored" not in arrays


def test_exports_are_those_of_the_network_without_factors(tmp_path):
    pytest.importorskip("onnx")
    X, y = random_data(33, 7)
    model, plain = network(dtype="float32"), network(dtype="float32", scale=False)
    model.fit(X, y, epochs=2)
    plain.parameters[:] = model.parameters
    for each, name in ((model, "factors"), (plain, "plain")):
        each.to_onnx(tmp_path / f"{name}.onnx")
    assert (tmp_path / "factors.onnx").read_bytes() == (tmp_path / "plain.onnx").read_bytes()
    np.testing.assert_array_equal(model.forward(X), plain.forward(X))
