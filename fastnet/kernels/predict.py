"""The entry point `forward`: predictions for many rows, in blocks, or for a few, without transposing them.

Both give the same bits: a unit's sum runs over its inputs in order, whatever lies in the other lanes.
"""

from collections.abc import Callable
from typing import Any

from numba import types

from fastnet.kernels.build.jit import VECTOR_BYTES, kernel
from fastnet.kernels.build.parts import NONE, call_activation, call_forward, call_from_input
from fastnet.kernels.gather import load_examples
from fastnet.kernels.ir.copies import ask_for
from fastnet.kernels.ir.scalars import float_of_bits
from fastnet.kernels.ir.tiles import make_units_tile
from fastnet.kernels.passes import columns_of
from fastnet.kernels.plan import ACTIVATE, BY_ROWS, FORWARD, FROM_INPUT, LANES, LD, ROWS, SETTING, UNITS, A, B, W
from fastnet.kernels.updates import largest_finite

FEW = 7
"""Up to so many rows go one by one, or four by four, with units in the lanes; more make a block worth its while."""

MOST_ASKED_FOR = 16 * 1024
"""So many bytes of the next block are asked for while one is propagated: half of a first-level cache. (100,000 rows
through 30-64-32-1: 1.04 times as fast, `python benchmarks/peers.py --only "100,000 rows, 30-64-32-1"`.)"""

units_tile_1, units_tile_4 = make_units_tile(1), make_units_tile(4)


@kernel
def all_finite(x: Any) -> bool:
    """Return whether no entry of x (n,) is infinite or NaN."""
    bad = False
    for i in range(x.shape[0]):
        bad |= not (abs(x[i]) <= largest_finite(x[i]))
    return not bad


@kernel
def forward_few(plan: Any, m: int, parameters: Any, S: Any) -> None:
    """Propagate m rows, at A of the input in S, through all layers; a layer's A is (m, ROWS) then, a row an example."""
    lanes = VECTOR_BYTES // S.itemsize
    for layer in range(1, plan.shape[0]):
        n, n_prev, activation = plan[layer, UNITS], plan[layer - 1, UNITS], plan[layer, ACTIVATE]
        a, lda, z, ldz = plan[layer - 1, A], plan[layer - 1, ROWS], plan[layer, A], plan[layer, ROWS]
        w, b = plan[layer, W], plan[layer, B]
        r = 0
        if plan[layer - 1, BY_ROWS]:
            call_from_input(plan[0, FROM_INPUT], n, n_prev, 0, m, parameters, w, b, S, a, lda, z, ldz, 1)
            r = m
        while r < m:
            four = m - r >= 4
            for u in range(0, n, lanes):
                unit = max(min(u, n - lanes), 0)
                if four:
                    units_tile_4(S, z + r * ldz, ldz, parameters, w, b, n, n_prev, unit, S, a + r * lda, lda)
                else:
                    units_tile_1(S, z + r * ldz, ldz, parameters, w, b, n, n_prev, unit, S, a + r * lda, lda)
            r += 4 if four else 1
        if activation != NONE:
            for r in range(m):
                here = z + r * ldz
                call_activation(activation, n, 1, S, here, here, 1, float_of_bits(plan[layer, SETTING]))


def make_forward(source_digest: str) -> Callable[..., bool]:
    """Make the entry point `forward`; its docstring tells what it does."""

    def forward(plan: Any, order: Any, X: Any, first: int, last: int, parameters: Any, S: Any, out: Any) -> bool:
        """out[i] = A_L of example X[i], for first <= i < last; X (m, n_x), out (m, n_L), order = 0, 1, ..., LANES - 1.

        Returns whether all of those X are finite; stops where they are not. An example's result depends on no other:
        not on its block, nor on the rows beside it.
        """
        _ = source_digest
        output = plan.shape[0] - 1
        n, ld, z = plan[output, UNITS], plan[output, LD], plan[output, A]
        few = last - first <= FEW
        for start in range(first, last, LANES):
            m = min(LANES, last - start)
            rows = X[start : start + m]
            if not all_finite(rows.reshape(m * rows.shape[1])):
                return False
            if few:
                a, lda = plan[0, A], plan[0, ROWS]
                for i in range(m):
                    x = rows[i]
                    for j in range(x.shape[0]):
                        S[a + i * lda + j] = x[j]
                forward_few(plan, m, parameters, S)
                stride, step = plan[output, ROWS], 1
            else:
                stop = min(last, start + m + LANES)
                if (stop - start - m) * rows.shape[1] * rows.itemsize <= MOST_ASKED_FOR:
                    ask_for(X, (start + m) * rows.shape[1], stop * rows.shape[1])
                columns = columns_of(m)
                load_examples(plan, rows, order, 0, 0, m, S)
                call_forward(plan[0, FORWARD], plan, 0, columns, m, parameters, S, 0, 0)
                stride, step = 1, ld
            for i in range(m):
                row = out[start + i]
                for r in range(n):
                    row[r] = S[z + i * stride + r * step]
        return True

    def signature(T: types.Float) -> tuple[types.Type, ...]:
        i = types.int64
        vector = types.Array(T, 1, "C")
        examples = types.Array(T, 2, "C", readonly=True)
        return types.Array(i, 2, "C"), types.Array(i, 1, "C"), examples, i, i, vector, vector, types.Array(T, 2, "C")

    forward.signature = signature  # type: ignore[attr-defined]
    return forward
