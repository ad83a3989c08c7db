"""scikit-learn's multi-layer perceptron in the engine's terms: names, formulas and rules. Imports no scikit-learn."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnet import checks, words
from fastnet.activations import ACTIVATIONS, AnyActivation
from fastnet.engine.diagnostics import Remedy
from fastnet.engine.ranks import Ranks
from fastnet.engine.sparse import DENSE_BYTES, SparseRows
from fastnet.layers import Dense, Dropout
from fastnet.losses import AnyLoss, settings_of
from fastnet.model import Model
from fastnet.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastnet.engine.ranks import Ranks
from fastnet.engine.run import Run

ALIASES: dict[str, str] = {"identity": "linear", "logistic": "sigmoid"}
"""scikit-learn's names of activations, and fastnet's."""

HIDDEN_ACTIVATIONS = {*ACTIVATIONS, *ALIASES} - {"softmax"}

OUTPUTS = {"identity": "linear", "logistic": "sigmoid", "softmax": "softmax", "exp": "linear"}
"""The activations of the last layer; the exponential is a part of Poisson's loss."""

X_ON_ANOTHER_SCALE = Remedy(
    "The features of X", "feature", "Put a StandardScaler first: make_pipeline(StandardScaler(), MLPRegressor(...))"
)
Y_ON_ANOTHER_SCALE = Remedy(
    "The targets", "output",
    "Have it scaled: TransformedTargetRegressor(MLPRegressor(...), transformer=StandardScaler())",
)  # fmt: skip

CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN, Emin=-(10**6), Emax=10**6, capitals=1, clamp=0, flags=[], traps=[])
"""For powers: the whole of it, since what is left out is what the program has in decimal.DefaultContext."""

REGRESSION_LOSSES = {
    "squared_error": "mean_squared_error", "absolute_error": "mean_absolute_error", "huber": "huber",
    "poisson": "poisson",
}  # fmt: skip


class Design(NamedTuple):
    """The layers and settings of a model."""

    units: tuple[int, ...]
    activations: tuple[AnyActivation, ...]
    dropout: tuple[float, ...]
    out_activation: str
    loss: AnyLoss | None
    alpha: float
    dtype: np.dtype

    def model(self) -> Model:
        """Make the model, its parameters zero."""
        layers: list[Dense | Dropout] = []
        for units, activation, rate in zip(self.units[1:-1], self.activations, self.dropout, strict=True):
            layers.append(Dense(units, activation, initializer="zeros"))
            if rate:
                layers.append(Dropout(rate))
        layers.append(Dense(self.units[-1], OUTPUTS[self.out_activation], initializer="zeros"))
        model = Model(layers, loss=self.loss, l2=self.alpha, dtype=self.dtype, seed=0)
        model.build(self.units[0])
        return model


def meant(estimator: Any) -> str:
    """Return in a sentence what a name may mean that is none for an argument of an estimator, after a space."""
    solver, activation, loss = (getattr(estimator, name, None) for name in ("solver", "activation", "loss"))
    for name, kind in OPTIMIZERS.items():
        if solver is kind or (isinstance(solver, str) and solver.lower() == name and name not in ("sgd", "adam")):
            return f" Pass solver=fastnet.{kind.__name__}()."
    if isinstance(activation, str) and activation not in HIDDEN_ACTIVATIONS:
        return words.meant(words.canonical(activation, words.ACTIVATIONS), HIDDEN_ACTIVATIONS)
    if isinstance(loss, str) and loss not in REGRESSION_LOSSES:
        theirs = {ours: name for name, ours in REGRESSION_LOSSES.items()}
        name = words.canonical(loss, words.LOSSES)
        return words.meant(theirs.get(name, name), REGRESSION_LOSSES)
    return ""


def solver_arguments(estimator: Any) -> dict[str, Any]:
    """Return what scikit-learn makes an optimizer of, by name."""
    names = "solver learning_rate learning_rate_init power_t momentum nesterovs_momentum beta_1 beta_2 epsilon"
    return {name: getattr(estimator, name) for name in names.split()}


def hidden_units(hidden_layer_sizes: Any) -> tuple[int, ...]:
    """Return the sizes of the hidden layers; one number stands for one layer."""
    sizes = [hidden_layer_sizes] if np.ndim(hidden_layer_sizes) == 0 else list(hidden_layer_sizes)
    numbers = [n for n in sizes if isinstance(n, (int, float, np.number))]  # others are named below
    if np.any(np.array(numbers) <= 0):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return tuple(checks.positive_integer(n, f"hidden_layer_sizes[{i}]") for i, n in enumerate(sizes))


def for_each_layer(value: Any, n_layers: int, name: str) -> tuple[Any, ...]:
    """Return a setting for each of the hidden layers; ValueError if it is a list of another length."""
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        if len(value) != n_layers:
            raise ValueError(
                f"{name} has {len(value)} entries, but hidden_layer_sizes has {n_layers}: pass one for each hidden "
                "layer, or one for all."
            )
        return tuple(value)
    return (value,) * n_layers


def hidden_activations(activation: Any, n_layers: int) -> tuple[AnyActivation, ...]:
    """Return fastnet's activation for each hidden layer."""
    listed = for_each_layer(activation, n_layers, "activation")
    for name in listed:
        if isinstance(name, str) and name not in HIDDEN_ACTIVATIONS:
            raise ValueError(f"activation must be among {sorted(HIDDEN_ACTIVATIONS)}, or a LeakyReLU, not {name!r}.")
    return tuple(ALIASES.get(name, name) if isinstance(name, str) else name for name in listed)


