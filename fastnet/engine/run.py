"""The bridge from Python to the training kernel: memory for it to work in, and calls short enough to interrupt.

A kernel does not see Ctrl-C. So each call is given as many chunks of examples as should take `CALL_SECONDS`, and
the loop around it is Python's. (A chunk is never divided, though, however large the network.)
"""

import time
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from fastnet.engine.memory import aligned_zeros, give_back, take
from fastnet.engine.network import Network, Team, team_for
from fastnet.engine.recipe import compiled_train
from fastnet.engine.sparse import DenseWindow, SparseRows
from fastnet.engine.threads import Helpers, reserved_cores
from fastnet.kernels import codes
from fastnet.kernels.plan import LD, ROWS, UNITS, A, W, chunk_size
from fastnet.optimizers import Optimizer

CALL_SECONDS = 0.02
"""With 0.05, Ctrl-C was answered in up to 0.30 s instead of 0.24 beside two busy processes on two cores
(`pytest tests/engine/test_stress.py -k interrupts`); with less, `planar` was as fast (`benchmarks/peers.py --only
planar`)."""
MOST_CHUNKS = 10**9
FIRST_GUESS = 1e9
"""Operations per second assumed of a machine not yet measured: fewer than any reaches, so the first call is short."""


class OptimizerState(NamedTuple):
    """What an optimizer remembers: `moments`, vectors like the parameters, in one; and powers of beta1 and beta2."""

    moments: np.ndarray
    powers: np.ndarray

    @classmethod
    def fresh(cls, optimizer: Optimizer, n_parameters: int, dtype: np.dtype) -> "OptimizerState":
        """Return the state before the first step."""
        return cls(aligned_zeros(optimizer.n_moments * n_parameters, dtype), np.ones(2))


