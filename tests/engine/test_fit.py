"""Whole training runs: parameter by parameter against the reference; what must and must not be learned; divergence."""

import tracemalloc
from itertools import count

import numpy as np
import pytest
import reference
from bounds import DTYPES
from compiled import assert_equal_training, from_python, make_model, random_classes, random_data
from conftest import JIT_DISABLED

from fastnet import SGD, Adam, Dense, Model, Normal, TrainingDivergedError
from fastnet.engine import fit, run
from fastnet.engine.run import Run
from fastnet.kernels import gather, plan

EPOCHS = 3 if JIT_DISABLED else 30
RUNS = [
    (1, "sigmoid", "binary_crossentropy"),
    (1, "linear", "mean_squared_error"),
    (2, "tanh", "binary_crossentropy"),
    (3, "relu", "binary_crossentropy"),
    (4, "leaky_relu", "mean_squared_error"),
    (5, "sigmoid", "mean_squared_error"),
    (6, "tanh", "binary_crossentropy"),
    (1, "softmax", "categorical_crossentropy"),
    (3, "tanh", "categorical_crossentropy"),
]


def network_of(depth, hidden, loss):
    last = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax"}.get(loss, "linear")
    return [7, *[17, 5, 9, 2, 6][: depth - 1], 3 if last == "softmax" else 1], [*[hidden] * (depth - 1), last]


@pytest.mark.filterwarnings("ignore:The cost has not fallen")
@pytest.mark.parametrize("l2", [0.0, 0.9])
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize(("depth", "hidden", "loss"), RUNS)
def test_training_equals_the_reference(depth, hidden, loss, batch_size, l2):
    units, activations = network_of(depth, hidden, loss)
    X, y = random_data(65, 7)
    if loss == "categorical_crossentropy":
        _, y = random_classes(65, 3)
    for optimizer in (SGD(0.05), Adam(0.002, 0.8, 0.95, 1e-5)):
        model = make_model(units, activations, loss=loss, l2=l2, optimizer=optimizer)
        assert_equal_training(model, units, activations, X, y, epochs=EPOCHS, batch_size=batch_size, l2=l2)


@pytest.mark.parametrize("batch_size", [1, 17, 64, 65, 1000])
def test_shuffled_training_equals_the_reference_in_that_order(batch_size):
    units, activations = network_of(3, "tanh", "binary_crossentropy")
    model = make_model(units, activations)
    m = 40 if JIT_DISABLED else 209
    X, y = random_data(m, 7)
    orders = np.empty((3, m), np.int64)
    for epoch, order in enumerate(orders):
        from_python(gather.shuffle)(order, np.empty(0, np.int64), model._key, epoch)
    assert_equal_training(model, units, activations, X, y, epochs=3, batch_size=batch_size, orders=orders)


def test_a_batch_of_several_chunks_equals_the_reference():
    model = make_model([5, 4, 1], ["tanh", "sigmoid"])
    X, y = random_data(1100, 5)
    assert_equal_training(model, [5, 4, 1], ["tanh", "sigmoid"], X, y, epochs=3, batch_size=None, l2=0.0)


LARGE = [260, 301, 7, 1], ["relu", "tanh", "sigmoid"]


@pytest.mark.parametrize("optimizer", [SGD(0.05), Adam(0.002)])
@pytest.mark.parametrize(("units", "activations"), [LARGE, ([9000, 4], ["softmax"])])
def test_a_large_network_equals_the_reference(units, activations, optimizer):
    """Of so many parameters that steps are taken along with the gradients; the second with an input kept by rows."""
    model = make_model(units, activations, l2=0.3, optimizer=optimizer)
    assert model.parameters.size > plan.FUSE_STEP_FROM
    X, y = random_data(50, units[0])
    if units[-1] > 1:
        _, y = random_classes(50, units[-1])
    assert_equal_training(model, units, activations, X, y, epochs=2, batch_size=33, l2=0.3)


@pytest.mark.jit
def test_a_large_network_in_batches_of_several_chunks_equals_the_reference():
    """Whose steps are taken after all gradients are there: the first batch of two chunks, the second of one."""
    model = make_model(*LARGE)
    X, y = random_data(1100, 260)
    assert_equal_training(model, *LARGE, X, y, epochs=2, batch_size=600)


