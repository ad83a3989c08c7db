"""Activations and their derivatives against the reference."""

import numpy as np
import pytest
import reference
from bounds import DTYPES, TEN_BATCHES, Guarded, assert_within
from compiled import make_model, part, random_data

from fastnet import Dense, LeakyReLU
from fastnet.activations import ACTIVATIONS, activation_for
from fastnet.kernels import codes
from fastnet.kernels.activations import (
    make_activation,
    make_activation_keeping_slope,
    make_derivative,
)
from fastnet.kernels.plan import KEPT, A, make_plan

ELEMENTWISE = [*(name for name in ACTIVATIONS if name != "softmax"), LeakyReLU(0.2), LeakyReLU(0.0), LeakyReLU(3.0)]
FROM_VALUE = [name for name in ELEMENTWISE if activation_for(name).code not in codes.SLOPE_FROM_Z]
FROM_Z = [name for name in ELEMENTWISE if activation_for(name).code in codes.SLOPE_FROM_Z]
ULP = 2
"""What an activation may be off by, in units of C eps: see test_elementary.py for what it is."""


def points(n, dtype):
    return (np.random.default_rng(n).standard_normal(n) * 4).astype(dtype)


def activate(name, Z):
    """A <- g(Z), in place, of a row."""
    code, _, setting = activation_for(name)
    part(make_activation, code)(1, Z.size, Z, 0, 0, Z.size, setting)


def activate_keeping_slope(name, Z):
    """A <- g(Z), in place, of a row; return the slopes."""
    code, _, setting = activation_for(name)
    S = np.concatenate([Z, np.full_like(Z, np.nan)])
    part(make_activation_keeping_slope, code)(1, Z.size, S, 0, Z.size, Z.size, setting)
    Z[:], slopes = S.reshape(2, -1)
    return slopes


def multiply_by_derivative(name, A, dZ):
    """DZ <- dZ * g'(Z), in place, of a row."""
    code, _, setting = activation_for(name)
    S = np.concatenate([A, dZ])
    part(make_derivative, code)(1, A.size, S, 0, A.size, A.size, setting, S, -1, 0)
    np.testing.assert_array_equal(S[: A.size], A)
    dZ[:] = S[A.size :]


def magnitude(name, Z):
    """Return |g(Z)|, or more, where the reference is off itself: a rounded square in an exponent costs tails digits."""
    exact = np.abs(reference.activation(Z, name))
    return exact * np.maximum(Z**2, 1.0) if name == "gelu" else exact


def exact_slope(name, Z):
    return reference.activation_derivative(Z, reference.activation(Z, name), name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE, ids=str)
def test_activate(name, dtype):
    for n in TEN_BATCHES:
        Z = points(n, dtype)
        A = Guarded(n, dtype)
        A.inside[:] = Z
        activate(name, A.inside)
        exact = reference.activation(Z.astype(float), name)
        assert_within(A.inside, exact, magnitude(name, Z.astype(float)), ULP)
        A.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ELEMENTWISE, "softmax"], ids=str)
def test_some_columns_of_a_block(name, dtype):
    """Those and no others; with each activation, and with its derivative."""
    n, ld, columns, (code, _, setting) = 5, 16, 9, activation_for(name)
    Z, dA = points(n * ld, dtype).reshape(n, ld), points(n * ld + 1, dtype)[1:].reshape(n, ld)
    S = Guarded(2 * n * ld, dtype)
    A, dZ = S.inside.reshape(2, n, ld)
    A[:, :columns], dZ[:, :columns] = Z[:, :columns], dA[:, :columns]
    part(make_activation, code)(n, columns, S.whole, S.offset, -1, ld, setting)
    z, da = Z[:, :columns].astype(float), dA[:, :columns].astype(float)
    exact = reference.activation(z, name)
    assert_within(A[:, :columns], exact, np.abs(exact) + (name == "softmax"), n)
    if name in FROM_VALUE:
        part(make_derivative, code)(n, columns, S.whole, S.offset, S.offset + n * ld, ld, setting, S.whole, -1, 0)
        assert_within(dZ[:, :columns], da * exact_slope(name, z), np.abs(da), ULP)
    assert np.isnan(A[:, columns:]).all()
    assert np.isnan(dZ[:, columns:]).all()
    S.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE, ids=str)
