"""The entry point `train`: batches and epochs of chunks, by one thread or a team of them.

A team works in one of two ways. A chunk at a time: forward and back propagation divided by examples, then gradient and
update by tiles of W. Or, where a batch is long and the network small, every member a chunk of its own, whose
gradients are added in their order. Neither makes a sum depend on the number of members.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from fastnet.kernels.build.jit import kernel
from fastnet.kernels.build.parts import (
    NONE,
    call_backward,
    call_forward,
    call_gradients,
    call_outputs,
    call_penalty_cost,
    call_steps,
)
from fastnet.kernels.codes import (
    BETA1,
    BETA2,
    CLIP_NORM,
    COST,
    COST_NOT_FINITE,
    LEARNING_RATE,
    PARAMETERS_NOT_FINITE,
    SGD,
)
from fastnet.kernels.gather import load_examples, load_targets, load_weights, shuffle
from fastnet.kernels.ir.barrier import meet, share
from fastnet.kernels.ir.random import stream_of
from fastnet.kernels.ir.sums import SQUARES, ordered_sum
from fastnet.kernels.passes import (
    EVERYTHING,
    IN_PASSING,
    THE_REST,
    add_partial_gradients,
    loss_of_examples,
    share_of_examples,
    sum_of_costs,
)
from fastnet.kernels.plan import (
    BACKWARD,
    BY_ROWS,
    CHUNK,
    FORWARD,
    GRADIENTS,
    HEAD,
    OUTPUTS,
    PADDING,
    PENALTIES,
    STEPS,
    SWEPT,
)
from fastnet.kernels.steps import finish_share
from fastnet.kernels.sweep import PRODUCTS_ALONE, STEP_ALONE, STEP_AND_PRODUCTS

EPOCH, EXAMPLE, SWEPT_AHEAD, LOADED, FIRST_EPOCH, STATUS, SLOT, CHUNKS_LEFT, BAD_PARAMETERS, POSITION = range(10)
"""Entries of `position`, and their number: epochs finished in this run; the example where the next chunk starts;
whether a sweep has already found the products of the next step, and the scratch vector already holds the only chunk
there is; how many epochs there were before this run; RUNNING or why training stopped, and if so, which row of the
scratch memory holds the chunk where it did; and two that the team talks by."""

BATCH_COST, EPOCH_COST, PENALTY, EPOCH_PENALTY, BATCH_WEIGHT, EPOCH_WEIGHT, TOTALS = range(7)
"""Entries of `totals`: the cost summed over the examples of the batch, and over the epoch, so far; what penalties add
to that sum, in the batch and in the epoch so far; the weight of the batch, and of the epoch so far; then the cost of
each member's chunk."""


@kernel
def weight_of(weights: Any, order: Any, first: int, last: int) -> float:
    """Return the sum of the weights of examples first to last in order, one by one; each is 1 if there are none."""
    if weights.shape[0] == 0:
        return float(last - first)
    total = 0.0
    for i in range(first, last):
        total += np.float64(weights[order[i]])
    return total


