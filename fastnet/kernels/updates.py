"""From the sum of gradients over a batch to new parameters, in one pass over the flat vectors; and the penalties.

The backward pass leaves in `gradient` the sum over the examples, to which `add_signs` adds what L1 does. A pass divides
it by m, adds the L2 term and, in training, takes the step of an optimizer. Biases are not penalised. One more rule is a
function (g, p, m, v, c) -> p, m, v of one parameter, of its gradient g, moments m and v, and the optimizer's Constants,
and a line in RULES.
"""

from typing import Any, NamedTuple

import numpy as np

from fastnet.kernels.blocks import BOUNDS_CHECKED, check_inside
from fastnet.kernels.build.callers import chosen_from
from fastnet.kernels.build.jit import Function, inlined_kernel, kernel
from fastnet.kernels.codes import ADAGRAD, ADAM, MOMENTUM, NESTEROV, RMSPROP, SGD
from fastnet.kernels.ir.scalars import fma, per_dtype
from fastnet.kernels.ir.sums import MAGNITUDES, SQUARES, ordered_sum

largest_finite = per_dtype(float(np.finfo(np.float32).max), float(np.finfo(np.float64).max))


class Constants(NamedTuple):
    """What a rule knows beside the parameter: numbers of its dtype, worked out once for a step."""

    alpha: Any  # the learning rate of these parameters; Adam's over 1 - beta1^t
    beta1: Any
    beta2: Any
    rest1: Any  # 1 - beta1
    rest2: Any
    scale: Any  # Adam's 1 / sqrt(1 - beta2^t)
    epsilon: Any
    remaining: Any  # 1 - alpha * weight decay


@inlined_kernel
def gradient_descent(g: Any, p: Any, m: Any, v: Any, c: Any) -> Any:
    """p = p - alpha g."""
    return fma(-c.alpha, g, p), m, v


@inlined_kernel
def momentum(g: Any, p: Any, m: Any, v: Any, c: Any) -> Any:
    """m = mu m + g; p = p - alpha m. mu stands at beta1."""
    velocity = fma(c.beta1, m, g)
    return fma(-c.alpha, velocity, p), velocity, v


@inlined_kernel
def nesterov(g: Any, p: Any, m: Any, v: Any, c: Any) -> Any:
    """m = mu m + g; p = p - alpha (g + mu m). mu stands at beta1.

    Sutskever et al., On the importance of initialization and momentum in deep learning, 2013, as PyTorch writes it.
    """
    velocity = fma(c.beta1, m, g)
    return fma(-c.alpha, fma(c.beta1, velocity, g), p), velocity, v


@inlined_kernel
def rmsprop(g: Any, p: Any, m: Any, v: Any, c: Any) -> Any:
    """m = rho m + (1 - rho) g^2; p = p - alpha g / (sqrt(m) + epsilon). rho stands at beta2.

    Hinton, Neural networks for machine learning, lecture 6, 2012.
    """
    square = fma(c.beta2, m, c.rest2 * (g * g))
    return fma(-c.alpha, g / (np.sqrt(square) + c.epsilon), p), square, v


@inlined_kernel
def adagrad(g: Any, p: Any, m: Any, v: Any, c: Any) -> Any:
    """m = m + g^2; p = p - alpha g / (sqrt(m) + epsilon).

    Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic optimization, 2011.
    """
    square = fma(g, g, m)
    return fma(-c.alpha, g / (np.sqrt(square) + c.epsilon), p), square, v


