"""Activations over a block: A = g(Z) in place, and dZ = dA * g'(Z).

Where the derivative is a function of the value, as sigmoid's a (1 - a), A is all it needs, and Z is never stored: such
an activation is a function a = g(z, setting) and one that gives da g'(z) from (da, a, setting), a pair in `FORMULAS`.
Others are one function that gives both a and the slope g'(z), an entry of `WITH_SLOPE`: the forward pass stores their
slopes. Slopes may be stored of any activation; the values have the same bits then as without.
"""

from typing import Any

from fastnet.kernels import codes
from fastnet.kernels.blocks import BOUNDS_CHECKED, check_inside, check_layer, place, run_of
from fastnet.kernels.build.callers import chosen_from
from fastnet.kernels.build.jit import Function, kernel
from fastnet.kernels.elementary import exp, exp_low, expm1, normal, normal_high, sigmoid, softplus, tanh
from fastnet.kernels.ir.scalars import fma

SELU_SCALE = 1.0507009873554805
SELU_SCALE_ALPHA = 1.7580993408473766
MISH_HIGH = 40.0
"""Where Mish's slope is 1, and e^-2z still in the normal range."""


def elu(z: Any, setting: float) -> Any:
    """Return z where z > 0, and e^z - 1 elsewhere: Clevert, Unterthiner and Hochreiter, 2015."""
    m = expm1(z)
    return m if z < type(z)(0) else z


def selu(z: Any, setting: float) -> Any:
    """Return scale z where z > 0, and scale alpha (e^z - 1) elsewhere.

    Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural networks, 2017.
    """
    T = type(z)
    m = T(SELU_SCALE_ALPHA) * expm1(z)
    return m if z < T(0) else T(SELU_SCALE) * z


@kernel
def gelu(z: Any, setting: float) -> Any:
    """Return z Phi(z) and Phi(z) + z phi(z), of the normal distribution: Hendrycks and Gimpel, 2016.

    Within 4.9 ulp, and the slope 1.2 eps; where |z| > 3, 3.2 ulp. Both are zero below z = -12.9 (float64: -37.5).
    """
    low, z_within = clipped(z, -normal_high(z), normal_high(z))
    Phi, phi = normal(z)
    return low * Phi, fma(z_within, phi, Phi)


@kernel
def silu(z: Any, setting: float) -> Any:
    """Return z s and s (1 + z (1 - s)) for s = sigmoid(z).

    Elfwing, Uchibe and Doya, 2017; as Swish: Ramachandran, Zoph and Le, 2017. Within 3.0 ulp (float64: 2.5), and the
    slope 1.8 eps; where |z| > 3, 4.6 ulp. Both are zero where the sigmoid is.
    """
    low, z_within = clipped(z, exp_low(z), -exp_low(z))
    s = sigmoid(z)
    return low * s, s * fma(z_within, sigmoid(-z), type(z)(1))


@kernel
def mish(z: Any, setting: float) -> Any:
    """Return z t and t + z (1 - t^2) sigmoid(z) for t = tanh(log(1 + e^z)): Misra, 2019.

    t = n / d with n = e^z (e^z + 2), d = n + 2; for z > 0 both times e^-2z. The second term is 4 z p (1 + e) / d^2,
    where e = e^-|z|, and p = e^z or, for z > 0, e^-2z. Within 3.9 ulp, and the slope 1.4 eps; where |z| > 3, 5.9 ulp.
    """
    T = type(z)
    low, z_within = clipped(z, exp_low(z), T(MISH_HIGH))
    e = exp(-abs(z_within))
    left, right = e * (e + T(2)), fma(T(2), e, T(1))
    n = left if z < T(0) else right
    p = e * (T(1) if z < T(0) else e)
    d = n + (T(2) if z < T(0) else p + p)
    t = n / d
    return low * t, fma(z_within, T(4) * p * (T(1) + e) / (d * d), t)


