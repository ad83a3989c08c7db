"""The three products of a dense layer, and the bias gradient, against NumPy over odd shapes."""

from itertools import product

import numpy as np
import pytest
from bounds import DTYPES, SEVEN_UNITS, TEN_BATCHES, Guarded, assert_within
from compiled import from_python, part
from conftest import JIT_DISABLED

from fastnet.kernels import products, wide_input
from fastnet.kernels.build.jit import kernel
from fastnet.kernels.ir.sums import ROWS_SUMMED, VALUES, ordered_sum
from fastnet.kernels.ir.tiles import START_BIAS, START_ZERO
from fastnet.kernels.plan import LANES, NARROW_LAYER, PADDING, PANEL, TEMPORARY, TERMS_IN_PASS, padded

UNITS = (1, 7, 17) if JIT_DISABLED else SEVEN_UNITS
BATCHES = (1, 16, 65) if JIT_DISABLED else TEN_BATCHES
CHUNKS = tuple(m for m in BATCHES if m <= 512)
BEYOND_A_PASS = 70 if JIT_DISABLED else TERMS_IN_PASS + 3


def columns_in_block(m):
    return min(LANES, padded(m))


def in_blocks(matrix, ld):
    """Return a matrix (n, m) as the scratch vector holds it, padded rows and columns NaN: what lies there must not
    matter."""
    n, m = matrix.shape
    blocks = np.full((-(-m // ld), padded(n), ld), np.nan, matrix.dtype)
    for q, block in enumerate(blocks):
        here = matrix[:, q * ld : (q + 1) * ld]
        block[:n, : here.shape[1]] = here
    return blocks


def in_panels(matrix, ld):
    """Return the transpose of a matrix (n, m) as the scratch vector holds it: panels (examples, PANEL), padding NaN."""
    n, m = matrix.shape
    panels = np.full((-(-n // PANEL), -(-m // ld) * ld, PANEL), np.nan, matrix.dtype)
    for p, panel in enumerate(panels):
        rows = matrix[p * PANEL : (p + 1) * PANEL]
        panel[:m, : len(rows)] = rows.T
    return panels


def from_blocks(flat, n, ld):
    """Return what the blocks of a chunk hold, (n, examples), and what lies in their padding."""
    blocks = flat.reshape(-1, padded(n), ld)
    return blocks[:, :n].transpose(1, 0, 2).reshape(n, -1), blocks[:, n:]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", [*UNITS, BEYOND_A_PASS])
@pytest.mark.parametrize("n", UNITS)
def test_matmul_plus_bias(n, n_prev, dtype):
    rng = np.random.default_rng(n)
    for m in BATCHES:
        for with_bias in (True, False):
            columns, ld = columns_in_block(m), LANES
            parameters = rng.standard_normal(n * n_prev + n).astype(dtype)
            A_prev = rng.standard_normal((n_prev, ld)).astype(dtype)
            S = Guarded(n_prev * ld + n * ld, dtype)
            S.inside[: n_prev * ld] = A_prev.ravel()
            b_at = n * n_prev if with_bias else -1
            from_python(products.matmul_plus_bias)(
                n, n_prev, 0, columns, parameters, 0, b_at, S.whole, S.offset, 0, S.offset + n_prev * ld, 0, ld
            )
            W = parameters[: n * n_prev].reshape(n, n_prev).astype(float)
            b = parameters[n * n_prev :, None].astype(float) * with_bias
            A = A_prev[:, :columns].astype(float)
            Z = S.inside[n_prev * ld :].reshape(n, ld)
            assert_within(Z[:, :columns], W @ A + b, np.abs(W) @ np.abs(A) + np.abs(b), n_prev + 1)
            assert np.isnan(Z[:, columns:]).all()
            S.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("m", "first", "last"),
    [(1, 0, 16), (20, 0, 24), (39, 0, 40), (70, 16, 80), (65, 64, 80), (100, 48, 104), (512, 0, 512), (300, 48, 304)],
)
@pytest.mark.parametrize("n_prev", [7, 45] if JIT_DISABLED else [7, 128, 300, 1023, 1024, 2049])
@pytest.mark.parametrize("n", [1, 15, 17] if JIT_DISABLED else [1, 15, 17, 65])
def test_matmul_plus_bias_of_part_of_a_chunk_is_one_chain(n, n_prev, m, first, last, dtype, monkeypatch):
    """Of the examples first to last alone, with b and without; in passes or not, the bits are those of one product."""
    if JIT_DISABLED and m > 70:
        pytest.skip("slow in plain Python")
    if JIT_DISABLED:  # passes of fewer inputs: compiled kernels have the sizes within them
        for name, value in (("MANY_INPUTS", 32), ("TERMS_IN_PASS", 32), ("ROWS_IN_PASS", 8)):
            monkeypatch.setattr(products, name, value)
    rng = np.random.default_rng(n)
    ld = columns_in_block(m)
    parameters = rng.standard_normal(n * n_prev + n).astype(dtype)
    A_prev = rng.standard_normal((n_prev, -(-m // ld) * ld)).astype(dtype)
    source, block = in_blocks(A_prev, ld), padded(n) * ld
    for b in (n * n_prev, -1):
        S = Guarded(source.size + len(source) * block, dtype)
        S.inside[: source.size] = source.ravel()
        from_python(products.matmul_plus_bias)(
            n, n_prev, first, last, parameters, 0, b, S.whole, S.offset, source[0].size, S.offset + source.size, block,
            ld,
        )  # fmt: skip
        Z, beyond = from_blocks(S.inside[source.size :], n, ld)
        W, bias = parameters[: n * n_prev].reshape(n, n_prev).astype(float), parameters[n * n_prev :, None] * (b >= 0)
        A = A_prev[:, first:last].astype(float)
        magnitude = np.abs(W) @ np.abs(A) + np.abs(bias)
        assert_within(Z[:, first:last], W @ A + bias, magnitude, n_prev + 1)
        assert np.isnan(Z[:, :first]).all()
        assert np.isnan(Z[:, padded(last) :]).all()
        assert np.isnan(beyond).all()
        S.assert_guards()
        for start in range(first, last, ld):
            columns, T = min(last - start, ld), np.full((n_prev + n) * LANES, np.nan, dtype)
            T[: n_prev * LANES].reshape(n_prev, LANES)[:, :columns] = A_prev[:, start : start + columns]
            from_python(products.multiply)(
                n, columns, T, n_prev * LANES, LANES, parameters, 0, n_prev, 1, 1, T, 0, LANES, 0, n_prev,
                START_ZERO if b < 0 else START_BIAS, parameters, max(b, 0),
            )  # fmt: skip
            same = T[n_prev * LANES :].reshape(n, LANES)[:, :columns]
            np.testing.assert_array_equal(Z[:, start : start + columns], same)


def check_input_gradient(n, n_prev, m, first, last, dtype):
    rng = np.random.default_rng(n)
    ld = columns_in_block(m)
    W = rng.standard_normal((n, n_prev)).astype(dtype)
    dZ = rng.standard_normal((n, -(-m // ld) * ld)).astype(dtype)
    blocks = in_blocks(dZ, ld)
    block_prev = padded(n_prev) * ld
    S = Guarded(TEMPORARY + blocks.size + len(blocks) * block_prev, dtype)
    dz, da_prev = S.offset + TEMPORARY, S.offset + TEMPORARY + blocks.size
    S.inside[TEMPORARY:][: blocks.size] = blocks.ravel()
    from_python(products.input_gradient)(
        n, n_prev, first, last, W.ravel(), 0, S.whole, dz, padded(n) * ld, da_prev, block_prev, ld, S.offset
    )
    dA_prev, beyond = from_blocks(S.inside[TEMPORARY + blocks.size :], n_prev, ld)
    W, dZ = W.astype(float), dZ[:, first:last].astype(float)
    assert_within(dA_prev[:, first:last], W.T @ dZ, np.abs(W.T) @ np.abs(dZ), n)
    assert np.isnan(dA_prev[:, :first]).all()
    assert np.isnan(dA_prev[:, last:]).all()
    assert np.isnan(beyond).all()
    S.assert_guards()
    return dA_prev[:, first:last], not np.isnan(S.inside[:TEMPORARY]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", UNITS)
@pytest.mark.parametrize("n", [*UNITS, BEYOND_A_PASS])
def test_input_gradient(n, n_prev, dtype):
    for m in CHUNKS:
        last = padded(m)
        for first in {0, last // 2 // PADDING * PADDING}:
            _, packed = check_input_gradient(n, n_prev, m, first, last, dtype)
            assert not packed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "n", [5] if JIT_DISABLED else [1, 33, TERMS_IN_PASS // 2 + 1, TERMS_IN_PASS + 1, TERMS_IN_PASS + 3]
)
@pytest.mark.parametrize("beyond", [5, 13])
def test_input_gradient_of_a_matrix_that_is_laid_out_anew(n, beyond, dtype):
    """From enough columns on, and only then; an example's result is the same bits either way."""
    n_prev, columns = products.PACK_INPUTS + beyond, products.PACK_COLUMNS
    whole, packed = check_input_gradient(n, n_prev, 150, 48, 48 + columns, dtype)
    assert packed
    part, packed = check_input_gradient(n, n_prev, 150, 48, 48 + columns - PADDING, dtype)
    assert not packed
    np.testing.assert_array_equal(whole[:, :-PADDING], part)


def problem_of_weights(n, n_prev, m, dtype):
    rng = np.random.default_rng(n)
    dZ = rng.standard_normal((n, m)).astype(dtype)
    A_prev = rng.standard_normal((n_prev, m)).astype(dtype)
    return dZ, A_prev, rng.standard_normal(n * n_prev + n).astype(dtype)


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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", UNITS)
@pytest.mark.parametrize("n", UNITS)
def test_weight_and_bias_gradient(n, n_prev, dtype):
    """By rows and by columns, in one part or in two, to the same bits."""
    for m, add in product(CHUNKS, (False, True)):
        ld = columns_in_block(m)
        dZ, A_prev, before = problem_of_weights(n, n_prev, m, dtype)
        blocks, panels = in_blocks(dZ, ld), in_panels(A_prev, ld)
        S = np.concatenate([np.full(TEMPORARY, np.nan, dtype), blocks.ravel(), panels.ravel()])
        dz, at, block, panel = TEMPORARY, TEMPORARY + blocks.size, padded(n) * ld, panels[0].size
        results = set()
        for rows, columns in product(pieces(n, products.TALL), pieces(n_prev, PANEL)):
            gradient = guarded_gradient(before, add)
            w, b = gradient.offset, gradient.offset + n * n_prev
            for i, i_end in rows:
                for j, j_end in columns:
                    from_python(products.weight_gradient)(
                        i, i_end, j, j_end, n_prev, m, S, dz, block, ld, at, panel, 0, gradient.whole, w, add
                    )
                from_python(products.bias_gradient)(i, i_end, m, S, dz, block, ld, gradient.whole, b, add)
            assert_gradient(gradient, dZ, A_prev, before, add)
            results.add(gradient.inside.tobytes())
        assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", UNITS)
@pytest.mark.parametrize("n", range(1, NARROW_LAYER + 1))
def test_narrow_weight_gradient(n, n_prev, dtype):
    """By rows and by columns, in one part or in two, to the same bits."""
    for m, add in product(CHUNKS, (False, True)):
        ld = columns_in_block(m)
        dZ, A_prev, before = problem_of_weights(n, n_prev, m, dtype)
        blocks, inputs = in_blocks(dZ, ld), in_blocks(A_prev, ld)
        S = np.concatenate([blocks.ravel(), inputs.ravel()])
        a_prev, block, block_prev = blocks.size, blocks[0].size, inputs[0].size
        results = set()
        for rows, columns in product(pieces(n, 1), pieces(n_prev, PANEL)):
            gradient = guarded_gradient(before, add)
            w, b = gradient.offset, gradient.offset + n * n_prev
            for (i, i_end), (j, j_end) in product(rows, columns):
                from_python(products.narrow_weight_gradient)(
                    i, i_end, j, j_end, n_prev, m, S, 0, block, ld, a_prev, block_prev, gradient.whole, w, add
                )
            from_python(products.bias_gradient)(0, n, m, S, 0, block, ld, gradient.whole, b, add)
            assert_gradient(gradient, dZ, A_prev, before, add)
            results.add(gradient.inside.tobytes())
        assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", UNITS)
@pytest.mark.parametrize("n_prev", range(1, NARROW_LAYER + 1))
def test_weight_gradient_of_few_inputs(n_prev, n, dtype):
    """By all rows, and by parts of them, to the bits that sums for each row have."""
    for m, add in product(CHUNKS, (False, True)):
        ld = columns_in_block(m)
        dZ, A_prev, before = problem_of_weights(n, n_prev, m, dtype)
        blocks, inputs = in_blocks(dZ, ld), in_blocks(A_prev, ld)
        S = np.concatenate([blocks.ravel(), inputs.ravel(), np.full(NARROW_LAYER * ROWS_SUMMED, np.nan, dtype)])
        a_prev, head, block, block_prev = blocks.size, blocks.size + inputs.size, blocks[0].size, inputs[0].size
        results = set()
        for rows in (*pieces(n, 1), None):
            gradient = guarded_gradient(before, add)
            w, b = gradient.offset, gradient.offset + n * n_prev
            arguments = S, 0, block, ld, a_prev, block_prev
            if rows is None:
                from_python(products.narrow_weight_gradient)(
                    0, n, 0, n_prev, n_prev, m, *arguments, gradient.whole, w, add
                )
            for first, last in rows or ():
                part(products.make_gradient_of_few)(first, last, n_prev, m, *arguments, head, gradient.whole, w, add)
            from_python(products.bias_gradient)(0, n, m, S, 0, block, ld, gradient.whole, b, add)
            assert_gradient(gradient, dZ, A_prev, before, add)
            results.add(gradient.inside.tobytes())
        assert len(results) == 1


def in_rows(matrix):
    """Return a matrix (n, m) as an input kept by rows: (m, padded n + PADDING), padding NaN."""
    n, m = matrix.shape
    rows = np.full((m, padded(n) + PADDING), np.nan, matrix.dtype)
    rows[:, :n] = matrix.T
    return rows


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", [1, 33, 70] if JIT_DISABLED else [1, 16, 33, 70, 2049])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_matmul_plus_bias_by_rows(n, n_prev, dtype):
    """Z as blocks and as rows, of all examples at once and of parts of them, with b and without."""
    rng = np.random.default_rng(n)
    for m, with_bias in product(CHUNKS, (True, False)):
        parameters = rng.standard_normal(n * n_prev + n).astype(dtype)
        A_prev = rng.standard_normal((n_prev, m)).astype(dtype)
        W, b = parameters[: n * n_prev].reshape(n, n_prev).astype(float), parameters[n * n_prev :, None] * with_bias
        magnitude = np.abs(W) @ np.abs(A_prev.astype(float)) + np.abs(b)
        inputs = in_rows(A_prev)
        results = set()
        for ld in (columns_in_block(m), 1):
            block = padded(n) * ld
            for parts in pieces(m, PADDING):
                S = Guarded(inputs.size + -(-m // ld) * block, dtype)
                S.inside[: inputs.size] = inputs.ravel()
                z = S.offset + inputs.size
                for first, last in parts:
                    part(wide_input.make_forward_by_rows)(
                        n, n_prev, first, last, parameters, 0, n * n_prev if with_bias else -1,
                        S.whole, S.offset, inputs.shape[1], z, block, ld,
                    )  # fmt: skip
                S.assert_guards()
                Z, beyond = from_blocks(S.inside[inputs.size :], n, ld)
                assert_within(Z[:, :m], W @ A_prev.astype(float) + b, magnitude, n_prev + 1)
                assert np.isnan(Z[:, m:]).all()
                assert np.isnan(beyond).all()
                results.add(Z[:, :m].tobytes())
        assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", [70] if JIT_DISABLED else [33, 70, 2049])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_weight_gradient_by_rows_is_the_other_to_the_bit(n, n_prev, dtype):
    """By parts of the columns and of the examples."""
    for m in CHUNKS:
        ld = columns_in_block(m)
        dZ, A_prev, _ = problem_of_weights(n, n_prev, m, dtype)
        blocks, inputs, panels = in_blocks(dZ, ld), in_rows(A_prev), in_panels(A_prev, ld)
        ldw, block = inputs.shape[1], padded(n) * ld
        same = np.full(n * n_prev, np.nan, dtype)
        scratch = np.concatenate([np.full(TEMPORARY, np.nan, dtype), blocks.ravel(), panels.ravel()])
        at = TEMPORARY + blocks.size
        from_python(products.weight_gradient)(
            0, n, 0, n_prev, n_prev, m, scratch, TEMPORARY, block, ld, at, panels[0].size, 0, same, 0, False
        )
        for columns, examples in product(pieces(n_prev, PANEL), pieces(m, PADDING)):
            S = Guarded(blocks.size + inputs.size + n * ldw, dtype)
            S.inside[: blocks.size + inputs.size] = np.concatenate([blocks.ravel(), inputs.ravel()])
            a, dw = S.offset + blocks.size, S.offset + blocks.size + inputs.size
            for j, j_end in columns:
                for first, last in examples:
                    part(wide_input.make_gradient_by_rows)(
                        n, j, j_end, first, last, S.whole, S.offset, block, ld, a, ldw, dw
                    )
            S.assert_guards()
            dW = S.inside[blocks.size + inputs.size :].reshape(n, ldw)[:, :n_prev]
            np.testing.assert_array_equal(dW, same.reshape(n, n_prev))


def test_an_empty_share_of_a_gradient_touches_nothing():
    S = Guarded(TEMPORARY + 64, "float32")
    from_python(products.weight_gradient)(3, 3, 0, 5, 5, 1, S.whole, 0, 16, 16, 16, 16, 0, S.whole, 0, False)
    from_python(products.weight_gradient)(3, 3, 0, PANEL, PANEL, 1, S.whole, 0, 16, 16, 16, 16, 0, S.whole, 0, False)
    from_python(products.input_gradient)(1, 1, 16, 16, S.whole, 0, S.whole, 0, 1024, 1024, 1024, 64, 0)
    from_python(products.weight_gradient)(0, 3, 5, 5, 5, 1, S.whole, 0, 16, 16, 16, 16, 0, S.whole, 0, False)
    for share in ((3, 3, 0, 5), (0, 3, 5, 5)):
        from_python(products.narrow_weight_gradient)(*share, 5, 1, S.whole, 0, 16, 16, 16, 16, S.whole, 0, False)
    part(wide_input.make_gradient_by_rows)(3, 5, 5, 0, 1, S.whole, 0, 16, 16, 0, 32, 0)
    part(wide_input.make_forward_by_rows)(3, 5, 16, 16, S.whole, 0, -1, S.whole, 0, 32, 0, 16, 16)
    from_python(products.bias_gradient)(3, 3, 1, S.whole, 0, 16, 16, S.whole, 0, False)
    assert np.isnan(S.inside).all()
    S.assert_guards()


@kernel
def sum_of_sixteen(array, start):
    return ordered_sum(array, start, 16, VALUES)


def test_reaching_outside_an_array_is_an_error_in_the_checked_modes():
    if not products.BOUNDS_CHECKED:
        pytest.skip("bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
    W, S = np.zeros(6, np.float32), np.zeros(3 * 16, np.float32)
    with pytest.raises(IndexError, match="outside"):
        from_python(products.matmul_plus_bias)(3, 2, 0, 16, W, 0, -1, S, 0, 0, 16, 0, 16)
    with pytest.raises(IndexError, match="outside"):
        from_python(sum_of_sixteen)(S[:16], 1)
