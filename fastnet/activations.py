"""The activations: their names, formulas, and which initialiser suits them."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from fastnet import checks, words
from fastnet.kernels import codes


class Activation(NamedTuple):
    """An activation g as the kernels know it, and whether He's initialiser suits it rather than Glorot's.

    `setting` is the number that its kernel reads: leaky ReLU's slope.
    """

    code: int
    he_initialized: bool = False
    setting: float = 0.0


ACTIVATIONS = {
    "linear": Activation(codes.LINEAR),
    "sigmoid": Activation(codes.SIGMOID),
    "tanh": Activation(codes.TANH),
    "relu": Activation(codes.RELU, he_initialized=True),
    "leaky_relu": Activation(codes.LEAKY_RELU, he_initialized=True, setting=0.01),
    "elu": Activation(codes.ELU, he_initialized=True),
    "selu": Activation(codes.SELU),
    "gelu": Activation(codes.GELU, he_initialized=True),
    "silu": Activation(codes.SILU, he_initialized=True),
    "mish": Activation(codes.MISH, he_initialized=True),
    "softplus": Activation(codes.SOFTPLUS),
    "softmax": Activation(codes.SOFTMAX),
}
"""By name: z; 1 / (1 + e^-z); (e^z - e^-z) / (e^z + e^-z); max(0, z); max(0.01 z, z); z where z > 0, and e^z - 1
elsewhere; 1.0507 z where z > 0, and 1.7581 (e^z - 1) elsewhere; z Phi(z), Phi the normal distribution; z / (1 + e^-z);
z tanh(log(1 + e^z)); log(1 + e^z); e^z / sum of e^z over the units.

At the kink of the ReLUs, and of SELU, the derivative is the one on its left.

Sources: Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by exponential linear units, 2015;
Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural networks, 2017; Hendrycks and Gimpel, Gaussian
error linear units, 2016; Elfwing, Uchibe and Doya, Sigmoid-weighted linear units, 2017, and Ramachandran, Zoph and Le,
Searching for activation functions, 2017; Misra, Mish: a self regularized non-monotonic activation function, 2019;
Dugas, Bengio, Bélisle, Nadeau and Garcia, Incorporating second-order functional knowledge, 2000."""


@dataclass(frozen=True)
class LeakyReLU(checks.CheckedSettings):
    """The activation "leaky_relu" with a slope of one's own: z where z > 0, and slope * z elsewhere.

    Source: Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models, 2013.

    Parameters
    ----------
    slope : float, default 0.01
        At least zero.

    Raises
    ------
    ValueError, TypeError
        If the slope is not a finite number of at least zero.

    Examples
    --------
    >>> Dense(8, LeakyReLU(0.2))
    Dense(8, LeakyReLU(slope=0.2))
    >>> model = Model([Dense(1, LeakyReLU(0.2), initializer="zeros")], loss="huber").build(2)
    >>> model.layers[0].b = [[-1.0]]
    >>> model.predict([[0.0, 0.0]])
    array([-0.2], dtype=float32)
    """

    checked: ClassVar[checks.Checks] = {"slope": checks.non_negative_number}
    slope: float = 0.01


AnyActivation = str | LeakyReLU
"""What a `Dense` has."""


def canonical(activation: Any) -> Any:
    """Return an activation by fastnet's name, if it is a name, or None: linear."""
    if isinstance(activation, str):
        return words.canonical(activation, words.ACTIVATIONS)
    return "linear" if activation is None else activation


def activation_for(activation: AnyActivation) -> Activation:
    """Return what the kernels know of an activation; ValueError, with their names, if there is none of that name."""
    if isinstance(activation, LeakyReLU):
        return ACTIVATIONS["leaky_relu"]._replace(setting=activation.slope)
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        listed = ", ".join(map(repr, ACTIVATIONS))
        close = words.meant(activation, [*ACTIVATIONS, *words.ACTIVATIONS])
        raise ValueError(f"activation must be one of {listed}, or a LeakyReLU(slope), not {activation!r}.{close}")
    return ACTIVATIONS[activation]
