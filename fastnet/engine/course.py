"""What a run is asked to do with its examples, and what its optimizer goes on from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnet.engine.memory import aligned_zeros
from fastnet.engine.ranks import Ranks
from fastnet.optimizers import Optimizer


class OptimizerState(NamedTuple):
    """What an optimizer remembers: `moments`, vectors like the parameters, in one; and powers of beta1 and beta2."""

    moments: np.ndarray
    powers: np.ndarray

    @classmethod
    def fresh(cls, optimizer: Optimizer, n_parameters: int, dtype: np.dtype) -> OptimizerState:
        """Return the state before the first step."""
        return cls(aligned_zeros(optimizer.n_moments * n_parameters, dtype), np.ones(2))

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


ONCE = Course()
