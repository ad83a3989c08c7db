"""From the user's rows to the blocks and panels of a chunk: gathering, transposing, shuffling."""

from collections.abc import Callable
from typing import Any

from fastnet.kernels.build.jit import VECTOR_BYTES, kernel, spliced_kernel
from fastnet.kernels.build.parts import NONE, call_load, load_signature, outputs_signature
from fastnet.kernels.ir.copies import FEW, copy_rows, gather_few, gather_square
from fastnet.kernels.ir.random import random_bits, stream_of
from fastnet.kernels.ir.squares import SQUARE
from fastnet.kernels.plan import AT, LANES, LD, LOAD, PADDING, PANEL, PANEL_SIZE, ROWS, UNITS, WEIGHTS, A, Y
from fastnet.kernels.products import transpose


@spliced_kernel
def load_examples(plan: Any, X: Any, order: Any, chunk: int, first: int, last: int, S: Any) -> None:
    """Copy examples first to last of the chunk that begins at order[chunk], transposed, into A of the input.

    And as they are into AT, if it has one. An input that is kept by rows or swept has a part for that, which must be
    linked in the plan. `first` is a multiple of PADDING.
    """
    if plan[0, LOAD] != NONE:
        call_load(plan[0, LOAD], plan, X, order, chunk, first, last, S)
    else:
        gather(
            X, order, chunk, first, last, S, plan[0, A], plan[0, LD], plan[0, ROWS], plan[0, AT], plan[0, PANEL_SIZE]
        )


def make_load_by_rows(source_digest: str) -> Callable[..., None]:
    """Make the part that loads an input which is kept by rows."""

    def load_by_rows(plan: Any, X: Any, order: Any, chunk: int, first: int, last: int, S: Any) -> None:
        """Copy examples first to last of the chunk that begins at order[chunk], as they are, into A of the input."""
        _ = source_digest
        rows, n = plan[0, ROWS], plan[0, UNITS]
        for i in range(first, last):
            copy_rows(X, order[chunk + i] * n, n, S, plan[0, A] + i * rows, rows, 1, n, False)

    load_by_rows.signature = load_signature  # type: ignore[attr-defined]
    return load_by_rows


def make_load_squares(source_digest: str) -> Callable[..., None]:
    """Make the part that loads an input which is swept."""

    def load_squares(plan: Any, X: Any, order: Any, chunk: int, first: int, last: int, S: Any) -> None:
        """Copy examples first to last of the chunk that begins at order[chunk], transposed, to squares in AT.

        Those are of SQUARE features by SQUARE examples; squares of the same features follow each other. Where one has
        no feature, or no example, there are finite numbers. `first` is a multiple of SQUARE.
        """
        _ = source_digest
        side, n, columns = VECTOR_BYTES // S.itemsize, plan[0, UNITS], plan[0, PANEL_SIZE]
        for i in range(first, last, SQUARE):
            for j in range(0, n, SQUARE):
                square = plan[0, AT] + j * columns + i * SQUARE
                examples, features = min(SQUARE, last - i), min(SQUARE, n - j)
                if examples < SQUARE or features < SQUARE:
                    for e in range(SQUARE * SQUARE):
                        S[square + e] = 0
                for r in range(0, examples, side):
                    for k in range(0, features, side):
                        gather_square(
                            X, order, chunk + i + r, min(side, examples - r), n, j + k, min(side, features - k), S,
                            square + k * SQUARE + r, SQUARE, -1, 0,
                        )  # fmt: skip

    load_squares.signature = load_signature  # type: ignore[attr-defined]
    return load_squares


@kernel
def load_targets(plan: Any, targets: Any, order: Any, chunk: int, first: int, last: int, S: Any) -> None:
    """Copy the targets of the same examples into Y, blocks of (n_L, ld).

    `targets` is (m, n_L), or (m, 1) with the number of a class, which becomes a 1 among zeros.
    """
    T = S.dtype.type
    output = plan.shape[0] - 1
    n, ld, rows, y = plan[output, UNITS], plan[output, LD], plan[output, ROWS], plan[output, Y]
    if targets.shape[1] == n:
        gather(targets, order, chunk, first, last, S, y, ld, rows, -1, 0)
    else:
        for i in range(first, last):
            column = y + i // LANES * rows * ld + i % LANES
            for r in range(n):
                S[column + r * ld] = T(0)
            S[column + int(targets[order[chunk + i], 0]) * ld] = T(1)


