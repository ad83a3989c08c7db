"""`Model.check_gradients`: agrees on right gradients, and does not on wrong ones."""

import numpy as np
import pytest
from compiled import make_model, random_classes, random_data

from fastnet import LeakyReLU
from fastnet.activations import ACTIVATIONS
from fastnet.engine import gradient_check
from fastnet.engine.run import Run
from fastnet.kernels import codes
from fastnet.losses import LOSSES

NETS = [
    ((), "sigmoid", None),
    (("tanh",), "linear", None),
    (("relu", "leaky_relu"), "sigmoid", None),
    (("sigmoid", "tanh"), "tanh", "mean_squared_error"),
    (("leaky_relu",), "sigmoid", "mean_squared_error"),
    (("elu", "gelu"), "silu", "mean_squared_error"),
    (("mish", "softplus"), "selu", "mean_squared_error"),
]

ACTIVATIONS_BY_UNIT = [*(name for name in ACTIVATIONS if name != "softmax"), LeakyReLU(0.2)]
SETTINGS = {
    "none": ({}, None),
    "weights": ({}, np.arange(17) % 4),
    "L1": ({"l1": 0.5}, None),
    "L2": ({"l2": 0.5}, None),
    "all": ({"l1": 0.3, "l2": 0.2}, np.arange(17) % 4),
}


@pytest.mark.jit  # 2,500 networks
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_output_activation_weight_and_penalty(loss, setting):
    X, y = random_data(17, 3, 2)
    y = random_classes(17, 2)[1] if loss == "categorical_crossentropy" else y
    penalties, weights = SETTINGS[setting]
    needed = LOSSES[loss].activation
    for last in [needed] if needed else ACTIVATIONS_BY_UNIT:
        for hidden in ACTIVATIONS_BY_UNIT:
            model = make_model((3, 4, 2), (hidden, last), loss=loss, scale=0.7, **penalties)
            report = model.check_gradients(X, y, weights)
            assert report.max_relative_error <= 1e-6, (hidden, last, report)


@pytest.mark.parametrize("hidden", ACTIVATIONS_BY_UNIT, ids=str)
def test_every_hidden_activation_in_a_deeper_network(hidden):
    model = make_model((3, 5, 4, 1), (hidden, hidden, "sigmoid"), scale=0.7)
    report = model.check_gradients(*random_data(17, 3))
    assert report.max_relative_error <= 1e-6, report


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("l2", [0.0, 2.0])
@pytest.mark.parametrize(("hidden", "last", "loss"), NETS)
def test_back_propagation_agrees_with_central_differences(hidden, last, loss, l2, dtype):
    model = make_model((3, *[5 for _ in hidden], 2), (*hidden, last), loss=loss, l2=l2, dtype=dtype)
    X, y = random_data(17, 3, 2)
    report = model.check_gradients(X, y)
    assert report.ok, report
    assert report.max_relative_error <= 1e-6
    assert [dW.shape for dW, _ in report.errors] == [layer.W.shape for layer in model.layers]
    assert repr(report).endswith(f"ok: {report.max_relative_error:.2e}, tolerance 1e-06")


def test_a_wrong_gradient_is_found(monkeypatch):
    model = make_model((3, 5, 1), ("tanh", "sigmoid"))
    X, y = random_data(17, 3)

    class WrongRun(Run):
        def cost(self):
            cost = super().cost()
            if self.mode == codes.GRADIENT:
                self.gradient[7] *= 1.001
            return cost

    monkeypatch.setattr(gradient_check, "Run", WrongRun)
    report = model.check_gradients(X, y)
    assert not report.ok
    assert "NOT ok" in str(report)
    assert np.unravel_index(report.errors[0][0].argmax(), (5, 3)) == (2, 1)


@pytest.mark.jit
def test_units_next_to_their_kink_are_no_errors():
    rng = np.random.default_rng(0)
    for seed in range(30):
        X, y = rng.standard_normal((50, 10)), rng.random(50) < 0.5
        report = make_model((10, 16, 8, 1), ("relu", "relu", "sigmoid"), seed=seed).check_gradients(X, y)
        assert report.ok, report


def test_it_leaves_the_parameters_alone_and_builds_when_needed():
    X, y = random_data(17, 3)
    model = make_model((3, 5, 1), ("tanh", "sigmoid"), dtype="float32")
    before = model.parameters.copy()
    model.check_gradients(X, y)
    np.testing.assert_array_equal(model.parameters, before)
