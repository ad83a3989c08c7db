"""The bridge from Python to the kernels of predictions: for a few rows in microseconds, for many by a team of threads.

And of their gradients with respect to the input, for any number of rows.
"""

import time
from _thread import allocate_lock
from collections.abc import Callable

import numpy as np

from fastnet.engine.memory import aligned_zeros
from fastnet.engine.network import Network
from fastnet.engine.recipe import (
    call_of_input_gradients,
    call_of_predict,
    call_of_predict_mean,
    link_for_inputs,
    link_for_prediction,
)
from fastnet.engine.run import CALL_SECONDS, FIRST_GUESS
from fastnet.engine.threads import Helpers, get_num_threads, reserved_cores
from fastnet.kernels import codes
from fastnet.kernels.plan import GRAIN, LANES, MOST_OPERATIONS, Plan, parameter_offsets

OPERATIONS_PER_THREAD = 1e8
"""Operations for each thread that make it worth starting: a millisecond, against 0.1 ms."""


FEW = 7
"""Up to so many rows go one by one, or four by four, with units in the lanes; more make a block worth its while."""


class LinkedPlan:
    """A plan that is linked, and calls of its kernel that are free; `new_call` makes one that works in a vector S."""

    def __init__(
        self, plan: Plan, network: Network, new_call: Callable[[np.ndarray], Callable[..., int]]
    ) -> None:  # fmt: skip
        self.plan, self.dtype, self.constants, self.new_call = plan, network.dtype, network.constants, new_call
        self.free_calls: list[Callable[..., int]] = []

    def predict(self, X: np.ndarray, out: np.ndarray, more: tuple[int, ...] = ()) -> bool:
        """Write what the kernel finds for X (m, n_x) to `out`; return whether all of both is finite, or leave off.

        Both are C-contiguous, of the network's dtype; `more` is what that kernel takes beside.
        """
        try:
            call = self.free_calls.pop()
        except IndexError:
            call = self._with_memory()
        # A prediction of one row takes a microsecond, of which to unpack nothing would be a twelfth.
        finite = (call(X.shape[0], X, out, *more) if more else call(X.shape[0], X, out)) == 1
        self.free_calls.append(call)
        return finite

    def make_calls(self, n: int) -> None:
        """Have n calls free: helpers that made their own would wait for a lock, which eventlet may have replaced."""
        for _ in range(n - len(self.free_calls)):
            self.free_calls.append(self._with_memory())

    def _with_memory(self) -> Callable[..., int]:
        S, at = aligned_zeros(self.plan.n_scratch, self.dtype), int(self.plan.layers["encoding"][0])
        S[at : at + len(self.constants)] = self.constants
        return self.new_call(S)


def linked_to_predict(network: Network, parameters: np.ndarray, most_rows: int, *, few_rows: bool) -> LinkedPlan:
    """Return a plan for A_L (m, n_L) of up to `most_rows` rows at a time."""
    plan = network.plan(most_rows, backward=False, few_rows=few_rows)
    link_for_prediction(network, plan, few_rows=few_rows)
    arguments = network.dtype, plan.layers, np.arange(LANES), parameters
    return LinkedPlan(plan, network, lambda S: call_of_predict(*arguments, S))


def turned_layers(network: Network) -> list[bool]:
    """Return in which layers a single row is predicted faster from W^T: where that has rows of whole registers."""
    return [n % GRAIN == 0 for n in network.units[1:]]


def turned_parameters(network: Network, parameters: np.ndarray) -> np.ndarray:
    """Return a copy of parameters that has W^T in the place of W in such layers."""
    found = parameters.copy()
    offsets, _ = parameter_offsets(network.units, network.use_bias)
    for (w, _), n_prev, n, is_turned in zip(
        offsets, network.units[:-1], network.units[1:], turned_layers(network), strict=True
    ):
        if is_turned:
            W = parameters[w : w + n * n_prev].reshape(n, n_prev)
            found[w : w + n * n_prev] = W.T.ravel()
    return found


def linked_for_mean(
    network: Network, parameters: np.ndarray, networks: int, columns: tuple[int, np.ndarray, np.ndarray, np.ndarray]
) -> LinkedPlan:  # fmt: skip
    """Return a plan for the mean A_L, in float64, of networks that differ in their parameters, of up to FEW raw rows.

    `parameters` are those of one after the other, as `turned_parameters` has them; `columns`: how many X has, and of
    each that is encoded which one it is, its median and unit.
    """
    plan = network.plan(FEW, backward=False, few_rows=True)
    link_for_prediction(network, plan, few_rows=True, turned=turned_layers(network))
    arguments = network.dtype, columns, plan.layers, parameters, networks
    return LinkedPlan(plan, network, lambda S: call_of_predict_mean(*arguments, S))


def linked_for_inputs(network: Network, parameters: np.ndarray) -> LinkedPlan:
    """Return a plan for dA_L / dX (m, n, n_x) of n outputs from one on, which `predict` then takes as well."""
    plan = network.plan(LANES, backward=True, for_inputs=True)
    link_for_inputs(network, plan)
    arguments = network.dtype, plan.layers, np.arange(LANES), parameters
    return LinkedPlan(plan, network, lambda S: call_of_input_gradients(*arguments, S))


