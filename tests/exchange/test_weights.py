"""Parameters that come as arrays, laid out as Keras and PyTorch do: all are taken, or none."""

import numpy as np
import pytest

from fastnet import Dense, Dropout, Model
from fastnet.layers import Encode, dropout_rates

RNG = np.random.default_rng(0)
KERNEL_1, BIAS_1, KERNEL_2, KERNEL_3, BIAS_3 = (
    RNG.standard_normal(shape).astype(np.float32) for shape in ((4, 6), (6,), (6, 5), (5, 2), (2,))
)
WEIGHTS = [KERNEL_1, BIAS_1, KERNEL_2, KERNEL_3, BIAS_3]
STATE_DICT = {
    "body.0.weight": KERNEL_1.T, "body.0.bias": BIAS_1, "body.3.weight": KERNEL_2.T,
    "head.weight": KERNEL_3.T, "head.bias": BIAS_3,
}  # fmt: skip


def unbuilt(dtype="float32"):
    """Return a model of a layer with bias, one without, and one with."""
    return Model([Dense(6, "tanh"), Dropout(0.5), Dense(5, "relu", use_bias=False), Dense(2)], dtype=dtype, seed=0)


def load(model, arrays):
    return model.from_keras(arrays) if isinstance(arrays, list) else model.load_torch(arrays)


@pytest.mark.parametrize("built", [True, False])
def test_encoded_columns_have_weights_for_each_input(built):
    model, encoded = Model([Encode([("value",), ("category", 3)]), Dense(2)], seed=0), np.eye(4)[[1, 2, 3]]
    encoded[:, 0] = [5, 7, 9]
    if built:
        model.build(2)
    with pytest.raises(ValueError, match=r"weights\[0\] must have shape \(4, 2\), as W1.T of this model, not \(2, 2\)"):
        model.from_keras([np.ones((2, 2)), np.ones(2)])
    kernel, bias = RNG.standard_normal((4, 2)), RNG.standard_normal(2)
    model.from_keras([kernel, bias])
    np.testing.assert_allclose(model.forward([[5, 0], [7, 1], [9, 2]]), encoded @ kernel + bias, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("arrays", [WEIGHTS, STATE_DICT], ids=["keras", "torch"])
def test_the_parameters_are_taken(arrays, built, dtype):
    model = unbuilt(dtype)
    if built:
        model.build(4)
    assert load(model, arrays) is model
    X = RNG.standard_normal((20, 4)).astype(dtype)
    A = np.maximum(0, np.tanh(X @ KERNEL_1 + BIAS_1) @ KERNEL_2) @ KERNEL_3 + BIAS_3
    np.testing.assert_allclose(model.forward(X), A, rtol=0, atol=1e-5 if dtype == "float32" else 1e-13)
    assert model.dtype == dtype
    assert dropout_rates(model.layers) == (0.5, 0, 0)


def test_a_model_that_has_predicted_goes_on_with_the_new_parameters():
    model = unbuilt()
    model.build(4)
    X = RNG.standard_normal((3, 4))
    before, vector = model.forward(X), model.parameters
    model.from_keras(tuple(WEIGHTS))
    assert np.shares_memory(model.parameters, vector)
    assert not np.array_equal(model.forward(X), before)
    np.testing.assert_array_equal(model.layers[0].W, KERNEL_1.T)
    KERNEL_1_now = model.layers[0].W.copy()
    model.layers[0].W[0, 0] += 1
    assert KERNEL_1[0, 0] == KERNEL_1_now[0, 0]


def test_the_state_dict_of_one_linear():
    model = Model([Dense(6)]).load_torch({"weight": KERNEL_1.T, "bias": BIAS_1})
    np.testing.assert_array_equal(model.layers[0].b[:, 0], BIAS_1)


def replaced(arrays, which, values):
    """Return the arrays with another in the place of one."""
    if isinstance(arrays, list):
        return [values if i == which else array for i, array in enumerate(arrays)]
    return {key: values if i == which else array for i, (key, array) in enumerate(arrays.items())}


WITH_NAN = KERNEL_3.copy()
WITH_NAN[4, 1] = np.nan


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        (
            replaced(WEIGHTS, 2, KERNEL_2.T),
            ValueError,
            r"weights\[2\] must have shape \(6, 5\), as W2.T .*not \(5, 6\)",
        ),
        (replaced(WEIGHTS, 4, np.zeros(3)), ValueError, r"weights\[4\] must have shape \(2,\), as b3 .*not \(3,\)"),
        (
            replaced(WEIGHTS, 3, WITH_NAN),
            ValueError,
            r"weights\[3\] has 1 value not finite.*weights\[3\]\[4, 1\] = nan",
        ),
        (replaced(WEIGHTS, 1, np.full(6, 1e39)), ValueError, r"weights\[1\] has 6 values not finite in float32"),
        (replaced(WEIGHTS, 1, ["a"] * 6), TypeError, r"weights\[1\] must hold real numbers"),
        (WEIGHTS[:-1], ValueError, "must be 5 arrays, for W1, b1, W2, W3, b3 of this model, but 4 came: weights.0"),
        ([], ValueError, "but 0 came. Make the model of as many layers"),
        ([*WEIGHTS, BIAS_3], ValueError, "but 6 came"),
        (
            replaced(STATE_DICT, 2, KERNEL_2),
            ValueError,
            r"state_dict\['body.3.weight'\] must have shape \(5, 6\), as W2 ",
        ),
        (replaced(STATE_DICT, 3, WITH_NAN.T), ValueError, r"state_dict\['head.weight'\]\[1, 4\] = nan"),
        ({**STATE_DICT, "norm.running_mean": BIAS_3}, ValueError, r"state_dict\['norm.running_mean'\] is neither"),
        ({**STATE_DICT, 7: BIAS_3}, ValueError, r"state_dict\[7\] is neither a weight nor a bias"),
        (dict(list(STATE_DICT.items())[1:]), ValueError, r"but 4 came: state_dict\['body.0.bias'\]"),
        (dict(reversed(STATE_DICT.items())), ValueError, "head.bias"),
    ],
)
def test_nothing_is_taken_if_an_array_is_wrong(arrays, error, message, built):
    model = unbuilt()
    if built:
        model.build(4)
    before = model.parameters.copy() if built else None
    with pytest.raises(error, match=message):
        load(model, arrays)
    if built:
        np.testing.assert_array_equal(model.parameters, before)
    else:
        assert not model.layers[0].is_bound