def dropout_rates(dropout: Any, n_layers: int) -> tuple[float, ...]:
    """Return the rate of dropout after each hidden layer."""
    return tuple(checks.number_below_one(rate, "dropout") for rate in for_each_layer(dropout, n_layers, "dropout"))


def initialise(model: Model, design: Design, activation: Any, random_state: np.random.RandomState) -> None:
    """Draw W and b of each layer as scikit-learn does: uniformly, with Glorot's bound, or a lower for the logistic.

    The last layer is drawn like the one before, or by `activation`, if there is none.
    """
    logistic = [name == "sigmoid" for name in design.activations]
    logistic.append(logistic[-1] if logistic else activation == "logistic")
    for layer, is_logistic, (fan_in, fan_out) in zip(dense(model), logistic, pairwise(design.units), strict=True):
        bound = np.sqrt((2.0 if is_logistic else 6.0) / (fan_in + fan_out))
        layer.W = random_state.uniform(-bound, bound, (fan_in, fan_out)).T
        layer.b = random_state.uniform(-bound, bound, fan_out)[:, np.newaxis]


def dense(model: Model) -> list[Dense]:
    """Return the layers of a model that have parameters."""
    return [layer for layer in model.layers if isinstance(layer, Dense)]


def set_parameters(model: Model, coefs: Iterable[Any], intercepts: Iterable[Any]) -> None:
    """Copy W of each layer from (n_in, n_out), and b from (n_out,)."""
    for index, (layer, coef, intercept) in enumerate(zip(dense(model), coefs, intercepts, strict=True)):
        for name, value, shape in (("coefs_", coef, layer.W.T.shape), ("intercepts_", intercept, layer.W.shape[:1])):
            if np.shape(value) != shape:
                raise ValueError(
                    f"{name}[{index}] must have shape {shape}, as the others have it, not {np.shape(value)}."
                )
        layer.W = np.asarray(coef).T
        layer.b = np.reshape(intercept, (-1, 1))


def inverse_scaling(learning_rate: float, t: int, power: float) -> float:
    """Return learning_rate / (t + 1)^power, with a power that is the same on every machine, as a libm's is not."""
    rate, factor = Decimal.from_float(learning_rate), CONTEXT.power(t + 1, Decimal.from_float(power))
    return float(CONTEXT.divide(rate, factor))


def lowest_rate(dtype: np.dtype) -> float:
    """Return a learning rate so low that no step shows, and that a velocity can still be divided by."""
    return 1e-28 if dtype == np.float32 else 1e-230


def rows_of(X: Any, dtype: np.dtype, *, own: bool = False) -> np.ndarray | SparseRows:
    """Return X (m, n_x), of finite floats, as a `Run` takes it; sparse still if it is large and sparse.

    `own`: sparse in memory of their own, since where X has its values may be changed by a callback. ValueError if X is
    sparse, and an index is out of range.
    """
    if not hasattr(X, "tocsr"):
        return checks.in_dtype(X, dtype, "X", "Impute or drop those rows.")
    try:
        X.check_format()  # the loops of SciPy write wherever indices say
    except ValueError as error:
        raise ValueError(f"X is sparse, but where its values are is not valid: {error}. Make it anew.") from None
    if X.shape[0] * X.shape[1] * dtype.itemsize <= DENSE_BYTES:
        return checks.in_dtype(X.toarray(order="C"), dtype, "X", "Impute or drop those rows.")
    rows = SparseRows(X.tocsr(copy=own and X.dtype == dtype), dtype)
    limit = f"{{}} beyond the range of {dtype}"
    checks.refuse_not_finite(rows.matrix.data, "X", limit, "Scale them, or use dtype='float64'.")
    return rows


class LossScale(NamedTuple):
    """How scikit-learn's loss differs from J, the penalty apart: loss = J / divisor + constant."""

    divisor: int = 1
    constant: float = 0.0

    @classmethod
    def of(cls, loss: AnyLoss | None, y: np.ndarray, weights: np.ndarray | None) -> LossScale:
        """Return the difference for a loss and targets (m, n_L).

        Errors of several outputs, or quantiles, are averaged, not summed (though their gradient is that of the sum, as
        J's is); and Poisson's deviance is zero where the prediction is right.
        """
        if loss == "poisson":
            with np.errstate(all="ignore"):
                terms = np.multiply(y, np.log(y, where=y > 0, out=np.zeros(y.shape)), dtype=np.float64) - y
                return cls(constant=float(np.average(terms, axis=0, weights=weights).sum()))
        return cls() if loss is None else cls(divisor=len(settings_of(loss, y.shape[1])))

    def of_all(self, ranks: Ranks | None, weight: float) -> LossScale:
        """Return the difference for the examples of all ranks, of which these weigh so much on this one."""
        if ranks is None:
            return self
        total, weight = map(float, ranks.sums([self.constant * weight, weight]))
        return self._replace(constant=total / weight)

    def __call__(self, run: Run) -> float:
        """Return scikit-learn's loss of the epoch that a run has finished last."""
        penalty = run.penalty
        return (float(run.costs[0]) - penalty) / self.divisor + self.constant + penalty
