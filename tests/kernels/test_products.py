"""The three products of a dense layer, and the bias gradient, against NumPy over odd shapes."""

from itertools import product

import numpy as np
import pytest
from bounds import DTYPES, SEVEN_UNITS, TEN_BATCHES, Guarded, assert_within
from compiled import Chunk, from_python, part
from conftest import JIT_DISABLED

from fastnet.kernels import products
from fastnet.kernels.blocks import BOUNDS_CHECKED, TALL
from fastnet.kernels.ir.tiles import START_BIAS, START_ZERO
from fastnet.kernels.plan import LANES, NARROW_UP_TO, PADDING, PANEL, TEMPORARY, TERMS_AT_ONCE, computed_columns, padded

UNITS = (1, 7, 17) if JIT_DISABLED else SEVEN_UNITS
BATCHES = (1, 16, 65) if JIT_DISABLED else TEN_BATCHES
CHUNKS = tuple(m for m in BATCHES if m <= 512)
BEYOND_A_PASS = 70 if JIT_DISABLED else TERMS_AT_ONCE + 3


def random_layer(n, n_prev, m, dtype):
    """Return the parameters of a layer, W and b of them in float64, and an A_prev (n_prev, m)."""
    rng = np.random.default_rng(n)
    parameters = rng.standard_normal(n * n_prev + n).astype(dtype)
    A_prev = rng.standard_normal((n_prev, m)).astype(dtype)
    W, b = parameters[: n * n_prev].reshape(n, n_prev).astype(float), parameters[n * n_prev :, None].astype(float)
    return parameters, W, b, A_prev


