"""How far a computed result may be from the exact one: rounding-error bounds, and the buffers to check them in.

A sum of k products computed in a precision eps is off by at most gamma_k = k eps / (1 - k eps) times the sum of the
products' magnitudes, in any order (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Tests state
k and the magnitudes, never a tolerance.
"""

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


def gradient_magnitude(
    X: np.ndarray, Y: np.ndarray, parameters: reference.Parameters, l2: float
) -> tuple[reference.Parameters, float, int]:
    """Return the magnitudes that bound the rounding error of every gradient entry and of the cost, and the k.

    The network is run on absolute values: every product and sum replaced by that of magnitudes, every activation and
    derivative (all have slopes of at most 1) by 1 plus its argument's magnitude. k counts the terms on the longest
    path: forward through all layers, back, and over the examples.
    """
    L, m = reference.depth(parameters), X.shape[1]
    A = [np.abs(X)]
    for layer in range(1, L + 1):
        A.append(1 + np.abs(parameters[f"W{layer}"]) @ A[-1] + np.abs(parameters[f"b{layer}"]))
    dZ = (A[-1] + np.abs(Y)) * (1 + A[-1])
    magnitude = {}
    for layer in range(L, 0, -1):
        W = np.abs(parameters[f"W{layer}"])
        magnitude[f"dW{layer}"] = dZ @ A[layer - 1].T / m + l2 / m * W
        magnitude[f"db{layer}"] = dZ.sum(axis=1, keepdims=True) / m
        dZ = (W.T @ dZ) * (1 + A[layer - 1])
    squares = sum((parameters[f"W{layer}"] ** 2).sum() for layer in range(1, L + 1))
    cost = float((((A[-1] + np.abs(Y)) ** 2).sum() + l2 * squares) / m)
    units = [X.shape[0], *(parameters[f"b{layer}"].shape[0] for layer in range(1, L + 1))]
    return magnitude, cost, 2 * sum(units) + m
