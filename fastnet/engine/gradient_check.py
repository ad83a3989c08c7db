"""Back propagation against central differences, parameter by parameter."""

from dataclasses import dataclass

import numpy as np

from fastnet.engine.examples import Data
from fastnet.engine.network import Network
from fastnet.engine.overflow import finite_cost
from fastnet.engine.run import Run
from fastnet.kernels import codes

STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
TOLERANCE = 1e-6
FLOOR = 1e-4


@dataclass(repr=False)
class GradientReport:
    """What `Model.check_gradients` found; printing it shows a line per layer.

    Attributes
    ----------
    errors : list of (dW, db)
        For each layer the relative error of every entry of dW (n_l, n_{l-1}) and of db (n_l, 1; None without bias):
        the difference from the central difference, divided by the larger magnitude of the two or, for entries next
        to nothing, by 1e-4 of the largest gradient of the network.
    tolerance : float
        The largest relative error that is still `ok`.
    """

    errors: list[tuple[np.ndarray, np.ndarray | None]]
    tolerance: float = TOLERANCE

    @property
    def max_relative_error(self) -> float:
        """The largest relative error of all parameters."""
        return max(float(e.max()) for pair in self.errors for e in pair if e is not None)

    @property
    def ok(self) -> bool:
        """Whether every parameter's gradient agrees within the tolerance."""
        return self.max_relative_error <= self.tolerance

    def __repr__(self) -> str:
        lines = ["layer  largest relative error of dW        of db"]
        for layer, (dW, db) in enumerate(self.errors, start=1):
            lines.append(f"{layer:5d}  {dW.max():28.2e}  {'-' if db is None else format(db.max(), '.2e'):>11}")
        verdict = "ok" if self.ok else "NOT ok"
        lines.append(f"{verdict}: {self.max_relative_error:.2e}, tolerance {self.tolerance:.0e}")
        return "\n".join(lines)


@np.errstate(all="ignore")
def check_gradients(network: Network, parameters: np.ndarray, data: Data) -> np.ndarray:
    """Return the relative error of every entry of the gradient; all in float64.

    A central difference of fourth order, (8 (J(p + h) - J(p - h)) - (J(p + 2 h) - J(p - 2 h))) / 12 h, is taken with
    each step of STEPS until one agrees. A wrong gradient agrees with none; next to a kink of ReLU, a short step does.
    """
    with Run(network, parameters, data, mode=codes.GRADIENT, threads=1) as run:
        finite_cost(run)
        gradient = run.gradient
    floor = FLOOR * float(np.abs(gradient).max()) or 1.0
    shifted = parameters.copy()
    errors = np.empty(len(parameters))
    with Run(network, shifted, data, mode=codes.COST, threads=1) as run:
        for i, p in enumerate(parameters):
            errors[i] = np.inf
            for h in STEPS:
                costs = []
                for shift in (h, -h, 2 * h, -2 * h):
                    shifted[i] = p + shift
                    costs.append(run.cost())
                difference = (8 * (costs[0] - costs[1]) - (costs[2] - costs[3])) / (12 * h)
                scale = max(abs(difference), abs(gradient[i]), floor)
                errors[i] = min(errors[i], abs(difference - gradient[i]) / scale)
                if errors[i] <= TOLERANCE:
                    break
            shifted[i] = p
    return errors
