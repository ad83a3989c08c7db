"""The register tiles: products with examples in the lanes of a register, or with units; see `vectors.py`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastnet.kernels.build.jit import VECTOR_BYTES
from fastnet.kernels.ir.fused import fma_of
from fastnet.kernels.ir.vectors import (
    INT,
    Function,
    flat_float,
    forbid_unrolling,
    lanes_below,
    lanes_of,
    load,
    masked_load,
    pointer,
    prefetch,
    splat,
    store,
    transposed,
    with_fallback,
)
from fastnet.kernels.plan import GRAIN, LANES

START_ZERO, START_BIAS, START_TARGET, ADD_TO_TARGET = 0, 1, 2, 3
"""What a tile begins from, and whether the target is added at the end."""

HALF, ONE, ONE_AND_HALF, TWO, TWO_AND_HALF, FOUR = range(6)
"""How wide a tile is, in registers. A half is half of the widest, GRAIN numbers; a width with one exists only where a
register holds more than those: for float32 with AVX-512."""

REGISTERS = {HALF: (0, 1), ONE: (1, 0), ONE_AND_HALF: (1, 1), TWO: (2, 0), TWO_AND_HALF: (2, 1), FOUR: (4, 0)}
"""Whole registers and halves of each width."""


def make_tile(rows: int, *widths: int) -> Function:
    """Make the register tile of `rows` rows, of any of these widths; `tile` below documents its arguments."""

    def fallback(
        width: int, C: np.ndarray, c: int, ldc: int, A: np.ndarray, a: int, ra: int, ka: int, jump: int,
        B: np.ndarray, b: int, kb: int, ahead: int, K: int, start: int, bias: np.ndarray, o: int,
    ) -> None:  # fmt: skip
        lanes = VECTOR_BYTES // C.itemsize
        assert width in widths
        whole, half = REGISTERS[width]
        assert not half or lanes > GRAIN
        columns = whole * lanes + half * GRAIN
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

    @with_fallback(fallback)
    def tile(typingctx, width, C, c, ldc, A, a, ra, ka, jump, B, b, kb, ahead, K, start, bias, o):  # type: ignore[no-untyped-def]
        """C[r, j] = start + sum over k of A[r, k] B[k, j], one chain of fmas per element in the order of k.

        r < rows, and j < the numbers that `width` holds, one of the widths made; C[r, j] lies at C[c + r ldc + j], B[k,
        j] at B[b + k kb + j] and A[r, k] at r ra past a pointer that moves on by ka after each k, but by `jump` after
        every LANES of them: so the sum over examples of the weight gradient crosses from block to block. K is at least
        1. `start` is START_ZERO, START_BIAS (bias[o + r] in row r), START_TARGET (C itself) or ADD_TO_TARGET (zero; C
        is added at the end). C may alias neither A nor B. For each k, the memory `ahead` elements past that row of B is
        asked for into the second-level cache, to be near when it is needed; but not where there are four registers.
        """
        dtype = flat_float(C, A, B, bias)
        lanes = lanes_of(dtype)
        i = types.intp
        signature = types.void(i, C, i, i, A, i, i, i, i, B, i, i, i, i, i, bias, i)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            width, C, c, ldc, A, a, ra, ka, jump, B, b, kb, ahead, K, start, bias, o = arguments
            types_of = signature.args
            C = pointer(context, builder, types_of[1], C, c)
            A = pointer(context, builder, types_of[4], A, a)
            B = pointer(context, builder, types_of[9], B, b)
            bias = pointer(context, builder, types_of[15], bias, o)
            done = builder.append_basic_block("tile.done")
            switch = builder.switch(width, done)
            for of_width in widths:
                whole, half = REGISTERS[of_width]
                if half and lanes <= GRAIN:
                    continue
                switch.add_case(INT(of_width), builder.append_basic_block("tile.width"))
                builder.position_at_end(switch.cases[-1][1])
                element = context.get_value_type(dtype)
                vectors = [ir.VectorType(element, lanes)] * whole + [ir.VectorType(element, GRAIN)] * half
                generate_tile(builder, rows, vectors, C, ldc, A, ra, ka, jump, B, kb, ahead, K, start, bias)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, generate

    return tile


def generate_tile(
    builder: ir.IRBuilder, rows: int, vectors: list[ir.VectorType],
    C: Any, ldc: Any, A: Any, ra: Any, ka: Any, jump: Any, B: Any, kb: Any, ahead: Any, K: Any, start: Any, bias: Any,
) -> None:  # fmt: skip
    """Generate a tile of `rows` rows of `vectors`, the widest first; C, A, B, bias: addresses of first elements."""
    offsets = [INT(sum(vector.count for vector in vectors[:v])) for v in range(len(vectors))]
    # The tile of four registers is for single rows alone: it reads much for each product, and asking slows that down
    # (with it, logistic is 0.94 times as fast: `benchmarks/peers.py --only logistic`).
    asks_ahead = len(vectors) < 4
    C_rows = [builder.gep(C, [builder.mul(ldc, INT(r))]) for r in range(rows)]
    A_rows = [builder.mul(ra, INT(r)) for r in range(rows)]
    cells = [(r, v) for r in range(rows) for v in range(len(vectors))]
    blocks = {name: builder.append_basic_block(f"tile.{name}") for name in ("bias", "target", "k", "add", "end")}

    def load_target() -> list[Any]:
        return [load(builder, C_rows[r], vectors[v], offsets[v]) for r, v in cells]

    # What the accumulators begin with.
    entry = builder.block
    switch = builder.switch(start, blocks["k"])
    switch.add_case(INT(START_BIAS), blocks["bias"])
    switch.add_case(INT(START_TARGET), blocks["target"])
    builder.position_at_end(blocks["bias"])
    bias_of = [builder.load(builder.gep(bias, [INT(r)])) for r in range(rows)]
    biases = [splat(builder, bias_of[r], vectors[v]) for r, v in cells]
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
            return ir.Constant(vectors[cells[n][1]], None) if values is None else values[n]

        return pick

    k = loop_value(INT, lambda _: INT(0))
    A_k = loop_value(A.type, lambda _: A)
    B_k = loop_value(B.type, lambda _: B)
    sums = [loop_value(vectors[v], initial_sum(n)) for n, (_, v) in enumerate(cells)]
    if asks_ahead:
        B_ahead = builder.gep(B_k, [ahead])
        for offset in offsets:
            prefetch(builder, builder.gep(B_ahead, [offset]), 2)
    b_k = [load(builder, B_k, vector, offset) for vector, offset in zip(vectors, offsets, strict=True)]
    a_k = [builder.load(builder.gep(A_k, [A_rows[r]])) for r in range(rows)]
    next_sums = [
        builder.call(fma_of(builder, vectors[v]), [splat(builder, a_k[r], vectors[v]), b_k[v], total])
        for (r, v), total in zip(cells, sums, strict=True)
    ]
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
        result = builder.phi(new.type)
        result.add_incoming(new, after)
        result.add_incoming(both, blocks["add"])
        results.append(result)
    for (r, v), result in zip(cells, results, strict=True):
        store(builder, result, C_rows[r], offsets[v])


def make_units_tile(rows: int) -> Function:
    """Make the tile of `rows` examples by a register of units; `units_tile` below documents its arguments."""

    def fallback(
        Z: np.ndarray, z: int, ldz: int, parameters: np.ndarray, w: int, b: int, n: int, n_prev: int, unit: int,
        A: np.ndarray, a: int, lda: int,
    ) -> None:  # fmt: skip
        units = np.minimum(unit + np.arange(VECTOR_BYTES // Z.itemsize), n - 1)
        for r in range(rows):
            total = parameters[b + units] if b >= 0 else np.zeros(len(units), Z.dtype)
            for k in range(n_prev):
                total = total + parameters[w + units * n_prev + k] * A[a + r * lda + k]
            Z[z + r * ldz + unit : z + r * ldz + unit + len(units)] = total

    @with_fallback(fallback)
    def units_tile(typingctx, Z, z, ldz, parameters, w, b, n, n_prev, unit, A, a, lda):  # type: ignore[no-untyped-def]
        """Z[r, u] = b[u] + sum over k of W[u, k] A[r, k], one chain of fmas per element in the order of k.

        r < rows, and u goes from `unit` through a register of units; those past the last of n become any number, for
        which Z needs room. W (n, n_prev) and b (n,) lie at w and b in `parameters` (b = -1: none), Z[r, u] at Z[z + r
        ldz + u] and A[r, k] at A[a + r lda + k]. W is read in squares and transposed in the registers. Z may alias
        neither A nor parameters.
        """
        dtype = flat_float(Z, parameters, A)
        lanes = lanes_of(dtype)
        i = types.intp
        signature = types.void(Z, i, i, parameters, i, i, i, i, i, A, i, i)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            Z, z, ldz, parameters, w, b, n, n_prev, unit, A, a, lda = arguments
            element = context.get_value_type(dtype)
            vector = ir.VectorType(element, lanes)
            types_of = signature.args
            Z = pointer(context, builder, types_of[0], Z, builder.add(z, unit))
            W = pointer(context, builder, types_of[3], parameters, w)
            bias = pointer(context, builder, types_of[3], parameters, b)
            A = pointer(context, builder, types_of[9], A, a)
            fma = fma_of(builder, vector)
            last = builder.sub(n, INT(1))
            units = [builder.add(unit, INT(lane)) for lane in range(lanes)]
            units = [builder.select(builder.icmp_signed("<", u, last), u, last) for u in units]
            W_rows = [builder.gep(W, [builder.mul(u, n_prev)]) for u in units]
            A_rows = [builder.gep(A, [builder.mul(lda, INT(r))]) for r in range(rows)]

            # Every sum begins with the bias of its unit, or with zero.
            start = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
            with builder.if_then(builder.icmp_signed(">=", b, INT(0))):
                # A unit past the last has no bias, and a result that nobody reads.
                biases = masked_load(builder, bias, vector, unit, lanes_below(builder, builder.sub(n, unit), lanes))
                builder.store(biases, start)
            sums = [cgutils.alloca_once_value(builder, builder.load(start)) for _ in range(rows)]

            def multiply_add(k: Any, column: Any, W_k: Any) -> None:
                for total, A_row in zip(sums, A_rows, strict=True):
                    a_k = splat(builder, builder.load(builder.gep(A_row, [builder.add(k, column)])), vector)
                    builder.store(builder.call(fma, [W_k, a_k, builder.load(total)]), total)

            whole = builder.and_(n_prev, INT(-lanes))
            with cgutils.for_range_slice(builder, INT(0), whole, INT(lanes)) as (k, _):
                square = [load(builder, W_row, vector, k) for W_row in W_rows]
                for column, W_k in enumerate(transposed(builder, square)):
                    multiply_add(k, INT(column), W_k)
            rest = builder.sub(n_prev, whole)
            with builder.if_then(builder.icmp_signed(">", rest, INT(0))):
                mask_rest = lanes_below(builder, rest, lanes)
                square = [masked_load(builder, W_row, vector, whole, mask_rest) for W_row in W_rows]
                columns = transposed(builder, square)
                memory = cgutils.alloca_once(builder, vector, size=lanes)
                for column, W_k in enumerate(columns):
                    builder.store(W_k, builder.gep(memory, [INT(column)]))
                with cgutils.for_range(builder, rest) as loop:
                    multiply_add(whole, loop.index, builder.load(builder.gep(memory, [loop.index])))
            for r, total in enumerate(sums):
                store(builder, builder.load(total), Z, builder.mul(ldz, INT(r)))
            return context.get_dummy_value()

        return signature, generate

    return units_tile
