"""a b + c, rounded once, on CPUs that have no instruction for it: against exact integers."""

import ctypes
import math
from functools import cache

import numpy as np
import pytest
from bounds import DTYPES
from llvmlite import binding as llvm
from llvmlite import ir

from fastnet.kernels.build import machine
from fastnet.kernels.ir import fused

pytestmark = [
    pytest.mark.jit,
    pytest.mark.skipif(not llvm.get_process_triple().startswith("x86_64"), reason="other CPUs have the instruction"),
]
CONTROL = machine.CONTROLS["x86_64"]
LANES = 4
N = 4000


@cache
def compiled(dtype, lanes):
    """Return f(n, a, b, c, d), the addresses of vectors: d = a b + c, where the control word is that of the kernels."""
    element = {"float32": ir.FloatType(), "float64": ir.DoubleType()}[dtype]
    kind = ir.VectorType(element, lanes) if lanes > 1 else element
    module = ir.Module()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "HAS_FMA", False)
        builder = ir.IRBuilder(ir.Function(module, ir.FunctionType(ir.VoidType(), []), "unused").append_basic_block())
        name = fused.fma_of(builder, kind).name
        builder.ret_void()
    size = int(dtype[5:]) // 8
    places = "\n".join(f"%p{x} = getelementptr {kind}, ptr %{x}, i64 %i" for x in "abcd")
    values = "\n".join(f"%v{x} = load {kind}, ptr %p{x}, align {size}" for x in "abc")
    module = llvm.parse_assembly(f"""{module}
        define void @loop(i64 %n, ptr %a, ptr %b, ptr %c, ptr %d) {{
        entry:
            {CONTROL.enter}
            br label %loop
        loop:
            %i = phi i64 [0, %entry], [%next, %loop]
            {places}
            {values}
            %vd = call {kind} @"{name}"({kind} %va, {kind} %vb, {kind} %vc)
            store {kind} %vd, ptr %pd, align {size}
            %next = add i64 %i, 1
            %done = icmp eq i64 %next, %n
            br i1 %done, label %leave, label %loop
        leave:
            {CONTROL.leave}
            ret void
        }}
    """)
    engine = machine._engine(module)
    engine.finalize_object()
    return ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * 4)(engine.get_function_address("loop"))


