"""Dropout: which outputs are dropped, what that does to training, and that nothing else notices."""

import numpy as np
import pytest
import reference
from bounds import DTYPES
from compiled import Chunk, make_model, part, random_data, raw_run, reference_parameters

from fastnet import SGD, Adam, Dense, Dropout, LeakyReLU, Model
from fastnet.kernels import dropout
from fastnet.kernels.blocks import BOUNDS_CHECKED
from fastnet.kernels.ir import random

RATE = 0.3
HIDDEN = ["linear", "sigmoid", "tanh", "relu", LeakyReLU(0.2), "elu", "selu", "softplus", "gelu", "silu", "mish"]


bits = random._random_bits_fallback  # in plain Python, whether the JIT is on or not


def stream_of(key, number):
    return bits(key, number) << 31 ^ bits(~key, number)


def scales(model, layer, n, examples, *, epoch=0, rate=RATE):
    """Return what dropout multiplies A (n, examples) of a layer by, drawn one by one as the kernels' source says."""
    stream = stream_of(stream_of(~model._key, epoch), layer)
    drawn = np.array([[bits(stream, (r << dropout.EXAMPLE_BITS) + e) for e in range(examples)] for r in range(n)])
    return np.where(drawn >= int(rate * 2**32), 1 / (1 - rate), 0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "first", "stop"), [(9, 0, 9), (70, 16, 70), (130, 64, 128)])
def test_the_part_multiplies_both_by_the_scales_of_those_examples_alone(m, first, stop, dtype):
    n = 5
    values = np.random.default_rng(0).standard_normal((2, n, m)).astype(dtype)
    values[0, 0, :] = np.inf  # what is dropped is zero, whatever it was
    chunk = Chunk((1, 3, n), m, dtype, stores_slopes=(False, True))
    chunk.layers["dropout"][2] = RATE
    chunk.put(2, "A", values[0])
    chunk.put(2, "slopes", values[1])
    part("drop")(chunk.layers, 2, first, stop, chunk.S.inside, 17, 1000)
    A, slopes, stream = chunk.get(2, "A"), chunk.get(2, "slopes"), stream_of(17, 2)
    scale = np.dtype(dtype).type(1 / (1 - RATE))
    for r in range(n):
        for e in range(first, stop):
            stays = bits(stream, (r << dropout.EXAMPLE_BITS) + 1000 + e) >= RATE * 2**32
            assert A[r, e] == (scale * values[0, r, e] if stays else 0)
            assert slopes[r, e] == (scale * values[1, r, e] if stays else 0)
    chunk.assert_untouched(*(chunk.place(2, field, first=first, m=stop) for field in ("A", "slopes")))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_layer_that_drops_stores_its_slopes(dtype):
    model = with_dropout((4, 9, 1), dtype)
    assert model._built().stores_slopes == (True, False)


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
@pytest.mark.parametrize("bad", [-1, "end", 2**40])
@pytest.mark.parametrize("field", ["A", "slopes"])
def test_what_lies_outside_is_refused(field, bad):
    chunk = Chunk((1, 5), 17, "float32", stores_slopes=(True,))
    part("drop")(chunk.layers, 1, 0, 17, chunk.S.inside, 17, 1000)
    chunk.layers[field][1] = chunk.S.inside.size - 4 if bad == "end" else bad
    with pytest.raises(IndexError):
        part("drop")(chunk.layers, 1, 0, 17, chunk.S.inside, 17, 1000)