def assert_product(Z, W, b, A_prev):
    A_prev = A_prev.astype(float)
    assert_within(Z, W @ A_prev + b, np.abs(W) @ np.abs(A_prev) + np.abs(b), W.shape[1] + 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", [*UNITS, BEYOND_A_PASS])
@pytest.mark.parametrize("n", UNITS)
def test_matmul_plus_bias(n, n_prev, dtype):
    for m, with_bias in product(CHUNKS, (True, False)):
        parameters, W, b, A_prev = random_layer(n, n_prev, m, dtype)
        chunk = Chunk((n_prev, n), m, dtype, use_bias=with_bias, backward=False)
        chunk.put(0, "A", A_prev)
        if not with_bias:
            parameters = parameters[: n * n_prev].copy()
        part("matmul_plus_bias")(chunk.layers, 1, 0, computed_columns(m), m, parameters, chunk.S.inside)
        assert_product(chunk.get(1, "A"), W, b * with_bias, A_prev)
        chunk.assert_untouched(chunk.place(1, "A", m=padded(m)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("m", "first", "stop"),
    [(1, 0, 16), (20, 0, 24), (39, 0, 40), (70, 16, 80), (65, 64, 80), (100, 48, 104), (512, 0, 512), (300, 48, 304)],
)
@pytest.mark.parametrize("n_prev", [7, 45] if JIT_DISABLED else [7, 128, 300, 1023, 1024, 2049])
@pytest.mark.parametrize("n", [1, 15, 17] if JIT_DISABLED else [1, 15, 17, 65])
def test_matmul_plus_bias_of_part_of_a_chunk_is_one_chain(n, n_prev, m, first, stop, dtype, monkeypatch):
    """Of the examples first to stop alone, with b and without; in passes or not, the bits are those of one product."""
    if JIT_DISABLED and m > 70:
        pytest.skip("slow in plain Python")
    if JIT_DISABLED:  # passes of fewer inputs: compiled kernels have the sizes within them
        for name, value in (("BLOCK_ROWS_FROM", 32), ("TERMS_AT_ONCE", 32), ("ROWS_AT_ONCE", 8), ("TEMPORARY", 300)):
            monkeypatch.setattr(products, name, value)
    parameters, W, b, A_prev = random_layer(n, n_prev, padded(m), dtype)
    for with_bias in (True, False):
        # As blocks that are dense and full of examples, or else an input before so few units would be kept by rows.
        chunk = Chunk((1, n_prev, n), m, dtype, use_bias=with_bias, backward=False)
        layers = chunk.layers[1:].copy()
        layers["W"][1], layers["b"][1] = 0, n * n_prev if with_bias else -1
        chunk.put(1, "A", A_prev)
        multiply = part("matmul_plus_bias")
        multiply(layers.view(type(chunk.layers)), 1, first, stop, m, parameters, chunk.S.inside)
        Z = chunk.get(2, "A", m=padded(m))
        assert_product(Z[:, first:stop], W, b * with_bias, A_prev[:, first:stop])
        chunk.assert_untouched(chunk.place(2, "A", first=first, m=padded(stop)))
        for start in range(first // LANES * LANES, stop, LANES):
            begin, end = max(start, first), min(start + LANES, stop)
            T = np.full((n_prev + n) * LANES, np.nan, dtype)
            T[: n_prev * LANES].reshape(n_prev, LANES)[:, : end - begin] = A_prev[:, begin:end]
            from_python(products.multiply)(
                n, end - begin, (T, n_prev * LANES, LANES), (parameters, 0, n_prev, 1, 1), (T, 0, LANES, 0), n_prev,
                START_BIAS if with_bias else START_ZERO, (parameters, n * n_prev if with_bias else 0),
            )  # fmt: skip
            same = T[n_prev * LANES :].reshape(n, LANES)[:, : end - begin]
            np.testing.assert_array_equal(Z[:, begin:end], same)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", UNITS)
@pytest.mark.parametrize("n", UNITS)
def test_matmul_plus_bias_of_rows(n, n_prev, dtype):
    """With units in the lanes: to the bits that examples in the lanes have."""
    for m, with_bias in product((1, 3, 4, 7), (True, False)):
        parameters, W, b, A_prev = random_layer(n, n_prev, m, dtype)
        found = []
        for few_rows in (True, False):
            chunk = Chunk((n_prev, n), m, dtype, use_bias=with_bias, backward=False, few_rows=few_rows)
            chunk.put(0, "A", A_prev)
            name, stop = ("matmul_plus_bias_of_rows", m) if few_rows else ("matmul_plus_bias", computed_columns(m))
            part(name)(chunk.layers, 1, 0, stop, m, parameters, chunk.S.inside)
            found.append(chunk.get(1, "A"))
            chunk.assert_untouched(chunk.place(1, "A", n=padded(n), m=m if few_rows else padded(m)))
        assert_product(found[0], W, b * with_bias, A_prev)
        np.testing.assert_array_equal(*found)


def check_input_gradient(n, n_prev, m, first, stop, dtype):
    parameters, W, _, _ = random_layer(n, n_prev, m, dtype)
    dZ = np.random.default_rng(n).standard_normal((n, m)).astype(dtype)
    chunk = Chunk((1, n_prev, n), m, dtype)
    chunk.layers["W"][2] = 0
    chunk.put(2, "dZ", dZ)
    part("input_gradient")(chunk.layers, 2, first, stop, parameters, chunk.S.inside, 0)
    last = min(stop, m)
    dA_prev, dZ = chunk.get(1, "dZ", first=first, m=last), dZ[:, first:last].astype(float)
    assert_within(dA_prev, W.T @ dZ, np.abs(W.T) @ np.abs(dZ), n)
    chunk.assert_untouched(chunk.place(1, "dZ", first=first, m=padded(stop)), slice(TEMPORARY))
    return dA_prev, not np.isnan(chunk.S.inside[:TEMPORARY]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", UNITS)
@pytest.mark.parametrize("n", [*UNITS, BEYOND_A_PASS])
def test_input_gradient(n, n_prev, dtype):
    for m in CHUNKS:
        stop = padded(m)
        for first in {0, stop // 2 // PADDING * PADDING}:
            _, packed = check_input_gradient(n, n_prev, m, first, stop, dtype)
            assert not packed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "n", [5] if JIT_DISABLED else [1, 33, TERMS_AT_ONCE // 2 + 1, TERMS_AT_ONCE + 1, TERMS_AT_ONCE + 3]
)
@pytest.mark.parametrize("beyond", [5, 13])
def test_input_gradient_of_a_matrix_that_is_laid_out_anew(n, beyond, dtype):
    """From enough columns on, and only then; an example's result is the same bits either way."""
    n_prev, columns = products.PACK_INPUTS + beyond, products.PACK_COLUMNS
    whole, packed = check_input_gradient(n, n_prev, 150, 48, 48 + columns, dtype)
    assert packed
    some, packed = check_input_gradient(n, n_prev, 150, 48, 48 + columns - PADDING, dtype)
    assert not packed
    np.testing.assert_array_equal(whole[:, :-PADDING], some)


def chunk_for_gradients(n, n_prev, m, dtype, **layout):
    """Return a chunk that holds dZ and A_prev, those two, and numbers that a gradient may be added to."""
    rng = np.random.default_rng(n)
    chunk = Chunk((n_prev, n), m, dtype, **layout)
    dZ, A_prev = (rng.standard_normal((units, m)).astype(dtype) for units in (n, n_prev))
    chunk.put(1, "dZ", dZ)
    chunk.put(0, "A", A_prev)
    if chunk.layers["AT"][0] >= 0:
        chunk.put(0, "AT", A_prev)
    return chunk, dZ, A_prev, rng.standard_normal(n * n_prev + n).astype(dtype)


def pieces(n, step):
    """Yield the whole of 0 to n, then two parts of it, the first of them a multiple of `step`."""
    yield [(0, n)]
    middle = n // 2 // step * step
    yield [(0, middle), (middle, n)]


def guarded_gradient(before, add):
    """Return guarded memory for dW and then db, which holds `before` if that is to be added to."""
    gradient = Guarded(before.size, before.dtype)
    if add:
        gradient.inside[:] = before
    return gradient


def assert_gradient(gradient, dZ, A_prev, before, add):
    old = before.astype(float) * add
    D, A = dZ.astype(float), A_prev.astype(float)
    exact = np.concatenate([(D @ A.T).ravel(), D.sum(axis=1)]) + old
    magnitude = np.concatenate([(np.abs(D) @ np.abs(A.T)).ravel(), np.abs(D).sum(axis=1)]) + np.abs(old)
    assert_within(gradient.inside, exact, magnitude, dZ.shape[1] + 1)
    gradient.assert_guards()


def check_weight_and_bias_gradient(name, n, n_prev, m, add, dtype, row_step, **layout):
    """Compute them by rows and by columns, in one part or in two: to the same bits, which it returns."""
    chunk, dZ, A_prev, before = chunk_for_gradients(n, n_prev, m, dtype, **layout)
    results = set()
    for rows, columns in product(pieces(n, row_step), pieces(n_prev, PANEL)):
        gradient = guarded_gradient(before, add)
        for share in ((*i, *j) for i in rows for j in columns):
            part(name)(chunk.layers, 1, share, m, chunk.S.inside, 0, gradient.inside, 0, add)
        for i in rows:
            part("bias_gradient")(chunk.layers, 1, (*i, 0, n_prev), m, chunk.S.inside, gradient.inside, n * n_prev, add)
        assert_gradient(gradient, dZ, A_prev, before, add)
        results.add(gradient.inside.tobytes())
    chunk.assert_untouched(slice(TEMPORARY))
    (found,) = results
    return np.frombuffer(found, dtype)[: n * n_prev].reshape(n, n_prev)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", UNITS)
@pytest.mark.parametrize("n", UNITS)
def test_weight_and_bias_gradient(n, n_prev, dtype):
    for m, add in product(CHUNKS, (False, True)):
        check_weight_and_bias_gradient("weight_gradient", n, n_prev, m, add, dtype, TALL, panels=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", UNITS)
@pytest.mark.parametrize("n", range(1, NARROW_UP_TO + 1))
def test_weight_gradient_of_few_units(n, n_prev, dtype):
    for m, add in product(CHUNKS, (False, True)):
        check_weight_and_bias_gradient("narrow_weight_gradient", n, n_prev, m, add, dtype, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", UNITS)
@pytest.mark.parametrize("n_prev", range(1, NARROW_UP_TO + 1))
def test_weight_gradient_of_few_inputs(n_prev, n, dtype):
    """To the bits of the layer that has them the other way round, whose sums are of its inputs."""
    for m, add in product(CHUNKS, (False, True)):
        dW = check_weight_and_bias_gradient("narrow_weight_gradient", n, n_prev, m, add, dtype, 1)
        if add or n < n_prev:
            continue
        _, dZ, A_prev, _ = chunk_for_gradients(n, n_prev, m, dtype)
        turned, gradient = Chunk((n, n_prev), m, dtype), np.full(n * n_prev, np.nan, dtype)
        turned.put(0, "A", dZ)
        turned.put(1, "dZ", A_prev)
        of_all = 0, n_prev, 0, n
        part("narrow_weight_gradient")(turned.layers, 1, of_all, m, turned.S.inside, 0, gradient, 0, False)
        np.testing.assert_array_equal(dW, gradient.reshape(n_prev, n).T)


def test_an_empty_share_touches_nothing():
    chunk = Chunk((5, 5, 40), 1, "float32", panels=True)
    S, layers, none = chunk.S.inside, chunk.layers, np.zeros(0, np.float32)
    for share in ((3, 3, 0, 5), (0, 3, 5, 5), (3, 3, 0, 0)):
        for name in ("weight_gradient", "narrow_weight_gradient"):
            part(name)(layers, 1, share, 1, S, 0, none, 0, False)
    part("weight_gradient")(layers, 2, (3, 3, 0, PANEL), 1, S, 0, none, 0, False)
    part("bias_gradient")(layers, 1, (3, 3, 0, 5), 1, S, none, 0, False)
    part("input_gradient")(layers, 2, 16, 16, none, S, 0)
    part("matmul_plus_bias")(layers, 1, 16, 16, 1, none, S)
    chunk.assert_untouched()


BEYOND = [-1, "end", 2**40]
"""Where an array is made to begin: before it, near its end, far past it."""


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
class TestBounds:
    """Each product is made to reach past one of its arrays; where it is not, it raises nothing."""

    def check(self, chunk, name, arguments, l, field, bad):
        """Call a part; move what a field of layer l says, and call it again."""
        part(name)(chunk.layers, *arguments)
        chunk.layers[field][l] = chunk.S.inside.size - 4 if bad == "end" else bad
        with pytest.raises(IndexError):
            part(name)(chunk.layers, *arguments)

    @pytest.mark.parametrize("bad", BEYOND)
    @pytest.mark.parametrize("few_rows", [False, True])
    @pytest.mark.parametrize(("l", "field"), [(0, "A"), (1, "A"), (1, "W"), (1, "b")])
    def test_forward(self, l, field, few_rows, bad):
        if (field, bad) == ("b", -1):
            pytest.skip("there is no bias then")
        m, chunk = 5, Chunk((9, 7), 5, "float32", backward=False, few_rows=few_rows)
        parameters = np.zeros(chunk.n_parameters, np.float32)
        name = "matmul_plus_bias_of_rows" if few_rows else "matmul_plus_bias"
        self.check(chunk, name, (1, 0, 5 if few_rows else 8, m, parameters, chunk.S.inside), l, field, bad)

    @pytest.mark.parametrize("few_rows", [False, True])
    def test_parameters_that_are_not_all_there(self, few_rows):
        m, chunk = 5, Chunk((9, 7), 5, "float32", backward=False, few_rows=few_rows)
        parameters = np.zeros(chunk.n_parameters - 1, np.float32)
        name = "matmul_plus_bias_of_rows" if few_rows else "matmul_plus_bias"
        with pytest.raises(IndexError):
            part(name)(chunk.layers, 1, 0, 5 if few_rows else 8, m, parameters, chunk.S.inside)

    @pytest.mark.parametrize("bad", BEYOND)
    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize(("l", "field"), [(1, "dZ"), (2, "dZ"), (2, "W"), (2, "head")])
    def test_input_gradient(self, l, field, packed, bad):
        units, m = ((1, products.PACK_INPUTS + 5, 3), products.PACK_COLUMNS) if packed else ((1, 9, 3), 16)
        chunk = Chunk(units, m, "float32")
        parameters, S = np.zeros(chunk.n_parameters, np.float32), chunk.S.inside
        if field != "head":
            self.check(chunk, "input_gradient", (2, 0, m, parameters, S, 0), l, field, bad)
        elif packed:
            with pytest.raises(IndexError):
                part("input_gradient")(chunk.layers, 2, 0, m, parameters, S, S.size - 4 if bad == "end" else bad)

    def test_laying_a_matrix_out_anew(self):
        W, S = np.zeros((3, 10), np.float32), np.zeros(3 * 2 * TALL, np.float32)
        copy_panels = from_python(products.copy_panels)
        copy_panels(W, 0, 10, S, 0, 3, 10)
        for w, target in ((1, 0), (-1, 0), (0, 3 * 2 * TALL - 3 * 10 + 10), (0, -1)):
            with pytest.raises(IndexError):
                copy_panels(W, w, 10, S, target, 3, 10)

    @pytest.mark.parametrize("bad", BEYOND)
    @pytest.mark.parametrize(
        ("name", "units", "l", "field"),
        [
            ("weight_gradient", (40, 9), 0, "AT"), ("weight_gradient", (40, 9), 1, "dZ"),
            ("narrow_weight_gradient", (40, 3), 0, "A"), ("narrow_weight_gradient", (40, 3), 1, "dZ"),
            ("narrow_weight_gradient", (3, 40), 0, "A"), ("narrow_weight_gradient", (3, 40), 1, "dZ"),
        ],
    )  # fmt: skip
    def test_weight_gradients(self, name, units, l, field, bad):
        m, chunk = 17, Chunk(units, 17, "float32", panels=True)
        n_prev, n = units
        gradient, share = np.zeros(n * n_prev, np.float32), (0, n, 0, n_prev)
        for w, head in ((1, 0), (-1, 0), (0, chunk.S.inside.size - 4), (0, -1)):
            if head and name == "narrow_weight_gradient" and n < n_prev:
                continue  # which needs no head
            with pytest.raises(IndexError):
                part(name)(chunk.layers, 1, share, m, chunk.S.inside, head, gradient, w, False)
        self.check(chunk, name, (1, share, m, chunk.S.inside, 0, gradient, 0, False), l, field, bad)

    @pytest.mark.parametrize("bad", BEYOND)
    def test_bias_gradient(self, bad):
        m, chunk, gradient = 17, Chunk((3, 9), 17, "float32"), np.zeros(9, np.float32)
        for b in (1, -1):
            with pytest.raises(IndexError):
                part("bias_gradient")(chunk.layers, 1, (0, 9, 0, 3), m, chunk.S.inside, gradient, b, False)
        self.check(chunk, "bias_gradient", (1, (0, 9, 0, 3), m, chunk.S.inside, gradient, 0, False), 1, "dZ", bad)
