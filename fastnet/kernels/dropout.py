"""Dropout, inverted: a unit's output is zero for some examples, and larger for the others, so that its mean stays.

Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout: a simple way to prevent neural networks from
overfitting, 2014. Which outputs are dropped is a function of the key, the epoch, the layer, the unit, and the place of
the example in the epoch's order: of nothing that depends on threads, or on how registers are filled.
"""

from typing import Any

from fastnet.kernels.blocks import BOUNDS_CHECKED, check_layer, place, run_of
from fastnet.kernels.ir.random import random_bits, stream_of

EXAMPLE_BITS = 40
"""Of a counter, so many number the examples, those above the units."""

TWO_TO_32 = 4294967296.0


def drop(layers: Any, l: int, first: int, stop: int, S: Any, key: int, example: int) -> None:
    """A, slopes = 0 with probability `dropout`, or else times 1 / (1 - dropout), for examples first to stop of a chunk.

    A and slopes (units, ld) in blocks in S. `key` is the epoch's, `example` the place of the chunk's first in it.
    """
    layer, T = layers[l], S.dtype.type
    scale, dropped = T(1.0 / (1.0 - layer.dropout)), int(layer.dropout * TWO_TO_32)
    stream = stream_of(key, l)
    if BOUNDS_CHECKED:
        check_layer(layers, l, layer.A, layer.units, first, stop, S)
        check_layer(layers, l, layer.slopes, layer.units, first, stop, S)
    start = first
    while start < stop:
        columns, at = run_of(start, stop), place(start, layer.block)
        for r in range(layer.units):
            a, slopes = layer.A + at + r * layer.ld, layer.slopes + at + r * layer.ld
            A, slope = S[a : a + columns], S[slopes : slopes + columns]
            counter = (r << EXAMPLE_BITS) + example + start
            for e in range(columns):
                stays = random_bits(stream, counter + e) >= dropped
                scaled, scaled_slope = scale * A[e], scale * slope[e]  # before the choice: all of a register at once
                A[e] = scaled if stays else T(0)
                slope[e] = scaled_slope if stays else T(0)
        start += columns
