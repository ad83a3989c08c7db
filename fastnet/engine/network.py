"""A built network as the kernels see it, and how many threads a run of it is worth."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastnet.engine.recipe import Training
from fastnet.engine.threads import get_num_threads
from fastnet.kernels import codes
from fastnet.kernels.plan import (
    DROPOUT,
    MANY_PARAMETERS,
    SETTING,
    Plan,
    chunk_size,
    has_few_inputs,
    keeps_input_by_rows,
    make_plan,
)


class Network(NamedTuple):
    """The sizes of the layers (the input's first), codes, settings, dtype."""

    units: tuple[int, ...]
    activations: tuple[int, ...]
    activation_settings: tuple[float, ...]
    dropout: tuple[float, ...]
    use_bias: tuple[bool, ...]
    loss: int
    loss_setting: float
    l2: tuple[float, ...]
    l1: tuple[float, ...]
    dtype: np.dtype

    def plan(self, examples: int, backward: bool, threads: int = 1, swept: bool = False) -> Plan:
        """Lay the network out for batches of up to that many examples; `swept` is what its input is to be."""
        plan = make_plan(
            self.units, self.use_bias, examples=examples, backward=backward, threads=threads,
            keeps_slope=self.keeps_slope, swept=swept,
        )  # fmt: skip
        plan.rows[1:, SETTING] = np.array(self.activation_settings).view(np.int64)
        plan.rows[1:, DROPOUT] = np.array(self.dropout).view(np.int64)
        return plan

    @property
    def keeps_slope(self) -> tuple[bool, ...]:
        """Whether each layer keeps its slopes on the way forward, or finds them from A on the way back."""
        pairs = zip(self.activations, self.dropout, strict=True)
        return tuple(code in codes.SLOPE_FROM_Z or rate > 0 for code, rate in pairs)

    @property
    def without_dropout(self) -> "Network":
        """The network as it is outside training."""
        return self._replace(dropout=(0.0,) * len(self.dropout))

    def training(
        self, mode: int, *, batch_size: int, same_batch: bool, clipped: bool, weighted: bool, with_outputs: bool
    ) -> Training:
        """Return what decides which parts are compiled for a run, and how its input is kept.

        `same_batch` says whether all examples are one batch, which the kernel does not shuffle: it is loaded once.
        """
        at_once = mode >= codes.SGD and not clipped and batch_size <= chunk_size(self.units)
        by_rows = keeps_input_by_rows(self.units)
        swept = by_rows and len(self.units) == 2 and at_once and same_batch and not weighted
        return Training(
            self.activations, self.keeps_slope, any(self.dropout), self.loss, mode, self.dtype,
            steps=at_once and not swept and self.n_parameters >= MANY_PARAMETERS, clipped=clipped, weighted=weighted,
            penalised=any(self.l2) or any(self.l1), with_l1=any(self.l1), with_outputs=with_outputs,
            few_inputs=any(has_few_inputs(*pair) for pair in pairwise(self.units)), by_rows=by_rows and not swept,
            swept=swept,
        )  # fmt: skip

    @property
    def n_parameters(self) -> int:
        """The length of the parameter vector."""
        return self.plan(1, backward=False).n_parameters

    @property
    def operations(self) -> int:
        """Floating-point operations to propagate an example forward and back, roughly."""
        products = sum(6 * n * n_prev for n_prev, n in pairwise(self.units))
        return products + 100 * sum(self.units)


OPERATIONS_PER_THREAD = 2.5e6
"""Operations between two barriers, for each thread, that make a team worth its while: some 25 us of work, against
about 1 us for three barriers."""

OPERATIONS_PER_TEAM = 1e8
"""Operations of a whole run that make it worth starting threads: a millisecond, against 0.1 ms a thread."""


class Team(NamedTuple):
    """How threads divide the work: their number, and whether each takes chunks of its own."""

    threads: int
    by_chunks: bool = False


def team_for(network: Network, examples: int, batch_size: int, epochs: int, threads: int | None) -> Team:
    """Return the team for a run: `threads` if that is given, or else as many as the work is worth.

    In a long batch of a small network, each takes chunks of its own: then two barriers in a chunk would be many.
    """
    most = get_num_threads() if threads is None else threads
    chunk = chunk_size(network.units)
    chunks = -(-batch_size // chunk)
    by_chunks = chunks >= 4 * most and network.n_parameters <= 2**17
    if threads is None:
        operations = network.operations * (batch_size if by_chunks else min(batch_size, chunk))
        if network.operations * examples * epochs < OPERATIONS_PER_TEAM:
            operations = 0
        most = max(1, min(most, int(operations / OPERATIONS_PER_THREAD)))
    return Team(most, by_chunks and most > 1)
