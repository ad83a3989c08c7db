"""From the sum of gradients over a batch to new parameters, in one pass over the flat vectors.

Back propagation leaves in `gradient` the sum over the examples. A pass divides it by m, adds the L2 term and, in
training, takes the step: W <- W - alpha (dW + lambda W) / m. Biases are not penalised.
"""

from typing import Any

import numpy as np

from fastnet.kernels.codes import GRADIENT, SGD
from fastnet.kernels.dense import ordered_sum
from fastnet.kernels.jit import kernel
from fastnet.kernels.plan import UNITS, B, W
from fastnet.kernels.scalars import fma, per_dtype

smallest_normal = per_dtype(float(np.finfo(np.float32).tiny), float(np.finfo(np.float64).tiny))


@kernel
def finish_batch(plan: Any, mode: int, m: int, l2: Any, learning_rate: float, parameters: Any, gradient: Any) -> None:
    """Finish the gradient of a batch of m examples, or take the step of an optimizer with it, layer by layer.

    `l2` (L + 1,) holds lambda of layer l at l; `mode` is GRADIENT or an optimizer's code.
    """
    T = parameters.dtype.type
    per_example, alpha = T(1.0 / m), T(learning_rate)
    for layer in range(1, plan.shape[0]):
        n = plan[layer, UNITS]
        n_weights = n * plan[layer - 1, UNITS]
        first, decay = plan[layer, W], T(l2[layer] / m)
        finish(
            mode, parameters[first : first + n_weights], gradient[first : first + n_weights], per_example, decay, alpha
        )
        first = plan[layer, B]
        if first >= 0:
            finish(mode, parameters[first : first + n], gradient[first : first + n], per_example, T(0), alpha)


@kernel
def finish(mode: int, p: Any, dp: Any, per_example: Any, decay: Any, alpha: Any) -> None:
    """GRADIENT: dp <- dp / m + lambda / m * p. SGD: p <- p - alpha (dp / m + lambda / m * p). All are (n,).

    A subnormal parameter becomes zero: those are slow to compute with.
    """
    T = p.dtype.type
    if mode == GRADIENT:
        for i in range(p.shape[0]):
            dp[i] = fma(decay, p[i], dp[i] * per_example)
    elif mode == SGD:
        for i in range(p.shape[0]):
            new = fma(-alpha, fma(decay, p[i], dp[i] * per_example), p[i])
            p[i] = T(0) if abs(new) < smallest_normal(new) else new


@kernel
def all_finite(p: Any) -> bool:
    """Return whether no entry of p (n,) is infinite or NaN: their sum tells, unless finite numbers overflow it."""
    if np.isfinite(ordered_sum(p, 0, p.shape[0], False)):
        return True
    for i in range(p.shape[0]):  # noqa: SIM110 (numba compiles no generators)
        if not np.isfinite(p[i]):
            return False
    return True


@kernel
def l2_cost(plan: Any, m: int, l2: Any, parameters: Any) -> float:
    """Return the sum over the layers of lambda / (2 m) * ||W||^2."""
    cost = 0.0
    for layer in range(1, plan.shape[0]):
        if l2[layer] > 0.0:
            n_weights = plan[layer, UNITS] * plan[layer - 1, UNITS]
            cost += l2[layer] / (2.0 * m) * ordered_sum(parameters, plan[layer, W], n_weights, True)
    return cost
