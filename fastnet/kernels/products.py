"""The three products of a dense layer, on the register tile: W A_prev + b, W^T dZ and dZ A_prev^T.

Most are sums over k in the order of k, one fma each, so that neither the size of a block nor that of a register
enters the result. Two kinds are sums in lanes (`ir/sums.py`), with an order as fixed: the gradient of a bias, and that
of the weights of a narrow layer. Where an array is flat, a matrix in it is a tuple: the array, the offset of its first
element, its strides. `plan.py` says what lies where.
"""

from typing import Any

from fastnet.kernels.blocks import BOUNDS_CHECKED, TALL, check_blocks, check_inside
from fastnet.kernels.build.jit import kernel
from fastnet.kernels.ir.copies import copy_rows
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
    make_units_tile,
)
from fastnet.kernels.ir.vectors import lanes_in_register
from fastnet.kernels.plan import BLOCK_ROWS_FROM, GRAIN, LANES, PANEL, ROWS_AT_ONCE, TEMPORARY, TERMS_AT_ONCE

# Two registers wide, so that a load of B serves many rows, and a vector of a narrow layer wastes little. The last 24 or
# 40 columns, as of 209 or 100 examples, are one strip with AVX-512 in float32, for which A is read once instead of
# twice (`benchmarks/peers.py --only cats higgs`: 1.01 and 1.02 times as fast as without).
tile_tall = make_tile(TALL, TWO_AND_HALF, TWO, ONE_AND_HALF, ONE, HALF)
tile_4, tile_2, tile_1 = (make_tile(rows, TWO, ONE, HALF) for rows in (4, 2, 1))
tile_1_wide = make_tile(1, FOUR)  # a single row needs as many sums side by side as an fma takes cycles
sum_rows, sum_rows_times = make_sum_rows(weighted=False), make_sum_rows(weighted=True)
units_tile_1, units_tile_4 = make_units_tile(1), make_units_tile(4)

PACK_COLUMNS, PACK_INPUTS = 96, 512
"""From how many examples, and inputs of a layer, on `input_gradient` lays W^T out anew: a tile reads a column of W,
whose elements lie a row apart, in as many pages and mostly the same few sets of the cache."""


@kernel
def multiply(rows: int, columns: int, C: Any, A: Any, B: Any, K: int, start: int, bias: Any) -> None:
    """C = start + A B, tile by tile.

    C (rows, columns): array, offset, distance of rows. A (rows, K): array, offset, distance of rows, of terms, and the
    distance after every LANES terms instead. B (K, columns): array, offset, distance of rows, and the offset of the
    next product's B, for which the last tiles ask memory: its own where nothing is known of it. bias: array, offset.
    `start` as in `ir/tiles.py`. `columns` is a multiple of GRAIN, or of the register width; rows of C and B have room
    for the next multiple of PADDING, and what lies there in C may be overwritten.
    """
    (target, c, ldc), (left, a, ra, ka, jump), (right, b, kb, b_next), (biases, o) = C, A, B, bias
    lanes = lanes_in_register(target)
    if BOUNDS_CHECKED and rows > 0 and columns > 0:
        blocks = (K - 1) // LANES
        check_inside(target, c, c + (rows - 1) * ldc + columns - 1)
        check_inside(left, a, a + (rows - 1) * ra + (K - 1 - blocks) * ka + blocks * jump)
        check_inside(right, b, b + (K - 1) * kb + columns - 1)
        check_inside(biases, o, o + (rows - 1 if start == START_BIAS else 0))
    j = first_row = 0
    while rows == 1 and columns - j >= 4 * lanes:
        tile_1_wide(FOUR, target, c + j, ldc, left, a, ra, ka, jump, right, b + j, kb, 0, K, start, biases, o)
        j += 4 * lanes
    # Strips of B outside: a tile reads at least three times as much of B as of A, so B is what should stay near.
    while j < columns:
        rest, last_row = columns - j, rows
        if lanes > GRAIN and rows - first_row >= TALL and (rest == lanes + GRAIN or rest == 2 * lanes + GRAIN):
            width, strip = TWO_AND_HALF if rest > 2 * lanes else ONE_AND_HALF, rest
            last_row = first_row + (rows - first_row) // TALL * TALL
        elif rest > lanes:
            width, strip = TWO, 2 * lanes
        elif rest > GRAIN or lanes <= GRAIN:
            width, strip = ONE, lanes
        else:
            width, strip = HALF, GRAIN
        ahead = strip if rest > strip else b_next - b - j
        i = first_row
        while i < last_row:
            ci, ai, bj, oi = c + i * ldc + j, a + i * ra, b + j, o + i
            if rows - i >= TALL:
                tile_tall(width, target, ci, ldc, left, ai, ra, ka, jump, right, bj, kb, ahead, K, start, biases, oi)
                i += TALL
            elif rows - i >= 4:
                tile_4(width, target, ci, ldc, left, ai, ra, ka, jump, right, bj, kb, ahead, K, start, biases, oi)
                i += 4
            elif rows - i >= 2:
                tile_2(width, target, ci, ldc, left, ai, ra, ka, jump, right, bj, kb, ahead, K, start, biases, oi)
                i += 2
            else:
                tile_1(width, target, ci, ldc, left, ai, ra, ka, jump, right, bj, kb, ahead, K, start, biases, oi)
                i += 1
        if last_row < rows:
            first_row = last_row  # lower tiles have no such width: the rows that are left take two strips, the last
        else:
            j += strip


