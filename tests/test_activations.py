"""Activations and their derivatives against the reference."""

import numpy as np
import pytest
import reference
from bounds import DTYPES, TEN_BATCHES, Guarded, assert_within
from compiled import part

from fastnet.activations import ACTIVATIONS
from fastnet.kernels.activations import make_activation, make_derivative

ELEMENTWISE = [name for name in ACTIVATIONS if name != "softmax"]  # see test_losses.py for that


def points(n, dtype):
    return (np.random.default_rng(n).standard_normal(n) * 4).astype(dtype)


def activate(name, Z):
    """A <- g(Z), in place, of a row."""
    if name != "linear":
        part(make_activation, ACTIVATIONS[name].code)(1, Z.size, Z, 0, Z.size)


def multiply_by_derivative(name, A, dZ):
    """DZ <- dZ * g'(Z), in place, of a row."""
    if name != "linear":
        S = np.concatenate([A, dZ])
        part(make_derivative, ACTIVATIONS[name].code)(1, A.size, S, 0, A.size, A.size)
        np.testing.assert_array_equal(S[: A.size], A)
        dZ[:] = S[A.size :]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activate(name, dtype):
    for n in TEN_BATCHES:
        Z = points(n, dtype)
        A = Guarded(n, dtype)
        A.inside[:] = Z
        activate(name, A.inside)
        exact = reference.activation(Z.astype(float), name)
        assert_within(A.inside, exact, np.abs(exact), 1)
        A.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "linear"])
def test_some_columns_of_a_block(name, dtype):
    """Those and no others; with each activation, and with its derivative."""
    n, ld, columns, code = 5, 16, 9, ACTIVATIONS[name].code
    Z, dA = points(n * ld, dtype).reshape(n, ld), points(n * ld + 1, dtype)[1:].reshape(n, ld)
    S = Guarded(2 * n * ld, dtype)
    A, dZ = S.inside.reshape(2, n, ld)
    A[:, :columns], dZ[:, :columns] = Z[:, :columns], dA[:, :columns]
    part(make_activation, code)(n, columns, S.whole, S.offset, ld)
    z, da = Z[:, :columns].astype(float), dA[:, :columns].astype(float)
    exact = reference.activation(z, name)
    assert_within(A[:, :columns], exact, np.abs(exact) + (name == "softmax"), n)
    if name != "softmax":
        part(make_derivative, code)(n, columns, S.whole, S.offset, S.offset + n * ld, ld)
        assert_within(dZ[:, :columns], da * reference.activation_derivative(z, exact, name), np.abs(da), 1)
    assert np.isnan(A[:, columns:]).all()
    assert np.isnan(dZ[:, columns:]).all()
    S.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_multiply_by_derivative(name, dtype):
    for n in TEN_BATCHES:
        Z, dA = points(n, dtype), points(n + 1, dtype)[1:]
        A = reference.activation(Z.astype(float), name).astype(dtype)
        dZ = Guarded(n, dtype)
        dZ.inside[:] = dA
        multiply_by_derivative(name, A, dZ.inside)
        exact = dA * reference.activation_derivative(Z.astype(float), reference.activation(Z.astype(float), name), name)
        # The derivative is taken from the rounded value a: 1 - a and 1 - a^2 are off by the rounding of a.
        assert_within(dZ.inside, exact, np.abs(dA.astype(float)), 1)
        dZ.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_and_infinity_pass_through(name, dtype):
    A = np.array([np.nan, np.inf, -np.inf], dtype)
    activate(name, A)
    limits = {"linear": (np.inf, -np.inf), "sigmoid": (1, 0), "tanh": (1, -1), "relu": (np.inf, 0)}
    np.testing.assert_array_equal(A, np.array([np.nan, *limits.get(name, (np.inf, -np.inf))], dtype))


def test_derivative_at_the_kink_is_the_one_on_its_left():
    for name, slope in (("relu", 0.0), ("leaky_relu", 0.01)):
        dZ = np.ones(1)
        multiply_by_derivative(name, np.zeros(1), dZ)
        assert dZ[0] == slope == reference.activation_derivative(np.zeros(1), np.zeros(1), name)[0]
