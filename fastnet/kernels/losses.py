"""Losses over a block: the cost of each example, and the gradient dZ or dA it sends back.

The cross-entropies are computed from the logit z, never from a clipped probability, so they are exact for any z, and
their gradient with respect to z is simply a - y. Softmax stands here since it shares their exponentials.
"""

from collections.abc import Callable
from typing import Any

from fastnet.kernels.codes import BINARY_CROSSENTROPY, CATEGORICAL_CROSSENTROPY, MEAN_SQUARED_ERROR
from fastnet.kernels.elementary import exp, log1p, log1p_of_sum
from fastnet.kernels.jit import kernel
from fastnet.kernels.parts import chosen_from, loss_signature


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


@kernel
def categorical_crossentropy(n: int, columns: int, S: Any, z: int, y: int, dz: int, terms: int, ld: int) -> None:
    """Z <- A = softmax(Z); dZ <- A - Y; terms <- -sum over the classes of Y log A, for Y that sum to 1.

    Z, Y and dZ are blocks (n, columns) with row stride ld in S, terms is one row. With d the largest logit minus z,
    the loss is the sum of Y d, plus the logarithm of the sum of e^-d.
    """
    T = S.dtype.type
    for e in range(columns):
        largest = S[z + first_largest(n, S, z + e, ld) * ld + e]
        cost = T(0)
        for at in range(e, e + n * ld, ld):
            if S[y + at] > T(0):  # or it is zero, and d may be infinite
                cost += S[y + at] * (largest - S[z + at])
        S[terms + e] = cost + log1p_of_sum(softmax(n, S, z + e, ld))
        for at in range(e, e + n * ld, ld):
            S[dz + at] = S[z + at] - S[y + at]


@kernel
def softmax(n: int, S: Any, z: int, stride: int) -> Any:
    """Z <- A = e^Z / sum of e^Z over the n units of one example, `stride` apart in S.

    Returns the sum of e^(z - largest z) over all units but the first of the largest, whose own share is exactly 1.
    """
    T = S.dtype.type
    first = z + first_largest(n, S, z, stride) * stride
    largest, rest = S[first], T(0)
    for at in range(z, z + n * stride, stride):
        S[at] = exp(S[at] - largest)
        if at != first:
            rest += S[at]
    for at in range(z, z + n * stride, stride):
        S[at] = S[at] / (T(1) + rest)
    return rest


@kernel
def first_largest(n: int, S: Any, z: int, stride: int) -> int:
    """Return the number of the first of the largest of n units; of a NaN, if it comes first."""
    largest = 0
    for r in range(1, n):
        if S[z + r * stride] > S[z + largest * stride]:
            largest = r
    return largest


loss_of_row = chosen_from({BINARY_CROSSENTROPY: binary_crossentropy, MEAN_SQUARED_ERROR: mean_squared_error})


def make_loss(source_digest: str, code: int) -> Callable[..., None]:
    """Make a loss over some columns of a block: Z or A, Y, dZ or dA, and the terms of the cost, at offsets in S."""

    def by_unit(n: int, columns: int, S: Any, z: int, y: int, dz: int, terms: int, ld: int) -> None:
        _ = source_digest
        for row in range(0, n * ld, ld):
            loss_of_row(
                code, S[z + row : z + row + columns], S[y + row : y + row + columns],
                S[dz + row : dz + row + columns], S[terms + row : terms + row + columns],
            )  # fmt: skip

    def by_example(n: int, columns: int, S: Any, z: int, y: int, dz: int, terms: int, ld: int) -> None:
        _ = source_digest
        categorical_crossentropy(n, columns, S, z, y, dz, terms, ld)

    function = by_example if code == CATEGORICAL_CROSSENTROPY else by_unit
    function.signature = loss_signature  # type: ignore[attr-defined]
    return function
