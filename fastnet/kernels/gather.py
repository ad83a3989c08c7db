"""From the user's rows to the blocks and panels of a chunk, and back: gathering, transposing, shuffling.

The parts that load have the same arguments: examples first to stop of the chunk that begins at order[chunk_start] are
rows order[chunk_start + i] of X (m, n), or of the targets. They go to blocks at a in S, each (rows, ld), `block`
elements apart; and, as they are, to panels at `at`, `panel` elements apart, if that is not -1. `first` is a multiple of
PADDING.
"""

from typing import Any

from fastnet.kernels.blocks import BOUNDS_CHECKED, check_blocks, check_inside, check_layer, place, run_of
from fastnet.kernels.build.jit import kernel, spliced_kernel
from fastnet.kernels.ir.copies import GATHER_COLUMNS, copy_rows, gather_few, gather_square, transpose_square
from fastnet.kernels.ir.random import random_below, stream_of
from fastnet.kernels.ir.vectors import lanes_in_register
from fastnet.kernels.plan import PADDING, PANEL


def gather(
    X: Any, order: Any, chunk_start: int, first: int, stop: int, S: Any, a: int, block: int, ld: int, at: int,
    panel: int,
) -> None:  # fmt: skip
    """A = X^T, for some examples, and AT = X.

    X (m, n), order (m,). A (n, ld) in blocks at a in S; AT (examples, PANEL) in panels at `at`, or -1: none.
    """
    side, n = lanes_in_register(S), X.shape[1]
    if BOUNDS_CHECKED and stop > first:
        check_rows(X, order, chunk_start, first, stop)
        end = first + (stop - first + side - 1) // side * side  # whole registers are written
        check_blocks(S, a, block, ld, n, first, end)
        if at >= 0:
            check_inside(
                S, at, at + (n - 1) // PANEL * panel + (end - 1) * PANEL + (n - 1) % PANEL // side * side + side - 1
            )
    for i in range(first, stop, side):
        examples, A = min(side, stop - i), a + place(i, block)
        if n <= GATHER_COLUMNS and at < 0:
            gather_few(X, order, chunk_start + i, examples, n, S, A, ld)
            continue
        for j in range(0, n, side):
            AT = -1 if at < 0 else at + j // PANEL * panel + i * PANEL + j % PANEL
            gather_square(X, order, chunk_start + i, examples, n, j, min(side, n - j), S, A + j * ld, ld, AT, PANEL)


def load_rows(
    X: Any, order: Any, chunk_start: int, first: int, stop: int, S: Any, a: int, block: int, ld: int, at: int,
    panel: int,
) -> None:  # fmt: skip
    """A = X, for some examples: row i of A (examples, block) lies at a + i block in S."""
    n = X.shape[1]
    if BOUNDS_CHECKED and stop > first:
        check_rows(X, order, chunk_start, first, stop)
        check_inside(S, a + first * block, a + (stop - 1) * block + n - 1)
    for i in range(first, stop):
        copy_rows(X, order[chunk_start + i] * n, n, S, a + i * block, block, 1, n, False)


def load_classes(
    X: Any, order: Any, chunk_start: int, first: int, stop: int, S: Any, a: int, block: int, ld: int, at: int,
    panel: int,
) -> None:  # fmt: skip
    """Y[k, e] = 1 where k = X[e, 0], the number of a class, or else 0: Y (rows, ld) in blocks at a in S."""
    T = S.dtype.type
    if BOUNDS_CHECKED and stop > first:
        check_rows(X, order, chunk_start, first, stop)
        check_blocks(S, a, block, ld, block // ld, first, stop)
        for i in range(first, stop):
            if not 0 <= X[order[chunk_start + i], 0] < block // ld:
                raise IndexError("the number of a class is outside its block")
    for i in range(first, stop):
        column = a + place(i, block)
        for r in range(block // ld):
            S[column + r * ld] = T(0)
        S[column + int(X[order[chunk_start + i], 0]) * ld] = T(1)


@kernel
def check_rows(X: Any, order: Any, chunk_start: int, first: int, stop: int) -> None:
    """Raise IndexError unless `order` numbers the examples first to stop, at least one, and X has those rows."""
    n = X.shape[1]
    check_inside(order, chunk_start + first, chunk_start + stop - 1)
    for i in range(first, stop):
        check_inside(X, order[chunk_start + i] * n, order[chunk_start + i] * n + n - 1)


@spliced_kernel
def load_weights(weights: Any, order: Any, chunk_start: int, first: int, stop: int, S: Any, at: int) -> None:
    """S[at + i] = weights[order[chunk_start + i]], for the examples i from first to stop of a chunk."""
    for i in range(first, stop):
        S[at + i] = weights[order[chunk_start + i]]


def keep_outputs(layers: Any, chunk_start: int, first: int, stop: int, S: Any, outputs: Any) -> None:
    """outputs[:, chunk_start + e] = A_L[:, e], for examples first to stop; outputs (n_L, m), in the epoch's order."""
    output = layers[layers.shape[0] - 1]
    start = first
    if BOUNDS_CHECKED:
        check_layer(layers, layers.shape[0] - 1, output.A, output.units, first, stop, S)
    while start < stop:
        columns = run_of(start, stop)
        for r in range(output.units):
            at = output.A + place(start, output.block) + r * output.ld
            source, target = S[at : at + columns], outputs[r, chunk_start + start : chunk_start + start + columns]
            for e in range(columns):
                target[e] = source[e]
        start += columns


@spliced_kernel
def transpose_panels(layers: Any, l: int, first: int, stop: int, S: Any) -> None:
    """AT = A^T of layer l, for the examples first to stop of a chunk; `first` is a multiple of PADDING.

    A (units, ld) in blocks and AT (examples, PANEL) in panels, both in S, which do not overlap.
    """
    layer = layers[l]
    side, n = lanes_in_register(S), layer.units
    for start in range(first, stop, PADDING):
        source, target = layer.A + place(start, layer.block), layer.AT + start * PANEL
        for j in range(0, n, PANEL):
            units = min(PANEL, -(-(n - j) // side) * side)
            transpose(S, source + j * layer.ld, layer.ld, target + j // PANEL * layer.panel, PANEL, units, PADDING)


@kernel
def transpose(S: Any, source: int, lds: int, target: int, ldt: int, rows: int, columns: int) -> None:
    """Target (columns, rows) = source (rows, columns)^T within S, both multiples of a register's lanes; no overlap."""
    side = lanes_in_register(S)
    if BOUNDS_CHECKED and rows > 0 and columns > 0:
        check_inside(S, source, source + (rows - 1) * lds + columns - 1)
        check_inside(S, target, target + (columns - 1) * ldt + rows - 1)
    for i in range(0, rows, side):
        for j in range(0, columns, side):
            transpose_square(S, source + i * lds + j, lds, S, target + j * ldt + i, ldt)


@kernel
def shuffle(order: Any, chosen: Any, key: int, epoch: int) -> None:
    """Make `order` (m,) the permutation of epoch `epoch` under `key`, whatever it held: Fisher and Yates' shuffle.

    Of the rows chosen (m,), or of 0 to m - 1 if there are none; they may not overlap.
    """
    m, n_chosen = order.shape[0], chosen.shape[0]
    for i in range(m):
        order[i] = chosen[i] if n_chosen > 0 else i
    stream = stream_of(key, epoch)
    for i in range(m - 1, 0, -1):
        j = random_below(stream, i, i + 1)
        order[i], order[j] = order[j], order[i]