@pytest.mark.filterwarnings("ignore:The features of X are far from the scale")
def test_a_batch_without_weight_is_not_blamed_for_what_comes_later():
    """Its gradient, of 0 times inf, stays in a place that a large network's next step does not use."""
    X, y = np.abs(random_data(32, 260)[0]), np.repeat([0.0, 1.0], 16)
    X[:16], X[16:, 0] = 3e38, 1e20
    model = make_model([260, 301, 20, 1], ["relu", "tanh", "sigmoid"], dtype="float32", learning_rate=1e27)
    for layer, scale in zip(model.layers, (0.1, 0.001), strict=False):
        layer.W = scale * np.abs(layer.W)
    model.layers[0].W[:, 0] = 0
    with pytest.raises(TrainingDivergedError) as caught:
        model.fit(X, y, epochs=1, batch_size=16, shuffle=False, sample_weight=np.repeat([0, 1], 16))
    assert (caught.value.batch, caught.value.layer, caught.value.kind) == (2, 1, "parameter")


@pytest.mark.jit
def test_2500_updates_of_the_cat_classifier_equal_the_reference():
    """12288-20-7-5-1 on 209 random images; a minute, almost all of it the reference's."""
    rng = np.random.default_rng(0)
    units, activations = [12288, 20, 7, 5, 1], ["relu", "relu", "relu", "sigmoid"]
    X, y = rng.random((209, 12288)), (rng.random((209, 1)) < 0.35).astype(float)
    parameters = {}
    model = make_model(units, activations, learning_rate=0.0075)
    for index, layer in enumerate(model.layers, start=1):
        layer.W = rng.standard_normal(layer.W.shape) / np.sqrt(layer.W.shape[1])
        parameters[f"W{index}"], parameters[f"b{index}"] = layer.W.copy(), layer.b.copy()
    gradient_descent = reference.SGD(0.0075)
    costs = [
        reference.step(X.T, y.T, parameters, activations, "binary_crossentropy", gradient_descent) for _ in range(2500)
    ]
    np.testing.assert_allclose(model.fit(X, y, epochs=2500, batch_size=None).cost[::100], costs[::100], rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fit_goes_on_from_where_it_stopped(dtype):
    X, y = random_data(65, 3)
    whole, halves = (make_model((3, 5, 1), ("tanh", "sigmoid"), dtype=dtype) for _ in range(2))
    whole.fit(X, y, epochs=6, batch_size=16)
    halves.fit(X, y, epochs=2, batch_size=16)
    history = halves.fit(X, y, epochs=4, batch_size=16)
    assert history.epochs == 4
    np.testing.assert_array_equal(halves.parameters, whole.parameters)


def test_step_is_one_full_batch_update():
    X, y = random_data(65, 3)
    by_step, by_fit = (make_model((3, 5, 1), ("tanh", "sigmoid")) for _ in range(2))
    costs = [by_step.step(X, y) for _ in range(3)]
    assert costs == by_fit.fit(X, y, epochs=3, batch_size=None).cost
    assert costs[0] == make_model((3, 5, 1), ("tanh", "sigmoid")).cost(X, y)
    np.testing.assert_array_equal(by_step.parameters, by_fit.parameters)


def test_the_seed_decides_everything():
    X, y = random_data(65, 3)

    def train(seed):
        model = Model([Dense(5, "relu"), Dense(1, "sigmoid")], seed=seed)
        model.fit(X, y, epochs=2, batch_size=16)
        return model.parameters.tobytes()

    assert train(3) == train(3) == train(np.random.default_rng(3))
    assert train(3) != train(4)
    assert train(None) != train(None)


def test_a_layer_without_bias_keeps_none():
    X, y = random_data(65, 3)
    model = Model([Dense(5, "tanh", use_bias=False), Dense(1, "sigmoid")], seed=0, dtype="float64")
    model.fit(X, y, epochs=2, batch_size=None)
    assert model.layers[0].b is None
    assert model.parameters.size == 5 * 3 + 5 + 1
    assert model.gradients(X, y)[0][1] is None
    assert model.check_gradients(X, y).ok


def test_l2_of_a_layer_overrides_the_models():
    X, y = random_data(33, 3)
    both = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], l2=0.8, dtype="float64", seed=0)
    first = Model([Dense(4, "tanh", l2=0.8), Dense(1, "sigmoid")], dtype="float64", seed=0)
    none = Model([Dense(4, "tanh", l2=0.0), Dense(1, "sigmoid", l2=0)], l2=0.8, dtype="float64", seed=0)
    for model in (both, first, none):
        model.build(3)
    squares = [float((layer.W**2).sum()) for layer in both.layers]
    plain = none.cost(X, y)
    np.testing.assert_allclose(both.cost(X, y), plain + 0.8 / 66 * sum(squares), rtol=1e-14)
    np.testing.assert_allclose(first.cost(X, y), plain + 0.8 / 66 * squares[0], rtol=1e-14)


