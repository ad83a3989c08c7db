"""The three products of a dense layer, on the register tile: W A_prev + b, W^T dZ and dZ A_prev^T.

All are sums over k in the order of k, one fma each, so that neither the size of a block nor that of a register
enters the result. Arrays are flat; a matrix is an offset and a stride. `plan.py` says what lies where.
"""

from typing import Any

import numpy as np
from numba.core import config

from fastnet.kernels.jit import JIT_DISABLED, VECTOR_BYTES, kernel, spliced_kernel
from fastnet.kernels.plan import LANES, PADDING
from fastnet.kernels.simd import (
    ADD_TO_TARGET,
    START_BIAS,
    START_TARGET,
    START_ZERO,
    SUM_LANES,
    lane_sum,
    make_tile,
    transpose_square,
)

# Two registers wide, so that a load of B serves many rows, and a vector of a narrow layer wastes little. Eight rows
# fill 16 of the 32 registers of AVX-512 and NEON: about 95 % of the FMA peak (`scripts/bench --bench Tile`), which
# 12 rows did not better, with shorter tails. With 16 registers (AVX2), six rows are the most that do not spill.
TALL = 6 if VECTOR_BYTES == 32 else 8
ROWS_OF_TILES = (TALL, 4, 2, 1)

tile_tall_2, tile_4_2, tile_2_2, tile_1_2 = (make_tile(rows, 2) for rows in ROWS_OF_TILES)
tile_tall_1, tile_4_1, tile_2_1, tile_1_1 = (make_tile(rows, 1) for rows in ROWS_OF_TILES)

K_BLOCK = 256
"""Terms of a sum per pass: a strip of B, 32 columns of 256 float32, then stays in a first-level cache of 48 KB."""

BOUNDS_CHECKED = bool(config.BOUNDSCHECK) or JIT_DISABLED


@kernel
def multiply(
    rows: int, columns: int,
    C: Any, c: int, ldc: int,
    A: Any, a: int, ra: int, ka: int, jump: int,
    B: Any, b: int, kb: int,
    K: int, start: int, bias: Any, o: int,
) -> None:  # fmt: skip
    """C (rows, columns) = start + A (rows, K) B (K, columns), tile by tile; arguments as in `simd.make_tile`.

    `columns` is a multiple of PADDING, or of the register width.
    """
    lanes = VECTOR_BYTES // C.itemsize
    if BOUNDS_CHECKED:
        blocks = (K - 1) // LANES
        last_A = a + (rows - 1) * ra + (K - 1 - blocks) * ka + blocks * jump
        check_inside(C, c, c + (rows - 1) * ldc + columns - 1)
        check_inside(A, a, last_A)
        check_inside(B, b, b + (K - 1) * kb + columns - 1)
        check_inside(bias, o, o + (rows - 1 if start == START_BIAS else 0))
    # Strips of B outside: a tile reads four times as much of B as of A, so B is what should stay near.
    for j in range(0, columns, 2 * lanes):
        wide = columns - j > lanes
        i = 0
        while i < rows:
            left = rows - i
            ci, ai, bj, oi = c + i * ldc + j, a + i * ra, b + j, o + i
            if left >= TALL:
                if wide:
                    tile_tall_2(C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, K, start, bias, oi)
                else:
                    tile_tall_1(C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, K, start, bias, oi)
                i += TALL
            elif left >= 4:
                if wide:
                    tile_4_2(C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, K, start, bias, oi)
                else:
                    tile_4_1(C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, K, start, bias, oi)
                i += 4
            elif left >= 2:
                if wide:
                    tile_2_2(C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, K, start, bias, oi)
                else:
                    tile_2_1(C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, K, start, bias, oi)
                i += 2
            else:
                if wide:
                    tile_1_2(C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, K, start, bias, oi)
                else:
                    tile_1_1(C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, K, start, bias, oi)
                i += 1


@kernel
def check_inside(array: Any, first: int, last: int) -> None:
    """Raise IndexError unless array[first] and array[last] exist: numba's bounds check, for intrinsics."""
    if first < 0 or last >= array.shape[0] or last < first:
        raise IndexError("a kernel reaches outside its array")


