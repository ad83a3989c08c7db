"""Activations over a block: A = g(Z) in place, and dZ = dA * g'(Z).

Where the derivative is a function of the value, as sigmoid's a (1 - a), A is all it needs, and Z is never kept: such an
activation is a function a = g(z, setting) and one that gives da g'(z) from (da, a, setting), a pair in `FROM_VALUE`.
Others are one function that gives both a and the slope g'(z), an entry of `WITH_SLOPE`: their slopes are kept on the
way forward. Slopes may be kept of any activation; the values have the same bits then as without.
"""

from collections.abc import Callable
from typing import Any

from fastnet.kernels import elementary
from fastnet.kernels.build.jit import Function, kernel
from fastnet.kernels.build.parts import activation_signature, chosen_from, derivative_signature
from fastnet.kernels.codes import (
    ELU,
    EXPONENTIAL,
    GELU,
    KEPT_SLOPE,
    LEAKY_RELU,
    LINEAR,
    MISH,
    RELU,
    SELU,
    SIGMOID,
    SILU,
    SOFTMAX,
    SOFTPLUS,
    TANH,
)
from fastnet.kernels.elementary import exp, exp_low, expm1, normal, normal_high
from fastnet.kernels.ir.scalars import fma
from fastnet.kernels.losses import softmax

SELU_SCALE = 1.0507009873554805
SELU_SCALE_ALPHA = 1.7580993408473766
MISH_HIGH = 40.0
"""Where Mish's slope is 1, and e^-2z still in the normal range."""


@kernel
def linear(z: Any, setting: float) -> Any:
    """Return z."""
    return z


@kernel
def back_through_linear(da: Any, a: Any, setting: float) -> Any:
    """Return da g'(z)."""
    return da


@kernel
def sigmoid(z: Any, setting: float) -> Any:
    """Return 1 / (1 + e^-z)."""
    return elementary.sigmoid(z)


@kernel
def back_through_sigmoid(da: Any, a: Any, setting: float) -> Any:
    """Return da g'(z)."""
    return da * (a * (type(a)(1) - a))


@kernel
def tanh(z: Any, setting: float) -> Any:
    """Return (e^z - e^-z) / (e^z + e^-z)."""
    return elementary.tanh(z)


@kernel
def back_through_tanh(da: Any, a: Any, setting: float) -> Any:
    """Return da g'(z)."""
    return da * (type(a)(1) - a * a)


@kernel
def relu(z: Any, setting: float) -> Any:
    """Return max(0, z); NaN for NaN."""
    return type(z)(0) if z < 0 else z


@kernel
def back_through_relu(da: Any, a: Any, setting: float) -> Any:
    """Return da g'(z)."""
    T = type(a)
    return da if a > T(0) else T(0)


@kernel
def leaky_relu(z: Any, setting: float) -> Any:
    """Return z where z > 0, and setting * z elsewhere; the setting is at least 0."""
    T = type(z)
    return T(setting) * z if z < T(0) else z


@kernel
def back_through_leaky_relu(da: Any, a: Any, setting: float) -> Any:
    """Return da g'(z)."""
    T = type(a)
    return da if a > T(0) else T(setting) * da


@kernel
def exponential(z: Any, setting: float) -> Any:
    """Return e^z."""
    return exp(z)


@kernel
def back_through_exponential(da: Any, a: Any, setting: float) -> Any:
    """Return da g'(z)."""
    return da * a


@kernel
def elu(z: Any, setting: float) -> Any:
    """Return z where z > 0, and e^z - 1 elsewhere: Clevert, Unterthiner and Hochreiter, 2015."""
    m = expm1(z)
    return m if z < type(z)(0) else z


@kernel
def back_through_elu(da: Any, a: Any, setting: float) -> Any:
    """Return da g'(z): the slope is e^z = a + 1 for z <= 0, within 0.5 eps."""
    T = type(a)
    return da if a > T(0) else da * (a + T(1))


@kernel
def selu(z: Any, setting: float) -> Any:
    """Return scale z where z > 0, and scale alpha (e^z - 1) elsewhere.

    Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural networks, 2017.
    """
    T = type(z)
    m = T(SELU_SCALE_ALPHA) * expm1(z)
    return m if z < T(0) else T(SELU_SCALE) * z


@kernel
def back_through_selu(da: Any, a: Any, setting: float) -> Any:
    """Return da g'(z): the slope is scale alpha e^z = a + scale alpha for z <= 0, within 1.8 eps."""
    T = type(a)
    return da * (T(SELU_SCALE) if a > T(0) else a + T(SELU_SCALE_ALPHA))


@kernel
def softplus(z: Any, setting: float) -> Any:
    """Return log(1 + e^z): Dugas, Bengio, Bélisle, Nadeau and Garcia, 2000."""
    return elementary.softplus(z)


