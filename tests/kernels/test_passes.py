"""The passes over a chunk: by parts of the examples or as a whole, the sums of partial results, and the steps."""

import numpy as np
import pytest
from bounds import DTYPES, TEN_BATCHES, Guarded, assert_within
from compiled import Chunk, from_python, link, part
from conftest import JIT_DISABLED
from test_updates import M, call_finish_share, job_of

from fastnet.kernels import codes, passes
from fastnet.kernels.blocks import BOUNDS_CHECKED, TALL, share_of_examples, share_of_weights
from fastnet.kernels.build.jit import kernel
from fastnet.kernels.link import Recipe, wanted
from fastnet.kernels.plan import GRAIN, HEAD, PADDING, PANEL, STEP, strategies
from fastnet.kernels.updates import RULES

CHUNKS = (1, 65) if JIT_DISABLED else tuple(m for m in TEN_BATCHES if m <= 512)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_shares_are_all_once_and_begin_where_kernels_need_it(threads):
    of_examples, of_weights = from_python(share_of_examples), from_python(share_of_weights)
    for m in TEN_BATCHES:
        shares = [of_examples(m, thread, threads) for thread in range(threads)]
        seen = [e for first, stop in shares for e in range(first, stop)]
        assert seen == list(range(len(seen)))
        assert len(seen) == -(-m // GRAIN) * GRAIN
        assert all(first % PADDING == 0 and stop % GRAIN == 0 for first, stop in shares if first < stop)
    for n, n_prev in ((1, 1), (1, 784), (33, 7), (65, 65), (7, 300)):
        times = np.zeros((n, n_prev), int)
        for thread in range(threads):
            row, stop_row, column, stop_column = of_weights(n, n_prev, thread, threads)
            times[row:stop_row, column:stop_column] += 1
            assert row % TALL == 0 or row >= n
            assert column % PANEL == 0 or column >= n_prev
        assert (times == 1).all()


@kernel
def call_sum_of_costs(network, layers, m, S):
    return passes.sum_of_costs(network, layers, m, S)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 3])
def test_sum_of_costs(rows, dtype):
    """Of the first rows of terms, and of no example past the last."""
    for m in CHUNKS:
        chunk = Chunk((5, 3), m, dtype)
        terms = np.random.default_rng(m).standard_normal((3, m)).astype(dtype)
        chunk.put(1, "terms", terms)
        chunk.network["term_rows"] = rows
        cost = np.float64(from_python(call_sum_of_costs)(chunk.network, chunk.layers, m, chunk.S.inside))
        exact = terms[:rows].astype(float)
        assert_within(cost, exact.sum(), np.abs(exact).sum(), rows * m)
        chunk.assert_untouched()


@kernel
def call_add_partial_gradients(partials, n_partials, first, stop, gradient, add):
    passes.add_partial_gradients(partials, n_partials, first, stop, gradient, add)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [False, True])
def test_partial_gradients_are_added_one_after_the_other(add, dtype):
    rng, n = np.random.default_rng(0), 33
    partials, before = rng.standard_normal((4, 48)).astype(dtype), rng.standard_normal(n).astype(dtype)
    for n_partials in (1, 2, 4):
        for shares in ([(0, n)], [(0, 7), (7, 7), (7, n)]):
            gradient = Guarded(n, dtype)
            if add:
                gradient.inside[:] = before
            for first, stop in shares:
                from_python(call_add_partial_gradients)(partials, n_partials, first, stop, gradient.inside, add)
            expected = before + partials[0, :n] if add else partials[0, :n].copy()
            for partial in partials[1:n_partials]:
                expected = expected + partial[:n]
            np.testing.assert_array_equal(gradient.inside, expected)
            gradient.assert_guards()


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
def test_partial_gradients_that_are_not_there_are_refused():
    partials, gradient = np.zeros((2, 16)), np.zeros(20)
    add = from_python(call_add_partial_gradients)
    add(partials, 2, 0, 16, gradient, False)
    for n_partials, first, stop in ((3, 0, 16), (2, 0, 17), (2, -1, 5), (1, 0, 21)):
        with pytest.raises(IndexError):
            add(partials, n_partials, first, stop, gradient, False)


NETS = [(7, 17, 5, 2), (3, 33, 1), (5, 4, 33, 1), (2100, 3, 7, 1), (40, 1030, 3)]


def linked_network(units, m, dtype, use_bias=True):
    """Return a chunk of a network of tanh, whose input and last dZ are random, linked for its passes; and parameters.

    What the passes read of dZ is there without a loss.
    """
    rng = np.random.default_rng(0)
    chunk = Chunk(units, m, dtype, use_bias=use_bias)
    recipe = recipe_of(units, use_bias, dtype)
    for use in wanted(recipe):
        link(chunk, use.layer, **{use.field: (use.part, *use.code)})
    A, dZ = (rng.standard_normal((n, m)).astype(dtype) for n in (units[0], units[-1]))
    chunk.put(0, "A", A)
    chunk.put(len(units) - 1, "dZ", dZ)
    if chunk.layers["AT"][0] >= 0:
        chunk.put(0, "AT", A)
    return chunk, (rng.standard_normal(chunk.n_parameters) / np.sqrt(max(units))).astype(dtype)


