"""What is done with registers: how to load, store, shuffle and ask ahead, as LLVM IR.

`tiles.py`, `copies.py` and `sums.py` make intrinsics of it, over flat arrays, with offsets and strides counted in
elements. Each has a Python fallback for when the JIT is off (`NUMBA_DISABLE_JIT=1`), which rounds after the product as
well as after the sum, and keeps subnormal numbers, so they agree to rounding error, not to the bit.

An intrinsic reads and writes memory without a bounds check: who calls one checks its indices (`blocks.check_inside`)
when numba's own checks are on.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastnet.kernels.build.jit import VECTOR_BYTES
from fastnet.kernels.build.target import JIT_DISABLED

INT = ir.IntType(64)
BOUNDS_CHECK = bool(config.BOUNDSCHECK)
Function = Callable[..., Any]


def with_fallback(fallback: Function) -> Callable[[Function], Function]:
    """Make a function an intrinsic; or use its `fallback` in plain Python when the JIT is off."""

    def choose(implementation: Function) -> Function:
        if JIT_DISABLED:
            return fallback
        made: Function = intrinsic(implementation)
        return made

    return choose


def flat_float(*arrays: Any) -> types.Float:
    """Return the common dtype of contiguous arrays; malformed IR would abort the process, so refuse all else here."""
    dtype = getattr(arrays[0], "dtype", None)
    for array in arrays:
        flat = isinstance(array, types.Array) and array.layout == "C"
        if not flat or array.dtype != dtype or not isinstance(dtype, types.Float):
            raise TypingError(f"needs C-contiguous arrays of one floating-point dtype, got {arrays}")
    return dtype


def lanes_of(dtype: types.Float) -> int:
    """Return how many numbers of `dtype` a vector register holds."""
    return VECTOR_BYTES * 8 // int(dtype.bitwidth)


def _lanes_in_register_fallback(array: Any) -> int:
    return VECTOR_BYTES // int(array.itemsize)


@with_fallback(_lanes_in_register_fallback)
def lanes_in_register(typingctx, array):  # type: ignore[no-untyped-def]
    """Return how many elements of `array` a vector register holds: a constant, not a division of the item's size."""
    lanes = lanes_of(flat_float(array))

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, lanes)

    return types.intp(array), generate


def pointer(context: Any, builder: ir.IRBuilder, array_type: types.Array, array: Any, offset: Any) -> Any:
    """Return the address of `array[offset]`."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


def load(builder: ir.IRBuilder, address: Any, vector: ir.VectorType, offset: Any) -> Any:
    """Load a vector from `offset` elements past `address`, at any alignment."""
    return builder.load(vector_at(builder, address, vector, offset), align=alignment(vector))


def store(builder: ir.IRBuilder, value: Any, address: Any, offset: Any) -> None:
    """Store a vector at `offset` elements past `address`, at any alignment."""
    builder.store(value, vector_at(builder, address, value.type, offset), align=alignment(value.type))


def vector_at(builder: ir.IRBuilder, address: Any, vector: ir.VectorType, offset: Any) -> Any:
    """Return the address `offset` elements further on, as that of a vector."""
    return builder.bitcast(builder.gep(address, [offset]), vector.as_pointer())


def alignment(kind: ir.Type) -> int:
    """Return the size of a number, or of an element of a vector, in bytes: all that the arrays promise."""
    return 4 if isinstance(getattr(kind, "element", kind), ir.FloatType) else 8


def splat(builder: ir.IRBuilder, value: Any, vector: ir.VectorType) -> Any:
    """Return a vector with `value` in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, mask([0] * vector.count))


def mask(lanes: list[int]) -> ir.Constant:
    """Return the constant that picks `lanes` in a shuffle."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)


def prefetch(builder: ir.IRBuilder, address: Any, cache: int = 1) -> None:
    """Ask for a line of memory that will be read soon, into the first or second cache; harmless where there is none."""
    byte = ir.IntType(8).as_pointer()
    i32 = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(address, byte), i32(0), i32(4 - cache), i32(1)])


def forbid_unrolling(module: ir.Module, branch: Any) -> None:
    """Mark the loop of this branch: unrolled by LLVM, a tile that fills the registers spills and loses two thirds."""
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    loop = ir.values.MDValue(module, [], name=str(len(module.metadata)))
    loop.operands = (loop, disable)  # a loop's metadata must begin with itself, which llvmlite cannot say directly
    branch.set_metadata("llvm.loop", loop)


def lanes_below(builder: ir.IRBuilder, n: Any, lanes: int) -> Any:
    """Return the mask of the first n lanes."""
    numbers = ir.Constant(ir.VectorType(INT, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, splat(builder, n, numbers.type))


def masked_load(builder: ir.IRBuilder, address: Any, vector: ir.VectorType, offset: Any, lanes: Any) -> Any:
    """Load the lanes of a mask from `offset` elements past `address`; zero in the others, whose memory is not read."""
    address = vector_at(builder, address, vector, offset)
    kind = ir.FunctionType(vector, [address.type, ir.IntType(32), lanes.type, vector])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.{suffix(vector)}.p0")
    return builder.call(function, [address, ir.IntType(32)(alignment(vector)), lanes, ir.Constant(vector, None)])


def masked_store(builder: ir.IRBuilder, value: Any, address: Any, offset: Any, lanes: Any) -> None:
    """Store the lanes of a mask at `offset` elements past `address`."""
    address = vector_at(builder, address, value.type, offset)
    kind = ir.FunctionType(ir.VoidType(), [value.type, address.type, ir.IntType(32), lanes.type])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.{suffix(value.type)}.p0")
    builder.call(function, [value, address, ir.IntType(32)(alignment(value.type)), lanes])


def suffix(vector: ir.VectorType) -> str:
    """Return the name of a vector type as it stands in names of LLVM's intrinsics, such as v16f32."""
    return f"v{vector.count}f{alignment(vector) * 8}"


def transposed(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """Return the columns of a square of registers.

    Stage d of log2(width) exchanges bit d of the row's number with bit d of the column's: two shuffles a pair of rows.
    """
    side, rows, d = len(rows), list(rows), 1
    while d < side:
        low = mask([side + lane - d if lane & d else lane for lane in range(side)])
        high = mask([side + lane if lane & d else lane + d for lane in range(side)])
        for r in range(side):
            if not r & d:
                pair = rows[r], rows[r + d]
                rows[r] = builder.shuffle_vector(*pair, low)
                rows[r + d] = builder.shuffle_vector(*pair, high)
        d *= 2
    return rows
