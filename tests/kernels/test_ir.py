"""The tiles, the transpose, copies and sums against NumPy; the tile's machine code."""

import platform
import re

import numpy as np
import pytest
from bounds import DTYPES, Guarded, assert_within
from compiled import from_python
from numba import njit, types

from fastnet.kernels import predict, products, wide_input
from fastnet.kernels.build.jit import OPTIONS, VECTOR_BYTES, kernel
from fastnet.kernels.ir import copies, tiles
from fastnet.kernels.ir.sums import MAGNITUDES, SQUARES, VALUES, ordered_sum
from fastnet.kernels.ir.tiles import FOUR, HALF, ONE, ONE_AND_HALF, REGISTERS, TWO, TWO_AND_HALF
from fastnet.kernels.plan import GRAIN, LANES

OF_ROWS = {products.TALL: products.tile_tall, 4: products.tile_4, 2: products.tile_2, 1: products.tile_1}
TILES = {(rows, width): tile for rows, tile in OF_ROWS.items() for width in (HALF, ONE, TWO)}
TILES[1, FOUR] = products.tile_1_wide
TILES |= {(products.TALL, width): products.tile_tall for width in (ONE_AND_HALF, TWO_AND_HALF)}
SHAPES = list(TILES)


def make_call(tile):
    @kernel
    def call(width, C, c, ldc, A, a, ra, ka, jump, B, b, kb, ahead, K, start, bias, o):
        tile(width, C, c, ldc, A, a, ra, ka, jump, B, b, kb, ahead, K, start, bias, o)

    return call


CALLS = {shape: make_call(tile) for shape, tile in TILES.items()}


