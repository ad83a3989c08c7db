"""What a run is asked to do with its examples, and what its optimizer goes on from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnet.engine.memory import aligned_zeros
from fastnet.engine.network import Network
from fastnet.engine.ranks import Ranks
from fastnet.optimizers import Optimizer


class OptimizerState(NamedTuple):
    """What an optimizer remembers: `moments`, vectors like the parameters, in one; and powers of beta1 and beta2.

    Where the inputs have factors, W_1 = U diag(s): after the moments U and then s, and after those their moments.
    """

    moments: np.ndarray
    powers: np.ndarray

    @classmethod
    def fresh(cls, optimizer: Optimizer, network: Network) -> OptimizerState:
        """Return the state before the first step."""
        n, n_factored = network.n_parameters, network.n_factored
        return cls(aligned_zeros(optimizer.n_moments * (n + n_factored) + n_factored, network.dtype), np.ones(2))

    def divided(self, n_parameters: int, n_factored: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the moments (n_moments, n_parameters); and U with s, and their moments, (1 + n_moments, n_factored).

        Without factors, the second has no rows.
        """
        n_moments = (len(self.moments) - n_factored) // (n_parameters + n_factored)
        moments, factored = np.split(self.moments, [n_moments * n_parameters])
        return moments.reshape(n_moments, n_parameters), factored.reshape(-1, n_factored or 1)

    def factor(self, network: Network, parameters: np.ndarray) -> None:
        """Let U be W_1 (n, n_x), and s 1, unless U diag(s) is W_1: something else than training has changed that."""
        if not network.n_factored:
            return
        _, factored = self.divided(network.n_parameters, network.n_factored)
        n_x, n = network.units[:2]
        W, U = (vector[: n * n_x].reshape(n, n_x) for vector in (parameters, factored[0]))
        s = factored[0, n * n_x :]
        if not np.array_equal(U * s, W):
            factored[:], U[:], s[:] = 0, W, 1

    def __reduce__(self) -> tuple[object, ...]:
        """Be copied, and unpickled, into memory that kernels may write to: joblib maps a file's arrays read-only."""
        return _in_own_memory, (self.moments, self.powers)


def _in_own_memory(moments: np.ndarray, powers: np.ndarray) -> OptimizerState:
    own = aligned_zeros(moments.size, moments.dtype)
    own[:] = moments
    return OptimizerState(own, np.array(powers))


class Course(NamedTuple):
    """How a run goes through its examples."""

    epochs: int = 1
    batch_size: int | None = None  # None: all examples in one batch
    shuffle: bool = False  # draw the order of each epoch; or keep that of X
    key: int = 0  # what is random in epoch e is drawn from (key, first_epoch + e)
    first_epoch: int = 0  # how many epochs there were before
    ranks: Ranks | None = None  # whose examples all of these are a shard of
    batches: int = 1  # updates of an epoch, of all ranks, where each has a learning rate of its own


ONCE = Course()


def updates_in_epoch(n_examples: int, batch_size: int | None, ranks: Ranks | None) -> int:
    """Return how many updates an epoch has: with ranks, each of which asks, as many as the longest shard."""
    n = -(-n_examples // batch_size) if batch_size else 1
    return n if ranks is None else int(ranks.of_each(n).max())
