"""The losses: their names, formulas, and which last activation each belongs to."""

from typing import NamedTuple

from fastnet.kernels import codes


class Loss(NamedTuple):
    """A loss as the kernels know it; `activation` is the only last activation it takes, or None for any."""

    code: int
    activation: str | None = None


LOSSES = {
    "binary_crossentropy": Loss(codes.BINARY_CROSSENTROPY, "sigmoid"),
    "categorical_crossentropy": Loss(codes.CATEGORICAL_CROSSENTROPY, "softmax"),
    "mean_squared_error": Loss(codes.MEAN_SQUARED_ERROR),
}
"""By name: -(1/m) sum (y log a + (1 - y) log(1 - a)); -(1/m) sum y log a; 1/(2m) sum (a - y)^2.

The cross-entropies are computed from the logit z, not from a, and so are exact however certain the output."""

DEFAULT_LOSSES = {
    "sigmoid": "binary_crossentropy",
    "softmax": "categorical_crossentropy",
    "linear": "mean_squared_error",
}
"""The loss that `loss=None` stands for, by the last activation."""


def loss_for(name: str | None, last_activation: str) -> str:
    """Return the name of the loss, chosen by the last activation if `name` is None.

    Raises
    ------
    ValueError
        If the name is unknown, the loss does not fit the activation, or there is nothing to choose by.
    """
    if name is None:
        if last_activation not in DEFAULT_LOSSES:
            raise ValueError(
                f"loss=None cannot choose a loss for a last activation of {last_activation!r}: it does so for "
                f"{', '.join(map(repr, DEFAULT_LOSSES))}. Pass loss='mean_squared_error', or change the activation."
            )
        return DEFAULT_LOSSES[last_activation]
    if not isinstance(name, str) or name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))} or None, not {name!r}.")
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
    return name