def columns_of(width, dtype):
    """Return how many numbers a tile of that width holds in a row; skip where there is no such tile."""
    whole, half = REGISTERS[width]
    if half and lanes_of(dtype) <= GRAIN:
        pytest.skip("registers of this dtype hold no more than half of the widest one")
    return whole * lanes_of(dtype) + half * GRAIN


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", [tiles.START_ZERO, tiles.START_BIAS, tiles.START_TARGET, tiles.ADD_TO_TARGET])
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_tile(rows, width, start, dtype):
    rng = np.random.default_rng(0)
    columns = columns_of(width, dtype)
    ldc, kb = columns + 3, columns + 5
    for K in (1, 2, 7, 63, 64, 65, 130):
        A, B = rng.standard_normal((rows, K)).astype(dtype), rng.standard_normal((K, kb)).astype(dtype)
        bias = rng.standard_normal(rows).astype(dtype)
        before = rng.standard_normal((rows, columns)).astype(dtype)
        C = Guarded(rows * ldc, dtype)
        window = C.inside.reshape(rows, ldc)[:, :columns]
        if start in (tiles.START_TARGET, tiles.ADD_TO_TARGET):
            window[:] = before
        call = from_python(CALLS[rows, width])
        call(width, C.whole, C.offset, ldc, A.ravel(), 0, K, 1, 1, B.ravel(), 0, kb, 10**6, K, start, bias, 0)
        begin = {tiles.START_ZERO: np.zeros(1), tiles.START_BIAS: bias[:, None].astype(float)}.get(start, before)
        A, B = A.astype(float), B[:, :columns].astype(float)
        assert_within(window, begin + A @ B, np.abs(begin) + np.abs(A) @ np.abs(B), K + 1)
        assert np.isnan(C.inside.reshape(rows, ldc)[:, columns:]).all()
        C.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tile_jumps_after_a_block_of_k(dtype):
    rng = np.random.default_rng(0)
    rows, columns, K = 2, columns_of(ONE, dtype), 2 * LANES + 9
    blocks = rng.standard_normal((3, rows, LANES)).astype(dtype)
    B = rng.standard_normal((K, columns)).astype(dtype)
    C = Guarded(rows * columns, dtype)
    jump = rows * LANES - LANES + 1
    call = from_python(CALLS[2, ONE])
    call(
        ONE, C.whole, C.offset, columns, blocks.ravel(), 0, LANES, 1, jump, B.ravel(), 0, columns, 0, K,
        tiles.START_ZERO, B.ravel(), 0,
    )  # fmt: skip
    A = blocks.transpose(1, 0, 2).reshape(rows, -1)[:, :K].astype(float)
    exact = A @ B.astype(float)
    assert_within(C.inside.reshape(rows, columns), exact, np.abs(A) @ np.abs(B.astype(float)), K)
    C.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_element_of_a_tile_does_not_depend_on_its_shape(dtype):
    """One chain of fmas per element, in the order of k: what the numerical contract rests on."""
    rng = np.random.default_rng(0)
    K, columns = 100, 4 * VECTOR_BYTES // np.dtype(dtype).itemsize
    A = rng.standard_normal((products.TALL, K)).astype(dtype)
    B = rng.standard_normal((K, columns)).astype(dtype)
    results = []
    for rows, width in SHAPES:
        if REGISTERS[width][1] and lanes_of(dtype) <= GRAIN:
            continue
        C = np.full((products.TALL, columns), np.nan, dtype)
        from_python(CALLS[rows, width])(
            width, C.ravel(), 0, columns, A.ravel(), 0, K, 1, 1, B.ravel(), 0, columns, 0, K, tiles.START_ZERO,
            B.ravel(), 0,
        )  # fmt: skip
        results.append(C[0, : columns // 8].copy())
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_no_tile_spills_in_its_k_loop(rows, width, dtype):
    if VECTOR_BYTES == 16 or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("reads x86 code with vector fmas; without AVX, a tile is a row of calls")
    columns_of(width, dtype)
    tile = TILES[rows, width]

    def call(C, c, ldc, A, a, ra, ka, jump, B, b, kb, ahead, K, start, bias, o):
        tile(width, C, c, ldc, A, a, ra, ka, jump, B, b, kb, ahead, K, start, bias, o)

    T = types.float32 if dtype == "float32" else types.float64
    flat, i = types.Array(T, 1, "C"), types.intp
    dispatcher = njit((flat, i, i, flat, i, i, i, i, flat, i, i, i, i, i, flat, i), **OPTIONS)(call)
    (assembly,) = dispatcher.inspect_asm().values()
    loops = inner_loops_with_fma(assembly)
    assert loops, "no loop with vector fmas was found in the machine code"
    for loop in loops:
        assert len(re.findall(r"fn?madd\d+p", loop)) == rows * sum(REGISTERS[width]), (
            "the loop was unrolled, or not whole"
        )
        spilled = re.findall(r".*[xyz]mm\d+.*\(%rsp\).*|.*\(%rsp\), %[xyz]mm.*|.*, -?\d*\(%rsp\)$", loop, re.MULTILINE)
        assert not spilled, "\n".join(spilled)


def inner_loops_with_fma(assembly):
    """Return every stretch of code from a label to a jump back to it that holds vector fmas."""
    blocks = re.split(r"^(\.?\w+):", assembly, flags=re.MULTILINE)
    loops = []
    for label, body in zip(blocks[1::2], blocks[2::2], strict=True):
        jump_back = re.search(rf"\sj\w+\s.*{re.escape(label)}\b", body)
        if jump_back and re.search(r"fn?madd\d+p", body[: jump_back.end()]):
            loops.append(body[: jump_back.end()])
    return loops


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (16, 48), (24, 16), (64, 32), (80, 16)])
def test_transpose(rows, columns, dtype):
    rows = -(-rows // lanes_of(dtype)) * lanes_of(dtype)
    source = np.arange(rows * columns, dtype=dtype).reshape(rows, columns)
    ldt = rows + 5
    S = Guarded(rows * columns + columns * ldt, dtype)
    S.inside[: rows * columns] = source.ravel()
    from_python(products.transpose)(S.whole, S.offset, columns, S.offset + rows * columns, ldt, rows, columns)
    target = S.inside[rows * columns :].reshape(columns, ldt)
    np.testing.assert_array_equal(target[:, :rows], source.T)
    assert np.isnan(target[:, rows:]).all()
    S.assert_guards()


def lanes_of(dtype):
    return VECTOR_BYTES // np.dtype(dtype).itemsize


@kernel
def call_gather_square(X, order, o, examples, n, column, columns, target, a, lda, at, ldt):
    copies.gather_square(X, order, o, examples, n, column, columns, target, a, lda, at, ldt)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("to_at", [True, False])
def test_gather_square(to_at, dtype):
    """Of whole squares and of parts, at the last column too: X ends there, and the memory behind it is not read."""
    side = lanes_of(dtype)
    n, o, lda, ldt = side + 5, 2, side + 3, side + 1
    X = np.arange(9 * n, dtype=dtype).reshape(9, n)
    order = np.array([0, 0, 8, 3, 8, 1, *range(9), *range(9)])
    for examples in {1, 3, side}:
        for columns in {1, side - 1, side}:
            target = Guarded(side * (lda + ldt), dtype)
            a, at = target.offset, target.offset + side * lda if to_at else -1
            column = n - columns
            from_python(call_gather_square)(X, order, o, examples, n, column, columns, target.whole, a, lda, at, ldt)
            target.assert_guards()
            wanted = X[order[o : o + examples], column : column + columns]
            A = target.inside[: side * lda].reshape(side, lda)
            AT = target.inside[side * lda :].reshape(side, ldt)
            np.testing.assert_array_equal(A[:columns, :examples], wanted.T)
            assert np.isnan(A[columns:]).all()
            assert np.isnan(A[:, side:]).all()
            if to_at:
                np.testing.assert_array_equal(AT[:examples, :columns], wanted)
                assert np.isnan(AT[:, side:]).all()
            else:
                assert np.isnan(AT).all()


@kernel
def call_gather_few(X, order, o, examples, n, target, a, lda):
    copies.gather_few(X, order, o, examples, n, target, a, lda)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", range(1, copies.FEW + 1))
def test_gather_few(n, dtype):
    """Rows of X up to its last, behind which the memory is not read."""
    side, o = lanes_of(dtype), 2
    lda = side + 3
    X = np.arange(9 * n, dtype=dtype).reshape(9, n)
    order = np.array([0, 0, 8, 3, 8, 1, *range(9), *range(9)])
    for examples in {1, min(3, side), side}:
        target = Guarded(copies.FEW * lda, dtype)
        from_python(call_gather_few)(X, order, o, examples, n, target.whole, target.offset, lda)
        target.assert_guards()
        A = target.inside.reshape(copies.FEW, lda)
        np.testing.assert_array_equal(A[:n, :examples], X[order[o : o + examples]].T)
        assert np.isnan(A[n:]).all()
        assert np.isnan(A[:, side:]).all()


@kernel
def call_copy_rows(source, s, lds, target, t, ldt, rows, columns, add):
    copies.copy_rows(source, s, lds, target, t, ldt, rows, columns, add)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [False, True])
