"""Training by L-BFGS: SciPy's optimizer, on the flat vector of parameters and the compiled cost and gradient."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
from scipy import optimize
from sklearn.utils.optimize import _check_optimize_result
from threadpoolctl import threadpool_limits

from fastnet.engine.examples import Data
from fastnet.engine.run import Run
from fastnet.errors import may_get_lost
from fastnet.kernels import codes
from fastnet.sklearn.epochs import Hooks
from fastnet.sklearn.parameters import NetworkEstimator
from fastnet.sklearn.rules import LossScale


def minimise_loss(estimator: NetworkEstimator, examples: Data, hooks: Hooks) -> None:
    """Minimise the loss of the examples over an estimator's parameters, which follow it; record loss and iterations.

    All in float64: differences of float32 costs are too coarse for the line search.
    """
    network = estimator._model._built().replaced(dtype=np.dtype(np.float64)).without_dropout
    parameters = estimator._model.parameters
    start = parameters.astype(network.dtype)
    examples = examples.astype(network.dtype)
    scale = LossScale.of(estimator._loss(), examples.y, examples.weights)
    numbers, stopped = count(1), False
    settings = {"threads": estimator.n_threads, "label_smoothing": float(estimator.label_smoothing)}
    with (
        np.errstate(all="ignore"),
        threadpool_limits(1, user_api="blas"),  # whose threads would wait for a core at every sum of SciPy's
        Run(network, start.copy(), examples, mode=codes.GRADIENT, **settings) as run,
    ):

        def loss_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
            run.parameters[:] = vector
            return run.cost(), run.gradient.copy()

        def after_iteration(intermediate_result: Any) -> None:
            nonlocal stopped
            parameters[:] = intermediate_result.x
            if estimator.verbose:
                with may_get_lost():
                    print(f"Iteration {next(numbers)}, loss = {scale(run):.8f}")
            hooks.begin_epoch()
            stopped = hooks.end_epoch()
            if stopped:
                raise StopIteration

        result = optimize.minimize(
            loss_and_gradient, start, method="L-BFGS-B", jac=True, callback=after_iteration,
            options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
        )  # fmt: skip
        parameters[:] = run.parameters[:] = result.x
        run.cost()
        estimator.loss_ = scale(run)
    estimator.n_iter_ = min(result.nit, estimator.max_iter)
    if not stopped:
        with may_get_lost():
            _check_optimize_result("lbfgs", result, estimator.max_iter)
