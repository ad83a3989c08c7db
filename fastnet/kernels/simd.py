"""The only file that knows about registers: the tile, the transpose and the lane sum, as LLVM IR.

Each is an intrinsic over flat arrays, with offsets and strides counted in elements, and each has a twin in plain
NumPy that stands in for it when the JIT is off (`NUMBA_DISABLE_JIT=1`). The twins round after the product as well
as after the sum, so they agree to rounding error, not to the bit.

An intrinsic reads and writes memory without a bounds check. Its callers in `dense.py` do the checking when numba's
own checks are on.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastnet.kernels.jit import JIT_DISABLED, VECTOR_BYTES
from fastnet.kernels.plan import LANES

START_ZERO, START_BIAS, START_TARGET, ADD_TO_TARGET = 0, 1, 2, 3
"""What a tile begins from, and whether the target is added at the end."""

SUM_LANES = 16
"""Partial sums of `lane_sum`: a part of the numerical contract, whatever the hardware's vectors hold."""

PREFETCH_ROWS = 8
FAR_APART = 16_384
"""What a tile asks for ahead of time: the row of B that comes PREFETCH_ROWS later. But where rows lie FAR_APART bytes
apart, as the inputs of a wide first layer do, the hardware foresees none of them, and the same row of the next strip
is asked for, while the tiles of this strip compute: 209 examples of 12288 features take 1.8 ms a step, not 2.0
(`scripts/bench --bench "Ratio.*time"`)."""

INT = ir.IntType(64)
Function = Callable[..., Any]


def with_twin(twin: Function) -> Callable[[Function], Function]:
    """Make a function an intrinsic; or use its `twin` in plain Python when the JIT is off."""

    def choose(implementation: Function) -> Function:
        if JIT_DISABLED:
            return twin
        made: Function = intrinsic(implementation)
        return made

    return choose


def flat_float(*arrays: Any) -> types.Float:
    """Return the common dtype of flat arrays; malformed IR would abort the process, so refuse all else here."""
    dtype = getattr(arrays[0], "dtype", None)
    for array in arrays:
        flat = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"
        if not flat or array.dtype != dtype or not isinstance(dtype, types.Float):
            raise TypingError(f"needs flat C-contiguous arrays of one floating-point dtype, got {arrays}")
    return dtype


def lanes_of(dtype: types.Float) -> int:
    """Return how many numbers of `dtype` a vector register holds."""
    return VECTOR_BYTES * 8 // int(dtype.bitwidth)


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


def alignment(vector: ir.VectorType) -> int:
    """Return the size of one element in bytes: all that the arrays promise."""
    return 4 if isinstance(vector.element, ir.FloatType) else 8


def splat(builder: ir.IRBuilder, value: Any, vector: ir.VectorType) -> Any:
    """Return a vector with `value` in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, mask([0] * vector.count))


def mask(lanes: list[int]) -> ir.Constant:
    """Return the constant that picks `lanes` in a shuffle."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)


def prefetch(builder: ir.IRBuilder, address: Any) -> None:
    """Ask for the cache line of an address that will be read soon; harmless where there is no memory."""
    byte = ir.IntType(8).as_pointer()
    i32 = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(address, byte), i32(0), i32(3), i32(1)])


def forbid_unrolling(module: ir.Module, branch: Any) -> None:
    """Mark the loop of this branch: unrolled by LLVM, a tile that fills the registers spills and loses two thirds."""
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    loop = ir.values.MDValue(module, [], name=str(len(module.metadata)))
    loop.operands = (loop, disable)  # a loop's metadata must begin with itself, which llvmlite cannot say directly
    branch.set_metadata("llvm.loop", loop)


# ---------------------------------------------------------------------------------------------------------- the tile


