"""What may be wrong: with the scales of the data, said before training; with the units of a network, when asked."""

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastnet.activations import AnyActivation
from fastnet.engine.run import Run
from fastnet.errors import may_get_lost
from fastnet.report import html_table

LARGEST_RATIO, LARGEST, SMALLEST = 10.0, 30.0, 1 / 30
"""Of a mean to the spread; of a spread; and of the largest magnitude, beyond which training is slow, or fails."""
ROWS_LOOKED_AT, VALUES_LOOKED_AT = 10_000, 10**6

FEW_EPOCHS, LEAST_FALL = 10, 1e-3
"""After fewer epochs, nothing is said of a cost; and it has fallen if it is lower by more than this part."""

MOST_LOST = 0.9
"""If more of the units of a layer are dead or saturated, that is why a network does not learn."""

LEAST_SPREAD = 1e-6
"""Of the activations of a layer that passes nothing on, as one whose weights begin with zeros."""

SATURATED_AT = 0.01
"""A sigmoid or tanh is saturated where it is that near to a limit, as a part of its range."""

SATURATED_FOR = 0.95
"""A unit is saturated if it is so for this share of the examples."""

RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


class Remedy(NamedTuple):
    """What data are called that may be on a bad scale, their columns, and the line that mends it."""

    data: str
    column: str
    line: str


FOR_X = Remedy("The features of X", "feature", "Put Standardize() first: Model([Standardize(), Dense(...), ...])")
FOR_Y = Remedy("The targets", "output", "Pass standardize_y=True to Model")
FOR_OTHER_Y = Remedy("The targets", "output", "Divide y by its spread, y / y.std(), or let the last layer be linear")


