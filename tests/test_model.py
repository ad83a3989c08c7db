"""The public API, by what it returns."""

import copy
import pickle

import numpy as np
import pytest
from compiled import make_model, random_data

from fastnet import SGD, Dense, LeakyReLU, Model, Normal, Standardize, TrainingDivergedError
from fastnet.initializers import INITIALIZERS

X, Y = random_data(65, 4)


def test_parameters_are_one_vector_and_layers_hold_views_of_it():
    model = make_model((4, 3, 2), ("relu", "linear"), dtype="float32")
    assert model.parameters.shape == (3 * 4 + 3 + 2 * 3 + 2,)
    assert model.parameters.dtype == np.float32
    first, second = model.layers
    assert (first.W.shape, first.b.shape, second.W.shape, second.b.shape) == ((3, 4), (3, 1), (2, 3), (2, 1))
    for view in (first.W, first.b, second.W, second.b):
        assert np.shares_memory(view, model.parameters)
        assert view.flags.writeable
    model.parameters[:] = np.arange(23)
    np.testing.assert_array_equal(first.W, np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(second.b.ravel(), [21, 22])
    first.W = np.full((3, 4), 7)
    second.W[0, 0] = -1
    np.testing.assert_array_equal(model.parameters[:12], 7)
    assert model.parameters[15] == -1
    assert model.parameters.ctypes.data % 64 == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_of_one_sigmoid(dtype):
    model = make_model((4, 3, 1), ("relu", "sigmoid"), dtype=dtype, scale=1)
    A = model.forward(X)
    assert A.shape == (65, 1)
    assert A.dtype == dtype
    np.testing.assert_array_equal(model.predict(X), A[:, 0] > 0.5)
    assert model.predict(X).dtype == np.intp
    probabilities = model.predict_proba(X)
    assert probabilities.dtype == dtype
    np.testing.assert_array_equal(probabilities[:, 1], A[:, 0])
    np.testing.assert_array_equal(probabilities.sum(axis=1), 1)


def test_predictions_of_several_sigmoids_and_of_linear_outputs():
    several = make_model((4, 3), ("sigmoid",), scale=1)
    assert several.predict_proba(X).shape == several.predict(X).shape == (65, 3)
    np.testing.assert_array_equal(several.predict(X), several.forward(X) > 0.5)
    one, two = make_model((4, 1), ("linear",), scale=1), make_model((4, 2), ("linear",), scale=1)
    np.testing.assert_array_equal(one.predict(X), one.forward(X)[:, 0])
    np.testing.assert_array_equal(two.predict(X), two.forward(X))


def test_evaluate():
    model = make_model((4, 3, 1), ("relu", "sigmoid"), scale=1)
    results = model.evaluate(X, Y)
    assert results == model.evaluate(X, Y, metrics="accuracy")
    assert results == {"cost": model.cost(X, Y), "accuracy": np.mean(model.predict(X) == Y[:, 0])}
    assert model.evaluate(X, Y, metrics=()) == {"cost": results["cost"]}
    assert isinstance(results["cost"], float)
    regression = make_model((4, 1), ("linear",))
    assert regression.evaluate(X, Y) == {"cost": regression.cost(X, Y)}


def test_fit_builds_and_build_starts_anew():
    model = Model([Dense(3, "tanh"), Dense(1, "sigmoid")], seed=0, dtype="float64")
    model.fit(X, Y, epochs=1)
    trained = model.parameters.copy()
    model.build(4)
    again = model.parameters.copy()
    assert not np.array_equal(again, trained)
    model.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(model.parameters, trained)
    unbuilt = Model([Dense(1, "sigmoid")], seed=0)
    unbuilt.step(X, Y)
    assert unbuilt.layers[0].W.shape == (1, 4)
    unbuilt = Model([Dense(1, "sigmoid")], seed=0)
    assert unbuilt.check_gradients(X, Y).ok


def test_a_layer_belongs_to_one_model():
    layers = [Dense(3, "tanh"), Dense(1, "sigmoid")]
    first, second = Model(layers, seed=0), Model(layers, seed=1)
    first.build(4)
    before = first.parameters.copy()
    with pytest.raises(ValueError, match=r"layers\[0\] belongs to another model already"):
        second.fit(X, Y)
    np.testing.assert_array_equal(layers[0].W.ravel(), before[:12])
    first.build(4)


def test_a_layer_of_another_model_is_named_by_its_place_among_all():
    layer = Dense(1)
    Model([layer]).build(2)
    with pytest.raises(ValueError, match=r"layers\[1\] belongs to another model already"):
        Model([Standardize(), layer]).build(2)


def test_losses_are_chosen_by_the_last_activation():
    assert Model([Dense(1, "sigmoid")]).loss == "binary_crossentropy"
    assert Model([Dense(1)]).loss == "mean_squared_error"
    assert Model([Dense(1, "tanh")], loss="mean_squared_error").loss == "mean_squared_error"
    assert Model([Dense(1, "sigmoid")], loss="mean_squared_error").loss == "mean_squared_error"


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("zeros", 0), ("he_normal", 2 / 300), ("he_uniform", 2 / 300), ("glorot_normal", 2 / 500),
        ("glorot_uniform", 2 / 500), ("lecun_normal", 1 / 300),
    ],
)  # fmt: skip
def test_initializers(name, variance):
    W = INITIALIZERS[name]((200, 300), np.random.default_rng(0))
    assert W.shape == (200, 300)
    assert abs(W.mean()) < 4 * np.sqrt(variance / W.size) + 1e-12
    np.testing.assert_allclose(W.var(), variance, rtol=0.02)
    if name.endswith("uniform"):
        assert np.abs(W).max() <= np.sqrt(3 * variance)


