"""The three products of a dense layer, on the register tile: W A_prev + b, W^T dZ and dZ A_prev^T.

Most are sums over k in the order of k, one fma each, so that neither the size of a block nor that of a register
enters the result. Two kinds are sums in lanes (`sums.py`), with an order as fixed: the gradient of a bias, and that of
the weights of a layer of few units or inputs, unless its input is kept by rows (`by_rows.py`).
Arrays are flat; a matrix is an offset and a stride. `plan.py` says what lies where.
"""

from collections.abc import Callable
from typing import Any

from numba.core import config

from fastnet.kernels.build.jit import JIT_DISABLED, VECTOR_BYTES, kernel, spliced_kernel
from fastnet.kernels.build.parts import gradient_of_few_signature
from fastnet.kernels.ir.copies import copy_rows, transpose_square
from fastnet.kernels.ir.sums import ROWS_SUMMED, make_sum_rows
from fastnet.kernels.ir.tiles import (
    ADD_TO_TARGET,
    FOUR,
    HALF,
    ONE,
    ONE_AND_HALF,
    START_BIAS,
    START_TARGET,
    START_ZERO,
    TWO,
    TWO_AND_HALF,
    make_tile,
)
from fastnet.kernels.plan import GRAIN, LANES, PANEL, ROWS_IN_PASS, TERMS_IN_PASS

# Two registers wide, so that a load of B serves many rows, and a vector of a narrow layer wastes little. Eight rows
# fill 16 of the 32 registers of AVX-512 and NEON: about 95 % of the FMA peak (`scripts/bench --bench Tile`), which
# 12 rows did not better, with shorter tails. With 16 registers (AVX2), six rows are the most that do not spill.
TALL = 6 if VECTOR_BYTES == 32 else 8

# The last 24 or 40 columns, as of 209 or 100 examples, are one strip with AVX-512 in float32, for which A is read once
# instead of twice (`benchmarks/peers.py --only cats higgs`: 1.01 and 1.02 times as fast as without).
tile_tall = make_tile(TALL, TWO_AND_HALF, TWO, ONE_AND_HALF, ONE, HALF)
tile_4, tile_2, tile_1 = (make_tile(rows, TWO, ONE, HALF) for rows in (4, 2, 1))
tile_1_wide = make_tile(1, FOUR)  # a single row needs as many sums side by side as an fma takes cycles
sum_rows, sum_rows_times = make_sum_rows(weighted=False), make_sum_rows(weighted=True)

MANY_INPUTS = 1024
"""From so many inputs of a layer on, its product is worked out in passes; and a network that has such a layer goes
forward with all of a member's examples at once."""

PACK_COLUMNS, PACK_INPUTS = 96, 512
"""From how many examples, and inputs of a layer, on `input_gradient` lays W^T out anew: a tile reads a column of W,
whose elements lie a row apart, in as many pages and mostly the same few sets of the cache."""

BOUNDS_CHECKED = bool(config.BOUNDSCHECK) or JIT_DISABLED