@kernel
def clipped(z: Any, low: Any, high: Any) -> Any:
    """Return max(z, low), and that but at most high: finite factors of what is zero from there on."""
    above = low if z < low else z
    return above, high if above > high else above


FORMULAS: dict[int, tuple[Function, Function]] = {
    codes.LINEAR: (lambda z, s: z, lambda da, a, s: da),
    codes.SIGMOID: (lambda z, s: sigmoid(z), lambda da, a, s: da * (a * (type(a)(1) - a))),
    codes.TANH: (lambda z, s: tanh(z), lambda da, a, s: da * (type(a)(1) - a * a)),
    codes.RELU: (lambda z, s: type(z)(0) if z < 0 else z, lambda da, a, s: da if a > 0 else type(a)(0)),
    codes.LEAKY_RELU: (lambda z, s: type(z)(s) * z if z < 0 else z, lambda da, a, s: da if a > 0 else type(a)(s) * da),
    codes.EXPONENTIAL: (lambda z, s: exp(z), lambda da, a, s: da * a),
    # The slope is e^z = a + 1 for z <= 0, within 0.5 eps.
    codes.ELU: (elu, lambda da, a, s: da if a > 0 else da * (a + type(a)(1))),
    # The slope is scale alpha e^z = a + scale alpha for z <= 0, within 1.8 eps.
    codes.SELU: (selu, lambda da, a, s: da * (type(a)(SELU_SCALE) if a > 0 else a + type(a)(SELU_SCALE_ALPHA))),
    # The slope is sigmoid(z) = 1 - e^-a, within 0.8 eps; where |z| > 3, 3.8 ulp. Dugas et al., 2000.
    codes.SOFTPLUS: (lambda z, s: softplus(z), lambda da, a, s: da * -expm1(-a)),
}
"""By code: a = g(z, s) and da g'(z) from (da, a, s), s the setting, such as leaky ReLU's slope. NaN stays NaN."""

FROM_VALUE = {code: (kernel(g), kernel(derivative)) for code, (g, derivative) in FORMULAS.items()}
WITH_SLOPE: dict[int, Function] = {codes.GELU: gelu, codes.SILU: silu, codes.MISH: mish}


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


def value_of(g: Function) -> Function:
    """Make a = g(z, setting) of a function that gives the slope too."""

    @kernel
    def value_alone(z: Any, setting: float) -> Any:
        return g(z, setting)[0]

    return value_alone


def with_slope(g: Function, back_through: Function) -> Function:
    """Make a function that gives a and g'(z) of one in `FROM_VALUE`."""

    @kernel
    def value_with_slope(z: Any, setting: float) -> Any:
        a = g(z, setting)
        return a, back_through(type(z)(1), a, setting)

    return value_with_slope


value = chosen_from(
    {code: g for code, (g, _) in FROM_VALUE.items()} | {code: value_of(g) for code, g in WITH_SLOPE.items()}
)
back_through = chosen_from(
    {code: derivative for code, (_, derivative) in FROM_VALUE.items()}
    | {codes.STORED_SLOPE: kernel(lambda da, slope, s: da * slope)}
)
value_and_slope = chosen_from({code: with_slope(*pair) for code, pair in FROM_VALUE.items()} | WITH_SLOPE)