def make_train(source_digest: str) -> Callable[..., None]:
    """Make the entry point `train`; its docstring tells what it does."""

    def train(
        plan: Any, mode: int, update: int, finish: int, batch_size: int, shuffled: bool, key: int, chunks: int,
        settings: Any, rates: Any, penalties: Any, X: Any, rows: Any, targets: Any, weights: Any, outputs: Any,
        order: Any, position: Any, totals: Any, costs: Any, parameters: Any, gradient: Any, partials: Any, moments: Any,
        powers: Any, S: Any, member: int, members: int, by_chunks: bool, team: Any,
    ) -> None:  # fmt: skip
        """Work through up to `chunks` chunks of examples, in len(costs) epochs over X (m, n_x) and targets (m, n_L).

        `mode` says what a batch is for: its COST, its GRADIENT as well, or a step of an optimizer; `update` is the
        address of what that does, with the optimizer's `settings`, `moments` and `powers` (see `updates.py`). With the
        address of what finishes a gradient in `finish`, that goes before, and the gradient is clipped to a norm.
        rates[e] is the learning rate of epoch e. Examples go in `order` (m,), which is drawn anew for each epoch e from
        (key, epochs before this run + e) when `shuffled`; so is what dropout drops. Progress is kept in `position` and
        `totals`, so the next call goes on where this one stopped; costs[e] receives the mean over epoch e of the cost
        before each update, weighted by the size of the batch. `penalties` (2, L + 1) hold the strengths of L2 and of
        L1.

        With `weights` (m,), the cost is a weighted mean: what is said of the size of a batch goes for the sum of its
        weights. A batch of no weight changes nothing. `outputs` (n_L, m) receives A_L of every example as it is
        propagated, in the epoch's order. Either has no m where it is not wanted. What the penalties, weights and
        outputs need must be linked in the plan: see `linking.py`.

        Example i of the order is row rows[i] of X. That is `order` itself; or, where X holds only those examples that
        the call will come to, where they are.

        All `members` of a team call this, each with its number; member 0 returns after `chunks` chunks, the others
        wait for it to come again until the team is stopped. S holds a scratch vector in its first row or, if each
        has chunks of its own (`by_chunks`), one in a row for every member, as `partials` then holds their gradients.

        A step is not taken, and the run stops, when the cost is not finite; it stops after a step that made a
        parameter non-finite. Allocates nothing. `plan.py` describes plan, parameters, gradient and S.
        """
        _ = source_digest  # a closure cell, and so a part of the cache's key
        m, chunk = order.shape[0], plan[0, CHUNK]
        only_chunk = m <= min(batch_size, chunk) and not shuffled
        if by_chunks:
            scratch, target, head, part, parts, most_chunks = S[member], partials[member], 0, 0, 1, members
        else:
            scratch, target, head, part, parts, most_chunks = S[0], gradient, member * HEAD, member, members, 1
        # An input kept by rows is read once for forward and back, if no deeper layer suffers from so few examples.
        in_passing = plan[0, BY_ROWS] == 1 and plan.shape[0] == 2 and parts == 1 and mode != COST
        step = PADDING if in_passing else chunk
        swept = plan[0, SWEPT] == 1
        while chunks > 0:
            if member == 0:
                if position[EPOCH] == costs.shape[0]:
                    return
                position[CHUNKS_LEFT] = chunks
                settings[LEARNING_RATE] = rates[position[EPOCH]]
                if position[EXAMPLE] == 0 and shuffled:
                    shuffle(order, key, position[FIRST_EPOCH] + position[EPOCH])
            if not meet(team, members):
                return
            epoch, start = position[EPOCH], position[EXAMPLE]
            goes_on = epoch + 1 < costs.shape[0]
            epoch_key = stream_of(~key, position[FIRST_EPOCH] + epoch)  # not that of the shuffle
            batch_start = start - start % batch_size
            batch_end = min(m, batch_start + batch_size)
            group = min((batch_end - start + chunk - 1) // chunk, most_chunks, position[CHUNKS_LEFT])
            stop = min(batch_end, start + group * chunk)
            ends_batch = stop == batch_end

            # The member's examples, forward and back.
            mine = start + member * chunk if by_chunks else start
            m_mine = min(batch_end, mine + chunk) - mine
            works = not by_chunks or member < group
            if works:
                first, last = share_of_examples(m_mine, part, parts)
                if not (only_chunk and position[LOADED] == 1):
                    load_examples(plan, X, rows, mine, first, min(last, m_mine), scratch)
                    load_targets(plan, targets, order, mine, first, min(last, m_mine), scratch)
                    if weights.shape[0] > 0:
                        load_weights(plan, weights, order, mine, first, min(last, m_mine), scratch)
                if swept and position[SWEPT_AHEAD] == 0:
                    if not meet(team, members):
                        return
                    call_steps(
                        plan[0, STEPS], plan, m_mine, member, members, scratch, head, PRODUCTS_ALONE, update, 0.0, 0.0,
                        penalties, settings, 0.0, 0.0, parameters, gradient, moments,
                    )  # fmt: skip
                    if not meet(team, members):
                        return
                for here in range(first, last, step):
                    there = min(last, here + step)
                    call_forward(plan[0, FORWARD], plan, here, there, m_mine, parameters, scratch, epoch_key, mine)
                    loss_of_examples(plan, here, there, scratch, settings)
                    if mode != COST:
                        call_backward(plan[0, BACKWARD], plan, here, there, parameters, scratch, head)
                    if in_passing:
                        call_gradients(
                            plan[0, GRADIENTS], plan, here, min(there, m_mine), 0, 1, scratch, head, target, False,
                            IN_PASSING,
                        )  # fmt: skip
                if plan[0, OUTPUTS] != NONE:
                    call_outputs(plan[0, OUTPUTS], plan, mine, first, min(last, m_mine), scratch, outputs)
                if by_chunks:
                    totals[TOTALS + member] = sum_of_costs(plan, m_mine, scratch)
            if member == 0 and ends_batch:
                totals[BATCH_WEIGHT] = weight_of(weights, order, batch_start, batch_end)
                totals[PENALTY] = 0.0
                if plan[0, PENALTIES] != NONE and totals[BATCH_WEIGHT] > 0.0:
                    totals[PENALTY] = call_penalty_cost(plan[0, PENALTIES], plan, penalties, parameters)
            if not meet(team, members):
                return

            # The cost: every member finds the same.
            total = totals[BATCH_COST] if start > batch_start else 0.0
            for c in range(group):
                cost = totals[TOTALS + c] if by_chunks else sum_of_costs(plan, m_mine, scratch)
                if mode >= SGD and not np.isfinite(cost):
                    if member == 0:
                        position[EXAMPLE], position[SLOT] = start + c * chunk, c
                        position[STATUS] = COST_NOT_FINITE
                    return
                total += cost
            if ends_batch:
                total += totals[PENALTY]
                if mode >= SGD and not np.isfinite(total):
                    if member == 0:
                        position[STATUS] = COST_NOT_FINITE
                    return

            # The member's share of the gradients, and of the update.
            if mode != COST:
                stage, good = THE_REST if in_passing else EVERYTHING, True
                if swept:
                    stage = STEP_AND_PRODUCTS if goes_on else STEP_ALONE
                power1, power2 = powers[0] * settings[BETA1], powers[1] * settings[BETA2]
                finishes = ends_batch and totals[BATCH_WEIGHT] > 0.0
                per_example = penalty = 1.0 / totals[BATCH_WEIGHT] if finishes else 0.0
                at_once = finishes and plan[0, STEPS] != NONE
                if at_once:  # linked only where every batch is one chunk, and nothing is clipped
                    good = call_steps(
                        plan[0, STEPS], plan, m_mine, member, members, scratch, head, stage, update, per_example,
                        penalty, penalties, settings, power1, power2, parameters, gradient, moments,
                    )  # fmt: skip
                elif works:
                    call_gradients(
                        plan[0, GRADIENTS], plan, 0, m_mine, part, parts, scratch, head, target,
                        start > batch_start and not by_chunks, stage,
                    )  # fmt: skip
                if by_chunks:
                    if not meet(team, members):
                        return
                    first, last = share(parameters.shape[0], member, members)
                    add_partial_gradients(partials, group, first, last, gradient, start > batch_start)
                    if ends_batch and not meet(team, members):
                        return
                if finishes and not at_once:
                    address = update if finish == NONE else finish
                    while address != NONE:
                        good = finish_share(
                            plan, address, per_example, penalty, member, members, penalties, settings, power1,
                            power2, parameters, gradient, moments,
                        )  # fmt: skip
                        if address == update:
                            address = NONE
                        else:  # clip the finished gradient, of which every member finds the same norm
                            if not meet(team, members):
                                return
                            norm = np.sqrt(ordered_sum(gradient, 0, parameters.shape[0], SQUARES))
                            address, per_example, penalty = update, min(1.0, settings[CLIP_NORM] / (norm + 1e-6)), 0.0
                if not good:
                    position[BAD_PARAMETERS] = 1
            if not meet(team, members):
                return
            if position[BAD_PARAMETERS] == 1 and mode >= SGD:
                if member == 0:
                    position[STATUS] = PARAMETERS_NOT_FINITE
                return

            if member == 0:
                chunks -= group
                totals[BATCH_COST] = total
                position[EXAMPLE], position[LOADED] = stop, 1
                position[SWEPT_AHEAD] = swept and goes_on
                if ends_batch:
                    if batch_start == 0:
                        totals[EPOCH_COST], totals[EPOCH_PENALTY], totals[EPOCH_WEIGHT] = 0.0, 0.0, 0.0
                    totals[EPOCH_COST] += total
                    totals[EPOCH_PENALTY] += totals[PENALTY]
                    totals[EPOCH_WEIGHT] += totals[BATCH_WEIGHT]
                    if mode >= SGD and totals[BATCH_WEIGHT] > 0.0:
                        powers[0], powers[1] = power1, power2
                if stop == m:
                    costs[epoch] = totals[EPOCH_COST] / totals[EPOCH_WEIGHT]
                    position[EPOCH], position[EXAMPLE] = epoch + 1, 0

    def signature(T: types.Float) -> tuple[types.Type, ...]:
        i, yes = types.int64, types.boolean
        vector, rows = types.Array(T, 1, "C"), types.Array(T, 2, "C")
        integers = types.Array(i, 1, "C")
        floats = types.Array(types.float64, 1, "C")
        matrix = types.Array(T, 2, "C", readonly=True)
        weights = types.Array(T, 1, "C", readonly=True)
        plan = types.Array(i, 2, "C")
        return (
            plan, i, i, i, i, yes, i, i,
            floats, floats, types.Array(types.float64, 2, "C"), matrix, integers, matrix, weights, rows,
            integers, integers, floats, floats, vector, vector, rows, vector,
            floats, rows, i, i, yes, integers,
        )  # fmt: skip

    train.signature = signature  # type: ignore[attr-defined]
    return train
