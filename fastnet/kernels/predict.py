"""The entry point `predict`: predictions for many rows, in blocks, or for a few, with units in the lanes.

Both give the same bits: a unit's sum runs over its inputs in order, whatever lies in the other lanes.
"""

from typing import Any

from fastnet.kernels.blocks import columns_of
from fastnet.kernels.build.jit import kernel
from fastnet.kernels.build.parts import call_forward, call_load
from fastnet.kernels.ir.copies import prefetch_range
from fastnet.kernels.plan import LANES
from fastnet.kernels.updates import is_finite

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


def predict(
    layers: Any, forward: int, order: Any, X: Any, first: int, stop: int, parameters: Any, S: Any, out: Any
) -> bool:
    """out[i] = A_L of example X[i], for first <= i < stop; X (m, n_x), out (m, n_L), order = 0, 1, ..., LANES - 1.

    `forward` is the address of that pass. Returns whether all of those X are finite; stops where they are not. An
    example's result depends on no other: not on its block, nor on the rows beside it.
    """
    x, output = layers[0], layers[layers.shape[0] - 1]
    n_x = X.shape[1]
    for start in range(first, stop, LANES):
        m = min(LANES, stop - start)
        rows = X[start : start + m]
        if not all_finite(rows.reshape(m * n_x)):
            return False
        end = min(stop, start + m + LANES)
        if (end - start - m) * n_x * rows.itemsize <= PREFETCH_BYTES:
            prefetch_range(X, (start + m) * n_x, end * n_x)
        call_load(x.load, rows, order, 0, 0, m, S, x.A, x.block, x.ld, x.AT, x.panel)
        call_forward(forward, layers, 0, columns_of(m) if output.lanes > 1 else m, m, parameters, S, 0, 0)
        step = 1 if output.lanes > 1 else output.block  # from one example to the next
        for i in range(m):
            row, a = out[start + i], output.A + i * step
            for r in range(output.units):
                row[r] = S[a + r * output.ld]
    return True
