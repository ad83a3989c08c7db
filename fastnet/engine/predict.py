"""The bridge from Python to the prediction kernel: for a few rows in microseconds, for many by a team of threads."""

import threading
import time
from collections.abc import Callable

import numpy as np

from fastnet.engine.memory import aligned_zeros
from fastnet.engine.network import Network
from fastnet.engine.recipe import call_of_predict, link_for_prediction
from fastnet.engine.run import CALL_SECONDS, FIRST_GUESS
from fastnet.engine.threads import Helpers, get_num_threads, reserved_cores
from fastnet.kernels.plan import LANES

OPERATIONS_PER_THREAD = 1e8
"""Operations for each thread that make it worth starting: a millisecond, against 0.1 ms."""


FEW = 7
"""Up to so many rows go one by one, or four by four, with units in the lanes; more make a block worth its while."""


class LinkedPlan:
    """A plan for predictions of up to `most_rows` rows at a time, linked, and calls of the kernel that are free."""

    def __init__(self, network: Network, parameters: np.ndarray, *, most_rows: int, few_rows: bool) -> None:
        self.dtype, self.parameters = network.dtype, parameters
        self.plan = network.plan(most_rows, backward=False, few_rows=few_rows)
        self.free_calls: list[Callable[[int, np.ndarray, np.ndarray], int]] = []
        link_for_prediction(network, self.plan, few_rows=few_rows)

    def new_call(self) -> Callable[[int, np.ndarray, np.ndarray], int]:
        """Return a call, with memory of its own to work in."""
        S = aligned_zeros(self.plan.n_scratch, self.dtype)
        return call_of_predict(self.dtype, self.plan.layers, np.arange(LANES), self.parameters, S)

    def predict(self, X: np.ndarray, out: np.ndarray) -> bool:
        """Write A_L (m, n_L) for X (m, n_x) to `out`; return whether all of both is finite, and leave off where not.

        Both are C-contiguous, of the network's dtype.
        """
        try:
            call = self.free_calls.pop()
        except IndexError:
            call = self.new_call()
        finite = call(X.shape[0], X, out) == 1
        self.free_calls.append(call)
        return finite


class Predictor:
    """Computes A_L with the parameters of one built network; safe to call from several threads at once."""

    def __init__(self, network: Network, parameters: np.ndarray) -> None:
        self.network, self.parameters, self.dtype = network, parameters, network.dtype
        self.n_features, self.n_outputs = network.units[0], network.units[-1]
        self.few = LinkedPlan(network, parameters, most_rows=FEW, few_rows=True)
        self.many = LinkedPlan(network, parameters, most_rows=LANES, few_rows=False)
        # As many rows as a call should take, before the speed is known.
        self.first_rows = LANES * (1 + int(CALL_SECONDS * FIRST_GUESS / (LANES * network.operations)))

    def __call__(self, X: np.ndarray, out: np.ndarray) -> bool:
        """Write A_L (m, n_L) for X (m, n_x) to `out`; return whether all of both is finite, and leave off where not.

        Both are C-contiguous, of the network's dtype.
        """
        m = X.shape[0]
        if m > LANES:
            return self._in_slices(X, out)
        return (self.few if m <= FEW else self.many).predict(X, out)

    def place_for(self, X: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Return where to write A_L of more than LANES rows: `out` or, where that is read meanwhile, other memory."""
        overlaps = np.may_share_memory(out, X) or np.may_share_memory(out, self.parameters)
        return np.empty_like(out) if overlaps else out

    def _in_slices(self, X: np.ndarray, out: np.ndarray) -> bool:
        operations = self.network.operations / 3 * X.shape[0]
        wanted = max(1, min(get_num_threads(), int(operations / OPERATIONS_PER_THREAD)))
        with reserved_cores(wanted) as threads:
            return Slices(self, X, out, threads).run()


class Slices:
    """The rows of one large prediction, handed out to threads a slice at a time."""

    def __init__(self, predictor: Predictor, X: np.ndarray, out: np.ndarray, threads: int) -> None:
        self.predictor, self.X, self.out, self.threads = predictor, X, out, threads
        self.lock = threading.Lock()
        self.next_row = 0
        self.finite, self.stopped = True, False

    def run(self) -> bool:
        """Work through all rows; return whether all of X and of A_L is finite."""
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
            if not self.predictor.many.predict(self.X[start:stop], self.out[start:stop]):
                self.finite = False
                self.stop()
            seconds = max(time.perf_counter() - began, 1e-9)
            rows = LANES * max(1, int((stop - start) / LANES * min(CALL_SECONDS / seconds, 10)))