def fma(a, b, c, lanes=1):
    d = np.full_like(a, np.nan)
    assert a.size % lanes == 0
    compiled(a.dtype.name, lanes)(a.size // lanes, *(x.ctypes.data for x in (a, b, c, d)))
    return d


def exact(a, b, c, dtype):
    """Return a b + c of normal numbers and zeros, from integers; what is then subnormal is zero of its sign."""
    info, digits = np.finfo(dtype), np.finfo(dtype).nmant + 1
    parts = (math.frexp(float(x)) for x in (a, b, c))
    (ma, ea), (mb, eb), (mc, ec) = ((int(math.ldexp(m, 53)), e - 53) for m, e in parts)
    exponent = min(ea + eb, ec)
    total = (ma * mb << (ea + eb - exponent)) + (mc << (ec - exponent))
    if total == 0:
        return float(a) * float(b) + float(c)  # with the sign that zeros give
    sign, total = (-1 if total < 0 else 1), abs(total)
    cut = total.bit_length() - digits
    if cut > 0:
        rest, half = total & ((1 << cut) - 1), 1 << (cut - 1)
        total = (total >> cut) + (rest > half or (rest == half and total >> cut & 1))
        exponent += cut
    size = total.bit_length() + exponent  # 2^(size - 1) <= |a b + c| < 2^size
    if size - 1 < info.minexp:
        return sign * 0.0
    return sign * (math.ldexp(total, exponent) if size <= info.maxexp else math.inf)


def cases(dtype, smallest, largest):
    """Return a, b, c whose products have exponents in a range; c cancels them, decides their rounding, or neither.

    Half of the a are of few digits: so are the products, of which many then lie halfway between two numbers.
    """
    info, rng = np.finfo(dtype), np.random.default_rng(0)

    def numbers(exponents):
        return np.ldexp((1 + rng.random(N)).astype(dtype), exponents) * rng.choice([-1, 1], N).astype(dtype)

    of_product = rng.integers(smallest, largest, N)
    of_a = np.clip(rng.integers(-info.maxexp // 2, info.maxexp // 2, N), of_product - 126, of_product + 126)
    of_a = np.clip(of_a, info.minexp, info.maxexp - 1)
    a, b = numbers(of_a), numbers(np.clip(of_product - of_a, info.minexp, info.maxexp - 1))
    c = numbers(np.clip(of_product + rng.integers(-120, 120, N), info.minexp, info.maxexp - 1))
    with np.errstate(over="ignore"):
        nearly = -(a * b)
    nearly += rng.choice([0, 1, -1], N).astype(dtype) * np.spacing(nearly)
    short = np.ldexp(rng.integers(1, 8, N).astype(dtype), of_product - info.nmant - 1 + rng.integers(0, 3, N))
    bits_below = {"float32": 53, "float64": 106}[info.dtype.name]  # where sums that are rounded to odd end
    last = numbers(np.clip(of_product - bits_below + rng.integers(-2, 3, N), info.minexp, info.maxexp - 1))
    c = np.choose(rng.integers(4, size=N), [c, nearly, short, last]).astype(dtype)
    a = np.where(rng.random(N) < 0.5, np.ldexp(rng.integers(1, 8, N).astype(dtype), of_a - 2), a)
    usual = [np.isfinite(x) & (np.abs(x) >= info.tiny) for x in (a, b, c)]
    return [np.where(good, x, np.copysign(0, x)).astype(dtype) for x, good in zip((a, b, c), usual, strict=True)]


def assert_exact(a, b, c, lanes):
    expected = np.array([exact(*abc, a.dtype) for abc in zip(a, b, c, strict=True)], a.dtype)
    found = fma(a, b, c, lanes)
    wrong = np.flatnonzero((found != expected) | (np.signbit(found) != np.signbit(expected)))
    assert not wrong.size, [(a[i], b[i], c[i], found[i], expected[i]) for i in wrong[:3]]


RANGES = {"near 1": (-30, 30), "at the bottom": (0, 70), "low parts at the bottom": (40, 130), "at the top": (-3, 2)}


@pytest.mark.parametrize("lanes", [1, LANES])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RANGES)
def test_it_is_exact_but_for_one_rounding(name, dtype, lanes):
    info, (low, high) = np.finfo(dtype), RANGES[name]
    start = info.minexp if "bottom" in name else info.maxexp if "top" in name else 0
    assert_exact(*cases(dtype, start + low, start + high), lanes)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_rounds_up_to_the_smallest_normal_number_is_not_zero(dtype):
    """As it is by the instruction: who counts digits, and not only the size, rounds first."""
    info = np.finfo(dtype)
    below = (np.arange(1, 65) * 2.0 ** (-info.nmant - 6)).astype(dtype)
    smallest = np.full_like(below, info.tiny)
    assert_exact(below, -smallest, smallest, 1)
    assert_exact(below, smallest, -smallest, LANES)
    assert (fma(below, -smallest, smallest) != 0).sum() == 16  # up to a quarter of a unit in the last place


@pytest.mark.parametrize("lanes", [1, LANES])
@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_infinities_and_nan(dtype, lanes):
    info = np.finfo(dtype)
    values = [0.0, -0.0, 1.0, -3.0, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny, -info.tiny, info.eps]
    a, b, c = np.array(np.meshgrid(values, values, values), dtype).reshape(3, -1)
    expected = []
    for abc in zip(a, b, c, strict=True):
        x, y, z = map(float, abc)
        if all(map(math.isfinite, (x, y, z))):
            expected.append(exact(*abc, dtype))
        elif math.isfinite(x) and math.isfinite(y):
            expected.append(z)
        else:
            expected.append(x * y + z)
    np.testing.assert_array_equal(fma(a, b, c, lanes), np.array(expected, dtype))
    signs = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(fma(a, b, c, lanes))[signs], np.signbit(expected)[signs])
