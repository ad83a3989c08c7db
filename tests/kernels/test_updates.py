"""Updates, the finished gradient and the L2 cost against the formulas, layer by layer."""

import numpy as np
import pytest
import reference
from bounds import DTYPES, SEVEN_UNITS, Guarded, assert_within
from compiled import from_python, part

from fastnet.kernels import codes, passes, steps, updates
from fastnet.kernels.build.parts import address_of
from fastnet.kernels.penalties import make_penalty_cost, make_signs
from fastnet.kernels.plan import (
    BY_ROWS,
    DZ,
    GRADIENT_BY_ROWS,
    GRADIENT_OF_FEW,
    HEAD,
    LD,
    SIGNS,
    STEP,
    UNITS,
    B,
    W,
    make_plan,
)
from fastnet.kernels.products import make_gradient_of_few
from fastnet.kernels.wide_input import make_gradient_by_rows

M = 33


def problem(n, dtype, use_bias=True, n_x=None):
    """Return a plan of two layers, guarded parameters, gradients and moments, and lambda for each layer."""
    plan = make_plan((n_x or n, n + 1, 2), (use_bias, True), examples=1, backward=False)
    plan.rows[0, SIGNS] = address_of(make_signs, np.dtype(dtype))
    rng = np.random.default_rng(n)
    parameters, gradient = Guarded(plan.n_parameters, dtype), Guarded(plan.n_parameters, dtype)
    for buffer in (parameters, gradient):
        buffer.inside[:] = rng.standard_normal(plan.n_parameters)
    moments = Guarded(2 * plan.n_parameters, dtype)
    moments.inside[:] = rng.random(2 * plan.n_parameters)
    return plan.rows, parameters, gradient, moments, np.array([[0.0, 0.7, 0.0], [0.0, 0.0, 0.4]])


def expected(plan, p, dp, m, penalties):
    """Return dp / m + lambda / m W + l1 / m sign(W) in float64, and the magnitude of its terms."""
    decay, pull = np.zeros((2, len(p)))
    for layer in (1, 2):
        n_weights = plan[layer, UNITS] * plan[layer - 1, UNITS]
        for strengths, of_parameters in zip(penalties, (decay, pull), strict=True):
            of_parameters[plan[layer, W] : plan[layer, W] + n_weights] = strengths[layer] / m
    p, dp = p.astype(float), dp.astype(float)
    return dp / m + decay * p + pull * np.sign(p), np.abs(dp) / m + decay * np.abs(p) + pull


def finish(plan, mode, penalties, settings, parameters, gradient, moments, *, powers=(1.0, 1.0), members=1, order=1):
    """Finish every member's share, in order or from the last; return whether all was finite."""
    settings = np.array([*settings, *[0.0] * (codes.SETTINGS - len(settings))])
    arguments = penalties, settings, *powers, parameters, gradient, moments
    update = address_of(updates.make_update, parameters.dtype, mode)
    finite = [
        from_python(steps.finish_share)(plan, update, 1 / M, 1 / M, member, members, *arguments)
        for member in range(members)[::order]
    ]
    return all(finite)


