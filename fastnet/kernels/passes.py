"""A chunk of examples through the layers and back: the part of it that one member of a team of threads works out.

All functions work on the scratch vector S that `plan.py` lays out. Forward and back propagation are divided by
examples, from `first` to `last`, multiples of PADDING and of GRAIN; gradients and updates by rows or columns of W.
"""

from collections.abc import Callable
from typing import Any

from fastnet.kernels.build.jit import kernel, spliced_kernel
from fastnet.kernels.build.parts import (
    NONE,
    backward_signature,
    call_activation,
    call_derivative,
    call_dropout,
    call_from_input,
    call_gradient_by_rows,
    call_gradient_of_few,
    call_loss,
    call_weighting,
    forward_signature,
    gradients_signature,
)
from fastnet.kernels.gather import transpose_panels
from fastnet.kernels.ir.barrier import share
from fastnet.kernels.ir.copies import copy_rows
from fastnet.kernels.ir.scalars import float_of_bits
from fastnet.kernels.ir.sums import VALUES, ordered_sum
from fastnet.kernels.plan import (
    ACTIVATE,
    AT,
    BY_ROWS,
    DIFFERENTIATE,
    DROP,
    DROPOUT,
    DW,
    DZ,
    FROM_INPUT,
    GRADIENT_BY_ROWS,
    GRADIENT_OF_FEW,
    KEPT,
    LANES,
    LD,
    LOSS,
    PADDING,
    PANEL,
    PANEL_SIZE,
    ROWS,
    SETTING,
    SWEPT,
    TERM_ROWS,
    TERMS,
    UNITS,
    WEIGH,
    WEIGHTS,
    A,
    B,
    W,
    Y,
    computed_columns,
    has_few_inputs,
    padded,
)
from fastnet.kernels.products import (
    BOUNDS_CHECKED,
    MANY_INPUTS,
    TALL,
    bias_gradient,
    check_inside,
    input_gradient,
    matmul_plus_bias,
    narrow_weight_gradient,
    weight_gradient,
)

padded_columns, columns_of = kernel(padded), kernel(computed_columns)
are_few_inputs = spliced_kernel(has_few_inputs)


