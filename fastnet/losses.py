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
sum of (a - y)^2 / 2, but delta (|a - y| - delta / 2) where |a - y| exceeds delta; 1/m sum (a - y log a), a = e^z. All
are sums over the outputs of an example, and means over the examples.

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

    Examples
    --------
    >>> model = Model([Dense(1, initializer="zeros")], loss=Huber(delta=2.0)).build(n_features=2)
    >>> model.cost([[0.0, 0.0]], [1.0]), model.cost([[0.0, 0.0]], [10.0])
    (0.5, 18.0)
    """

    checked: ClassVar[checks.Checks] = {"delta": checks.positive_number}
    delta: float = 1.0


@dataclass(frozen=True)
class Quantile(checks.CheckedSettings):
    """The loss whose least is at a quantile of y given X: J = 1/m sum of max(q (y - a), (q - 1)(y - a)).

    The sum is over the outputs of an example too, as in the other losses. The derivative where a is y, at the kink, is
    taken as zero. Source: Koenker and Bassett, Regression quantiles, 1978.

    With several quantiles, the last layer has a linear unit for each, and y is one target, (m,) or (m, 1). A_1 = Z_1
    and A_k = A_{k-1} + log(1 + e^Z_k): they are in order whatever the parameters and X, and so never cross, and it is
    one function that cost, gradients and predictions are of. (To sort the units of a prediction would order them too,
    but make it another function than the one that is trained.) Source: Park, Maddix, Aubet, Kan, Gasthaus and Wang,
    Learning quantile functions without quantile crossing for distribution-free time series forecasting, 2022; with
    increments max(0, Z) there, which learn no more once they are zero. Bring y to a standard deviation near 1 first.
    Metrics of several quantiles are means over them.

    Parameters
    ----------
    q : float, or a sequence of increasing floats
        Between 0 and 1. A single one may have any last activation but softmax, and any number of units, each with a
        target of its own.

    Raises
    ------
    ValueError, TypeError
        If q is neither.

    Examples
    --------
    >>> model = Model([Dense(8, "tanh"), Dense(3)], loss=Quantile([0.1, 0.5, 0.9]), seed=0)
    >>> history = model.fit(X, X.sum(axis=1))
    >>> low, median, high = model.predict(X).T
    >>> bool(np.all(low <= median) and np.all(median <= high))
    True
    """

    checked: ClassVar[checks.Checks] = {"q": checks.quantiles}
    q: float | tuple[float, ...]


AnyLoss = str | Huber | Quantile
"""What `Model` takes."""

WITH_SETTINGS = {
    "quantile": Loss(codes.QUANTILE),
    "quantiles": Loss(codes.QUANTILE, "linear", codes.INCREASING),
}
"""The losses that no name alone can stand for: of a quantile, and of several."""


def name_of(loss: AnyLoss) -> str:
    """Return the name of a loss."""
    if isinstance(loss, Quantile):
        return "quantiles" if isinstance(loss.q, tuple) else "quantile"
    return "huber" if isinstance(loss, Huber) else loss


def loss_of(loss: AnyLoss) -> Loss:
    """Return a loss as the kernels know it."""
    return (LOSSES | WITH_SETTINGS)[name_of(loss)]


def settings_of(loss: AnyLoss, n_outputs: int) -> tuple[float, ...]:
    """Return the number that the kernel of a loss reads, for each output: Huber's delta, or q of a quantile."""
    setting = loss.q if isinstance(loss, Quantile) else loss.delta if isinstance(loss, Huber) else 1.0
    return setting if isinstance(setting, tuple) else (setting,) * n_outputs


def output_code(loss: AnyLoss, last_activation: AnyActivation) -> int:
    """Return the code of the activation that makes A of the last layer's Z."""
    output = loss_of(loss).output
    return activation_for(last_activation).code if output is None else output


def loss_for(loss: Any, last_activation: AnyActivation, n_outputs: int) -> AnyLoss:
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
    if isinstance(loss, str) and loss in WITH_SETTINGS:
        raise ValueError(
            f"loss={loss!r} does not say which. Pass loss=Quantile(0.9), or of several loss=Quantile([0.1, 0.5, 0.9])."
        )
    if not isinstance(loss, (Huber, Quantile)) and (not isinstance(loss, str) or loss not in LOSSES):
        close = words.meant(loss, [*LOSSES, *words.LOSSES])
        raise ValueError(
            f"loss must be one of {', '.join(map(repr, LOSSES))}, a Huber(delta), a Quantile(q) or None, not "
            f"{loss!r}.{close}"
        )
    if last_activation == "softmax" and loss != "categorical_crossentropy":
        raise ValueError(
            f"A last activation of 'softmax' needs loss 'categorical_crossentropy', not {loss!r}. Change the loss, or "
            "that layer's activation."
        )
    n = len(loss.q) if isinstance(loss, Quantile) and isinstance(loss.q, tuple) else n_outputs
    if n != n_outputs:
        raise ValueError(
            f"loss {loss!r} needs a last layer of {n} unit{'s' * (n > 1)}, one for each quantile, but it has "
            f"{n_outputs}. Change its units."
        )
    needed = loss_of(loss).activation
    if needed is not None and needed != last_activation:
        raise ValueError(
            f"loss {loss!r} needs a last activation of {needed!r}, but the last layer has {last_activation!r}. "
            f"Change that layer's activation, or use another loss, such as 'mean_squared_error'."
        )
    return loss  # type: ignore[no-any-return]
