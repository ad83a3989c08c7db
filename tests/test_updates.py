"""Updates, the finished gradient and the L2 cost against the formulas, layer by layer."""

import numpy as np
import pytest
from bounds import DTYPES, SEVEN_UNITS, Guarded, assert_within
from compiled import from_python

from fastnet.kernels import codes, updates
from fastnet.kernels.plan import UNITS, B, W, make_plan


def problem(n, dtype, use_bias=True):
    """Return a plan of two layers, guarded parameters and gradients, and lambda for each layer."""
    plan = make_plan((n, n + 1, 2), (0, 0), (use_bias, True), examples=1, backward=False)
    rng = np.random.default_rng(n)
    parameters, gradient = Guarded(plan.n_parameters, dtype), Guarded(plan.n_parameters, dtype)
    for buffer in (parameters, gradient):
        buffer.inside[:] = rng.standard_normal(plan.n_parameters)
    return plan.rows, parameters, gradient, np.array([0.0, 0.7, 0.0])


def expected(plan, p, dp, m, l2):
    """Return dp / m + lambda / m W in float64, and the magnitude of its terms."""
    decay = np.zeros(len(p))
    for layer in (1, 2):
        n_weights = plan[layer, UNITS] * plan[layer - 1, UNITS]
        decay[plan[layer, W] : plan[layer, W] + n_weights] = l2[layer] / m
    p, dp = p.astype(float), dp.astype(float)
    return dp / m + decay * p, np.abs(dp) / m + decay * np.abs(p)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("n", SEVEN_UNITS)
def test_finished_gradient_and_sgd(n, use_bias, dtype):
    plan, parameters, gradient, l2 = problem(n, dtype, use_bias)
    p, dp = parameters.inside.copy(), gradient.inside.copy()
    exact, magnitude = expected(plan, p, dp, 33, l2)
    from_python(updates.finish_batch)(plan, codes.SGD, 33, l2, 0.3, parameters.inside, gradient.inside)
    assert_within(parameters.inside, p - 0.3 * exact, np.abs(p) + 0.3 * magnitude, 1)
    np.testing.assert_array_equal(gradient.inside, dp)
    from_python(updates.finish_batch)(plan, codes.GRADIENT, 33, l2, 0.3, p, gradient.inside)
    assert_within(gradient.inside, exact, magnitude, 1)
    parameters.assert_guards()
    gradient.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
def test_l2_cost(dtype):
    plan, parameters, _, l2 = problem(17, dtype)
    weights = parameters.inside[plan[1, W] : plan[1, B]].astype(float)
    exact = 0.7 / (2 * 33) * (weights**2).sum()
    assert_within(np.float64(from_python(updates.l2_cost)(plan, 33, l2, parameters.inside)), exact, exact, len(weights))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_subnormal_parameter_becomes_zero(dtype):
    """Subnormal numbers are slow to compute with, and weights under L2 would decay into them."""
    tiny = np.finfo(dtype).tiny
    p = np.array([tiny, -tiny, 3 * tiny, 1.0], dtype)
    T = p.dtype.type
    from_python(updates.finish)(codes.SGD, p, p.copy(), T(0.5), T(0), T(1))
    np.testing.assert_array_equal(p, np.array([0, 0, 1.5 * tiny, 0.5], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_finite(dtype):
    largest = np.finfo(dtype).max
    all_finite = from_python(updates.all_finite)
    assert all_finite(np.array([largest, largest, -1], dtype))
    for bad in (np.nan, np.inf, -np.inf):
        for i in (0, 15, 16, 20):
            p = np.ones(21, dtype)
            p[i] = bad
            assert not all_finite(p)
