"""exp, tanh, log(1 + e), the logistic and the normal distribution as branch-free chains of fmas.

They give the same bits on every machine.

Loops over them become vector code, as loops over libm's do not; and libm's last bit differs between
machines. The numbers in them stand in `constants.py`; the largest errors stated below, in units in the last place, are
measured over the whole range and kept by `tests/kernels/test_elementary.py`.
"""

from typing import Any

from fastnet.kernels.build.jit import kernel
from fastnet.kernels.constants import NUMBERS, POLYNOMIALS
from fastnet.kernels.ir.scalars import MAGIC, exponent, fma, per_dtype, polynomial, power_of_two, with_sign_of

magic = per_dtype(MAGIC[32], MAGIC[64])
log2_e, ln2 = per_dtype(*NUMBERS["log2_e"]), per_dtype(*NUMBERS["ln2"])
minus_ln2_high, minus_ln2_low = per_dtype(*NUMBERS["minus_ln2_high"]), per_dtype(*NUMBERS["minus_ln2_low"])
exp_low, exp_high = per_dtype(*NUMBERS["exp_low"]), per_dtype(*NUMBERS["exp_high"])
expm1_low, normal_high = per_dtype(*NUMBERS["expm1_low"]), per_dtype(*NUMBERS["normal_high"])
per_sqrt_2pi = per_dtype(*NUMBERS["per_sqrt_2pi"])
expm1_remainder = polynomial(*POLYNOMIALS["expm1_remainder"])
log1p_remainder = polynomial(*POLYNOMIALS["log1p_remainder"])
normal_tail = polynomial(*POLYNOMIALS["normal_tail"])


@kernel
def expm1_reduced(x: Any) -> Any:
    """Return e^r - 1 and n + MAGIC, where x = n ln 2 + r, n is an integer and |r| <= ln(2) / 2."""
    shifted = fma(x, log2_e(x), magic(x))
    n = shifted - magic(x)
    r = fma(n, minus_ln2_high(x), x)
    r = fma(n, minus_ln2_low(x), r)
    return fma(r * r, expm1_remainder(r), r), shifted


@kernel
def exp(x: Any) -> Any:
    """Return e^x, within 1.1 ulp (float64: 1.0). NaN stays NaN.

    What would be below 2^-125.5 (float64: 2^-1021.5) is zero.
    """
    T = type(x)
    x = exp_low(x) if x < exp_low(x) else x
    x = exp_high(x) if x > exp_high(x) else x
    expm1_r, shifted = expm1_reduced(x)
    # 2^n in two factors, since 2^128 is no float32 while e^x, just under it, is.
    return (expm1_r + T(1)) * T(2) * power_of_two(shifted - T(1))


@kernel
def expm1(x: Any) -> Any:
    """Return e^x - 1 for x <= 0, within 1.0 ulp (float64: 1.1). NaN stays NaN."""
    x = expm1_low(x) if x < expm1_low(x) else x
    expm1_r, shifted = expm1_reduced(x)
    scale = power_of_two(shifted)
    return fma(scale, expm1_r, scale - type(x)(1))


@kernel
def tanh(x: Any) -> Any:
    """Return tanh x, within 2.5 ulp in both dtypes. NaN stays NaN.

    With m = e^(-2|x|) - 1, which keeps its digits near zero, tanh |x| = -m / (2 + m).
    """
    minus_x = -abs(x)
    m = expm1(minus_x + minus_x)  # a sum, as the loop's time goes into products and fmas
    return with_sign_of(m / (type(x)(2) + m), x)


@kernel
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x), within 2.2 ulp (float64: 1.7). NaN stays NaN.

    Below x = -86.99 (float64: -708.04) it is zero.
    """
    T = type(x)
    e = exp(-abs(x))
    return (e if x < T(0) else T(1)) / (T(1) + e)


@kernel
def log1p(e: Any) -> Any:
    """Return log(1 + e) for 0 <= e <= 1, within 2.0 ulp (float64: 1.9)."""
    T = type(e)
    s = e / (T(2) + e)
    t = s * s
    return fma(s * t, log1p_remainder(t), s + s)


@kernel
def log1p_of_sum(x: Any) -> Any:
    """Return log(1 + x) for 0 <= x < 2^100, within 2.0 ulp (float64: 1.9)."""
    T = type(x)
    n = exponent(T(1) + x)  # 1 + x = 2^n (1 + f)
    f = x if x < T(1) else (T(1) + x) * power_of_two(magic(x) - n) - T(1)
    return fma(n if x >= T(1) else T(0), ln2(x), log1p(f))


@kernel
def softplus(x: Any) -> Any:
    """Return log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), within 2.7 ulp in both dtypes. NaN stays NaN.

    Below x = -86.99 (float64: -708.04) it is zero.
    """
    T = type(x)
    positive = T(0) if x < T(0) else x
    return positive + log1p(exp(-abs(x)))


@kernel
def normal(x: Any) -> Any:
    """Return Phi(x) and phi(x), the normal distribution and its density, within 4.0 and 2.7 ulp in both dtypes.

    Phi(x) = (1 + erf(x / sqrt 2)) / 2, phi(x) = e^(-x^2 / 2) / sqrt(2 pi). The tail Phi(-|x|) comes first, as a share
    of e^(-x^2 / 2), which keeps its digits far out (Cody, Rational Chebyshev approximations for the error function,
    1969, does so too). Beyond |x| = 12.9 (float64: 37.5) it is zero, and so is phi. NaN stays NaN.
    """
    T = type(x)
    magnitude = abs(x)
    magnitude = normal_high(x) if magnitude > normal_high(x) else magnitude
    square = magnitude * magnitude
    lost = fma(magnitude, magnitude, -square)  # by rounding: half an ulp of 166, for one, would be 8e-6 of e
    e = exp(T(-0.5) * square)
    e = fma(e, T(-0.5) * lost, e)
    e = T(0) if abs(x) > normal_high(x) else e
    total = magnitude + T(4)
    share = T(1) / total
    # What both roundings left of 1: near zero, total is off by several ulp of x.
    rest = fma(-share, magnitude - (total - T(4)), fma(-share, total, T(1)))
    t = fma(T(-8) * share, rest, fma(T(-8), share, T(1)))
    mills = normal_tail(t) * share
    tail = e * fma(mills, rest, mills)
    return tail if x < T(0) else T(1) - tail, per_sqrt_2pi(x) * e