@kernel
def back_through_softplus(da: Any, a: Any, setting: float) -> Any:
    """Return da g'(z): the slope is sigmoid(z) = 1 - e^-a, within 0.8 eps; where |z| > 3, 3.8 ulp."""
    return da * -expm1(-a)


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
    s = elementary.sigmoid(z)
    return low * s, s * fma(z_within, elementary.sigmoid(-z), type(z)(1))


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
def back_through_kept_slope(da: Any, slope: Any, setting: float) -> Any:
    """Return da g'(z)."""
    return da * slope


@kernel
def clipped(z: Any, low: Any, high: Any) -> Any:
    """Return max(z, low), and that but at most high: finite factors of what is zero from there on."""
    above = low if z < low else z
    return above, high if above > high else above


FROM_VALUE: dict[int, tuple[Function, Function]] = {
    LINEAR: (linear, back_through_linear),
    SIGMOID: (sigmoid, back_through_sigmoid),
    TANH: (tanh, back_through_tanh),
    RELU: (relu, back_through_relu),
    LEAKY_RELU: (leaky_relu, back_through_leaky_relu),
    EXPONENTIAL: (exponential, back_through_exponential),
    ELU: (elu, back_through_elu),
    SELU: (selu, back_through_selu),
    SOFTPLUS: (softplus, back_through_softplus),
}
WITH_SLOPE: dict[int, Function] = {GELU: gelu, SILU: silu, MISH: mish}


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
    {code: derivative for code, (_, derivative) in FROM_VALUE.items()} | {KEPT_SLOPE: back_through_kept_slope}
)
value_and_slope = chosen_from({code: with_slope(*pair) for code, pair in FROM_VALUE.items()} | WITH_SLOPE)


def make_activation(source_digest: str, code: int) -> Callable[..., None]:
    """Make A = g(Z), in place, for some columns of a block: n rows with stride ld at z in S. NaN stays NaN."""

    def activate(n: int, columns: int, S: Any, z: int, kept: int, ld: int, setting: float) -> None:
        _ = source_digest
        # In one run where the rows touch.
        rows, length = (1, n * ld) if columns == ld else (n, columns)
        for r in range(rows):
            A = S[z + r * ld : z + r * ld + length]
            for e in range(length):
                A[e] = value(code, A[e], setting)

    def activate_by_softmax(n: int, columns: int, S: Any, z: int, kept: int, ld: int, setting: float) -> None:
        _ = source_digest
        for e in range(columns):
            softmax(n, S, z + e, ld)

    function = activate_by_softmax if code == SOFTMAX else activate
    function.signature = activation_signature  # type: ignore[attr-defined]
    return function


def make_activation_keeping_slope(source_digest: str, code: int) -> Callable[..., None]:
    """Make A = g(Z), in place as above, and the slopes g'(Z), laid out alike, at `kept` in S; not of a softmax."""

    def activate_keeping_slope(n: int, columns: int, S: Any, z: int, kept: int, ld: int, setting: float) -> None:
        _ = source_digest
        rows, length = (1, n * ld) if columns == ld else (n, columns)
        for r in range(rows):
            A, slopes = S[z + r * ld : z + r * ld + length], S[kept + r * ld : kept + r * ld + length]
            for e in range(length):
                A[e], slopes[e] = value_and_slope(code, A[e], setting)

    activate_keeping_slope.signature = activation_signature  # type: ignore[attr-defined]
    return activate_keeping_slope


def make_derivative(source_digest: str, code: int) -> Callable[..., None]:
    """Make dZ = dA * g'(Z) for some columns of a block; A lies at `kept`, or with KEPT_SLOPE g'(Z).

    dA (n, columns) lies where dZ will, at dz in S. Or it is formed in passing, as W^T dZ of a next layer of one unit:
    that layer's W (1, n) lies at w in `parameters`, its dZ at dz_next in S. Where there is none, w is -1.
    """

    def multiply_by_derivative(
        n: int, columns: int, S: Any, kept: int, dz: int, ld: int, setting: float, parameters: Any, w: int, dz_next: int
    ) -> None:
        _ = source_digest
        if w >= 0:
            dZ_next = S[dz_next : dz_next + columns]
            for r in range(n):
                A, dZ = S[kept + r * ld : kept + r * ld + columns], S[dz + r * ld : dz + r * ld + columns]
                w_r = parameters[w + r]
                for e in range(columns):
                    dZ[e] = back_through(code, w_r * dZ_next[e], A[e], setting)
        else:
            # In one run where the rows touch.
            rows, length = (1, n * ld) if columns == ld else (n, columns)
            for r in range(rows):
                A, dZ = S[kept + r * ld : kept + r * ld + length], S[dz + r * ld : dz + r * ld + length]
                for e in range(length):
                    dZ[e] = back_through(code, dZ[e], A[e], setting)

    multiply_by_derivative.signature = derivative_signature  # type: ignore[attr-defined]
    return multiply_by_derivative