def matmul_plus_bias(layers: Any, l: int, first: int, stop: int, m: int, parameters: Any, S: Any) -> None:
    """Z = W A_prev + b for the examples first to stop of a chunk; `first` a multiple of PADDING, `stop` of GRAIN.

    W (n, n_prev) and b (n,) in `parameters`; A_prev (n_prev, ld) and Z (n, ld), at A of its layer, in blocks in S, not
    overlapping. Of many inputs, so many rows and terms of W at a time as stay in the second-level cache with a strip of
    A_prev.
    """
    layer, previous = layers[l], layers[l - 1]
    n, n_prev, ld, block, block_prev = layer.units, layer.inputs, layer.ld, layer.block, previous.block
    many, terms = n_prev >= BLOCK_ROWS_FROM, min(n_prev, TERMS_AT_ONCE)
    rows_most = TEMPORARY // terms // ROWS_AT_ONCE * ROWS_AT_ONCE if many else n
    first_block, last_block = first // LANES, (stop - 1) // LANES
    for k in range(0, n_prev, terms):
        K = min(terms, n_prev - k)
        start = START_TARGET if k > 0 else START_BIAS if layer.b >= 0 else START_ZERO
        for i in range(0, n, rows_most):
            rows = min(rows_most, n - i)
            for q in range(first_block, last_block + 1):
                j = max(first - q * LANES, 0)
                columns = min(stop - q * LANES, LANES) - j
                A_prev = previous.A + q * block_prev + k * ld + j
                b_next = A_prev
                if many and q < last_block:
                    b_next = A_prev - j + block_prev
                elif many:  # the first block again, with the next terms after the last rows
                    k_next = k if i + rows < n else k + K
                    b_next = previous.A + first_block * block_prev + k_next * ld + first - first_block * LANES
                multiply(
                    rows, columns, (S, layer.A + q * block + i * ld + j, ld),
                    (parameters, layer.W + i * n_prev + k, n_prev, 1, 1), (S, A_prev, ld, b_next),
                    K, start, (parameters, max(layer.b, 0) + i),
                )  # fmt: skip


def matmul_plus_bias_of_rows(layers: Any, l: int, first: int, stop: int, m: int, parameters: Any, S: Any) -> None:
    """Z = W A_prev + b for rows first to stop of a few, with units in the lanes: the same bits as with examples there.

    W (n, n_prev) and b (n,) in `parameters`; A_prev (m, block of the layer before) and Z (m, block) in S, no overlap.
    """
    layer, previous = layers[l], layers[l - 1]
    n, n_prev, w, b = layer.units, layer.inputs, layer.W, layer.b
    lanes = lanes_in_register(S)
    if BOUNDS_CHECKED and m > first:
        check_inside(parameters, w, w + n * n_prev - 1)
        check_inside(parameters, max(b, 0), max(b, 0) + n - 1)
        check_inside(S, previous.A + first * previous.block, previous.A + (m - 1) * previous.block + n_prev - 1)
        check_inside(S, layer.A + first * layer.block, layer.A + (m - 1) * layer.block + max(n, lanes) - 1)
    r = first
    while r < m:
        Z, A_prev = layer.A + r * layer.block, previous.A + r * previous.block
        for u in range(0, n, lanes):
            unit = max(min(u, n - lanes), 0)
            if m - r >= 4:
                units_tile_4(S, Z, layer.block, parameters, w, b, n, n_prev, unit, S, A_prev, previous.block)
            else:
                units_tile_1(S, Z, layer.block, parameters, w, b, n, n_prev, unit, S, A_prev, previous.block)
        r += 4 if m - r >= 4 else 1


