"""The losses: their names, formulas, and which last activation each belongs to."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from fastnet import checks, words
from fastnet.activations import AnyActivation, activation_for
from fastnet.kernels import codes


class Loss(NamedTuple):
    """A loss as the kernels know it; `activation` is the only last activation it takes, or None for any.

    `output` is the code of what the kernels make of the last Z, if that is not the activation's own.
    """

    code: int
    activation: str | None = None
    output: int | None = None


LOSSES = {
    "binary_crossentropy": Loss(codes.BINARY_CROSSENTROPY, "sigmoid"),
    "categorical_crossentropy": Loss(codes.CATEGORICAL_CROSSENTROPY, "softmax"),
    "mean_squared_error": Loss(codes.MEAN_SQUARED_ERROR),
    "mean_absolute_error": Loss(codes.MEAN_ABSOLUTE_ERROR),
    "huber": Loss(codes.HUBER),
    "poisson": Loss(codes.POISSON, "linear", codes.EXPONENTIAL),
}
"""By name: -(1/m) sum (y log a + (1 - y) log(1 - a)); -(1/m) sum y log a; 1/(2m) sum (a - y)^2; 1/m sum |a - y|; 1/m
sum of (a - y)^2 / 2, but delta (|a - y| - delta / 2) where |a - y| exceeds delta; 1/m sum (a - y log a), a = e^z.

The cross-entropies, and Poisson's, are computed from z, not from a, and so are exact however certain the output."""

DEFAULT_LOSSES = {
    "sigmoid": "binary_crossentropy",
    "softmax": "categorical_crossentropy",
    "linear": "mean_squared_error",
}
"""The loss that `loss=None` stands for, by the last activation."""


@dataclass(frozen=True)
class Huber(checks.CheckedSettings):
    """The loss "huber" with a delta of one's own: squared error up to there, absolute error beyond.

    Source: Huber, Robust estimation of a location parameter, 1964.

    Parameters
    ----------
    delta : float, default 1.0
        Greater than zero, in the units of y.

    Raises
    ------
    ValueError, TypeError
        If delta is not a positive, finite number.
    """

    checked: ClassVar = {"delta": checks.positive_number}
    delta: float = 1.0


def name_of(loss: str | Huber) -> str:
    """Return the name of a loss."""
    return "huber" if isinstance(loss, Huber) else loss


def setting_of(loss: str | Huber) -> float:
    """Return the number that the kernel of a loss reads: Huber's delta."""
    return loss.delta if isinstance(loss, Huber) else 1.0


def output_code(loss: str | Huber, last_activation: AnyActivation) -> int:
    """Return the code of the activation that makes A of the last layer's Z."""
    output = LOSSES[name_of(loss)].output
    return activation_for(last_activation).code if output is None else output


def loss_for(loss: Any, last_activation: AnyActivation) -> str | Huber:
    """Return the loss, or that of the last activation if it is None; ValueError if it is unknown or they do not fit."""
    if loss is None:
        if last_activation not in DEFAULT_LOSSES:
            raise ValueError(
                f"loss=None cannot choose a loss for a last activation of {last_activation!r}: it does so for "
                f"{', '.join(map(repr, DEFAULT_LOSSES))}. Pass loss='mean_squared_error', or change the activation."
            )
        return DEFAULT_LOSSES[last_activation]
    if isinstance(loss, str):
        loss = words.canonical(loss, words.LOSSES)
        if loss == words.CROSSENTROPY:
            loss = "categorical_crossentropy" if last_activation == "softmax" else "binary_crossentropy"
    if not isinstance(loss, Huber) and (not isinstance(loss, str) or loss not in LOSSES):
        close = words.meant(loss, [*LOSSES, *words.LOSSES])
        raise ValueError(
            f"loss must be one of {', '.join(map(repr, LOSSES))}, a Huber(delta) or None, not {loss!r}.{close}"
        )
    name = name_of(loss)
    if last_activation == "softmax" and name != "categorical_crossentropy":
        raise ValueError(
            f"A last activation of 'softmax' needs loss 'categorical_crossentropy', not {name!r}. Change the loss, or "
            "that layer's activation."
        )
    needed = LOSSES[name].activation
    if needed is not None and needed != last_activation:
        raise ValueError(
            f"loss {name!r} needs a last activation of {needed!r}, but the last layer has {last_activation!r}. "
            f"Change that layer's activation, or use another loss, such as 'mean_squared_error'."
        )
    return loss  # type: ignore[no-any-return]
