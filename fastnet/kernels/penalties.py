"""What penalties of weights add to the cost, and L1 to the gradient: parts, which a network without them lacks.

What L2 adds to the gradient is added by every update.
"""

from collections.abc import Callable
from typing import Any

from fastnet.kernels.build.parts import penalty_cost_signature, signs_signature
from fastnet.kernels.codes import L1, L2
from fastnet.kernels.ir.sums import MAGNITUDES, SQUARES, ordered_sum
from fastnet.kernels.plan import UNITS, W


def make_penalty_cost(source_digest: str) -> Callable[..., float]:
    """Make the cost of the penalties."""

    def penalty_cost(plan: Any, penalties: Any, parameters: Any) -> float:
        """Return the sum over the layers of lambda / 2 * ||W||^2, and of L1's strength times the sum of |W|.

        The share of that in J is one part in m, or in the sum of the weights of the batch.
        """
        _ = source_digest
        cost = 0.0
        for layer in range(1, plan.shape[0]):
            w, n_weights = plan[layer, W], plan[layer, UNITS] * plan[layer - 1, UNITS]
            if penalties[L2, layer] > 0.0:
                cost += penalties[L2, layer] * 0.5 * ordered_sum(parameters, w, n_weights, SQUARES)
            if penalties[L1, layer] > 0.0:
                cost += penalties[L1, layer] * ordered_sum(parameters, w, n_weights, MAGNITUDES)
        return cost

    penalty_cost.signature = penalty_cost_signature  # type: ignore[attr-defined]
    return penalty_cost


def make_signs(source_digest: str) -> Callable[..., None]:
    """Make what L1 adds to the gradient."""

    def add_signs(strength: float, start: int, stop: int, at: int, parameters: Any, gradient: Any) -> None:
        """Add to the sum of the gradients what L1 adds: its strength times the sign of p, 0 at 0.

        For the parameters from start to stop, whose gradients begin at `at`.
        """
        _ = source_digest
        T = parameters.dtype.type
        step = T(strength)
        p, dp = parameters[start:stop], gradient[at : at + stop - start]
        for i in range(stop - start):
            dp[i] += step if p[i] > T(0) else -step if p[i] < T(0) else T(0)

    add_signs.signature = signs_signature  # type: ignore[attr-defined]
    return add_signs