def moments_of(mode, moments):
    """Return as much of the moments as the update has."""
    vectors = {codes.GRADIENT: 0, codes.SGD: 0, codes.ADAM: 2}.get(mode, 1)
    return moments[: vectors * moments.size // 2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("n", SEVEN_UNITS)
def test_finished_gradient_and_sgd(n, use_bias, dtype):
    plan, parameters, gradient, _, penalties = problem(n, dtype, use_bias)
    none = np.empty(0, dtype)
    p, dp = parameters.inside.copy(), gradient.inside.copy()
    exact, magnitude = expected(plan, p, dp, M, penalties)
    assert finish(plan, codes.SGD, penalties, [0.3], parameters.inside, gradient.inside.copy(), none)
    assert_within(parameters.inside, p - 0.3 * exact, np.abs(p) + 0.3 * magnitude, 1)
    np.testing.assert_array_equal(gradient.inside, dp)
    assert finish(plan, codes.GRADIENT, penalties, [], p, gradient.inside, none)
    assert_within(gradient.inside, exact, magnitude, 1)
    parameters.assert_guards()
    gradient.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("n", SEVEN_UNITS)
def test_adam(n, use_bias, dtype):
    """The third step, from moments at hand; their errors, and that of g, are passed on to first order."""
    plan, parameters, gradient, moments, penalties = problem(n, dtype, use_bias)
    settings, t = (0.3, 0.8, 0.95, 0.01), 3
    alpha, beta1, beta2, epsilon = settings
    p, dp = parameters.inside.copy(), gradient.inside.copy()
    mean, square = moments.inside.astype(float).reshape(2, -1)
    g, magnitude = expected(plan, p, dp, M, penalties)
    powers = (beta1**t, beta2**t)
    assert finish(
        plan, codes.ADAM, penalties, settings, parameters.inside, gradient.inside, moments.inside, powers=powers
    )
    mean, E_mean = beta1 * mean + (1 - beta1) * g, beta1 * np.abs(mean) + (1 - beta1) * (magnitude + np.abs(g))
    square, E_square = beta2 * square + (1 - beta2) * g**2, beta2 * square + (1 - beta2) * 3 * magnitude * np.abs(g)
    assert_within(moments.inside[: len(p)], mean, E_mean, 2)
    assert_within(moments.inside[len(p) :], square, E_square, 2)
    mean, E_mean = mean / (1 - powers[0]), E_mean / (1 - powers[0])
    root, E_root = np.sqrt(square / (1 - powers[1])), E_square / np.sqrt(square * (1 - powers[1]))
    step = alpha * mean / (root + epsilon)
    E_step = alpha * E_mean / (root + epsilon) + np.abs(step) * (1 + E_root / (root + epsilon))
    assert_within(parameters.inside, p - step, np.abs(p) + E_step, 2)
    first_layer = slice(0, plan[2, W])  # the other has L1 added
    np.testing.assert_array_equal(gradient.inside[first_layer], dp[first_layer])
    for buffer in (parameters, gradient, moments):
        buffer.assert_guards()


@pytest.mark.parametrize("n", [1, 17])
def test_adam_equals_the_reference_from_its_first_step(n):
    plan, parameters, gradient, moments, penalties = problem(n, "float64")
    moments.inside[:] = 0
    theirs, adam = {"p": parameters.inside.copy()}, reference.Adam(0.05, 0.7, 0.9, 1e-3)
    for t in range(1, 6):
        finish(
            plan, codes.ADAM, penalties, tuple(vars(adam).values())[:4], parameters.inside, gradient.inside.copy(),
            moments.inside,
            powers=(0.7**t, 0.9**t),
        )  # fmt: skip
        adam.update(theirs, {"dp": expected(plan, theirs["p"], gradient.inside, M, penalties)[0]})
        np.testing.assert_allclose(parameters.inside, theirs["p"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", codes.UPDATES)
@pytest.mark.parametrize(("n", "n_x"), [(1, 1), (17, 17), (33, 5), (5, 300), (2, 2100)])
@pytest.mark.parametrize("penalty", [0, 1])
def test_the_shares_of_several_members_make_the_whole(penalty, n, n_x, mode, dtype):
    """Of tall and of wide W, whoever is first; to the bit, and each parameter once."""
    settings = (0.3, 0.8, 0.95, 0.01)
    results = []
    for members, order in ((1, 1), (2, 1), (2, -1), (3, 1), (7, -1), (16, 1)):
        plan, parameters, gradient, moments, penalties = problem(n, dtype, n_x=n_x)
        penalties *= penalty
        of_mode = moments_of(mode, moments.inside)
        assert finish(
            plan, mode, penalties, settings, parameters.inside, gradient.inside, of_mode,
            powers=(0.5, 0.6), members=members, order=order,
        )  # fmt: skip
        for buffer in (parameters, gradient, moments):
            buffer.assert_guards()
        results.append(b"".join(buffer.inside.tobytes() for buffer in (parameters, gradient, moments)))
    assert len(set(results)) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("mode", [mode for mode in codes.UPDATES if mode != codes.GRADIENT])
def test_what_is_not_finite_is_noticed_wherever_it_is(mode, members, dtype):
    settings = (0.3, 0.8, 0.95, 0.01)
    plan, parameters, gradient, moments, penalties = problem(17, dtype)
    of_mode = moments_of(mode, moments.inside)
    start = [buffer.inside.copy() for buffer in (parameters, gradient, moments)]
    n = len(start[0])
    for bad in (np.nan, np.inf, -np.inf):
        for i in (0, 1, 16, plan[1, B], plan[2, W] - 1, n - 2, n - 1):
            for buffer, values in zip((parameters, gradient, moments), start, strict=True):
                buffer.inside[:] = values
            gradient.inside[i] = bad
            arguments = plan, mode, penalties, settings, parameters.inside, gradient.inside, of_mode
            assert not finish(*arguments, powers=(0.5, 0.6), members=members)


class Step:
    """Gradients of a network of random activations and dZ, and a step with them: at once, or after all are there."""

    settings = np.array([0.3, 0.8, 0.95, 0.01, *[0.0] * (codes.SETTINGS - 4)])
    m = 13

    def __init__(self, units, mode, dtype, *, use_bias=True, members=1):
        plan = make_plan(units, [use_bias] * (len(units) - 1), examples=self.m, backward=True, threads=members)
        self.plan, self.members, self.mode = plan.rows, members, mode
        self.plan[0, SIGNS] = address_of(make_signs, np.dtype(dtype))
        self.plan[0, GRADIENT_BY_ROWS] = address_of(make_gradient_by_rows, np.dtype(dtype))
        self.plan[0, GRADIENT_OF_FEW] = address_of(make_gradient_of_few, np.dtype(dtype))
        rng = np.random.default_rng(0)
        self.penalties = rng.random((2, len(units)))
        self.S, self.parameters = Guarded(plan.n_scratch, dtype), Guarded(plan.n_parameters, dtype)
        self.moments = Guarded(moments_of(mode, np.empty(2 * plan.n_parameters)).size, dtype)
        for vector in (self.S.inside[members * HEAD :], self.parameters.inside):
            vector[:] = rng.standard_normal(len(vector))
        self.moments.inside[:] = rng.random(len(self.moments.inside))
        self.gradient = Guarded(plan.n_parameters, dtype)

    def take(self, at_once):
        """Return whether all stayed finite, and the new parameters and moments."""
        update = address_of(updates.make_update, self.parameters.inside.dtype, self.mode)
        S, stage, finite = self.S.inside, passes.EVERYTHING, []
        activations = S[self.members * HEAD :].copy()
        how = 1 / M, 1 / M
        state = self.settings, 0.5, 0.6, self.parameters.inside, self.gradient.inside, self.moments.inside
        for member in range(self.members):
            share, head = (member, self.members), member * HEAD
            if at_once:
                take_steps = part(steps.make_steps)
                finite.append(
                    take_steps(self.plan, self.m, *share, S, head, stage, update, *how, self.penalties, *state)
                )
            else:
                add_gradients, finish_share = part(passes.make_gradients), from_python(steps.finish_share)
                add_gradients(self.plan, 0, self.m, *share, S, head, self.gradient.inside, False, stage)
                finite.append(finish_share(self.plan, update, *how, *share, self.penalties, *state))
        for buffer in (self.S, self.parameters, self.moments, self.gradient):
            buffer.assert_guards()
        if not self.plan[0, BY_ROWS]:  # which has a place for dW there
            np.testing.assert_array_equal(S[self.members * HEAD :], activations)
        return all(finite), self.parameters.inside.copy(), self.moments.inside.copy()


# Rows of W in parts, the last a short one; shared by columns; few units; an input kept by rows.
LARGE = [(260, 301, 7, 1), (2100, 3, 17, 2)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("mode", [codes.SGD, codes.ADAM])
@pytest.mark.parametrize("units", LARGE)
def test_a_step_at_once_is_the_step_after_all_gradients(units, mode, use_bias, members, dtype):
    assert LARGE[0][0] * LARGE[0][1] > STEP
    good, *afterwards = Step(units, mode, dtype, use_bias=use_bias, members=1).take(at_once=False)
    good_too, *at_once = Step(units, mode, dtype, use_bias=use_bias, members=members).take(at_once=True)
    assert good
    assert good_too
    for one, other in zip(afterwards, at_once, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("row", [0, 300])
def test_a_gradient_that_is_not_finite_is_kept_when_the_step_is_taken_at_once(row, members):
    step = Step(LARGE[0], codes.SGD, "float32", members=members)
    step.gradient.inside[:] = 0
    step.S.inside[step.plan[1, DZ] + row * step.plan[1, LD]] = np.inf
    assert not step.take(at_once=True)[0]
    first = row * step.plan[0, UNITS]
    bad = [*range(first, first + step.plan[0, UNITS]), step.plan[1, B] + row]
    np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(step.gradient.inside)), bad)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_square_that_overflows_is_noticed_though_the_step_is_finite(dtype):
    """Or Adam would never move that parameter again."""
    none, largest = np.zeros(1, dtype), np.sqrt(float(np.finfo(dtype).max))
    settings = np.array([0.3, 0.8, 0.95, 0.01, 0.0, 0.0])
    for size, good in ((0.9, True), (1.1, False)):
        p, moments = np.ones(1, dtype), (none.copy(), none.copy())
        gradient = np.array([size * largest], dtype)
        one, zero = p.dtype.type(1), p.dtype.type(0)
        assert from_python(updates.adam)(one, zero, settings, 0.8, 0.95, p, gradient, *moments) == good
        assert np.isfinite(p[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalty_cost(dtype):
    plan, parameters, _, _, penalties = problem(17, dtype)
    first, second = (parameters.inside[plan[layer, W] : plan[layer, B]].astype(float) for layer in (1, 2))
    exact = 0.7 / 2 * (first**2).sum() + 0.4 * np.abs(second).sum()
    cost = np.float64(part(make_penalty_cost)(plan, penalties, parameters.inside))
    assert_within(cost, exact, exact, len(first))


@pytest.mark.parametrize("dtype", DTYPES)
def test_l1_leaves_a_weight_of_zero_alone(dtype):
    p, dp = np.array([1.5, -2.5, 0.0, -0.0], dtype), np.zeros(4, dtype)
    part(make_signs)(0.25, 0, 4, 0, p, dp)
    np.testing.assert_array_equal(dp, [0.25, -0.25, 0, 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_subnormal_parameter_becomes_zero(dtype):
    """Subnormal numbers are slow to compute with, and weights under L2 would decay into them; so would moments."""
    tiny = np.finfo(dtype).tiny
    p, none = np.array([tiny, -tiny, 3 * tiny, 1.0], dtype), np.empty(0, dtype)
    settings = np.array([0.5, 0.25, 0.25, 1.0, 0.0, 0.0])
    numbers = p.dtype.type(1), p.dtype.type(0), settings
    from_python(updates.gradient_descent)(*numbers, 0.0, 0.0, p, p.copy(), none, none)
    np.testing.assert_array_equal(p, np.array([0, 0, 1.5 * tiny, 0.5], dtype))
    mean, square = np.array([2 * tiny, 8 * tiny], dtype), np.array([8 * tiny, 2 * tiny], dtype)
    p, zero = np.ones(2, dtype), np.zeros(2, dtype)
    from_python(updates.adam)(*numbers, 0.25, 0.25, p, zero, mean, square)
    np.testing.assert_array_equal(mean, np.array([0, 2 * tiny], dtype))
    np.testing.assert_array_equal(square, np.array([2 * tiny, 0], dtype))
