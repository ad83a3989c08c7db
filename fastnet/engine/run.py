"""A run of the training kernel over some examples: memory for it to work in, and calls short enough to interrupt.

A kernel does not see Ctrl-C. So each call is given as many chunks of examples as should take `CALL_SECONDS`, and
the loop around it is Python's. (A chunk is never divided, though, however large the network.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import NamedTuple

import numpy as np

from fastnet.engine.course import ONCE, Course, OptimizerState
from fastnet.engine.examples import Data, read_only
from fastnet.engine.memory import aligned_zeros, give_back, take
from fastnet.engine.network import Division, Network, division_for
from fastnet.engine.parts import Part, Parts
from fastnet.engine.ranks import STEPS_BETWEEN_CHECKS, Ranks
from fastnet.engine.recipe import call_of_train, compile_parts, is_loaded, link_for_training, load_stored
from fastnet.engine.sparse import DenseWindow, Rows
from fastnet.engine.threads import Helpers, reserved_cores
from fastnet.kernels import codes
from fastnet.kernels.plan import (
    GRAIN,
    JOB,
    OPTIMIZER_SETTINGS,
    PROGRESS,
    STOPPED,
    TEAM,
    Epochs,
    Examples,
    Team,
    Vectors,
)
from fastnet.optimizers import Optimizer

CALL_SECONDS = 0.02
"""With 0.05, Ctrl-C was answered in up to 0.30 s instead of 0.24 beside two busy processes on two cores
(`pytest tests/engine/test_stress.py -k interrupts`); with less, `planar` was as fast (`benchmarks/peers.py --only
planar`)."""

MOST_CHUNKS = 10**9
MOST_EXAMPLES = 2**62
"""In a batch, where nobody knows yet how many there are."""

FIRST_GUESS = 1e9
"""Operations per second assumed of a machine not yet measured: fewer than any reaches, so the first call is short."""

EPOCHS_AT_ONCE = 4096
"""Epochs whose rates and costs are held, and so the most that a call begins: no fit needs memory for all of its. Or
updates, where each has a rate of its own."""


class Results(NamedTuple):
    """Arrays of A_L (examples, n_L), and of the targets, of parts of an epoch, in its order."""

    outputs: list[np.ndarray]
    targets: list[np.ndarray]

    def and_of(self, examples: Examples) -> Results:
        """Return these, and those of one part more."""
        return Results([*self.outputs, examples.outputs.T], [*self.targets, examples.targets[examples.order]])


class Run:
    """A pass, or many, over a data set in batches: for the cost, for the gradient, or to train.

    A context manager: on leaving it, its threads have ended.

    Parameters
    ----------
    network : Network
    parameters : numpy.ndarray, (n_parameters,)
        Read; and written, if there is an optimizer.
    data : Data, Part or Parts
        As `engine.examples` makes them; or some rows of such, in an order; or what gives them, a part of an epoch after
        the other, if memory does not hold them all. `m` and `finished_examples` are then of the part at hand, and the
        results to the bit those of all in memory. Closed on leaving.
    mode : int or Optimizer
        codes.COST or codes.GRADIENT; or what to train with.
    course : Course
        By default all examples once, as one batch. With ranks, `data` is a shard, perhaps empty: each batch is one of
        every rank, each with its own batch_size, and of an epoch there are as many as the longest shard has.
    state : OptimizerState, optional
        The optimizer's; written. None: the one before the first step.
    threads : int or None
        None: as many as the work is worth.
    cores : int or None
        So many at most, of those that a run around this one has reserved; None: those that none has.
    label_smoothing : float, default 0.0
        How much of each target is spread evenly over all classes, two for a sigmoid unit; for cross-entropies.
    with_outputs : bool, default False
        Store A_L of every example, as it was when the example was last propagated, for `results`.
    compiling : callable
        Returns a context manager that is entered while something is compiled.

    Attributes
    ----------
    compile_seconds : float
        How long that took.
    """

    def __init__(
        self,
        network: Network,
        parameters: np.ndarray,
        data: Data | Part | Parts,
        *,
        mode: int | Optimizer,
        course: Course = ONCE,
        state: OptimizerState | None = None,
        threads: int | None = None,
        cores: int | None = None,
        label_smoothing: float = 0.0,
        with_outputs: bool = False,
        compiling: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.optimizer = mode if isinstance(mode, Optimizer) else None
        self.mode = mode.code if isinstance(mode, Optimizer) else mode
        self.network = network if self.optimizer else network.without_dropout
        self.parts = data if isinstance(data, Parts) else None
        part = data.current if isinstance(data, Parts) else data if isinstance(data, Part) else Part.of_all(data)
        self.chosen = data.order if isinstance(data, Part) else np.empty(0, np.int64)
        self.parameters, self.course, self.m = parameters, course, len(part.order)
        self.is_used_up, self.earlier = False, Results([], [])
        self.batch_size = min(course.batch_size or MOST_EXAMPLES, max(1, self.m) if part.ends_epoch else MOST_EXAMPLES)
        self.chunk = network.chunk
        self.label_smoothing = label_smoothing
        self.ranks, self.steps = course.ranks, 0
        self.recipe = self.network.recipe(
            mode, part.data, self.batch_size, with_outputs, label_smoothing > 0, reduces=self.ranks is not None
        )
        self.compile_seconds = 0.0
        if not is_loaded(self.recipe):
            start = time.perf_counter()
            if not load_stored(self.recipe):
                with compiling():
                    compile_parts(self.recipe)
            self.compile_seconds = time.perf_counter() - start
        # Lines of the cache of their own: one thread writes while all read what lies beside.
        self.job, self.progress = aligned_zeros(1, JOB), aligned_zeros(1, PROGRESS)
        self.job["mode"], self.job["batch_size"], self.job["epochs"] = self.mode, self.batch_size, course.epochs
        self.job["shuffled"], self.job["key"] = course.shuffle, course.key
        self.job["reduces"] = self.ranks is not None
        self.rates_set = 0  # for the epochs, or updates, before this one
        self.first_epoch = course.first_epoch
        self.by_step = self.optimizer is not None and self.optimizer.is_by_step
        self.updates = course.batches if self.by_step else 1
        self.job["batches"] = self.updates * self.by_step
        self.rates = np.zeros(min(course.epochs * self.updates, EPOCHS_AT_ONCE))
        self.costs = np.zeros(min(course.epochs, EPOCHS_AT_ONCE))
        self.state = state or OptimizerState(np.empty(0, network.dtype), np.ones(2))
        self.factored_gradient = np.empty(0, network.dtype)
        if self.optimizer is not None:
            self.use(self.optimizer)
            self.state = state or OptimizerState.fresh(self.optimizer, network)
            self.factored_gradient = aligned_zeros(network.n_factored, network.dtype)
            self.state.factor(network, parameters)
        self.with_outputs = with_outputs
        self._take(part)
        self.before_step: list[np.ndarray] = []
        if self.ranks is not None and self.optimizer is not None:
            self.gradient = self.ranks.use_buffer(len(parameters), network.dtype)
            self.before_step = [np.empty_like(parameters), np.empty_like(self.state.moments)]
        else:
            memory = aligned_zeros if self.mode == codes.GRADIENT else take  # for a gradient may outlive the run
            self.gradient = memory(len(parameters), network.dtype)
            self.gradient[:] = 0
        self.examples_per_second = FIRST_GUESS / network.operations
        self.helpers: Helpers | None = None
        batch_size = min(self.batch_size, self.m)
        wanted = division_for(network, self.m, batch_size, course.epochs, threads)
        with ExitStack() as resources:  # given back if anything goes wrong, such as Ctrl-C while compiling
            if self.parts is not None:
                resources.callback(self.parts.close)
            granted = cores and min(cores, wanted.threads)
            granted = granted or resources.enter_context(reserved_cores(wanted.threads))
            self._make_team(Division(granted, wanted.by_chunks and granted > 1))
            self.resources = resources.pop_all()

    def beside(self, data: Data | Part | Parts, compiling: Callable[[], AbstractContextManager[None]]) -> Run:
        """Return a run for the cost of other examples at the same parameters, on the cores of this one."""
        return Run(
            self.network, self.parameters, data, mode=codes.COST, course=Course(ranks=self.ranks),
            cores=self.division.threads, with_outputs=self.with_outputs, compiling=compiling,
        )  # fmt: skip

    def _take(self, part: Part) -> None:
        """Have the examples of a part, from its first one on."""
        data, network = part.data, self.network
        order = part.order.copy() if len(self.chosen) and self.course.shuffle else part.order
        self.m = len(order)
        longest_chunk = min(self.chunk, self.batch_size)
        self.window = DenseWindow(data.X, self.m, longest_chunk) if isinstance(data.X, Rows) else None
        X, rows = (self.window.X, self.window.rows) if self.window else (data.X, order)
        weights = np.empty(0, network.dtype) if data.weights is None else data.weights
        X, y, weights = (read_only(array.view()) for array in (X, data.y, weights))  # type: ignore[union-attr]
        outputs = np.empty((network.units[-1], self.m * self.with_outputs), network.dtype)
        self.examples = Examples(X, rows, y, weights, outputs, order, self.chosen)
        self.job["before"], self.job["ends_epoch"] = part.before, part.ends_epoch
        self.progress["example"] = self.progress["loaded"] = 0

    def go_on_to_next_part(self) -> bool:
        """Take the next part of the examples, if the one at hand is used up; return whether it was."""
        if self.parts is None or not self.is_used_up or self.has_no_more:
            return False
        if self.helpers is not None:
            self.helpers.close()  # they would go on with the examples before
            self.helpers = None
        self.earlier = Results([], []) if self.parts.current.ends_epoch else self.earlier.and_of(self.examples)
        self._take(self.parts.next())
        self.is_used_up = False
        self._make_calls()
        return True

    def _make_team(self, division: Division) -> None:
        """Make the memory that a team works in which divides the work like this."""
        self.division, dtype = division, self.network.dtype
        scratches, sharing = (division.threads, 1) if division.by_chunks else (1, division.threads)
        self.plan = self.network.plan(max(1, min(self.batch_size, self.m)), backward=True, threads=sharing)
        link_for_training(self.plan, self.recipe, alone=sharing == 1)
        self.job["threads"], self.job["by_chunks"] = division.threads, division.by_chunks
        self.job["examples_at_once"] = GRAIN if self.plan.network["wide_gradient"][0] else self.chunk
        n_scratch, n_partial = -(-self.plan.n_scratch // 16) * 16, -(-len(self.parameters) // 16) * 16
        self.scratch = take(scratches * n_scratch, dtype).reshape(scratches, n_scratch)
        self.progress["loaded"] = 0
        classes = self.network.units[-1] if self.network.loss == codes.CATEGORICAL_CROSSENTROPY else 2
        self.plan.network["kept"] = 1 - self.label_smoothing
        self.plan.network["shared"] = self.label_smoothing / classes
        at, settings = int(self.plan.network["settings"][0]), self.network.loss_settings
        self.scratch[:, at : at + len(settings)] = settings
        at, constants = int(self.plan.layers["encoding"][0]), self.network.constants
        self.scratch[:, at : at + len(constants)] = constants
        self.partials = take(division.by_chunks * scratches * n_partial, dtype).reshape(-1, n_partial)
        self._make_calls()

    def _make_calls(self) -> None:
        """Make the calls of the threads of a new team, whose memory there is."""
        threads = self.division.threads
        self.team = Team(np.zeros(TEAM, dtype=np.int64), np.zeros(threads))
        n_factored = len(self.factored_gradient)
        moments, factored = self.state.divided(len(self.parameters), n_factored)
        split = factored.reshape(-1)[:n_factored], self.factored_gradient, factored.reshape(-1)[n_factored:]
        vectors = Vectors(
            self.parameters, self.gradient, self.partials, moments.reshape(-1), self.state.powers, *split
        )  # fmt: skip
        self.calls = [
            call_of_train(
                self.recipe, self.plan, self.job, self.progress, self.examples, vectors, self.scratch,
                Epochs(self.rates, self.costs), thread, self.team,
            )
            for thread in range(threads)
        ]  # fmt: skip

    def use(self, optimizer: Optimizer) -> None:
        """Take the settings of an optimizer; of the same kind as the one before, if there was one."""
        self.optimizer, self.rates_set = optimizer, 0
        for field, value in zip(OPTIMIZER_SETTINGS, optimizer.settings, strict=True):
            self.job[field] = value

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self.helpers is not None:
                self.helpers.close()
        finally:
            self.helpers = None  # it refers to this run, whose memory would wait for the garbage collector
            self.resources.close()
        self._give_back()

    def _give_back(self) -> None:
        """Leave to other runs the memory that no one looks at after this one: not a gradient that was asked for."""
        give_back(self.scratch)
        give_back(self.partials)
        self.calls = []  # which point to it
        self.scratch = self.partials = np.empty((0, 0), self.network.dtype)
        if self.mode != codes.GRADIENT:
            if not self.before_step:  # or it is the ranks'
                give_back(self.gradient)
            self.gradient = np.empty(0, self.network.dtype)

    def go_on_alone(self) -> None:
        """End the other threads; from now on one does the work."""
        if self.helpers is not None:
            self.helpers.close()
            self.helpers = None
        self._make_team(Division(1))

    def _new_helpers(self) -> Helpers:
        """Return the other threads of the team, which make the calls until it is stopped."""
        calls, barrier = self.calls, self.team.barrier  # they may not refer to this run

        def stop() -> None:
            barrier[STOPPED] = 1

        return Helpers(self.division.threads, lambda member: calls[member](), stop)

    @property
    def first_epoch(self) -> int:
        """How many epochs there were before this run. It may be set between two calls: every thread sees it."""
        return int(self.progress["first_epoch"][0])

    @first_epoch.setter
    def first_epoch(self, epochs: int) -> None:
        self.progress["first_epoch"], self.rates_set = epochs, 0

    @property
    def finished_epochs(self) -> int:
        """How many epochs are done."""
        return int(self.progress["epoch"][0])

    @property
    def finished_examples(self) -> int:
        """How many examples of the running epoch are done."""
        return int(self.progress["example"][0])

    @property
    def examples_before(self) -> int:
        """How many examples of the running epoch came before those of the part at hand."""
        return int(self.job["before"][0])

    @property
    def place_in_epoch(self) -> tuple[int, int | None]:
        """How many examples of the running epoch are done, and how many there are; None: none, or nobody knows yet."""
        is_at_end = self.is_used_up and self.finished_examples == 0
        before = 0 if is_at_end else self.examples_before
        return before + self.finished_examples, (self.m or None) if self.parts is None else self.parts.n_examples

    @property
    def finished_batches(self) -> int:
        """How many batches of the running epoch are done; with ranks, of all of them."""
        if self.ranks is not None:
            return int(self.progress["batches"][0])
        return (self.examples_before + self.finished_examples) // self.batch_size

    @property
    def start_of_batch(self) -> int:
        """The example at which the running batch began; negative if that was in an earlier part."""
        example = self.finished_examples
        return example - (self.examples_before + example) % self.batch_size

    @property
    def has_no_more(self) -> bool:
        """Whether this rank has come through its examples of the epoch, and others may not have."""
        return bool(self.finished_examples == self.m and self.job["ends_epoch"][0])

    @property
    def status(self) -> int:
        """codes.RUNNING, or why it stopped."""
        return int(self.progress["status"][0])

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.finished_epochs == self.course.epochs

    @property
    def penalty(self) -> float:
        """What penalties added to the cost of the epoch finished last, on the average of its batches."""
        with np.errstate(all="ignore"):
            return float(self.progress["epoch_penalty"][0] / self.progress["epoch_weight"][0])

    def costs_of(self, first: int, stop: int) -> list[float]:
        """Return the costs of epochs finished in the last call, from `first` up to `stop`."""
        costs: list[float] = self.costs[np.arange(first, stop) % len(self.costs)].tolist()
        return costs

    @property
    def chunks_in_a_call(self) -> int:
        """How many chunks should take about CALL_SECONDS."""
        chunks = CALL_SECONDS * self.examples_per_second / min(self.chunk, self.batch_size)
        return min(max(1, int(chunks)), MOST_CHUNKS)

    @property
    def chunks_left_in_part(self) -> int:
        """How many chunks of the running epoch, or of the part of it at hand, are not done."""
        before = self.examples_before
        return self.chunks_in(before + self.m) - self.chunks_in(before + self.finished_examples)

    def advance(self, most_chunks: int = MOST_CHUNKS) -> None:
        """Work for about CALL_SECONDS, and through no more chunks than that.

        For less while the speed is being found out, and when chunks are cut short.
        """
        if self.ranks is not None:
            self._advance_together(self.ranks, most_chunks)
            return
        self.go_on_to_next_part()
        self._work_and_measure(min(self.chunks_in_a_call, most_chunks))

    def _advance_together(self, ranks: Ranks, most_chunks: int) -> None:
        """Take steps with all ranks, up to the end of the epoch; some ranks may take more of them in a call."""
        epoch, until = self.finished_epochs, time.perf_counter() + CALL_SECONDS
        while True:
            most_chunks -= self._work_through_batch()
            if self.status:
                return
            done, batch = self.progress[0], ("batch_cost", "batch_weight")
            more = float(not self.has_no_more)
            for copy, of in zip(self.before_step, (self.parameters, self.state.moments), strict=False):
                copy[:] = of  # while others are still at work, perhaps
            if self.optimizer is None:
                cost, weight, more = ranks.sums([[*(done[name] for name in batch), more]])[0].tolist()
            else:
                cost, weight, more = ranks.add_up(*(done[name] for name in batch), more)
            done["batch_cost"], done["batch_weight"], done["is_last"], done["reduced"] = cost, weight, not more, 1
            self._set_rates(1)
            self._call_team(1)
            if self.status:
                return
            self.steps += 1
            ends_epoch = self.finished_epochs > epoch
            if self.optimizer is not None and (ends_epoch or self.steps % STEPS_BETWEEN_CHECKS == 0):
                ranks.check_same(self.parameters)
            if ends_epoch or most_chunks <= 0 or time.perf_counter() > until:
                return

    def _work_through_batch(self) -> int:
        """Find cost, weight and gradient of this rank's part of a batch, if it has any; return of how many chunks."""
        worked = 0
        if self.has_no_more:
            self.gradient[:] = self.progress["batch_cost"] = self.progress["batch_weight"] = 0
        while not self.has_no_more:
            self.go_on_to_next_part()
            stop = min(self.m, self.start_of_batch + self.batch_size)
            chunks = min(self.chunks_in_a_call, -(-(stop - self.finished_examples) // self.chunk))
            self._work_and_measure(chunks)
            worked += chunks
            if self.status or self.start_of_batch == self.finished_examples:
                break
        return worked

    def _work_and_measure(self, chunks: int) -> None:
        """Work through up to that many chunks, and find out the speed."""
        before = self.finished_epochs * self.m + self.finished_examples
        start = time.perf_counter()
        self.work(chunks)
        seconds = max(time.perf_counter() - start, 1e-9)
        examples = self.finished_epochs * self.m + self.finished_examples - before
        if examples:
            self.examples_per_second = min(examples / seconds, 10 * self.examples_per_second)

    def work(self, chunks: int) -> None:
        """Work through up to that many chunks; raise what another thread raised, if one did."""
        if self.window is not None and self.finished_examples == 0:
            self.draw_order()
        in_epoch, left = self.chunks_before(1, 0), self.chunks_left_in_part
        chunks = min(chunks, left if self.parts else left + (len(self.costs) - 1) * in_epoch)
        if self.window is not None:
            chunks = min(chunks, self.window.most_chunks, left)
            self.window.fill(self.examples.order, self.finished_examples, chunks)
        if self.by_step:
            chunks = min(chunks, len(self.rates))  # each may be an update
        self._set_rates(chunks - 1 if self.by_step else 1 + chunks // in_epoch)
        self._call_team(chunks)
        self.is_used_up = chunks == left and not self.status

    def _call_team(self, chunks: int) -> None:
        """Have the team work through that many chunks; raise what another thread raised, if one did."""
        if self.helpers is not None and not self.helpers.are_here:
            self.go_on_alone()
        if self.division.threads > 1 and self.helpers is None:
            # Known before they start, so that __exit__ ends them whenever a signal comes.
            self.helpers = self._new_helpers()
            if not self.helpers.start():  # one thread gives the same result
                self.go_on_alone()
        self.progress["chunks_left"] = chunks
        self._call(0)
        if self.helpers is not None:
            self.helpers.check()

    def draw_order(self) -> None:
        """Draw the order of the running epoch now, if the kernel draws one; any other stays."""
        if self.course.shuffle:
            example = self.finished_examples
            self.progress["example"] = self.progress["chunks_left"] = 0
            self._call(0)
            self.progress["example"] = example

    def _call(self, thread: int) -> None:
        """Work as that thread of the team: the first until its chunks are done, others until the team is stopped."""
        self.calls[thread]()

    def _set_rates(self, more: int) -> None:
        """Set the learning rates that a call can come to: of the running epoch, or update, and of so many more."""
        done = self.finished_epochs * self.updates
        if self.by_step:
            done += self.finished_batches
        first, end = max(done, self.rates_set), self.course.epochs * self.updates
        stop = min(done + 1 + more, done + len(self.rates), end)
        if self.optimizer is not None and first < stop:
            before = self.first_epoch * self.updates
            rates = self.optimizer.learning_rates(before + first, stop - first, self.network.dtype, self.updates)
            self.rates[np.arange(first, stop) % len(self.rates)] = rates
            self.rates_set = stop

    @property
    def results(self) -> tuple[np.ndarray, np.ndarray]:
        """A_L (m, n_L) of the epoch finished last, and the targets, in the same order; needs `with_outputs`.

        Of all ranks, one after the other.
        """
        outputs, targets = self.examples.outputs.T, self.examples.targets
        if self.parts is not None or self.course.shuffle:
            found = self.earlier.and_of(self.examples)
            outputs, targets = np.concatenate(found.outputs), np.concatenate(found.targets)
        elif len(self.chosen):
            targets = targets[self.chosen]
        if self.ranks is not None:
            return self.ranks.gathered(outputs), self.ranks.gathered(targets)
        return outputs, targets

    def cost(self) -> float:
        """Go through the data once, from the start, and return J; with codes.GRADIENT, `gradient` is then set too."""
        self.rewind()
        while not self.done:
            self.advance()
        return float(self.costs[0])

    def rewind(self) -> None:
        """Go back to the start: the next call begins epoch 0 anew."""
        self.progress["epoch"] = self.progress["example"] = self.rates_set = 0

    def chunks_before(self, epoch: int, example: int) -> int:
        """Return how many chunks precede an example at which one starts; of a part, those of its epoch are counted."""
        return epoch * self.chunks_in(self.m) + self.chunks_in(self.examples_before + example)

    def chunks_in(self, examples: int) -> int:
        """Return how many chunks the first examples of an epoch are."""
        if examples == 0:
            return 0
        batches, rest = divmod(examples, self.batch_size)
        return batches * -(-self.batch_size // self.chunk) + -(-rest // self.chunk)

    def activations_of_last_chunk(self, layer: int) -> np.ndarray:
        """Return A of a layer, (examples, n_l), of the chunk that one thread has finished last."""
        end = self.finished_examples or self.m
        start_of_batch = (end - 1) // self.batch_size * self.batch_size
        return self.activations(layer, (end - start_of_batch - 1) % self.chunk + 1)

    def activations(self, layer: int, examples: int) -> np.ndarray:
        """Return A of a layer, (examples, n_l), as it lies in the scratch memory."""
        record = self.plan.layers[layer]
        n, block, ld = int(record["units"]), int(record["block"]), int(record["ld"])
        blocks = -(-examples // ld)
        scratch = self.scratch[self.progress["slot"][0]]
        in_blocks = scratch[int(record["A"]) :][: blocks * block].reshape(blocks, block // ld, ld)
        by_example: np.ndarray = in_blocks[:, :n].transpose(0, 2, 1).reshape(-1, n)[:examples]
        return by_example
