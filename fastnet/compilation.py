"""The compiled kernels, each compiled or loaded from the cache on first use: the only door to numba."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnet.kernels import codes
from fastnet.validation import float_dtype

_loaded: set[tuple[str, int, np.dtype]] = set()
"""What kind of part, its code, and the dtype, of all that training has used."""


def compiled_train(
    plan: np.ndarray, activations: tuple[int, ...], loss: int, mode: int, clipped: bool, dtype: np.dtype
) -> tuple[Callable[..., None], tuple[int, int]]:
    """Return the entry point `kernels.epochs.train` and the addresses of its updates; link a plan for it."""
    from fastnet.kernels import epochs, jit, linking

    train = jit.entry_point(epochs.make_train, dtype)
    linking.link_training(plan, activations, loss, dtype)
    updates = linking.update_addresses(mode, clipped, dtype)
    _loaded.update(parts_of(activations, loss, mode, clipped, dtype))
    return train, updates


def is_loaded(activations: tuple[int, ...], loss: int, mode: int, clipped: bool, dtype: np.dtype) -> bool:
    """Return whether such a network can be trained without compiling or loading anything."""
    return parts_of(activations, loss, mode, clipped, dtype) <= _loaded


def parts_of(
    activations: tuple[int, ...], loss: int, mode: int, clipped: bool, dtype: np.dtype
) -> set[tuple[str, int, np.dtype]]:
    """Return what training such a network compiles, but for what all share."""
    by_themselves = activations[:-1] if loss in codes.FROM_Z else activations
    parts = {("activation", code, dtype) for code in by_themselves if code != codes.LINEAR}
    updates = (mode, codes.GRADIENT) if clipped else (mode,)
    return parts | {("loss", loss, dtype), *(("update", update, dtype) for update in updates)}


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
    activations = tuple(activation.code for activation in ACTIVATIONS.values())
    units = (1,) * (len(activations) + 1)
    plan = make_plan(units, (True,) * len(activations), examples=1, backward=True).rows
    compiled_forward(plan, activations, found)
    hidden = tuple(code for code in activations if code != codes.SOFTMAX)
    for loss in LOSSES.values():
        for mode in codes.UPDATES:
            compiled_train(plan[: len(hidden) + 1], hidden, loss.code, mode, False, found)
