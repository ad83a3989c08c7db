"""The temperature that calibrates probabilities: every machine finds the same one.

A libm's logarithm differs in its last bit from machine to machine, and so might the choice; and weights are divided by
what is chosen. So logarithms and powers are series of +, -, * and / here, which are rounded alike everywhere, and sums
have one order. Source: Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, 2017.
"""

from collections.abc import Iterator

import numpy as np

from fastnet.scaling import tree_sum
from fastnet.schedules import LN_2, exp2

TEMPERATURES = [exp2(k / 8) for k in range(-12, 13)]
"""By which logits are divided, on trial: from 0.35 to 2.8, each 9 % above the one before."""

ROWS = 2**13
"""Rows that are computed at a time."""

LEAST = float(np.finfo(np.float32).tiny)
"""The least probability that is looked at."""


def log(x: np.ndarray) -> np.ndarray:
    """Return the natural logarithm of x > 0, by the series of atanh; off by a few units in the last place."""
    m, exponent = np.frexp(x)
    is_low = m < 0.7071067811865476
    m, exponent = np.where(is_low, 2.0 * m, m), exponent - is_low
    s = (m - 1.0) / (m + 1.0)
    total = np.zeros_like(s)
    for n in range(25, 0, -2):
        total = total * (s * s) + 1.0 / n
    return np.asarray(exponent * LN_2 + 2.0 * s * total)


def exp(x: np.ndarray) -> np.ndarray:
    """Return e^x for x <= 0, by its Taylor series; off by some |x| units in the last place."""
    whole = np.rint(x / LN_2)
    rest, total = x - whole * LN_2, np.ones_like(x)
    for n in range(17, 0, -1):
        total = 1.0 + total * rest / n
    return np.asarray(np.ldexp(total, whole.astype(np.int64)))


def log_loss(log_p: np.ndarray, y: np.ndarray, weights: np.ndarray | None, temperature: float) -> float:
    """Return the mean log-loss of classes y (m,) for logarithms of probabilities (m, K) divided by a temperature."""
    terms = np.ones((len(y), 2))
    if weights is not None:
        terms *= weights[:, np.newaxis]
    for rows in parts(len(y)):
        z = log_p[rows] / temperature
        z -= z.max(axis=1, keepdims=True)
        terms[rows, 0] *= log(row_sums(exp(z))) - z[np.arange(len(z)), y[rows]]
    sums = tree_sum(terms)
    return float(sums[0] / sums[1])


def tempered(A: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities A (m, K) with their logits divided by a temperature."""
    found = A.astype(float)
    for rows in parts(len(A)) if temperature != 1 else ():
        z = log(np.maximum(found[rows], LEAST)) / temperature
        p = exp(z - z.max(axis=1, keepdims=True))
        found[rows] = p / row_sums(p)[:, np.newaxis]
    return found


def best_temperature(A: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the temperature of least log-loss for probabilities A (m, K) and classes y (m,); 1 if none is better."""
    log_p = np.maximum(A, LEAST, dtype=float)
    for rows in parts(len(A)):
        log_p[rows] = log(log_p[rows])
    losses = [log_loss(log_p, y, weights, temperature) for temperature in TEMPERATURES]
    best = int(np.argmin(losses))
    return TEMPERATURES[best] if losses[best] < losses[TEMPERATURES.index(1.0)] else 1.0


def parts(m: int) -> Iterator[slice]:
    """Yield slices of m rows, of which few have intermediate results at a time."""
    for start in range(0, m, ROWS):
        yield slice(start, start + ROWS)


def row_sums(array: np.ndarray) -> np.ndarray:
    """Return the sum of each row, its terms added in their order."""
    total = np.zeros(len(array))
    for column in array.T:
        total += column
    return total
