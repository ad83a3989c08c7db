"""From the sum of gradients over a batch to new parameters, in one pass over the flat vectors.

Back propagation leaves in `gradient` the sum over the examples. A pass divides it by m, adds the L2 term and, in
training, takes the step: W <- W - alpha (dW + lambda W) / m. Biases are not penalised.
"""

from typing import Any

import numpy as np

from fastnet.kernels.dense import ordered_sum
from fastnet.kernels.jit import kernel
from fastnet.kernels.plan import UNITS, B, W
from fastnet.kernels.scalars import fma, per_dtype

smallest_normal = per_dtype(float(np.finfo(np.float32).tiny), float(np.finfo(np.float64).tiny))


@kernel
def finish_gradient(plan: Any, m: int, l2: Any, parameters: Any, gradient: Any) -> None:
    """Gradient <- gradient / m + lambda / m * W, layer by layer; `l2` (L + 1,) holds lambda of layer l at l."""
    T = parameters.dtype.type
    per_example = T(1.0 / m)
    for layer in range(1, plan.shape[0]):
        n, n_prev, w, b = plan[layer, UNITS], plan[layer - 1, UNITS], plan[layer, W], plan[layer, B]
        mean_gradient(parameters[w : w + n * n_prev], gradient[w : w + n * n_prev], per_example, T(l2[layer] / m))
        if b >= 0:
            mean_gradient(parameters[b : b + n], gradient[b : b + n], per_example, T(0))


@kernel
def mean_gradient(p: Any, dp: Any, per_example: Any, decay: Any) -> None:
    """Dp <- dp / m + lambda / m * p, all (n,)."""
    for i in range(p.shape[0]):
        dp[i] = fma(decay, p[i], dp[i] * per_example)


@kernel
def sgd(plan: Any, m: int, l2: Any, learning_rate: float, parameters: Any, gradient: Any) -> None:
    """One step of gradient descent: p <- p - alpha (dp / m + lambda / m * p); `gradient` is read only."""
    T = parameters.dtype.type
    per_example, alpha = T(1.0 / m), T(learning_rate)
    for layer in range(1, plan.shape[0]):
        n, n_prev, w, b = plan[layer, UNITS], plan[layer - 1, UNITS], plan[layer, W], plan[layer, B]
        descend(parameters[w : w + n * n_prev], gradient[w : w + n * n_prev], per_example, T(l2[layer] / m), alpha)
        if b >= 0:
            descend(parameters[b : b + n], gradient[b : b + n], per_example, T(0), alpha)


@kernel
def descend(p: Any, dp: Any, per_example: Any, decay: Any, alpha: Any) -> None:
    """P <- p - alpha (dp / m + lambda / m * p), all (n,). A subnormal result becomes zero: those are slow to add."""
    T = p.dtype.type
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
