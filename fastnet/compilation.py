"""The compiled kernels, each compiled or loaded from the cache on first use: the only door to numba."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastnet.kernels import codes
from fastnet.validation import float_dtype

_loaded: set[tuple[str, int, np.dtype]] = set()
"""What kind of part, its code, and the dtype, of all that training has used."""


class Training(NamedTuple):
    """What decides which parts a run of `kernels.epochs.train` consists of.

    The codes of the activations, one a layer, of the loss and of what is done with a batch; whether the gradient is
    clipped, and whether examples have weights; the dtype.
    """

    activations: tuple[int, ...]
    loss: int
    mode: int
    clipped: bool
    weighted: bool
    dtype: np.dtype

    @property
    def parts(self) -> set[tuple[str, int, np.dtype]]:
        """What is compiled, but for what all runs share: kinds of part, with code and dtype."""
        by_themselves = self.activations[:-1] if self.loss in codes.FROM_Z else self.activations
        parts = [("activation", code) for code in by_themselves if code != codes.LINEAR]
        parts += [("loss", self.loss), ("update", self.mode)]
        if self.clipped:
            parts.append(("update", codes.GRADIENT))
        if self.weighted:
            parts.append(("weighting", 0))
        return {(*part, self.dtype) for part in parts}

    @property
    def is_loaded(self) -> bool:
        """Whether nothing need be compiled, or loaded, any more."""
        return self.parts <= _loaded


def compiled_train(plan: np.ndarray, training: Training) -> tuple[Callable[..., None], tuple[int, int]]:
    """Return the entry point `kernels.epochs.train` and the addresses of its updates; link a plan for it."""
    from fastnet.kernels import epochs, jit, linking

    activations, loss, mode, clipped, weighted, dtype = training
    train = jit.entry_point(epochs.make_train, dtype)
    linking.link_training(plan, activations, loss, weighted, dtype)
    updates = linking.update_addresses(mode, clipped, dtype)
    _loaded.update(training.parts)
    return train, updates


def compiled_forward(plan: np.ndarray, activations: tuple[int, ...], dtype: np.dtype) -> Callable[..., bool]:
    """Return the entry point `kernels.prediction.forward`; link a plan for it."""
    from fastnet.kernels import jit, linking, prediction

    linking.link_activations(plan, activations, dtype)
    return jit.entry_point(prediction.make_forward, dtype)


def warmup(dtype: Any = "float32") -> None:
    """Compile now all that training and prediction in that dtype can need, and keep it on disk; or load it from there.

    From the command line: `python -m fastnet warmup`.

    Parameters
    ----------
    dtype : str, default "float32"
        Or "float64".

    Raises
    ------
    ValueError
        If it is neither.
    """
    from fastnet.activations import ACTIVATIONS
    from fastnet.kernels.plan import make_plan
    from fastnet.losses import LOSSES

    found = float_dtype(dtype)
    hidden = tuple(activation.code for name, activation in ACTIVATIONS.items() if name != "softmax")
    activations = (*hidden, codes.SOFTMAX)
    keeps_slope = [code in codes.SLOPE_FROM_Z for code in activations]
    units, use_bias = (1,) * (len(activations) + 1), (True,) * len(activations)
    plan = make_plan(units, use_bias, examples=1, backward=True, keeps_slope=keeps_slope).rows
    compiled_forward(plan, activations, found)
    for loss in LOSSES.values():
        for mode in codes.UPDATES:
            compiled_train(plan[: len(hidden) + 1], Training(hidden, loss.code, mode, False, True, found))