def make_activation(code: int) -> Function:
    """Make A = g(Z), in place, for the examples first to stop of layer l: (units, ld) in blocks at A in S.

    NaN stays NaN. `lanes` examples a block: 1 where rows are predicted. INCREASING is A_1 = Z_1, and
    A_k = A_{k-1} + log(1 + e^Z_k), which is never less than A_{k-1}, however it is rounded.
    """

    def activate(layers: Any, l: int, first: int, stop: int, S: Any) -> None:
        layer = layers[l]
        n, lanes, ld, setting = layer.units, layer.lanes, layer.ld, layer.setting
        if BOUNDS_CHECKED:
            check_layer(layers, l, layer.A, n, first, stop, S)
        start = first
        while start < stop:
            columns, z = (run_of(start, stop), place(start, layer.block)) if lanes > 1 else (1, start * layer.block)
            z += layer.A
            rows, length = (1, n * ld) if columns == ld else (n, columns)  # in one run where the rows touch
            for r in range(rows):
                A = S[z + r * ld : z + r * ld + length]
                for e in range(length):
                    A[e] = value(code, A[e], setting)
            start += columns

    def activate_by_softmax(layers: Any, l: int, first: int, stop: int, S: Any) -> None:
        layer = layers[l]
        if BOUNDS_CHECKED:
            check_layer(layers, l, layer.A, layer.units, first, stop, S)
        for e in range(first, stop):
            at = place(e, layer.block) if layer.lanes > 1 else e * layer.block
            softmax(layer.units, S, layer.A + at, layer.ld)

    def activate_increasing(layers: Any, l: int, first: int, stop: int, S: Any) -> None:
        layer = layers[l]
        lanes, ld = layer.lanes, layer.ld
        if BOUNDS_CHECKED:
            check_layer(layers, l, layer.A, layer.units, first, stop, S)
        start = first
        while start < stop:
            columns, z = (run_of(start, stop), place(start, layer.block)) if lanes > 1 else (1, start * layer.block)
            for at in range(layer.A + z + ld, layer.A + z + layer.units * ld, ld):
                before, A = S[at - ld : at - ld + columns], S[at : at + columns]
                for e in range(columns):
                    A[e] = before[e] + softplus(A[e])
            start += columns

    of_code = {codes.SOFTMAX: activate_by_softmax, codes.INCREASING: activate_increasing}
    return of_code.get(code, activate)


def make_activation_storing_slopes(code: int) -> Function:
    """Make A = g(Z), in place as above, and the slopes g'(Z), laid out alike; not of a softmax.

    The slope of an increasing unit is what its Z adds to A, and to all A after it: sigmoid(Z_k), 1 of the first.
    """

    def activate_storing_slopes(layers: Any, l: int, first: int, stop: int, S: Any) -> None:
        layer = layers[l]
        n, ld, setting = layer.units, layer.ld, layer.setting
        if BOUNDS_CHECKED:
            check_layer(layers, l, layer.A, n, first, stop, S)
            check_layer(layers, l, layer.slopes, n, first, stop, S)
        start = first
        while start < stop:
            columns, at = run_of(start, stop), place(start, layer.block)
            rows, length = (1, n * ld) if columns == ld else (n, columns)
            for r in range(rows):
                z, slope = layer.A + at + r * ld, layer.slopes + at + r * ld
                A, slopes = S[z : z + length], S[slope : slope + length]
                for e in range(length):
                    A[e], slopes[e] = value_and_slope(code, A[e], setting)
            start += columns

    def activate_increasing(layers: Any, l: int, first: int, stop: int, S: Any) -> None:
        layer = layers[l]
        n, ld = layer.units, layer.ld
        if BOUNDS_CHECKED:
            check_layer(layers, l, layer.A, n, first, stop, S)
            check_layer(layers, l, layer.slopes, n, first, stop, S)
        start = first
        while start < stop:
            columns, at = run_of(start, stop), place(start, layer.block)
            for r in range(n):
                a, slope = layer.A + at + r * ld, layer.slopes + at + r * ld
                A, slopes = S[a : a + columns], S[slope : slope + columns]
                for e in range(columns):
                    slopes[e] = sigmoid(A[e]) if r > 0 else S.dtype.type(1)
                if r > 0:
                    before = S[a - ld : a - ld + columns]
                    for e in range(columns):
                        A[e] = before[e] + softplus(A[e])
            start += columns

    return activate_increasing if code == codes.INCREASING else activate_storing_slopes


