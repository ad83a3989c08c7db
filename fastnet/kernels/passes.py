"""The passes over a chunk of examples: forward, backward, gradients, and gradients with a step.

Loops over the layers, with no product in them: how a layer is computed stands in its record, as addresses of parts,
which `link.py` has chosen. Forward and backward pass are divided among threads by examples, from `first` to `stop`,
multiples of PADDING and of GRAIN; gradients and steps by rows or columns of W.
"""

from typing import Any

from fastnet.kernels.blocks import BOUNDS_CHECKED, TALL, check_inside, share_of_weights
from fastnet.kernels.build import callers
from fastnet.kernels.build.jit import kernel, spliced_kernel
from fastnet.kernels.build.parts import NONE
from fastnet.kernels.gather import transpose_panels
from fastnet.kernels.ir.copies import copy_rows
from fastnet.kernels.ir.sums import VALUES, ordered_sum
from fastnet.kernels.plan import LANES, STEP, TEMPORARY


def forward(layers: Any, first: int, stop: int, m: int, parameters: Any, S: Any, key: int, example: int) -> None:
    """A_l = g(W A_prev + b) through all layers, for the examples first to stop, of m, of a chunk; then dropout.

    Where the loss makes the last layer's A, as the cross-entropies do, Z stands in its place until then. `stop` counts
    the padding too. `key` and `example`, the place of the chunk's first in the epoch, are what dropout is drawn by.
    """
    group, start = layers[0].group, first
    while start < stop:
        # Some blocks at a time, so that small layers stay in the nearest cache; with many inputs, all blocks at once.
        end = min(stop, (start // group + 1) * group)
        for l in range(1, layers.shape[0]):
            layer = layers[l]
            callers.call_product(layer.product, layers, l, start, end, m, parameters, S)
            if layer.activate != NONE:
                callers.call_activation(layer.activate, layers, l, start, end, S)
            if layer.drop != NONE:
                callers.call_dropout(layer.drop, layers, l, start, end, S, key, example)
        start = end


@kernel
def sum_of_costs(network: Any, layers: Any, m: int, S: Any) -> float:
    """Return the cost of a chunk of m examples, summed over them: block by block, row by row."""
    output, total = layers[layers.shape[0] - 1], 0.0
    for first in range(0, m, LANES):
        block_total = 0.0
        for r in range(network[0].term_rows):
            terms = network[0].terms + first // LANES * output.block + r * output.ld
            block_total += ordered_sum(S, terms, min(LANES, m - first), VALUES)
        total += block_total
    return total


def backward(layers: Any, first: int, stop: int, parameters: Any, S: Any, head: int) -> None:
    """dZ_l = W^T dZ_next * g'(Z_l) back through all layers, for some examples; and AT of those that have one.

    In the place of dZ stands dA at first, of layers that have a derivative. But before a layer of one unit such a
    derivative forms dA = W^T dZ itself, an outer product, and that layer has no input gradient.
    """
    for l in range(layers.shape[0] - 1, 0, -1):
        layer = layers[l]
        if layer.AT >= 0:
            transpose_panels(layers, l, first, stop, S)
        if layer.differentiate != NONE:
            callers.call_derivative(layer.differentiate, layers, l, first, stop, parameters, S)
        if layer.input_gradient != NONE:
            callers.call_input_gradient(layer.input_gradient, layers, l, first, stop, parameters, S, head)


def gradients(
    network: Any, layers: Any, m: int, thread: int, threads: int, S: Any, head: int, gradient: Any, add: bool
) -> None:
    """gradient = (or +=) the sums over the m examples of a chunk, for a thread's share of every W and b."""
    for l in range(layers.shape[0] - 1, 0, -1):
        share = share_of_weights(layers[l].units, layers[l].inputs, thread, threads)
        gradient_of_share(layers, l, share, m, S, head, gradient, layers[l].W, layers[l].b, add)


@kernel
def gradient_of_share(
    layers: Any, l: int, share: Any, m: int, S: Any, head: int, gradient: Any, w: int, b: int, add: bool
) -> None:
    """dW and db = (or +=) the sums over the m examples of a chunk, for the rows and columns of a share.

    W's first row would lie at w in `gradient`, and b's first entry at b. In `steps`, where `gradient` holds the rows of
    the share alone, those lie before it, and may be negative.
    """
    layer = layers[l]
    callers.call_weight_gradient(layer.weight_gradient, layers, l, share, m, S, head, gradient, w, add)
    if has_bias_of(layer.b, share):
        callers.call_bias_gradient(layer.bias_gradient, layers, l, share, m, S, gradient, b, add)


@kernel
def has_bias_of(b: int, share: Any) -> bool:
    """Return whether a share of W has that of b too: where there is one, it goes with the first columns."""
    found: bool = b >= 0 and share[2] == 0 and share[3] > 0
    return found


@spliced_kernel
def add_partial_gradients(partials: Any, n_partials: int, first: int, stop: int, gradient: Any, add: bool) -> None:
    """gradient = (or +=) the sum of the first rows of partials (threads, n_parameters), one after the other."""
    if BOUNDS_CHECKED and stop > first:
        check_inside(partials, first, (n_partials - 1) * partials.shape[1] + stop - 1)
        check_inside(gradient, first, stop - 1)
    for c in range(n_partials):
        copy_rows(partials, c * partials.shape[1] + first, 0, gradient, first, 0, 1, stop - first, add or c > 0)


@spliced_kernel
def finish_share(
    network: Any, layers: Any, job: Any, thread: int, update: int, per_example: float, penalty: float,
    parameters: Any, gradient: Any, moments: Any,
) -> bool:  # fmt: skip
    """Finish the gradient of a batch, or take a step, for a thread's share; return whether all stayed finite.

    `update` is the address of what to do: the part "update" or "finish". The sum of the gradients is multiplied by
    `per_example`, 1 / the weight of the batch; or, once it is finished, by what clips it. The strengths of L1 and L2
    count `penalty` times: as often, or not at all. Left out is the step of a W that has factors.
    """
    good: bool = True
    threads, alike = job[0].threads, network[0].factored_step == NONE
    for l in range(1, layers.shape[0]):
        layer = layers[l]
        alike &= (layer.l2 + layer.l1) * penalty == 0.0 and layer.rate == 1.0 and layer.bias_rate == 1.0
    if threads == 1 and alike:  # all in one run
        good = callers.call_update(
            update, job, 1.0, per_example, 0.0, 0, parameters.shape[0], 0, parameters, gradient, moments
        )
    else:
        for l in range(1, layers.shape[0]):
            layer = layers[l]
            share = share_of_weights(layer.units, layer.inputs, thread, threads)
            at = layer.W + share[0] * layer.inputs + share[2], layer.b + share[0]
            good &= finish_rows(
                network, layers, job, l, share, update, (per_example, penalty), at, parameters, gradient, moments
            )
    return good


@kernel
def finish_rows(
    network: Any, layers: Any, job: Any, l: int, share: Any, update: int, scales: Any, at: Any, parameters: Any,
    gradient: Any, moments: Any,
) -> bool:  # fmt: skip
    """Finish the gradient, or take a step, for the rows and columns of W of a share, and its rows of b.

    `scales`: per_example and penalty, as in `finish_share`. `at`: where the gradient of the first of those weights lies
    in `gradient`, its rows as far apart as those of W; and that of the first bias.
    """
    layer, (first_row, stop_row, first_column, stop_column), (per_example, penalty) = layers[l], share, scales
    width, rate, good = stop_column - first_column, layer.rate, True
    rows, length = (1, (stop_row - first_row) * width) if width == layer.inputs else (stop_row - first_row, width)
    if l == 1 and network[0].factored_step != NONE and update == network[0].update:
        rows = 0
    for r in range(rows + has_bias_of(layer.b, share)):
        start, here = layer.W + (first_row + r) * layer.inputs + first_column, at[0] + r * layer.inputs
        decay = layer.l2 * penalty
        if r == rows:
            start, here, length, decay = layer.b + first_row, at[1], stop_row - first_row, 0.0
            rate = layer.bias_rate
        elif layer.l1 * penalty > 0.0:
            callers.call_signs(network[0].signs, layer.l1, start, start + length, here, parameters, gradient)
        good &= callers.call_update(
            update, job, rate, per_example, decay, start, start + length, here, parameters, gradient, moments
        )
    return good


def steps(
    network: Any, layers: Any, job: Any, m: int, thread: int, S: Any, head: int, per_example: float, parameters: Any,
    gradient: Any, moments: Any,
) -> bool:  # fmt: skip
    """Compute the gradients of m examples, a batch, and take a step, for a thread's share; return whether it is finite.

    As `gradients` and then `finish_share` would. But where rows of W are the share, as many as fit into STEP elements
    are computed at a time, in S: most of the gradient of a large network is never written to memory and read again,
    past the nearest caches. (`wide`: 1.03 times as fast as with FUSE_STEP_FROM out of reach, `python
    benchmarks/peers.py --only wide`.) `gradient` then receives only what has left a parameter or a moment that is not
    finite, so that one can tell whether the gradient was.
    """
    good = True
    for l in range(layers.shape[0] - 1, 0, -1):
        layer = layers[l]
        n, n_prev, w, b = layer.units, layer.inputs, layer.W, layer.b
        row, stop_row, first_column, stop_column = share_of_weights(n, n_prev, thread, job[0].threads)
        in_S = layers[l - 1].AT >= 0 and stop_column - first_column == n_prev and (n_prev + 1) * TALL <= STEP
        target, rows_most = (S, STEP // (n_prev + 1) // TALL * TALL) if in_S else (gradient, n)
        while row < stop_row:
            end = min(row + rows_most, stop_row)
            at, at_bias = w + row * n_prev, b + row
            if in_S:
                at, at_bias = head + TEMPORARY, head + TEMPORARY + (end - row) * n_prev
            share = row, end, first_column, stop_column
            gradient_of_share(layers, l, share, m, S, head, target, at - row * n_prev, at_bias - row, False)
            finite = finish_rows(
                network, layers, job, l, share, network[0].update, (per_example, per_example),
                (at + first_column, at_bias), parameters, target, moments,
            )  # fmt: skip
            if in_S and not finite:
                copy(S, at, (end - row) * n_prev, gradient, w + row * n_prev)
                copy(S, at_bias, (end - row) * (b >= 0), gradient, b + row)
            good &= finite
            row = end
    return good


@kernel
def copy(source: Any, s: int, n: int, target: Any, t: int) -> None:
    """target[t + k] = source[s + k] for k < n."""
    for k in range(n):
        target[t + k] = source[s + k]
