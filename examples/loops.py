"""Compare loops with vectorised code, as the notes do: the same numbers, hundreds of times as fast.

A dot product, then gradient descent for logistic regression, by Python's loops as the notes first write them, by NumPy,
and by fastnet. All in float64, so that the results can be held to each other: they differ by rounding alone. One unit
is two products with a vector to NumPy, which leave nothing to gain: what fastnet compiles pays where a step is of many
small operations, as in flower.py, and in layers of many units.

python examples/loops.py        (needs nothing but fastnet)

The loops take some seconds at this size; --quick takes a tenth of it. Their time is of one round, that of the others
the best of 20, with all that a call does to check its data; NumPy uses one core.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

# Beside other work, NumPy's threads wait for each other, and may be but 5 times as fast as the loops.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

from fastnet import SGD, Dense, Model

ALPHA, ITERATIONS = 0.1, 10

Gradients = Callable[[np.ndarray, np.ndarray, np.ndarray, float], tuple[float, np.ndarray, float]]


def dot_by_loop(w: np.ndarray, x: np.ndarray) -> float:
    """Return w . x, a product at a time."""
    z = 0.0
    for j in range(len(w)):
        z += w[j] * x[j]
    return z


def gradients_by_loops(X: np.ndarray, y: np.ndarray, w: np.ndarray, b: float) -> tuple[float, np.ndarray, float]:
    """Return J, dw and db: a loop over the m examples, and in it two over their features."""
    m, n_x = X.shape
    J, dw, db = 0.0, np.zeros(n_x), 0.0
    for i in range(m):
        z = b
        for j in range(n_x):
            z += w[j] * X[i, j]
        a = 1 / (1 + math.exp(-z))
        J -= y[i] * math.log(a) + (1 - y[i]) * math.log(1 - a)
        dz = a - y[i]
        for j in range(n_x):
            dw[j] += X[i, j] * dz
        db += dz
    return J / m, dw / m, db / m


def gradients_by_numpy(X: np.ndarray, y: np.ndarray, w: np.ndarray, b: float) -> tuple[float, np.ndarray, float]:
    """Return the same, vectorised."""
    m = len(X)
    A = 1 / (1 + np.exp(-(X @ w + b)))
    J = -np.mean(y * np.log(A) + (1 - y) * np.log(1 - A))
    dZ = A - y
    return J, X.T @ dZ / m, np.sum(dZ) / m


def descent(gradients: Gradients, X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Return the last J, w and b of gradient descent from zeros."""
    w, b = np.zeros(X.shape[1]), 0.0
    for _ in range(ITERATIONS):
        J, dw, db = gradients(X, y, w, b)
        w -= ALPHA * dw
        b -= ALPHA * db
    return J, w, b


def descent_by_fastnet(X: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Return the same, by a model of one unit."""
    model = Model([Dense(1, "sigmoid", initializer="zeros")], optimizer=SGD(ALPHA), dtype="float64")
    history = model.fit(X, y, epochs=ITERATIONS, batch_size=None, verbose=False)
    return history.cost[-1], model.layers[0].W[0], model.layers[0].b[0, 0]


def compare(title: str, ways: dict[str, Callable[[], Any]], additions: int) -> None:
    """Time each way and print a table; exits unless results agree to rounding and the loops are far behind."""
    print(f"\n{title}\n{'':8} {'seconds':>10} {'times as fast':>14} {'difference':>11}")
    for name, way in ways.items():
        times = []
        for _ in range(1 if name == "loops" else 20):  # the first may load or compile kernels
            start = time.perf_counter()
            result = np.hstack(way())
            times.append(time.perf_counter() - start)
        if name == "loops":
            slowest, expected = min(times), result
        ratio = slowest / min(times)
        difference = np.max(np.abs(result - expected)) / np.max(np.abs(expected))
        print(f"{name:8} {min(times):10.6f} {ratio:14,.0f} {difference:11.1e}")
        if difference > additions * np.finfo(float).eps:
            sys.exit(f"Not as claimed: {name} should give the result of the loops, to rounding.")
        if name != "loops" and ratio < 10:
            sys.exit(f"Not as claimed: {name} should be at least 10 times as fast as the loops.")


def main() -> None:
    """Compare the three on both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the data")
    n, m = (100_000, 500) if parser.parse_args().quick else (1_000_000, 5_000)
    rng = np.random.default_rng(0)

    w, x = rng.random(n), rng.random(n)
    unit = Model([Dense(1, use_bias=False)], dtype="float64")
    unit.build(n)
    unit.layers[0].W = w.reshape(1, -1)
    compare(
        f"the dot product of {n:,} numbers",
        {
            "loops": lambda: [dot_by_loop(w, x)],
            "NumPy": lambda: [np.dot(w, x)],
            "fastnet": lambda: unit.forward(x.reshape(1, -1))[0],
        },
        additions=n,
    )
    X = rng.standard_normal((m, 100))
    y = (X @ rng.standard_normal(100) > 0).astype(float)
    compare(
        f"{ITERATIONS} iterations of logistic regression, {m:,} examples of 100 features",
        {
            "loops": lambda: descent(gradients_by_loops, X, y),
            "NumPy": lambda: descent(gradients_by_numpy, X, y),
            "fastnet": lambda: descent_by_fastnet(X, y),
        },
        additions=ITERATIONS * m,
    )


if __name__ == "__main__":
    main()
