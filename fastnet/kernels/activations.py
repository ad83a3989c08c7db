"""Activations over a block: A = g(Z) in place, and dZ = dA * g'(Z) from the value A alone.

Every derivative here is a function of the value, so Z is never kept: sigmoid a (1 - a), tanh 1 - a^2, ReLU 1 where
a > 0, leaky ReLU 1 where a > 0 and its slope elsewhere. One more activation is a function of z, one of (da, a), and a
line in each table.
"""

from collections.abc import Callable
from typing import Any

from fastnet.kernels.codes import EXPONENTIAL, LEAKY_RELU, RELU, SIGMOID, SOFTMAX, TANH
from fastnet.kernels.elementary import exp, sigmoid, tanh
from fastnet.kernels.jit import kernel
from fastnet.kernels.losses import softmax
from fastnet.kernels.parts import activation_signature, chosen_from, derivative_signature

LEAKY_SLOPE = 0.01


@kernel
def relu(z: Any) -> Any:
    """Return max(0, z); NaN for NaN."""
    return type(z)(0) if z < 0 else z


@kernel
def leaky_relu(z: Any) -> Any:
    """Return z where z > 0, and slope * z elsewhere."""
    T = type(z)
    return T(LEAKY_SLOPE) * z if z < T(0) else z


@kernel
def back_through_sigmoid(da: Any, a: Any) -> Any:
    """Return da g'(z)."""
    return da * (a * (type(a)(1) - a))


@kernel
def back_through_tanh(da: Any, a: Any) -> Any:
    """Return da g'(z)."""
    return da * (type(a)(1) - a * a)


@kernel
def back_through_relu(da: Any, a: Any) -> Any:
    """Return da g'(z)."""
    T = type(a)
    return da if a > T(0) else T(0)


@kernel
def back_through_leaky_relu(da: Any, a: Any) -> Any:
    """Return da g'(z)."""
    T = type(a)
    return da if a > T(0) else T(LEAKY_SLOPE) * da


value = chosen_from({SIGMOID: sigmoid, TANH: tanh, RELU: relu, LEAKY_RELU: leaky_relu, EXPONENTIAL: exp})
back_through = chosen_from(
    {
        SIGMOID: back_through_sigmoid,
        TANH: back_through_tanh,
        RELU: back_through_relu,
        LEAKY_RELU: back_through_leaky_relu,
    }
)


def make_activation(source_digest: str, code: int) -> Callable[..., None]:
    """Make A = g(Z), in place, for some columns of a block: n rows with stride ld at z in S. NaN stays NaN."""

    def activate(n: int, columns: int, S: Any, z: int, ld: int) -> None:
        _ = source_digest
        # In one run where the rows touch.
        rows, length = (1, n * ld) if columns == ld else (n, columns)
        for r in range(rows):
            A = S[z + r * ld : z + r * ld + length]
            for e in range(length):
                A[e] = value(code, A[e])

    def activate_by_softmax(n: int, columns: int, S: Any, z: int, ld: int) -> None:
        _ = source_digest
        for e in range(columns):
            softmax(n, S, z + e, ld)

    function = activate_by_softmax if code == SOFTMAX else activate
    function.signature = activation_signature  # type: ignore[attr-defined]
    return function


def make_derivative(source_digest: str, code: int) -> Callable[..., None]:
    """Make dZ = dA * g'(Z) for some columns of a block: dA (n, columns) lies where dZ will, at dz in S; A at a."""

    def multiply_by_derivative(n: int, columns: int, S: Any, a: int, dz: int, ld: int) -> None:
        _ = source_digest
        rows, length = (1, n * ld) if columns == ld else (n, columns)
        for r in range(rows):
            A, dZ = S[a + r * ld : a + r * ld + length], S[dz + r * ld : dz + r * ld + length]
            for e in range(length):
                dZ[e] = back_through(code, dZ[e], A[e])

    multiply_by_derivative.signature = derivative_signature  # type: ignore[attr-defined]
    return multiply_by_derivative
