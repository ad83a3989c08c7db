"""Sums in a fixed number of lanes and a fixed tree: against NumPy, and their order to the bit."""

import numpy as np
import pytest
from bounds import DTYPES, Guarded, assert_within
from compiled import from_python

from fastnet.kernels import products, wide_input
from fastnet.kernels.blocks import BOUNDS_CHECKED
from fastnet.kernels.build.jit import VECTOR_BYTES, kernel
from fastnet.kernels.ir.sums import MAGNITUDES, ROWS_ADDED, SQUARES, VALUES, add_rows_times, ordered_sum
from fastnet.kernels.plan import LANES


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
    8: make_call_of_dot(wide_input.dot_rows),
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


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
@pytest.mark.parametrize(("start", "n"), [(1, 16), (-1, 3), (17, 0)])
def test_an_ordered_sum_stays_inside_its_array(start, n):
    with pytest.raises(IndexError, match="outside"):
        from_python(call_ordered_sum)(np.zeros(16, np.float32), start, n, VALUES)


@pytest.mark.jit
def test_intrinsics_refuse_other_arrays():
    """Malformed LLVM code would abort the process, so a wrong argument must be stopped before."""
    for array in (np.zeros(16, np.int64), np.zeros(32, np.float32)[::2]):
        with pytest.raises(Exception, match="needs C-contiguous arrays of one floating-point dtype"):
            from_python(call_ordered_sum)(array, 0, 16, VALUES)


@kernel
def call_add_rows_times(D, d, n, A, a, lda, Y, y, rows, zero):
    add_rows_times(D, d, n, A, a, lda, Y, y, rows, zero)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("rows", range(1, ROWS_ADDED + 1))
def test_add_rows_times(rows, zero, dtype):
    rng = np.random.default_rng(rows)
    for n in (16, 48):
        A, Y = np.full((rows, n + 3), np.nan, dtype), np.full(ROWS_ADDED + 1, np.nan, dtype)
        A[:, :n], Y[1 : rows + 1] = rng.standard_normal((rows, n)), rng.standard_normal(rows)
        D = Guarded(n, dtype)
        D.inside[:] = np.nan if zero else rng.standard_normal(n)
        before = np.zeros(n) if zero else D.inside.astype(float)
        from_python(call_add_rows_times)(D.whole, D.offset, n, A.ravel(), 0, n + 3, Y, 1, rows, zero)
        D.assert_guards()
        y, terms = Y[1 : rows + 1].astype(float), A[:, :n].astype(float)
        size = np.abs(before) + np.abs(y) @ np.abs(terms)
        assert_within(D.inside, before + y @ terms, size, rows + 1)
