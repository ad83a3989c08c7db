"""Losses over a block: the cost of each example, and the gradient dZ or dA it sends back.

One more is a function and a line in the table; its setting, if it has one, lies in S, one for each output.

The cross-entropies are computed from the logit z, never from a clipped probability, so they are exact for any z, and
their gradient with respect to z is simply a - y.
"""

from typing import Any

from fastnet.kernels import codes
from fastnet.kernels.blocks import BOUNDS_CHECKED, check_inside, check_layer, place, run_of
from fastnet.kernels.build.callers import chosen_from
from fastnet.kernels.build.jit import Function, kernel
from fastnet.kernels.elementary import exp, log1p, log1p_of_sum


@kernel
def binary_crossentropy(Z: Any, Y: Any, dZ: Any, terms: Any, setting: float) -> None:
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
def mean_squared_error(A: Any, Y: Any, dA: Any, terms: Any, setting: float) -> None:
    """dA <- A - Y; terms <- (A - Y)^2 / 2. All are (n,), contiguous."""
    T = A.dtype.type
    for e in range(A.shape[0]):
        difference = A[e] - Y[e]
        dA[e] = difference
        terms[e] = T(0.5) * difference * difference


@kernel
def mean_absolute_error(A: Any, Y: Any, dA: Any, terms: Any, setting: float) -> None:
    """dA <- sign(A - Y), 0 where they are equal; terms <- |A - Y|. All are (n,), contiguous."""
    T = A.dtype.type
    for e in range(A.shape[0]):
        difference = A[e] - Y[e]
        dA[e] = T(1) if difference > T(0) else T(-1) if difference < T(0) else T(0)
        terms[e] = abs(difference)


@kernel
def huber(A: Any, Y: Any, dA: Any, terms: Any, setting: float) -> None:
    """dA <- A - Y, cut off at -delta and delta; terms <- its square / 2 up to there, then a straight line.

    (A - Y)^2 / 2 where |A - Y| <= delta, and delta (|A - Y| - delta / 2) beyond. All are (n,), contiguous.
    Huber, Robust estimation of a location parameter, 1964.
    """
    T = A.dtype.type
    delta = T(setting)
    for e in range(A.shape[0]):
        difference = A[e] - Y[e]
        cut = delta if difference > delta else -delta if difference < -delta else difference
        dA[e] = cut
        terms[e] = abs(cut) * (abs(difference) - T(0.5) * abs(cut))


@kernel
def quantile(A: Any, Y: Any, dA: Any, terms: Any, setting: float) -> None:
    """dA <- 1 - q where A exceeds Y, -q where Y exceeds A, 0 where they are equal; terms <- dA (A - Y).

    Which is max(q (Y - A), (q - 1)(Y - A)), the pinball loss. All are (n,), contiguous.
    Koenker and Bassett, Regression quantiles, 1978.
    """
    T = A.dtype.type
    q = T(setting)
    above = T(1) - q
    for e in range(A.shape[0]):
        difference = A[e] - Y[e]
        slope = above if difference > T(0) else -q if difference < T(0) else T(0)
        dA[e] = slope
        terms[e] = slope * difference


@kernel
def poisson(Z: Any, Y: Any, dZ: Any, terms: Any, setting: float) -> None:
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


OF_ROW = {
    codes.BINARY_CROSSENTROPY: binary_crossentropy,
    codes.MEAN_SQUARED_ERROR: mean_squared_error,
    codes.MEAN_ABSOLUTE_ERROR: mean_absolute_error,
    codes.HUBER: huber,
    codes.POISSON: poisson,
    codes.QUANTILE: quantile,
}
loss_of_row = chosen_from(OF_ROW)


