"""exp, tanh, the logistic function and log(1 + e) as branch-free chains of fmas, the same bits on every machine.

Loops over them become vector code, as loops over libm's do not; and libm's last bit differs between
machines. The coefficients come from `python scripts/fit_polynomials.py`; the largest errors stated below,
in units in the last place, are measured over the whole range and kept by `tests/test_elementary.py`.
"""

from typing import Any

from fastnet.kernels.jit import kernel
from fastnet.kernels.scalars import MAGIC, exponent, fma, per_dtype, polynomial, power_of_two

magic = per_dtype(MAGIC[32], MAGIC[64])
log2_e = per_dtype(1.4426950408889634, 1.4426950408889634)
# ln 2 in two parts, the first short enough for n * ln2_high to be exact (Cody and Waite, 1980).
minus_ln2_high = per_dtype(-0.693145751953125, -0.693147180369123816490)
minus_ln2_low = per_dtype(-1.42860677e-06, -1.90821492927058770002e-10)
ln2 = per_dtype(0.6931471805599453, 0.6931471805599453)
# Where exp rounds to zero and to infinity, and where tanh rounds to one.
exp_low = per_dtype(-87.6, -708.7)
exp_high = per_dtype(89.0, 710.0)
tanh_high = per_dtype(10.0, 20.0)

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
def tanh(x: Any) -> Any:
    """Return tanh x, within 2.5 ulp in both dtypes. NaN stays NaN.

    With m = e^(-2|x|) - 1, which keeps its digits near zero, tanh |x| = -m / (2 + m).
    """
    T = type(x)
    magnitude = abs(x)
    magnitude = tanh_high(x) if magnitude > tanh_high(x) else magnitude
    expm1_r, shifted = expm1_reduced(T(-2) * magnitude)
    scale = power_of_two(shifted)
    m = fma(scale, expm1_r, scale - T(1))
    y = m / (T(2) + m)
    return y if x < T(0) else -y


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
