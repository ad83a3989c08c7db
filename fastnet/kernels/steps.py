"""From gradients to steps: a member's share of the update of a batch, after all gradients are there or along with them.

Along with them, most of the gradient of a large network is never written to memory and read again, past the nearest
caches. (`wide`: 1.03 times as fast as with MANY_PARAMETERS out of reach, `python benchmarks/peers.py --only wide`.)
"""

from collections.abc import Callable
from typing import Any

from fastnet.kernels.build.jit import kernel, spliced_kernel
from fastnet.kernels.build.parts import call_signs, call_update, steps_signature
from fastnet.kernels.codes import L1, L2
from fastnet.kernels.passes import gradients_of_rows, owns_bias, share_of_weights
from fastnet.kernels.plan import AT, SIGNS, STEP, TEMPORARY, UNITS, B, W
from fastnet.kernels.products import TALL


@spliced_kernel
def finish_share(
    plan: Any, update: int, per_example: float, penalty: float, member: int, members: int, penalties: Any,
    settings: Any, power1: float, power2: float, parameters: Any, gradient: Any, moments: Any,
) -> bool:  # fmt: skip
    """Finish the gradient of a batch, or take a step, for a member's share; return whether it is finite.

    `update` is the address of what to do, see `updates.py`; `penalties` (2, L + 1) hold the strengths of L2 and of L1
    of layer l at l, which count `penalty` times: `per_example` times, or not at all. Where there is one of L1, the plan
    must hold the address of what it adds.
    """
    good: bool = True
    penalised = False
    for layer in range(1, plan.shape[0]):
        penalised |= (penalties[L2, layer] + penalties[L1, layer]) * penalty > 0.0
    if members == 1 and not penalised:  # all in one run
        good = call_update(
            update, per_example, 0.0, settings, power1, power2, 0, parameters.shape[0], 0, parameters, gradient, moments
        )
    else:
        for layer in range(1, plan.shape[0]):
            n, n_prev = plan[layer, UNITS], plan[layer - 1, UNITS]
            first_row, last_row, first_column, last_column = share_of_weights(n, n_prev, member, members)
            good &= finish_rows(
                plan, layer, first_row, last_row, first_column, last_column, update, per_example, penalty, penalties,
                settings, power1, power2, parameters, gradient, plan[layer, W] + first_row * n_prev + first_column,
                plan[layer, B] + first_row, moments,
            )  # fmt: skip
    return good


@kernel
def finish_rows(
    plan: Any, layer: int, first_row: int, last_row: int, first_column: int, last_column: int, update: int,
    per_example: float, penalty: float, penalties: Any, settings: Any, power1: float, power2: float, parameters: Any,
    gradient: Any, at: int, at_bias: int, moments: Any,
) -> bool:  # fmt: skip
    """Finish the gradient, or take a step, for some rows and columns of W, and the same rows of b.

    The gradient of the first of those weights lies at `at` in `gradient`, its rows as far apart as those of W; and that
    of the first bias at `at_bias`.
    """
    n_prev, width, good = plan[layer - 1, UNITS], last_column - first_column, True
    rows, length = (1, (last_row - first_row) * n_prev) if width == n_prev else (last_row - first_row, width)
    for r in range(rows + owns_bias(plan, layer, first_column, last_column)):
        start, here = plan[layer, W] + (first_row + r) * n_prev + first_column, at + r * n_prev
        decay = penalties[L2, layer] * penalty
        if r == rows:
            start, here, length, decay = plan[layer, B] + first_row, at_bias, last_row - first_row, 0.0
        elif penalties[L1, layer] * penalty > 0.0:
            call_signs(plan[0, SIGNS], penalties[L1, layer], start, start + length, here, parameters, gradient)
        good &= call_update(
            update, per_example, decay, settings, power1, power2, start, start + length, here, parameters, gradient,
            moments,
        )  # fmt: skip
    return good


def make_steps(source_digest: str) -> Callable[..., bool]:
    """Make the gradients of a chunk that is a batch, and the step with them: a part for large networks."""

    def take_steps(
        plan: Any, m: int, member: int, members: int, S: Any, head: int, stage: int, update: int, per_example: float,
        penalty: float, penalties: Any, settings: Any, power1: float, power2: float, parameters: Any, gradient: Any,
        moments: Any,
    ) -> bool:  # fmt: skip
        """Work out the gradients of m examples and take a step, for a member's share; return whether it is finite.

        As `add_gradients` at this `stage` and then `finish_share` would, whose arguments these are. But where rows of W
        are the share, as many as fit into STEP elements are worked out at a time, in S. `gradient` then receives only
        what has left a parameter or a moment that is not finite, so that one can tell whether the gradient was.
        """
        _ = source_digest
        good = True
        for layer in range(plan.shape[0] - 1, 0, -1):
            n, n_prev, w, b = plan[layer, UNITS], plan[layer - 1, UNITS], plan[layer, W], plan[layer, B]
            row, last_row, first_column, last_column = share_of_weights(n, n_prev, member, members)
            in_S = plan[layer - 1, AT] >= 0 and last_column - first_column == n_prev and (n_prev + 1) * TALL <= STEP
            target, rows_most = (S, STEP // (n_prev + 1) // TALL * TALL) if in_S else (gradient, n)
            while row < last_row:
                end = min(row + rows_most, last_row)
                at, at_bias = w + row * n_prev, b + row
                if in_S:
                    at, at_bias = head + TEMPORARY, head + TEMPORARY + (end - row) * n_prev
                gradients_of_rows(
                    plan, layer, row, end, first_column, last_column, 0, m, S, head, target, at - row * n_prev,
                    at_bias - row, False, stage,
                )  # fmt: skip
                finite = finish_rows(
                    plan, layer, row, end, first_column, last_column, update, per_example, penalty, penalties, settings,
                    power1, power2, parameters, target, at + first_column, at_bias, moments,
                )  # fmt: skip
                if in_S and not finite:
                    copy(S, at, (end - row) * n_prev, gradient, w + row * n_prev)
                    copy(S, at_bias, (end - row) * (b >= 0), gradient, b + row)
                good &= finite
                row = end
        return good

    take_steps.signature = steps_signature  # type: ignore[attr-defined]
    return take_steps


@kernel
def copy(source: Any, s: int, n: int, target: Any, t: int) -> None:
    """Copy n numbers from s on in `source` to t on in `target`."""
    for k in range(n):
        target[t + k] = source[s + k]
