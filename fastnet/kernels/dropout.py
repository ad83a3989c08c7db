"""Dropout, inverted: a unit's output is zero for some examples, and larger for the others, so that its mean stays.

Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout: a simple way to prevent neural networks from
overfitting, 2014. Which outputs are dropped is a function of the key, the epoch, the layer, the unit, and the place of
the example in the epoch's order: of nothing that depends on threads, or on how registers are filled.
"""

from collections.abc import Callable
from typing import Any

from fastnet.kernels.build.parts import dropout_signature
from fastnet.kernels.ir.random import random_bits, stream_of

EXAMPLE_BITS = 40
"""Of a counter, so many number the examples, those above the units."""

TWO_TO_32 = 4294967296.0


def make_dropout(source_digest: str) -> Callable[..., None]:
    """Make what drops some of A, and of the slopes that back propagation multiplies by."""

    def drop(
        n: int, columns: int, S: Any, a: int, slopes: int, ld: int, rate: float, key: int, layer: int, example: int
    ) -> None:
        """A, slopes <- 0 with probability `rate`, or else times 1 / (1 - rate), for some columns of a block.

        A (n, columns) lies at a in S, with row stride ld, the slopes likewise; the first column is that example of the
        epoch's order, and `key` the epoch's.
        """
        _ = source_digest
        T = S.dtype.type
        scale, dropped = T(1.0 / (1.0 - rate)), int(rate * TWO_TO_32)
        stream = stream_of(key, layer)
        for r in range(n):
            A, slope = S[a + r * ld : a + r * ld + columns], S[slopes + r * ld : slopes + r * ld + columns]
            first = (r << EXAMPLE_BITS) + example
            for e in range(columns):
                kept = random_bits(stream, first + e) >= dropped
                scaled, scaled_slope = scale * A[e], scale * slope[e]  # before the choice: all of a register at once
                A[e] = scaled if kept else T(0)
                slope[e] = scaled_slope if kept else T(0)

    drop.signature = dropout_signature  # type: ignore[attr-defined]
    return drop