def make_derivative(code: int) -> Function:
    """Make dZ = dA * g'(Z) for the examples first to stop of layer l; g' from A or, with STORED_SLOPE, stored.

    dA (units, ld) lies where dZ will, in blocks in S. But before a layer of one unit it is formed in passing, as W^T dZ
    of that layer, an outer product: its W (1, units) lies in `parameters`, its dZ (1, ld) in S. Of increasing units,
    dZ_k is the sum of dA from k on, times the slope of k; of a softmax, A (dA - sum of A dA).
    """

    def differentiate(layers: Any, l: int, first: int, stop: int, parameters: Any, S: Any) -> None:
        layer, following = layers[l], layers[min(l + 1, layers.shape[0] - 1)]
        n, ld, setting = layer.units, layer.ld, layer.setting
        outer = l + 1 < layers.shape[0] and following.units == 1
        if BOUNDS_CHECKED:
            check_layer(layers, l, layer.slopes, n, first, stop, S)
            check_layer(layers, l, layer.dZ, n, first, stop, S)
            if outer:
                check_layer(layers, l + 1, following.dZ, 1, first, stop, S)
                check_inside(parameters, following.W, following.W + n - 1)
        start = first
        while start < stop:
            columns, at = run_of(start, stop), place(start, layer.block)
            stored, dz = layer.slopes + at, layer.dZ + at
            if outer:
                dz_next = following.dZ + place(start, following.block)
                dZ_next = S[dz_next : dz_next + columns]
                for r in range(n):
                    A, dZ = S[stored + r * ld : stored + r * ld + columns], S[dz + r * ld : dz + r * ld + columns]
                    w = parameters[following.W + r]
                    for e in range(columns):
                        dZ[e] = back_through(code, w * dZ_next[e], A[e], setting)
            else:
                rows, length = (1, n * ld) if columns == ld else (n, columns)
                for r in range(rows):
                    A, dZ = S[stored + r * ld : stored + r * ld + length], S[dz + r * ld : dz + r * ld + length]
                    for e in range(length):
                        dZ[e] = back_through(code, dZ[e], A[e], setting)
            start += columns

    def differentiate_increasing(layers: Any, l: int, first: int, stop: int, parameters: Any, S: Any) -> None:
        layer = layers[l]
        n, ld = layer.units, layer.ld
        if BOUNDS_CHECKED:
            check_layer(layers, l, layer.slopes, n, first, stop, S)
            check_layer(layers, l, layer.dZ, n, first, stop, S)
        start = first
        while start < stop:
            columns, at = run_of(start, stop), place(start, layer.block)
            for r in range(n - 2, -1, -1):
                dz = layer.dZ + at + r * ld
                after, dA = S[dz + ld : dz + ld + columns], S[dz : dz + columns]
                for e in range(columns):
                    dA[e] += after[e]
            for r in range(n):
                dz, slope = layer.dZ + at + r * ld, layer.slopes + at + r * ld
                slopes, dZ = S[slope : slope + columns], S[dz : dz + columns]
                for e in range(columns):
                    dZ[e] *= slopes[e]
            start += columns

    def differentiate_softmax(layers: Any, l: int, first: int, stop: int, parameters: Any, S: Any) -> None:
        layer = layers[l]
        n, ld = layer.units, layer.ld
        if BOUNDS_CHECKED:
            check_layer(layers, l, layer.A, n, first, stop, S)
            check_layer(layers, l, layer.dZ, n, first, stop, S)
        for e in range(first, stop):
            a, dz = layer.A + place(e, layer.block), layer.dZ + place(e, layer.block)
            mean = S.dtype.type(0)
            for r in range(n):
                mean += S[a + r * ld] * S[dz + r * ld]
            for r in range(n):
                S[dz + r * ld] = S[a + r * ld] * (S[dz + r * ld] - mean)

    of_code = {codes.SOFTMAX: differentiate_softmax, codes.INCREASING: differentiate_increasing}
    return of_code.get(code, differentiate)
