"""Copies: of rows, of a square transposed, of examples picked and transposed; prefetching; rows at an address."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.np.arrayobj import populate_array

from fastnet.kernels.build.jit import VECTOR_BYTES
from fastnet.kernels.ir.vectors import (
    INT,
    flat_float,
    lanes_below,
    lanes_of,
    load,
    mask,
    masked_load,
    masked_store,
    pointer,
    prefetch,
    store,
    transposed,
    with_fallback,
)


def _transpose_fallback(source: np.ndarray, s: int, lds: int, target: np.ndarray, t: int, ldt: int) -> None:
    side = VECTOR_BYTES // source.itemsize
    for i in range(side):
        target[t + i * ldt : t + i * ldt + side] = source[s + i + np.arange(side) * lds]


@with_fallback(_transpose_fallback)
def transpose_square(typingctx, source, s, lds, target, t, ldt):  # type: ignore[no-untyped-def]
    """target[j, i] = source[i, j] for a square as wide as a register; source[i, j] lies at source[s + i lds + j]."""
    dtype = flat_float(source, target)
    side = lanes_of(dtype)
    i = types.intp
    signature = types.void(source, i, i, target, i, i)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        source, s, lds, target, t, ldt = arguments
        vector = ir.VectorType(context.get_value_type(dtype), side)
        source = pointer(context, builder, signature.args[0], source, s)
        target = pointer(context, builder, signature.args[3], target, t)
        rows = [load(builder, source, vector, builder.mul(lds, INT(r))) for r in range(side)]
        for r, column in enumerate(transposed(builder, rows)):
            store(builder, column, target, builder.mul(ldt, INT(r)))
        return context.get_dummy_value()

    return signature, generate


def is_order(order: types.Type) -> None:
    """Refuse what does not number rows."""
    if not isinstance(order, types.Array) or order.dtype != types.int64:
        raise TypingError(f"needs an order of int64, got {order}")


CACHE_LINE = 64
"""Bytes that come from memory together."""


def _ask_for_fallback(X: np.ndarray, first: int, last: int) -> None:
    pass


@with_fallback(_ask_for_fallback)
def prefetch_range(typingctx, X, first, last):  # type: ignore[no-untyped-def]
    """Ask for elements first to last of X, flattened, which will be read soon; it does nothing else."""
    dtype = flat_float(X)
    i = types.intp
    signature = types.void(X, i, i)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        X, first, last = arguments
        X = pointer(context, builder, signature.args[0], X, INT(0))
        with cgutils.for_range_slice(builder, first, last, INT(CACHE_LINE * 8 // dtype.bitwidth)) as (j, _):
            prefetch(builder, builder.gep(X, [j]))
        return context.get_dummy_value()

    return signature, generate


def _rows_at_fallback(address: np.ndarray, m: int, n: int, like: np.ndarray) -> np.ndarray:
    return address.reshape(m, n)


@with_fallback(_rows_at_fallback)
def rows_at(typingctx, address, m, n, like):  # type: ignore[no-untyped-def]
    """Return the array (m, n) in C order whose entries, of the dtype of `like`, begin at an address."""
    kind = types.Array(flat_float(like), 2, "C")

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        address, m, n, _ = arguments
        itemsize = INT(kind.dtype.bitwidth // 8)
        array = context.make_array(kind)(context, builder)
        data = builder.inttoptr(address, context.get_data_type(kind.dtype).as_pointer())
        populate_array(
            array, data=data, shape=[m, n], strides=[builder.mul(n, itemsize), itemsize], itemsize=itemsize,
            meminfo=None,
        )  # fmt: skip
        return array._getvalue()

    return kind(types.int64, types.int64, types.int64, like), generate


GATHER_COLUMNS = 4
"""The most columns that `gather_few` takes."""


def _gather_square_fallback(
    X: np.ndarray, order: np.ndarray, o: int, examples: int, n: int, column: int, columns: int,
    target: np.ndarray, a: int, lda: int, at: int, ldt: int,
) -> None:  # fmt: skip
    for i in range(examples):
        x = X[order[o + i], column : column + columns]
        target[a + i + np.arange(columns) * lda] = x
        if at >= 0:
            target[at + i * ldt : at + i * ldt + columns] = x


@with_fallback(_gather_square_fallback)
def gather_square(typingctx, X, order, o, examples, n, column, columns, target, a, lda, at, ldt):  # type: ignore[no-untyped-def]
    """Copy some columns of rows of X (m, n), one row an example, into a square of `target`, transposed; at `at`, not.

    Both numbers are at most what a register holds, and at least 1: target[a + j lda + i] = target[at + i ldt + j] =
    X[order[o + i], column + j] for i < examples and j < columns. The rest of the square becomes any number; so do rows
    of A past the last column. Where `at` is -1, only the transpose is written.
    """
    dtype = flat_float(X, target)
    is_order(order)
    side = lanes_of(dtype)
    i = types.intp
    signature = types.void(X, order, i, i, i, i, i, target, i, i, i, i)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        X, order, o, examples, n, column, columns, target, a, lda, at, ldt = arguments
        vector = ir.VectorType(context.get_value_type(dtype), side)
        X = pointer(context, builder, signature.args[0], X, column)
        order = pointer(context, builder, signature.args[1], order, o)
        A = pointer(context, builder, signature.args[7], target, a)
        AT = pointer(context, builder, signature.args[7], target, at)
        last = builder.sub(examples, INT(1))
        lanes = lanes_below(builder, columns, side)
        rows = []
        for r in range(side):
            example = builder.select(builder.icmp_signed("<", INT(r), last), INT(r), last)
            x = builder.mul(builder.load(builder.gep(order, [example])), n)
            rows.append(masked_load(builder, X, vector, x, lanes))
        with builder.if_then(builder.icmp_signed(">=", at, INT(0))):
            for r, row in enumerate(rows):
                store(builder, row, AT, builder.mul(ldt, INT(r)))
        for r, row in enumerate(transposed(builder, rows)):
            with builder.if_then(builder.icmp_signed("<", INT(r), columns)):
                store(builder, row, A, builder.mul(lda, INT(r)))
        return context.get_dummy_value()

    return signature, generate


def _gather_few_fallback(
    X: np.ndarray, order: np.ndarray, o: int, examples: int, n: int, target: np.ndarray, a: int, lda: int
) -> None:
    for i in range(examples):
        target[a + i + np.arange(n) * lda] = X[order[o + i]]


@with_fallback(_gather_few_fallback)
def gather_few(typingctx, X, order, o, examples, n, target, a, lda):  # type: ignore[no-untyped-def]
    """Copy rows of X (m, n), one row an example, into columns of `target`, as `gather_square` does.

    n is at most GATHER_COLUMNS:

    target[a + j lda + i] = X[order[o + i], j] for i < examples, which are at most what a register holds; what remains
    of the register becomes any number.
    """
    dtype = flat_float(X, target)
    is_order(order)
    side = lanes_of(dtype)
    i = types.intp
    signature = types.void(X, order, i, i, i, target, i, i)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        X, order, o, examples, n, target, a, lda = arguments
        vector = ir.VectorType(context.get_value_type(dtype), GATHER_COLUMNS)
        X = pointer(context, builder, signature.args[0], X, INT(0))
        order = pointer(context, builder, signature.args[1], order, o)
        A = pointer(context, builder, signature.args[5], target, a)
        last = builder.sub(examples, INT(1))
        lanes = lanes_below(builder, n, GATHER_COLUMNS)
        rows = []
        for r in range(side):
            example = builder.select(builder.icmp_signed("<", INT(r), last), INT(r), last)
            rows.append(
                masked_load(builder, X, vector, builder.mul(builder.load(builder.gep(order, [example])), n), lanes)
            )
        while len(rows) > 1:
            both = mask(list(range(2 * rows[0].type.count)))
            rows = [builder.shuffle_vector(*pair, both) for pair in zip(rows[::2], rows[1::2], strict=True)]
        for j in range(GATHER_COLUMNS):
            with builder.if_then(builder.icmp_signed(">", n, INT(j))):
                column = builder.shuffle_vector(rows[0], rows[0], mask([j + GATHER_COLUMNS * r for r in range(side)]))
                store(builder, column, A, builder.mul(lda, INT(j)))
        return context.get_dummy_value()

    return signature, generate


ROWS_AHEAD = 4
"""`copy_rows` asks for the row that comes so many later: the hardware foresees none that lie a page apart."""


def _copy_rows_fallback(
    source: np.ndarray, s: int, lds: int, target: np.ndarray, t: int, ldt: int, rows: int, columns: int, add: bool
) -> None:
    target = target.reshape(-1)
    for r in range(rows):
        row = source.reshape(-1)[s + r * lds : s + r * lds + columns]
        old = target[t + r * ldt : t + r * ldt + columns]
        target[t + r * ldt : t + r * ldt + columns] = old + row if add else row


@with_fallback(_copy_rows_fallback)
def copy_rows(typingctx, source, s, lds, target, t, ldt, rows, columns, add):  # type: ignore[no-untyped-def]
    """target[r, j] = source[r, j], or += it, for r < rows and j < columns, of any number; no overlap.

    source[r, j] lies at source[s + r lds + j], flattened, target[r, j] at target[t + r ldt + j].
    """
    dtype = flat_float(source, target)
    lanes = lanes_of(dtype)
    i = types.intp
    signature = types.void(source, i, i, target, i, i, i, i, types.boolean)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        source, s, lds, target, t, ldt, rows, columns, add = arguments
        vector = ir.VectorType(context.get_value_type(dtype), lanes)
        source = pointer(context, builder, signature.args[0], source, s)
        target = pointer(context, builder, signature.args[3], target, t)
        whole = builder.and_(columns, INT(-lanes))
        rest = builder.sub(columns, whole)
        mask_rest = lanes_below(builder, rest, lanes)
        add = builder.icmp_unsigned("!=", add, add.type(0))
        far, last = builder.mul(lds, INT(ROWS_AHEAD)), builder.sub(rows, INT(ROWS_AHEAD))
        with cgutils.for_range(builder, rows) as row:
            row_source = builder.gep(source, [builder.mul(lds, row.index)])
            ahead = builder.select(builder.icmp_signed("<", row.index, last), far, INT(0))
            source_ahead = builder.gep(row_source, [ahead])
            row_target = builder.gep(target, [builder.mul(ldt, row.index)])
            with cgutils.for_range_slice(builder, INT(0), whole, INT(lanes)) as (j, _):
                prefetch(builder, builder.gep(source_ahead, [j]))
                new = load(builder, row_source, vector, j)
                added = builder.fadd(load(builder, row_target, vector, j), new)
                store(builder, builder.select(add, added, new), row_target, j)
            with builder.if_then(builder.icmp_signed(">", rest, INT(0))):
                new = masked_load(builder, row_source, vector, whole, mask_rest)
                # Where nothing is added, the target may hold anything, and is not read.
                reads = builder.select(add, mask_rest, ir.Constant(mask_rest.type, None))
                added = builder.fadd(masked_load(builder, row_target, vector, whole, reads), new)
                masked_store(builder, builder.select(add, added, new), row_target, whole, mask_rest)
        return context.get_dummy_value()

    return signature, generate
