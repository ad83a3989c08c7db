"""The rules of the optimizers, the finished gradient and the penalties, against the formulas."""

import numpy as np
import pytest
import reference
from bounds import DTYPES, SEVEN_UNITS, Guarded, assert_within
from compiled import Chunk, from_python, link, part

from fastnet.kernels import codes, passes
from fastnet.kernels.blocks import BOUNDS_CHECKED
from fastnet.kernels.build.jit import kernel
from fastnet.kernels.build.load import by_name
from fastnet.kernels.plan import JOB
from fastnet.kernels.updates import RULES

M = 33
SETTINGS = {"learning_rate": 0.3, "beta1": 0.8, "beta2": 0.95, "epsilon": 0.01, "power1": 0.5, "power2": 0.6}


@kernel
def call_finish_share(network, layers, job, thread, update, per_example, penalty, parameters, gradient, moments):
    return passes.finish_share(
        network, layers, job, thread, update, per_example, penalty, parameters, gradient, moments
    )


def job_of(**fields):
    """Return the record of a job with those fields."""
    job = np.zeros(1, JOB)
    for field, value in fields.items():
        job[field] = value
    return by_name(job)


class Problem:
    """Two layers, of which the first is penalised by L2 and the other by L1, with numbers in every vector."""

    def __init__(self, n, dtype, mode, *, use_bias=True, n_x=None, penalty=1.0):
        self.mode = mode
        self.chunk = Chunk((n_x or n, n + 1, 2), 1, dtype, use_bias=use_bias, backward=False)
        self.network, self.layers = self.chunk.network, self.chunk.layers
        link(self.chunk, None, signs="signs", update="finish" if mode == codes.GRADIENT else ("update", mode))
        self.layers["l2"][1], self.layers["l1"][2] = 0.7 * penalty, 0.4 * penalty
        n_moments = 0 if mode == codes.GRADIENT else RULES[mode][1]
        size, rng = self.chunk.n_parameters, np.random.default_rng(n)
        self.parameters, self.gradient, self.moments = (Guarded(s, dtype) for s in (size, size, n_moments * size))
        for buffer in (self.parameters, self.gradient):
            buffer.inside[:] = rng.standard_normal(size)
        self.moments.inside[:] = rng.random(2 * size)[: n_moments * size]
        self.buffers = self.parameters, self.gradient, self.moments

    def vectors(self):
        return tuple(buffer.inside for buffer in self.buffers)

    def expected(self):
        """Return g = dp / m + lambda / m W + l1 / m sign(W) in float64, and the magnitude of its terms."""
        p, dp = (buffer.inside.astype(float) for buffer in self.buffers[:2])
        decay, pull = np.zeros((2, len(p)))
        for layer in self.layers[1:]:
            weights = slice(layer["W"], layer["W"] + layer["units"] * layer["inputs"])
            decay[weights], pull[weights] = layer["l2"] / M, layer["l1"] / M
        return dp / M + decay * p + pull * np.sign(p), np.abs(dp) / M + decay * np.abs(p) + pull

    def finish(self, *, threads=1, order=1, **settings):
        """Finish every thread's share, in order or from the last; return whether all was finite."""
        job = job_of(mode=self.mode, threads=threads, **(settings or SETTINGS))
        address = self.network[0]["update"]
        arguments = address, 1 / M, 1 / M, *self.vectors()
        finite = [
            from_python(call_finish_share)(self.network, self.layers, job, thread, *arguments)
            for thread in range(threads)[::order]
        ]
        return all(finite)

    def assert_guards(self):
        for buffer in self.buffers:
            buffer.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("n", SEVEN_UNITS)
def test_finished_gradient_and_sgd(n, use_bias, dtype):
    problem = Problem(n, dtype, codes.SGD, use_bias=use_bias)
    p, dp = problem.parameters.inside.copy(), problem.gradient.inside.copy()
    exact, magnitude = problem.expected()
    assert problem.finish(learning_rate=0.3)
    assert_within(problem.parameters.inside, p - 0.3 * exact, np.abs(p) + 0.3 * magnitude, 1)
    first_layer = slice(0, problem.layers[2]["W"])  # the other has L1 added
    np.testing.assert_array_equal(problem.gradient.inside[first_layer], dp[first_layer])
    problem.assert_guards()
    problem = Problem(n, dtype, codes.GRADIENT, use_bias=use_bias)
    assert problem.finish(learning_rate=np.nan)
    assert_within(problem.gradient.inside, exact, magnitude, 1)
    np.testing.assert_array_equal(problem.parameters.inside, p)
    problem.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("n", SEVEN_UNITS)