@kernel
def multiply(
    rows: int, columns: int,
    C: Any, c: int, ldc: int,
    A: Any, a: int, ra: int, ka: int, jump: int,
    B: Any, b: int, kb: int, b_next: int,
    K: int, start: int, bias: Any, o: int,
) -> None:  # fmt: skip
    """C (rows, columns) = start + A (rows, K) B (K, columns), tile by tile; arguments as in `tiles.make_tile`.

    While they compute, the tiles ask for the next strip of B, and at the end for that of the next product: its B
    begins at `b_next`, which is b where nothing is known of it. (The tile of four registers asks for nothing.)
    `columns` is a multiple of GRAIN, or of the register width; rows of C and B have room for the next multiple of
    PADDING, and what lies there in C may be overwritten.
    """
    lanes = VECTOR_BYTES // C.itemsize
    if BOUNDS_CHECKED and rows > 0 and columns > 0:
        blocks = (K - 1) // LANES
        last_A = a + (rows - 1) * ra + (K - 1 - blocks) * ka + blocks * jump
        check_inside(C, c, c + (rows - 1) * ldc + columns - 1)
        check_inside(A, a, last_A)
        check_inside(B, b, b + (K - 1) * kb + columns - 1)
        check_inside(bias, o, o + (rows - 1 if start == START_BIAS else 0))
    j = first_row = 0
    while rows == 1 and columns - j >= 4 * lanes:
        tile_1_wide(FOUR, C, c + j, ldc, A, a, ra, ka, jump, B, b + j, kb, 0, K, start, bias, o)
        j += 4 * lanes
    # Strips of B outside: a tile reads at least three times as much of B as of A, so B is what should stay near.
    while j < columns:
        left, last_row = columns - j, rows
        if lanes > GRAIN and rows - first_row >= TALL and (left == lanes + GRAIN or left == 2 * lanes + GRAIN):
            width, strip = TWO_AND_HALF if left > 2 * lanes else ONE_AND_HALF, left
            last_row = first_row + (rows - first_row) // TALL * TALL
        elif left > lanes:
            width, strip = TWO, 2 * lanes
        elif left > GRAIN or lanes <= GRAIN:
            width, strip = ONE, lanes
        else:
            width, strip = HALF, GRAIN
        ahead = strip if left > strip else b_next - b - j
        i = first_row
        while i < last_row:
            ci, ai, bj, oi = c + i * ldc + j, a + i * ra, b + j, o + i
            if rows - i >= TALL:
                tile_tall(width, C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, ahead, K, start, bias, oi)
                i += TALL
            elif rows - i >= 4:
                tile_4(width, C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, ahead, K, start, bias, oi)
                i += 4
            elif rows - i >= 2:
                tile_2(width, C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, ahead, K, start, bias, oi)
                i += 2
            else:
                tile_1(width, C, ci, ldc, A, ai, ra, ka, jump, B, bj, kb, ahead, K, start, bias, oi)
                i += 1
        if last_row < rows:
            first_row = last_row  # lower tiles have no such width: the rows that are left take two strips, the last
        else:
            j += strip


@kernel
def check_inside(array: Any, first: int, last: int) -> None:
    """Raise IndexError unless array[first] and array[last] exist: numba's bounds check, for intrinsics."""
    if first < 0 or last >= array.shape[0] or last < first:
        raise IndexError("a kernel reaches outside its array")


@spliced_kernel
def matmul_plus_bias(
    n: int, n_prev: int, first: int, last: int, parameters: Any, w: int, b: int,
    S: Any, a_prev: int, block_prev: int, z: int, block: int, ld: int,
) -> None:  # fmt: skip
    """Z = W A_prev + b for the columns first to last of a chunk; `first` a multiple of PADDING, `last` of GRAIN.

    W (n, n_prev) and b (n,) at w and b in `parameters` (b = -1: none); A_prev (n_prev, ld) and Z (n, ld) in blocks
    `block_prev` and `block` elements apart at a_prev and z in S, not overlapping. Of many inputs, so many terms, and so
    many rows, at a time as stay in the second-level cache with a strip of A_prev.
    """
    many = n_prev >= MANY_INPUTS
    terms, rows_most = (TERMS_IN_PASS, ROWS_IN_PASS) if many else (n_prev, n)
    first_block, last_block = first // LANES, (last - 1) // LANES
    for k in range(0, n_prev, terms):
        K = min(terms, n_prev - k)
        start = START_TARGET if k > 0 else START_BIAS if b >= 0 else START_ZERO
        for i in range(0, n, rows_most):
            rows = min(rows_most, n - i)
            for q in range(first_block, last_block + 1):
                j = max(first - q * ld, 0)
                columns = min(last - q * ld, ld) - j
                here = a_prev + q * block_prev + k * ld + j
                b_next = here
                if many and q < last_block:
                    b_next = here - j + block_prev
                elif many:  # the first block again, with the next terms after the last rows
                    k_next = k if i + rows < n else k + K
                    b_next = a_prev + first_block * block_prev + k_next * ld + first - first_block * ld
                multiply(
                    rows, columns, S, z + q * block + i * ld + j, ld, parameters, w + i * n_prev + k, n_prev, 1, 1,
                    S, here, ld, b_next, K, start, parameters, max(b, 0) + i,
                )  # fmt: skip


