"""Columns of a table become the inputs of a network, when examples are loaded: numbers in bins, categories one-hot.

So a table lies in memory with one number for each of its columns, whatever they become. `layers.Encode` says what
that number is. What becomes of it stands among the constants, as numbers, at `encoding` in S: for each column its kind,
and then what `encode_number` or `encode_category` reads.
"""

from typing import Any

import numpy as np

from fastnet.kernels.blocks import BOUNDS_CHECKED, check_inside, place, run_of
from fastnet.kernels.build.jit import spliced_kernel
from fastnet.kernels.codes import ENCODED_CATEGORY, ENCODED_NUMBER, MISSING_BELOW
from fastnet.kernels.gather import transpose_panels
from fastnet.kernels.ir.copies import copy_rows


def encode(layers: Any, first: int, stop: int, S: Any) -> None:
    """A = the encoding of raw, and AT = A^T if there is one, for examples first to stop of a chunk.

    raw (inputs, ld) and A (units, ld) in blocks in S, which do not overlap; or rows, with ld = 1.
    """
    x, start = layers[0], first
    while start < stop:
        columns, source, target = 1, x.raw + start * x.raw_block, x.A + start * x.block
        if x.lanes > 1:
            columns = run_of(start, stop)
            source, target = x.raw + place(start, x.raw_block), x.A + place(start, x.block)
        if BOUNDS_CHECKED:
            check_inside(S, source, source + (x.inputs - 1) * x.ld + columns - 1)
            check_inside(S, target, target + (x.units - 1) * x.ld + columns - 1)
        at, row = x.encoding, target
        for j in range(x.inputs):
            if S[at] == ENCODED_NUMBER:
                at, row = encode_number(S, at + 1, source + j * x.ld, row, x.ld, columns)
            elif S[at] == ENCODED_CATEGORY:
                at, row = encode_category(S, at + 1, source + j * x.ld, row, x.ld, columns)
            else:
                copy_rows(S, source + j * x.ld, 0, S, row, 0, 1, columns, False)
                at, row = at + 1, row + x.ld
        start += columns
    if x.AT >= 0:
        transpose_panels(layers, 0, first, stop, S)


@spliced_kernel
def encode_number(S: Any, at: int, source: int, target: int, ld: int, columns: int) -> Any:
    """z / sqrt(1 + (z / clip)^2) for z at `source`; 2 clip((z - e_b) r_b, 0, 1) - 1 for each bin b; and a gap's 1.

    z that is missing counts as 0. The constants at `at`: the number of bins, whether there is a row for gaps, 1 / clip,
    and of each bin where it begins, e_b, and 1 / its width, r_b. Returns what follows them, and the row that follows
    those written.
    """
    T = S.dtype.type
    n_bins, has_gaps, inverse, row = int(S[at]), S[at + 1] > T(0), S[at + 2], target + ld
    z, clipped = S[source : source + columns], S[target : target + columns]
    for c in range(columns):
        value = T(0) if z[c] < T(MISSING_BELOW) else z[c]
        scaled = value * inverse
        clipped[c] = value / np.sqrt(T(1) + scaled * scaled)
    for b in range(n_bins):
        code, start, rate = S[row : row + columns], S[at + 3 + 2 * b], S[at + 4 + 2 * b]
        for c in range(columns):
            t = ((T(0) if z[c] < T(MISSING_BELOW) else z[c]) - start) * rate
            t = t if t > T(0) else T(0)
            t = t if t < T(1) else T(1)
            code[c] = T(2) * t - T(1)
        row += ld
    if has_gaps:
        gap = S[row : row + columns]
        for c in range(columns):
            gap[c] = T(1) if z[c] < T(MISSING_BELOW) else T(0)
        row += ld
    return at + 3 + 2 * n_bins, row


@spliced_kernel
def encode_category(S: Any, at: int, source: int, target: int, ld: int, columns: int) -> Any:
    """1 in row k where that is the category, at `source`, and else 0; their number is at `at`. Returns as above."""
    T = S.dtype.type
    n, category = int(S[at]), S[source : source + columns]
    for k in range(n):
        hot = S[target + k * ld : target + k * ld + columns]
        for c in range(columns):
            hot[c] = T(1) if category[c] == T(k) else T(0)
    return at + 1, target + n * ld
