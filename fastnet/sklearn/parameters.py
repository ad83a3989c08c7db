"""The network of an estimator of `fastnet.sklearn`: how it is made, and what `coefs_` has to do with it."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnet import checks
from fastnet.engine.examples import Data, sample_weights
from fastnet.losses import DEFAULT_LOSSES, name_of
from fastnet.optimizers import EpsilonHatAdam, Optimizer
from fastnet.sklearn import rules

if TYPE_CHECKING:
    from fastnet.engine.run import OptimizerState
    from fastnet.losses import Huber
    from fastnet.model import Model


BINDING = threading.Lock()


class MLPNetwork:
    """The part of an estimator that has the parameters.

    `coefs_` and `intercepts_` are lists of views of the parameters of a `Model`. What a user puts in their place is
    copied in when the network is next needed.
    """

    _epochs_finished = 0
    _dropout_key = 0
    _model: Model
    _moments: OptimizerState
    _design: rules.Design

    def _loss(self) -> str | Huber | None:
        """Return fastnet's loss, or None for the one that belongs to the output."""
        raise NotImplementedError

    def _bound(self: Any) -> Model:
        """Return the model, after copying in what has replaced a view of its parameters.

        Several threads may predict at once: what they see is a whole network, before or after.
        """
        if not self._has_its_views():
            with BINDING:
                if not self._has_its_views():
                    self._bind()
        return self._model  # type: ignore[no-any-return]

    def _has_its_views(self: Any) -> bool:
        """Return whether `coefs_` and `intercepts_` are views of the parameters, and not what a user put there."""
        views = self.__dict__.get("_views", ())
        arrays = (*self.coefs_, *self.intercepts_)
        return len(arrays) == len(views) and all(array is view for array, view in zip(arrays, views, strict=True))

    def _bind(self: Any) -> None:
        """Make a model of `coefs_` and `intercepts_`, of which they become views."""
        units = (len(self.coefs_[0]), *(np.shape(coef)[1] for coef in self.coefs_))
        known = self.__dict__.get("_design")
        dtype = np.dtype(np.float32 if np.result_type(*self.coefs_).itemsize < 8 else np.float64)
        design = known if known and known.units == units else self._design_of(units, known.dtype if known else dtype)
        model = design.model()
        rules.set_parameters(model, self.coefs_, self.intercepts_)
        self._take(design, model)

    def _take(self, design: rules.Design, model: Model) -> None:
        """Make a model that of the estimator, and `coefs_` and `intercepts_` views of its parameters."""
        layers = rules.dense(model)
        coefs = [layer.W.T for layer in layers]
        intercepts = [layer.b[:, 0] for layer in layers if layer.b is not None]
        self._design, self._model, self._views = design, model, (*coefs, *intercepts)
        self.coefs_, self.intercepts_ = coefs, intercepts

    def _design_of(self: Any, units: tuple[int, ...], dtype: np.dtype) -> rules.Design:
        """Return what a network of these units is made of, by the arguments of the constructor."""
        n_hidden = len(units) - 2
        return rules.Design(
            units=units,
            activations=rules.hidden_activations(self.activation, n_hidden),
            dropout=rules.dropout_rates(self.dropout, n_hidden),
            out_activation=self.out_activation_,
            loss=self._loss(),
            alpha=float(self.alpha),
            dtype=dtype,
        )

    def _make_network(self: Any, units: tuple[int, ...], dtype: np.dtype) -> None:
        """Make a new network, and draw its parameters."""
        design = self._design_of(units, dtype)
        model = design.model()
        rules.initialise(model, design, self.activation, self._random_state)
        self._epochs_finished = self._dropout_key = 0
        self._draw_dropout_key(design)
        self._take(design, model)

    def _draw_dropout_key(self: Any, design: rules.Design) -> None:
        """Draw what decides which outputs are dropped, where some are: no other draw differs from scikit-learn's."""
        if any(design.dropout) and not self._dropout_key:
            self._dropout_key = 1 + self._random_state.randint(2**31 - 1)

    def _go_on_with_network(self: Any, units: tuple[int, ...]) -> None:
        """Take what settings of the constructor have changed; ValueError if the units have."""
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

    def _examples(self: Any, X: Any, targets: np.ndarray, sample_weight: Any, dtype: np.dtype) -> Data:
        """Return examples as the kernels take them; `targets` are (m, n_outputs), or (m,) numbers of classes."""
        loss = self._loss()
        name = DEFAULT_LOSSES[rules.OUTPUTS[self.out_activation_]] if loss is None else name_of(loss)
        y = checks.targets(targets, dtype, X.shape, self.n_outputs_, name)
        return Data(rules.rows_of(X, dtype), y, sample_weights(sample_weight, len(y), dtype))

    def _make_optimizer(self: Any) -> Optimizer:
        """Return fastnet's optimizer for the solver; its schedule goes with it, whatever arguments change later."""
        policy = self.learning_rate if self.solver == "sgd" else "constant"
        self._schedule = policy, float(self.learning_rate_init), float(self.power_t)
        clip_norm = None if self.clip_norm is None else float(self.clip_norm)
        if isinstance(self.solver, Optimizer):
            return self.solver if clip_norm is None else replace(self.solver, clip_norm=clip_norm)
        rate = float(self.learning_rate_init)
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum > 0)
            return rules.UndampedSGD(rate, float(self.momentum), nesterov, clip_norm=clip_norm)
        return EpsilonHatAdam(rate, float(self.beta_1), float(self.beta_2), float(self.epsilon), clip_norm=clip_norm)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the views to the model, of which copies have one of their own."""
        state = dict(super().__getstate__())  # type: ignore[call-overload]
        if "_views" in state:
            state["_model"] = copy.copy(self._bound())
            if "_moments" in state:
                state["_moments"] = copy.deepcopy(self._moments)
            for name in ("coefs_", "intercepts_", "_views"):
                del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        if "_model" in state:
            self._take(self._design, self._model)
