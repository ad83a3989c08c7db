"""Losses over a block: the cost of each example, and the gradient dZ or dA it sends back.

One more is a function and a line in the table; its setting, if it has one, stands at OF_LOSS.

The cross-entropies are computed from the logit z, never from a clipped probability, so they are exact for any z, and
their gradient with respect to z is simply a - y. Softmax stands here since it shares their exponentials.
"""

from collections.abc import Callable
from typing import Any

from fastnet.kernels.build.jit import kernel
from fastnet.kernels.build.parts import chosen_from, loss_signature, weighting_signature
from fastnet.kernels.codes import (
    BINARY_CROSSENTROPY,
    CATEGORICAL_CROSSENTROPY,
    HUBER,
    MEAN_ABSOLUTE_ERROR,
    MEAN_SQUARED_ERROR,
    OF_LOSS,
    POISSON,
)
from fastnet.kernels.elementary import exp, log1p, log1p_of_sum


@kernel
def binary_crossentropy(Z: Any, Y: Any, dZ: Any, terms: Any, settings: Any) -> None:
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
def mean_squared_error(A: Any, Y: Any, dA: Any, terms: Any, settings: Any) -> None:
    """DA <- A - Y; terms <- (A - Y)^2 / 2. All are (n,), contiguous."""
    T = A.dtype.type
    for e in range(A.shape[0]):
        difference = A[e] - Y[e]
        dA[e] = difference
        terms[e] = T(0.5) * difference * difference


@kernel
def mean_absolute_error(A: Any, Y: Any, dA: Any, terms: Any, settings: Any) -> None:
    """DA <- sign(A - Y), 0 where they are equal; terms <- |A - Y|. All are (n,), contiguous."""
    T = A.dtype.type
    for e in range(A.shape[0]):
        difference = A[e] - Y[e]
        dA[e] = T(1) if difference > T(0) else T(-1) if difference < T(0) else T(0)
        terms[e] = abs(difference)


@kernel
def huber(A: Any, Y: Any, dA: Any, terms: Any, settings: Any) -> None:
    """DA <- A - Y, cut off at -delta and delta; terms <- its square / 2 up to there, then a straight line.

    (A - Y)^2 / 2 where |A - Y| <= delta, and delta (|A - Y| - delta / 2) beyond. All are (n,), contiguous.
    Huber, Robust estimation of a location parameter, 1964.
    """
    T = A.dtype.type
    delta = T(settings[OF_LOSS])
    for e in range(A.shape[0]):
        difference = A[e] - Y[e]
        cut = delta if difference > delta else -delta if difference < -delta else difference
        dA[e] = cut
        terms[e] = abs(cut) * (abs(difference) - T(0.5) * abs(cut))


@kernel
def poisson(Z: Any, Y: Any, dZ: Any, terms: Any, settings: Any) -> None:
    """Z <- A = e^Z; dZ <- A - Y; terms <- A - Y Z. All are (n,), contiguous.

    The negative logarithm of Poisson's probability of Y, its mean A, without the term log(Y!) of Y alone.
    """
    for e in range(Z.shape[0]):
        z, y = Z[e], Y[e]
        a = exp(z)
        terms[e] = a - y * z
        dZ[e] = a - y
        Z[e] = a


@kernel
def categorical_crossentropy(n: int, columns: int, S: Any, z: int, y: int, dz: int, terms: int, ld: int) -> None:
    """Z <- A = softmax(Z); dZ <- A - Y; terms <- -sum over the classes of Y log A, for Y that sum to 1.

    Z, Y and dZ are blocks (n, columns) with row stride ld in S; so are the terms, of which the first row remains, and
    three more are used. With d the largest logit minus z, the loss is the sum of Y d, plus the logarithm of the sum of
    e^-d. All in rows, examples side by side, but in the order in which `softmax` takes the units of each.
    """
    T = S.dtype.type
    cost, largest = S[terms : terms + columns], S[terms + ld : terms + ld + columns]
    first, rest = S[terms + 2 * ld : terms + 2 * ld + columns], S[terms + 3 * ld : terms + 3 * ld + columns]
    Z = S[z : z + columns]
    for e in range(columns):
        largest[e], first[e], cost[e], rest[e] = Z[e], T(0), T(0), T(0)
    for r in range(1, n):
        Z = S[z + r * ld : z + r * ld + columns]
        number = T(r)
        for e in range(columns):
            larger = Z[e] > largest[e]
            largest[e] = Z[e] if larger else largest[e]
            first[e] = number if larger else first[e]
    for r in range(n):
        Z, Y = S[z + r * ld : z + r * ld + columns], S[y + r * ld : y + r * ld + columns]
        number = T(r)
        for e in range(columns):
            d = largest[e] - Z[e]
            cost[e] += Y[e] * d if Y[e] > T(0) else T(0)  # where Y is zero, d may be infinite
            a = exp(-d)
            rest[e] += a if first[e] != number else T(0)
            Z[e] = a
    for e in range(columns):
        cost[e] += log1p_of_sum(rest[e])
    for r in range(n):
        Z, Y = S[z + r * ld : z + r * ld + columns], S[y + r * ld : y + r * ld + columns]
        dZ = S[dz + r * ld : dz + r * ld + columns]
        for e in range(columns):
            a = Z[e] / (T(1) + rest[e])
            Z[e] = a
            dZ[e] = a - Y[e]


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


loss_of_row = chosen_from(
    {
        BINARY_CROSSENTROPY: binary_crossentropy,
        MEAN_SQUARED_ERROR: mean_squared_error,
        MEAN_ABSOLUTE_ERROR: mean_absolute_error,
        HUBER: huber,
        POISSON: poisson,
    }
)


def make_loss(source_digest: str, code: int) -> Callable[..., None]:
    """Make a loss over some columns of a block: Z or A, Y, dZ or dA, and the terms of the cost, at offsets in S."""

    def by_unit(n: int, columns: int, S: Any, z: int, y: int, dz: int, terms: int, ld: int, settings: Any) -> None:
        _ = source_digest
        for row in range(0, n * ld, ld):
            loss_of_row(
                code, S[z + row : z + row + columns], S[y + row : y + row + columns],
                S[dz + row : dz + row + columns], S[terms + row : terms + row + columns], settings,
            )  # fmt: skip

    def by_example(n: int, columns: int, S: Any, z: int, y: int, dz: int, terms: int, ld: int, settings: Any) -> None:
        _ = source_digest
        categorical_crossentropy(n, columns, S, z, y, dz, terms, ld)

    function = by_example if code == CATEGORICAL_CROSSENTROPY else by_unit
    function.signature = loss_signature  # type: ignore[attr-defined]
    return function


def make_weighting(source_digest: str) -> Callable[..., None]:
    """Make what gives examples their weights: it multiplies dZ, or dA, and the terms of the cost, of some columns."""

    def weigh(n: int, term_rows: int, columns: int, S: Any, dz: int, terms: int, weights: int, ld: int) -> None:
        _ = source_digest
        w = S[weights : weights + columns]
        for r in range(n):
            dZ = S[dz + r * ld : dz + r * ld + columns]
            for e in range(columns):
                dZ[e] = dZ[e] * w[e]
        for r in range(term_rows):
            cost = S[terms + r * ld : terms + r * ld + columns]
            for e in range(columns):
                cost[e] = cost[e] * w[e]

    weigh.signature = weighting_signature  # type: ignore[attr-defined]
    return weigh