@spliced_kernel
def load_weights(plan: Any, weights: Any, order: Any, chunk: int, first: int, last: int, S: Any) -> None:
    """Copy the weights of the same examples to where the plan has them."""
    at = plan[plan.shape[0] - 1, WEIGHTS]
    for i in range(first, last):
        S[at + i] = weights[order[chunk + i]]


def make_outputs(source_digest: str) -> Callable[..., None]:
    """Make the part that keeps outputs."""

    def keep_outputs(plan: Any, chunk: int, first: int, last: int, S: Any, outputs: Any) -> None:
        """Copy A of the last layer, examples first to last of the chunk, to outputs (n_L, m), in the epoch's order."""
        _ = source_digest
        output = plan.shape[0] - 1
        ld, rows, start = plan[output, LD], plan[output, ROWS], first
        while start < last:
            q, j = start // LANES, start % LANES
            columns = min(last - start, ld - j)
            for r in range(plan[output, UNITS]):
                at = plan[output, A] + (q * rows + r) * ld + j
                source, target = S[at : at + columns], outputs[r, chunk + start : chunk + start + columns]
                for e in range(columns):
                    target[e] = source[e]
            start += columns

    keep_outputs.signature = outputs_signature  # type: ignore[attr-defined]
    return keep_outputs


@kernel
def gather(
    X: Any, order: Any, chunk: int, first: int, last: int, S: Any, a: int, ld: int, rows: int, at: int, panel: int
) -> None:
    """Copy rows order[chunk + first] to order[chunk + last] of X, transposed, to blocks (rows, ld) at a in S.

    And, as they are, to panels, `panel` elements apart, at `at`, if that is not -1.
    """
    side, n = VECTOR_BYTES // S.itemsize, X.shape[1]
    for i in range(first, last, side):
        if n <= FEW and at < 0:
            gather_few(X, order, chunk + i, min(side, last - i), n, S, a + i // LANES * rows * ld + i % LANES, ld)
            continue
        for j in range(0, n, side):
            A_square = a + i // LANES * rows * ld + i % LANES + j * ld
            AT_square = -1 if at < 0 else at + j // PANEL * panel + i * PANEL + j % PANEL
            examples, columns = min(side, last - i), min(side, n - j)
            gather_square(X, order, chunk + i, examples, n, j, columns, S, A_square, ld, AT_square, PANEL)


@spliced_kernel
def transpose_panels(plan: Any, layer: int, first: int, last: int, S: Any) -> None:
    """Fill AT of a layer from its A, for the examples first to last of a chunk; `first` is a multiple of PADDING."""
    rows, ld, panel = plan[layer, ROWS], plan[layer, LD], plan[layer, PANEL_SIZE]
    side, n = VECTOR_BYTES // S.itemsize, plan[layer, UNITS]
    for start in range(first, last, PADDING):
        a = plan[layer, A] + start // LANES * rows * ld + start % LANES
        target = plan[layer, AT] + start * PANEL
        for j in range(0, n, PANEL):
            units = min(PANEL, -(-(n - j) // side) * side)
            transpose(S, a + j * ld, ld, target + j // PANEL * panel, PANEL, units, PADDING)


@kernel
def shuffle(order: Any, key: int, epoch: int) -> None:
    """Make `order` (m,) the permutation of epoch `epoch` under `key`, whatever it held: Fisher and Yates' shuffle."""
    m = order.shape[0]
    for i in range(m):
        order[i] = i
    stream = stream_of(key, epoch)
    for i in range(m - 1, 0, -1):
        j = (random_bits(stream, i) * (i + 1)) >> 32
        order[i], order[j] = order[j], order[i]