class Predictor:
    """Computes A_L with the parameters of one built network; safe to call from several threads at once.

    `X_dtype` is that of an X which it may be given as it is: None if every X has to be prepared.
    """

    def __init__(self, network: Network, parameters: np.ndarray, X_dtype: np.dtype | None = None) -> None:
        self.X_dtype = X_dtype
        self.network, self.parameters, self.dtype = network, parameters, network.dtype
        self.n_features, self.n_outputs = network.n_features, network.units[-1]
        self.few = linked_to_predict(network, parameters, FEW, few_rows=True)
        self.many = linked_to_predict(network, parameters, LANES, few_rows=False)
        self.for_inputs: dict[bool, LinkedPlan] = {}
        """By whether it is the gradients of Z_L; made when they are first asked for."""

    def __call__(self, X: np.ndarray, out: np.ndarray) -> bool:
        """Write A_L (m, n_L) for X (m, n_x) to `out`; return whether all of both is finite, and leave off where not.

        Both are C-contiguous, of the network's dtype, and may overlap: of more rows than the kernel reads before it
        writes the first, `out` is then written at the end, if all is finite.
        """
        m = X.shape[0]
        if m <= FEW:
            return self.few.predict(X, out)
        if m <= LANES:
            return self.many.predict(X, out)
        overlaps = np.may_share_memory(out, X) or np.may_share_memory(out, self.parameters)
        found = np.empty_like(out) if overlaps else out
        finite = in_slices(self.many, X, found, self.network.operations / 3)
        if overlaps and finite:
            out[...] = found
        return finite

    def input_gradients(self, X: np.ndarray, first_output: int, n_outputs: int, *, logits: bool) -> np.ndarray:
        """Return dA_L / dX, or dZ_L / dX, (m, n_outputs, n_x), of the network as it is outside training.

        X (m, n_x) is finite, as the kernels take it. A row's result depends on no other row, to the bit.
        """
        if logits not in self.for_inputs:
            network = self.network.without_dropout
            last = codes.LINEAR if logits else network.activations[-1]
            network = network.replaced(activations=(*network.activations[:-1], last))
            self.for_inputs[logits] = linked_for_inputs(network, self.parameters)
        linked, operations = self.for_inputs[logits], self.network.operations / 3
        out = np.empty((len(X), n_outputs, self.n_features), self.dtype)
        at_once = max(1, int(MOST_OPERATIONS / (LANES * operations)))  # so that a call of the kernel is not long
        for first in range(0, n_outputs, at_once):
            n = min(at_once, n_outputs - first)
            some = out if n == n_outputs else np.empty((len(X), n, self.n_features), self.dtype)
            in_slices(linked, X, some, operations * (1 + n), (first_output + first, n))
            if some is not out:
                out[:, first : first + n] = some
        return out


def in_slices(
    linked: LinkedPlan, X: np.ndarray, out: np.ndarray, operations: float, more: tuple[int, ...] = ()
) -> bool:  # fmt: skip
    """Predict, by as many threads as it is worth, at so many operations a row; return whether all of X is finite."""
    if len(X) <= LANES:
        return linked.predict(X, out, more)
    wanted = max(1, min(get_num_threads(), int(operations * X.shape[0] / OPERATIONS_PER_THREAD)))
    # As many rows as a call should take, before the speed is known.
    first_rows = LANES * (1 + int(CALL_SECONDS * FIRST_GUESS / (LANES * 3 * operations)))
    with reserved_cores(wanted) as threads:
        linked.make_calls(threads)
        return Slices(linked, X, out, more, threads, first_rows).run()


class Slices:
    """The rows of one large prediction, handed out to threads a slice at a time, the first ones of `first_rows`."""

    def __init__(
        self, linked: LinkedPlan, X: np.ndarray, out: np.ndarray, more: tuple[int, ...], threads: int, first_rows: int
    ) -> None:
        self.linked, self.X, self.out, self.more = linked, X, out, more
        self.threads, self.first_rows = threads, first_rows
        self.lock = allocate_lock()  # of the threads that `Helpers` starts, whatever threading has become since
        self.next_row = 0
        self.finite, self.stopped = True, False

    def run(self) -> bool:
        """Work through all rows; return whether all of X and of A_L is finite."""
        helpers = Helpers(self.threads, lambda _: self.work(), self.stop)
        try:
            if not helpers.start():  # one thread gives the same result
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
        rows = self.first_rows
        while True:
            with self.lock:
                start = self.next_row
                left = len(self.X) - start
                most = left if self.threads == 1 else LANES * max(1, left // (2 * self.threads * LANES))
                self.next_row = stop = start + min(rows, left, most)
            if start == stop or self.stopped:
                return
            began = time.perf_counter()
            if not self.linked.predict(self.X[start:stop], self.out[start:stop], self.more):
                self.finite = False
                self.stop()
            seconds = max(time.perf_counter() - began, 1e-9)
            rows = LANES * max(1, int((stop - start) / LANES * min(CALL_SECONDS / seconds, 10)))