def test_slopes_are_kept_of_some_columns_of_a_block(name, dtype):
    """Of any activation; A has the bits that it has where no slope is kept, and dZ is dA times the slope."""
    n, ld, columns, (code, _, setting) = 5, 16, 9, activation_for(name)
    S = Guarded(3 * n * ld, dtype)
    A, slopes, dZ = S.inside.reshape(3, n, ld)
    z, kept, dz = S.offset, S.offset + n * ld, S.offset + 2 * n * ld
    Z, dA = points(n * ld, dtype).reshape(n, ld)[:, :columns], points(n * ld + 1, dtype)[1:].reshape(n, ld)[:, :columns]
    A[:, :columns], dZ[:, :columns] = Z, dA
    part(make_activation_keeping_slope, code)(n, columns, S.whole, z, kept, ld, setting)
    alone = Z.copy()
    activate(name, alone.reshape(-1))
    np.testing.assert_array_equal(A[:, :columns], alone)
    exact = exact_slope(name, Z.astype(float))
    assert_within(slopes[:, :columns], exact, np.abs(exact) + 1, 1)
    part(make_derivative, codes.KEPT_SLOPE)(n, columns, S.whole, kept, dz, ld, setting, S.whole, -1, 0)
    np.testing.assert_array_equal(dZ[:, :columns], dA * slopes[:, :columns])
    for block in (A, slopes, dZ):
        assert np.isnan(block[:, columns:]).all()
    S.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*FROM_VALUE, "kept slope"], ids=str)
def test_derivative_before_a_layer_of_one_unit(name, dtype):
    """Forms dA = W^T dZ of the next layer itself: the same as from a dA that holds it, in some columns or all."""
    code, setting = (codes.KEPT_SLOPE, 0.0) if name == "kept slope" else activation_for(name)[::2]
    n, ld = 5, 16
    for columns in (9, ld):
        A, W, dZ_next = points(n * ld, dtype), points(n, dtype), points(ld, dtype)
        S = Guarded(2 * n * ld + ld, dtype)
        a, dz, dz_next = S.offset, S.offset + n * ld, S.offset + 2 * n * ld
        S.inside[: n * ld], S.inside[-ld:] = A, dZ_next
        part(make_derivative, code)(n, columns, S.whole, a, dz, ld, setting, np.append(W[:1], W), 1, dz_next)
        found = S.inside[n * ld : -ld].reshape(n, ld)
        given = np.concatenate([A, np.outer(W, dZ_next).ravel()])
        part(make_derivative, code)(n, ld, given, 0, n * ld, ld, setting, W, -1, 0)
        np.testing.assert_array_equal(found[:, :columns], given[n * ld :].reshape(n, ld)[:, :columns])
        assert np.isnan(found[:, columns:]).all()
        np.testing.assert_array_equal(S.inside[: n * ld], A)
        S.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE, ids=str)
def test_values_do_not_depend_on_whether_slopes_are_kept(name, dtype):
    """Nor on how many there are, which decides what is computed by vectors."""
    for n in TEN_BATCHES:
        Z = np.concatenate([points(n, dtype), points(n, dtype) * 10])
        alone, beside_slopes, one_by_one = Z.copy(), Z.copy(), Z.copy()
        activate(name, alone)
        slopes = activate_keeping_slope(name, beside_slopes)
        for i in range(0, len(Z), 31):
            activate(name, one_by_one[i : i + 1])
            assert one_by_one[i] == alone[i]
        assert alone.tobytes() == beside_slopes.tobytes()
        exact = exact_slope(name, Z.astype(float))
        assert_within(slopes, exact, np.abs(exact) + 1, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FROM_VALUE, ids=str)
def test_multiply_by_derivative(name, dtype):
    for n in TEN_BATCHES:
        Z, dA = points(n, dtype), points(n + 1, dtype)[1:]
        A = reference.activation(Z.astype(float), name).astype(dtype)
        dZ = Guarded(n, dtype)
        dZ.inside[:] = dA
        multiply_by_derivative(name, A, dZ.inside)
        # The derivative is taken from the rounded value a: 1 - a and 1 - a^2 are off by the rounding of a.
        slope = exact_slope(name, Z.astype(float))
        assert_within(dZ.inside, dA * slope, np.abs(dA * np.maximum(slope, 1.0)), 1)
        dZ.assert_guards()


LIMITS = {
    "sigmoid": (1, 0), "tanh": (1, -1), "relu": (np.inf, 0), "elu": (np.inf, -1), "selu": (np.inf, -1.7580993408473766),
    "gelu": (np.inf, 0), "silu": (np.inf, 0), "mish": (np.inf, 0), "softplus": (np.inf, 0),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name != LeakyReLU(0.0)], ids=str)
def test_nan_and_infinity_pass_through(name, dtype):
    for times in (1, 16):
        alone = np.array([np.nan, np.inf, -np.inf] * times, dtype)
        kept = alone.copy()
        activate(name, alone)
        slopes = activate_keeping_slope(name, kept)
        for values in (alone, kept):
            limits = np.array([np.nan, *LIMITS.get(name, (np.inf, -np.inf))], dtype)
            np.testing.assert_array_equal(values.reshape(-1, 3), np.tile(limits, (times, 1)))
        assert not np.isnan(slopes[1::3]).any()
        assert not np.isnan(slopes[2::3]).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FROM_Z)