@inlined_kernel
def adam(g: Any, p: Any, m: Any, v: Any, c: Any) -> Any:
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; p = p - alpha m' / (sqrt(v') + epsilon).

    m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t). Kingma and Ba, Adam: a method for stochastic optimization, 2015.
    Their epsilon hat, if that is given, is what epsilon * sqrt(1 - beta2^t) would be. Where there is a weight decay, p
    is first multiplied by 1 - alpha * decay: Loshchilov and Hutter, Decoupled weight decay regularization, 2019.
    """
    mean = fma(c.beta1, m, c.rest1 * g)
    square = fma(c.beta2, v, c.rest2 * (g * g))
    return fma(-c.alpha, mean / fma(np.sqrt(square), c.scale, c.epsilon), c.remaining * p), mean, square


RULES = {
    SGD: (gradient_descent, 0),
    MOMENTUM: (momentum, 1),
    NESTEROV: (nesterov, 1),
    RMSPROP: (rmsprop, 1),
    ADAGRAD: (adagrad, 1),
    ADAM: (adam, 2),
}
"""By code: the rule, and how many moments it has."""

rule = chosen_from({code: function for code, (function, _) in RULES.items()})


def make_update(code: int) -> Function:
    """Make the pass that takes the step of an optimizer for a run of parameters."""
    n_moments = RULES[code][1]

    def update(
        job: Any, rate: float, per_example: float, decay: float, start: int, stop: int, at: int,
        parameters: Any, gradient: Any, moments: Any,
    ) -> bool:  # fmt: skip
        """Take a step for the parameters from start to stop; return whether they and their moments stayed finite.

        `rate` times the learning rate is theirs. From `at` on, `gradient` holds the sum of their gradients over a
        batch; g is `per_example` times that, plus `decay` times p. `moments`: n_moments vectors like all parameters,
        one after the other.
        """
        T, n = parameters.dtype.type, parameters.shape[0]
        if BOUNDS_CHECKED and stop > start:
            check_share(start, stop, at, parameters, gradient)
            if n_moments > 0:
                check_inside(moments, start, (n_moments - 1) * n + stop - 1)
        c, scale, l2 = constants(code, job, rate, parameters[0]), T(per_example), T(decay)
        p, dp = parameters[start:stop], gradient[at : at + stop - start]
        # A slice of moments that are not there is empty.
        first, second = moments[start:stop], moments[n + start : n + stop]
        bad = False
        for i in range(p.shape[0]):
            g = fma(l2, p[i], dp[i] * scale)
            m = first[i] if n_moments > 0 else T(0)
            v = second[i] if n_moments > 1 else T(0)
            new, m, v = rule(code, g, p[i], m, v, c)
            bad |= not is_finite(new) or not is_finite(v if n_moments > 1 else m)  # Adam's m is where v is
            p[i] = new
            if n_moments > 0:
                first[i] = m
            if n_moments > 1:
                second[i] = v
        return not bad

    return update


@kernel
def check_share(start: int, stop: int, at: int, parameters: Any, gradient: Any) -> None:
    """Raise IndexError unless there are the parameters from start to stop, and as many gradients from `at` on."""
    check_inside(parameters, start, stop - 1)
    check_inside(gradient, at, at + stop - start - 1)


@kernel
def constants(code: int, job: Any, rate: float, like: Any) -> Any:
    """Return the Constants of the step at hand, at `rate` times the learning rate, in the dtype of `like`.

    beta1^t and beta2^t stand in the job: running products, since a libm's power differs by machine.
    """
    T, step = type(like), job[0]
    learning_rate = rate * step.learning_rate
    alpha, epsilon, scale = learning_rate, step.epsilon, 1.0
    if code == ADAM:
        alpha, scale = learning_rate / (1.0 - step.power1), 1.0 / np.sqrt(1.0 - step.power2)
        epsilon = step.epsilon + step.epsilon_hat / np.sqrt(1.0 - step.power2)
    return Constants(
        T(alpha), T(step.beta1), T(step.beta2), T(1.0 - step.beta1), T(1.0 - step.beta2), T(scale), T(epsilon),
        T(1.0 - learning_rate * step.weight_decay),
    )  # fmt: skip


def finish_gradient(
    job: Any, rate: float, per_example: float, decay: float, start: int, stop: int, at: int,
    parameters: Any, gradient: Any, moments: Any,
) -> bool:  # fmt: skip
    """dp = g, whatever it is, for the parameters from start to stop, as above; returns True."""
    T = parameters.dtype.type
    if BOUNDS_CHECKED and stop > start:
        check_share(start, stop, at, parameters, gradient)
    scale, l2 = T(per_example), T(decay)
    p, dp = parameters[start:stop], gradient[at : at + stop - start]
    for i in range(p.shape[0]):
        dp[i] = fma(l2, p[i], dp[i] * scale)
    return True


def penalty_cost(layers: Any, parameters: Any) -> float:
    """Return the sum over the layers of lambda / 2 * ||W||^2, and of L1's strength times the sum of |W|.

    The share of that in J is one part in m, or in the sum of the weights of the batch.
    """
    cost = 0.0
    for l in range(1, layers.shape[0]):
        layer = layers[l]
        n_weights = layer.units * layer.inputs
        if layer.l2 > 0.0:
            cost += layer.l2 * 0.5 * ordered_sum(parameters, layer.W, n_weights, SQUARES)
        if layer.l1 > 0.0:
            cost += layer.l1 * ordered_sum(parameters, layer.W, n_weights, MAGNITUDES)
    return cost


@kernel
def clip_factor(gradient: Any, clip_norm: float) -> float:
    """Return min(1, clip_norm / ||g||), what scales the gradient g (n,) down to that length where it is longer.

    Squares beyond the range of float64 are added scaled down. NaN, and no gradient of zeros, if g is not finite, or so
    long that the factor is zero in its dtype.
    """
    T = gradient.dtype.type
    norm, scale = np.sqrt(ordered_sum(gradient, 0, gradient.shape[0], SQUARES)), 2.0**-600
    factor = min(1.0, clip_norm / (norm + 1e-6))
    if norm > largest_finite(norm):
        total = 0.0
        for i in range(gradient.shape[0]):
            scaled = np.float64(gradient[i]) * scale
            total += scaled * scaled
        factor = min(1.0, clip_norm / np.sqrt(total) * scale)
    return factor if T(factor) > T(0) else np.nan


def add_signs(strength: float, start: int, stop: int, at: int, parameters: Any, gradient: Any) -> None:
    """dp += strength * sign(p), 0 at 0, for the parameters from start to stop, whose dp begin at `at` in `gradient`."""
    T = parameters.dtype.type
    if BOUNDS_CHECKED and stop > start:
        check_share(start, stop, at, parameters, gradient)
    step = T(strength)
    p, dp = parameters[start:stop], gradient[at : at + stop - start]
    for i in range(stop - start):
        dp[i] += step if p[i] > T(0) else -step if p[i] < T(0) else T(0)


@kernel
def is_finite(x: Any) -> bool:
    """Return whether x is neither infinite nor NaN."""
    finite: bool = abs(x) <= largest_finite(x)
    return finite
