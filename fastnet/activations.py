"""The activations: their names, formulas, and which initialiser suits them."""

from typing import NamedTuple

from fastnet.kernels import codes


class Activation(NamedTuple):
    """An activation g as the kernels know it, and whether He's initialiser suits it rather than Glorot's."""

    code: int
    formula: str
    he_initialized: bool = False


ACTIVATIONS = {
    "linear": Activation(codes.LINEAR, "z"),
    "sigmoid": Activation(codes.SIGMOID, "1 / (1 + e^-z)"),
    "tanh": Activation(codes.TANH, "(e^z - e^-z) / (e^z + e^-z)"),
    "relu": Activation(codes.RELU, "max(0, z)", he_initialized=True),
    "leaky_relu": Activation(codes.LEAKY_RELU, "max(0.01 z, z)", he_initialized=True),
}
"""By name; the slope of leaky ReLU left of zero is 0.01. At the kink, the derivative is the one on its left."""
