"""The optimizers as a user meets them: Adam against the reference, what it remembers, and what is refused."""

import copy
import pickle

import numpy as np
import pytest
import reference
from bounds import DTYPES
from compiled import make_model, random_data, reference_optimizer, reference_parameters
from conftest import JIT_DISABLED

from fastnet import SGD, Adam, Dense, Model, TrainingDivergedError

X, Y = random_data(65, 4)
UNITS, ACTIVATIONS = (4, 7, 1), ("tanh", "sigmoid")


def adam_model(optimizer=None, **settings):
    return make_model(UNITS, ACTIVATIONS, **{"optimizer": optimizer or Adam(0.01), **settings})


@pytest.mark.parametrize("optimizer", [Adam(), Adam(0.02, 0.5, 0.9, 1e-3), Adam(0.01, 0.0, 0.0, 1e-2)])
def test_200_steps_of_adam_equal_the_reference(optimizer):
    steps = 20 if JIT_DISABLED else 200
    model = adam_model(optimizer, l2=0.3)
    parameters, reference_adam = reference_parameters(model), reference_optimizer(optimizer)
    for _ in range(steps):
        cost = reference.step(X.T, Y.T, parameters, ACTIVATIONS, model.loss, reference_adam, 0.3)
        np.testing.assert_allclose(model.step(X, Y), cost, rtol=1e-9)
    for index, layer in enumerate(model.layers, start=1):
        for ours, theirs in ((layer.W, parameters[f"W{index}"]), (layer.b, parameters[f"b{index}"])):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fit_goes_on_with_the_moments_of_the_one_before(dtype):
    whole, halves, stepped = (adam_model(dtype=dtype) for _ in range(3))
    costs = whole.fit(X, Y, epochs=6, batch_size=None).cost
    assert halves.fit(X, Y, epochs=2, batch_size=None).cost + halves.fit(X, Y, epochs=4, batch_size=None).cost == costs
    assert [stepped.step(X, Y) for _ in range(6)] == costs
    np.testing.assert_array_equal(halves.parameters, whole.parameters)
    np.testing.assert_array_equal(stepped.parameters, whole.parameters)


def test_looking_at_a_model_does_not_change_what_its_optimizer_remembers():
    looked_at, left_alone = adam_model(), adam_model()
    for _ in range(3):
        looked_at.step(X, Y)
        left_alone.step(X, Y)
        looked_at.cost(X, Y), looked_at.gradients(X, Y), looked_at.evaluate(X, Y), looked_at.predict(X)
    np.testing.assert_array_equal(looked_at.parameters, left_alone.parameters)


def steps_from(model, start, n=2):
    """Return the parameters after n steps from `start`."""
    model.parameters[:] = start
    for _ in range(n):
        model.step(X, Y)
    return model.parameters.copy()


def test_what_is_remembered_is_kept_by_another_adam_and_lost_by_another_kind_or_build():
    start = adam_model().parameters.copy()
    fresh = steps_from(adam_model(), start)
    model = adam_model()
    model.fit(X, Y, epochs=3)
    twin = copy.deepcopy(model)
    remembered = steps_from(model, start)
    assert not np.array_equal(remembered, fresh)
    model = copy.deepcopy(twin)
    model.optimizer = Adam(0.01)
    np.testing.assert_array_equal(steps_from(model, start), remembered)
    model = copy.deepcopy(twin)
    model.optimizer = SGD(0.1)
    model.optimizer = Adam(0.01)
    np.testing.assert_array_equal(steps_from(model, start), fresh)
    twin.build(4)
    np.testing.assert_array_equal(steps_from(twin, start), fresh)


