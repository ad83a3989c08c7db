"""How far a computed result may be from the exact one: rounding-error bounds, and the buffers to check them in.

A sum of k products computed in a precision eps is off by at most gamma_k = k eps / (1 - k eps) times the sum of the
products' magnitudes, in any order (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Tests state
k and the magnitudes, never a tolerance.
"""

from typing import NamedTuple

import numpy as np
import reference

C = 4
"""The one constant of all bounds: error <= C k eps magnitude."""

SEVEN_UNITS = (1, 2, 7, 16, 17, 33, 65)
TEN_BATCHES = (1, 2, 15, 16, 17, 63, 64, 65, 209, 1000)
DTYPES = ("float32", "float64")
GUARD = 64


def assert_within(actual: np.ndarray, exact: np.ndarray, magnitude: np.ndarray | float, k: int, c: float = C) -> None:
    """Assert |actual - exact| <= c k eps magnitude entry by entry, and that nothing is NaN."""
    actual = np.asarray(actual)
    assert actual.shape == np.shape(exact)
    assert np.isfinite(actual).all(), f"{np.count_nonzero(~np.isfinite(actual))} entries are not finite"
    bound = c * k * np.finfo(actual.dtype).eps * np.asarray(magnitude) + np.finfo(actual.dtype).tiny
    excess = np.abs(actual.astype(np.float64) - exact) / bound
    assert excess.max() <= 1, f"off by {excess.max():.3g} times the bound of c = {c}, k = {k}"


FROM_Z = ("binary_crossentropy", "categorical_crossentropy", "poisson")
"""The losses whose gradient is that of Z, not of A."""


class Guarded:
    """A flat NaN-filled buffer with guard bands: shows what was not written, and what was written outside."""

    BAND = 12345.0

    def __init__(self, n: int, dtype: str) -> None:
        self.whole = np.full(n + 2 * GUARD, self.BAND, dtype)
        self.offset = GUARD
        self.inside[:] = np.nan

    @property
    def inside(self) -> np.ndarray:
        return self.whole[GUARD:-GUARD]

    def assert_guards(self) -> None:
        """Assert that both bands are as they were."""
        assert (self.whole[:GUARD] == self.BAND).all(), "written before the start"
        assert (self.whole[-GUARD:] == self.BAND).all(), "written past the end"


class Errors(NamedTuple):
    """First-order bounds on rounding errors, in units of eps, shaped as what they bound."""

    output: np.ndarray
    cost: float
    gradients: reference.Parameters


def second_derivative(Z: np.ndarray, name: str, h: float = 1e-5) -> np.ndarray:
    """Return g''(Z), by a central difference."""
    above, below = (reference.activation_derivative(z, reference.activation(z, name), name) for z in (Z + h, Z - h))
    return (above - below) / (2 * h)


