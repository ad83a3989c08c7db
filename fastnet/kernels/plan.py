"""Where everything lies: the parameters in one flat vector, a chunk's activations in another.

A *plan* is an integer array with a row for the input (row 0) and one for every layer; its columns are named below.
Parameters of layer l: W (units, units_before) in C order at plan[l, W], then b (units,) at plan[l, B].

A batch is worked through in *chunks*, a chunk in *blocks* of up to LANES examples. A block of layer l holds A
(rows, lanes), examples contiguous, in rows padded to a multiple of 16; dZ is laid out alike. There is more than one
block only where each holds LANES: example e lies in block e // LANES, in column e % LANES. AT holds the same
activations transposed, an example a row, in *panels* of PANEL units, each contiguous: the weight gradient sums over
examples, and they are its k; that of a layer of few units or inputs needs none. A very wide input before few units is
kept once, *by rows*: A is (examples, ROWS) then. Or it is *swept* (`sweep.py`): AT has squares of 16 features by 16
examples then, and A (ROWS, PANEL_SIZE) the products of slabs of it, of slab s with row i of W in row s n_1 + i.
Every offset counts elements. No result is ever computed from what lies in the padding.

Threads divide a chunk by examples, PADDING of them at a time, and the weight gradient by tiles of W; each has a
head of HEAD elements of its own. In a long batch each thread works on a chunk, and on a plan, of its own.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

MOST_EXAMPLES, FEWEST_EXAMPLES = 512, 64
MOST_OPERATIONS = 2**33
"""The sizes a chunk may have, and the work in it: 40 ms at 200 GFLOP/s, since a kernel returns only between chunks."""

LANES = 64
"""Examples in a block: the most columns that a layer's activations hold side by side."""

PADDING = 16
"""Rows and columns are padded to a multiple of this: the widest register holds 16 float32."""

GRAIN = 8
"""Of the columns of the last block, so many at a time are computed: half of the widest register."""

PANEL = 32
"""Units in a panel of AT: two of the widest registers, so that a tile reads one run of memory."""

NARROW_LAYER, WIDE_INPUT = 4, 2048
"""The weight gradient of a layer of so few units, or inputs, is summed in lanes, from A as it is: a part of the
numerical contract. But an input of so many features before so few units is kept by rows, since a step does little but
read it, and summed over in the order of the examples."""

SLAB = 1024
"""Features of a swept input whose products are one chain of sums; those of slabs are added in order. So a part of the
numerical contract."""

TERMS_IN_PASS, ROWS_IN_PASS = 1024, 32
"""Terms of a sum in a pass: a strip of B, 32 columns of 1024 float32, then stays in a second-level cache. And the rows
of a large W in a pass, or of W^T, as many as make whole panels. With 64 rows, `wide` was 0.96 times as fast
(`benchmarks/peers.py --only wide`)."""

TEMPORARY = TERMS_IN_PASS * ROWS_IN_PASS
"""Elements, for each thread, at the head of the scratch vector of one that goes back: room for so much of W^T, laid out
anew, for a tile that overhangs its matrix, or for some of dW^T behind few inputs."""

MANY_PARAMETERS = 2**15
"""From so many parameters on, a step is taken with some rows of W as soon as their gradient is there."""

STEP = 2**16
"""Elements, after the TEMPORARY ones, for that gradient: they stay in a second-level cache."""

HEAD = TEMPORARY + STEP
"""Elements at the head of the scratch vector for each thread."""

(
    UNITS, W, B, CHUNK, A, ROWS, LD, BY_ROWS, SWEPT, AT, PANEL_SIZE, KEPT, DZ, DW, Y, TERMS, TERM_ROWS, WEIGHTS,
    SETTING, DROPOUT, ACTIVATE, DIFFERENTIATE, DROP, LOSS, WEIGH, FORWARD, BACKWARD, GRADIENTS, STEPS, PENALTIES,
    SIGNS, OUTPUTS, LOAD, FROM_INPUT, GRADIENT_BY_ROWS, GRADIENT_OF_FEW, COLUMNS,
) = range(37)  # fmt: skip
"""Columns of a plan: units; offsets of W and b (-1: no bias) among the parameters; examples in a chunk; offset of A in
the scratch vector, its padded rows and row stride; whether it is kept by rows, or swept; offset of AT (-1: there is
none), the size of its panels, or the padded examples of a swept input; offset of what the derivative is computed from:
A, or the slopes g'(Z), laid out like A, of a layer that keeps those; offset of dZ; offset of dW (units, ROWS of the
input), padded, of a layer whose input is kept by rows; in the last row the offsets of the targets Y and of the terms of
the cost, laid out like A, how many rows of terms there are, and the offset of the weights of the examples, ld for each
block; and the bits of two float64, the activation's setting and the rate of dropout.

Then addresses (`parts.py`): of the layer's activation, derivative and dropout; in the last row, of the loss and,
if examples have weights, of what multiplies by them; in the first, of the ways forward and back and of the gradients,
and, where there are some, of gradients with a step, of the cost of penalties, of what L1 adds to the gradient, of what
keeps outputs; of what loads an input that is kept by rows or swept, and of its product; of the gradient behind one by
rows, and of the gradient behind few inputs.
"""