def test_another_learning_rate_takes_effect():
    model, twin = adam_model(), adam_model()
    model.step(X, Y), twin.step(X, Y)
    model.optimizer = Adam(0.02)
    before = model.parameters.copy()
    model.step(X, Y), twin.step(X, Y)
    np.testing.assert_allclose(model.parameters - before, 2 * (twin.parameters - before), rtol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_go_on_by_themselves(dtype):
    model = adam_model(dtype=dtype)
    model.fit(X, Y, epochs=2)
    twins = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)]
    model.fit(X, Y, epochs=2)
    for twin in twins:
        twin.fit(X, Y, epochs=2)
        np.testing.assert_array_equal(twin.parameters, model.parameters)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gradient_whose_square_overflows_is_divergence(dtype):
    huge = 1e25 if dtype == "float32" else 1e200
    model = Model([Dense(1)], optimizer=Adam(), dtype=dtype, seed=0)
    model.build(1)
    model.layers[0].W = [[0.0]]  # or the cost would overflow first
    before = model.parameters.copy()
    moment = "layer 1 is the first with a non-finite value in the optimizer's running mean of squared gradients"
    with pytest.raises(TrainingDivergedError, match=rf"in epoch 1 of 1, batch 1: {moment}.*learning rate \(0\.001\)"):
        model.step([[huge]], [1.0])
    np.testing.assert_array_equal(model.parameters, before)
    # Nothing bad is remembered.
    fresh = Model([Dense(1)], optimizer=Adam(), dtype=dtype, seed=0)
    fresh.build(1)
    fresh.parameters[:] = before
    assert model.step([[1.0]], [1.0]) == fresh.step([[1.0]], [1.0])
    np.testing.assert_array_equal(model.parameters, fresh.parameters)


def test_settings_are_floats_and_comparable():
    assert Adam() == Adam(0.001, 0.9, 0.999, 1e-8)
    assert Adam(1) != Adam(2)
    assert type(Adam(1).learning_rate) is float
    assert repr(Adam(0.5)) == "Adam(learning_rate=0.5, beta1=0.9, beta2=0.999, epsilon=1e-08)"


BELOW_ONE = "must be a number of at least 0 and less than 1"
POSITIVE = "must be a finite number greater than 0"
BAD = [
    (lambda: Adam(0), ValueError, f"learning_rate {POSITIVE}, not 0."),
    (lambda: Adam(-1e-3), ValueError, f"learning_rate {POSITIVE}, not -0.001."),
    (lambda: Adam("fast"), TypeError, f"learning_rate {POSITIVE}, not 'fast'."),
    (lambda: Adam(beta1=1), ValueError, f"beta1 {BELOW_ONE}, not 1."),
    (lambda: Adam(beta1=-0.1), ValueError, f"beta1 {BELOW_ONE}, not -0.1."),
    (lambda: Adam(beta1=None), TypeError, f"beta1 {BELOW_ONE}, not None."),
    (lambda: Adam(beta2=1.5), ValueError, f"beta2 {BELOW_ONE}, not 1.5."),
    (lambda: Adam(beta2=np.nan), ValueError, f"beta2 {BELOW_ONE}, not nan."),
    (lambda: Adam(epsilon=0.0), ValueError, f"epsilon {POSITIVE}, not 0.0."),
    (lambda: Adam(epsilon=np.inf), ValueError, f"epsilon {POSITIVE}, not inf."),
    (lambda: Adam(epsilon=True), TypeError, f"epsilon {POSITIVE}, not True."),
    (
        lambda: Model([Dense(1)], optimizer=Adam(epsilon=1e-60)),
        ValueError,
        "epsilon must be in the range of float32, but 1e-60 is 0.0 there.",
    ),
    (
        lambda: Model([Dense(1)], optimizer=Adam),
        TypeError,
        "optimizer must be an SGD(learning_rate) or an Adam(learning_rate), not <class 'fastnet.optimizers.Adam'>.",
    ),
]


@pytest.mark.parametrize(("make", "kind", "message"), BAD)
def test_bad_settings(make, kind, message):
    with pytest.raises(kind) as caught:
        make()
    assert str(caught.value) == message