def forward_errors(
    caches: list[reference.Cache], activations: list[str], eps: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return E of A of each layer, the input's first, and of its slopes."""
    E_A = [np.zeros_like(caches[0][0])]
    E_slope = []
    for (A_prev, W, b, Z, A), name in zip(caches, activations, strict=True):
        E_Z = error_of_Z(A_prev, E_A[-1], W, b)
        if name == "softmax":
            # dA = A (dZ - sum of A dZ). e^-d is off by the rounding of d, a sum by its length.
            E_d = E_Z + Z.max(axis=0) - Z
            E_A.append(A * (E_d + (A * E_d).sum(axis=0) + len(A)))
            E_slope.append(np.zeros_like(A))  # has none of its own
            continue
        if name == "increasing":
            slope = reference.increasing_slopes(Z)
            E_A.append(np.cumsum(slope * E_Z + np.abs(A), axis=0))
            E_slope.append(slope * (1 - slope) * E_Z + slope)
            continue
        slope = np.abs(reference.activation_derivative(Z, A, name))
        on_kink = (np.abs(Z) <= C * eps * E_Z) & (name in ("relu", "leaky_relu", "selu") or hasattr(name, "slope"))
        E_A.append(np.where(on_kink, 2, slope) * E_Z + np.abs(A))
        if name in ("elu", "selu", "gelu", "silu", "mish", "softplus"):
            E_slope.append(np.abs(second_derivative(Z, name)) * E_Z + slope + 1 + np.where(on_kink, 1 / eps, 0))
            continue
        bend = {"sigmoid": np.abs(1 - 2 * A), "tanh": 2 * np.abs(A), "exponential": np.ones_like(A)}
        bend = bend.get(name, np.zeros_like(A))
        E_slope.append(bend * E_A[-1] + slope + (A**2 if name == "tanh" else 0) + np.where(on_kink, 1 / eps, 0))
    return E_A, E_slope


def error_of_Z(A_prev: np.ndarray, E_A_prev: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return E of W A_prev + b."""
    return np.abs(W) @ E_A_prev + W.shape[1] * (np.abs(W) @ np.abs(A_prev) + np.abs(b))


def backward_error(
    dA: np.ndarray, E_dA: np.ndarray, cache: reference.Cache, name: str, E_A: np.ndarray, E_slope: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return dZ of a layer, and E of it."""
    _, _, _, Z, A = cache
    dZ = reference.activation_backward(dA, cache, name)
    if name == "softmax":
        mean, E_mean = (A * dA).sum(axis=0), (E_A * np.abs(dA) + A * (E_dA + len(A) * np.abs(dA))).sum(axis=0)
        return dZ, E_A * np.abs(dA - mean) + A * (E_dA + E_mean + np.abs(dA) + np.abs(mean)) + np.abs(dZ)
    slope = reference.increasing_slopes(Z) if name == "increasing" else reference.activation_derivative(Z, A, name)
    if name == "increasing":
        dA, E_dA = (np.cumsum(each[::-1], axis=0)[::-1] for each in (dA, E_dA + len(A) * np.abs(dA)))
    return dZ, np.abs(slope) * E_dA + np.abs(dA) * E_slope + np.abs(dZ)


def error_through_weights(dZ: np.ndarray, E_dZ: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Return E of dA_prev = W^T dZ."""
    return np.abs(W.T) @ E_dZ + W.shape[0] * np.abs(W.T) @ np.abs(dZ)


def network_errors(
    caches: list[reference.Cache], Y: np.ndarray, activations: list[str], loss: str, l2: float, eps: float,
    l1: float = 0.0, weights: np.ndarray | None = None,
) -> Errors:  # fmt: skip
    """Follow rounding errors through forward and back propagation, as they arise and as they are passed on.

    A sum of k products adds k times the sum of their magnitudes, an activation or product its own magnitude; what
    came in is passed on by the derivative. E is in units of eps: an error is at most C E eps, to first order. ReLUs
    so close to their kink that they may be on its other side pass on everything; so do the absolute error, Huber's
    and that of a quantile. Slopes of the smooth activations are of the order of 1, and off by that; and by what came
    in, times the second derivative.
    """
    E_A, E_slope = forward_errors(caches, activations, eps)
    A_prev, W, b, Z, A = caches[-1]
    E_Z = error_of_Z(A_prev, E_A[-2], W, b)
    below_largest = Z.max(axis=0) - Z
    m = Y.shape[1]
    if loss == "poisson":
        A, E_A[-1] = np.exp(Z), np.exp(Z) * (E_Z + 1)
    difference = A - Y
    dA, E_dA = difference, E_A[-1] + np.abs(difference)
    if loss == "poisson":
        E_terms = E_A[-1] + np.abs(Y) * E_Z + np.abs(Y * Z)
    elif loss in ("mean_absolute_error", "huber"):
        near = C * eps * E_dA
        E_terms = E_dA * np.minimum(np.abs(difference) + near, 1 if loss == "huber" else np.inf)
        if loss == "mean_absolute_error":
            E_terms, dA, E_dA = E_dA, np.sign(difference), np.where(np.abs(difference) <= near, 2 / eps, 0)
        else:
            dA, E_dA = np.clip(difference, -1, 1), np.where(np.abs(difference) <= 1 + near, E_dA, 0)
    elif loss == "binary_crossentropy":
        E_terms = np.abs(difference) * E_Z + np.abs(Z) + 1
    elif loss == "categorical_crossentropy":
        # The cost of an example is the sum of Y d, and log(1 + the sum of e^-d), which passes on errors times A.
        own = len(A) * Y * below_largest + A * (below_largest + len(A))
        E_terms = np.abs(difference) * E_Z + own
    elif hasattr(loss, "q"):
        q = reference.levels(loss)
        E_terms = E_A[-1] + 2 * np.abs(difference)
        dA = np.where(difference > 0, 1 - q, -q)
        E_dA = 1 + np.where(np.abs(difference) <= C * eps * E_A[-1], 1 / eps, 0)
    else:
        E_terms = np.abs(difference) * E_dA
    total = float(m)
    E_terms = E_terms + np.abs(reference.losses(Z, A, Y, loss))
    if weights is not None:
        total, E_terms, dA = weights.sum(), E_terms * weights, dA * weights
        E_dA = E_dA * weights + np.abs(dA)
    gradients = {}
    for layer in range(len(caches), 0, -1):
        cache = A_prev, W, *_ = caches[layer - 1]
        if layer == len(caches) and loss in FROM_Z:
            dZ, E_dZ = dA, E_dA
        else:
            dZ, E_dZ = backward_error(dA, E_dA, cache, activations[layer - 1], E_A[layer], E_slope[layer - 1])
        through_sums = E_dZ @ np.abs(A_prev).T + np.abs(dZ) @ E_A[layer - 1].T + m * np.abs(dZ) @ np.abs(A_prev).T
        gradients[f"dW{layer}"] = through_sums / total + 2 * l2 / total * np.abs(W) + 2 * l1 / total
        gradients[f"db{layer}"] = (E_dZ + m * np.abs(dZ)).sum(axis=1, keepdims=True) / total
        dA, E_dA = W.T @ dZ, error_through_weights(dZ, E_dZ, W)
    penalty = sum(l2 * (W**2).sum() + 2 * l1 * np.abs(W).sum() for _, W, _, _, _ in caches)
    return Errors(E_A[-1], float(E_terms.sum() + penalty) / total, gradients)


def input_gradient_error(caches: list[reference.Cache], activations: list[str], output: int, eps: float) -> np.ndarray:
    """Return E of dA_L[output] / dX, (n_x, m), likewise."""
    E_A, E_slope = forward_errors(caches, activations, eps)
    dA, E_dA = np.zeros_like(caches[-1][4]), np.zeros_like(caches[-1][4])
    dA[output] = 1
    for layer in range(len(caches), 0, -1):
        cache = caches[layer - 1]
        dZ, E_dZ = backward_error(dA, E_dA, cache, activations[layer - 1], E_A[layer], E_slope[layer - 1])
        dA, E_dA = cache[1].T @ dZ, error_through_weights(dZ, E_dZ, cache[1])
    return E_dA
