"""Losses over one row of a block: the cost of each example, and the gradient dZ or dA it sends back.

The logistic loss is computed from the logit z, never from a clipped probability, so it is exact for any z and its
gradient with respect to z is simply a - y.
"""

from typing import Any

from fastnet.kernels.elementary import exp, log1p
from fastnet.kernels.jit import kernel


@kernel
def binary_crossentropy(Z: Any, Y: Any, dZ: Any, terms: Any) -> None:
    """Z <- A = sigmoid(Z); dZ <- A - Y; terms <- -(Y log A + (1 - Y) log(1 - A)). All are (n,), contiguous.

    In logits the loss is max(z, 0) - z y + log(1 + e^-|z|), and the sigmoid comes from the same e^-|z|.
    """
    T = Z.dtype.type
    for e in range(Z.shape[0]):
        z, y = Z[e], Y[e]
        small = exp(-abs(z))
        a = (small if z < T(0) else T(1)) / (T(1) + small)
        positive = T(0) if z < T(0) else z
        terms[e] = positive - z * y + log1p(small)
        dZ[e] = a - y
        Z[e] = a


@kernel
def mean_squared_error(A: Any, Y: Any, dA: Any, terms: Any) -> None:
    """DA <- A - Y; terms <- (A - Y)^2 / 2. All are (n,), contiguous."""
    T = A.dtype.type
    for e in range(A.shape[0]):
        difference = A[e] - Y[e]
        dA[e] = difference
        terms[e] = T(0.5) * difference * difference
