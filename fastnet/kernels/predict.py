"""The entry points `predict`, for many rows, in blocks, or for a few, with units in the lanes; and `input_gradients`.

Both give the same bits: a unit's sum runs over its inputs in order, whatever lies in the other lanes.
"""

from typing import Any

import numpy as np

from fastnet.kernels.blocks import columns_of, padded_columns
from fastnet.kernels.build.callers import call_backward, call_encode, call_forward, call_load
from fastnet.kernels.build.jit import kernel
from fastnet.kernels.build.parts import NONE
from fastnet.kernels.codes import LARGEST_COMPACT, LARGEST_NUMBER, MISSING_BELOW
from fastnet.kernels.gather import transpose
from fastnet.kernels.ir.copies import copy_rows, prefetch_range, rows_at
from fastnet.kernels.plan import LANES
from fastnet.kernels.updates import is_finite, largest_finite

PREFETCH_BYTES = 16 * 1024
"""So many bytes of the next block are asked for while one is propagated: half of a first-level cache. (100,000 rows
through 30-64-32-1: 1.04 times as fast, `python benchmarks/peers.py --only "100,000 rows, 30-64-32-1"`.)"""


@kernel
def all_finite(x: Any) -> bool:
    """Return whether no entry of x (n,) is infinite or NaN."""
    bad = False
    for i in range(x.shape[0]):
        bad |= not is_finite(x[i])
    return not bad


def predict(m: int, X_at: int, out_at: int, layers: Any, forward: int, order: Any, parameters: Any, S: Any) -> bool:
    """out[i] = A_L of example X[i], for i < m; X (m, n_x), out (m, n_L), order = 0, 1, ..., LANES - 1.

    X and out come as the addresses of their entries, `forward` as that of the pass. Returns whether all of X and of out
    is finite; stops behind the block where it is not. An example's result depends on no other: not on its block, nor on
    the rows beside it.
    """
    x, output = layers[0], layers[layers.shape[0] - 1]
    n_x, n_L = x.inputs, output.units
    X, out = rows_at(X_at, m, n_x, S), rows_at(out_at, m, n_L, S)
    entries, results = rows_at(X_at, 1, m * n_x, S)[0], rows_at(out_at, 1, m * n_L, S)[0]
    for start in range(0, m, LANES):
        stop = min(m, start + LANES)
        if not all_finite(entries[start * n_x : stop * n_x]):
            return False
        end = min(m, stop + LANES)
        if (end - stop) * n_x * X.itemsize <= PREFETCH_BYTES:
            prefetch_range(X, stop * n_x, end * n_x)
        call_load(x.load, X[start:stop], order, 0, 0, stop - start, S, x.raw, x.raw_block, x.ld, x.raw_AT, x.panel)
        columns = columns_of(stop - start) if output.lanes > 1 else stop - start
        if x.encode != NONE:
            call_encode(x.encode, layers, 0, columns, S)
        call_forward(forward, layers, 0, columns, stop - start, parameters, S, 0, 0)
        step = 1 if output.lanes > 1 else output.block  # from one example to the next
        for i in range(stop - start):
            row, a = out[start + i], output.A + i * step
            for r in range(n_L):
                row[r] = S[a + r * output.ld]
        if not all_finite(results[start * n_L : stop * n_L]):
            return False
    return True


def predict_mean(
    m: int, X_at: int, out_at: int, columns: int, sources: Any, medians: Any, units: Any, layers: Any, forward: int,
    parameters: Any, networks: int, S: Any,
) -> bool:  # fmt: skip
    """out[i] = the mean of A_L of some networks, for raw row i < m of a table of numbers; False if one is infinite.

    X (m, columns) and out (m, n_L) come as addresses of float64. Input j of the encoding is z = (x - medians[j]) /
    units[j], x being of column sources[j]; NaN is missing. The networks differ in their parameters alone, which lie in
    `parameters` one after the other, as far apart for each; `layers` are those of a plan for few rows.
    """
    T, x, output = S.dtype.type, layers[0], layers[layers.shape[0] - 1]
    X, out = rows_at(X_at, m, columns, medians), rows_at(out_at, m, output.units, medians)
    for i in range(m):
        for c in range(columns):
            if abs(X[i, c]) > largest_finite(X[i, c]):
                return False
        for j in range(x.inputs):
            value = min(max(X[i, sources[j]], -LARGEST_NUMBER), LARGEST_NUMBER)
            z = min(max((value - medians[j]) / units[j], -LARGEST_COMPACT), LARGEST_COMPACT)
            S[x.raw + i * x.raw_block + j] = T(z if X[i, sources[j]] == X[i, sources[j]] else 2.0 * MISSING_BELOW)
    call_encode(x.encode, layers, 0, m, S)
    stride = parameters.shape[0] // networks
    for number in range(networks):
        call_forward(forward, layers, 0, m, m, parameters[number * stride : (number + 1) * stride], S, 0, 0)
        for i in range(m):
            for r in range(output.units):
                A = np.float64(S[output.A + i * output.block + r])
                out[i, r] = A if number == 0 else out[i, r] + A
    good = True
    for i in range(m):
        for r in range(output.units):
            out[i, r] /= networks
            good &= is_finite(out[i, r])
    return good


def input_gradients(
    m: int, X_at: int, out_at: int, first_output: int, n_outputs: int, layers: Any, forward: int, backward: int,
    order: Any, parameters: Any, S: Any,
) -> bool:  # fmt: skip
    """out[i, k] = dA_L[first_output + k] / dX of example X[i], for i < m, k < n_outputs; out (m, n_outputs, n_x).

    Otherwise as `predict`, in blocks: an example's result depends on no other. For each output, dA_L is 1 in its row
    and 0 elsewhere, and what the backward pass makes of that comes to lie at dZ of the input, (n_x, ld).
    """
    T = S.dtype.type
    x, output = layers[0], layers[layers.shape[0] - 1]
    n_x, ld, width = x.units, output.ld, padded_columns(x.units)
    X, out, entries = rows_at(X_at, m, n_x, S), rows_at(out_at, m * n_outputs, n_x, S), rows_at(X_at, 1, m * n_x, S)[0]
    for start in range(0, m, LANES):
        stop = min(m, start + LANES)
        if not all_finite(entries[start * n_x : stop * n_x]):
            return False
        columns = columns_of(stop - start)
        call_load(x.load, X[start:stop], order, 0, 0, stop - start, S, x.A, x.block, x.ld, x.AT, x.panel)
        call_forward(forward, layers, 0, columns, stop - start, parameters, S, 0, 0)
        for k in range(n_outputs):
            for r in range(output.units):
                dA = S[output.dZ + r * ld : output.dZ + r * ld + columns]
                for e in range(columns):
                    dA[e] = T(1) if r == first_output + k else T(0)
            call_backward(backward, layers, 0, columns, parameters, S, 0)
            # By way of the input's A, which nothing needs any more.
            transpose(S, x.dZ, ld, x.A, width, width, padded_columns(stop - start))
            copy_rows(S, x.A, width, out, (start * n_outputs + k) * n_x, n_outputs * n_x, stop - start, n_x, False)
    return True