@spliced_kernel
def input_gradient(
    n: int, n_prev: int, first: int, last: int, parameters: Any, w: int,
    S: Any, dz: int, block: int, da_prev: int, block_prev: int, ld: int, head: int,
) -> None:  # fmt: skip
    """dA_prev = W^T dZ for the columns first to last of a chunk, multiples of PADDING and of GRAIN.

    dZ (n, ld) in blocks `block` elements apart from dz, dA_prev (n_prev, ld) in blocks `block_prev` apart from
    da_prev, both in S. W^T is laid out anew at `head` in S where that is worth it.
    """
    pack = last - first >= PACK_COLUMNS and n_prev >= PACK_INPUTS
    rows_most = ROWS_IN_PASS // TALL * TALL if pack else n_prev
    for k in range(0, n, TERMS_IN_PASS):
        K = min(TERMS_IN_PASS, n - k)
        start = START_ZERO if k == 0 else START_TARGET
        for i in range(0, n_prev, rows_most):
            rows = min(rows_most, n_prev - i)
            source, a, ka, height = parameters, w + k * n_prev + i, n_prev, rows
            if pack:
                copy_panels(parameters, a, n_prev, S, head, K, rows)
                source, a, ka, height = S, head, TALL, TALL
            for q in range(first // LANES, (last - 1) // LANES + 1):
                start_column = max(first - q * ld, 0)
                columns = min(last - q * ld, ld) - start_column
                c = da_prev + q * block_prev + i * ld + start_column
                b = dz + q * block + k * ld + start_column
                for r in range(0, rows, height):
                    multiply(
                        min(height, rows - r), columns, S, c + r * ld, ld, source, a + r * K, 1, ka, ka,
                        S, b, ld, b, K, start, parameters, 0,
                    )  # fmt: skip


@kernel
def copy_panels(W: Any, w: int, ldw: int, S: Any, target: int, K: int, rows: int) -> None:
    """Lay W^T (rows, K) out at `target` in S, in panels of TALL rows, as the tiles read it; W[k] lies at w + k ldw.

    W^T[i, k] goes to i // TALL * TALL * K + k * TALL + i % TALL. A last panel of fewer rows has gaps, which none reads.
    """
    in_panels = rows // TALL * TALL
    for k in range(K):
        copy_rows(W, w + k * ldw, TALL, S, target + k * TALL, K * TALL, rows // TALL, TALL, False)
    if rows > in_panels:
        copy_rows(W, w + in_panels, ldw, S, target + in_panels * K, TALL, K, rows - in_panels, False)


@spliced_kernel
def weight_gradient(
    first_row: int, last_row: int, first_column: int, last_column: int, n_prev: int, m: int,
    S: Any, dz: int, block: int, ld: int, at_prev: int, panel: int, head: int,
    gradient: Any, w: int, add: bool,
) -> None:  # fmt: skip
    """DW = dZ A_prev^T for some rows and columns of W: a sum over the m examples of a chunk, in order; or dW += that.

    dZ in blocks `block` elements apart, each (n, ld), at dz in S; A_prev^T (m, n_prev) in panels of PANEL columns,
    `panel` elements apart, at at_prev. dW (n, n_prev) at w in `gradient`, which is not padded: columns that
    do not fill a panel are put together at `head` in S. `first_column` is a multiple of PANEL, and so is
    `last_column` if it is not n_prev.
    """
    jump = block - LANES + 1  # from the last example of a full block to the first of the next
    start = ADD_TO_TARGET if add else START_ZERO
    for j in range(first_column, last_column, PANEL):
        b = at_prev + j // PANEL * panel
        width = min(PANEL, last_column - j)
        if width == PANEL:
            c, a = w + first_row * n_prev + j, dz + first_row * ld
            multiply(
                last_row - first_row, PANEL, gradient, c, n_prev, S, a, ld, 1, jump,
                S, b, PANEL, b + panel, m, start, S, 0,
            )  # fmt: skip
        else:
            columns = -(-width // GRAIN) * GRAIN
            for i in range(first_row, last_row, TALL):
                rows = min(TALL, last_row - i)
                multiply(
                    rows, columns, S, head, PANEL, S, dz + i * ld, ld, 1, jump,
                    S, b, PANEL, b, m, START_ZERO, S, 0,
                )  # fmt: skip
                copy_rows(S, head, PANEL, gradient, w + i * n_prev + j, n_prev, rows, width, add)


@kernel
def narrow_weight_gradient(
    first_row: int, last_row: int, first_column: int, last_column: int, n_prev: int, m: int,
    S: Any, dz: int, block: int, ld: int, a_prev: int, block_prev: int, gradient: Any, w: int, add: bool,
) -> None:  # fmt: skip
    """DW = dZ A_prev^T as above, of a layer of few units, by sums in lanes: nothing is transposed.

    A_prev in blocks `block_prev` elements apart, each (n_prev, ld), at a_prev in S.
    """
    width = last_column - first_column
    if BOUNDS_CHECKED and width > 0 and last_row > first_row:
        last_block = (m - 1) // LANES
        check_inside(S, a_prev, a_prev + last_block * block_prev + (last_column - 1) * ld + (m - 1) % LANES)
        check_inside(S, dz, dz + last_block * block + (last_row - 1) * ld + (m - 1) % LANES)
        check_inside(gradient, w + first_row * n_prev, w + (last_row - 1) * n_prev + last_column - 1)
    if width > 0:
        for i in range(first_row, last_row):
            sum_rows_times(
                S, a_prev + first_column * ld, ld, block_prev, m, width, dz + i * ld, block,
                gradient, w + i * n_prev + first_column, add,
            )  # fmt: skip


def make_gradient_of_few(source_digest: str) -> Callable[..., None]:
    """Make the gradient of the weights of a layer of few inputs: a part."""

    def weight_gradient_of_few_inputs(
        first_row: int, last_row: int, n_prev: int, m: int,
        S: Any, dz: int, block: int, ld: int, a_prev: int, block_prev: int, head: int, gradient: Any, w: int, add: bool,
    ) -> None:  # fmt: skip
        """DW = dZ A_prev^T as above, of a layer of few inputs: sums in lanes too, but of some rows of dZ side by side.

        A_prev as in `narrow_weight_gradient`. Some rows of dW at a time are put together, transposed, at `head` in S.
        """
        _ = source_digest
        if BOUNDS_CHECKED and last_row > first_row:
            last_block = (m - 1) // LANES
            check_inside(S, a_prev, a_prev + last_block * block_prev + (n_prev - 1) * ld + (m - 1) % LANES)
            check_inside(S, dz, dz + last_block * block + (last_row - 1) * ld + (m - 1) % LANES)
            check_inside(S, head, head + n_prev * ROWS_SUMMED - 1)
        # So few rows of dZ that they stay in the nearest cache from the first input to the last.
        for first in range(first_row, last_row, ROWS_SUMMED):
            rows = min(ROWS_SUMMED, last_row - first)
            for k in range(n_prev):
                target = head + k * ROWS_SUMMED
                sum_rows_times(S, dz + first * ld, ld, block, m, rows, a_prev + k * ld, block_prev, S, target, False)
            for i in range(rows):
                for k in range(n_prev):
                    at = w + (first + i) * n_prev + k
                    dW = S[head + k * ROWS_SUMMED + i]
                    gradient[at] = gradient[at] + dW if add else dW

    weight_gradient_of_few_inputs.signature = gradient_of_few_signature  # type: ignore[attr-defined]
    return weight_gradient_of_few_inputs


@kernel
def bias_gradient(
    first_row: int, last_row: int, m: int, S: Any, dz: int, block: int, ld: int, gradient: Any, b: int, add: bool
) -> None:
    """Db = sum of dZ over the m examples of a chunk, or db += that, for some rows; laid out as in `weight_gradient`."""
    if BOUNDS_CHECKED and last_row > first_row:
        check_inside(gradient, b + first_row, b + last_row - 1)
    if last_row > first_row:
        sum_rows(S, dz + first_row * ld, ld, block, m, last_row - first_row, 0, 0, gradient, b + first_row, add)


@kernel
def transpose(S: Any, source: int, lds: int, target: int, ldt: int, rows: int, columns: int) -> None:
    """Target (columns, rows) = source (rows, columns)^T within S, both multiples of a register's lanes; no overlap."""
    side = VECTOR_BYTES // S.itemsize
    for i in range(0, rows, side):
        for j in range(0, columns, side):
            transpose_square(S, source + i * lds + j, lds, S, target + j * ldt + i, ldt)
