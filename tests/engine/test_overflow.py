"""What leaves the range of a dtype outside of training is an error with its row and layer, never NaN without a word."""

import numpy as np
import pytest
from bounds import DTYPES
from compiled import make_model, random_data
from conftest import JIT_DISABLED

from fastnet import LeakyReLU
from fastnet.engine.predict import FEW
from fastnet.kernels.plan import LANES

HUGE = {"float32": 1e30, "float64": 1e250}
CALLS = ["forward", "predict", "predict_proba", "cost", "evaluate", "gradients"]


def overflowing(last, n, dtype, layer, **settings):
    """Return a model of three layers; where the first feature is 1, not 0, that layer is the first to overflow."""
    model = make_model((3, 5, 4, n), ("relu", LeakyReLU(0.5), last), dtype=dtype, **settings)
    model.parameters[:] = 0
    for number, each in enumerate(model.layers, start=1):
        each.W[:, 0] = HUGE[dtype] if number in (1, layer) else 1.0
        if number == 3:
            each.W[0, 1:] = -each.W[0, 0]  # infinity minus infinity, where layer 2 is infinite
    if layer == 1:
        model.layers[0].W[:, 0] = np.finfo(dtype).max
        model.layers[0].b[:] = np.finfo(dtype).max
    return model


def call(model, name, X, y):
    return getattr(model, name)(X) if name in ("forward", "predict", "predict_proba") else getattr(model, name)(X, y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("last", "n"), [("sigmoid", 1), ("softmax", 3), ("linear", 1), ("linear", 2)])
def test_predictions_name_the_first_row_and_layer(last, n, dtype):
    for m, bad in ((1, 0), (FEW, 3), (LANES, 63), (LANES + 1, 64), (70 if JIT_DISABLED else 1000, 66)):
        X = np.zeros((m, 3), dtype)
        X[bad:, 0] = 1
        for layer in (2,) if last == "sigmoid" else (1, 2, 3):  # of an infinite Z, a sigmoid is 0 or 1
            model = overflowing(last, n, dtype, layer)
            if layer == 1:
                X[:bad, 0] = -1  # its bias overflows nothing then
            for name in ("forward", "predict") if last == "linear" else ("forward", "predict", "predict_proba"):
                with pytest.raises(FloatingPointError) as caught:
                    call(model, name, X, None)
                assert str(caught.value).startswith(
                    f"The outputs are not finite in {dtype}: for X[{bad}], layer {layer} is the first with a "
                    "non-finite value in its output. Bring "
                )


@pytest.mark.parametrize("dtype", DTYPES)
def test_costs_and_gradients_name_them_too(dtype):
    X = np.zeros((100, 3), dtype)
    X[70:, 0] = 1
    for last, n, y in (("linear", 1, np.zeros(100)), ("softmax", 3, np.arange(100) % 3)):
        model = overflowing(last, n, dtype, 2, l2=0.1)
        before = model.parameters.copy()
        for name in ("cost", "evaluate", "gradients", "check_gradients") if dtype == "float64" else CALLS[3:]:
            what = "gradient" if "gradients" in name else "cost"
            with pytest.raises(FloatingPointError, match=rf"The {what} is not finite.* X\[70\], layer 2 is the first"):
                call(model, name, X, y)
        np.testing.assert_array_equal(model.parameters, before)
        assert np.isfinite(call(model, "forward", X[:70], y)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, LANES + 9])
def test_gradients_with_respect_to_the_input_name_the_row_too(m, dtype):
    X = np.zeros((m, 3), dtype)
    X[m - 1, 0] = 1
    place = rf"The gradients are not finite in {dtype}: for X\[{m - 1}\], "
    for last, n in (("sigmoid", 1), ("softmax", 3), ("linear", 2)):
        model = overflowing(last, n, dtype, 2)
        for settings in ({}, {"logits": True}, {"output": 0}):
            if m > 1:
                assert np.isfinite(model.input_gradients(X[:-1], **settings)).all()
            with pytest.raises(FloatingPointError, match=f"{place}layer 2 is the first with a non-finite value"):
                model.input_gradients(X, **settings)
    steep = make_model((3, 3, 1), ("relu", "sigmoid"), dtype=dtype)
    steep.parameters[:] = 0
    steep.layers[0].W[0, 0] = steep.layers[1].W[0, 0] = HUGE[dtype]
    X[m - 1, 0] = np.finfo(dtype).tiny  # of which Z is finite
    with pytest.raises(FloatingPointError, match=f"{place}though the outputs are. Bring the features"):
        steep.input_gradients(X, logits=True)
    steep.layers[0].W[1, 1] = np.nan
    with pytest.raises(ValueError, match="parameters has 1 non-finite value"):
        steep.input_gradients(X)


@pytest.mark.parametrize("weights", [None, np.ones(100)])
def test_a_loss_that_overflows_is_named(weights):
    model = make_model((3, 1), ("linear",), dtype="float32", l2=0.1)
    y = np.zeros(100)
    y[[83, 90]] = 1e30
    X = random_data(100, 3)[0]
    with pytest.raises(FloatingPointError, match=r"the loss of X\[83\] with y\[83\] is not\. Bring .*targets"):
        model.cost(X, y, weights)
    assert np.isfinite(model.gradients(X, y, weights)[0][0]).all()


def test_a_penalty_weights_and_a_gradient_that_overflow_are_named():
    X, y = random_data(9, 3)
    model = make_model((3, 1), ("linear",), l2=1.0)
    model.layers[0].W[:] = 1e200
    with pytest.raises(FloatingPointError, match=r"the penalty on the weights is not\. Lower l2 or l1\."):
        model.cost(X * 1e-200, y)
    model = make_model((3, 1), ("linear",), dtype="float32")
    with pytest.raises(FloatingPointError, match=r"losses are, and not their sum with sample_weight.*Scale sample_we"):
        model.cost(X, y + 1e10, np.full(9, 1e36))
    model = make_model((3, 2, 1), ("linear", "linear"), dtype="float32", loss="mean_absolute_error")
    model.layers[0].W[:] = 0
    with pytest.raises(FloatingPointError, match="the cost is, and the gradient of layer 1 is not"):
        model.gradients(np.full((9, 3), 3e38), y)


def test_parameters_that_are_not_finite_are_named():
    model = make_model((3, 2), ("softmax",))
    model.layers[0].W[1, 2] = np.nan
    X, _ = random_data(9, 3)
    for name in CALLS:
        with pytest.raises(ValueError, match=r"parameters has 1 non-finite value; the first is parameters\[5\] = nan"):
            call(model, name, X, np.zeros(9))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_diagnosis_shows_what_overflows(dtype):
    X = np.ones((9, 3))
    found = overflowing("linear", 2, dtype, 2).diagnose(X)
    assert np.isfinite(found.layers[0].mean)
    assert not np.isfinite(found.layers[1].mean)
    assert "inf" in str(found)
