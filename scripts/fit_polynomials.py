"""Print the polynomial coefficients of `fastnet/kernels/constants.py`.

Each polynomial is the minimax fit, found by Remez' exchange in 60 digits, of the part of a function that its
argument reduction leaves over. Coefficients are printed from the highest power down, as Horner's scheme takes them,
rounded to the dtype that uses them.

    python scripts/fit_polynomials.py        (needs mpmath, of the extra fastnet-mlp[dev])
"""

from collections.abc import Callable

import numpy as np
from mpmath import lu_solve, matrix, mp, mpf

mp.dps = 60
HALF_LN2 = mp.log(2) / 2

Function = Callable[[mpf], mpf]


def expm1_remainder(r: mpf) -> mpf:
    """Return q(r) in e^r - 1 = r + r^2 q(r)."""
    return mpf(1) / 2 if abs(r) < mpf(10) ** -20 else (mp.expm1(r) - r) / r**2


def log1p_remainder(t: mpf) -> mpf:
    """Return p(t) in log1p(e) = 2 s + s^3 p(s^2), where s = e / (2 + e) and t = s^2."""
    if t == 0:
        return mpf(2) / 3
    s = mp.sqrt(t)
    return (2 * mp.atanh(s) - 2 * s) / s**3


def normal_tail(t: mpf) -> mpf:
    """Return p(t) in Phi(-x) = e^(-x^2 / 2) p(t) / (x + 4), where t = (x - 4) / (x + 4)."""
    x = 4 * (1 + t) / (1 - t)
    return (x + 4) * mp.exp(x * x / 2) * mp.erfc(x / mp.sqrt(2)) / 2


def tail_argument(x: str) -> mpf:
    """Return t = (x - 4) / (x + 4)."""
    return (mpf(x) - 4) / (mpf(x) + 4)


def value_at(x: mpf, coefficients: list[mpf]) -> mpf:
    """Return the value of a polynomial, lowest power first, by Horner's scheme."""
    value = mpf(0)
    for c in reversed(coefficients):
        value = value * x + c
    return value


def remez(function: Function, low: mpf, high: mpf, degree: int) -> list[mpf]:
    """Return the minimax polynomial of `degree` on [low, high], lowest power first."""
    points = degree + 2
    middle, half = (low + high) / 2, (high - low) / 2
    nodes = [middle - half * mp.cos(mp.pi * i / (points - 1)) for i in range(points)]
    grid = [low + (high - low) * i / 4000 for i in range(4001)]
    values = [function(x) for x in grid]
    coefficients: list[mpf] = []
    for _ in range(12):
        system = matrix(points, points)
        right = matrix(points, 1)
        for i, x in enumerate(nodes):
            for j in range(degree + 1):
                system[i, j] = x**j
            system[i, degree + 1] = (-1) ** i
            right[i] = function(x)
        solution = lu_solve(system, right)
        coefficients = [solution[j] for j in range(degree + 1)]
        errors = [value_at(x, coefficients) - v for x, v in zip(grid, values, strict=True)]
        extrema = alternating_extrema(grid, errors)
        if len(extrema) != points:
            break
        nodes = extrema
    return coefficients


def alternating_extrema(grid: list[mpf], errors: list[mpf]) -> list[mpf]:
    """Return the place of the largest error in every run of one sign."""
    best: list[tuple[mpf, mpf]] = []
    for x, error in zip(grid, errors, strict=True):
        if best and (best[-1][1] > 0) == (error > 0):
            if abs(error) > abs(best[-1][1]):
                best[-1] = (x, error)
        else:
            best.append((x, error))
    return [x for x, _ in best]


def main() -> None:
    """Print every polynomial in both dtypes."""
    fits: list[tuple[str, Function, mpf, tuple[mpf, int], tuple[mpf, int]]] = [
        ("EXPM1", expm1_remainder, -HALF_LN2, (HALF_LN2, 4), (HALF_LN2, 9)),
        ("LOG1P", log1p_remainder, mpf(0), (mpf(1) / 9, 4), (mpf(1) / 9, 9)),
        ("NORMAL_TAIL", normal_tail, mpf(-1), (tail_argument("12.9"), 9), (tail_argument("37.5"), 22)),
    ]
    for name, function, low, *ends in fits:
        for dtype, (high, degree) in zip((np.float32, np.float64), ends, strict=True):
            coefficients = [dtype(c) for c in remez(function, low, high, degree)]
            print(f"{name}_{dtype.__name__.upper()} = (")
            for c in reversed(coefficients):
                print(f"    {c!s},")
            print(")")


if __name__ == "__main__":
    main()
