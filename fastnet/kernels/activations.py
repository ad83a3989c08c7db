"""Activations over a contiguous run of numbers: A = g(Z) in place, and dZ = dA * g'(Z) from the value A alone.

Every derivative here is a function of the value, so Z is never kept: sigmoid a (1 - a), tanh 1 - a^2, ReLU 1 where
a > 0, leaky ReLU 1 where a > 0 and its slope elsewhere.
"""

from typing import Any

from fastnet.kernels.codes import LEAKY_RELU, RELU, SIGMOID, TANH
from fastnet.kernels.elementary import sigmoid, tanh
from fastnet.kernels.jit import kernel

LEAKY_SLOPE = 0.01


@kernel
def activate(activation: int, A: Any) -> None:
    """A <- g(A). A is (n,), contiguous; the linear activation touches nothing. NaN stays NaN."""
    n = A.shape[0]
    T = A.dtype.type
    if activation == SIGMOID:
        for e in range(n):
            A[e] = sigmoid(A[e])
    elif activation == TANH:
        for e in range(n):
            A[e] = tanh(A[e])
    elif activation == RELU:
        for e in range(n):
            A[e] = T(0) if A[e] < T(0) else A[e]
    elif activation == LEAKY_RELU:
        for e in range(n):
            A[e] = T(LEAKY_SLOPE) * A[e] if A[e] < T(0) else A[e]


@kernel
def multiply_by_derivative(activation: int, A: Any, dZ: Any) -> None:
    """DZ <- dZ * g'(Z), where dZ (n,) holds dA on entry and A (n,) holds g(Z). They do not alias."""
    n = A.shape[0]
    T = A.dtype.type
    if activation == SIGMOID:
        for e in range(n):
            dZ[e] = dZ[e] * (A[e] * (T(1) - A[e]))
    elif activation == TANH:
        for e in range(n):
            dZ[e] = dZ[e] * (T(1) - A[e] * A[e])
    elif activation == RELU:
        for e in range(n):
            dZ[e] = dZ[e] if A[e] > T(0) else T(0)
    elif activation == LEAKY_RELU:
        for e in range(n):
            dZ[e] = dZ[e] if A[e] > T(0) else T(LEAKY_SLOPE) * dZ[e]