@spliced_kernel
def matmul_plus_bias(
    n: int, n_prev: int, columns: int, parameters: Any, w: int, b: int, S: Any, a_prev: int, z: int, ld: int
) -> None:
    """Z = W A_prev + b for one block.

    W (n, n_prev) and b (n,) at w and b in `parameters` (b = -1: none); A_prev (n_prev, columns) and Z (n, columns)
    at a_prev and z in S, with row stride ld, not overlapping; columns a multiple of PADDING.
    """
    start = START_BIAS if b >= 0 else START_ZERO
    for k in range(0, n_prev, K_BLOCK):
        K = min(K_BLOCK, n_prev - k)
        multiply(
            n,
            columns,
            S,
            z,
            ld,
            parameters,
            w + k,
            n_prev,
            1,
            1,
            S,
            a_prev + k * ld,
            ld,
            K,
            start,
            parameters,
            max(b, 0),
        )
        start = START_TARGET


@spliced_kernel
def input_gradient(
    n: int, n_prev: int, columns: int, parameters: Any, w: int, S: Any, dz: int, da_prev: int, ld: int
) -> None:
    """dA_prev = W^T dZ for one block: dZ (n, columns) at dz, dA_prev (n_prev, columns) at da_prev in S, stride ld."""
    start = START_ZERO
    for k in range(0, n, K_BLOCK):
        K = min(K_BLOCK, n - k)
        multiply(
            n_prev, columns, S, da_prev, ld, parameters, w + k * n_prev, 1, n_prev, n_prev, S, dz + k * ld, ld, K,
            start, parameters, 0,
        )  # fmt: skip
        start = START_TARGET


@spliced_kernel
def weight_gradient(
    n: int, n_prev: int, m: int, S: Any, dz: int, block: int, ld: int, at_prev: int, ldt: int,
    gradient: Any, w: int, add: bool,
) -> None:  # fmt: skip
    """DW = dZ A_prev^T, a sum over the m examples of a chunk, in order; or dW += that.

    dZ in blocks `block` elements apart, each (n, ld), at dz in S; A_prev^T (m, n_prev) with row stride ldt at at_prev,
    its columns padded to a multiple of PADDING. dW (n, n_prev) at w in `gradient`, which is not padded: columns that
    do not fill a strip are put together at the head of S.
    """
    strip = 2 * VECTOR_BYTES // S.itemsize
    jump = block - LANES + 1  # from the last example of a full block to the first of the next
    whole = n_prev // strip * strip
    start = ADD_TO_TARGET if add else START_ZERO
    if whole > 0:
        multiply(n, whole, gradient, w, n_prev, S, dz, ld, 1, jump, S, at_prev, ldt, m, start, S, 0)
    rest = n_prev - whole
    if rest > 0:
        columns = min(-(-rest // PADDING) * PADDING, strip)
        for i in range(0, n, TALL):
            rows = min(TALL, n - i)
            multiply(
                rows, columns, S, 0, columns, S, dz + i * ld, ld, 1, jump, S, at_prev + whole, ldt, m, START_ZERO, S, 0
            )
            for r in range(rows):
                new = S[r * columns : r * columns + rest]
                first = w + (i + r) * n_prev + whole
                dW = gradient[first : first + rest]
                for j in range(rest):
                    dW[j] = dW[j] + new[j] if add else new[j]


@kernel
def bias_gradient(n: int, m: int, S: Any, dz: int, block: int, ld: int, gradient: Any, b: int, add: bool) -> None:
    """Db = sum of dZ over the m examples of a chunk, or db += that; laid out as in `weight_gradient`.

    Each block is summed in SUM_LANES float64 lanes and then its remainder one by one; the blocks are added in order.
    """
    T = S.dtype.type
    for i in range(n):
        total = 0.0
        for first in range(0, m, ld):
            start = dz + first // ld * block + i * ld
            total += ordered_sum(S, start, min(ld, m - first), False)
        gradient[b + i] = gradient[b + i] + T(total) if add else T(total)


@kernel
def ordered_sum(array: Any, start: int, n: int, squared: bool) -> Any:
    """Return the float64 sum of array[start : start + n], or of the squares, in the order that n fixes."""
    in_lanes = n // SUM_LANES * SUM_LANES
    total = lane_sum(array, start, in_lanes, squared)
    for e in range(start + in_lanes, start + n):
        x = np.float64(array[e])  # float() would leave a float32 as it is
        total += x * x if squared else x
    return total


@kernel
def transpose(S: Any, source: int, lds: int, target: int, ldt: int, rows: int, columns: int) -> None:
    """Target (columns, rows) = source (rows, columns)^T within S, both padded to multiples of PADDING; no overlap."""
    side = VECTOR_BYTES // S.itemsize
    for i in range(0, rows, side):
        for j in range(0, columns, side):
            transpose_square(S, source + i * lds + j, lds, S, target + j * ldt + i, ldt)
