"""The optimizers: what to do with a gradient."""

from dataclasses import dataclass

from fastnet.validation import positive_number


@dataclass(frozen=True)
class SGD:
    """Gradient descent: p <- p - alpha dJ/dp, on the batch at hand.

    Parameters
    ----------
    learning_rate : float, default 0.01
        alpha, greater than zero.

    Raises
    ------
    ValueError, TypeError
        If the learning rate is not a positive, finite number.
    """

    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", positive_number(self.learning_rate, "learning_rate"))
