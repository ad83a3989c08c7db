"""One chunk of examples through the layers and back; batches and epochs of chunks; the two entry points.

`forward` predicts; `train` computes costs, gradients or whole epochs of updates. Both work on the scratch vector S
that `plan.py` lays out, allocate nothing, and touch Python only when they return.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fastnet.kernels.activations import activate, multiply_by_derivative
from fastnet.kernels.codes import (
    BINARY_CROSSENTROPY,
    COST,
    COST_NOT_FINITE,
    PARAMETERS_NOT_FINITE,
    SGD,
)
from fastnet.kernels.dense import (
    bias_gradient,
    input_gradient,
    matmul_plus_bias,
    ordered_sum,
    transpose,
    weight_gradient,
)
from fastnet.kernels.jit import kernel, spliced_kernel
from fastnet.kernels.losses import binary_crossentropy, mean_squared_error
from fastnet.kernels.plan import (
    ACTIVATION,
    AT,
    CHUNK,
    DZ,
    LANES,
    LD,
    LDT,
    ROWS,
    TERMS,
    UNITS,
    A,
    B,
    W,
    Y,
    padded,
)
from fastnet.kernels.scalars import random_bits
from fastnet.kernels.updates import all_finite, finish_batch, l2_cost

EPOCH, EXAMPLE, LOADED, STATUS = range(4)
"""Entries of `position`: epochs finished in this run, the example where the next chunk starts, whether the scratch
vector already holds the only chunk there is, and RUNNING or why training stopped."""

padded_columns = kernel(padded)
"""The columns that a block of m examples computes with."""

BATCH_COST, EPOCH_COST = range(2)
"""Entries of `totals`: the cost summed over the examples of the batch, and over the epoch, so far."""


# ------------------------------------------------------------------------------------------------------ loading


@kernel
def load_examples(plan: Any, X: Any, order: Any, first: int, m: int, S: Any) -> None:
    """Copy the m examples X[order[first + i]] into AT of the input, an example a row, and transposed into A."""
    n, ldt, at, ld = plan[0, UNITS], plan[0, LDT], plan[0, AT], plan[0, LD]
    for i in range(m):
        x = X[order[first + i]]
        row = S[at + i * ldt : at + i * ldt + n]
        for j in range(n):
            row[j] = x[j]
    block = plan[0, ROWS] * ld
    for start in range(0, m, ld):
        columns = padded_columns(min(ld, m - start))
        transpose(S, at + start * ldt, ldt, plan[0, A] + start // ld * block, ld, columns, plan[0, ROWS])


@kernel
def load_targets(plan: Any, targets: Any, order: Any, first: int, m: int, S: Any) -> None:
    """Copy the targets (m, n_L) of the same examples into Y, blocks of (n_L, ld)."""
    last = plan.shape[0] - 1
    n, ld = plan[last, UNITS], plan[last, LD]
    block = plan[last, ROWS] * ld
    for i in range(m):
        y = targets[order[first + i]]
        column = plan[last, Y] + i // ld * block + i % ld
        for r in range(n):
            S[column + r * ld] = y[r]


# ------------------------------------------------------------------------------------------------- forward, backward


@spliced_kernel
def forward_block(plan: Any, q: int, m: int, parameters: Any, S: Any) -> None:
    """Propagate block q, of m examples, through all layers but for the last activation: A_l = g(W A_prev + b)."""
    last = plan.shape[0] - 1
    columns = padded_columns(m)
    for layer in range(1, last + 1):
        n, n_prev, ld = plan[layer, UNITS], plan[layer - 1, UNITS], plan[layer, LD]
        a_prev = plan[layer - 1, A] + q * plan[layer - 1, ROWS] * ld
        z = plan[layer, A] + q * plan[layer, ROWS] * ld
        matmul_plus_bias(n, n_prev, columns, parameters, plan[layer, W], plan[layer, B], S, a_prev, z, ld)
        if layer < last:
            activate_block(plan[layer, ACTIVATION], n, columns, S, z, ld)


@kernel
def activate_block(activation: int, n: int, columns: int, S: Any, z: int, ld: int) -> None:
    """A = g(Z) over the first `columns` of n rows; in one run where the rows touch."""
    rows, length = (1, n * ld) if columns == ld else (n, columns)
    for r in range(rows):
        activate(activation, S[z + r * ld : z + r * ld + length])


@kernel
def differentiate_block(activation: int, n: int, columns: int, S: Any, a: int, dz: int, ld: int) -> None:
    """DZ = dA * g'(Z) over the first `columns` of n rows; dA lies where dZ will."""
    rows, length = (1, n * ld) if columns == ld else (n, columns)
    for row in range(0, rows * ld, ld):
        multiply_by_derivative(activation, S[a + row : a + row + length], S[dz + row : dz + row + length])