class Plan(NamedTuple):
    """A plan and the sizes of the vectors it points into, in elements."""

    rows: np.ndarray
    n_parameters: int
    n_scratch: int


def make_plan(
    units: Sequence[int],
    use_bias: Sequence[bool],
    *,
    examples: int,
    backward: bool,
    threads: int = 1,
    keeps_slope: Sequence[bool] = (),
    swept: bool = False,
) -> Plan:
    """Lay out a network of `units` (the input's width first) for batches of up to `examples` examples.

    `use_bias` has one entry a layer, so one fewer than `units`. Without `backward`, there is no room for gradients:
    enough for `prediction.forward`. `threads` is how many share the scratch vector. `keeps_slope` says of each layer
    whether its slopes have a place of their own; empty, of none. `swept` is what its input is to be. Settings, and
    addresses of parts, are left empty; see `network.Network.plan` and `linking.py`.
    """
    chunk = chunk_size(units)
    examples = min(examples, chunk)
    ld = min(LANES, padded(examples))
    blocks = -(-examples // ld)
    plan = np.zeros((len(units), COLUMNS), dtype=np.int64)
    parameter, scratch = 0, threads * HEAD if backward else 0
    for layer, row in enumerate(plan):
        row[UNITS], row[CHUNK], row[ROWS], row[LD] = units[layer], chunk, padded(units[layer]), ld
        row[SWEPT] = layer == 0 and swept
        row[BY_ROWS] = layer == 0 and not swept and keeps_input_by_rows(units)
        if row[BY_ROWS]:
            row[ROWS] += PADDING  # rows a multiple of 4096 bytes apart would share few sets of the cache
        if row[SWEPT]:
            row[ROWS], row[PANEL_SIZE] = -(-units[0] // SLAB) * units[1], padded(examples)
        block = int(row[ROWS]) * ld
        row[A], scratch = scratch, scratch + blocks * block
        row[KEPT] = row[A]
        if layer > 0 and backward and keeps_slope and keeps_slope[layer - 1]:
            row[KEPT], scratch = scratch, scratch + blocks * block
        row[AT] = -1
        if row[SWEPT]:
            row[AT], scratch = scratch, scratch + padded(units[0]) * int(row[PANEL_SIZE])
        if backward and layer < len(units) - 1 and min(units[layer], units[layer + 1]) > NARROW_LAYER:
            row[PANEL_SIZE] = blocks * ld * PANEL
            row[AT], scratch = scratch, scratch + int(row[PANEL_SIZE]) * -(-units[layer] // PANEL)
        if layer > 0:
            row[W], parameter = parameter, parameter + units[layer] * units[layer - 1]
            row[B], parameter = (parameter, parameter + units[layer]) if use_bias[layer - 1] else (-1, parameter)
        if layer > 0 and backward:
            row[DZ], scratch = scratch, scratch + blocks * block
            if plan[layer - 1, BY_ROWS]:
                row[DW], scratch = scratch, scratch + units[layer] * int(plan[layer - 1, ROWS])
    if backward:
        plan[-1, Y], scratch = scratch, scratch + blocks * block
        plan[-1, TERMS], scratch = scratch, scratch + blocks * block
        plan[-1, WEIGHTS], scratch = scratch, scratch + blocks * ld
    return Plan(plan, parameter, scratch)


def keeps_input_by_rows(units: Sequence[int]) -> bool:
    """Return whether the input of a network is kept by rows: it is wide, and few units come after it."""
    return units[0] >= WIDE_INPUT and units[1] <= NARROW_LAYER


def has_few_inputs(n_prev: int, n: int) -> bool:
    """Return whether a layer of n units has so few inputs that their gradient is summed for many units at a time."""
    return n_prev <= NARROW_LAYER and n_prev < n


def parameter_offsets(units: Sequence[int], use_bias: Sequence[bool]) -> tuple[list[tuple[int, int]], int]:
    """Return where W and b of each layer begin among the parameters (b: -1 without bias), and how many there are."""
    offsets, end = [], 0
    for (n_prev, n), has_bias in zip(pairwise(units), use_bias, strict=True):
        w, b = end, end + n * n_prev
        offsets.append((w, b if has_bias else -1))
        end = b + n * has_bias
    return offsets, end


def chunk_size(units: Sequence[int]) -> int:
    """Return how many examples make a chunk: those whose gradient is one chain of sums.

    Longer batches add the gradients of their chunks, in order. That makes it a part of the numerical contract, and
    so it depends on the layers alone.
    """
    operations = sum(6 * n * n_prev for n_prev, n in pairwise(units))
    chunk = MOST_EXAMPLES
    while chunk > FEWEST_EXAMPLES and chunk * operations > MOST_OPERATIONS:
        chunk //= 2
    return chunk


def padded(n: int) -> int:
    """Return n rounded up to a multiple of PADDING."""
    return -(-n // PADDING) * PADDING


def computed_columns(m: int) -> int:
    """Return the columns that m examples are computed with: m rounded up to a multiple of GRAIN."""
    return -(-m // GRAIN) * GRAIN
