"""The bridge from Python to the kernels: memory for them to work in, and calls short enough to interrupt.

A kernel does not see Ctrl-C. So each call is given as many chunks of examples as should take `CALL_SECONDS`, and
the loop around it is Python's. (A chunk is never divided, though, however large the network.) This is the first file
to import numba, and it does so on first use.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastnet.kernels.plan import CHUNK, LANES, LD, ROWS, UNITS, A, Plan, W, make_plan

CALL_SECONDS = 0.05
MOST_CHUNKS = 10**9
FIRST_GUESS = 1e9
"""Operations per second assumed of a machine not yet measured: fewer than any reaches, so the first call is short."""


class Network(NamedTuple):
    """A built network as the kernels see it: the sizes of the layers (the input's first), codes, lambda, dtype."""

    units: tuple[int, ...]
    activations: tuple[int, ...]
    use_bias: tuple[bool, ...]
    loss: int
    l2: tuple[float, ...]
    dtype: np.dtype

    def plan(self, examples: int, backward: bool) -> Plan:
        """Lay the network out for batches of up to that many examples."""
        return make_plan(self.units, self.activations, self.use_bias, examples=examples, backward=backward)

    @property
    def operations(self) -> int:
        """Floating-point operations to propagate an example forward and back, roughly."""
        products = sum(6 * n * n_prev for n_prev, n in pairwise(self.units))
        return products + 100 * sum(self.units)


_loaded: set[np.dtype] = set()


def is_loaded(dtype: np.dtype) -> bool:
    """Return whether training in that dtype can start without compiling or loading anything."""
    return dtype in _loaded


def compiled_train(dtype: np.dtype) -> Callable[..., None]:
    """Return the entry point `kernels.network.train`; compiles it, or loads it from the cache, on first use."""
    from fastnet.kernels import jit, network

    train = jit.entry_point(network.make_train, dtype)
    _loaded.add(dtype)
    return train


def compiled_forward(dtype: np.dtype) -> Callable[..., None]:
    """Return the entry point `kernels.network.forward`, as above."""
    from fastnet.kernels import jit, network

    return jit.entry_point(network.make_forward, dtype)


def aligned_zeros(n: int, dtype: np.dtype) -> np.ndarray:
    """Return n zeros that begin at a multiple of 64 bytes, so that vector loads do not straddle cache lines."""
    spare = 64 // dtype.itemsize
    memory = np.zeros(n + spare, dtype)
    skip = -memory.ctypes.data % 64 // dtype.itemsize
    return memory[skip : skip + n]


class Run:
    """A pass, or many, over a data set in batches: for the cost, for the gradient, or to train.

    Parameters
    ----------
    network : Network
    parameters : numpy.ndarray, (n_parameters,)
        Read; and written, if `mode` is an optimizer's.
    X, y : numpy.ndarray, (m, n_x) and (m, n_L)
        As `fastnet.validation` makes them.
    mode : int
        codes.COST, codes.GRADIENT or codes.SGD.
    batch_size : int or None
        None: all examples in one batch.
    epochs : int, default 1
    learning_rate : float, default 0.0
    shuffle_key : int or None
        Draw the order of epoch e from (shuffle_key, first_epoch + e); None: keep the order of X.
    first_epoch : int, default 0
    """

    def __init__(
        self,
        network: Network,
        parameters: np.ndarray,
        X: np.ndarray,
        y: np.ndarray,
        *,
        mode: int,
        batch_size: int | None = None,
        epochs: int = 1,
        learning_rate: float = 0.0,
        shuffle_key: int | None = None,
        first_epoch: int = 0,
    ) -> None:
        from fastnet.kernels import network as kernels

        self.kernels = kernels
        self.network, self.parameters, self.X, self.y = network, parameters, X, y
        self.mode, self.learning_rate = mode, learning_rate
        self.shuffle_key, self.first_epoch = shuffle_key, first_epoch
        self.m = len(X)
        self.batch_size = self.m if batch_size is None else min(batch_size, self.m)
        self.train = compiled_train(network.dtype)
        self.plan = network.plan(self.batch_size, backward=True)
        self.l2 = np.array((0.0, *network.l2))
        self.order = np.arange(self.m)
        self.position = np.zeros(4, dtype=np.int64)
        self.totals = np.zeros(2)
        self.costs = np.zeros(epochs)
        self.gradient = aligned_zeros(self.plan.n_parameters, network.dtype)
        self.scratch = aligned_zeros(self.plan.n_scratch, network.dtype)
        self.chunk = int(self.plan.rows[0, CHUNK])
        self.examples_per_second = FIRST_GUESS / network.operations

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

    def advance(self) -> None:
        """Work for about CALL_SECONDS; for less while the speed is being found out, and when chunks are cut short."""
        before = self.finished_epochs * self.m + self.finished_examples
        start = time.perf_counter()
        chunks = CALL_SECONDS * self.examples_per_second / min(self.chunk, self.batch_size)
        self.work(min(max(1, int(chunks)), MOST_CHUNKS))
        seconds = max(time.perf_counter() - start, 1e-9)
        examples = self.finished_epochs * self.m + self.finished_examples - before
        if examples:
            self.examples_per_second = min(examples / seconds, 10 * self.examples_per_second)

    def work(self, chunks: int) -> None:
        """Work through up to that many chunks."""
        shuffled = self.shuffle_key is not None
        self.train(
            self.plan.rows, self.network.loss, self.mode, self.batch_size, shuffled, self.shuffle_key or 0,
            self.first_epoch, chunks, self.learning_rate, self.l2, self.X, self.y, self.order,
            self.position, self.totals, self.costs, self.parameters, self.gradient, self.scratch,
        )  # fmt: skip

    def cost(self) -> float:
        """Go through the data once, from the start, and return J; with codes.GRADIENT, `gradient` is then set too."""
        self.position[: self.kernels.LOADED] = 0
        while not self.done:
            self.advance()
        return float(self.costs[0])

    def chunks_before(self, epoch: int, example: int) -> int:
        """Return how many chunks precede an example at which one starts."""

        def in_examples(n: int) -> int:
            batches, rest = divmod(n, self.batch_size)
            return batches * -(-self.batch_size // self.chunk) + -(-rest // self.chunk)

        return epoch * in_examples(self.m) + in_examples(example)

    def first_layer_not_finite(self) -> int | None:
        """Return the first layer, from 1, with a non-finite activation among the examples last propagated, if any."""
        start = self.finished_examples
        stop = min(self.m, start - start % self.batch_size + self.batch_size, start + self.chunk)
        for layer, row in enumerate(self.plan.rows[1:], start=1):
            n, rows, ld = int(row[UNITS]), int(row[ROWS]), int(row[LD])
            blocks = -(-(stop - start) // ld)
            A_blocks = self.scratch[int(row[A]) :][: blocks * rows * ld].reshape(blocks, rows, ld)
            A_by_example = A_blocks[:, :n].transpose(0, 2, 1).reshape(-1, n)
            if not np.isfinite(A_by_example[: stop - start]).all():
                return layer
        return None

    def first_layer_with_bad_parameters(self) -> int:
        """Return the first layer, from 1, whose W or b holds a non-finite value; there must be one."""
        ends = [*self.plan.rows[2:, W].tolist(), len(self.parameters)]
        first_bad = int(np.argmin(np.isfinite(self.parameters)))
        return 1 + next(layer for layer, end in enumerate(ends) if first_bad < end)


def predict(network: Network, parameters: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return A_L (m, n_L) for X (m, n_x) as `fastnet.validation` makes it."""
    forward = compiled_forward(network.dtype)
    m = len(X)
    plan = network.plan(LANES, backward=False)
    out = np.empty((m, network.units[-1]), network.dtype)
    scratch = aligned_zeros(plan.n_scratch, network.dtype)
    order = np.arange(m)
    rows = LANES * (1 + int(CALL_SECONDS * FIRST_GUESS / (LANES * network.operations)))
    start = 0
    while start < m:
        stop = min(m, start + rows)
        began = time.perf_counter()
        forward(plan.rows, order, X, start, stop, parameters, scratch, out)
        seconds = max(time.perf_counter() - began, 1e-9)
        rows = LANES * max(1, int(rows / LANES * min(CALL_SECONDS / seconds, 10)))
        start = stop
    return out
