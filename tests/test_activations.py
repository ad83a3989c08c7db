"""Activations and their derivatives against the reference."""

import numpy as np
import pytest
import reference
from bounds import DTYPES, TEN_BATCHES, Guarded, assert_within
from compiled import from_python

from fastnet.activations import ACTIVATIONS
from fastnet.kernels.activations import activate, multiply_by_derivative

ELEMENTWISE = [name for name in ACTIVATIONS if name != "softmax"]  # see test_losses.py for that


def points(n, dtype):
    return (np.random.default_rng(n).standard_normal(n) * 4).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activate(name, dtype):
    for n in TEN_BATCHES:
        Z = points(n, dtype)
        A = Guarded(n, dtype)
        A.inside[:] = Z
        from_python(activate)(ACTIVATIONS[name].code, A.inside)
        exact = reference.activation(Z.astype(float), name)
        assert_within(A.inside, exact, np.abs(exact), 1)
        A.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_multiply_by_derivative(name, dtype):
    for n in TEN_BATCHES:
        Z, dA = points(n, dtype), points(n + 1, dtype)[1:]
        A = reference.activation(Z.astype(float), name).astype(dtype)
        dZ = Guarded(n, dtype)
        dZ.inside[:] = dA
        from_python(multiply_by_derivative)(ACTIVATIONS[name].code, A, dZ.inside)
        exact = dA * reference.activation_derivative(Z.astype(float), reference.activation(Z.astype(float), name), name)
        # The derivative is taken from the rounded value a: 1 - a and 1 - a^2 are off by the rounding of a.
        assert_within(dZ.inside, exact, np.abs(dA.astype(float)), 1)
        dZ.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_and_infinity_pass_through(name, dtype):
    A = np.array([np.nan, np.inf, -np.inf], dtype)
    from_python(activate)(ACTIVATIONS[name].code, A)
    limits = {"linear": (np.inf, -np.inf), "sigmoid": (1, 0), "tanh": (1, -1), "relu": (np.inf, 0)}
    np.testing.assert_array_equal(A, np.array([np.nan, *limits.get(name, (np.inf, -np.inf))], dtype))


def test_derivative_at_the_kink_is_the_one_on_its_left():
    for name, slope in (("relu", 0.0), ("leaky_relu", 0.01)):
        dZ = np.ones(1)
        from_python(multiply_by_derivative)(ACTIVATIONS[name].code, np.zeros(1), dZ)
        assert dZ[0] == slope == reference.activation_derivative(np.zeros(1), np.zeros(1), name)[0]