@spliced_kernel
def transpose_hidden(plan: Any, q: int, m: int, S: Any) -> None:
    """Fill AT of the hidden layers for block q: what the weight gradients read."""
    for layer in range(1, plan.shape[0] - 1):
        rows, ld, ldt = plan[layer, ROWS], plan[layer, LD], plan[layer, LDT]
        a = plan[layer, A] + q * rows * ld
        transpose(S, a, ld, plan[layer, AT] + q * ld * ldt, ldt, rows, padded_columns(m))


@spliced_kernel
def loss_block(plan: Any, loss: int, q: int, m: int, S: Any) -> float:
    """Turn the last Z of block q into A and dZ, and return the cost summed over its m examples."""
    last = plan.shape[0] - 1
    n, ld, activation = plan[last, UNITS], plan[last, LD], plan[last, ACTIVATION]
    columns = padded_columns(m)
    block = q * plan[last, ROWS] * ld
    total = 0.0
    for r in range(n):
        at = block + r * ld
        Z = S[plan[last, A] + at : plan[last, A] + at + columns]
        dZ = S[plan[last, DZ] + at : plan[last, DZ] + at + columns]
        targets = S[plan[last, Y] + at : plan[last, Y] + at + columns]
        terms = S[plan[last, TERMS] + r * ld : plan[last, TERMS] + r * ld + columns]
        if loss == BINARY_CROSSENTROPY:
            binary_crossentropy(Z, targets, dZ, terms)
        else:
            activate(activation, Z)
            mean_squared_error(Z, targets, dZ, terms)
            multiply_by_derivative(activation, Z, dZ)
        total += ordered_sum(S, plan[last, TERMS] + r * ld, m, False)
    return total


