"""The compiled kernels, each compiled or loaded from the cache on first use: the only door to numba."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastnet.checks import float_dtype
from fastnet.engine.threads import get_num_threads
from fastnet.kernels import codes

_loaded: set[tuple[str, int, np.dtype]] = set()
"""What kind of part, its code, and the dtype, of all that training has used."""


class Training(NamedTuple):
    """What decides which parts a run of `kernels.epochs.train` consists of.

    The codes of the activations, one a layer, and whether each keeps its slopes; whether there is dropout; the codes of
    the loss and of what is done with a batch; the dtype; whether steps go with the gradients, the gradient is
    clipped, examples have weights, there are penalties, and among them L1's, outputs are kept, a layer has few inputs,
    and the input is kept by rows or swept.
    """

    activations: tuple[int, ...]
    keeps_slope: tuple[bool, ...]
    dropout: bool
    loss: int
    mode: int
    dtype: np.dtype
    steps: bool
    clipped: bool
    weighted: bool
    penalised: bool
    with_l1: bool
    with_outputs: bool
    few_inputs: bool
    by_rows: bool
    swept: bool

    @property
    def parts(self) -> set[tuple[str, int, np.dtype]]:
        """What is compiled, but for what all runs share: kinds of part, with code and dtype."""
        layers = list(zip(self.activations, self.keeps_slope, strict=True))
        parts = [("loss", self.loss)]
        if self.mode != codes.COST and not self.swept:
            parts.append(("update", self.mode))
        for code, keeps_slope in layers[:-1] if self.loss in codes.FROM_Z else layers:
            if keeps_slope or code != codes.LINEAR:
                parts.append(("activation keeping slope" if keeps_slope else "activation", code))
        if self.clipped:
            parts.append(("update", codes.GRADIENT))
        wanted = ("dropout", "steps", "weighted", "penalised", "with_l1", "with_outputs", "few_inputs", "by_rows")
        parts.extend((name, 0) for name in wanted if getattr(self, name))
        parts.append(("sweep", self.mode) if self.swept else ("gradients", 0))
        return {(*part, self.dtype) for part in parts}

    @property
    def is_loaded(self) -> bool:
        """Whether nothing need be compiled, or loaded, any more."""
        return self.parts <= _loaded


def compiled_train(plan: np.ndarray, training: Training) -> tuple[Callable[..., None], tuple[int, int]]:
    """Return the entry point `kernels.epochs.train` and the addresses of its updates; link a plan for it."""
    from fastnet.kernels import link
    from fastnet.kernels import train as entry
    from fastnet.kernels.build import companion

    dtype = training.dtype
    passes = link.passes(steps=training.steps, swept=training.swept)
    others = passes.values() if get_num_threads() > 1 else ()
    with companion.compiled_beside(entry.make_train, others, dtype) as train:
        link.link_training(
            plan, training.activations, training.loss, dtype, weighted=training.weighted,
            penalised=training.penalised, with_l1=training.with_l1, with_outputs=training.with_outputs,
        )  # fmt: skip
        updates = link.update_addresses(training.mode, training.clipped, training.swept, dtype)
    link.link_passes(plan, training.mode, dtype, steps=training.steps)
    _loaded.update(training.parts)
    return train, updates


def compiled_forward(plan: np.ndarray, activations: tuple[int, ...], dtype: np.dtype) -> Callable[..., bool]:
    """Return the entry point `kernels.prediction.forward`; link a plan for it."""
    from fastnet.kernels import link, predict
    from fastnet.kernels.build import jit

    link.link_activations(plan, activations, dtype)
    return jit.entry_point(predict.make_forward, dtype)


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
    from fastnet.kernels.plan import BY_ROWS, DROPOUT, make_plan
    from fastnet.losses import LOSSES

    found = float_dtype(dtype)
    hidden = tuple(activation.code for name, activation in ACTIVATIONS.items() if name != "softmax")
    activations = (*hidden, codes.SOFTMAX)
    keeps_slope = [code in codes.SLOPE_FROM_Z for code in activations]
    units, use_bias = (1, *(2,) * len(activations)), (True,) * len(activations)
    plan = make_plan(units, use_bias, examples=1, backward=True, keeps_slope=keeps_slope).rows
    plan[0, BY_ROWS] = 1  # as a wide input would be: for the parts that it needs
    compiled_forward(plan, activations, found)
    wanted = {
        "steps": True,
        "weighted": True,
        "penalised": True,
        "with_l1": True,
        "with_outputs": True,
        "clipped": False,
        "few_inputs": True,
        "by_rows": True,
        "swept": False,
    }
    for loss in LOSSES.values():
        for mode in codes.UPDATES:
            training = Training(hidden, tuple(keeps_slope[:-1]), False, loss.code, mode, found, **wanted)
            compiled_train(plan[: len(hidden) + 1], training)
    with_dropout = make_plan(units[:-1], use_bias[:-1], examples=1, backward=True, keeps_slope=(True,) * len(hidden))
    with_dropout.rows[1:, DROPOUT] = 1
    training = Training(hidden, (True,) * len(hidden), True, codes.MEAN_SQUARED_ERROR, mode, found, **wanted)
    compiled_train(with_dropout.rows, training)
    swept = make_plan((1, 1), (True,), examples=1, backward=True, swept=True)
    wanted |= {"steps": False, "by_rows": False, "swept": True}
    for mode in codes.UPDATES:
        if mode >= codes.SGD:
            training = Training((codes.LINEAR,), (False,), False, loss.code, mode, found, **wanted)
            compiled_train(swept.rows, training)