def test_adam(n, use_bias, dtype):
    """The third step, from moments at hand; their errors, and that of g, are passed on to first order."""
    problem = Problem(n, dtype, codes.ADAM, use_bias=use_bias)
    alpha, beta1, beta2, epsilon, t = 0.3, 0.8, 0.95, 0.01, 3
    p, dp = problem.parameters.inside.copy(), problem.gradient.inside.copy()
    mean, square = problem.moments.inside.astype(float).reshape(2, -1)
    g, magnitude = problem.expected()
    powers = {"power1": beta1**t, "power2": beta2**t}
    assert problem.finish(learning_rate=alpha, beta1=beta1, beta2=beta2, epsilon=epsilon, **powers)
    mean, E_mean = beta1 * mean + (1 - beta1) * g, beta1 * np.abs(mean) + (1 - beta1) * (magnitude + np.abs(g))
    square, E_square = beta2 * square + (1 - beta2) * g**2, beta2 * square + (1 - beta2) * 3 * magnitude * np.abs(g)
    moments = problem.moments.inside
    assert_within(moments[: len(p)], mean, E_mean, 2)
    assert_within(moments[len(p) :], square, E_square, 2)
    mean, E_mean = mean / (1 - powers["power1"]), E_mean / (1 - powers["power1"])
    root = np.sqrt(square / (1 - powers["power2"]))
    E_root = E_square / np.sqrt(square * (1 - powers["power2"]))
    step = alpha * mean / (root + epsilon)
    E_step = alpha * E_mean / (root + epsilon) + np.abs(step) * (1 + E_root / (root + epsilon))
    assert_within(problem.parameters.inside, p - step, np.abs(p) + E_step, 2)
    first_layer = slice(0, problem.layers[2]["W"])  # the other has L1 added
    np.testing.assert_array_equal(problem.gradient.inside[first_layer], dp[first_layer])
    problem.assert_guards()


def reference_rules():
    """Return, by code, the reference's optimizer and the settings that a job has for it."""
    return {
        codes.SGD: (reference.SGD(0.05), {"learning_rate": 0.05}),
        codes.MOMENTUM: (reference.SGD(0.05, 0.7), {"learning_rate": 0.05, "beta1": 0.7}),
        codes.NESTEROV: (reference.SGD(0.05, 0.7, nesterov=True), {"learning_rate": 0.05, "beta1": 0.7}),
        codes.RMSPROP: (reference.RMSprop(0.05, 0.9, 1e-3), {"learning_rate": 0.05, "beta2": 0.9, "epsilon": 1e-3}),
        codes.ADAGRAD: (reference.Adagrad(0.05, 1e-3), {"learning_rate": 0.05, "epsilon": 1e-3}),
        codes.ADAM: (
            reference.Adam(0.05, 0.7, 0.9, 1e-3),
            {"learning_rate": 0.05, "beta1": 0.7, "beta2": 0.9, "epsilon": 1e-3},
        ),
    }


