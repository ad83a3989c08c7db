"""The optimizers as a user meets them: Adam against the reference, what it remembers, and what is refused."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import reference
from bounds import DTYPES
from compiled import make_model, random_data, reference_optimizer, reference_parameters
from conftest import JIT_DISABLED

from fastnet import SGD, Adagrad, Adam, AdamW, CosineDecay, Dense, Model, RMSprop, TrainingDivergedError
from fastnet.optimizers import EpsilonHatAdam

X, Y = random_data(65, 4)
UNITS, ACTIVATIONS = (4, 7, 1), ("tanh", "sigmoid")


def adam_model(optimizer=None, **settings):
    return make_model(UNITS, ACTIVATIONS, **{"optimizer": optimizer or Adam(0.01), **settings})


OPTIMIZERS = [
    SGD(0.1),
    SGD(0.05, momentum=0.9),
    SGD(0.05, momentum=0.8, nesterov=True),
    RMSprop(),
    RMSprop(0.003, 0.5, 1e-3),
    Adagrad(),
    Adagrad(0.05, 1e-2),
    Adam(),
    Adam(0.01, 0.5, 0.9, 1e-3),
    Adam(0.02, 0.5, 0.9, 1e-3),
    Adam(0.01, 0.0, 0.0, 1e-2),
    AdamW(),
    AdamW(0.01, 0.8, 0.99, 1e-6, weight_decay=0.3),
]


def assert_equal_parameters(model, parameters, rtol=1e-9):
    for index, layer in enumerate(model.layers, start=1):
        for ours, theirs in ((layer.W, parameters[f"W{index}"]), (layer.b, parameters[f"b{index}"])):
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


@pytest.mark.parametrize("clip_norm", [None, 0.1, 1e6])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, EpsilonHatAdam(0.01), EpsilonHatAdam(0.02, 0.5, 0.9, 1e-2)])
def test_many_steps_equal_the_reference(optimizer, clip_norm):
    optimizer = replace(optimizer, clip_norm=clip_norm)
    # A clipped run multiplies rounding errors. So does Adam(0.02, 0.5, 0.9, 1e-3) between steps 50 and 100: started
    # one rounding away, the reference itself ends 5e-9 off.
    grows = clip_norm is not None or optimizer == Adam(0.02, 0.5, 0.9, 1e-3)
    steps = 20 if JIT_DISABLED else 50 if grows else 200
    model = adam_model(optimizer, l2=0.3)
    parameters, theirs = reference_parameters(model), reference_optimizer(optimizer)
    for _ in range(steps):
        cost = reference.step(X.T, Y.T, parameters, ACTIVATIONS, model.loss, theirs, 0.3, clip_norm)
        np.testing.assert_allclose(model.step(X, Y), cost, rtol=1e-9)
    assert_equal_parameters(model, parameters)


@pytest.mark.filterwarnings("ignore:The features of X are far from the scale")
@pytest.mark.parametrize("length", [1e100, 1e160, 1e305])
def test_a_gradient_whose_squares_overflow_is_clipped_too(length):
    """The same step, whatever power of two the gradient is multiplied by."""
    steps = []
    for factor in (1.0, 2.0 ** round(np.log2(length))):
        model = make_model((4, 1), ("linear",), loss="mean_absolute_error", optimizer=SGD(0.5, clip_norm=0.25))
        model.layers[0].b = [[-1.0]]
        before = model.parameters.copy()
        model.step((X + np.array([9, 9, -9, 0])) * factor, np.zeros(65))
        steps.append((before - model.parameters)[:4] / 0.5)
    np.testing.assert_allclose(np.linalg.norm(steps[1]), 0.25, rtol=1e-12)
    np.testing.assert_allclose(steps[1], steps[0], rtol=0.01)  # where lengths are near 1, that of db counts too


@pytest.mark.parametrize(("dtype", "length", "clip_norm"), [("float64", 1e305, 1e-300), ("float32", 1e37, 1e-37)])
def test_a_gradient_is_not_clipped_to_zero(dtype, length, clip_norm):
    model = make_model((1, 1), ("linear",), loss="mean_absolute_error", dtype=dtype)
    model.optimizer = SGD(0.5, clip_norm=clip_norm)
    before = model.parameters.copy()
    with pytest.raises(TrainingDivergedError, match="layer 1 is the first with a non-finite value"):
        model.step([[length]], [0.0])
    np.testing.assert_array_equal(model.parameters, before)


@pytest.mark.jit
@pytest.mark.parametrize("clip_norm", [None, 0.1])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_200_steps_equal_pytorch(optimizer, clip_norm):
    """With the same start and batches, on a 7-17-5-1 net, in float64."""
    torch = pytest.importorskip("torch")
    settings = {name: value for name, value in vars(optimizer).items() if name not in ("clip_norm", "learning_rate")}
    betas = {"betas": (settings.pop("beta1"), settings.pop("beta2"))} if isinstance(optimizer, Adam) else {}
    names = {"epsilon": "eps", "rho": "alpha"}
    settings = {names.get(name, name): value for name, value in settings.items()}
    X, y = random_data(200 * 16, 7)
    units, activations = (7, 17, 5, 1), ("tanh", "relu", "sigmoid")
    model = make_model(units, activations, optimizer=replace(optimizer, clip_norm=clip_norm))
    modules = []
    for layer in model.layers:
        linear = torch.nn.Linear(layer.W.shape[1], layer.W.shape[0], dtype=torch.float64)
        linear.weight.data = torch.tensor(layer.W.copy())
        linear.bias.data = torch.tensor(layer.b[:, 0].copy())
        modules.append(linear)
    network = torch.nn.Sequential(modules[0], torch.nn.Tanh(), modules[1], torch.nn.ReLU(), modules[2])
    theirs = getattr(torch.optim, type(optimizer).__name__)(
        network.parameters(), lr=optimizer.learning_rate, **settings, **betas
    )
    for start in range(0, len(X), 16):
        batch = slice(start, start + 16)
        theirs.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            network(torch.tensor(X[batch])), torch.tensor(y[batch])
        )
        loss.backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        theirs.step()
    model.fit(X, y, epochs=1, batch_size=16, shuffle=False)
    parameters = {}
    for index, linear in enumerate(modules, start=1):
        parameters[f"W{index}"] = linear.weight.detach().numpy()
        parameters[f"b{index}"] = linear.bias.detach().numpy()[:, None]
    assert_equal_parameters(model, parameters)


def test_what_is_remembered_is_lost_with_another_number_of_moments():
    model, fresh = adam_model(SGD(0.1, momentum=0.9)), adam_model(SGD(0.1))
    start = model.parameters.copy()
    model.step(X, Y)
    model.optimizer = SGD(0.1)
    np.testing.assert_array_equal(steps_from(model, start), steps_from(fresh, start))


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
    moment = "layer 1 is the first with a non-finite value in its gradient, or the square of that"
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
    assert repr(SGD(0.5, clip_norm=1)) == "SGD(learning_rate=0.5, momentum=0.0, nesterov=False, clip_norm=1.0)"


BELOW_ONE = "must be a number of at least 0 and less than 1"
POSITIVE = "must be a finite number greater than 0"
BAD = [
    (lambda: Adam(0), ValueError, f"learning_rate {POSITIVE}, not 0."),
    (lambda: Adam(-1e-3), ValueError, f"learning_rate {POSITIVE}, not -0.001."),
    (lambda: Adam("fast"), TypeError, f"learning_rate {POSITIVE}, not 'fast'."),
    (
        lambda: Adam(CosineDecay),
        TypeError,
        "learning_rate must be a number, a schedule or a function of the epoch, not the class CosineDecay. Pass a "
        "schedule with its settings, such as CosLog(0.01, epochs=64).",
    ),
    (lambda: Adam(beta1=1), ValueError, f"beta1 {BELOW_ONE}, not 1."),
    (lambda: Adam(beta1=-0.1), ValueError, f"beta1 {BELOW_ONE}, not -0.1."),
    (lambda: Adam(beta1=None), TypeError, f"beta1 {BELOW_ONE}, not None."),
    (lambda: Adam(beta2=1.5), ValueError, f"beta2 {BELOW_ONE}, not 1.5."),
    (lambda: Adam(beta2=np.nan), ValueError, f"beta2 {BELOW_ONE}, not nan."),
    (lambda: Adam(epsilon=0.0), ValueError, f"epsilon {POSITIVE}, not 0.0."),
    (lambda: Adam(epsilon=np.inf), ValueError, f"epsilon {POSITIVE}, not inf."),
    (lambda: Adam(epsilon=True), TypeError, f"epsilon {POSITIVE}, not True."),
    (lambda: SGD(momentum=1.0), ValueError, f"momentum {BELOW_ONE}, not 1.0."),
    (lambda: SGD(nesterov=1), TypeError, "nesterov must be True or False, not 1."),
    (lambda: SGD(nesterov=True), ValueError, "nesterov=True needs a momentum greater than 0, such as momentum=0.9."),
    (lambda: SGD(clip_norm=0), ValueError, f"clip_norm {POSITIVE}, not 0."),
    (lambda: RMSprop(rho=1), ValueError, f"rho {BELOW_ONE}, not 1."),
    (lambda: RMSprop(epsilon=0), ValueError, f"epsilon {POSITIVE}, not 0."),
    (lambda: Adagrad(epsilon=-1), ValueError, f"epsilon {POSITIVE}, not -1."),
    (lambda: AdamW(weight_decay=-1), ValueError, "weight_decay must be a finite number of at least 0, not -1."),
    (
        lambda: Model([Dense(1)], optimizer=Adam(epsilon=1e-60)),
        ValueError,
        "epsilon must be in the range of float32, but 1e-60 is 0.0 there.",
    ),
    (
        lambda: Model([Dense(1)], optimizer=Dense),
        TypeError,
        "optimizer must be one of fastnet's, such as SGD(0.1) or Adam(), not <class 'fastnet.layers.Dense'>.",
    ),
]


@pytest.mark.parametrize(("make", "kind", "message"), BAD)
def test_bad_settings(make, kind, message):
    with pytest.raises(kind) as caught:
        make()
    assert str(caught.value) == message
