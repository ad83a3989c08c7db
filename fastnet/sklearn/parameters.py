"""The network of an estimator: a `Model`, whose parameters `coefs_` and `intercepts_` are views of."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator

from fastnet import checks, words
from fastnet.engine.examples import Data, sample_weights
from fastnet.engine.threads import OneAtATime
from fastnet.kernels.build import forks
from fastnet.losses import DEFAULT_LOSSES, name_of
from fastnet.sklearn import rules

if TYPE_CHECKING:
    from fastnet.engine.course import OptimizerState
    from fastnet.losses import AnyLoss
    from fastnet.model import Model
    from fastnet.optimizers import Optimizer


class NetworkEstimator(BaseEstimator, metaclass=words.Helpful):
    """An estimator that has a network: its arguments, its attributes, and its parameters.

    `coefs_` and `intercepts_` are lists of views of the parameters of a `Model`. Arrays that a user puts in their place
    are copied in when the network is next needed. The arguments are attributes too, as the constructors type them.
    """

    # The network; what a fit goes on from.
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    _model: Model
    _design: rules.Design
    _views: tuple[np.ndarray, ...] = ()
    _random_state: np.random.RandomState
    _optimizer: Optimizer
    _moments: OptimizerState | None
    _schedule: tuple[str, float, float]  # learning_rate, learning_rate_init and power_t of the optimizer
    _epochs_finished = 0
    _dropout_key = 0

    label_smoothing: float = 0.0
    """An argument of the classifier's alone."""

    # The record of its training.
    n_iter_: int
    t_: int
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    _best_parameters: np.ndarray
    _no_improvement_count: int

    def _loss(self) -> AnyLoss | None:
        """Return fastnet's loss, or None for the one that belongs to the output."""
        raise NotImplementedError

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a network; scikit-learn would look through all attributes, which a fit changes."""
        return hasattr(self, "coefs_")

    def _alone(self, method: str) -> AbstractContextManager[None]:
        """Let nobody else fit the estimator meanwhile; RuntimeError if somebody does."""
        training: OneAtATime = self.__dict__.setdefault("_training", OneAtATime())
        return training(method)

    def _bound(self) -> Model:
        """Return the model, after copying in the arrays that have replaced views of its parameters.

        Several threads may predict at once: each sees a whole network, from before the copying or after.
        """
        if not self._has_its_views():
            with forks.lock:
                if not self._has_its_views():
                    self._bind()
        return self._model

    def _has_its_views(self) -> bool:
        """Return whether `coefs_` and `intercepts_` are views of the parameters, and not a user's arrays."""
        arrays = (*self.coefs_, *self.intercepts_)
        return len(arrays) == len(self._views) and all(map(is_, arrays, self._views))

    def _bind(self) -> None:
        """Make a model of `coefs_` and `intercepts_`, which become views of its parameters."""
        units = (len(self.coefs_[0]), *(np.shape(coef)[1] for coef in self.coefs_))
        known: rules.Design | None = getattr(self, "_design", None)
        dtype = np.dtype(np.float32 if np.result_type(*self.coefs_).itemsize < 8 else np.float64)
        design = known if known and known.units == units else self._design_of(units, known.dtype if known else dtype)
        model = design.model()
        rules.set_parameters(model, self.coefs_, self.intercepts_)
        self._take(design, model)

    def _take(self, design: rules.Design, model: Model) -> None:
        """Make a model the estimator's own, and `coefs_` and `intercepts_` views of its parameters."""
        layers = rules.dense(model)
        coefs = [layer.W.T for layer in layers]
        intercepts = [layer.b[:, 0] for layer in layers if layer.b is not None]
        with forks.lock:  # no prediction may see the half of it, and bind that
            self._design, self._model, self._views = design, model, (*coefs, *intercepts)
            self.coefs_, self.intercepts_ = coefs, intercepts

    def _design_of(self, units: tuple[int, ...], dtype: np.dtype) -> rules.Design:
        """Return the design of a network of these units, by the arguments of the constructor."""
        n_hidden = len(units) - 2
        checks.in_range_of(dtype, float(self.alpha), "alpha")
        return rules.Design(
            units, rules.hidden_activations(self.activation, n_hidden), rules.dropout_rates(self.dropout, n_hidden),
            self.out_activation_, self._loss(), float(self.alpha), dtype,
        )  # fmt: skip

    def _make_network(self, units: tuple[int, ...], dtype: np.dtype) -> None:
        """Make a new network, and draw its parameters."""
        design = self._design_of(units, dtype)
        model = design.model()
        rules.initialise(model, design, self.activation, self._random_state)
        self._epochs_finished = self._dropout_key = 0
        self._draw_dropout_key(design)
        self._take(design, model)

    def _draw_dropout_key(self, design: rules.Design) -> None:
        """Draw the key of dropout, where there is dropout: all other draws are scikit-learn's."""
        if any(design.dropout) and not self._dropout_key:
            self._dropout_key = 1 + self._random_state.randint(2**31 - 1)

    def _go_on_with_network(self, units: tuple[int, ...]) -> None:
        """Apply the arguments that have changed to the network; ValueError if its units have."""
        model = self._bound()
        if units != self._design.units:
            raise ValueError(
                f"The network that training would go on with has layers of {self._design.units} units, but "
                f"hidden_layer_sizes and the data make {units}. Use warm_start=False, or a new estimator."
            )
        design = self._design_of(units, self._design.dtype)
        self._draw_dropout_key(design)
        if design != self._design:
            changed = design.model()
            changed.parameters[:] = model.parameters
            self._take(design, changed)

    def _examples(self, X: Any, targets: np.ndarray, sample_weight: Any, dtype: np.dtype) -> Data:
        """Return examples as the kernels take them; `targets` are (m, n_outputs), or (m,) numbers of classes."""
        loss = self._loss()
        name = DEFAULT_LOSSES[rules.OUTPUTS[self.out_activation_]] if loss is None else name_of(loss)
        y = checks.targets(targets, dtype, X.shape, self.n_outputs_, name)
        return Data(rules.rows_of(X, dtype, own=True), y, sample_weights(sample_weight, len(y), dtype))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the views to the model; each copy of the estimator has a model of its own, which nobody trains."""
        state = dict(super().__getstate__())
        state.pop("_training", None)
        if "_views" in state:
            state["_model"] = copy.copy(self._bound())
            if "_moments" in state:
                state["_moments"] = copy.deepcopy(self._moments)
            for name in ("coefs_", "intercepts_", "_views"):
                del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_model" in state:
            self._take(self._design, self._model)
