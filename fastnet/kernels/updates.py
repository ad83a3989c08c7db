"""From the sum of gradients over a batch to new parameters, in one pass over the flat vectors.

Back propagation leaves in `gradient` the sum over the examples. A pass divides it by m, adds the L2 term and, in
training, takes the step of an optimizer. Biases are not penalised.
"""

from typing import Any

import numpy as np

from fastnet.kernels.codes import ADAM, BETA1, BETA2, EPSILON, GRADIENT, LEARNING_RATE, SGD
from fastnet.kernels.dense import ordered_sum
from fastnet.kernels.jit import kernel, spliced_kernel
from fastnet.kernels.plan import UNITS, W
from fastnet.kernels.scalars import fma, per_dtype

smallest_normal = per_dtype(float(np.finfo(np.float32).tiny), float(np.finfo(np.float64).tiny))
largest_finite = per_dtype(float(np.finfo(np.float32).max), float(np.finfo(np.float64).max))


@spliced_kernel
def finish(
    mode: int, m: int, l2: float, settings: Any, power1: float, power2: float,
    p: Any, dp: Any, moment_1: Any, moment_2: Any,
) -> bool:  # fmt: skip
    """Finish the gradient of a run of parameters, or take a step with it; return whether all stayed finite.

    p (n,) are the parameters, dp (n,) the sum of their gradients over the m examples of a batch. `mode` is GRADIENT or
    an optimizer's code, `settings` the optimizer's. `power1` and `power2` are beta1^t and beta2^t of step t = 1, 2,
    and so on: running products, since a libm's power differs by machine. Moments are (n,), or (0,) where there are
    none. With g = dp / m + lambda / m p:

    GRADIENT: dp <- g.  SGD: p <- p - alpha g.  ADAM: see there.
    """
    T = p.dtype.type
    per_example, decay = T(1.0 / m), T(l2 / m)
    bad = False
    if mode == GRADIENT:
        for i in range(p.shape[0]):
            dp[i] = fma(decay, p[i], dp[i] * per_example)
    elif mode == SGD:
        alpha = T(settings[LEARNING_RATE])
        for i in range(p.shape[0]):
            new = fma(-alpha, fma(decay, p[i], dp[i] * per_example), p[i])
            bad |= not (abs(new) <= largest_finite(new))
            p[i] = without_subnormal(new)
    elif mode == ADAM:
        bad = not adam(per_example, decay, settings, power1, power2, p, dp, moment_1, moment_2)
    return not bad


@kernel
def adam(
    per_example: Any, decay: Any, settings: Any, power1: float, power2: float,
    p: Any, dp: Any, moment_1: Any, moment_2: Any,
) -> bool:  # fmt: skip
    """M <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; p <- p - alpha m' / (sqrt(v') + epsilon).

    m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t). Kingma and Ba, Adam: a method for stochastic optimization, 2015.
    Returns whether p and v stayed finite.
    """
    T = p.dtype.type
    beta1, beta2, epsilon = T(settings[BETA1]), T(settings[BETA2]), T(settings[EPSILON])
    rest1, rest2 = T(1.0 - settings[BETA1]), T(1.0 - settings[BETA2])
    alpha = T(settings[LEARNING_RATE] / (1.0 - power1))
    scale = T(1.0 / np.sqrt(1.0 - power2))
    bad = False
    for i in range(p.shape[0]):
        g = fma(decay, p[i], dp[i] * per_example)
        mean = fma(beta1, moment_1[i], rest1 * g)
        square = fma(beta2, moment_2[i], rest2 * (g * g))
        new = fma(-alpha, mean / fma(np.sqrt(square), scale, epsilon), p[i])
        bad |= not (abs(new) <= largest_finite(new)) or not (square <= largest_finite(new))
        moment_1[i] = without_subnormal(mean)
        moment_2[i] = without_subnormal(square)
        p[i] = without_subnormal(new)
    return not bad


@kernel
def without_subnormal(x: Any) -> Any:
    """Return x, or zero for a subnormal: those are slow to compute with, and what decays would stay among them."""
    T = type(x)
    return T(0) if abs(x) < smallest_normal(x) else x


@kernel
def l2_cost(plan: Any, m: int, l2: Any, parameters: Any) -> float:
    """Return the sum over the layers of lambda / (2 m) * ||W||^2."""
    cost = 0.0
    for layer in range(1, plan.shape[0]):
        if l2[layer] > 0.0:
            n_weights = plan[layer, UNITS] * plan[layer - 1, UNITS]
            cost += l2[layer] / (2.0 * m) * ordered_sum(parameters, plan[layer, W], n_weights, True)
    return cost