# ------------------------------------------------------------------------------------- what is learned, and what is not


def test_zero_weights_keep_the_units_of_a_hidden_layer_identical():
    X, y = random_data(65, 4)

    def hidden_units(initializer):
        model = Model([Dense(5, "tanh", initializer=initializer), Dense(1, "sigmoid")], optimizer=SGD(0.5), seed=0)
        model.build(4)
        model.layers[1].W = np.full((1, 5), 0.5)  # equal, or they would tell the units apart
        model.fit(X, y, epochs=20, batch_size=None)
        return model.layers[0].W

    same = hidden_units("zeros")
    assert np.abs(same).max() > 0.01
    assert (same == same[0]).all()
    assert len(np.unique(hidden_units(Normal(0.01)), axis=0)) == 5


@pytest.mark.jit
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_deep_network_learns_parity(bits):
    X = np.array([[i >> b & 1 for b in range(bits)] for i in range(2**bits)], float)
    y = X.sum(axis=1) % 2
    model = Model(
        [Dense(16, "tanh"), Dense(8, "tanh"), Dense(1, "sigmoid")], optimizer=SGD(0.3), seed=1, dtype="float64"
    )
    history = model.fit(2 * X - 1, y, epochs=4000, batch_size=None)
    assert history.cost[-1] < 0.02 < history.cost[0]
    np.testing.assert_array_equal(model.predict(2 * X - 1), y)


def test_history_of_a_short_run():
    X, y = random_data(65, 4)
    history = make_model((4, 3, 1), ("relu", "sigmoid")).fit(X, y, epochs=7)
    assert history.epochs == len(history.cost) == 7
    assert all(isinstance(cost, float) for cost in history.cost)
    assert history.seconds > 0
    assert history.compile_seconds >= 0
    assert history.stopped_reason == "epochs"


# --------------------------------------------------------------------------------------------------------- divergence


def diverging_model(learning_rate, dtype="float32", activation="relu"):
    model = make_model((4, 6, 3, 1), (activation, activation, "linear"), dtype=dtype, seed=2)
    model.optimizer = SGD(learning_rate)
    return model