def warn_of_scales(values: Any, remedy: Remedy, stacklevel: int = 4) -> None:
    """Warn if columns of values (m, n) are far from mean 0 and spread 1, on which networks learn; say which.

    `stacklevel` is that of the line that calls `fit`, above the caller of this function.

    Of many rows, some 10,000 at even distances are looked at, of wide ones fewer. A constant is of no scale.
    """
    most = min(ROWS_LOOKED_AT, max(100, VALUES_LOOKED_AT // values.shape[1]))
    rows = values[:: -(-len(values) // most)].astype(np.float64)
    with np.errstate(all="ignore"):
        mean, spread, largest = rows.mean(axis=0), rows.std(axis=0), np.abs(rows).max(axis=0)
        varies = spread > np.finfo(np.float32).eps * np.abs(mean)
        ratio = np.where(np.abs(mean) > LARGEST_RATIO / 3, np.abs(mean) / spread, 0)
        badness = np.where(varies, np.max([ratio / LARGEST_RATIO, spread / LARGEST, SMALLEST / largest], axis=0), 0)
    bad, worst = int((badness > 1).sum()), int(np.argmax(badness))
    if not bad:
        return
    others = f", and {bad - 1} more are as bad" if bad > 1 else ""
    digits = ""
    if ratio[worst] > 1e4 and values.dtype == np.float32:
        digits = " In float32 few of its digits are left: pass float64 then, which Standardize reads."
    with may_get_lost():
        warnings.warn(
            f"{remedy.data} are far from the scale that networks learn on, mean 0 and spread 1: {remedy.column} "
            f"{worst} has mean {mean[worst]:.3g} and spread {spread[worst]:.3g}{others}. {remedy.line}.{digits}",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


@dataclass(frozen=True)
class LayerDiagnosis:
    """What a layer does with some examples.

    Attributes
    ----------
    activation : str or LeakyReLU
    dead : float or None
        The share of its units that are 0 for every example, of a ReLU; None for other activations.
    saturated : float or None
        The share of its units that are within 1 % of a limit for 95 % of the examples, of a sigmoid or tanh; None for
        others.
    mean, spread : float
        The mean and the standard deviation of its activations.
    gradient_mean, gradient_spread : float or None
        The same of dW, the gradient of the cost; None without targets.
    """

    activation: AnyActivation
    dead: float | None
    saturated: float | None
    mean: float
    spread: float
    gradient_mean: float | None
    gradient_spread: float | None


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `Model.diagnose` found; printing it shows a line per layer, and a notebook a table.

    Attributes
    ----------
    layers : tuple of LayerDiagnosis
    """

    layers: tuple[LayerDiagnosis, ...]

    def __repr__(self) -> str:
        width = max(10, *(len(str(layer.activation)) for layer in self.layers))
        lines = [f"layer  {'activation':{width}}  dead units  saturated   A: mean    spread  dW: mean    spread"]
        for number, activation, dead, saturated, *moments in self._cells():
            lines.append(
                f"{number:>5}  {activation:{width}}  {dead:>10}  {saturated:>9} "
                + " ".join(f"{value:>9}" for value in moments)
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = ["layer", "activation", "dead units", "saturated", "A: mean", "A: spread", "dW: mean", "dW: spread"]
        return html_table([head, *self._cells()])

    def _cells(self) -> list[list[str]]:
        """Return what is shown of each layer: its number and activation, the shares, the moments."""
        found = []
        for number, layer in enumerate(self.layers, start=1):
            shares = ["-" if share is None else f"{share:.0%}" for share in (layer.dead, layer.saturated)]
            moments = (layer.mean, layer.spread, layer.gradient_mean, layer.gradient_spread)
            values = ["-" if value is None else f"{value:.2e}" for value in moments]
            found.append([str(number), str(layer.activation), *shares, *values])
        return found


def has_not_fallen(cost: list[float]) -> bool:
    """Return whether the cost of a first fit of some epochs is, at the end, what it was at the beginning, or more."""
    return len(cost) >= FEW_EPOCHS and cost[0] - cost[-1] < LEAST_FALL * abs(cost[0])


def warn_of_cost(cost: list[float], diagnosis: Diagnosis) -> None:
    """Warn that it has not fallen, with the likeliest cause."""
    with may_get_lost():
        warnings.warn(
            f"The cost has not fallen: {cost[0]:.4g} in the first epoch, {cost[-1]:.4g} in the last. "
            f"{likely_cause(cost, diagnosis)}",
            UserWarning,
            stacklevel=4,  # the line that calls fit
        )


def likely_cause(cost: list[float], diagnosis: Diagnosis) -> str:
    """Return in a sentence why a cost has not fallen, and what may help."""
    for number, layer in enumerate(diagnosis.layers[:-1], start=1):
        if layer.dead is not None and layer.dead > MOST_LOST:
            return (
                f"{layer.dead:.0%} of the units of layer {number} are 0 for every example, and no longer learn: lower "
                "the learning rate, or use 'leaky_relu'."
            )
        if layer.saturated is not None and layer.saturated > MOST_LOST:
            return (
                f"{layer.saturated:.0%} of the units of layer {number} are at a limit of {layer.activation!r}, and "
                "hardly learn: lower the learning rate, or bring X to one scale, by Standardize()."
            )
        if layer.spread < LEAST_SPREAD:
            return f"Layer {number} gives the same for every example: leave out the initializer of a hidden layer."
    if cost[-1] > 1.01 * cost[0]:
        return "The learning rate is likely to be too high: lower it."
    return "The learning rate may be too low, or the scale of X or y far from 1, or y does not depend on X."


@np.errstate(all="ignore")
def diagnose(run: Run, activations: tuple[AnyActivation, ...], dW: list[np.ndarray] | None) -> Diagnosis:
    """Return what the layers do with the examples of a run by one thread, that has not begun."""
    sums = [np.zeros((4, n)) for n in run.network.units[1:]]  # of A and A^2; how often not zero, and saturated
    while not run.done:
        run.work(1)
        for layer, (name, of_layer) in enumerate(zip(activations, sums, strict=True), start=1):
            A = run.activations_of_last_chunk(layer).astype(np.float64)
            of_layer[:3] += A.sum(axis=0), (A * A).sum(axis=0), np.count_nonzero(A, axis=0)
            if name in RANGES:
                low, high = RANGES[name]
                distance = np.minimum(A - low, high - A)
                of_layer[3] += np.count_nonzero(distance < SATURATED_AT * (high - low), axis=0)
    found = []
    for layer, (name, of_layer) in enumerate(zip(activations, sums, strict=True)):
        total, squares, not_zero, saturated = of_layer
        mean = float(total.mean() / run.m)
        gradient = None if dW is None else dW[layer]
        found.append(
            LayerDiagnosis(
                activation=name,
                dead=float(np.mean(not_zero == 0)) if name == "relu" else None,
                saturated=float(np.mean(saturated >= SATURATED_FOR * run.m)) if name in RANGES else None,
                mean=mean,
                spread=float(np.sqrt(max(squares.mean() / run.m - mean * mean, 0.0))),
                gradient_mean=None if gradient is None else float(gradient.mean(dtype=np.float64)),
                gradient_spread=None if gradient is None else float(gradient.std(dtype=np.float64)),
            )
        )
    return Diagnosis(tuple(found))
