"""exp, tanh, log(1 + e), the logistic and the normal distribution as branch-free chains of fmas.

They give the same bits on every machine.

Loops over them become vector code, as loops over libm's do not; and libm's last bit differs between
machines. The coefficients come from `python scripts/fit_polynomials.py`; the largest errors stated below,
in units in the last place, are measured over the whole range and kept by `tests/kernels/test_elementary.py`.
"""

from typing import Any

from fastnet.kernels.build.jit import kernel
from fastnet.kernels.ir.scalars import MAGIC, exponent, fma, per_dtype, polynomial, power_of_two, with_sign_of

magic = per_dtype(MAGIC[32], MAGIC[64])
log2_e = per_dtype(1.4426950408889634, 1.4426950408889634)
# ln 2 in two parts, the first short enough for n * ln2_high to be exact (Cody and Waite, 1980).
minus_ln2_high = per_dtype(-0.693145751953125, -0.693147180369123816490)
minus_ln2_low = per_dtype(-1.42860677e-06, -1.90821492927058770002e-10)
ln2 = per_dtype(0.6931471805599453, 0.6931471805599453)
# Where exp rounds to zero and to infinity, and where e^x - 1 rounds to -1.
exp_low = per_dtype(-87.6, -708.7)
exp_high = per_dtype(89.0, 710.0)
expm1_low = per_dtype(-20.0, -40.0)
# Where Phi(-x) is about to leave the normal range.
normal_high = per_dtype(12.9, 37.5)
per_sqrt_2pi = per_dtype(0.3989422804014327, 0.3989422804014327)

# q in e^r - 1 = r + r^2 q(r), |r| <= ln(2) / 2.
expm1_remainder = polynomial(
    (0.0013941113, 0.008363175, 0.041666374, 0.16666576, 0.5),
    (
        2.511003917993252e-08,
        2.7620076799169895e-07,
        2.755724236484932e-06,
        2.4801521320156154e-05,
        0.00019841269886566399,
        0.0013888888917198386,
        0.008333333333322215,
        0.04166666666662416,
        0.16666666666666674,
        0.5000000000000001,
    ),
)
# p in log(1 + e) = 2 s + s^3 p(s^2), s = e / (2 + e), 0 <= e <= 1.
log1p_remainder = polynomial(
    (0.23253782, 0.21700041, 0.2859281, 0.39999697, 0.6666667),
    (
        0.1618757711169537,
        0.08788981688183475,
        0.12003520035306836,
        0.13313869544033652,
        0.15385588028728983,
        0.18181788746124816,
        0.22222222732312427,
        0.28571428566947965,
        0.4000000000001525,
        0.6666666666666666,
    ),
)
# p in Phi(-x) = e^(-x^2 / 2) p(t) / (x + 4), t = (x - 4) / (x + 4), 0 <= x <= normal_high.
normal_tail = polynomial(
    (
        -0.000109640394,
        0.00022605246,
        0.0015847774,
        -0.003535202,
        -0.0075369887,
        0.06040727,
        -0.18652152,
        0.38713673,
        -0.6078967,
        0.75528514,
    ),
    (
        -9.181261058999371e-10,
        2.0669880037317527e-10,
        1.389121680538029e-08,
        1.4177300379437989e-08,
        -7.655344346122707e-08,
        -1.5376373555465644e-07,
        2.6404197082667957e-07,
        1.019472710333616e-06,
        -6.254494655961967e-07,
        -5.9187674496571095e-06,
        7.151628767889981e-07,
        3.5144155622597356e-05,
        -1.907913355223983e-06,
        -0.000231094816294452,
        0.00013334426239092678,
        0.0016308184420434156,
        -0.003479692363097474,
        -0.0075401889656312475,
        0.060396574890743765,
        -0.1865218579596921,
        0.387137400742218,
        -0.6078966419718917,
        0.7552851304157515,
    ),
)


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
