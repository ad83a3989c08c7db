"""The core's peak rate of fused multiply-adds: a tile of the tallest shape that never leaves the registers."""

from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from fastnet.kernels.blocks import TALL
from fastnet.kernels.build.jit import OPTIONS, VECTOR_BYTES
from fastnet.kernels.ir.fused import fma_of
from fastnet.kernels.ir.vectors import INT, forbid_unrolling, load, pointer, store

REGISTERS = 2 * TALL


@intrinsic
def multiply_add_registers(typingctx, array, k):
    """REGISTERS accumulators, k times acc <- acc * x + y; x, y and the accumulators come from and go to `array`."""
    dtype = array.dtype
    lanes = VECTOR_BYTES * 8 // dtype.bitwidth

    def generate(context, builder, signature, arguments):
        array, k = arguments
        base = pointer(context, builder, signature.args[0], array, INT(0))
        vector = ir.VectorType(context.get_value_type(dtype), lanes)
        fma = fma_of(builder, vector)
        x, y, *start = (load(builder, base, vector, INT(i * lanes)) for i in range(2 + REGISTERS))
        entry, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        count, *sums = (builder.phi(kind) for kind in [INT, *[vector] * REGISTERS])
        results = [builder.call(fma, [total, x, y]) for total in sums]
        next_count = builder.add(count, INT(1))
        for phi, first, following in zip([count, *sums], [INT(0), *start], [next_count, *results], strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(following, loop)
        forbid_unrolling(builder.module, builder.cbranch(builder.icmp_signed("<", next_count, k), loop, end))
        builder.position_at_end(end)
        for i, result in enumerate(results):
            store(builder, result, base, INT((2 + i) * lanes))
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@njit(**OPTIONS)
def run(array, k):
    multiply_add_registers(array, k)


@lru_cache
def registers(dtype):
    """Return contents for the registers that stay finite and normal: acc -> acc / 2 + 1."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    array = np.ones((2 + REGISTERS) * lanes, dtype)
    array[:lanes] = 0.5
    return array


def peak(dtype, k):
    """Do k times REGISTERS vector fmas; return the number of floating-point operations."""
    array = registers(dtype)
    run(array, k)
    return 2 * (array.size - 2 * array.size // (2 + REGISTERS)) * k
