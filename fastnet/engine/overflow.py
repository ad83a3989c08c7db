"""Where numbers become infinite or NaN outside of training: in which row first, and in which layer."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np

from fastnet import checks
from fastnet.engine.divergence import layer_of
from fastnet.engine.examples import Data
from fastnet.engine.network import Network
from fastnet.engine.predict import Predictor
from fastnet.engine.run import Run
from fastnet.kernels import codes


def remedy_in(dtype: np.dtype) -> str:
    """Return what to do about numbers beyond the range of a dtype."""
    wider = "use dtype='float64', " if dtype == np.float32 else ""
    return (
        f"Bring the features of X, and targets that are not 0 or 1, to one scale, {wider}or train anew with a lower "
        "learning rate."
    )


def outputs_not_finite(
    network: Network, parameters: np.ndarray, X: np.ndarray, first_row: int = 0
) -> FloatingPointError:
    """Return the error that names the first row of X (m, n_x), finite, whose outputs are not, and the first layer.

    Row 0 of X is called X[first_row]. ValueError if the parameters themselves are not finite.
    """
    where = place_of(network, parameters, X, first_row) or "X or the parameters have changed meanwhile"
    return FloatingPointError(f"The outputs are not finite in {network.dtype}: {where}. {remedy_in(network.dtype)}")


def input_gradients_not_finite(
    network: Network, parameters: np.ndarray, X: np.ndarray, gradients: np.ndarray
) -> FloatingPointError:
    """Return the error that names the first row of X (m, n_x), finite, whose gradients (m, n, n_x) are not.

    ValueError if the parameters themselves are not finite.
    """
    row = int(np.argmin(np.isfinite(gradients).all(axis=(1, 2))))
    where = place_of(network, parameters, X[row : row + 1], row) or f"for X[{row}], though the outputs are"
    return FloatingPointError(f"The gradients are not finite in {network.dtype}: {where}. {remedy_in(network.dtype)}")


def place_of(network: Network, parameters: np.ndarray, X: np.ndarray, first_row: int = 0) -> str | None:
    """Return in words where an output for X first is not finite, or None; ValueError if a parameter is not."""
    checks.parameters(parameters)
    predictor, out = Predictor(network, parameters), np.empty((len(X), network.units[-1]), network.dtype)
    row = bisect_left(range(len(X)), True, key=lambda i: not predictor(X[: i + 1], out[: i + 1]))
    if row == len(X):
        return None
    for layer, n in enumerate(network.units[1:], start=1):
        if not Predictor(network.first_layers(layer), parameters)(X[row : row + 1], np.empty((1, n), X.dtype)):
            return f"for X[{first_row + row}], layer {layer} is the first with a non-finite value in its output"
    return None


def finite_cost(run: Run) -> float:
    """Return J of a run for codes.COST or, with codes.GRADIENT, set its gradient; FloatingPointError if not finite.

    The error says where it comes from. A gradient may be finite where J is not.
    """
    cost = run.cost()
    if np.isfinite(run.gradient).all() if run.mode == codes.GRADIENT else math.isfinite(cost):
        return cost
    if run.parts is not None or run.window is not None:
        raise FloatingPointError(
            f"The cost is not finite in {run.network.dtype}. X was read some rows at a time: evaluate(X, y) of some "
            "alone, copied to memory, says where."
        )
    where, remedy = place_of(run.network, run.parameters, run.examples.X), remedy_in(run.network.dtype)
    if where is None and math.isfinite(cost):
        layer = layer_of(run, int(np.argmin(np.isfinite(run.gradient))))
        where = f"the cost is, and the gradient of layer {layer} is not"
    elif where is None and not math.isfinite(run.penalty):
        where, remedy = "the outputs of all layers are, and the penalty on the weights is not", "Lower l2 or l1."
    elif where is None:
        row = first_loss_not_finite(run)
        where = f"the outputs of all layers are, and the loss of X[{row}] with y[{row}] is not"
        if row == run.m:
            where = "losses are, and not their sum with sample_weight and penalties"
            remedy = "Scale sample_weight down, or lower l2 and l1."
    what = "gradient" if run.mode == codes.GRADIENT else "cost"
    raise FloatingPointError(f"The {what} is not finite in {run.network.dtype}: {where}. {remedy}")


def first_loss_not_finite(run: Run) -> int:
    """Return the first row whose loss, of weight 1, makes the cost of all rows up to it infinite or NaN; m: none."""
    X, y, zeros = run.examples.X, run.examples.targets, (0.0,) * len(run.network.l2)
    network = run.network.replaced(l2=zeros, l1=zeros)

    def is_bad(row: int) -> bool:
        data = Data(X[: row + 1], y[: row + 1], None)
        with Run(network, run.parameters, data, mode=codes.COST, threads=1) as part:
            return not math.isfinite(part.cost())

    return bisect_left(range(run.m), True, key=is_bad)
