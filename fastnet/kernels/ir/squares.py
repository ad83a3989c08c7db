"""Squares of 16 features by 16 examples, as a sweep takes them: sums over the examples, products over the features.

Those of the same features follow each other, SQUARE * SQUARE numbers each, in which a feature's examples lie side by
side. See `sweep.py`; and `simd.py` for the twins.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastnet.kernels.build.jit import VECTOR_BYTES
from fastnet.kernels.ir.sums import SUM_LANES, halves_of_each_added
from fastnet.kernels.ir.vectors import (
    INT,
    flat_float,
    fma_of,
    lanes_below,
    lanes_of,
    load,
    masked_load,
    masked_store,
    pointer,
    prefetch,
    splat,
    store,
    with_twin,
)
from fastnet.kernels.plan import LANES

SQUARE = 16
"""Features at a time, and examples: with 512 of those, the features' squares take 32 KB in float32."""


def _sums_over_examples_twin(
    target: np.ndarray, t: int, features: int, S: np.ndarray, x: int, m: int, y: int, block: int
) -> None:
    squares = S[x : x + -(-m // SQUARE) * SQUARE**2].reshape(-1, SQUARE, SQUARE)
    lanes = np.zeros((SQUARE, SQUARE), S.dtype)
    for s, square in enumerate(squares):
        q, j = divmod(s * SQUARE, LANES)
        width = min(SQUARE, m - s * SQUARE)
        lanes[:, :width] += square[:, :width] * S[y + q * block + j :][:width]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    target[t : t + features] = lanes[:features, 0]


@with_twin(_sums_over_examples_twin)
def sums_over_examples(typingctx, target, t, features, S, x, m, y, block):  # type: ignore[no-untyped-def]
    """target[t + k] = sum over m examples of feature k, at x in S, times that of Y: for k < features, at most SQUARE.

    Example e of Y lies at S[y + e // LANES block + e % LANES]. Partial sum p, of SUM_LANES, takes the examples p,
    p + 16, p + 32, ... in order, by fmas; then the two halves of the partial sums are added until one is left. Past the
    last example and feature lie finite numbers.
    """
    dtype = flat_float(target, S)
    i = types.intp
    signature = types.void(target, i, i, S, i, i, i, i)
    registers = 16 if VECTOR_BYTES == 64 else 8
    side_by_side = min(SQUARE, max(1, registers * VECTOR_BYTES * 8 // (SUM_LANES * dtype.bitwidth)))

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        target, t, features, S, x, m, y, block = arguments
        vector = ir.VectorType(context.get_value_type(dtype), SUM_LANES)
        fma = fma_of(builder, vector)
        target = pointer(context, builder, signature.args[0], target, t)
        X = pointer(context, builder, signature.args[3], S, x)
        Y = pointer(context, builder, signature.args[3], S, y)
        sums = [cgutils.alloca_once(builder, vector) for _ in range(side_by_side)]
        whole = builder.and_(m, INT(-SQUARE))
        rest = builder.sub(m, whole)

        with cgutils.for_range_slice(builder, INT(0), INT(SQUARE), INT(side_by_side)) as (first, _):
            X_first = builder.gep(X, [builder.mul(first, INT(SQUARE))])
            for total in sums:
                builder.store(ir.Constant(vector, None), total)

            def add_square(e: Any, Y_e: Any) -> None:
                square = builder.gep(X_first, [builder.mul(e, INT(SQUARE))])
                for k, total in enumerate(sums):
                    X_k = load(builder, square, vector, INT(k * SQUARE))
                    builder.store(builder.call(fma, [X_k, Y_e, builder.load(total)]), total)

            def offset_of(e: Any) -> Any:
                q, column = builder.lshr(e, INT(LANES.bit_length() - 1)), builder.and_(e, INT(LANES - 1))
                return builder.add(builder.mul(q, block), column)

            with cgutils.for_range_slice(builder, INT(0), whole, INT(SQUARE)) as (e, _):
                add_square(e, load(builder, Y, vector, offset_of(e)))
            with builder.if_then(builder.icmp_signed(">", rest, INT(0))):
                lanes = lanes_below(builder, rest, SUM_LANES)
                add_square(whole, masked_load(builder, Y, vector, offset_of(whole), lanes))
            found = halves_of_each_added(builder, [builder.load(total) for total in sums])
            valid = lanes_below(builder, builder.sub(features, first), side_by_side)
            masked_store(builder, found, target, first, valid)
        return context.get_dummy_value()

    return signature, generate


def _add_products_twin(
    P: np.ndarray, p: int, parameters: np.ndarray, w: int, features: int, X: np.ndarray, x: int, m: int, begins: bool
) -> None:
    squares = X[x : x + m * SQUARE].reshape(-1, SQUARE, SQUARE)
    total = np.zeros((len(squares), SQUARE), P.dtype) if begins else P[p : p + m].reshape(-1, SQUARE)
    for k in range(features):
        total = total + parameters[w + k] * squares[:, k]
    P[p : p + m] = total.reshape(-1)


@with_twin(_add_products_twin)
def add_products(typingctx, P, p, parameters, w, features, X, x, m, begins):  # type: ignore[no-untyped-def]
    """P[e] = P[e] + sum over the features of W[k] X[k, e], one chain of fmas for each example, in the order of k.

    For e < m, a multiple of SQUARE, and k < features, at most SQUARE, past which lie finite numbers in X. P[e] lies at
    P[p + e], W[k] at parameters[w + k]. `begins` makes the sum begin with zero. X may be P's array, but the two may not
    overlap. While it computes, it asks for the squares of the next features.
    """
    dtype = flat_float(P, parameters, X)
    lanes = lanes_of(dtype)
    i = types.intp
    signature = types.void(P, i, parameters, i, i, X, i, i, types.boolean)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        P, p, parameters, w, features, X, x, m, begins = arguments
        element = context.get_value_type(dtype)
        vector = ir.VectorType(element, lanes)
        fma = fma_of(builder, vector)
        P = pointer(context, builder, signature.args[0], P, p)
        W = pointer(context, builder, signature.args[2], parameters, w)
        X = pointer(context, builder, signature.args[5], X, x)
        begins = builder.icmp_unsigned("!=", begins, begins.type(0))
        W = masked_load(builder, W, ir.VectorType(element, SQUARE), INT(0), lanes_below(builder, features, SQUARE))
        W = [splat(builder, builder.extract_element(W, ir.IntType(32)(k)), vector) for k in range(SQUARE)]
        ahead = builder.mul(m, INT(SQUARE))
        with cgutils.for_range_slice(builder, INT(0), m, INT(SQUARE)) as (e, _):
            square = builder.gep(X, [builder.mul(e, INT(SQUARE))])
            next_square = builder.gep(square, [ahead])
            for j in range(0, SQUARE, lanes):
                at = builder.add(e, INT(j))
                total = builder.select(begins, ir.Constant(vector, None), load(builder, P, vector, at))
                for k, W_k in enumerate(W):
                    here = INT(k * SQUARE + j)
                    prefetch(builder, builder.gep(next_square, [here]))
                    total = builder.call(fma, [W_k, load(builder, square, vector, here), total])
                store(builder, total, P, at)
        return context.get_dummy_value()

    return signature, generate
