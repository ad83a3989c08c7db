"""One layer of few units behind a very wide input, where every step sees the same examples: a sweep over the features.

A few features of all examples lie in the nearest cache. There they serve the gradient of their weights, the step, and
at once the next step's way forward; so the input is read once a step. Each forward sum falls into slabs of SLAB
features, in order, which are what threads divide. Parts, compiled for such runs alone; `plan.py` says what lies where.
"""

from collections.abc import Callable
from typing import Any

from fastnet.kernels.build.parts import call_signs, from_input_signature, steps_signature
from fastnet.kernels.codes import L1, L2
from fastnet.kernels.ir.barrier import share
from fastnet.kernels.ir.squares import SQUARE, add_products, sums_over_examples
from fastnet.kernels.plan import AT, DZ, LANES, LD, PANEL_SIZE, ROWS, SIGNS, SLAB, UNITS, A, B, W
from fastnet.kernels.products import BOUNDS_CHECKED, bias_gradient, check_inside
from fastnet.kernels.updates import rule

STEP_ALONE, STEP_AND_PRODUCTS, PRODUCTS_ALONE = range(3)
"""What a sweep is for: the gradient and a step; the next products as well; or those alone, before the first step."""


def make_sum_of_slabs(source_digest: str) -> Callable[..., None]:
    """Make the way forward from what a sweep has left."""

    def sum_of_slabs(
        n: int, n_prev: int, first: int, last: int, parameters: Any, w: int, b: int,
        S: Any, a_prev: int, lda: int, z: int, block: int, ld: int,
    ) -> None:  # fmt: skip
        """Z = the products of the slabs, added in order, + b, for the examples first to last of a chunk.

        Those of slab s with row i of W lie at a_prev + (s n + i) lda in S, Z in blocks (n, ld) at z.
        """
        _ = source_digest
        slabs = (n_prev + SLAB - 1) // SLAB
        start = first
        while start < last:
            q, j = start // LANES, start % LANES
            columns = min(last - start, ld - j)
            for i in range(n):
                at, here = z + q * block + i * ld + j, a_prev + i * lda + start
                bias = parameters[b + i] if b >= 0 else S.dtype.type(0)
                for e in range(columns):
                    total = S[here + e]
                    for s in range(1, slabs):
                        total += S[here + e + s * n * lda]
                    S[at + e] = total + bias
            start += columns

    sum_of_slabs.signature = from_input_signature  # type: ignore[attr-defined]
    return sum_of_slabs


def make_sweep(source_digest: str, code: int) -> Callable[..., bool]:
    """Make the sweep."""

    def sweep(
        plan: Any, m: int, member: int, members: int, S: Any, head: int, stage: int, update: int, per_example: float,
        penalty: float, penalties: Any, settings: Any, power1: float, power2: float, parameters: Any, gradient: Any,
        moments: Any,
    ) -> bool:  # fmt: skip
        """Do what `stage` says for a member's slabs of the features of m examples; return whether all stayed finite.

        The other arguments are those of `steps.take_steps`, but that `update` is known already; `gradient` receives
        the gradient.
        """
        _ = source_digest
        T, good = S.dtype.type, True
        n, n_prev, ld, w, b = plan[1, UNITS], plan[0, UNITS], plan[0, LD], plan[1, W], plan[1, B]
        a, x, columns, slabs = plan[0, A], plan[0, AT], plan[0, PANEL_SIZE], plan[0, ROWS] // n
        dz, block, of_moment_2 = plan[1, DZ], plan[1, ROWS] * ld, parameters.shape[0]
        decay = T(penalties[L2, 1] * penalty)
        if BOUNDS_CHECKED:
            check_inside(parameters, w, w + n * n_prev - 1)
            check_inside(gradient, w, w + n * n_prev - 1)
            check_inside(S, a, a + slabs * n * columns - 1)
            check_inside(S, x, x + (n_prev + SQUARE - 1) // SQUARE * SQUARE * columns - 1)
            check_inside(S, dz, dz + (m - 1) // LANES * block + (n - 1) * ld + (m - 1) % LANES)
        first, last = share(slabs, member, members)
        for j in range(first * SLAB, min(last * SLAB, n_prev), SQUARE):
            features, slab, squares = min(SQUARE, n_prev - j), j // SLAB, x + j * columns
            for i in range(n):
                start = w + i * n_prev + j
                stop = start + features
                if stage != PRODUCTS_ALONE:
                    sums_over_examples(gradient, start, features, S, squares, m, dz + i * ld, block)
                    if penalties[L1, 1] * penalty > 0.0:
                        call_signs(plan[0, SIGNS], penalties[L1, 1], start, stop, start, parameters, gradient)
                    good &= rule(
                        code, T(per_example), decay, settings, power1, power2, parameters[start:stop],
                        gradient[start:stop], moments[start:stop], moments[of_moment_2 + start : of_moment_2 + stop],
                    )  # fmt: skip
                if stage != STEP_ALONE:
                    product = a + (slab * n + i) * columns
                    add_products(S, product, parameters, start, features, S, squares, columns, j == slab * SLAB)
        if stage != PRODUCTS_ALONE and member == 0 and b >= 0:
            bias_gradient(0, n, m, S, dz, block, ld, gradient, b, False)
            good &= rule(
                code, T(per_example), T(0), settings, power1, power2, parameters[b : b + n], gradient[b : b + n],
                moments[b : b + n], moments[of_moment_2 + b : of_moment_2 + b + n],
            )  # fmt: skip
        return good

    sweep.signature = steps_signature  # type: ignore[attr-defined]
    return sweep
