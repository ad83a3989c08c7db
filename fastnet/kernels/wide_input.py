"""The products of an input of very many features before a layer of few units: kept by rows, and read as it lies.

Parts, compiled for such networks alone. The way forward is sums in lanes (`sums.py`); the gradient runs over the
examples in order. Arrays are flat, as in `dense.py`.
"""

from collections.abc import Callable
from typing import Any

from fastnet.kernels.build.jit import VECTOR_BYTES
from fastnet.kernels.build.parts import from_input_signature, gradient_by_rows_signature
from fastnet.kernels.ir.sums import make_dot_rows
from fastnet.kernels.ir.tiles import START_TARGET, START_ZERO
from fastnet.kernels.plan import LANES, PADDING
from fastnet.kernels.products import BOUNDS_CHECKED, check_inside, multiply

dot_rows, dot_4_rows, dot_1_row = (make_dot_rows(most) for most in (16, 4, 1))


def make_forward_by_rows(source_digest: str) -> Callable[..., None]:
    """Make the way forward through the layer behind such an input."""

    def matmul_plus_bias_by_rows(
        n: int, n_prev: int, first: int, last: int, parameters: Any, w: int, b: int,
        S: Any, a_prev: int, lda: int, z: int, block: int, ld: int,
    ) -> None:  # fmt: skip
        """Z = W A_prev + b for the examples first to last of a chunk, where A_prev is kept by rows: (m, lda) at a_prev.

        Z in blocks (n, ld) at z in S, `first` a multiple of PADDING; or with ld = 1, which makes them rows.
        """
        _ = source_digest
        step, lanes = 1 if ld > 1 else block, VECTOR_BYTES // S.itemsize
        if BOUNDS_CHECKED and last > first:
            check_inside(parameters, max(b, 0), max(b, 0) + (n - 1 if b >= 0 else 0))
            check_inside(S, a_prev + first * lda, a_prev + (last - 1) * lda + n_prev - 1)
            check_inside(S, z + first // ld * block, z + (last - 1) // ld * block + (n - 1) * ld + (last - 1) % ld)
            check_inside(parameters, w, w + n * n_prev - 1)
        e = first
        while e < last:
            rows = lanes if last - e >= lanes else 4 if last - e >= 4 else 1
            for i in range(n):
                target, bias = z + e // ld * block + i * ld + e % ld, b + i if b >= 0 else -1
                if rows == lanes:
                    dot_rows(S, target, step, S, a_prev + e * lda, lda, parameters, w + i * n_prev, bias, n_prev)
                elif rows == 4:
                    dot_4_rows(S, target, step, S, a_prev + e * lda, lda, parameters, w + i * n_prev, bias, n_prev)
                else:
                    dot_1_row(S, target, step, S, a_prev + e * lda, lda, parameters, w + i * n_prev, bias, n_prev)
            e += rows

    matmul_plus_bias_by_rows.signature = from_input_signature  # type: ignore[attr-defined]
    return matmul_plus_bias_by_rows


def make_gradient_by_rows(source_digest: str) -> Callable[..., None]:
    """Make the gradient of the weights behind such an input."""

    def weight_gradient_by_rows(
        n: int, first_column: int, last_column: int, first: int, last: int,
        S: Any, dz: int, block: int, ld: int, a_prev: int, ldw: int, dw: int,
    ) -> None:  # fmt: skip
        """DW = dZ A_prev^T as in `dense.weight_gradient`, for some columns; A_prev (m, ldw) is kept by rows at a_prev.

        DW (n, ldw), padded, lies at dw in S. Adds examples `first` to `last`, PADDING at a time, to what it holds of
        those before, which the second pass over them then finds in the cache; begins with zero at example 0.
        """
        _ = source_digest
        columns = (last_column - first_column + PADDING - 1) // PADDING * PADDING
        for e in range(first, last, PADDING):
            start, K = START_ZERO if e == 0 else START_TARGET, min(PADDING, last - e)
            c, a, b = dw + first_column, dz + e // LANES * block + e % LANES, a_prev + e * ldw + first_column
            multiply(n, columns, S, c, ldw, S, a, ld, 1, 1, S, b, ldw, b + PADDING * ldw, K, start, S, 0)

    weight_gradient_by_rows.signature = gradient_by_rows_signature  # type: ignore[attr-defined]
    return weight_gradient_by_rows