def turned_matmul_plus_bias_of_rows(
    layers: Any, l: int, first: int, stop: int, m: int, parameters: Any, S: Any
) -> None:  # fmt: skip
    """Z = W A_prev + b as above, to the bit, where W^T (n_prev, n) lies in the place of W; n a multiple of GRAIN."""
    layer, previous = layers[l], layers[l - 1]
    n, n_prev = layer.units, layer.inputs
    for r in range(first, m):
        Z, A_prev = layer.A + r * layer.block, previous.A + r * previous.block
        start = START_ZERO
        if layer.b >= 0:
            start = START_TARGET
            copy_rows(parameters, layer.b, n, S, Z, n, 1, n, False)
        multiply(
            1, n, (S, Z, n), (S, A_prev, n_prev, 1, 1), (parameters, layer.W, n, layer.W), n_prev, start,
            (parameters, 0),
        )  # fmt: skip


def input_gradient(layers: Any, l: int, first: int, stop: int, parameters: Any, S: Any, head: int) -> None:
    """dA_prev = W^T dZ for the examples first to stop of a chunk, multiples of PADDING and of GRAIN.

    W (n, n_prev) in `parameters`; dZ (n, ld) and dA_prev (n_prev, ld), at dZ of the layer before, in blocks in S. W^T
    is laid out anew at `head` in S where that is worth it.
    """
    layer, previous = layers[l], layers[l - 1]
    n, n_prev, ld, block, block_prev = layer.units, layer.inputs, layer.ld, layer.block, previous.block
    pack = stop - first >= PACK_COLUMNS and n_prev >= PACK_INPUTS
    rows_most = ROWS_AT_ONCE // TALL * TALL if pack else n_prev
    for k in range(0, n, TERMS_AT_ONCE):
        K = min(TERMS_AT_ONCE, n - k)
        start = START_ZERO if k == 0 else START_TARGET
        for i in range(0, n_prev, rows_most):
            rows = min(rows_most, n_prev - i)
            source, a, ka, height = parameters, layer.W + k * n_prev + i, n_prev, rows
            if pack:
                copy_panels(parameters, a, n_prev, S, head, K, rows)
                source, a, ka, height = S, head, TALL, TALL
            for q in range(first // LANES, (stop - 1) // LANES + 1):
                j = max(first - q * LANES, 0)
                columns = min(stop - q * LANES, LANES) - j
                C = previous.dZ + q * block_prev + i * ld + j
                B = layer.dZ + q * block + k * ld + j
                for r in range(0, rows, height):
                    multiply(
                        min(height, rows - r), columns, (S, C + r * ld, ld), (source, a + r * K, 1, ka, ka),
                        (S, B, ld, B), K, start, (parameters, 0),
                    )  # fmt: skip


@kernel
def copy_panels(W: Any, w: int, ldw: int, S: Any, target: int, K: int, rows: int) -> None:
    """Lay W^T (rows, K) out at `target` in S, in panels of TALL rows, as the tiles read it; W[k] lies at w + k ldw.

    W^T[i, k] goes to i // TALL * TALL * K + k * TALL + i % TALL. A last panel of fewer rows has gaps, which none reads.
    """
    if BOUNDS_CHECKED:
        check_inside(W, w, w + (K - 1) * ldw + rows - 1)
        check_inside(S, target, target + (rows - 1) // TALL * TALL * K + (K - 1) * TALL + (rows - 1) % TALL)
    in_panels = rows // TALL * TALL
    for k in range(K):
        copy_rows(W, w + k * ldw, TALL, S, target + k * TALL, K * TALL, rows // TALL, TALL, False)
    if rows > in_panels:
        copy_rows(W, w + in_panels, ldw, S, target + in_panels * K, TALL, K, rows - in_panels, False)


def weight_gradient(
    layers: Any, l: int, share: Any, m: int, S: Any, head: int, gradient: Any, w: int, add: bool
) -> None:
    """dW = dZ A_prev^T for some rows and columns of W: a sum over the m examples of a chunk, in order; or dW += that.

    dZ (n, ld) in blocks and A_prev^T (m, PANEL) in panels in S; dW (n, n_prev) at w in `gradient`, which is not padded:
    columns that do not fill a panel are put together at `head` in S. `share`: first and stop of rows, then of columns,
    the first a multiple of PANEL, and so is `stop` if it is not n_prev.
    """
    layer, previous = layers[l], layers[l - 1]
    first_row, stop_row, first_column, stop_column = share
    n_prev, ld = layer.inputs, layer.ld
    jump = layer.block - LANES + 1  # from the last example of a full block to the first of the next
    start = ADD_TO_TARGET if add else START_ZERO
    for j in range(first_column, stop_column, PANEL):
        AT = previous.AT + j // PANEL * previous.panel
        width = min(PANEL, stop_column - j)
        if width == PANEL:
            multiply(
                stop_row - first_row, PANEL, (gradient, w + first_row * n_prev + j, n_prev),
                (S, layer.dZ + first_row * ld, ld, 1, jump), (S, AT, PANEL, AT + previous.panel), m, start, (S, 0),
            )  # fmt: skip
        else:
            columns = -(-width // GRAIN) * GRAIN
            for i in range(first_row, stop_row, TALL):
                rows = min(TALL, stop_row - i)
                multiply(
                    rows, columns, (S, head, PANEL), (S, layer.dZ + i * ld, ld, 1, jump), (S, AT, PANEL, AT), m,
                    START_ZERO, (S, 0),
                )  # fmt: skip
                target = w + i * n_prev + j
                if BOUNDS_CHECKED:
                    check_inside(gradient, target, target + (rows - 1) * n_prev + width - 1)
                copy_rows(S, head, PANEL, gradient, target, n_prev, rows, width, add)


def narrow_weight_gradient(
    layers: Any, l: int, share: Any, m: int, S: Any, head: int, gradient: Any, w: int, add: bool
) -> None:
    """dW = dZ A_prev^T, or +=, of a layer of few units or few inputs, by sums in lanes: nothing is transposed.

    dZ (n, ld) and A_prev (n_prev, ld) in blocks in S. The rows of the longer side go side by side; where those are dZ,
    some rows of dW at a time are put together, transposed, at `head` in S.
    """
    layer, previous = layers[l], layers[l - 1]
    first_row, stop_row, first_column, stop_column = share
    n_prev, ld, block, block_prev = layer.inputs, layer.ld, layer.block, previous.block
    rows, columns = stop_row - first_row, stop_column - first_column
    dZ, A_prev = layer.dZ + first_row * ld, previous.A + first_column * ld
    if BOUNDS_CHECKED and rows > 0 and columns > 0:
        check_blocks(S, dZ, block, ld, rows, 0, m)
        check_blocks(S, A_prev, block_prev, ld, columns, 0, m)
        check_inside(S, head, head + columns * ROWS_SUMMED - 1 if n_prev < layer.units else head)
        check_inside(gradient, w + first_row * n_prev, w + (stop_row - 1) * n_prev + stop_column - 1)
    if n_prev >= layer.units:
        for i in range(rows if columns > 0 else 0):
            sum_rows_times(
                S, A_prev, ld, block_prev, m, columns, dZ + i * ld, block,
                gradient, w + (first_row + i) * n_prev + first_column, add,
            )  # fmt: skip
        return
    # So few rows of dZ that they stay in the nearest cache from the first input to the last.
    for i in range(0, rows, ROWS_SUMMED):
        side_by_side = min(ROWS_SUMMED, rows - i)
        for k in range(columns):
            target = head + k * ROWS_SUMMED
            sum_rows_times(S, dZ + i * ld, ld, block, m, side_by_side, A_prev + k * ld, block_prev, S, target, False)
        for r in range(side_by_side):
            for k in range(columns):
                at = w + (first_row + i + r) * n_prev + first_column + k
                dW = S[head + k * ROWS_SUMMED + r]
                gradient[at] = gradient[at] + dW if add else dW


def bias_gradient(layers: Any, l: int, share: Any, m: int, S: Any, gradient: Any, b: int, add: bool) -> None:
    """db = sum of dZ over the m examples of a chunk, or db += that, for the rows of a share; dZ (n, ld) in blocks in S.

    db (n,) lies at b in `gradient`.
    """
    layer = layers[l]
    first, stop, _, _ = share
    if stop > first:
        dZ = layer.dZ + first * layer.ld
        if BOUNDS_CHECKED:
            check_blocks(S, dZ, layer.block, layer.ld, stop - first, 0, m)
            check_inside(gradient, b + first, b + stop - 1)
        sum_rows(S, dZ, layer.ld, layer.block, m, stop - first, 0, 0, gradient, b + first, add)
