"""What a kernel can do with one number that NumPy has no name for: fma, constants by dtype, exponents.

As in `vectors.py`, each intrinsic has a fallback in plain Python for when the JIT is off.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError

from fastnet.kernels.ir.fused import fma_of
from fastnet.kernels.ir.vectors import Function, with_fallback

MAGIC = {32: 1.5 * 2.0**23, 64: 1.5 * 2.0**52}
"""Adding it to a small number rounds that to an integer, which then stands in the lowest bits of the sum."""


def is_float(*kinds: Any) -> types.Float:
    """Return the one floating-point type of the arguments, or refuse them."""
    if len(set(kinds)) != 1 or not isinstance(kinds[0], types.Float):
        raise TypingError(f"needs arguments of one floating-point type, got {kinds}")
    return kinds[0]


def _fma_fallback(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


@with_fallback(_fma_fallback)
def fma(typingctx, a, b, c):  # type: ignore[no-untyped-def]
    """Return a b + c, rounded once."""
    kind = is_float(a, b, c)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.call(fma_of(builder, arguments[0].type), arguments)

    return kind(kind, kind, kind), generate


def _with_sign_of_fallback(x: Any, y: Any) -> Any:
    return np.copysign(x, y)


@with_fallback(_with_sign_of_fallback)
def with_sign_of(typingctx, x, y):  # type: ignore[no-untyped-def]
    """Return |x| with the sign of y, that of a zero or NaN too."""
    kind = is_float(x, y)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        element = context.get_value_type(kind)
        copysign = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(element, [element] * 2), f"llvm.copysign.f{kind.bitwidth}"
        )
        return builder.call(copysign, arguments)

    return kind(kind, kind), generate


def per_dtype(float32: float, float64: float) -> Function:
    """Make a function that returns, in the dtype of its argument, the constant of that dtype."""

    def fallback(x: Any) -> Any:
        return x.dtype.type(float32 if x.dtype == np.float32 else float64)

    @with_fallback(fallback)
    def constant(typingctx, x):  # type: ignore[no-untyped-def]
        kind = is_float(x)
        value = float32 if kind == types.float32 else float64

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            return context.get_constant(kind, value)

        return kind(kind), generate

    return constant


def polynomial(float32: Sequence[float], float64: Sequence[float]) -> Function:
    """Make a function that evaluates a polynomial by Horner's scheme in fmas; coefficients from the highest power."""

    def fallback(x: Any) -> Any:
        first, *rest = (x.dtype.type(c) for c in (float32 if x.dtype == np.float32 else float64))
        for c in rest:
            first = first * x + c
        return first

    @with_fallback(fallback)
    def evaluate(typingctx, x):  # type: ignore[no-untyped-def]
        kind = is_float(x)
        coefficients = float32 if kind == types.float32 else float64

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            first, *rest = (context.get_constant(kind, c) for c in coefficients)
            for c in rest:
                first = builder.call(fma_of(builder, first.type), [first, arguments[0], c])
            return first

        return kind(kind), generate

    return evaluate


def _power_of_two_fallback(shifted: Any) -> Any:
    integer, fraction, bias = (np.uint32, 23, 127) if shifted.dtype == np.float32 else (np.uint64, 52, 1023)
    exponent = int(shifted.view(integer)) + bias
    return integer(exponent << fraction & int(np.iinfo(integer).max)).view(shifted.dtype)


@with_fallback(_power_of_two_fallback)
def power_of_two(typingctx, shifted):  # type: ignore[no-untyped-def]
    """Return 2^n given n + MAGIC, for n from -126 to 127 (float64: -1022 to 1023); beyond, and for NaN, any number."""
    kind = is_float(shifted)
    bits, fraction, bias = (32, 23, 127) if kind == types.float32 else (64, 52, 1023)
    integer = ir.IntType(bits)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        n_and_more = builder.bitcast(arguments[0], integer)
        exponent = builder.add(n_and_more, integer(bias))
        return builder.bitcast(builder.shl(exponent, integer(fraction)), context.get_value_type(kind))

    return kind(kind), generate


def _exponent_fallback(x: Any) -> Any:
    return x.dtype.type(np.frexp(x)[1] - 1)


@with_fallback(_exponent_fallback)
def exponent(typingctx, x):  # type: ignore[no-untyped-def]
    """Return n, where 2^n <= x < 2^(n + 1), for a normal x > 0; otherwise any number."""
    kind = is_float(x)
    bits, fraction, bias = (32, 23, 127) if kind == types.float32 else (64, 52, 1023)
    integer = ir.IntType(bits)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        biased = builder.lshr(builder.bitcast(arguments[0], integer), integer(fraction))
        return builder.sitofp(builder.sub(biased, integer(bias)), context.get_value_type(kind))

    return kind(kind), generate