class Run:
    """A pass, or many, over a data set in batches: for the cost, for the gradient, or to train.

    A context manager: on leaving it, its threads have ended.

    Parameters
    ----------
    network : Network
    parameters : numpy.ndarray, (n_parameters,)
        Read; and written, if there is an optimizer.
    X, y : numpy.ndarray, (m, n_x) and (m, n_L)
        As `fastnet.validation` makes them. X may be SparseRows, unless the kernel shuffles: `order` must be known.
    mode : int or Optimizer
        codes.COST or codes.GRADIENT; or what to train with.
    state : OptimizerState, optional
        The optimizer's; written. None: the one before the first step.
    batch_size : int or None
        None: all examples in one batch.
    epochs : int, default 1
    key : int, default 0
        What is random in epoch e is drawn from (key, first_epoch + e).
    shuffle : bool, default False
        Draw the order of each epoch; or keep that of X.
    first_epoch : int, default 0
    threads : int or None
        None: as many as the work is worth.
    weights : numpy.ndarray, (m,), optional
        Of the examples, in the dtype of the network, not negative nor all zero.
    cores : int or None
        So many at most, of those that a run around this one has reserved; None: those that none has.
    with_outputs : bool, default False
        Keep A_L of every example, as it was when the example was last propagated, for `results`.
    """

    def __init__(
        self,
        network: Network,
        parameters: np.ndarray,
        X: np.ndarray | SparseRows,
        y: np.ndarray,
        *,
        mode: int | Optimizer,
        state: OptimizerState | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        key: int = 0,
        shuffle: bool = False,
        first_epoch: int = 0,
        threads: int | None = None,
        weights: np.ndarray | None = None,
        with_outputs: bool = False,
        cores: int | None = None,
    ) -> None:
        from fastnet.kernels import train as kernels
        from fastnet.kernels.ir import barrier

        self.kernels, self.team_entries = kernels, barrier
        self.network = network if isinstance(mode, Optimizer) else network.without_dropout
        self.parameters, self.y = parameters, y
        self.settings, self.rates = np.zeros(codes.SETTINGS), np.zeros(epochs)
        self.position = np.zeros(kernels.POSITION, dtype=np.int64)
        self.key, self.shuffle = key, shuffle
        self.first_epoch = first_epoch
        if isinstance(mode, Optimizer):
            self.mode = mode.code
            self.use(mode)
            self.state = OptimizerState.fresh(mode, len(parameters), network.dtype) if state is None else state
        else:
            self.mode, self.state = mode, OptimizerState(np.empty(0, network.dtype), np.ones(2))
        self.settings[codes.OF_LOSS] = network.loss_setting
        self.m = len(X)
        self.batch_size = self.m if batch_size is None else min(batch_size, self.m)
        self.penalties = np.array([(0.0, *network.l2), (0.0, *network.l1)])
        self.weights = np.empty(0, network.dtype) if weights is None else weights
        self.outputs = np.empty((network.units[-1], self.m * with_outputs), network.dtype)
        self.order = np.arange(self.m)
        self.costs = np.zeros(epochs)
        memory = aligned_zeros if self.mode == codes.GRADIENT else take  # for a gradient may be kept for good
        self.gradient = memory(len(parameters), network.dtype)
        self.gradient[:] = 0
        self.chunk = chunk_size(network.units)
        self.window = DenseWindow(X, min(self.chunk, self.batch_size)) if isinstance(X, SparseRows) else None
        if self.window is None:
            self.X, self.rows = X, self.order
        else:
            self.X, self.rows = self.window.X, self.window.rows
        self.examples_per_second = FIRST_GUESS / network.operations
        self.helpers: Helpers | None = None
        wanted = team_for(network, self.m, self.batch_size, epochs, threads)
        with ExitStack() as resources:  # given back if anything goes wrong, such as Ctrl-C while compiling
            granted = cores and min(cores, wanted.threads)
            granted = granted or resources.enter_context(reserved_cores(wanted.threads))
            self._make_team(Team(granted, wanted.by_chunks and granted > 1))
            self.resources = resources.pop_all()

    def _make_team(self, team: Team) -> None:
        """Make the memory that a team of that size works in."""
        self.team, dtype = team, self.network.dtype
        vectors = team.threads if team.by_chunks else 1
        training = self.network.training(
            self.mode, batch_size=self.batch_size, same_batch=self.batch_size == self.m and not self.shuffle,
            clipped=self.settings[codes.CLIP_NORM] > 0, weighted=len(self.weights) > 0,
            with_outputs=self.outputs.shape[1] > 0,
        )  # fmt: skip
        threads = 1 if team.by_chunks else team.threads
        self.plan = self.network.plan(self.batch_size, backward=True, threads=threads, swept=training.swept)
        self.totals = np.zeros(self.kernels.TOTALS + team.threads)
        n_scratch, n_partial = -(-self.plan.n_scratch // 16) * 16, -(-len(self.parameters) // 16) * 16
        self.train, self.updates = compiled_train(self.plan.rows, training)
        self.scratch = take(vectors * n_scratch, dtype).reshape(vectors, n_scratch)
        self.partials = take(team.by_chunks * vectors * n_partial, dtype).reshape(-1, n_partial)
        self.meeting = np.zeros(self.team_entries.TEAM, dtype=np.int64)

    def use(self, optimizer: Optimizer) -> None:
        """Take the settings of an optimizer; of the same kind as the one before, if there was one."""
        done = self.finished_epochs
        self.settings[: codes.OF_LOSS] = optimizer.settings
        self.rates[done:] = optimizer.learning_rates(self.first_epoch + done, len(self.rates) - done)

    def __enter__(self) -> "Run":
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
        self.scratch = self.partials = np.empty((0, 0), self.network.dtype)
        if self.mode != codes.GRADIENT:
            give_back(self.gradient)
            self.gradient = np.empty(0, self.network.dtype)

    def go_on_alone(self) -> None:
        """End the other threads; from now on one does the work."""
        if self.helpers is not None:
            self.helpers.close()
            self.helpers = None
        self._make_team(Team(1))

    def _stop(self) -> None:
        """Make every member of the team return from the kernel."""
        self.meeting[self.team_entries.STOPPED] = 1

    @property
    def first_epoch(self) -> int:
        """How many epochs there were before this run. It may be set between two calls: every thread sees it."""
        return int(self.position[self.kernels.FIRST_EPOCH])

    @first_epoch.setter
    def first_epoch(self, epochs: int) -> None:
        self.position[self.kernels.FIRST_EPOCH] = epochs

    @property
    def finished_epochs(self) -> int:
        """How many epochs are done."""
        return int(self.position[self.kernels.EPOCH])

    @property
    def finished_examples(self) -> int:
        """How many examples of the running epoch are done."""
        return int(self.position[self.kernels.EXAMPLE])

    @property
    def status(self) -> int:
        """codes.RUNNING, or why it stopped."""
        return int(self.position[self.kernels.STATUS])

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.finished_epochs == len(self.costs)

    @property
    def chunks_in_a_call(self) -> int:
        """How many chunks should take about CALL_SECONDS."""
        chunks = CALL_SECONDS * self.examples_per_second / min(self.chunk, self.batch_size)
        return min(max(1, int(chunks)), MOST_CHUNKS)

    @property
    def chunks_left_in_epoch(self) -> int:
        """How many chunks of the running epoch are not done."""
        return self.chunks_before(1, 0) - self.chunks_before(0, self.finished_examples)

    def advance(self, *, to_end_of_epoch: bool = False) -> None:
        """Work for about CALL_SECONDS, and perhaps not beyond the end of the epoch.

        For less while the speed is being found out, and when chunks are cut short.
        """
        chunks = self.chunks_in_a_call
        if to_end_of_epoch:
            chunks = min(chunks, self.chunks_left_in_epoch)
        before = self.finished_epochs * self.m + self.finished_examples
        start = time.perf_counter()
        self.work(chunks)
        seconds = max(time.perf_counter() - start, 1e-9)
        examples = self.finished_epochs * self.m + self.finished_examples - before
        if examples:
            self.examples_per_second = min(examples / seconds, 10 * self.examples_per_second)

    def work(self, chunks: int) -> None:
        """Work through up to that many chunks; raise what another thread raised, if one did."""
        if self.window is not None:
            chunks = min(chunks, self.window.most_chunks, self.chunks_left_in_epoch)
            self.window.fill(self.order, self.finished_examples, chunks)
        if self.team.threads > 1 and self.helpers is None:
            # Known before they start, so that __exit__ ends them whenever Ctrl-C comes.
            self.helpers = Helpers(self.team.threads, lambda member: self._call(member, 1), self._stop)
            try:
                self.helpers.start()
            except RuntimeError:  # no more threads can be started: one gives the same result
                self.go_on_alone()
        self._call(0, chunks)
        if self.helpers is not None:
            self.helpers.check()

    def _call(self, member: int, chunks: int) -> None:
        self.train(
            self.plan.rows, self.mode, *self.updates, self.batch_size, self.shuffle, self.key, chunks, self.settings,
            self.rates, self.penalties, self.X, self.rows, self.y, self.weights, self.outputs, self.order,
            self.position, self.totals, self.costs, self.parameters, self.gradient, self.partials, self.state.moments,
            self.state.powers, self.scratch, member, self.team.threads, self.team.by_chunks, self.meeting,
        )  # fmt: skip

    @property
    def results(self) -> tuple[np.ndarray, np.ndarray]:
        """A_L (m, n_L) of the epoch finished last, and the targets, in the same order; needs `with_outputs`."""
        return self.outputs.T, self.y[self.order] if self.shuffle else self.y

    def cost(self) -> float:
        """Go through the data once, from the start, and return J; with codes.GRADIENT, `gradient` is then set too."""
        self.rewind()
        while not self.done:
            self.advance()
        return float(self.costs[0])

    def rewind(self) -> None:
        """Go back to the start: the next call begins epoch 0 anew."""
        self.position[: self.kernels.LOADED] = 0

    def parameters_changed(self) -> None:
        """To be told between two calls: what was found along with the step before is then found anew."""
        self.position[self.kernels.SWEPT_AHEAD] = 0

    @property
    def penalty(self) -> float:
        """What penalties added to the cost of the epoch finished last, on the average of its batches."""
        return float(self.totals[self.kernels.EPOCH_PENALTY] / self.totals[self.kernels.EPOCH_WEIGHT])

    def chunks_before(self, epoch: int, example: int) -> int:
        """Return how many chunks precede an example at which one starts."""

        def in_examples(n: int) -> int:
            batches, rest = divmod(n, self.batch_size)
            return batches * -(-self.batch_size // self.chunk) + -(-rest // self.chunk)

        return epoch * in_examples(self.m) + in_examples(example)

    def first_layer_not_finite(self) -> int | None:
        """Return the first layer, from 1, with a non-finite activation in the chunk that was not finished, if any."""
        start = self.finished_examples
        stop = min(self.m, start - start % self.batch_size + self.batch_size, start + self.chunk)
        for layer in range(1, len(self.plan.rows)):
            if not np.isfinite(self._activations(layer, stop - start)).all():
                return layer
        return None

    def activations_of_last_chunk(self, layer: int) -> np.ndarray:
        """Return A of a layer, (examples, n_l), of the chunk that one thread has finished last."""
        end = self.finished_examples or self.m
        start_of_batch = (end - 1) // self.batch_size * self.batch_size
        return self._activations(layer, (end - start_of_batch - 1) % self.chunk + 1)

    def _activations(self, layer: int, examples: int) -> np.ndarray:
        """Return A of a layer, (examples, n_l), as it lies in the scratch memory."""
        row = self.plan.rows[layer]
        n, rows, ld = int(row[UNITS]), int(row[ROWS]), int(row[LD])
        blocks = -(-examples // ld)
        scratch = self.scratch[self.position[self.kernels.SLOT]]
        in_blocks = scratch[int(row[A]) :][: blocks * rows * ld].reshape(blocks, rows, ld)
        by_example: np.ndarray = in_blocks[:, :n].transpose(0, 2, 1).reshape(-1, n)[:examples]
        return by_example

    def first_layer_with_bad_parameters(self) -> tuple[int, str]:
        """Return the first layer, from 1, that an update has left with a non-finite value, and what that value is.

        "gradient", if that was not finite itself or is not when squared, in a running mean; else "parameter": W or b.
        Only there `gradient` is sure to be of this batch: of a large network it is not kept.
        """
        ends = [*self.plan.rows[2:, W].tolist(), len(self.parameters)]
        parameters, gradient = np.isfinite(self.parameters), np.isfinite(self.gradient)
        moments = np.isfinite(self.state.moments).reshape(-1, len(parameters)).all(axis=0)
        finite = {"gradient": moments & (gradient | parameters), "parameter": parameters}
        kind = "parameter" if finite["gradient"].all() else "gradient"
        first_bad = int(np.argmin(finite[kind]))
        return 1 + next(layer for layer, end in enumerate(ends) if first_bad < end), kind
