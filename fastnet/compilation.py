"""The compiled entry points, each compiled or loaded from the cache on first use: the only door to numba."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnet.validation import float_dtype

_loaded: set[np.dtype] = set()


def is_loaded(dtype: np.dtype) -> bool:
    """Return whether training in that dtype can start without compiling or loading anything."""
    return dtype in _loaded


def compiled_train(dtype: np.dtype) -> Callable[..., None]:
    """Return the entry point `kernels.epochs.train`."""
    from fastnet.kernels import epochs, jit

    train = jit.entry_point(epochs.make_train, dtype)
    _loaded.add(dtype)
    return train


def compiled_forward(dtype: np.dtype) -> Callable[..., bool]:
    """Return the entry point `kernels.prediction.forward`."""
    from fastnet.kernels import jit, prediction

    return jit.entry_point(prediction.make_forward, dtype)


def warmup(dtype: Any = "float32") -> None:
    """Compile now what training and prediction in that dtype need, and keep it on disk; or load it from there.

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
    found = float_dtype(dtype)
    compiled_train(found)
    compiled_forward(found)
