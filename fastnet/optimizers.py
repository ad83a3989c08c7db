"""The optimizers: what to do with a gradient g of a batch."""

from dataclasses import dataclass
from typing import ClassVar

from fastnet.kernels import codes
from fastnet.validation import number_below_one, positive_number


@dataclass(frozen=True)
class Optimizer:
    """What all optimizers have: a learning rate, and what the kernels know of them.

    `code` is theirs for the kind, `n_moments` how many vectors like the parameters it keeps.
    """

    code: ClassVar[int]
    n_moments: ClassVar[int]

    learning_rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", positive_number(self.learning_rate, "learning_rate"))

    @property
    def settings(self) -> tuple[float, ...]:
        """The numbers that the kernels read, in the order of `kernels.codes`."""
        return (self.learning_rate,)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent: p <- p - alpha g, on the batch at hand.

    Parameters
    ----------
    learning_rate : float, default 0.01
        alpha, greater than zero.

    Raises
    ------
    ValueError, TypeError
        If the learning rate is not a positive, finite number.
    """

    code = codes.SGD
    n_moments = 0

    learning_rate: float = 0.01


@dataclass(frozen=True)
class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

    m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; and in step t = 1, 2, ...
    p <- p - alpha m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).
    Source: Kingma and Ba, Adam: a method for stochastic optimization, 2015.

    Parameters
    ----------
    learning_rate : float, default 0.001
        alpha, greater than zero.
    beta1, beta2 : float, default 0.9 and 0.999
        What remains of the running means after a step; at least 0 and less than 1.
    epsilon : float, default 1e-8
        Greater than zero.

    Raises
    ------
    ValueError, TypeError
        If a setting is not a finite number in its range.
    """

    code = codes.ADAM
    n_moments = 2

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "beta1", number_below_one(self.beta1, "beta1"))
        object.__setattr__(self, "beta2", number_below_one(self.beta2, "beta2"))
        object.__setattr__(self, "epsilon", positive_number(self.epsilon, "epsilon"))

    @property
    def settings(self) -> tuple[float, ...]:
        """The numbers that the kernels read, in the order of `kernels.codes`."""
        return (self.learning_rate, self.beta1, self.beta2, self.epsilon)