def test_default_initializers_and_zero_biases():
    model = Model([Dense(200, "relu"), Dense(300, "tanh"), Dense(100, initializer=Normal(0.01))], seed=0)
    model.build(400)
    variances = [float(layer.W.var()) for layer in model.layers]
    np.testing.assert_allclose(variances, [2 / 400, 2 / 500, 1e-4], rtol=0.03)
    family = [Dense(300, name) for name in ("leaky_relu", LeakyReLU(0.2), "elu", "gelu", "silu", "mish")]
    others = [Dense(300, name) for name in ("selu", "softplus", "sigmoid", "tanh", "linear")]
    both = Model([*family, *others], loss="mean_squared_error", seed=0)
    both.build(100)
    expected = [2 / 100] + [2 / 300] * 5 + [1 / 300] * 5
    np.testing.assert_allclose([float(layer.W.var()) for layer in both.layers], expected, rtol=0.03)
    assert all((layer.b == 0).all() for layer in model.layers)
    double = Model([Dense(200, "relu")], loss="mean_squared_error", seed=0, dtype="float64")
    double.build(400)
    np.testing.assert_array_equal(model.layers[0].W, double.layers[0].W.astype(np.float32))


def test_summary():
    model = Model([Dense(64, "relu"), Dense(32, "relu", use_bias=False), Dense(1, "sigmoid")])
    assert "(64, n_x)" in model.summary()
    assert model.summary().endswith("not built yet, float32, loss binary_crossentropy")
    model.build(30)
    assert model.summary() == (
        "layer  activation  W         b        Z, A     parameters\n"
        "-----  ----------  --------  -------  -------  ----------\n"
        "1      relu        (64, 30)  (64, 1)  (64, m)  1984\n"
        "2      relu        (32, 64)  -        (32, m)  2048\n"
        "3      sigmoid     (1, 32)   (1, 1)   (1, m)   33\n"
        "4065 parameters, float32, loss binary_crossentropy"
    )
    assert repr(model) == (
        "Model([Dense(64, 'relu'), Dense(32, 'relu'), Dense(1, 'sigmoid')], loss='binary_crossentropy', "
        "dtype='float32')"
    )


@pytest.mark.jit
def test_an_interrupt_is_answered_and_leaves_a_usable_model():
    """Ctrl-C after 0.2 s of a fit that would take minutes."""
    import signal
    import time

    X, y = random_data(4096, 64)
    model = make_model((64, 256, 256, 1), ("tanh", "tanh", "sigmoid"), dtype="float32", learning_rate=0.01)
    model.fit(X, y, epochs=1)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, epochs=10_000, batch_size=None)
    assert time.perf_counter() - start < 30, "not answered before the epochs were over"
    assert model.history.stopped_reason == "interrupted"
    assert 0 < model.history.epochs < 10_000
    assert np.isfinite(model.cost(X, y))
    model.fit(X, y, epochs=1)


def test_models_and_errors_pickle():
    model = make_model((4, 3, 1), ("relu", "sigmoid"), dtype="float32")
    error = TrainingDivergedError("no", epoch=1, batch=2, layer=3, kind="gradient")
    same = pickle.loads(pickle.dumps(error))
    assert (str(same), same.epoch, same.batch, same.layer, same.kind) == ("no", 1, 2, 3, "gradient")
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        np.testing.assert_array_equal(twin.forward(X), model.forward(X))
        twin.layers[0].W[:] = 0
        assert (twin.parameters[:12] == 0).all()
        assert np.shares_memory(model.layers[0].W, model.parameters)
        assert not np.shares_memory(twin.parameters, model.parameters)


def test_sgd_defaults():
    assert SGD().learning_rate == Model([Dense(1)]).optimizer.learning_rate == 0.01


def test_names_and_manners_of_other_libraries():
    one, other = (Model([Dense(1, "sigmoid")], **{name: 3}) for name in ("seed", "random_state"))
    assert one.build(4) is one
    np.testing.assert_array_equal(one.parameters, other.build(4).parameters)
    assert other.seed == 3
    with pytest.raises(ValueError, match="seed and random_state are two names of one setting"):
        Model([Dense(1)], seed=1, random_state=1)
    y = (X[:, 0] > 0).astype(int)
    assert one.fit(X, y, 3).epochs == 3
    with pytest.raises(TypeError, match="positional"):
        one.fit(X, y, 3, 32)