@pytest.mark.parametrize("mode", codes.UPDATES)
@pytest.mark.parametrize("n", [1, 17])
def test_every_rule_equals_the_reference_from_its_first_step(n, mode):
    problem = Problem(n, "float64", mode)
    problem.moments.inside[:] = 0
    rule, settings = reference_rules()[mode]
    theirs, dp = {"p": problem.parameters.inside.copy()}, problem.gradient.inside.copy()
    for t in range(1, 6):
        problem.gradient.inside[:] = dp
        g = problem.expected()[0]
        assert problem.finish(**settings, power1=0.7**t, power2=0.9**t)
        rule.update(theirs, {"dp": g})
        np.testing.assert_allclose(problem.parameters.inside, theirs["p"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", [codes.GRADIENT, *codes.UPDATES])
@pytest.mark.parametrize(("n", "n_x"), [(1, 1), (17, 17), (33, 5), (5, 300), (2, 2100)])
@pytest.mark.parametrize("penalty", [0, 1])
def test_the_shares_of_several_threads_make_the_whole(penalty, n, n_x, mode, dtype):
    """Of tall and of wide W, whoever is first; to the bit, and each parameter once."""
    results = []
    for threads, order in ((1, 1), (2, 1), (2, -1), (3, 1), (7, -1), (16, 1)):
        problem = Problem(n, dtype, mode, n_x=n_x, penalty=penalty)
        assert problem.finish(threads=threads, order=order)
        problem.assert_guards()
        results.append(b"".join(vector.tobytes() for vector in problem.vectors()))
    assert len(set(results)) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("mode", codes.UPDATES)
def test_what_is_not_finite_is_noticed_wherever_it_is(mode, threads, dtype):
    problem = Problem(17, dtype, mode)
    start = [vector.copy() for vector in problem.vectors()]
    n, layers = len(start[0]), problem.layers
    for bad in (np.nan, np.inf, -np.inf):
        for i in (0, 1, 16, layers[1]["b"], layers[2]["W"] - 1, n - 2, n - 1):
            for vector, values in zip(problem.vectors(), start, strict=True):
                vector[:] = values
            problem.gradient.inside[i] = bad
            assert not problem.finish(threads=threads)


def update(mode, p, dp, *moments, rate=1.0, per_example=1.0, decay=0.0, start=0, stop=None, at=0, **settings):
    """Take the step of an optimizer for some parameters, with all arrays given whole."""
    moments = np.concatenate(moments) if moments else np.empty(0, p.dtype)
    stop = len(p) if stop is None else stop
    finite = part("update", mode)(job_of(**settings), rate, per_example, decay, start, stop, at, p, dp, moments)
    return finite, moments.reshape(-1, len(p)) if moments.size else moments


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_square_that_overflows_is_noticed_though_the_step_is_finite(dtype):
    """Or Adam would never move that parameter again."""
    none, largest = np.zeros(1, dtype), np.sqrt(float(np.finfo(dtype).max))
    settings = {"learning_rate": 0.3, "beta1": 0.8, "beta2": 0.95, "epsilon": 0.01, "power1": 0.8, "power2": 0.95}
    for size, good in ((0.9, True), (1.1, False)):
        p = np.ones(1, dtype)
        finite, _ = update(codes.ADAM, p, np.array([size * largest], dtype), none, none, **settings)
        assert finite == good
        assert np.isfinite(p[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", codes.UPDATES)
def test_some_parameters_take_their_gradient_from_elsewhere(mode, dtype):
    """Those from 5 to 9, whose gradients begin at 2: as if all lay at the same places, and no others change."""
    rng, n_moments = np.random.default_rng(0), RULES[mode][1]
    p, dp = rng.standard_normal((2, 17)).astype(dtype)
    moments = rng.random((n_moments, 17)).astype(dtype)
    whole, dp_whole, some = p.copy(), np.zeros(17, dtype), p.copy()
    dp_whole[5:9] = dp[2:6]
    _, of_whole = update(mode, whole, dp_whole, *moments, **SETTINGS)
    _, of_some = update(mode, some, dp, *moments, start=5, stop=9, at=2, **SETTINGS)
    np.testing.assert_array_equal(some[5:9], whole[5:9])
    np.testing.assert_array_equal(np.delete(some, np.s_[5:9]), np.delete(p, np.s_[5:9]))
    for row in range(n_moments):
        np.testing.assert_array_equal(of_some[row, 5:9], of_whole[row, 5:9])
        np.testing.assert_array_equal(np.delete(of_some[row], np.s_[5:9]), np.delete(moments[row], np.s_[5:9]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalty_cost(dtype):
    problem = Problem(17, dtype, codes.SGD)
    layers = problem.layers
    first, second = (problem.parameters.inside[layers[l]["W"] : layers[l]["b"]].astype(float) for l in (1, 2))
    exact = 0.7 / 2 * (first**2).sum() + 0.4 * np.abs(second).sum()
    cost = np.float64(part("penalty_cost")(layers, problem.parameters.inside))
    assert_within(cost, exact, exact, len(first))


@pytest.mark.parametrize("dtype", DTYPES)
def test_l1_leaves_a_weight_of_zero_alone(dtype):
    p, dp = np.array([1.5, -2.5, 0.0, -0.0, 1.0], dtype), np.zeros(6, dtype)
    part("signs")(0.25, 0, 4, 1, p, dp)
    np.testing.assert_array_equal(dp, [0, 0.25, -0.25, 0, 0, 0])


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
@pytest.mark.parametrize("mode", [codes.GRADIENT, *codes.UPDATES])
def test_a_share_that_is_not_there_is_refused(mode):
    """A slice of an array that ends before is silently shorter; past the parameters, the gradient, the moments."""
    n_moments = 0 if mode == codes.GRADIENT else RULES[mode][1]
    p, dp, moments = np.zeros(10), np.zeros(10), np.zeros(n_moments * 10)
    name = ("finish",) if mode == codes.GRADIENT else ("update", mode)

    def step(start, stop, at, moments=moments):
        part(*name)(job_of(**SETTINGS), 1.0, 1.0, 0.0, start, stop, at, p, dp, moments)

    step(0, 10, 0)
    step(10, 10, 10)
    for start, stop, at in ((0, 11, 0), (-1, 5, 0), (-3, -1, 0), (0, 10, 1), (0, 10, -1), (4, 6, -3), (4, 10, 5)):
        with pytest.raises(IndexError):
            step(start, stop, at)
        with pytest.raises(IndexError):
            part("signs")(1.0, start, stop, at, p, dp)
    if n_moments:
        with pytest.raises(IndexError):
            step(0, 10, 0, moments[:-1])


def test_every_update_has_a_rule():
    assert set(RULES) == set(codes.UPDATES)
