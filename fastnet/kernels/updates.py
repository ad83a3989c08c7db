"""From the sum of gradients over a batch to new parameters, in one pass over the flat vectors.

Back propagation leaves in `gradient` the sum over the examples, and `penalties.py` adds what L1 does. A pass divides it
by m, adds the L2 term and, in training, takes the step of an optimizer. Biases are not penalised. One more rule is a
function and a line in the table: it gets 1/m, lambda/m, the optimizer's settings and running powers, and p, dp and two
moments, each (n,) or (0,) where there are none. The gradient is g = dp / m + lambda / m p.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnet.kernels.build.jit import inlined_kernel, kernel
from fastnet.kernels.build.parts import chosen_from, update_signature
from fastnet.kernels.codes import (
    ADAGRAD,
    ADAM,
    BETA1,
    BETA2,
    EPSILON,
    EPSILON_HAT,
    GRADIENT,
    LEARNING_RATE,
    MOMENTUM,
    NESTEROV,
    RMSPROP,
    SGD,
    WEIGHT_DECAY,
)
from fastnet.kernels.ir.scalars import fma, per_dtype

smallest_normal = per_dtype(float(np.finfo(np.float32).tiny), float(np.finfo(np.float64).tiny))
largest_finite = per_dtype(float(np.finfo(np.float32).max), float(np.finfo(np.float64).max))


@inlined_kernel
def finish_gradient(
    per_example: Any, decay: Any, settings: Any, power1: float, power2: float,
    p: Any, dp: Any, moment_1: Any, moment_2: Any,
) -> bool:  # fmt: skip
    """Dp <- g, whatever it is."""
    for i in range(p.shape[0]):
        dp[i] = fma(decay, p[i], dp[i] * per_example)
    return True


@inlined_kernel
def gradient_descent(
    per_example: Any, decay: Any, settings: Any, power1: float, power2: float,
    p: Any, dp: Any, moment_1: Any, moment_2: Any,
) -> bool:  # fmt: skip
    """P <- p - alpha g. Returns whether p stayed finite."""
    alpha = p.dtype.type(settings[LEARNING_RATE])
    bad = False
    for i in range(p.shape[0]):
        new = fma(-alpha, fma(decay, p[i], dp[i] * per_example), p[i])
        bad |= not (abs(new) <= largest_finite(new))
        p[i] = without_subnormal(new)
    return not bad


@inlined_kernel
def momentum(
    per_example: Any, decay: Any, settings: Any, power1: float, power2: float,
    p: Any, dp: Any, moment_1: Any, moment_2: Any,
) -> bool:  # fmt: skip
    """V <- mu v + g; p <- p - alpha v. Returns whether p stayed finite."""
    T = p.dtype.type
    alpha, mu = T(settings[LEARNING_RATE]), T(settings[BETA1])
    bad = False
    for i in range(p.shape[0]):
        g = fma(decay, p[i], dp[i] * per_example)
        velocity = fma(mu, moment_1[i], g)
        new = fma(-alpha, velocity, p[i])
        bad |= not (abs(new) <= largest_finite(new))
        moment_1[i] = without_subnormal(velocity)
        p[i] = without_subnormal(new)
    return not bad


@inlined_kernel
def nesterov(
    per_example: Any, decay: Any, settings: Any, power1: float, power2: float,
    p: Any, dp: Any, moment_1: Any, moment_2: Any,
) -> bool:  # fmt: skip
    """V <- mu v + g; p <- p - alpha (g + mu v). Returns whether p stayed finite.

    Sutskever et al., On the importance of initialization and momentum in deep learning, 2013, as PyTorch writes it.
    """
    T = p.dtype.type
    alpha, mu = T(settings[LEARNING_RATE]), T(settings[BETA1])
    bad = False
    for i in range(p.shape[0]):
        g = fma(decay, p[i], dp[i] * per_example)
        velocity = fma(mu, moment_1[i], g)
        new = fma(-alpha, fma(mu, velocity, g), p[i])
        bad |= not (abs(new) <= largest_finite(new))
        moment_1[i] = without_subnormal(velocity)
        p[i] = without_subnormal(new)
    return not bad


@inlined_kernel
def rmsprop(
    per_example: Any, decay: Any, settings: Any, power1: float, power2: float,
    p: Any, dp: Any, moment_1: Any, moment_2: Any,
) -> bool:  # fmt: skip
    """S <- rho s + (1 - rho) g^2; p <- p - alpha g / (sqrt(s) + epsilon). Returns whether p and s stayed finite.

    Hinton, Neural networks for machine learning, lecture 6, 2012. rho stands at BETA2.
    """
    T = p.dtype.type
    alpha, rho, epsilon = T(settings[LEARNING_RATE]), T(settings[BETA2]), T(settings[EPSILON])
    rest = T(1.0 - settings[BETA2])
    bad = False
    for i in range(p.shape[0]):
        g = fma(decay, p[i], dp[i] * per_example)
        square = fma(rho, moment_1[i], rest * (g * g))
        new = fma(-alpha, g / (np.sqrt(square) + epsilon), p[i])
        bad |= not (abs(new) <= largest_finite(new)) or not (square <= largest_finite(new))
        moment_1[i] = without_subnormal(square)
        p[i] = without_subnormal(new)
    return not bad


@inlined_kernel
def adagrad(
    per_example: Any, decay: Any, settings: Any, power1: float, power2: float,
    p: Any, dp: Any, moment_1: Any, moment_2: Any,
) -> bool:  # fmt: skip
    """S <- s + g^2; p <- p - alpha g / (sqrt(s) + epsilon). Returns whether p and s stayed finite.

    Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic optimization, 2011.
    """
    T = p.dtype.type
    alpha, epsilon = T(settings[LEARNING_RATE]), T(settings[EPSILON])
    bad = False
    for i in range(p.shape[0]):
        g = fma(decay, p[i], dp[i] * per_example)
        square = fma(g, g, moment_1[i])
        new = fma(-alpha, g / (np.sqrt(square) + epsilon), p[i])
        bad |= not (abs(new) <= largest_finite(new)) or not (square <= largest_finite(new))
        moment_1[i] = without_subnormal(square)
        p[i] = without_subnormal(new)
    return not bad


@inlined_kernel
def adam(
    per_example: Any, decay: Any, settings: Any, power1: float, power2: float,
    p: Any, dp: Any, moment_1: Any, moment_2: Any,
) -> bool:  # fmt: skip
    """M <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; p <- p - alpha m' / (sqrt(v') + epsilon).

    m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t). Kingma and Ba, Adam: a method for stochastic optimization, 2015.
    Their epsilon hat, if that is given, is what epsilon * sqrt(1 - beta2^t) would be.
    Where there is a weight decay, p is first multiplied by 1 - alpha * decay: Loshchilov and Hutter, Decoupled weight
    decay regularization, 2019. Returns whether p and v stayed finite.
    """
    T = p.dtype.type
    beta1, beta2 = T(settings[BETA1]), T(settings[BETA2])
    rest1, rest2 = T(1.0 - settings[BETA1]), T(1.0 - settings[BETA2])
    alpha = T(settings[LEARNING_RATE] / (1.0 - power1))
    scale = T(1.0 / np.sqrt(1.0 - power2))
    epsilon = T(settings[EPSILON] + settings[EPSILON_HAT] / np.sqrt(1.0 - power2))
    kept = T(1.0 - settings[LEARNING_RATE] * settings[WEIGHT_DECAY])
    bad = False
    for i in range(p.shape[0]):
        g = fma(decay, p[i], dp[i] * per_example)
        mean = fma(beta1, moment_1[i], rest1 * g)
        square = fma(beta2, moment_2[i], rest2 * (g * g))
        new = fma(-alpha, mean / fma(np.sqrt(square), scale, epsilon), kept * p[i])
        bad |= not (abs(new) <= largest_finite(new)) or not (square <= largest_finite(new))
        moment_1[i] = without_subnormal(mean)
        moment_2[i] = without_subnormal(square)
        p[i] = without_subnormal(new)
    return not bad


rule = chosen_from(
    {
        GRADIENT: finish_gradient,
        SGD: gradient_descent,
        MOMENTUM: momentum,
        NESTEROV: nesterov,
        RMSPROP: rmsprop,
        ADAGRAD: adagrad,
        ADAM: adam,
    }
)


def make_update(source_digest: str, code: int) -> Callable[..., bool]:
    """Make the pass that finishes the gradient of a run of parameters, or takes the step of an optimizer."""

    def update(
        per_example: float, decay: float, settings: Any, power1: float, power2: float, start: int, stop: int,
        at: int, parameters: Any, gradient: Any, moments: Any,
    ) -> bool:  # fmt: skip
        """Do so for the parameters from start to stop; return whether all stayed finite.

        From `at` on, `gradient` holds the sum of their gradients over a batch, of which g is `per_example` times that,
        plus `decay` times p; `moments` none or some vectors like all parameters, one after the other; `settings` are
        the optimizer's. `power1` and `power2` are beta1^t and beta2^t of step t = 1, 2, and so on: running products,
        since a libm's power differs by machine.
        """
        _ = source_digest
        T, n = parameters.dtype.type, parameters.shape[0]
        p, dp = parameters[start:stop], gradient[at : at + stop - start]
        # A slice of moments that are not there is empty.
        good: bool = rule(
            code, T(per_example), T(decay), settings, power1, power2, p, dp,
            moments[start:stop], moments[n + start : n + stop],
        )  # fmt: skip
        return good

    update.signature = update_signature  # type: ignore[attr-defined]
    return update


@kernel
def without_subnormal(x: Any) -> Any:
    """Return x, or zero for a subnormal: those are slow to compute with, and what decays would stay among them."""
    T = type(x)
    return T(0) if abs(x) < smallest_normal(x) else x