def test_the_number_of_features_is_that_of_a_built_model():
    model = unbuilt()
    model.build(3)
    with pytest.raises(ValueError, match=r"weights\[0\] must have shape \(3, 6\), as W1.T of this model, not \(4, 6\)"):
        model.from_keras(WEIGHTS)
    for W in (BIAS_1, np.zeros((0, 6))):
        with pytest.raises(ValueError, match=r"weights\[0\] must have 2 dimensions, \(n_prev, n\), but has shape"):
            unbuilt().from_keras(replaced(WEIGHTS, 0, W))
    with pytest.raises(ValueError, match=r"\(n, n_prev\), but has shape \(6,\)"):
        unbuilt().load_torch(replaced(STATE_DICT, 0, BIAS_1))


@pytest.mark.parametrize("weights", [KERNEL_1, {"W": KERNEL_1}, "weights.h5", None])
def test_what_is_no_list_is_refused(weights):
    with pytest.raises(TypeError, match="weights must be the list of arrays that get_weights"):
        unbuilt().from_keras(weights)


@pytest.mark.parametrize("state_dict", [WEIGHTS, "model.pt", None])
def test_what_is_no_state_dict_is_refused(state_dict):
    with pytest.raises(TypeError, match="state_dict must be what state_dict"):
        unbuilt().load_torch(state_dict)


def test_not_within_a_fit():
    model, seen = unbuilt(), []

    def load_within(model, epoch, logs):
        with pytest.raises(RuntimeError, match="from_keras was called on a model that is being trained"):
            model.from_keras(WEIGHTS)
        seen.append(epoch)

    model.fit(RNG.standard_normal((10, 4)), np.zeros((10, 2)), epochs=1, callbacks=load_within)
    assert seen == [0]
