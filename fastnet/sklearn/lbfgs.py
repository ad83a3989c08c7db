"""Training by L-BFGS: SciPy's optimizer, on the flat vector of parameters and the compiled cost and gradient."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from fastnet.engine.run import Run


def minimize(
    run: Run,
    parameters: np.ndarray,
    *,
    tol: float,
    max_iter: int,
    max_fun: int,
    after_iteration: Callable[[int, float], bool],
) -> Any:
    """Minimise the cost of a run over its parameters; return SciPy's `OptimizeResult`.

    Parameters
    ----------
    run : Run
        Of mode codes.GRADIENT, in float64: differences of costs are too coarse in float32 for the line search.
    parameters : numpy.ndarray, (n_parameters,)
        Where it starts; after each iteration, what was reached, in whatever dtype they have.
    tol : float
        Ends when no derivative is larger.
    max_iter, max_fun : int
        Ends after so many iterations, or evaluations of the cost.
    after_iteration : callable
        Told the number of the iteration, from 1, and the cost, after each; True ends it.
    """
    from scipy import optimize

    def cost_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        run.parameters[:] = vector
        return run.cost(), run.gradient.copy()

    numbers = count(1)

    def callback(intermediate_result: Any) -> None:
        parameters[:] = intermediate_result.x
        if after_iteration(next(numbers), float(intermediate_result.fun)):
            raise StopIteration

    result = optimize.minimize(
        cost_and_gradient,
        parameters.astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        callback=callback,
        options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
    )
    parameters[:] = result.x
    return result