@pytest.mark.parametrize("learning_rate", [3.0, 1e6, 1e38])
@pytest.mark.parametrize("dtype", DTYPES)
def test_divergence_names_the_place_and_keeps_the_last_finite_parameters(dtype, learning_rate):
    X, y = random_data(65, 4)
    model = diverging_model(learning_rate, dtype)
    if dtype == "float64" and learning_rate < 1e6:
        model.optimizer = SGD(learning_rate * 10)
    with pytest.raises(TrainingDivergedError, match="Training diverged") as caught:
        model.fit(X, y, epochs=50, batch_size=16)
    error = caught.value
    assert f"epoch {error.epoch} of 50, batch {error.batch}: " in str(error)
    assert f"layer {error.layer} is" in str(error)
    assert "Lower the learning rate" in str(error)
    assert np.isfinite(model.parameters).all()
    assert model.history.stopped_reason == "diverged"
    assert model.history.epochs == error.epoch - 1
    # The same run, stopped one batch before: an update more, and it diverges.
    again = diverging_model(model.optimizer.learning_rate, dtype)
    batches = (error.epoch - 1) * 5 + error.batch - 1
    orders = [np.empty(65, np.int64) for _ in range(error.epoch)]
    for epoch, order in enumerate(orders):
        from_python(gather.shuffle)(order, np.empty(0, np.int64), again._key, epoch)
    for batch in range(batches):
        rows = orders[batch // 5][batch % 5 * 16 : batch % 5 * 16 + 16]
        again.step(X[rows], y[rows])
    np.testing.assert_array_equal(again.parameters, model.parameters)
    rows = orders[-1][batches % 5 * 16 : batches % 5 * 16 + 16]
    with pytest.raises(TrainingDivergedError):
        again.step(X[rows], y[rows])
    np.testing.assert_array_equal(again.parameters, model.parameters)


@pytest.mark.filterwarnings("ignore:The features of X are far from the scale")
@pytest.mark.parametrize("snapshots", [(), (1,), (2,), (5,), (7,), range(100)])
@pytest.mark.parametrize(("m", "batch_size", "batches"), [(165, 16, 11), (2400, 600, 4)])
def test_parameters_before_a_bad_update_come_back(m, batch_size, batches, snapshots, monkeypatch):
    """Whatever snapshots were taken, after these chunks. The epoch's last batch has a finite cost, and a gradient that
    overflows the step; a batch of 600 is two chunks, so that a snapshot may fall within a batch."""
    X, y = random_data(m, 2)
    y[-1] = 0.5  # never met by an output of 0 or 1
    X = X * 1e-19
    X[:, 0] = 0
    model, expected = (make_model((2, 1), ("sigmoid",), dtype="float32", learning_rate=1e19) for _ in range(2))
    for each in (model, expected):
        each.layers[0].W = [[0.0, 0.3]]
    good = (batches - 1) * batch_size
    expected.fit(X[:good], y[:good], epochs=1, batch_size=batch_size, shuffle=False)
    X[-1, 0] = 1e24
    kept, calls, take_snapshot = [], count(), fit.take_snapshot

    def take_chosen_snapshot(run, now):
        index = next(calls)
        if index == 0 or index in snapshots:
            kept.append(take_snapshot(run, now))
        return kept[-1]

    monkeypatch.setattr(fit, "SNAPSHOT_SECONDS", -1.0)
    monkeypatch.setattr(fit, "take_snapshot", take_chosen_snapshot)
    monkeypatch.setattr(Run, "advance", lambda run, most_chunks: run.work(1))
    with pytest.raises(TrainingDivergedError, match=rf"epoch 1 of 5, batch {batches}: layer 1 .* in its W or b"):
        model.fit(X, y, epochs=5, batch_size=batch_size, shuffle=False)
    assert np.isfinite(model.parameters).all()
    assert expected.parameters[1] != np.float32(0.3)
    np.testing.assert_array_equal(model.parameters, expected.parameters)


def test_the_first_bad_layer_is_found_in_the_activations():
    X, y = random_data(65, 4)
    for bad in (1, 2, 3):
        model = make_model((4, 6, 3, 1), ("relu", "relu", "linear"), dtype="float32")
        for layer in model.layers:
            layer.W = np.full(layer.W.shape, 1.0)
        model.layers[bad - 1].W = np.full(model.layers[bad - 1].W.shape, 3e38)
        before = model.parameters.copy()
        with pytest.raises(
            TrainingDivergedError, match=f"layer {bad} is the first with a non-finite value in its output"
        ):
            model.fit(np.abs(X) + 1, y, epochs=1)
        np.testing.assert_array_equal(model.parameters, before)


@pytest.mark.filterwarnings("ignore:The features of X are far from the scale")
@pytest.mark.parametrize("rows_scaled", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_divergence_names_what_is_not_finite(rows_scaled, dtype):
    """A learning rate of 1e6, or a row scaled by 1e20: an activation, or the gradient, leaves the range first."""
    X, y = random_data(65, 4)
    y = y * 1.5
    X[40] *= 1e20**rows_scaled
    model = make_model((4, 6, 1), ("relu", "linear"), dtype=dtype, learning_rate=0.1 if rows_scaled else 1e6)
    with pytest.raises(TrainingDivergedError) as caught:
        model.fit(X, y, epochs=100, batch_size=16)
    error = caught.value
    assert error.kind in ("activation", "gradient")
    assert f"epoch {error.epoch} of 100, batch {error.batch}: " in str(error)
    assert f"layer {error.layer} is" in str(error)
    assert np.isfinite(model.parameters).all()


@pytest.mark.parametrize(("n_x", "n"), [(1, 2), (260, 301)])
def test_the_kinds_of_divergence(n_x, n):
    """A weight that overflows, by a gradient that does not; a gradient that does; a square of one, in Adam's mean.

    The second network takes its steps along with the gradients, and keeps none of them.
    """
    for optimizer, x, kind in [
        (SGD(1e38), 1e10, "parameter"),
        (SGD(1e-30), 3e38, "gradient"),
        (Adam(0.1), 1e25, "gradient"),
    ]:
        model = make_model((n_x, n, 1), ("linear", "sigmoid"), dtype="float32", optimizer=optimizer)
        model.layers[0].W = np.zeros((n, n_x))
        model.layers[1].W = 4 * np.eye(1, n)
        with pytest.raises(TrainingDivergedError) as caught:
            model.step(x * np.eye(1, n_x), [0.0])
        assert (caught.value.kind, caught.value.layer) == (kind, 1), optimizer
        np.testing.assert_array_equal(model.layers[0].W, 0)


def test_an_l2_term_beyond_the_range_is_divergence():
    model = make_model((1, 1), ("linear",), l2=1.0)
    model.layers[0].W = [[1e160]]
    with pytest.raises(TrainingDivergedError):
        model.step([[0.0]], [0.0])
    assert model.layers[0].W[0, 0] == 1e160


def test_parameters_whose_sum_overflows_are_finite():
    model = make_model((2, 1), ("linear",))
    model.layers[0].W = [[1.5e308, 1.5e308]]
    model.step([[0.0, 0.0]], [0.0])
    np.testing.assert_array_equal(model.layers[0].W, 1.5e308)


def test_a_cost_beyond_the_range_is_laid_to_the_last_layer():
    model = make_model((1, 1), ("linear",), dtype="float32")
    with pytest.raises(TrainingDivergedError) as caught:
        model.step([[1.0]], [1e30])
    assert caught.value.layer == 1


class AlarmError(Exception):
    """What a signal's handler raises."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, AlarmError, TimeoutError, SystemExit, GeneratorExit])
@pytest.mark.parametrize("again", [False, True])
def test_what_a_signal_raises_in_the_call_that_diverged_leaves_the_last_finite_parameters(again, error, monkeypatch):
    """It is answered when the kernel returns, before anyone has looked at why it did; or while that is looked at."""
    X, y = np.full((65, 2), 1e24), np.full(65, 0.5)
    model = make_model((2, 1), ("sigmoid",), dtype="float32", learning_rate=1e19)
    model.layers[0].W = before = [[0.0, 0.0]]
    call, go_on_alone = Run._call, Run.go_on_alone

    def call_and_raise(run, member):
        call(run, member)
        if run.status:
            raise error

    def raise_once(run):
        monkeypatch.undo()
        raise error

    if again:
        monkeypatch.setattr(Run, "go_on_alone", raise_once)
    else:
        monkeypatch.setattr(Run, "_call", call_and_raise)
    with pytest.raises(error):
        model.fit(X, y + 0.25, epochs=2, batch_size=None)
    assert Run.go_on_alone is go_on_alone
    assert model.history.stopped_reason in ("interrupted", "diverged")
    np.testing.assert_array_equal(model.layers[0].W, before)
    model.optimizer = SGD(0.1)
    model.fit(X / 1e24, y, epochs=1)


def test_an_infinite_l2_term_is_named():
    X, y = random_data(65, 4)
    model = make_model((4, 1), ("sigmoid",), l2=1e308)
    model.layers[0].W = np.full((1, 4), 1e5)
    with pytest.raises(TrainingDivergedError, match="all layers are finite, but the penalty on the weights is not"):
        model.fit(X, y, epochs=1)
    np.testing.assert_array_equal(model.layers[0].W, np.full((1, 4), 1e5))


@pytest.mark.parametrize("more", [{}, {"validation_split": 0.2, "metrics": ["mse"]}])
@pytest.mark.parametrize("rate", [0.1, lambda epoch: 0.1 / (1 + epoch)])
def test_nothing_is_as_large_as_the_number_of_epochs(rate, more):
    found = []
    for epochs in (2, 10**9, 2**63 - 1):
        model = make_model((3, 4, 1), ("tanh", "sigmoid"), optimizer=SGD(rate))
        X, y = random_data(33, 3)
        model.fit(X, y, epochs=1)  # compiles
        tracemalloc.start()
        history = model.fit(X, y, epochs=epochs, callbacks=lambda model, epoch, logs: epoch == 1, **more)
        found.append((history.cost, model.parameters.tobytes()))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4_000_000
    assert found[0] == found[1] == found[2]


def test_a_schedule_is_not_asked_for_epochs_that_are_far_off():
    asked = []
    model = make_model((3, 4, 1), ("tanh", "sigmoid"), optimizer=SGD(lambda epoch: asked.append(epoch) or 0.1))
    model.fit(*random_data(33, 3), epochs=10**9, callbacks=lambda model, epoch, logs: True)
    assert max(asked) <= run.EPOCHS_AT_ONCE
    assert len(asked) <= run.EPOCHS_AT_ONCE + 10


def test_the_rates_of_more_epochs_than_are_held_at_once(monkeypatch):
    X, y = random_data(17, 3)
    rates = []
    for held in (run.EPOCHS_AT_ONCE, 3):
        monkeypatch.setattr(run, "EPOCHS_AT_ONCE", held)
        model = make_model((3, 4, 1), ("tanh", "sigmoid"), optimizer=SGD(lambda epoch: 0.5 / (1 + epoch)))
        history = model.fit(X, y, epochs=11, batch_size=5)
        rates.append((history.cost, model.parameters.tobytes()))
    assert rates[0] == rates[1]