def recipe_of(units, use_bias, dtype):
    depth = len(units) - 1
    return Recipe(
        units=units, use_bias=(use_bias,) * depth, activations=(codes.TANH,) * depth, stores_slopes=(False,) * depth,
        drops=(False,) * depth, loss=codes.BINARY_CROSSENTROPY, penalised=False, with_l1=False,
        dtype=np.dtype(dtype), mode=codes.GRADIENT, batch_size=1, clipped=False, weighted=False, with_classes=False,
        one_target=False, smoothed=False, with_outputs=False,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", NETS)
def test_parts_of_the_examples_and_of_the_weights_make_the_whole(units, dtype):
    """Forward, backward and gradients, to the bit, whoever computes what; the gradient of a chunk may be added."""
    if JIT_DISABLED and max(units) > 100:
        pytest.skip("slow in plain Python")
    for m in (17, 65) if JIT_DISABLED else (1, 17, 65, 209):
        results = []
        for threads, add in ((1, False), (2, False), (3, False), (1, True)):
            chunk, parameters = linked_network(units, m, dtype)
            S, gradient = chunk.S.inside, Guarded(chunk.n_parameters, dtype)
            last = len(units) - 1
            if add:
                gradient.inside[:] = 0
            shares = [from_python(share_of_examples)(m, thread, threads) for thread in range(threads)]
            for first, stop in shares:
                part("forward")(chunk.layers, first, stop, m, parameters, S, 0, 0)
                part("backward")(chunk.layers, first, stop, parameters, S, 0)
            for thread in range(threads):
                part("gradients")(chunk.network, chunk.layers, m, thread, threads, S, 0, gradient.inside, add)
            gradient.assert_guards()
            chunk.S.assert_guards()
            outputs = [chunk.get(l, field) for l in range(1, last + 1) for field in ("A", "dZ")]
            assert all(np.isfinite(values).all() for values in (*outputs, gradient.inside))
            results.append(b"".join(values.tobytes() for values in (*outputs, gradient.inside)))
        assert len(set(results)) == 1


class Step:
    """Gradients of a network of random activations and dZ, and a step with them: at once, or after all are there."""

    m = 13

    def __init__(self, units, mode, dtype, *, use_bias=True, threads=1):
        chunk = self.chunk = Chunk(units, self.m, dtype, use_bias=use_bias, threads=threads)
        self.layers, self.threads, self.dtype = chunk.layers, threads, dtype
        rng, ways = np.random.default_rng(0), strategies(units)
        link(chunk, None, signs="signs", update=("update", mode))
        for l, way in enumerate(ways, start=1):
            link(chunk, l, weight_gradient=way.weight_gradient)
            if use_bias:
                link(chunk, l, bias_gradient="bias_gradient")
        for field in ("l1", "l2"):
            self.layers[field] = rng.random(len(units))
        self.job = job_of(
            mode=mode, threads=threads, learning_rate=0.3, beta1=0.8, beta2=0.95, epsilon=0.01, power1=0.5, power2=0.6
        )
        self.parameters = Guarded(chunk.n_parameters, dtype)
        self.moments = Guarded(RULES[mode][1] * chunk.n_parameters, dtype)
        for vector in (chunk.S.inside[threads * HEAD :], self.parameters.inside):
            vector[:] = rng.standard_normal(len(vector))
        self.moments.inside[:] = rng.random(len(self.moments.inside))
        self.gradient = Guarded(chunk.n_parameters, dtype)

    def take(self, at_once):
        """Return whether all stayed finite, and the new parameters and moments."""
        S, network, layers, finite = self.chunk.S.inside, self.chunk.network, self.layers, []
        activations = S[self.threads * HEAD :].copy()
        state = self.parameters.inside, self.gradient.inside, self.moments.inside
        for thread in range(self.threads):
            head = thread * HEAD
            if at_once:
                finite.append(part("steps")(network, layers, self.job, self.m, thread, S, head, 1 / M, *state))
            else:
                part("gradients")(network, layers, self.m, thread, self.threads, S, head, self.gradient.inside, False)
                finish = from_python(call_finish_share)
                address = network[0]["update"]
                finite.append(finish(network, layers, self.job, thread, address, 1 / M, 1 / M, *state))
        for buffer in (self.chunk.S, self.parameters, self.moments, self.gradient):
            buffer.assert_guards()
        if layers[0]["lanes"] > 1:  # otherwise, dW has a place there
            np.testing.assert_array_equal(S[self.threads * HEAD :], activations)
        return all(finite), self.parameters.inside.copy(), self.moments.inside.copy()


# Rows of W in parts, the last a short one; shared by columns; few units; a wide input.
LARGE = [(260, 301, 7, 1), (2100, 3, 17, 2)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("mode", [codes.SGD, codes.ADAM])
@pytest.mark.parametrize("units", LARGE)
def test_a_step_at_once_is_the_step_after_all_gradients(units, mode, use_bias, threads, dtype):
    assert LARGE[0][0] * LARGE[0][1] > STEP
    good, *afterwards = Step(units, mode, dtype, use_bias=use_bias, threads=1).take(at_once=False)
    good_too, *at_once = Step(units, mode, dtype, use_bias=use_bias, threads=threads).take(at_once=True)
    assert good
    assert good_too
    for one, other in zip(afterwards, at_once, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("row", [0, 300])
def test_a_gradient_that_is_not_finite_is_kept_when_the_step_is_taken_at_once(row, threads):
    step = Step(LARGE[0], codes.SGD, "float32", threads=threads)
    step.gradient.inside[:] = 0
    layer = step.layers[1]
    step.chunk.S.inside[layer["dZ"] + row * layer["ld"]] = np.inf
    assert not step.take(at_once=True)[0]
    first = row * layer["inputs"]
    bad = [*range(first, first + layer["inputs"]), layer["b"] + row]
    np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(step.gradient.inside)), bad)
