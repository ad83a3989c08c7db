"""a b + c, rounded once: the instruction or, on CPUs without it, arithmetic that gives the same bits.

Which is no libm's: what kernels do with subnormal numbers (`build/machine.py`) would make glibc's fma of float64 wrong
where parts of a product are subnormal, in the eighth digit of 1e-290; and that takes a hundred nanoseconds.

x + y is *rounded to odd* if, unless it is a number, it becomes that neighbour whose last bit is 1. So it can be rounded
again, to two digits fewer or after a larger number was added, as if it had been exact: Boldo and Melquiond, Emulation
of a FMA and correctly rounded sums: proved algorithms using rounding to odd, 2008.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastnet.kernels.build.jit import HAS_FMA
from fastnet.kernels.ir.vectors import alignment

FRACTION, BIAS, MOST = 52, 1023, 0x7FF
"""Of float64: the bits of its fraction; the exponent of 1, as it is stored; the largest, of infinity and NaN."""

FAR = 200
"""Of a product of 106 digits and a number, so many digits apart, one says no more than in which direction to round."""


def fma_of(builder: ir.IRBuilder, kind: ir.Type) -> ir.Function:
    """Return the function a b + c of such numbers or vectors, rounded once."""
    bits = 8 * alignment(kind)
    suffix = f"v{kind.count}f{bits}" if isinstance(kind, ir.VectorType) else f"f{bits}"
    name = f"llvm.fma.{suffix}" if HAS_FMA else f"fastnet.fma.{suffix}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    if not HAS_FMA and function.is_declaration:
        function.linkage = "linkonce_odr"
        # Inlined, it becomes vector code with the loop around it; that of float64 is too long for a tile or polynomial.
        function.attributes.add("alwaysinline" if kind == ir.FloatType() else "noinline")
        body = Arithmetic(ir.IRBuilder(function.append_basic_block()), kind)
        body.builder.ret((body.fma_of_floats if bits == 32 else body.fma_of_doubles)(*function.args))
    return function


class Arithmetic:
    """Generates arithmetic in float64, and in the integers of its bits; of vectors, lane by lane."""

    def __init__(self, builder: ir.IRBuilder, kind: ir.Type) -> None:
        self.builder, self.kind = builder, kind
        lanes = getattr(kind, "count", None)
        both = ir.DoubleType(), ir.IntType(64)
        self.double, self.integer = both if lanes is None else (ir.VectorType(element, lanes) for element in both)

    def constant(self, value: float) -> ir.Constant:
        """Return a number in every lane, of float64 or an integer as it is one."""
        kind = self.double if isinstance(value, float) else self.integer
        return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)

    def fma_of_floats(self, a: Any, b: Any, c: Any) -> Any:
        """Return a b + c of float32: a b is exact in float64."""
        a, b, c = (self.builder.fpext(x, self.double) for x in (a, b, c))
        return self.builder.fptrunc(self.sum_to_odd(self.builder.fmul(a, b), c), self.kind)

    def fma_of_doubles(self, a: Any, b: Any, c: Any) -> Any:
        """Return a b + c of float64, where subnormal operands and results are zero.

        It is computed with a and b of magnitudes from 1 to 2, so that no part of their product is subnormal.
        """
        do, number = self.builder, self.constant
        bits_a, bits_b, bits_c = (do.bitcast(x, self.integer) for x in (a, b, c))
        exponent_a, exponent_b, exponent_c = map(self.exponent, (bits_a, bits_b, bits_c))
        shift = do.sub(do.add(exponent_a, exponent_b), number(2 * BIAS))
        exponent = do.sub(exponent_c, shift)
        is_far = do.icmp_signed(">", exponent, number(BIAS + FAR))
        exponent = do.select(is_far, number(BIAS + FAR), exponent)
        exponent = do.select(do.icmp_signed("<", exponent, number(BIAS - FAR)), number(BIAS - FAR), exponent)
        c_is_zero = self.is_equal(exponent_c, 0)
        x, y = self.with_exponent(bits_a, number(BIAS)), self.with_exponent(bits_b, number(BIAS))
        z = do.select(c_is_zero, number(0.0), self.with_exponent(bits_c, exponent))

        high, low = self.product(x, y)
        inner, lost_in_it = self.two_sum(z, low)
        outer, lost = self.two_sum(high, inner)
        bits = do.bitcast(do.fadd(outer, self.sum_to_odd(lost_in_it, lost)), self.integer)

        sign, exponent = do.and_(bits, number(-(2**63))), do.add(self.exponent(bits), shift)
        found = do.add(bits, do.shl(shift, number(FRACTION)))
        infinity = do.or_(sign, number(MOST << FRACTION))
        found = do.select(do.icmp_signed(">=", exponent, number(MOST)), infinity, found)
        vanishes = do.or_(do.icmp_signed("<=", exponent, number(0)), self.is_equal(self.exponent(bits), 0))
        found = do.bitcast(do.select(vanishes, sign, found), self.double)

        c_alone = do.or_(do.and_(is_far, do.not_(c_is_zero)), self.is_equal(exponent_c, MOST))
        found = do.select(c_alone, c, found)
        for factor in (exponent_a, exponent_b):  # zero, infinite or NaN: nothing is rounded
            special = do.or_(self.is_equal(factor, 0), self.is_equal(factor, MOST))
            found = do.select(special, do.fadd(do.fmul(a, b), c), found)
        return found

    def is_equal(self, x: Any, value: int) -> Any:
        """Return whether an integer is this one."""
        return self.builder.icmp_signed("==", x, self.constant(value))

    def exponent(self, bits: Any) -> Any:
        """Return the exponent as it stands in the bits of a number."""
        return self.builder.and_(self.builder.lshr(bits, self.constant(FRACTION)), self.constant(MOST))

    def with_exponent(self, bits: Any, exponent: Any) -> Any:
        """Return the number of those bits, but with that exponent."""
        rest = self.builder.and_(bits, self.constant(~(MOST << FRACTION)))
        there = self.builder.shl(exponent, self.constant(FRACTION))
        return self.builder.bitcast(self.builder.or_(rest, there), self.double)

    def two_sum(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return x + y, and what rounding took from it (Knuth)."""
        do = self.builder
        total = do.fadd(x, y)
        of_y = do.fsub(total, x)
        return total, do.fadd(do.fsub(x, do.fsub(total, of_y)), do.fsub(y, of_y))

    def product(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return x y, and what rounding took from it (Dekker)."""
        do = self.builder
        high = do.fmul(x, y)
        (x1, x2), (y1, y2) = self.halves(x), self.halves(y)
        low = do.fsub(do.fmul(x1, y1), high)
        for pair in ((x1, y2), (x2, y1), (x2, y2)):
            low = do.fadd(low, do.fmul(*pair))
        return high, low

    def halves(self, x: Any) -> tuple[Any, Any]:
        """Return x as the sum of two numbers of half as many digits (Veltkamp)."""
        do = self.builder
        multiple = do.fmul(x, self.constant(2.0**27 + 1))
        high = do.fsub(multiple, do.fsub(multiple, x))
        return high, do.fsub(x, high)

    def sum_to_odd(self, x: Any, y: Any) -> Any:
        """Return x + y, rounded to odd. NaN stays NaN."""
        do, number = self.builder, self.constant
        total, lost = self.two_sum(x, y)
        bits = do.bitcast(total, self.integer)
        # The other neighbour lies beyond the total if what was lost has its sign, or else nearer to zero.
        step = do.or_(do.ashr(do.xor(bits, do.bitcast(lost, self.integer)), number(63)), number(1))
        is_even = self.is_equal(do.and_(bits, number(1)), 0)
        moves = do.and_(is_even, do.fcmp_ordered("!=", lost, number(0.0)))
        return do.bitcast(do.select(moves, do.add(bits, step), bits), self.double)
