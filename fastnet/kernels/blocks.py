"""Where an example lies in blocks, how threads divide examples and weights, and the check of every index.

`plan.py` says how blocks are laid out. A share is half-open: from `first` up to, but not including, `stop`.
"""

from typing import Any

from fastnet.kernels.build.jit import VECTOR_BYTES, kernel
from fastnet.kernels.build.target import JIT_DISABLED
from fastnet.kernels.ir.vectors import BOUNDS_CHECK
from fastnet.kernels.plan import LANES, PADDING, PANEL, computed_columns, padded

BOUNDS_CHECKED = BOUNDS_CHECK or JIT_DISABLED

# Eight rows fill 16 of the 32 registers of AVX-512 and NEON: about 95 % of the FMA peak (`scripts/bench --bench Tile`),
# which 12 rows did not better, with shorter tails. With 16 registers (AVX2), six rows are the most that do not spill.
TALL = 6 if VECTOR_BYTES == 32 else 8

padded_columns, columns_of = kernel(padded), kernel(computed_columns)


@kernel
def place(e: int, block: int) -> int:
    """Return where example e begins in blocks of LANES examples, `block` elements apart."""
    return e // LANES * block + e % LANES


@kernel
def run_of(start: int, stop: int) -> int:
    """Return how many of the examples start to stop lie in the block of `start`."""
    return min(stop - start, LANES - start % LANES)


@kernel
def check_inside(array: Any, first: int, last: int) -> None:
    """Raise IndexError unless array[first] and array[last] exist: numba's bounds check, for intrinsics."""
    if first < 0 or last >= array.size or last < first:
        raise IndexError("a kernel reaches outside its array")


@kernel
def check_blocks(S: Any, a: int, block: int, ld: int, rows: int, first: int, stop: int) -> None:
    """Raise IndexError unless `rows` rows of the examples first to stop, in blocks (rows, ld) at a, lie inside S."""
    if stop > first and rows > 0:
        check_inside(S, a + place(first, block), a + place(stop - 1, block) + (rows - 1) * ld)


@kernel
def check_layer(layers: Any, l: int, at: int, rows: int, first: int, stop: int, S: Any) -> None:
    """Raise IndexError unless `rows` rows of the examples first to stop, laid out like A of layer l, lie inside S."""
    layer = layers[l]
    if stop > first and layer.lanes > 1:
        check_blocks(S, at, layer.block, layer.ld, rows, first, stop)
    elif stop > first:
        check_inside(S, at + first * layer.block, at + (stop - 1) * layer.block + (rows - 1) * layer.ld)


@kernel
def share_of(n: int, thread: int, threads: int) -> Any:
    """Return first and stop of the part of 0, 1, ..., n - 1 that falls to one of the threads."""
    return n * thread // threads, n * (thread + 1) // threads


@kernel
def share_of_examples(m: int, thread: int, threads: int) -> Any:
    """Return first and stop of a thread's examples of a chunk: multiples of PADDING, `stop` of GRAIN."""
    first, stop = share_of(padded_columns(m) // PADDING, thread, threads)
    return first * PADDING, min(stop * PADDING, columns_of(m))


@kernel
def share_of_weights(n: int, n_prev: int, thread: int, threads: int) -> Any:
    """Return a thread's part of W (n, n_prev): first and stop of its rows, then of its columns.

    Whole rows, as many as tiles are tall; but panels of columns where there are more of those.
    """
    groups, panels = (n + TALL - 1) // TALL, (n_prev + PANEL - 1) // PANEL
    if panels > groups:
        first, stop = share_of(panels, thread, threads)
        return 0, n, first * PANEL, min(stop * PANEL, n_prev)
    first, stop = share_of(groups, thread, threads)
    return first * TALL, min(stop * TALL, n), 0, n_prev