@spliced_kernel
def backward_chunk(plan: Any, m: int, parameters: Any, S: Any, gradient: Any, add: bool) -> None:
    """Propagate dZ of the last layer back through a chunk of m examples; gradient = (or +=) the sums over them."""
    for layer in range(plan.shape[0] - 1, 0, -1):
        n, n_prev, ld = plan[layer, UNITS], plan[layer - 1, UNITS], plan[layer, LD]
        dz, block = plan[layer, DZ], plan[layer, ROWS] * ld
        at_prev, ldt = plan[layer - 1, AT], plan[layer - 1, LDT]
        weight_gradient(n, n_prev, m, S, dz, block, ld, at_prev, ldt, gradient, plan[layer, W], add)
        if plan[layer, B] >= 0:
            bias_gradient(n, m, S, dz, block, ld, gradient, plan[layer, B], add)
        if layer > 1:
            block_prev = plan[layer - 1, ROWS] * ld
            for q in range((m + ld - 1) // ld):
                columns = padded_columns(min(ld, m - q * ld))
                dz_prev = plan[layer - 1, DZ] + q * block_prev
                input_gradient(n, n_prev, columns, parameters, plan[layer, W], S, dz + q * block, dz_prev, ld)
                a_prev = plan[layer - 1, A] + q * block_prev
                differentiate_block(plan[layer - 1, ACTIVATION], n_prev, columns, S, a_prev, dz_prev, ld)


@spliced_kernel
def chunk_cost(plan: Any, loss: int, m: int, parameters: Any, S: Any, backward: bool) -> float:
    """Propagate a loaded chunk of m examples forward; return its cost, summed over them."""
    ld = plan[0, LD]
    total = 0.0
    for q in range((m + ld - 1) // ld):
        m_block = min(ld, m - q * ld)
        forward_block(plan, q, m_block, parameters, S)
        if backward:
            transpose_hidden(plan, q, m_block, S)
        total += loss_block(plan, loss, q, m_block, S)
    return total


# ------------------------------------------------------------------------------------------------------------ epochs


@kernel
def shuffle(order: Any, key: int, epoch: int) -> None:
    """Make `order` (m,) the permutation of epoch `epoch` under `key`, whatever it held: Fisher and Yates' shuffle."""
    m = order.shape[0]
    for i in range(m):
        order[i] = i
    stream = random_bits(key, epoch) << 31 ^ random_bits(~key, epoch)
    for i in range(m - 1, 0, -1):
        j = (random_bits(stream, i) * (i + 1)) >> 32
        order[i], order[j] = order[j], order[i]


def make_train(source_digest: str) -> Callable[..., None]:
    """Make the entry point `train`; its docstring tells what it does."""

    def train(
        plan: Any, loss: int, mode: int, batch_size: int, shuffled: bool, key: int, first_epoch: int, chunks: int,
        learning_rate: float, l2: Any, X: Any, targets: Any, order: Any,
        position: Any, totals: Any, costs: Any, parameters: Any, gradient: Any, S: Any,
    ) -> None:  # fmt: skip
        """Work through up to `chunks` chunks of examples, in len(costs) epochs over X (m, n_x) and targets (m, n_L).

        `mode` says what a batch is for: its COST, its GRADIENT as well, or a step of an optimizer. Examples go in
        `order` (m,), which is drawn anew for each epoch e from (key, first_epoch + e) when `shuffled`. Progress is
        kept in `position` and `totals`, so the next call goes on where this one stopped; costs[e] receives the mean
        over epoch e of the cost before each update, weighted by the size of the batch. `l2` (L + 1,) holds lambda.

        A step is not taken, and the run stops, when the cost is not finite; it stops after a step that made a
        parameter non-finite. Allocates nothing. `plan.py` describes plan, parameters, gradient and S.
        """
        _ = source_digest  # a closure cell, and so a part of the cache's key
        m = X.shape[0]
        chunk = plan[0, CHUNK]
        only_chunk = m <= min(batch_size, chunk) and not shuffled
        for _chunk in range(chunks):
            epoch, start = position[EPOCH], position[EXAMPLE]
            if epoch == costs.shape[0]:
                return
            if start == 0 and shuffled:
                shuffle(order, key, first_epoch + epoch)
            batch_start = start - start % batch_size
            batch_end = min(m, batch_start + batch_size)
            stop = min(batch_end, start + chunk)
            if not (only_chunk and position[LOADED] == 1):
                load_examples(plan, X, order, start, stop - start, S)
                load_targets(plan, targets, order, start, stop - start, S)
                position[LOADED] = 1

            cost = chunk_cost(plan, loss, stop - start, parameters, S, mode != COST)
            if mode >= SGD and not np.isfinite(cost):
                position[STATUS] = COST_NOT_FINITE
                return
            totals[BATCH_COST] = cost if start == batch_start else totals[BATCH_COST] + cost
            if mode != COST:
                backward_chunk(plan, stop - start, parameters, S, gradient, start > batch_start)

            if stop == batch_end:
                m_batch = batch_end - batch_start
                cost = totals[BATCH_COST] + l2_cost(plan, m_batch, l2, parameters) * m_batch
                if mode >= SGD and not np.isfinite(cost):
                    position[STATUS] = COST_NOT_FINITE
                    return
                totals[EPOCH_COST] = cost if batch_start == 0 else totals[EPOCH_COST] + cost
                if mode != COST:
                    finish_batch(plan, mode, m_batch, l2, learning_rate, parameters, gradient)
                if mode >= SGD and not all_finite(parameters):
                    position[STATUS] = PARAMETERS_NOT_FINITE
                    return
            position[EXAMPLE] = stop
            if stop == m:
                costs[epoch] = totals[EPOCH_COST] / m
                position[EPOCH], position[EXAMPLE] = epoch + 1, 0

    def signature(T: types.Float) -> tuple[types.Type, ...]:
        i, f, yes = types.int64, types.float64, types.boolean
        vector = types.Array(T, 1, "C")
        integers = types.Array(i, 1, "C")
        floats = types.Array(f, 1, "C")
        matrix = types.Array(T, 2, "C", readonly=True)
        plan = types.Array(i, 2, "C")
        return (
            plan, i, i, i, yes, i, i, i,
            f, floats, matrix, matrix, integers,
            integers, floats, floats, vector, vector, vector,
        )  # fmt: skip

    train.signature = signature  # type: ignore[attr-defined]
    return train


def make_forward(source_digest: str) -> Callable[..., None]:
    """Make the entry point `forward`; its docstring tells what it does."""

    def forward(plan: Any, order: Any, X: Any, first: int, last: int, parameters: Any, S: Any, out: Any) -> None:
        """out[i] = A_L of example X[i], for first <= i < last; X (m, n_x), out (m, n_L), order = 0, 1, ..., m - 1.

        An example's result depends on no other: not on its block, nor on the rows beside it.
        """
        _ = source_digest
        output = plan.shape[0] - 1
        n, ld = plan[output, UNITS], plan[output, LD]
        z = plan[output, A]
        for start in range(first, last, LANES):
            m = min(LANES, last - start)
            load_examples(plan, X, order, start, m, S)
            forward_block(plan, 0, m, parameters, S)
            activate_block(plan[output, ACTIVATION], n, padded_columns(m), S, z, ld)
            for i in range(m):
                row = out[start + i]
                for r in range(n):
                    row[r] = S[z + r * ld + i]

    def signature(T: types.Float) -> tuple[types.Type, ...]:
        i = types.int64
        vector = types.Array(T, 1, "C")
        examples = types.Array(T, 2, "C", readonly=True)
        return types.Array(i, 2, "C"), types.Array(i, 1, "C"), examples, i, i, vector, vector, types.Array(T, 2, "C")

    forward.signature = signature  # type: ignore[attr-defined]
    return forward
