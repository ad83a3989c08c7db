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
from fastnet.kernels.ir.scalars import fma
from fastnet.kernels.updates import largest_finite as unbounded


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
    """z / sqrt(1 + (z / clip)^2) where z = z_0 + sum over bins b of v_b t_b; then 2 t_b - 1 for each; then a gap's 1.

    t_b = u - b, clipped to [0, 1], but for z without a bound below the first bin and above the last; u, the place of
    a number among the bins, lies at `source`. Of one that is missing it is that of the median, and z is 0. The
    constants at `at`: the number of bins, whether there is a row for each, and one for gaps, the median's u, z_0,
    1 / clip, and v_b. Returns what follows them, and the row that follows those written.
    """
    T = S.dtype.type
    n_bins, has_bins, has_gaps = int(S[at]), S[at + 1] > T(0), S[at + 2] > T(0)
    median, z_0, inverse = S[at + 3], S[at + 4], S[at + 5]
    u, z = S[source : source + columns], S[target : target + columns]
    for c in range(columns):
        z[c] = z_0
    for b in range(n_bins):
        v, left = S[at + 6 + b], T(b)
        least, most = T(0) if b > 0 else -unbounded(u[0]), T(1) if b < n_bins - 1 else unbounded(u[0])
        for c in range(columns):
            t = (median if u[c] < T(MISSING_BELOW) else u[c]) - left
            t = t if t > least else least
            t = t if t < most else most
            z[c] = fma(v, t, z[c])
    for c in range(columns):
        scaled = z[c] * inverse
        scaled = scaled if scaled < T(2.0**60) else T(2.0**60)  # whose square is finite
        scaled = scaled if scaled > T(-(2.0**60)) else T(-(2.0**60))
        z[c] = T(0) if u[c] < T(MISSING_BELOW) else z[c] / np.sqrt(T(1) + scaled * scaled)
    row = target + ld
    for b in range(n_bins if has_bins else 0):
        code, left = S[row : row + columns], T(b)
        for c in range(columns):
            t = (median if u[c] < T(MISSING_BELOW) else u[c]) - left
            t = t if t > T(0) else T(0)
            t = t if t < T(1) else T(1)
            code[c] = T(2) * t - T(1)
        row += ld
    if has_gaps:
        gap = S[row : row + columns]
        for c in range(columns):
            gap[c] = T(1) if u[c] < T(MISSING_BELOW) else T(0)
        row += ld
    return at + 6 + n_bins, row


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
