"""The step of a first layer whose inputs have factors: W = U diag(s), where training changes U and s.

W alone is what the passes, and everything outside training, know of. Its gradient is that of any W; those of U and s
follow from it by the chain rule.
"""

from typing import Any

from fastnet.kernels.blocks import BOUNDS_CHECKED, check_inside
from fastnet.kernels.build import callers
from fastnet.kernels.ir.scalars import fma
from fastnet.kernels.updates import is_finite


def factored_step(
    network: Any, layers: Any, job: Any, per_example: float, penalty: float, parameters: Any, gradient: Any,
    factored: Any, factored_gradient: Any, factored_moments: Any,
) -> bool:  # fmt: skip
    """dU = dW diag(s), ds_j = sum over i of U_ij dW_ij; U and s take a step, and W = U diag(s). Whether all are finite.

    `factored`, `factored_gradient`: U (n, n_x), and then s (n_x,); `factored_moments`: vectors like those, one after
    the other. dW is `per_example` times its sum over a batch, which is in `gradient`, and the penalties' share as in
    `passes.finish_share`. Sums run over the units in order. By one thread.
    """
    T, layer, net = parameters.dtype.type, layers[1], network[0]
    n, n_x, w, size = layer.units, layer.inputs, layer.W, layer.units * layer.inputs
    if BOUNDS_CHECKED:
        for array in (factored, factored_gradient):
            check_inside(array, 0, size + n_x - 1)
        for array in (parameters, gradient):
            check_inside(array, w, w + size - 1)
    if layer.l1 * penalty > 0.0:
        callers.call_signs(net.signs, layer.l1, w, w + size, w, parameters, gradient)
    scale, decay = T(per_example), T(layer.l2 * penalty)
    s, ds = factored[size : size + n_x], factored_gradient[size : size + n_x]
    for j in range(n_x):
        ds[j] = T(0)
    for i in range(n):
        row = i * n_x
        U, dU = factored[row : row + n_x], factored_gradient[row : row + n_x]
        W, dW = parameters[w + row : w + row + n_x], gradient[w + row : w + row + n_x]
        for j in range(n_x):
            g = fma(decay, W[j], dW[j] * scale)
            dU[j] = g * s[j]
            ds[j] = fma(U[j], g, ds[j])
    good: bool = callers.call_update(
        net.update, job, layer.rate, 1.0, 0.0, 0, size, 0, factored, factored_gradient, factored_moments
    )
    good &= callers.call_update(
        net.update, job, net.factor_rate, 1.0, 0.0, size, size + n_x, size, factored, factored_gradient,
        factored_moments,
    )  # fmt: skip
    for i in range(n):
        row = i * n_x
        U, W = factored[row : row + n_x], parameters[w + row : w + row + n_x]
        for j in range(n_x):
            W[j] = U[j] * s[j]
            good &= is_finite(W[j])
    return good