@pytest.mark.parametrize("g", HIDDEN)
def test_a_step_equals_the_references_with_the_same_outputs_dropped(g):
    m, units = 65, (4, 7, 6, 1)
    X, y = random_data(m, 4)
    layers = [Dense(7, g), Dropout(RATE), Dense(6, g), Dense(1, "sigmoid")]
    model = Model(layers, optimizer=SGD(0.5), dtype="float64", seed=1)
    model.build(4)
    model.parameters[:] = np.random.default_rng(0).standard_normal(model.parameters.size) * 0.5
    names = [g, g, "sigmoid"]
    W1, W2, W3 = (layer.W.copy() for layer in (layers[0], layers[2], layers[3]))
    parameters = {}
    for number, layer in enumerate((layers[0], layers[2], layers[3]), start=1):
        parameters[f"W{number}"], parameters[f"b{number}"] = layer.W.copy(), layer.b.copy()
    factor = scales(model, 1, 7, m)
    assert 0 < (factor == 0).mean() < 2 * RATE

    A1, cache1 = reference.linear_activation_forward(X.T, W1, parameters["b1"], g)
    A2, cache2 = reference.linear_activation_forward(A1 * factor, W2, parameters["b2"], g)
    A3, cache3 = reference.linear_activation_forward(A2, W3, parameters["b3"], "sigmoid")
    cost = reference.compute_cost([cache1, cache2, cache3], y.T, parameters, "binary_crossentropy")
    dZ3 = A3 - y.T
    dZ2 = reference.activation_backward(reference.input_backward(dZ3, cache3), cache2, names[1])
    dZ1 = reference.activation_backward(reference.input_backward(dZ2, cache2) * factor, cache1, names[0])
    for number, (dZ, cache) in enumerate(((dZ1, cache1), (dZ2, cache2), (dZ3, cache3)), start=1):
        dW, db = reference.linear_backward(dZ, cache, m)
        parameters[f"W{number}"] -= 0.5 * dW
        parameters[f"b{number}"] -= 0.5 * db

    np.testing.assert_allclose(model.step(X, y), cost, rtol=1e-12)
    for number, layer in enumerate((layers[0], layers[2], layers[3]), start=1):
        np.testing.assert_allclose(layer.W, parameters[f"W{number}"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.b, parameters[f"b{number}"], rtol=1e-9, atol=1e-12)
    assert len(units) == 4


def with_dropout(units, dtype="float32", rate=0.5, g="relu"):
    layers = [layer for n in units[1:-1] for layer in (Dense(n, g), Dropout(rate))]
    model = Model([*layers, Dense(units[-1], "sigmoid")], optimizer=Adam(0.01), dtype=dtype, seed=0)
    model.build(units[0])
    return model


def test_only_training_drops():
    X, y = random_data(33, 4)
    plain = make_model((4, 9, 1), ("relu", "sigmoid"), dtype="float64")
    model = with_dropout((4, 9, 1), "float64")
    np.testing.assert_array_equal(plain.parameters, model.parameters)
    np.testing.assert_array_equal(plain.forward(X), model.forward(X))
    assert plain.cost(X, y) == model.cost(X, y)
    for (dW, db), (dW_plain, db_plain) in zip(model.gradients(X, y), plain.gradients(X, y), strict=True):
        np.testing.assert_array_equal(dW, dW_plain)
        np.testing.assert_array_equal(db, db_plain)
    assert plain.evaluate(X, y) == model.evaluate(X, y)
    assert model.check_gradients(X, y).ok
    assert model.fit(X, y, epochs=1, validation_data=(X, y)).val_cost == [model.cost(X, y)]
    assert model.history.cost != plain.fit(X, y, epochs=1).cost


def test_a_rate_of_zero_changes_not_a_bit():
    X, y = random_data(65, 4)
    zero, plain = with_dropout((4, 9, 5, 1), rate=0.0), with_dropout((4, 9, 5, 1), rate=0.5)
    plain = Model([Dense(9, "relu"), Dense(5, "relu"), Dense(1, "sigmoid")], optimizer=Adam(0.01), seed=0)
    assert zero.fit(X, y, epochs=3).cost == plain.fit(X, y, epochs=3).cost


@pytest.mark.parametrize(
    ("units", "m", "batch_size"), [((4, 65, 33, 1), 209, 50), ((3, 17, 1), 3000, None), ((3, 9, 1), 8192, 8192)]
)
@pytest.mark.parametrize("threads", [2, pytest.param(3, marks=pytest.mark.jit)])
def test_the_same_bits_on_any_number_of_threads(units, m, batch_size, threads):
    """Also where a batch has several chunks, and where each thread takes chunks of its own."""
    X, y = random_data(m, units[0])
    results = []
    for n in (1, threads):
        model = with_dropout(units)
        course = {"batch_size": batch_size, "epochs": 2, "key": model._key, "shuffle": batch_size == 50}
        with raw_run(model, X, y, **course, threads=n, cores=n) as run:
            assert run.division.threads == n
            while not run.done:
                run.advance()
        results.append((model.parameters, run.costs))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_every_epoch_and_every_step_drops_others_and_fits_go_on():
    X, y = random_data(65, 4)
    model = with_dropout((4, 9, 1))
    model.optimizer = SGD(1e-30)
    costs = [model.step(X, y) for _ in range(3)] + model.fit(X, y, epochs=3, batch_size=None).cost
    assert len(set(costs)) == 6
    again = with_dropout((4, 9, 1))
    again.optimizer = SGD(1e-30)
    assert again.fit(X, y, epochs=6, batch_size=None).cost == costs


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_so_many_are_dropped_and_independently(rate):
    model = with_dropout((4, 9, 1))
    n, m = 40, 500
    dropped = np.array(
        [scales(model, layer, n, m, epoch=epoch, rate=rate) == 0 for layer in (1, 2) for epoch in (0, 1)]
    )
    spread = np.sqrt(rate * (1 - rate))
    assert abs(dropped.mean() - rate) < 4 * spread / np.sqrt(dropped.size)
    assert np.abs(dropped.mean(axis=2) - rate).max() < 5 * spread / np.sqrt(m)
    assert np.abs(dropped.mean(axis=1) - rate).max() < 5 * spread / np.sqrt(n)
    rows = (dropped.reshape(-1, m) - rate) / spread
    correlations = rows @ rows.T / m
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 6 / np.sqrt(m)
    shifted = (rows[:, 1:] * rows[:, :-1]).mean()
    assert abs(shifted) < 4 / np.sqrt(rows.size)


@pytest.mark.jit
def test_it_keeps_a_network_from_learning_by_heart():
    rng = np.random.default_rng(0)
    X, X_new = rng.standard_normal((2, 100, 20))
    y, y_new = (rows[:, 0] + 0.5 * rng.standard_normal(100) > 0 for rows in (X, X_new))
    free = Model([Dense(64, "relu"), Dense(1, "sigmoid")], optimizer=Adam(0.01), seed=0)
    held = Model([Dense(64, "relu"), Dropout(0.8), Dense(1, "sigmoid")], optimizer=Adam(0.01), seed=0)
    for model in (free, held):
        model.fit(X, y, epochs=150)
    assert free.cost(X, y) < held.cost(X, y)
    assert held.cost(X_new, y_new) < free.cost(X_new, y_new)


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (lambda: [Dropout(1.0), Dense(1)], ValueError, "rate must be a number of at least 0 and less than 1, not 1.0"),
        (lambda: [Dropout("a"), Dense(1)], TypeError, "rate must be a number of at least 0 and less than 1, not 'a'"),
        (
            lambda: [Dropout(0.5), Dense(1)],
            ValueError,
            r"layers\[0\] is Dropout\(0.5\), which must stand after a hidden",
        ),
        (lambda: [Dense(3), Dense(1), Dropout(0.5)], ValueError, r"layers\[2\] is Dropout\(0.5\), which must stand"),
        (lambda: [Dense(3), Dropout(0.5), Dropout(0.5), Dense(1)], ValueError, r"layers\[2\] is Dropout"),
        (lambda: Dropout(0.5), TypeError, "layers must be a list of layers"),
    ],
)
def test_where_it_may_not_stand(layers, error, message):
    with pytest.raises(error, match=message):
        Model(layers())


def test_it_is_one_of_the_layers_and_has_no_parameters():
    model = with_dropout((4, 9, 1))
    assert [type(layer).__name__ for layer in model.layers] == ["Dense", "Dropout", "Dense"]
    assert model.layers[2].W.shape == (1, 9)
    assert len(model.gradients(*random_data(7, 4))) == 2
    assert "dropout 0.5" in model.summary()
    assert model.summary().splitlines()[-2].startswith("2      sigmoid")
    assert "Dropout(0.5)" in repr(model)
    assert [layer.activation for layer in model.diagnose(random_data(7, 4)[0]).layers] == ["relu", "sigmoid"]
    with pytest.raises(AttributeError):
        model.layers[1].rate = 0.3
    assert reference_parameters(make_model((4, 1), ("sigmoid",))).keys() == {"W1", "b1"}
