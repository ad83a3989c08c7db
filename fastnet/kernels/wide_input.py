"""The products of an input of very many features before a layer of few units: kept by rows, and read as it lies.

The forward pass is sums in lanes (`ir/sums.py`); the gradient runs over the examples in order, ROWS_ADDED of them at a
time, which it finds in the cache, right after their backward pass.
"""

from typing import Any

from fastnet.kernels.blocks import BOUNDS_CHECKED, check_inside, check_layer, padded_columns, place
from fastnet.kernels.build.jit import kernel
from fastnet.kernels.ir.copies import copy_rows
from fastnet.kernels.ir.sums import ROWS_ADDED, add_rows_times, make_dot_rows
from fastnet.kernels.ir.vectors import lanes_in_register

dot_rows, dot_4_rows, dot_1_row = (make_dot_rows(most) for most in (8, 4, 1))

STRIP = 512
"""Features at a time, whose part of ROWS_ADDED examples stays in a first-level cache from unit to unit."""


def wide_matmul_plus_bias(layers: Any, l: int, first: int, stop: int, m: int, parameters: Any, S: Any) -> None:
    """Z = W A_prev + b for the examples first to stop, of m, of a chunk; `first` is a multiple of PADDING.

    W (n, n_prev) and b (n,) in `parameters`; A_prev (m, block of the input), rows; Z (n, ld) in blocks, or rows where
    its lanes are 1; both in S, no overlap.
    """
    layer, previous = layers[l], layers[l - 1]
    n, n_prev, w, b, ld, lda = layer.units, layer.inputs, layer.W, layer.b, layer.ld, previous.block
    step, last, many = 1 if layer.lanes > 1 else layer.block, min(stop, m), min(8, lanes_in_register(S))
    if BOUNDS_CHECKED and last > first:
        check_inside(parameters, w, w + n * n_prev - 1)
        check_inside(parameters, max(b, 0), max(b, 0) + (n - 1 if b >= 0 else 0))
        check_layer(layers, l - 1, previous.A, n_prev, first, last, S)
        check_layer(layers, l, layer.A, n, first, last, S)
    e = first
    while e < last:
        rows = many if last - e >= many else 4 if last - e >= 4 else 1
        A_prev, Z = previous.A + e * lda, layer.A + (place(e, layer.block) if layer.lanes > 1 else e * layer.block)
        for i in range(n):
            bias = b + i if b >= 0 else -1
            if rows == many:
                dot_rows(S, Z + i * ld, step, S, A_prev, lda, parameters, w + i * n_prev, bias, n_prev)
            elif rows == 4:
                dot_4_rows(S, Z + i * ld, step, S, A_prev, lda, parameters, w + i * n_prev, bias, n_prev)
            else:
                dot_1_row(S, Z + i * ld, step, S, A_prev, lda, parameters, w + i * n_prev, bias, n_prev)
        e += rows


@kernel
def accumulate(layers: Any, first: int, stop: int, first_column: int, stop_column: int, S: Any) -> None:
    """dW += dZ A_prev^T over the examples first to stop, for some columns; begins with zero at example 0.

    dZ (n, ld) in blocks, A_prev (m, block of the input) and dW (n, block of the input), padded, all in S.
    """
    layer, previous = layers[1], layers[0]
    ldw = previous.block
    if BOUNDS_CHECKED and stop > first and stop_column > first_column:
        check_inside(S, layer.dW + first_column, layer.dW + (layer.units - 1) * ldw + padded_columns(stop_column) - 1)
        check_inside(S, previous.A + first * ldw, previous.A + (stop - 1) * ldw + padded_columns(stop_column) - 1)
        check_layer(layers, 1, layer.dZ, layer.units, first, stop, S)
    for e in range(first, stop, ROWS_ADDED):
        rows, dZ = min(ROWS_ADDED, stop - e), layer.dZ + place(e, layer.block)
        for j in range(first_column, stop_column, STRIP):
            columns = padded_columns(min(STRIP, stop_column - j))
            for i in range(layer.units):
                dW, A_prev = layer.dW + i * ldw + j, previous.A + e * ldw + j
                add_rows_times(S, dW, columns, S, A_prev, ldw, S, dZ + i * layer.ld, rows, e == 0)


@kernel
def take(layers: Any, first_column: int, stop_column: int, S: Any, gradient: Any, w: int, add: bool) -> None:
    """dW (n, n_prev) at w in `gradient` = (or +=) the dW that `accumulate` has left in S, for some columns."""
    layer, ldw = layers[1], layers[0].block
    n, n_prev, columns = layer.units, layer.inputs, stop_column - first_column
    if BOUNDS_CHECKED and columns > 0:
        check_inside(S, layer.dW + first_column, layer.dW + (n - 1) * ldw + stop_column - 1)
        check_inside(gradient, w + first_column, w + (n - 1) * n_prev + stop_column - 1)
    copy_rows(S, layer.dW + first_column, ldw, gradient, w + first_column, n_prev, n, columns, add)


def wide_gradient(layers: Any, first: int, stop: int, first_column: int, stop_column: int, S: Any) -> None:
    """dW += dZ A_prev^T over the examples first to stop: right after their backward pass, while they are near."""
    accumulate(layers, first, stop, first_column, stop_column, S)


def take_wide_gradient(
    layers: Any, l: int, share: Any, m: int, S: Any, head: int, gradient: Any, w: int, add: bool
) -> None:
    """dW, or +=, of the layer behind the input, from what `wide_gradient` has summed over all examples."""
    take(layers, share[2], share[3], S, gradient, w, add)


def wide_weight_gradient(
    layers: Any, l: int, share: Any, m: int, S: Any, head: int, gradient: Any, w: int, add: bool
) -> None:
    """dW = dZ A_prev^T, or +=, for the columns of a share, over the m examples of a chunk."""
    accumulate(layers, 0, m, share[2], share[3], S)
    take(layers, share[2], share[3], S, gradient, w, add)
