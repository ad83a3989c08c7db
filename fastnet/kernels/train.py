"""The entry point `train`: batches and epochs of chunks, by one thread or a team of them.

A team works in one of two ways; `|` is a barrier. Neither makes a sum depend on the number of threads.

    all at one chunk       begin | load, forward, loss, backward: by examples | gradients, step: by tiles of W | end
    a chunk for each       begin | load, forward, loss, backward, gradients: by chunks | add them in order, step | end

The second is for long batches of small networks. Thread 0 alone begins and ends; every thread sums the same cost.
"""

from typing import Any

import numpy as np

from fastnet.kernels.blocks import share_of, share_of_examples
from fastnet.kernels.build import callers
from fastnet.kernels.build.jit import kernel, spliced_kernel
from fastnet.kernels.build.parts import NONE
from fastnet.kernels.codes import COST, COST_NOT_FINITE, PARAMETERS_NOT_FINITE, SGD
from fastnet.kernels.gather import load_weights, shuffle
from fastnet.kernels.ir.barrier import meet
from fastnet.kernels.ir.random import stream_of
from fastnet.kernels.passes import add_partial_gradients, finish_share, sum_of_costs
from fastnet.kernels.plan import HEAD
from fastnet.kernels.updates import clip_factor


def train(
    network: Any, layers: Any, job: Any, progress: Any, examples: Any, vectors: Any, scratch: Any, epochs: Any,
    thread: int, team: Any,
) -> None:  # fmt: skip
    """Work through up to `progress.chunks_left` chunks of the examples, for the epochs of a job.

    The records, and the tuples of arrays, are those of `plan.py`. The order of the examples is drawn anew for each
    epoch e from (key, epochs before this run + e) if the job shuffles; so is what dropout drops. The next call goes on
    where this one stopped. The cost of an epoch is the mean over its batches of the cost before each update, weighted
    by the size of the batch. With weights, the cost is a weighted mean: what is said of the size of a batch goes for
    the sum of its weights. A batch of no weight changes nothing.

    The examples may be a part of an epoch, `job.before` of which came earlier: a batch may begin in one part and end in
    another, and the results are to the bit those of the whole, as long as chunks are the same. `now.example` is m where
    a part ends that is not the last; the next call is to have the next part, and begins with its first example.

    Where the job reduces, the examples are those of one process of several, a rank. No step follows a batch; once
    Python has added up the batch's cost, weight and gradient over all ranks, and says so by `now.reduced`, a call for
    one chunk takes the step alone. The epoch ends after the step of which `now.is_last` says so. Until then
    `now.example` is m where a rank has come through all of its examples.

    A call for no chunks, where an epoch begins, draws its order alone, for who has to know that before.

    All threads of a team call this, each with its number; thread 0 returns after those chunks, the others wait for
    it to come again until the team is stopped. `scratch` holds S in its first row or, if each thread has chunks of its
    own, one in a row for every thread, as the partials then hold their gradients.

    A step is not taken, and the run stops, when the cost is not finite; it stops after a step that made a parameter
    non-finite. Allocates nothing. After the last barrier thread 0 is alone until it meets the others again: what
    changes all parameters by itself goes there.
    """
    this, now = job[0], progress[0]
    m, chunk, threads = examples.order.shape[0], network[0].chunk, this.threads
    by_chunks = this.by_chunks != 0
    S, target, head, share, shares, most_chunks = scratch[0], vectors.gradient, thread * HEAD, thread, threads, 1
    if by_chunks:
        S, target, head, share, shares, most_chunks = scratch[thread], vectors.partials[thread], 0, 0, 1, threads
    if thread == 0 and now.chunks_left == 0:
        begin(job, progress, examples, epochs)
    while thread > 0 or now.chunks_left > 0:
        if thread == 0:
            if now.epoch == this.epochs:
                return
            begin(job, progress, examples, epochs)
        if not meet(team.barrier, threads):
            return
        steps = now.reduced != 0
        chunk_start = now.example
        batch_start = chunk_start - (this.before + chunk_start) % this.batch_size  # negative: in an earlier part
        batch_end = batch_start + this.batch_size
        batch_stop = min(m, batch_end)
        n_chunks = min((batch_stop - chunk_start + chunk - 1) // chunk, most_chunks, now.chunks_left)
        if steps:
            n_chunks = 0
        stop = min(batch_stop, chunk_start + n_chunks * chunk)
        ends_batch = steps
        if this.reduces == 0:
            ends_batch = stop == batch_stop and (stop == batch_end or this.ends_epoch != 0)

        # The thread's examples, forward and back.
        first_of_chunk = chunk_start + thread * chunk if by_chunks else chunk_start
        m_chunk = min(batch_stop, first_of_chunk + chunk) - first_of_chunk
        works = thread < n_chunks if by_chunks else n_chunks > 0
        if works:
            go_through(
                network, layers, job, progress, examples, vectors, S, first_of_chunk, m_chunk, share, shares, head
            )
            if by_chunks:
                team.costs[thread] = sum_of_costs(network, layers, m_chunk, S)
        if thread == 0 and (stop == batch_stop or steps):
            weigh_batch(network, layers, job, progress, examples, vectors, batch_start, batch_stop)
        if not meet(team.barrier, threads):
            return

        # The cost: every thread finds the same.
        total = now.batch_cost if chunk_start > batch_start or steps else 0.0
        for c in range(n_chunks):
            cost = team.costs[c] if by_chunks else sum_of_costs(network, layers, m_chunk, S)
            if this.mode >= SGD and not np.isfinite(cost):
                if thread == 0:
                    now.example, now.slot, now.status = chunk_start + c * chunk, c, COST_NOT_FINITE
                return
            total += cost
        if ends_batch:
            total += now.batch_penalty
            if this.mode >= SGD and not np.isfinite(total):
                if thread == 0:
                    now.status = COST_NOT_FINITE
                return

        # The thread's share of the gradients, and of the update.
        if this.mode != COST:
            adds = chunk_start > batch_start
            finishes = ends_batch and now.batch_weight > 0.0
            at_once = finishes and network[0].steps != NONE  # linked only where every batch is one chunk
            if works and not at_once:
                callers.call_gradients(
                    network[0].gradients, network, layers, m_chunk, share, shares, S, head, target,
                    adds and not by_chunks,
                )  # fmt: skip
            if by_chunks and not steps:
                if not meet(team.barrier, threads):
                    return
                first, last = share_of(vectors.parameters.shape[0], thread, threads)
                add_partial_gradients(vectors.partials, n_chunks, first, last, vectors.gradient, adds)
                if ends_batch and not meet(team.barrier, threads):
                    return
            if finishes and not update(network, layers, job, progress, vectors, S, head, m_chunk, thread, team):
                return
        if not meet(team.barrier, threads):
            return
        if now.bad_parameters != 0 and this.mode >= SGD:
            if thread == 0:
                now.status = PARAMETERS_NOT_FINITE
            return
        if thread == 0:
            now.chunks_left -= 1 if steps else n_chunks
            begins_epoch = now.batches == 0 if steps else this.before + batch_start == 0
            end(network, job, progress, vectors, epochs, total, begins_epoch, ends_batch, stop, m)


@spliced_kernel
def begin(job: Any, progress: Any, examples: Any, epochs: Any) -> None:
    """Take the learning rate of the epoch, or of its update, and shuffle where an epoch begins."""
    this, now = job[0], progress[0]
    place = now.epoch
    if this.batches > 0:
        batch = now.batches if this.reduces != 0 else (this.before + now.example) // this.batch_size
        place = now.epoch * this.batches + batch
    rate = epochs.rates[place % epochs.rates.shape[0]]
    if this.learning_rate != rate:  # what all threads read is written only when it changes
        this.learning_rate = rate
    if now.example == 0 and this.shuffled != 0:
        shuffle(examples.order, examples.chosen, this.key, now.first_epoch + now.epoch)


@spliced_kernel
def go_through(
    network: Any, layers: Any, job: Any, progress: Any, examples: Any, vectors: Any, S: Any, chunk_start: int, m: int,
    share: int, shares: int, head: int,
) -> None:  # fmt: skip
    """Load a thread's share of the m examples that begin at order[chunk_start], and take them forward and back.

    The loss lies in between. A wide input is read once for both and its gradient, GRAIN examples at a time.
    """
    this, now, net, output = job[0], progress[0], network[0], layers[layers.shape[0] - 1]
    first, stop = share_of_examples(m, share, shares)
    if now.loaded == 0:
        x, last = layers[0], min(stop, m)
        callers.call_load(
            x.load, examples.X, examples.rows, chunk_start, first, last, S, x.raw, x.raw_block, x.ld, x.raw_AT, x.panel
        )
        if x.encode != NONE:
            callers.call_encode(x.encode, layers, first, stop, S)
        callers.call_load(
            net.load_targets, examples.targets, examples.order, chunk_start, first, last, S, net.Y, output.block,
            output.ld, -1, 0,
        )  # fmt: skip
        if net.smooth != NONE:
            callers.call_smoothing(net.smooth, network, layers, first, last, S)
        if examples.weights.shape[0] > 0:
            load_weights(examples.weights, examples.order, chunk_start, first, last, S, net.weights)
    key = stream_of(~this.key, now.first_epoch + now.epoch)  # not that of the shuffle
    for start in range(first, stop, this.examples_at_once):
        end = min(stop, start + this.examples_at_once)
        callers.call_forward(net.forward, layers, start, end, m, vectors.parameters, S, key, this.before + chunk_start)
        callers.call_loss(net.loss, network, layers, start, end, S)
        if net.weigh != NONE:
            callers.call_weighting(net.weigh, network, layers, start, end, S)
        if this.mode != COST:
            callers.call_backward(net.backward, layers, start, end, vectors.parameters, S, head)
        if net.wide_gradient != NONE:
            callers.call_wide_gradient(net.wide_gradient, layers, start, min(end, m), 0, layers[0].units, S)
    if net.keep_outputs != NONE:
        callers.call_keep_outputs(net.keep_outputs, layers, chunk_start, first, min(stop, m), S, examples.outputs)


@spliced_kernel
def weigh_batch(
    network: Any, layers: Any, job: Any, progress: Any, examples: Any, vectors: Any, start: int, stop: int
) -> None:
    """Find what a batch weighs up to `stop`, what penalties add to its cost, and the powers of beta of its step.

    If it began in an earlier part, its weight there has been found when that ended. That of all ranks is there.
    """
    this, now = job[0], progress[0]
    if now.reduced == 0:
        before = now.batch_weight if start < 0 else 0.0
        now.batch_weight = weight_of(examples.weights, examples.order, max(start, 0), stop, before)
    now.batch_penalty = 0.0
    if network[0].penalty_cost != NONE and now.batch_weight > 0.0 and this.reduces == now.reduced:
        now.batch_penalty = callers.call_penalty_cost(network[0].penalty_cost, layers, vectors.parameters)
    power1, power2 = vectors.powers[0] * this.beta1, vectors.powers[1] * this.beta2
    if this.power1 != power1 or this.power2 != power2:
        this.power1, this.power2 = power1, power2


@kernel
def weight_of(weights: Any, order: Any, first: int, stop: int, total: float) -> float:
    """Return `total` and the weights of examples first to stop in order, one by one; each is 1 if there are none."""
    if weights.shape[0] == 0:
        return total + float(stop - first)
    for i in range(first, stop):
        total += np.float64(weights[order[i]])
    return total


@spliced_kernel
def update(
    network: Any, layers: Any, job: Any, progress: Any, vectors: Any, S: Any, head: int, m: int, thread: int, team: Any
) -> bool:
    """Finish the gradient of a batch, or take its step, for a thread's share; return False if the run was called off.

    With the gradients at once, where the network has that; or the gradient is finished first and clipped to a norm.
    Where the first W has factors, thread 0 takes their step as soon as all of its gradient is there.
    """
    net, per_example, good, goes_on = network[0], 1.0 / progress[0].batch_weight, True, True
    penalty = per_example
    if net.steps != NONE:
        good = callers.call_steps(
            net.steps, network, layers, job, m, thread, S, head, per_example, vectors.parameters, vectors.gradient,
            vectors.moments,
        )  # fmt: skip
    else:
        address = net.update if net.finish == NONE else net.finish
        if net.factored_step != NONE and net.finish == NONE and not meet(team.barrier, job[0].threads):
            return False
        while address != NONE:
            good = finish_share(
                network, layers, job, thread, address, per_example, penalty, vectors.parameters, vectors.gradient,
                vectors.moments,
            )  # fmt: skip
            if address == net.update:
                if net.factored_step != NONE and thread == 0:
                    good &= callers.call_factored_step(
                        net.factored_step, network, layers, job, per_example, penalty, vectors.parameters,
                        vectors.gradient, vectors.factored, vectors.factored_gradient, vectors.factored_moments,
                    )  # fmt: skip
                address = NONE
            elif meet(team.barrier, job[0].threads):  # clip the finished gradient: every thread finds the same norm
                address, per_example, penalty = net.update, clip_factor(vectors.gradient, job[0].clip_norm), 0.0
            else:
                address, goes_on = NONE, False
    if not good:
        progress[0].bad_parameters = 1
    return goes_on


@spliced_kernel
def end(
    network: Any, job: Any, progress: Any, vectors: Any, epochs: Any, total: float, begins_epoch: bool,
    ends_batch: bool, stop: int, m: int,
) -> None:  # fmt: skip
    """Add what some chunks cost to the sums of its batch and epoch, and move on to the example `stop`."""
    this, now = job[0], progress[0]
    ends_epoch = stop == m and this.ends_epoch != 0
    now.batch_cost, now.example = total, stop
    now.loaded = 1 if m <= min(this.batch_size, network[0].chunk) and this.shuffled == 0 else 0
    if ends_batch:
        if begins_epoch:
            now.epoch_cost, now.epoch_penalty, now.epoch_weight = 0.0, 0.0, 0.0
        now.epoch_cost += total
        now.epoch_penalty += now.batch_penalty
        now.epoch_weight += now.batch_weight
        if this.mode >= SGD and now.batch_weight > 0.0:
            vectors.powers[0], vectors.powers[1] = this.power1, this.power2
    if this.reduces != 0:
        ends_epoch = now.reduced != 0 and now.is_last != 0
        now.batches = 0 if ends_epoch else now.batches + now.reduced
        now.reduced = 0
    if ends_epoch:
        epochs.costs[now.epoch % epochs.costs.shape[0]] = now.epoch_cost / now.epoch_weight
        now.epoch, now.example = now.epoch + 1, 0