@kernel
def share_of_examples(m: int, member: int, members: int) -> Any:
    """Return first and last of the examples of a chunk that fall to a member: multiples of PADDING, `last` of GRAIN."""
    first, last = share(padded_columns(m) // PADDING, member, members)
    return first * PADDING, min(last * PADDING, columns_of(m))


def make_forward_pass(source_digest: str) -> Callable[..., None]:
    """Make the way forward; the docstring within tells what it does."""

    def forward(plan: Any, first: int, last: int, m: int, parameters: Any, S: Any, key: int, example: int) -> None:
        """Propagate examples first to last through all layers: A_l = g(W A_prev + b), and dropout where there is some.

        Where the loss is a cross-entropy, it makes the last layer's A: up to there, Z lies in its place. `m` examples
        are there; `last` counts the padding too. `key` and `example`, the place of the chunk's first in the epoch, are
        what dropout is drawn by.
        """
        _ = source_digest
        output, ld = plan.shape[0] - 1, plan[0, LD]
        most_inputs = 0
        for layer in range(output):
            most_inputs = max(most_inputs, plan[layer, UNITS])
        start = first
        while start < last:
            # Block by block, so that small layers stay in the nearest cache; with many inputs, all blocks at once.
            stop = last if most_inputs >= MANY_INPUTS else min(last, (start // LANES + 1) * LANES)
            for layer in range(1, output + 1):
                n, n_prev, w, b = plan[layer, UNITS], plan[layer - 1, UNITS], plan[layer, W], plan[layer, B]
                a_prev, z = plan[layer - 1, A], plan[layer, A]
                block_prev, block = plan[layer - 1, ROWS] * ld, plan[layer, ROWS] * ld
                if plan[layer - 1, BY_ROWS] or plan[layer - 1, SWEPT]:
                    call_from_input(
                        plan[0, FROM_INPUT], n, n_prev, start, min(stop, m), parameters, w, b, S, a_prev,
                        plan[layer - 1, PANEL_SIZE if plan[layer - 1, SWEPT] else ROWS], z, block, ld,
                    )  # fmt: skip
                else:
                    matmul_plus_bias(n, n_prev, start, stop, parameters, w, b, S, a_prev, block_prev, z, block, ld)
                here = start
                while here < stop:
                    q, j = here // LANES, here % LANES
                    columns = min(stop - here, ld - j)
                    z_here = z + q * block + j
                    if plan[layer, ACTIVATE] != NONE:
                        call_activation(
                            plan[layer, ACTIVATE], n, columns, S, z_here, plan[layer, KEPT] + q * block + j, ld,
                            float_of_bits(plan[layer, SETTING]),
                        )  # fmt: skip
                    if plan[layer, DROP] != NONE:
                        call_dropout(
                            plan[layer, DROP], n, columns, S, z_here, plan[layer, KEPT] + q * block + j, ld,
                            float_of_bits(plan[layer, DROPOUT]), key, layer, example + here,
                        )  # fmt: skip
                    here += columns
            start = stop

    forward.signature = forward_signature  # type: ignore[attr-defined]
    return forward


@spliced_kernel
def loss_of_examples(plan: Any, first: int, last: int, S: Any, settings: Any) -> None:
    """Write the terms of the cost of examples first to last, and dZ of the last layer; of a squared error, dA.

    Both times the weights of the examples, if they have some. Of a cross-entropy, turn the last Z into A too.
    """
    output, ld = plan.shape[0] - 1, plan[0, LD]
    n, block = plan[output, UNITS], plan[output, ROWS] * ld
    start = first
    while start < last:
        q = start // LANES
        columns = min(last, (q + 1) * ld) - start
        at = q * block + start - q * ld
        call_loss(
            plan[output, LOSS], n, columns, S, plan[output, A] + at, plan[output, Y] + at, plan[output, DZ] + at,
            plan[output, TERMS] + at, ld, settings,
        )  # fmt: skip
        if plan[output, WEIGH] != NONE:
            call_weighting(
                plan[output, WEIGH], n, plan[output, TERM_ROWS], columns, S, plan[output, DZ] + at,
                plan[output, TERMS] + at, plan[output, WEIGHTS] + start, ld,
            )  # fmt: skip
        start += columns


@kernel
def sum_of_costs(plan: Any, m: int, S: Any) -> float:
    """Return the cost of a chunk of m examples, summed over them: block by block, row by row."""
    output, ld = plan.shape[0] - 1, plan[0, LD]
    block = plan[output, ROWS] * ld
    total = 0.0
    for first in range(0, m, ld):
        block_total = 0.0
        for r in range(plan[output, TERM_ROWS]):
            block_total += ordered_sum(
                S, plan[output, TERMS] + first // LANES * block + r * ld, min(ld, m - first), VALUES
            )
        total += block_total
    return total


def make_backward_pass(source_digest: str) -> Callable[..., None]:
    """Make the way back."""

    def backward(plan: Any, first: int, last: int, parameters: Any, S: Any, head: int) -> None:
        """Propagate dZ of examples first to last back through all layers, and fill AT of the hidden ones that have one.

        What lies in the place of dZ is dA at first, of layers that have a derivative. But before a layer of one unit
        such a derivative forms dA = W^T dZ itself, an outer product.
        """
        _ = source_digest
        ld, output = plan[0, LD], plan.shape[0] - 1
        for layer in range(output, 0, -1):
            n, n_prev = plan[layer, UNITS], plan[layer - 1, UNITS]
            block, dz = plan[layer, ROWS] * ld, plan[layer, DZ]
            if plan[layer, AT] >= 0:
                transpose_panels(plan, layer, first, last, S)
            outer = layer < output and plan[layer + 1, UNITS] == 1
            w = plan[layer + 1, W] if outer else -1
            start = first
            while start < last and plan[layer, DIFFERENTIATE] != NONE:
                q, j = start // LANES, start % LANES
                columns = min(last - start, ld - j)
                at = q * block + j
                dz_next = plan[layer + 1, DZ] + q * plan[layer + 1, ROWS] * ld + j if outer else 0
                call_derivative(
                    plan[layer, DIFFERENTIATE], n, columns, S, plan[layer, KEPT] + at, dz + at, ld,
                    float_of_bits(plan[layer, SETTING]), parameters, w, dz_next,
                )  # fmt: skip
                start += columns
            if layer > 1 and not (n == 1 and plan[layer - 1, DIFFERENTIATE] != NONE):
                dz_prev, block_prev = plan[layer - 1, DZ], plan[layer - 1, ROWS] * ld
                input_gradient(
                    n, n_prev, first, last, parameters, plan[layer, W], S, dz, block, dz_prev, block_prev, ld, head
                )

    backward.signature = backward_signature  # type: ignore[attr-defined]
    return backward


@kernel
def share_of_weights(n: int, n_prev: int, member: int, members: int) -> Any:
    """Return first and last row, and first and last column, of the part of W that falls to a member.

    Whole rows, as many as tiles are tall; but panels of columns where there are more of those.
    """
    groups, panels = (n + TALL - 1) // TALL, (n_prev + PANEL - 1) // PANEL
    if panels > groups:
        first, last = share(panels, member, members)
        return 0, n, first * PANEL, min(last * PANEL, n_prev)
    first, last = share(groups, member, members)
    return first * TALL, min(last * TALL, n), 0, n_prev


EVERYTHING, IN_PASSING, THE_REST = range(3)
"""Stages of `add_gradients`: all in one; or, IN_PASSING, while examples are still in the cache, dW of an input that is
kept by rows, into its place in the scratch vector; and in the end THE_REST."""


def make_gradients(source_digest: str) -> Callable[..., None]:
    """Make the gradients of a chunk."""

    def add_gradients(
        plan: Any, first: int, last: int, member: int, members: int, S: Any, head: int, gradient: Any, add: bool,
        stage: int,
    ) -> None:  # fmt: skip
        """Gradient = (or +=) the sums over the examples of a chunk, for the member's share of every W and b.

        `first` is 0, and `last` the number of examples. But IN_PASSING, for a network of one layer and a member alone,
        it adds examples first to last, where `first` is a multiple of PADDING, to DW of an input kept by rows, in S,
        and leaves `gradient` as it is.
        """
        _ = source_digest
        for layer in range(plan.shape[0] - 1, 0, -1):
            first_row, last_row, first_column, last_column = share_of_weights(
                plan[layer, UNITS], plan[layer - 1, UNITS], member, members
            )
            gradients_of_rows(
                plan, layer, first_row, last_row, first_column, last_column, first, last, S, head, gradient,
                plan[layer, W], plan[layer, B], add, stage,
            )  # fmt: skip

    add_gradients.signature = gradients_signature  # type: ignore[attr-defined]
    return add_gradients


@spliced_kernel
def gradients_of_rows(
    plan: Any, layer: int, first_row: int, last_row: int, first_column: int, last_column: int, first: int, last: int,
    S: Any, head: int, gradient: Any, w: int, b: int, add: bool, stage: int,
) -> None:  # fmt: skip
    """Gradient = (or +=) the sums over the examples of a chunk, for some rows and columns of W and the same rows of b.

    dW as a whole would lie at w in `gradient`, and db at b: where there is room for the rows alone, those are less than
    zero. `first`, `last` and `stage` as in `add_gradients`. An input kept by rows takes all rows of W.
    """
    n_prev, ld = plan[layer - 1, UNITS], plan[0, LD]
    dz, block = plan[layer, DZ], plan[layer, ROWS] * ld
    a_prev, at_prev = plan[layer - 1, A], plan[layer - 1, AT]
    if plan[layer - 1, BY_ROWS]:
        ldw, dw = plan[layer - 1, ROWS], plan[layer, DW]
        if stage != THE_REST:
            call_gradient_by_rows(
                plan[0, GRADIENT_BY_ROWS], last_row, first_column, last_column, first, last, S, dz, block, ld, a_prev,
                ldw, dw,
            )  # fmt: skip
        if stage == IN_PASSING:
            return
        columns = last_column - first_column
        copy_rows(S, dw + first_column, ldw, gradient, w + first_column, n_prev, last_row, columns, add)
    elif are_few_inputs(n_prev, plan[layer, UNITS]):
        call_gradient_of_few(
            plan[0, GRADIENT_OF_FEW], first_row, last_row, n_prev, last, S, dz, block, ld, a_prev,
            plan[layer - 1, ROWS] * ld, head, gradient, w, add,
        )  # fmt: skip
    elif at_prev < 0:
        narrow_weight_gradient(
            first_row, last_row, first_column, last_column, n_prev, last, S, dz, block, ld,
            a_prev, plan[layer - 1, ROWS] * ld, gradient, w, add,
        )  # fmt: skip
    else:
        weight_gradient(
            first_row, last_row, first_column, last_column, n_prev, last, S, dz, block, ld,
            at_prev, plan[layer - 1, PANEL_SIZE], head, gradient, w, add,
        )  # fmt: skip
    if owns_bias(plan, layer, first_column, last_column):
        bias_gradient(first_row, last_row, last, S, dz, block, ld, gradient, b, add)


@kernel
def owns_bias(plan: Any, layer: int, first_column: int, last_column: int) -> bool:
    """Return whether who works on some columns of W works on b too: where there is one, it goes with the first."""
    found: bool = plan[layer, B] >= 0 and first_column == 0 and last_column > 0
    return found


@spliced_kernel
def add_partial_gradients(partials: Any, n_partials: int, first: int, last: int, gradient: Any, add: bool) -> None:
    """Gradient = (or +=) the sum of the first rows of partials (threads, n_parameters), one after the other."""
    if BOUNDS_CHECKED and last > first:
        check_inside(partials, 0, n_partials - 1)
        check_inside(partials[0], first, last - 1)
        check_inside(gradient, first, last - 1)
    for c in range(n_partials):
        copy_rows(partials, c * partials.shape[1] + first, 0, gradient, first, 0, 1, last - first, add or c > 0)