def test_nan_has_a_slope_that_is_none(name, dtype):
    assert np.isnan(activate_keeping_slope(name, np.full(17, np.nan, dtype))).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE, ids=str)
def test_huge_values_and_their_slopes_are_finite(name, dtype):
    sizes = np.array([10.0, 43.0, 44.0, 86.0, 100.0, 1e4, 1e10, 1e30])
    Z = np.concatenate([sizes, -sizes]).astype(dtype)
    A = Z.copy()
    slopes = activate_keeping_slope(name, A)
    exact = reference.activation(Z.astype(float), name)
    assert_within(A, exact, magnitude(name, Z.astype(float)), ULP)
    assert_within(slopes, exact_slope(name, Z.astype(float)), 3, 1)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish"])
def test_far_out_on_the_left_nothing_is_subnormal(name):
    """Those numbers are slow: what would be one is zero."""
    Z = np.linspace(-120, -5, 20_001).astype(np.float32)
    A = Z.copy()
    for values in (activate_keeping_slope(name, A), A):
        assert ((values == 0) | (np.abs(values) >= np.finfo(np.float32).tiny)).all()


def test_derivative_at_the_kink_is_the_one_on_its_left():
    kinks = {"relu": 0.0, "leaky_relu": 0.01, LeakyReLU(0.2): 0.2, "selu": 1.7580993408473766}
    for name, slope in kinks.items():
        dZ = np.ones(1)
        multiply_by_derivative(name, np.zeros(1), dZ)
        kept = activate_keeping_slope(name, np.zeros(1))
        assert dZ[0] == kept[0] == slope == exact_slope(name, np.zeros(1))[0]


def test_slopes_have_a_place_of_their_own_only_where_they_are_kept():
    n, examples = 7, 65
    keeps_slope = (True, False, True)
    for backward in (True, False):
        with_slopes = make_plan((n,) * 4, (True,) * 3, examples=examples, backward=backward, keeps_slope=keeps_slope)
        without = make_plan((n,) * 4, (True,) * 3, examples=examples, backward=backward)
        assert (without.rows[:, KEPT] == without.rows[:, A]).all()
        own_place = with_slopes.rows[1:, KEPT] != with_slopes.rows[1:, A]
        np.testing.assert_array_equal(own_place, np.array(keeps_slope) & backward)
        blocks = 2 * 16 * 64
        assert with_slopes.n_scratch - without.n_scratch == own_place.sum() * blocks


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [name for name in ACTIVATIONS if name != "softmax"])
def test_slopes_of_any_hidden_activation_may_be_kept(hidden, dtype, monkeypatch):
    """As dropout does: the network is the same."""
    X, y = random_data(70, 5)
    results = []
    for kept in (codes.SLOPE_FROM_Z, tuple(range(codes.SOFTMAX)) + tuple(range(codes.ELU, codes.MISH + 1))):
        monkeypatch.setattr(codes, "SLOPE_FROM_Z", kept)
        model = make_model((5, 7, 3, 1), (hidden, hidden, "sigmoid"), dtype=dtype)
        gradients = np.concatenate([dW.ravel() for dW, _ in model.gradients(X, y)])
        results.append((model.cost(X, y), gradients))
    assert results[0][0] == results[1][0]
    rounding = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=rounding, atol=rounding * abs(results[0][1]).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE, ids=str)
def test_training_and_prediction_see_the_same_values(name, dtype):
    """The cost of a squared error at targets that are the predictions is exactly zero."""
    X, _ = random_data(70, 5)
    model = make_model((5, 7, 3), (name, name), loss="mean_squared_error", dtype=dtype, scale=1)
    A = model.forward(X)
    assert A.any()
    assert model.cost(X, A) == 0
    gradients = model.gradients(X, A)
    assert not any(dW.any() for dW, _ in gradients)


def test_a_leaky_relu_of_another_slope():
    default, same, steeper = (
        make_model((5, 7, 1), (name, "linear")) for name in ("leaky_relu", LeakyReLU(), LeakyReLU(0.5))
    )
    X, _ = random_data(70, 5)
    np.testing.assert_array_equal(default.forward(X), same.forward(X))
    assert (default.forward(X) != steeper.forward(X)).any()
    assert steeper.layers[0].activation == LeakyReLU(0.5)
    assert repr(Dense(3, LeakyReLU(0.5))) == "Dense(3, LeakyReLU(slope=0.5))"
    assert "LeakyReLU(slope=0.5)" in steeper.summary()
