"""The loss kernels against the reference and, for extreme logits, against mpmath."""

import mpmath
import numpy as np
import pytest
import reference
from bounds import DTYPES, TEN_BATCHES, Guarded, assert_within
from compiled import from_python

from fastnet.kernels.losses import binary_crossentropy, mean_squared_error


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_crossentropy(dtype):
    for n in TEN_BATCHES:
        rng = np.random.default_rng(n)
        Z, Y = (rng.standard_normal(n) * 5).astype(dtype), rng.random(n).astype(dtype)
        A, dZ, terms = Guarded(n, dtype), Guarded(n, dtype), Guarded(n, dtype)
        A.inside[:] = Z
        from_python(binary_crossentropy)(A.inside, Y, dZ.inside, terms.inside)
        z, y = Z.astype(float), Y.astype(float)
        a = reference.sigmoid(z)
        assert_within(A.inside, a, a, 1)
        assert_within(dZ.inside, a - y, a + y, 1)
        exact = np.array([reference.cross_entropy_cost(z[i].reshape(1, 1), y[i].reshape(1, 1)) for i in range(n)])
        assert_within(terms.inside, exact, np.abs(z) + 1, 1)
        for buffer in (A, dZ, terms):
            buffer.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("z", [0.0, 1e-30, -1e-30, 30.0, -30.0, 80.0, -80.0, 500.0, -500.0, 1e30, -1e30])
def test_binary_crossentropy_is_exact_for_any_logit(z, dtype):
    for y in (0.0, 0.25, 1.0):
        Z, dZ, terms = np.array([z], dtype), np.full(1, np.nan, dtype), np.full(1, np.nan, dtype)
        logit = mpmath.mpf(float(Z[0]))
        from_python(binary_crossentropy)(Z, np.array([y], dtype), dZ, terms)
        with mpmath.workprec(200):
            exact = max(logit, 0) - logit * y + mpmath.log1p(mpmath.exp(-abs(logit)))
            a = 1 / (1 + mpmath.exp(-logit))
            assert_within(terms, np.array([float(exact)]), float(exact), 1)
            assert_within(dZ, np.array([float(a - y)]), float(a) + y, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_squared_error(dtype):
    for n in TEN_BATCHES:
        rng = np.random.default_rng(n)
        A, Y = rng.standard_normal(n).astype(dtype), rng.standard_normal(n).astype(dtype)
        dA, terms = Guarded(n, dtype), Guarded(n, dtype)
        from_python(mean_squared_error)(A, Y, dA.inside, terms.inside)
        difference = A.astype(float) - Y
        assert_within(dA.inside, difference, np.abs(difference), 1)
        assert_within(terms.inside, difference**2 / 2, difference**2 / 2, 1)
        dA.assert_guards()
        terms.assert_guards()
