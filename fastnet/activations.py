"""The activations: their names, formulas, and which initialiser suits them."""

from typing import NamedTuple

from fastnet.kernels import codes


class Activation(NamedTuple):
    """An activation g as the kernels know it, and whether He's initialiser suits it rather than Glorot's."""

    code: int
    he_initialized: bool = False


ACTIVATIONS = {
    "linear": Activation(codes.LINEAR),
    "sigmoid": Activation(codes.SIGMOID),
    "tanh": Activation(codes.TANH),
    "relu": Activation(codes.RELU, he_initialized=True),
    "leaky_relu": Activation(codes.LEAKY_RELU, he_initialized=True),
    "softmax": Activation(codes.SOFTMAX),
}
"""By name: z; 1 / (1 + e^-z); (e^z - e^-z) / (e^z + e^-z); max(0, z); max(0.01 z, z); e^z / sum of e^z over the units.

At the kink of the ReLUs, the derivative is the one on its left."""
