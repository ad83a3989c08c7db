"""Sums in a fixed number of lanes and a fixed tree, whatever the hardware; see `vectors.py`."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config

from fastnet.kernels.build.jit import VECTOR_BYTES
from fastnet.kernels.ir.fused import fma_of
from fastnet.kernels.ir.vectors import (
    INT,
    Function,
    flat_float,
    lanes_below,
    lanes_of,
    load,
    mask,
    masked_load,
    masked_store,
    pointer,
    splat,
    store,
    suffix,
    with_fallback,
)
from fastnet.kernels.plan import LANES

SUM_LANES = 16
"""Partial sums of `ordered_sum`: a part of the numerical contract, whatever the hardware's vectors hold."""

VALUES, SQUARES, MAGNITUDES = range(3)
"""What `ordered_sum` adds: the elements, their squares, or their absolute values."""

OUTSIDE = "a sum reaches outside its array"


def halves_added(builder: ir.IRBuilder, sums: Any) -> Any:
    """Return the sum of the lanes of a vector: its two halves are added until one lane is left."""
    return builder.extract_element(halves_of_each_added(builder, [sums]), ir.Constant(ir.IntType(32), 0))


def halves_of_each_added(builder: ir.IRBuilder, rows: list[Any]) -> Any:
    """Return a vector with the `halves_added` of each of some vectors, whose number is a power of two.

    A vector holds parts of several rows, as they become shorter: its halves are those of each part.
    """
    width = rows[0].type.count
    while len(rows) > 1 or width > 1:
        pairs = list(zip(rows[::2], rows[1::2], strict=True)) if len(rows) > 1 else [(rows[0], rows[0])]
        lanes = range(rows[0].type.count * min(len(rows), 2))
        low, high = (mask([lane for lane in lanes if lane % width // (width // 2) == half]) for half in (0, 1))
        rows = [builder.fadd(builder.shuffle_vector(*pair, low), builder.shuffle_vector(*pair, high)) for pair in pairs]
        width //= 2
    return rows[0]


def _halves_added(sums: np.ndarray) -> Any:
    while len(sums) > 1:
        sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
    return sums[0]


def load_lanes(builder: ir.IRBuilder, address: Any, vector: ir.VectorType, offset: Any, lanes: Any) -> Any:
    """Load a vector; only the lanes of a mask, if there is one."""
    if lanes is None:
        return load(builder, address, vector, offset)
    return masked_load(builder, address, vector, offset, lanes)


def _ordered_sum_fallback(array: np.ndarray, a: int, n: int, of: int) -> np.float64:
    if a < 0 or a + n > len(array):
        raise IndexError(OUTSIDE)
    x = array[a : a + n].astype(np.float64)
    x = (x, x * x, np.abs(x))[of]
    in_lanes = n // SUM_LANES * SUM_LANES
    total = _halves_added(x[:in_lanes].reshape(-1, SUM_LANES).sum(axis=0))
    for value in x[in_lanes:]:
        total = total + value
    return np.float64(total)


@with_fallback(_ordered_sum_fallback)
def ordered_sum(typingctx, array, a, n, of):  # type: ignore[no-untyped-def]
    """Return in float64 the sum of array[a : a + n]; `of` says of what in it.

    Partial sum s takes elements s, s + 16, s + 32, ... in order, as far as there are sixteen; then the two halves of
    the partial sums are added until one is left; then the elements that remain, one by one. That order is fixed,
    whatever the width of the registers.
    """
    dtype = flat_float(array)
    i = types.intp
    signature = types.float64(array, i, i, i)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        array, a, n, of = arguments
        if config.BOUNDSCHECK:
            length = context.make_array(signature.args[0])(context, builder, array).nitems
            end = builder.add(a, n)
            outside = builder.or_(builder.icmp_signed("<", a, INT(0)), builder.icmp_signed(">", end, length))
            with builder.if_then(outside, likely=False):
                context.call_conv.return_user_exc(builder, IndexError, (OUTSIDE,))
        array = pointer(context, builder, signature.args[0], array, a)
        source = ir.VectorType(context.get_value_type(dtype), SUM_LANES)
        vector = ir.VectorType(ir.DoubleType(), SUM_LANES)
        squares, magnitudes = (builder.icmp_signed("==", of, INT(what)) for what in (SQUARES, MAGNITUDES))

        def add(x: Any, total: Any, kind: Any, name: str) -> None:
            fabs = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), f"llvm.fabs.{name}")
            x = x if x.type == kind else builder.fpext(x, kind)
            x = builder.select(magnitudes, builder.call(fabs, [x]), x)
            x = builder.select(squares, builder.fmul(x, x), x)
            builder.store(builder.fadd(builder.load(total), x), total)

        in_lanes = builder.and_(n, INT(-SUM_LANES))
        lanes = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
        with cgutils.for_range_slice(builder, INT(0), in_lanes, INT(SUM_LANES)) as (index, _):
            add(load(builder, array, source, index), lanes, vector, suffix(vector))
        total = cgutils.alloca_once_value(builder, halves_added(builder, builder.load(lanes)))
        with cgutils.for_range_slice(builder, in_lanes, n, INT(1)) as (index, _):
            add(builder.load(builder.gep(array, [index])), total, ir.DoubleType(), "f64")
        return builder.load(total)

    return signature, generate


ROWS_SUMMED = 8
"""Rows summed side by side, or half as many: their partial sums are then added together."""


def make_sum_rows(weighted: bool) -> Function:
    """Make the sums of rows, or of rows times another; `sum_rows` below documents its arguments."""

    def fallback(
        S: np.ndarray, s: int, ld: int, block: int, n: int, rows: int, y: int, block_y: int,
        target: np.ndarray, t: int, add: bool,
    ) -> None:  # fmt: skip
        for r in range(rows):
            lanes = np.zeros(SUM_LANES, S.dtype)
            for first in range(0, n, SUM_LANES):
                q, j = divmod(first, LANES)
                width = min(SUM_LANES, n - first)
                x = S[s + r * ld + q * block + j :][:width]
                lanes[:width] += x * S[y + q * block_y + j :][:width] if weighted else x
            total = _halves_added(lanes)
            target[t + r] = target[t + r] + total if add else total

    @with_fallback(fallback)
    def sum_rows(typingctx, S, s, ld, block, n, rows, y, block_y, target, t, add):  # type: ignore[no-untyped-def]
        """target[t + r] = sum over n columns of row r, each times that of row y if `weighted`; or += that.

        At least 1 row. Columns lie in blocks of LANES: column j of row r at S[s + r ld + j // LANES block + j % LANES],
        of row y at S[y + j // LANES block_y + j % LANES]; if n is below LANES, ld may be too. Partial sum p, of
        SUM_LANES, takes columns p, p + 16, p + 32, ... in order, products by fmas; then the two halves of the partial
        sums are added until one is left.
        """
        dtype = flat_float(S, target)
        i = types.intp
        signature = types.void(S, i, i, i, i, i, i, i, target, i, types.boolean)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            S, s, ld, block, n, rows, y, block_y, target, t, add = arguments
            vector = ir.VectorType(context.get_value_type(dtype), SUM_LANES)
            fma = fma_of(builder, vector)
            Y = pointer(context, builder, signature.args[0], S, y)
            S = pointer(context, builder, signature.args[0], S, s)
            target = pointer(context, builder, signature.args[8], target, t)
            add = builder.icmp_unsigned("!=", add, add.type(0))
            last = builder.sub(rows, INT(1))
            whole = builder.and_(n, INT(-SUM_LANES))
            rest = builder.sub(n, whole)
            sums = [cgutils.alloca_once(builder, vector) for _ in range(ROWS_SUMMED)]

            def sum_some(first: Any, sums: list[Any]) -> None:
                """Sum as many rows as there are `sums`, from `first` on; past the last row, that again."""
                starts = []
                for r, total in enumerate(sums):
                    row = builder.add(first, INT(r))
                    row = builder.select(builder.icmp_signed("<", row, last), row, last)
                    starts.append(builder.gep(S, [builder.mul(row, ld)]))
                    builder.store(ir.Constant(vector, None), total)

                def add_columns(j: Any, lanes: Any) -> None:
                    q, column = builder.lshr(j, INT(LANES.bit_length() - 1)), builder.and_(j, INT(LANES - 1))
                    offset = builder.add(builder.mul(q, block), column)
                    weight = None
                    if weighted:
                        weight = load_lanes(builder, Y, vector, builder.add(builder.mul(q, block_y), column), lanes)
                    for start, total in zip(starts, sums, strict=True):
                        x, old = load_lanes(builder, start, vector, offset, lanes), builder.load(total)
                        new = builder.call(fma, [x, weight, old]) if weighted else builder.fadd(old, x)
                        builder.store(new, total)

                with cgutils.for_range_slice(builder, INT(0), whole, INT(SUM_LANES)) as (j, _):
                    add_columns(j, None)
                with builder.if_then(builder.icmp_signed(">", rest, INT(0))):
                    add_columns(whole, lanes_below(builder, rest, SUM_LANES))
                found = halves_of_each_added(builder, [builder.load(total) for total in sums])
                valid = lanes_below(builder, builder.sub(rows, first), len(sums))
                reads = builder.select(add, valid, ir.Constant(valid.type, None))
                added = builder.fadd(masked_load(builder, target, found.type, first, reads), found)
                masked_store(builder, builder.select(add, added, found), target, first, valid)

            # Where at most half as many remain as are summed side by side, as of a layer of one unit, half are.
            half = ROWS_SUMMED // 2
            by_all = builder.and_(builder.add(rows, INT(half - 1)), INT(-ROWS_SUMMED))
            with cgutils.for_range_slice(builder, INT(0), by_all, INT(ROWS_SUMMED)) as (first, _):
                sum_some(first, sums)
            with builder.if_then(builder.icmp_signed("<", by_all, rows)):
                sum_some(by_all, sums[:half])
            return context.get_dummy_value()

        return signature, generate

    return sum_rows


def make_dot_rows(most: int) -> Function:
    """Make the product of a row with each of some rows; `dot_rows` below documents its arguments.

    As many as a register has lanes, whose sums then fill 16 registers, or `most` if those are fewer. Where there are no
    more than 16 registers, as with AVX2, some spill; memory is slower still, and fewer rows are.
    """

    def fallback(
        Z: np.ndarray, z: int, step: int, A: np.ndarray, a: int, lda: int, W: np.ndarray, w: int, b: int, n: int
    ) -> None:
        for r in range(min(most, VECTOR_BYTES // Z.itemsize)):
            lanes = np.zeros(SUM_LANES, Z.dtype)
            for k in range(0, n, SUM_LANES):
                width = min(SUM_LANES, n - k)
                lanes[:width] += W[w + k :][:width] * A[a + r * lda + k :][:width]
            Z[z + r * step] = _halves_added(lanes) + (W[b] if b >= 0 else 0)

    @with_fallback(fallback)
    def dot_rows(typingctx, Z, z, step, A, a, lda, W, w, b, n):  # type: ignore[no-untyped-def]
        """Z[r] = sum over k < n of W[k] A[r, k], plus W[b] unless b is -1, for each of the rows r.

        Z[r] lies at Z[z + r step], A[r, k] at A[a + r lda + k], W[k] at W[w + k]. Partial sum p, of SUM_LANES, takes
        the k equal to p, p + 16, p + 32, ... in order, by fmas; then the two halves of the partial sums are added until
        one is left. Z may alias neither A nor W.
        """
        dtype = flat_float(Z, A, W)
        rows = min(most, lanes_of(dtype))
        i = types.intp
        signature = types.void(Z, i, i, A, i, i, W, i, i, i)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            Z, z, step, A, a, lda, W, w, b, n = arguments
            element = context.get_value_type(dtype)
            vector = ir.VectorType(element, SUM_LANES)
            fma = fma_of(builder, vector)
            Z = pointer(context, builder, signature.args[0], Z, z)
            A = pointer(context, builder, signature.args[3], A, a)
            bias = pointer(context, builder, signature.args[6], W, b)
            W = pointer(context, builder, signature.args[6], W, w)
            A_rows = [builder.gep(A, [builder.mul(lda, INT(r))]) for r in range(rows)]
            sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(rows)]

            def multiply_add(k: Any, lanes: Any) -> None:
                W_k = load_lanes(builder, W, vector, k, lanes)
                for total, A_row in zip(sums, A_rows, strict=True):
                    A_k = load_lanes(builder, A_row, vector, k, lanes)
                    builder.store(builder.call(fma, [W_k, A_k, builder.load(total)]), total)

            whole = builder.and_(n, INT(-SUM_LANES))
            rest = builder.sub(n, whole)
            with cgutils.for_range_slice(builder, INT(0), whole, INT(SUM_LANES)) as (k, _):
                multiply_add(k, None)
            with builder.if_then(builder.icmp_signed(">", rest, INT(0))):
                multiply_add(whole, lanes_below(builder, rest, SUM_LANES))
            start = cgutils.alloca_once_value(builder, ir.Constant(element, 0.0))
            with builder.if_then(builder.icmp_signed(">=", b, INT(0))):
                builder.store(builder.load(bias), start)
            for r, total in enumerate(sums):
                z_r = builder.fadd(halves_added(builder, builder.load(total)), builder.load(start))
                builder.store(z_r, builder.gep(Z, [builder.mul(step, INT(r))]))
            return context.get_dummy_value()

        return signature, generate

    return dot_rows


ROWS_ADDED = 8
"""Rows that `add_rows_times` adds in a pass."""


def _add_rows_times_fallback(
    D: np.ndarray, d: int, n: int, A: np.ndarray, a: int, lda: int, Y: np.ndarray, y: int, rows: int, zero: bool
) -> None:
    total = np.zeros(n, D.dtype) if zero else D[d : d + n].copy()
    for k in range(rows):
        total = total + Y[y + k] * A[a + k * lda : a + k * lda + n]
    D[d : d + n] = total


@with_fallback(_add_rows_times_fallback)
def add_rows_times(typingctx, D, d, n, A, a, lda, Y, y, rows, zero):  # type: ignore[no-untyped-def]
    """D[j] = (0, if zero, or D[j]) + sum over k < rows of Y[k] A[k, j], a chain of fmas in the order of k.

    For j < n, a multiple of a register's lanes, and 0 < rows <= ROWS_ADDED; D[j] lies at D[d + j], A[k, j], finite, at
    A[a + k lda + j], Y[k] at Y[y + k]. D aliases neither A nor Y.
    """
    dtype = flat_float(D, A, Y)
    lanes = lanes_of(dtype)
    i = types.intp
    signature = types.void(D, i, i, A, i, i, Y, i, i, types.boolean)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        D, d, n, A, a, lda, Y, y, rows, zero = arguments
        element = context.get_value_type(dtype)
        vector = ir.VectorType(element, lanes)
        D = pointer(context, builder, signature.args[0], D, d)
        A = pointer(context, builder, signature.args[3], A, a)
        Y = pointer(context, builder, signature.args[6], Y, y)
        zero, last = builder.icmp_unsigned("!=", zero, zero.type(0)), builder.sub(rows, INT(1))
        terms = []
        for k in range(ROWS_ADDED):  # past the last row: that again, times zero
            is_there = builder.icmp_signed("<", INT(k), rows)
            row = builder.select(is_there, INT(k), last)
            y_k = builder.select(is_there, builder.load(builder.gep(Y, [row])), ir.Constant(element, 0.0))
            terms.append((splat(builder, y_k, vector), builder.gep(A, [builder.mul(lda, row)])))
        with cgutils.for_range_slice(builder, INT(0), n, INT(lanes)) as (j, _):
            total = builder.select(zero, ir.Constant(vector, None), load(builder, D, vector, j))
            for y_k, A_k in terms:
                total = builder.call(fma_of(builder, vector), [y_k, load(builder, A_k, vector, j), total])
            store(builder, total, D, j)
        return context.get_dummy_value()

    return signature, generate
