"""The bridge from Python to the prediction kernel: for a few rows in microseconds, for many by a team of threads."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastnet.engine.memory import aligned_zeros
from fastnet.engine.network import Network
from fastnet.engine.recipe import by_name, compiled_predict
from fastnet.engine.run import CALL_SECONDS, FIRST_GUESS
from fastnet.engine.threads import Helpers, get_num_threads, reserved_cores
from fastnet.kernels.plan import LANES

OPERATIONS_PER_THREAD = 1e8
"""Operations for each thread that make it worth starting: a millisecond, against 0.1 ms."""


FEW = 7
"""Up to so many rows go one by one, or four by four, with units in the lanes; more make a block worth its while."""


class Way(NamedTuple):
    """How rows are predicted: the entry point, the layers, the address of the forward pass, and memory to work in."""

    predict: Callable[..., bool]
    layers: np.ndarray
    forward: int
    n_scratch: int
    free_scratch: list[np.ndarray]


class Predictor:
    """Computes A_L with the parameters of one built network; safe to call from several threads at once."""

    def __init__(self, network: Network, parameters: np.ndarray) -> None:
        self.network, self.parameters, self.dtype = network, parameters, network.dtype
        self.n_features, self.n_outputs = network.units[0], network.units[-1]
        self.ways = [self._way(few_rows=True), self._way(few_rows=False)]
        self.order = np.arange(LANES)
        # As many rows as a call should take, before the speed is known.
        self.first_rows = LANES * (1 + int(CALL_SECONDS * FIRST_GUESS / (LANES * network.operations)))

    def _way(self, *, few_rows: bool) -> Way:
        """Lay the network out, for a few rows or for blocks of them, and compile what that needs."""
        plan = self.network.plan(FEW if few_rows else LANES, backward=False, few_rows=few_rows)
        predict, forward = compiled_predict(self.network, plan, few_rows=few_rows)
        return Way(predict, by_name(plan.layers), forward, plan.n_scratch, [])

    def __call__(self, X: np.ndarray, out: np.ndarray) -> bool:
        """Write A_L (m, n_L) for X (m, n_x) to `out`; return whether all of X is finite, and leave off where not.

        Both are C-contiguous, of the network's dtype.
        """
        m = X.shape[0]
        if m <= LANES:
            return self.rows(X, 0, m, out)
        operations = self.network.operations / 3 * m
        wanted = max(1, min(get_num_threads(), int(operations / OPERATIONS_PER_THREAD)))
        with reserved_cores(wanted) as threads:
            return Slices(self, X, out, threads).run()

    def rows(self, X: np.ndarray, start: int, stop: int, out: np.ndarray) -> bool:
        """Do so for the rows from start to stop, on this thread."""
        predict, layers, forward, n_scratch, free_scratch = self.ways[stop - start > FEW]
        try:
            scratch = free_scratch.pop()
        except IndexError:
            scratch = aligned_zeros(n_scratch, self.dtype)
        finite: bool = predict(layers, forward, self.order, X, start, stop, self.parameters, scratch, out)
        free_scratch.append(scratch)
        return finite


class Slices:
    """The rows of one large prediction, handed out to threads a slice at a time."""

    def __init__(self, predictor: Predictor, X: np.ndarray, out: np.ndarray, threads: int) -> None:
        self.predictor, self.X, self.out, self.threads = predictor, X, out, threads
        self.lock = threading.Lock()
        self.next_row = 0
        self.finite, self.stopped = True, False

    def run(self) -> bool:
        """Work through all rows; return whether all of X is finite."""
        helpers = Helpers(self.threads, lambda _: self.work(), self.stop)
        try:
            try:
                helpers.start()
            except RuntimeError:  # no more threads can be started: one gives the same result
                self.next_row, self.stopped = 0, False
            self.work()
            helpers.join()
        finally:
            helpers.close()
        helpers.check()
        return self.finite

    def stop(self) -> None:
        """Hand out no more."""
        self.stopped = True

    def work(self) -> None:
        """Take slices until none is left, each about as long as CALL_SECONDS; of many threads, shorter towards the end.

        So none is left with a long slice when the others have no more: of what remains, one takes half of its share.
        """
        rows = self.predictor.first_rows
        while True:
            with self.lock:
                start = self.next_row
                left = len(self.X) - start
                most = left if self.threads == 1 else LANES * max(1, left // (2 * self.threads * LANES))
                self.next_row = stop = start + min(rows, left, most)
            if start == stop or self.stopped:
                return
            began = time.perf_counter()
            if not self.predictor.rows(self.X, start, stop, self.out):
                self.finite = False
                self.stop()
            seconds = max(time.perf_counter() - began, 1e-9)
            rows = LANES * max(1, int((stop - start) / LANES * min(CALL_SECONDS / seconds, 10)))