def make_tile(rows: int, vectors: int) -> Function:
    """Make the register tile of `rows` rows by `vectors` registers; `tile` below documents its arguments."""

    def twin(
        C: np.ndarray, c: int, ldc: int, A: np.ndarray, a: int, ra: int, ka: int, jump: int,
        B: np.ndarray, b: int, kb: int, K: int, start: int, bias: np.ndarray, o: int,
    ) -> None:  # fmt: skip
        columns = vectors * VECTOR_BYTES // C.itemsize
        target = [slice(c + r * ldc, c + r * ldc + columns) for r in range(rows)]
        total = np.zeros((rows, columns), C.dtype)
        if start == START_BIAS:
            total[:] = bias[o : o + rows, None]
        elif start == START_TARGET:
            total[:] = [C[row] for row in target]
        for k in range(K):
            A_k = A[a + np.arange(rows) * ra]
            total += A_k[:, None] * B[b + k * kb : b + k * kb + columns]
            a += jump if (k + 1) % LANES == 0 else ka
        for r, row in enumerate(target):
            C[row] = C[row] + total[r] if start == ADD_TO_TARGET else total[r]

    @with_twin(twin)
    def tile(typingctx, C, c, ldc, A, a, ra, ka, jump, B, b, kb, K, start, bias, o):  # type: ignore[no-untyped-def]
        """C[r, j] = start + sum over k of A[r, k] B[k, j], one chain of fmas per element in the order of k.

        r < rows and j < vectors * lanes; C[r, j] lies at C[c + r ldc + j], B[k, j] at B[b + k kb + j] and A[r, k]
        at r ra past a pointer that moves on by ka after each k, but by `jump` after every LANES of them: so the sum
        over examples of the weight gradient crosses from block to block. K is at least 1. `start` is START_ZERO,
        START_BIAS (bias[o + r] in row r), START_TARGET (C itself) or ADD_TO_TARGET (zero; C is added at the end).
        C may alias neither A nor B.
        """
        dtype = flat_float(C, A, B, bias)
        lanes = lanes_of(dtype)
        i = types.intp
        signature = types.void(C, i, i, A, i, i, i, i, B, i, i, i, i, bias, i)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            C, c, ldc, A, a, ra, ka, jump, B, b, kb, K, start, bias, o = arguments
            vector = ir.VectorType(context.get_value_type(dtype), lanes)
            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{dtype.bitwidth}"
            )
            types_of = signature.args
            C = pointer(context, builder, types_of[0], C, c)
            A = pointer(context, builder, types_of[3], A, a)
            B = pointer(context, builder, types_of[8], B, b)
            bias = pointer(context, builder, types_of[13], bias, o)
            C_rows = [builder.gep(C, [builder.mul(ldc, INT(r))]) for r in range(rows)]
            A_rows = [builder.mul(ra, INT(r)) for r in range(rows)]
            cells = [(r, v) for r in range(rows) for v in range(vectors)]
            blocks = {
                name: builder.append_basic_block(f"tile.{name}") for name in ("bias", "target", "k", "add", "end")
            }

            def load_target() -> list[Any]:
                return [load(builder, C_rows[r], vector, INT(v * lanes)) for r, v in cells]

            far_apart = builder.icmp_signed(">=", kb, INT(FAR_APART * 8 // dtype.bitwidth))
            next_strip, later_row = INT(vectors * lanes), builder.mul(kb, INT(PREFETCH_ROWS))
            prefetch_offset = builder.select(far_apart, next_strip, later_row)

            # What the accumulators begin with.
            entry = builder.block
            switch = builder.switch(start, blocks["k"])
            switch.add_case(INT(START_BIAS), blocks["bias"])
            switch.add_case(INT(START_TARGET), blocks["target"])
            builder.position_at_end(blocks["bias"])
            biases = [splat(builder, builder.load(builder.gep(bias, [INT(r)])), vector) for r in range(rows)]
            builder.branch(blocks["k"])
            builder.position_at_end(blocks["target"])
            targets = load_target()
            builder.branch(blocks["k"])

            # The loop over k: one vector load per register of B, one broadcast per row of A, rows * vectors fmas.
            builder.position_at_end(blocks["k"])
            before = [(entry, None), (blocks["bias"], biases), (blocks["target"], targets)]

            def loop_value(kind: Any, initial: Callable[[Any], Any]) -> Any:
                phi = builder.phi(kind)
                for block, values in before:
                    phi.add_incoming(initial(values), block)
                return phi

            def initial_sum(n: int) -> Callable[[Any], Any]:
                def pick(values: Any) -> Any:
                    if values is None:
                        return ir.Constant(vector, None)
                    return values[n] if values is targets else values[cells[n][0]]

                return pick

            k = loop_value(INT, lambda _: INT(0))
            A_k = loop_value(A.type, lambda _: A)
            B_k = loop_value(B.type, lambda _: B)
            sums = [loop_value(vector, initial_sum(n)) for n in range(len(cells))]
            ahead = builder.gep(B_k, [prefetch_offset])
            for v in range(vectors):
                prefetch(builder, builder.gep(ahead, [INT(v * lanes)]))
            b_k = [load(builder, B_k, vector, INT(v * lanes)) for v in range(vectors)]
            a_k = [splat(builder, builder.load(builder.gep(A_k, [A_rows[r]])), vector) for r in range(rows)]
            next_sums = [builder.call(fma, [a_k[r], b_k[v], total]) for (r, v), total in zip(cells, sums, strict=True)]
            next_k = builder.add(k, INT(1))
            block_ends = builder.icmp_unsigned("==", builder.and_(next_k, INT(LANES - 1)), INT(0))
            next_A = builder.gep(A_k, [builder.select(block_ends, jump, ka)])
            next_B = builder.gep(B_k, [kb])
            for phi, value in zip([k, A_k, B_k, *sums], [next_k, next_A, next_B, *next_sums], strict=True):
                phi.add_incoming(value, blocks["k"])
            after = builder.append_basic_block("tile.after")
            forbid_unrolling(builder.module, builder.cbranch(builder.icmp_signed("<", next_k, K), blocks["k"], after))

            # Add the target, or not; store.
            builder.position_at_end(after)
            wants_target = builder.icmp_signed("==", start, INT(ADD_TO_TARGET))
            builder.cbranch(wants_target, blocks["add"], blocks["end"])
            builder.position_at_end(blocks["add"])
            added = [builder.fadd(old, new) for old, new in zip(load_target(), next_sums, strict=True)]
            builder.branch(blocks["end"])
            builder.position_at_end(blocks["end"])
            results = []
            for new, both in zip(next_sums, added, strict=True):
                result = builder.phi(vector)
                result.add_incoming(new, after)
                result.add_incoming(both, blocks["add"])
                results.append(result)
            for (r, v), result in zip(cells, results, strict=True):
                store(builder, result, C_rows[r], INT(v * lanes))
            return context.get_dummy_value()

        return signature, generate

    return tile


# ----------------------------------------------------------------------------------------------------- the transpose


def _transpose_twin(source: np.ndarray, s: int, lds: int, target: np.ndarray, t: int, ldt: int) -> None:
    side = VECTOR_BYTES // source.itemsize
    for i in range(side):
        target[t + i * ldt : t + i * ldt + side] = source[s + i + np.arange(side) * lds]


@with_twin(_transpose_twin)
def transpose_square(typingctx, source, s, lds, target, t, ldt):  # type: ignore[no-untyped-def]
    """target[j, i] = source[i, j] for a square as wide as a register; source[i, j] lies at source[s + i lds + j].

    Stage d of log2(width) exchanges bit d of the row's number with bit d of the column's: two shuffles a pair of rows.
    """
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
        d = 1
        while d < side:
            low = mask([side + lane - d if lane & d else lane for lane in range(side)])
            high = mask([side + lane if lane & d else lane + d for lane in range(side)])
            for r in range(side):
                if not r & d:
                    pair = rows[r], rows[r + d]
                    rows[r] = builder.shuffle_vector(*pair, low)
                    rows[r + d] = builder.shuffle_vector(*pair, high)
            d *= 2
        for r in range(side):
            store(builder, rows[r], target, builder.mul(ldt, INT(r)))
        return context.get_dummy_value()

    return signature, generate


# ------------------------------------------------------------------------------------------------------ the lane sum


def _lane_sum_twin(array: np.ndarray, a: int, n: int, squared: bool) -> np.float64:
    lanes = array[a : a + n].astype(np.float64).reshape(-1, SUM_LANES)
    sums = (lanes * lanes if squared else lanes).sum(axis=0)
    while len(sums) > 1:
        sums = sums[: len(sums) // 2] + sums[len(sums) // 2 :]
    return np.float64(sums[0])


@with_twin(_lane_sum_twin)
def lane_sum(typingctx, array, a, n, squared):  # type: ignore[no-untyped-def]
    """Return in float64 the sum of array[a : a + n], or of its squares; n is a multiple of SUM_LANES, or 0.

    Partial sum s takes elements s, s + 16, s + 32, ... in order; then the two halves of the partial sums are added
    until one is left. That order is fixed, whatever the width of the registers.
    """
    dtype = flat_float(array)
    i = types.intp
    signature = types.float64(array, i, i, types.boolean)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        array, a, n, squared = arguments
        array = pointer(context, builder, signature.args[0], array, a)
        source = ir.VectorType(context.get_value_type(dtype), SUM_LANES)
        vector = ir.VectorType(ir.DoubleType(), SUM_LANES)
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
        squared = builder.icmp_unsigned("!=", squared, squared.type(0))
        with cgutils.for_range_slice(builder, INT(0), n, INT(SUM_LANES)) as (index, _):
            x = load(builder, array, source, index)
            x = x if source == vector else builder.fpext(x, vector)
            x = builder.select(squared, builder.fmul(x, x), x)
            builder.store(builder.fadd(builder.load(total), x), total)
        sums = builder.load(total)
        half = SUM_LANES // 2
        while half:
            low, high = (mask(list(range(first, first + half))) for first in (0, half))
            sums = builder.fadd(builder.shuffle_vector(sums, sums, low), builder.shuffle_vector(sums, sums, high))
            half //= 2
        return builder.extract_element(sums, ir.Constant(ir.IntType(32), 0))

    return signature, generate