def test_copy_rows(add, dtype):
    """Any number of columns, up to the end of the source; without `add`, whatever the target held is gone."""
    rng = np.random.default_rng(0)
    for rows in (0, 1, 3):
        for columns in (1, 7, 15, 16, 17, 32, 33):
            source = rng.standard_normal((3, columns)).astype(dtype)
            before = rng.standard_normal((3, columns)).astype(dtype)
            target = Guarded(3 * (columns + 2), dtype)
            window = target.inside.reshape(3, columns + 2)
            if add:
                window[:, :columns] = before
            from_python(call_copy_rows)(
                source.ravel(), 0, columns, target.whole, target.offset, columns + 2, rows, columns, add
            )
            target.assert_guards()
            np.testing.assert_array_equal(window[:rows, :columns], source[:rows] + before[:rows] * add)
            np.testing.assert_array_equal(window[rows:, :columns], before[rows:] if add else np.nan)
            assert np.isnan(window[:, columns:]).all()


def rows_in_blocks(rows, ld):
    """Return rows (n, m) in blocks of ld columns, padding NaN: (blocks, n, ld)."""
    blocks = np.full((-(-rows.shape[1] // ld), len(rows), ld), np.nan, rows.dtype)
    for q, block in enumerate(blocks):
        here = rows[:, q * ld : (q + 1) * ld]
        block[:, : here.shape[1]] = here
    return blocks


@kernel
def call_sum_rows(S, s, ld, block, n, rows, y, block_y, target, t, add):
    products.sum_rows(S, s, ld, block, n, rows, y, block_y, target, t, add)


@kernel
def call_sum_rows_times(S, s, ld, block, n, rows, y, block_y, target, t, add):
    products.sum_rows_times(S, s, ld, block, n, rows, y, block_y, target, t, add)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("call", [call_sum_rows, call_sum_rows_times])
def test_sums_of_rows(call, add, dtype):
    """Of the rows, or of their products with another."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 15, 16, 17, 63, 64, 65, 209, 512):
        ld = min(LANES, -(-n // 16) * 16)
        for rows in (1, 2, 4, 5, 7, 8, 9, 12, 13, 17):
            X = rng.standard_normal((rows, n)).astype(dtype)
            Y = rng.standard_normal((1, n)).astype(dtype)
            S = np.concatenate([rows_in_blocks(X, ld).ravel(), rows_in_blocks(Y, ld).ravel()])
            before, target = rng.standard_normal(rows).astype(dtype), Guarded(rows, dtype)
            if add:
                target.inside[:] = before
            y = S.size // (rows + 1) * rows
            from_python(call)(S, 0, ld, rows * ld, n, rows, y, ld, target.whole, target.offset, add)
            target.assert_guards()
            terms = X.astype(float) * (Y if call is call_sum_rows_times else 1)
            magnitude = np.abs(terms).sum(axis=1) + np.abs(before) * add
            assert_within(target.inside, terms.sum(axis=1) + before * add, magnitude, n + 1)


def make_call_of_dot(dot_rows):
    @kernel
    def call(Z, z, step, A, a, lda, W, w, b, n):
        dot_rows(Z, z, step, A, a, lda, W, w, b, n)

    return call


DOT_ROWS = {
    16: make_call_of_dot(wide_input.dot_rows),
    4: make_call_of_dot(wide_input.dot_4_rows),
    1: make_call_of_dot(wide_input.dot_1_row),
}
"""By the most rows that they take."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("most", DOT_ROWS)
def test_dot_rows(most, with_bias, dtype):
    rows, rng = min(most, VECTOR_BYTES // np.dtype(dtype).itemsize), np.random.default_rng(0)
    for n in (1, 15, 16, 17, 33, 209):
        W, A = rng.standard_normal(n + 1).astype(dtype), np.full((rows, n + 3), np.nan, dtype)
        A[:, :n] = rng.standard_normal((rows, n))
        Z = Guarded(1 + (rows - 1) * 3, dtype)
        from_python(DOT_ROWS[most])(Z.whole, Z.offset, 3, A.ravel(), 0, n + 3, W, 0, n if with_bias else -1, n)
        Z.assert_guards()
        w, b, inputs = W[:n].astype(float), float(W[n]) * with_bias, A[:, :n].astype(float)
        assert_within(Z.inside[::3], inputs @ w + b, np.abs(inputs) @ np.abs(w) + abs(b), n + 1)
        assert all(np.isnan(Z.inside[start::3]).all() for start in (1, 2))


def in_sixteen_lanes(x, y=1.0):
    """Return the sum of x y in float32, in the order of the contract, by fmas.

    Exact numbers in float64, rounded once: those of whole numbers below 2^53.
    """
    lanes = np.zeros(16, np.float32)
    terms = x.astype(float) * y
    for first in range(0, len(x), 16):
        part = terms[first : first + 16]
        lanes[: len(part)] = (lanes[: len(part)].astype(float) + part).astype(np.float32)
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    return lanes[0]


@pytest.mark.jit
def test_order_of_sums_of_rows_and_dots():
    """As of a lane sum, in the rows' own precision: with numbers that show any other order."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((4, 150)) * 10.0 ** rng.integers(-6, 6, (4, 150))).astype(np.float32)
    expected = [in_sixteen_lanes(row) for row in x]
    found = np.zeros(4, np.float32)
    from_python(call_sum_rows)(rows_in_blocks(x, 64).ravel(), 0, 64, 256, 150, 4, 0, 0, found, 0, False)
    np.testing.assert_array_equal(found, expected)
    # Times one, which rounds nothing.
    rows_and_ones = np.concatenate([rows_in_blocks(x, 64).ravel(), np.ones(64, np.float32)])
    found[:] = np.nan
    from_python(call_sum_rows_times)(rows_and_ones, 0, 64, 256, 150, 4, 3 * 256, 0, found, 0, False)
    np.testing.assert_array_equal(found, expected)
    for most, call in DOT_ROWS.items():
        rows = min(most, VECTOR_BYTES // 4)
        found = np.zeros(rows, np.float32)
        from_python(call)(found, 0, 1, np.resize(x, 150 * rows), 0, 150, np.ones(150, np.float32), 0, -1, 150)
        np.testing.assert_array_equal(found, np.resize(expected, rows))


@pytest.mark.jit
def test_products_are_added_by_fmas():
    """Whole numbers whose products float32 does not hold, so that rounding those first shows."""
    rng = np.random.default_rng(0)
    x = rng.integers(2**19, 2**20, (VECTOR_BYTES // 4, 150)).astype(np.float32)
    y = rng.integers(-(2**20), 2**20, 150).astype(np.float32)
    expected = np.array([in_sixteen_lanes(row, y) for row in x])
    rounded_first = np.array([in_sixteen_lanes(row * y) for row in x])
    assert expected[0] != rounded_first[0]
    found = np.zeros(len(x), np.float32)
    rows, blocks = rows_in_blocks(x, 64).ravel(), rows_in_blocks(y[None], 64).ravel()
    call = from_python(call_sum_rows_times)
    call(np.concatenate([rows, blocks]), 0, 64, 64 * len(x), 150, len(x), rows.size, 64, found, 0, False)
    np.testing.assert_array_equal(found, expected)
    for most, call_of_dot in DOT_ROWS.items():
        found = np.zeros(min(most, len(x)), np.float32)
        from_python(call_of_dot)(found, 0, 1, x.ravel(), 0, 150, y, 0, -1, 150)
        np.testing.assert_array_equal(found, expected[: len(found)])


def make_call_of_units(tile):
    @kernel
    def call(Z, z, ldz, parameters, w, b, n, n_prev, unit, A, a, lda):
        tile(Z, z, ldz, parameters, w, b, n, n_prev, unit, A, a, lda)

    return call


UNITS_TILES = {1: make_call_of_units(predict.units_tile_1), 4: make_call_of_units(predict.units_tile_4)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("rows", UNITS_TILES)
def test_units_tile(rows, with_bias, dtype):
    """Against NumPy, and to the bit against the tile with examples in its lanes."""
    rng = np.random.default_rng(0)
    lanes = lanes_of(dtype)
    for n in (1, lanes - 1, lanes, lanes + 3):
        for n_prev in (1, lanes - 1, lanes, 2 * lanes + 5):
            for unit in {0, max(n - lanes, 0)}:
                parameters = rng.standard_normal(n * n_prev + n).astype(dtype)
                A = rng.standard_normal((rows, n_prev + 2)).astype(dtype)
                ldz, b = n + lanes + 1, n * n_prev if with_bias else -1
                Z = Guarded(rows * ldz, dtype)
                from_python(UNITS_TILES[rows])(
                    Z.whole, Z.offset, ldz, parameters, 0, b, n, n_prev, unit, A.ravel(), 0, n_prev + 2
                )
                Z.assert_guards()
                units = np.arange(unit, min(unit + lanes, n))  # in the lanes past the last, any number
                W = parameters[: n * n_prev].reshape(n, n_prev)[units].astype(float)
                bias, inputs = parameters[n * n_prev :][units] * with_bias, A[:, :n_prev].astype(float)
                window = Z.inside.reshape(rows, ldz)
                found, magnitude = window[:, units], np.abs(inputs) @ np.abs(W.T) + np.abs(bias)
                assert_within(found, inputs @ W.T + bias, magnitude, n_prev + 1)
                assert np.isnan(window[:, :unit]).all()
                assert np.isnan(window[:, unit + lanes :]).all()
                S = np.full((n_prev + n) * 16, np.nan, dtype)
                S[: n_prev * 16].reshape(n_prev, 16)[:, :rows] = A[:, :n_prev].T
                from_python(products.matmul_plus_bias)(n, n_prev, 0, 16, parameters, 0, b, S, 0, 0, n_prev * 16, 0, 16)
                np.testing.assert_array_equal(found, S[n_prev * 16 :].reshape(n, 16)[units, :rows].T)


@kernel
def call_ordered_sum(array, a, n, of):
    return ordered_sum(array, a, n, of)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("of", [VALUES, SQUARES, MAGNITUDES])
def test_ordered_sum(of, dtype):
    rng = np.random.default_rng(0)
    for n in (0, 1, 15, 16, 17, 63, 64, 65, 209, 1000):
        x = rng.standard_normal(n + 2).astype(dtype)
        total = from_python(call_ordered_sum)(x, 1, n, of)
        x = x[1 : n + 1].astype(float)
        terms = {VALUES: x, SQUARES: x**2, MAGNITUDES: np.abs(x)}[of]
        assert_within(np.float64(total), np.float64(terms.sum()), np.abs(terms).sum(), max(n, 1))


@pytest.mark.jit
def test_order_of_an_ordered_sum():
    """Sixteen partial sums, then halves added to halves, then the rest: with numbers that show any other order."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(167) * 10.0 ** rng.integers(-12, 12, 167)
    lanes = np.zeros(16)
    for row in x[:160].reshape(10, 16):
        lanes = lanes + row
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    for value in x[160:]:
        lanes = lanes + value
    assert from_python(call_ordered_sum)(x, 0, 167, VALUES) == lanes[0]


@pytest.mark.jit
def test_intrinsics_refuse_other_arrays():
    """Malformed LLVM code would abort the process, so a wrong argument must be stopped before."""
    wrong = np.zeros(16, np.int64), np.zeros(32, np.float32)[::2]
    for array in wrong:
        with pytest.raises(Exception, match="needs C-contiguous arrays of one floating-point dtype"):
            from_python(call_ordered_sum)(array, 0, 16, VALUES)
    with pytest.raises(Exception, match="needs C-contiguous arrays of one floating-point dtype"):
        from_python(call_copy_rows)(np.zeros(16, np.float32), 0, 16, np.zeros(16), 0, 16, 1, 16, False)
    numbers, order = np.zeros((16, 16), np.float32), np.zeros(16, np.int32)
    with pytest.raises(Exception, match="needs an order of int64"):
        from_python(call_gather_square)(numbers, order, 0, 1, 16, 0, 1, numbers, 0, 16, -1, 16)