def make_loss(code: int) -> Function:
    """Make a loss over the examples first to stop of a chunk: from Z or A of the last layer, and Y, to dZ or dA.

    And the terms of the cost. All are (n_L, ld) in blocks in S; the rows of Y ld_Y apart, 0 if all outputs have one
    target. Of a cross-entropy, Z becomes A.
    """

    def by_unit(network: Any, layers: Any, first: int, stop: int, S: Any) -> None:
        output, Y, terms = layers[layers.shape[0] - 1], network[0].Y, network[0].terms
        settings = S[network[0].settings : network[0].settings + output.units]
        if BOUNDS_CHECKED:
            check_inside(S, network[0].settings, network[0].settings + output.units - 1)
            for at in (output.A, Y, output.dZ, terms):
                check_layer(layers, layers.shape[0] - 1, at, output.units, first, stop, S)
        start = first
        while start < stop:
            columns, at = run_of(start, stop), place(start, output.block)
            for r in range(output.units):
                row = at + r * output.ld
                z, y, dz, term = output.A + row, Y + at + r * network[0].ld_Y, output.dZ + row, terms + row
                loss_of_row(
                    code, S[z : z + columns], S[y : y + columns], S[dz : dz + columns], S[term : term + columns],
                    settings[r],
                )  # fmt: skip
            start += columns

    def by_example(network: Any, layers: Any, first: int, stop: int, S: Any) -> None:
        output = layers[layers.shape[0] - 1]
        if BOUNDS_CHECKED:
            for at in (output.A, network[0].Y, output.dZ):
                check_layer(layers, layers.shape[0] - 1, at, output.units, first, stop, S)
            check_layer(layers, layers.shape[0] - 1, network[0].terms, 4, first, stop, S)
        start = first
        while start < stop:
            columns, at = run_of(start, stop), place(start, output.block)
            z, y, dz, terms = output.A + at, network[0].Y + at, output.dZ + at, network[0].terms + at
            categorical_crossentropy(output.units, columns, S, z, y, dz, terms, output.ld)
            start += columns

    return by_example if code == codes.CATEGORICAL_CROSSENTROPY else by_unit


def smooth(network: Any, layers: Any, first: int, stop: int, S: Any) -> None:
    """Y <- Y kept + shared, for the targets of the examples first to stop, (n_L, ld) in blocks in S.

    With kept = 1 - s and shared = s / classes, labels are smoothed by s: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna,
    Rethinking the Inception architecture for computer vision, 2016.
    """
    T, output = S.dtype.type, layers[layers.shape[0] - 1]
    kept, shared = T(network[0].kept), T(network[0].shared)
    if BOUNDS_CHECKED:
        check_layer(layers, layers.shape[0] - 1, network[0].Y, output.units, first, stop, S)
    start = first
    while start < stop:
        columns, at = run_of(start, stop), network[0].Y + place(start, output.block)
        for r in range(output.units):
            Y = S[at + r * output.ld : at + r * output.ld + columns]
            for e in range(columns):
                Y[e] = Y[e] * kept + shared
        start += columns


def weigh(network: Any, layers: Any, first: int, stop: int, S: Any) -> None:
    """dZ, or dA, of the last layer and the terms of the cost *= the weights of the examples first to stop.

    dZ and terms are blocks in S, the weights (examples,) at `weights`.
    """
    output = layers[layers.shape[0] - 1]
    if BOUNDS_CHECKED and stop > first:
        check_layer(layers, layers.shape[0] - 1, output.dZ, output.units, first, stop, S)
        check_layer(layers, layers.shape[0] - 1, network[0].terms, network[0].term_rows, first, stop, S)
        check_inside(S, network[0].weights + first, network[0].weights + stop - 1)
    start = first
    while start < stop:
        columns, at = run_of(start, stop), place(start, output.block)
        w = S[network[0].weights + start : network[0].weights + start + columns]
        for r in range(output.units):
            dz = output.dZ + at + r * output.ld
            dZ = S[dz : dz + columns]
            for e in range(columns):
                dZ[e] = dZ[e] * w[e]
        for r in range(network[0].term_rows):
            term = network[0].terms + at + r * output.ld
            terms = S[term : term + columns]
            for e in range(columns):
                terms[e] = terms[e] * w[e]
        start += columns
