"""The network of an estimator of `fastnet.sklearn`: how it is made, and what `coefs_` has to do with it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnet import mlp, validation
from fastnet.data import sample_weights
from fastnet.losses import DEFAULT_LOSSES, name_of
from fastnet.mlp_training import Examples
from fastnet.optimizers import EpsilonHatAdam, Optimizer

if TYPE_CHECKING:
    from fastnet.losses import Huber
    from fastnet.model import Model


class MLPNetwork:
    """The part of an estimator that has the parameters.

    `coefs_` and `intercepts_` are lists of views of the parameters of a `Model`. What a user puts in their place is
    copied in when the network is next needed.
    """

    _epochs_finished = 0
    _dropout_key = 0
    _model: Model
    _design: mlp.Design

    def _loss(self) -> str | Huber | None:
        """Return fastnet's loss, or None for the one that belongs to the output."""
        raise NotImplementedError

    def _bound(self: Any) -> Model:
        """Return the model, after copying in what has replaced a view of its parameters."""
        arrays = (*self.coefs_, *self.intercepts_)
        views = self.__dict__.get("_views", ())
        if len(arrays) != len(views) or any(array is not view for array, view in zip(arrays, views, strict=True)):
            units = (len(self.coefs_[0]), *(np.shape(coef)[1] for coef in self.coefs_))
            if not views or self._design.units != units:
                dtype = self._design.dtype if views else np.result_type(*self.coefs_)
                self._design = self._design_of(units, validation.float_dtype(dtype))
                self._model = self._design.model()
            mlp.set_parameters(self._model, self.coefs_, self.intercepts_)
            self._make_views()
        return self._model

    def _make_views(self) -> None:
        """Make `coefs_` and `intercepts_` views of the parameters of the model."""
        layers = mlp.dense(self._model)
        self.coefs_ = [layer.W.T for layer in layers]
        self.intercepts_ = [layer.b[:, 0] for layer in layers if layer.b is not None]
        self._views = (*self.coefs_, *self.intercepts_)

    def _design_of(self: Any, units: tuple[int, ...], dtype: np.dtype) -> mlp.Design:
        """Return what a network of these units is made of, by the arguments of the constructor."""
        n_hidden = len(units) - 2
        return mlp.Design(
            units=units,
            activations=mlp.hidden_activations(self.activation, n_hidden),
            dropout=mlp.dropout_rates(self.dropout, n_hidden),
            out_activation=self.out_activation_,
            loss=self._loss(),
            alpha=float(self.alpha),
            dtype=dtype,
        )

    def _make_network(self: Any, units: tuple[int, ...], dtype: np.dtype) -> None:
        """Make a new network, and draw its parameters."""
        self._design = self._design_of(units, dtype)
        self._model = self._design.model()
        mlp.initialise(self._model, self._design, self.activation, self._random_state)
        self._dropout_key = self._random_state.randint(2**31) if any(self._design.dropout) else 0
        self._epochs_finished = 0
        self._make_views()

    def _go_on_with_network(self: Any, units: tuple[int, ...]) -> None:
        """Take what settings of the constructor have changed; ValueError if the units have."""
        model = self._bound()
        if units != self._design.units:
            raise ValueError(
                f"The network that training would go on with has layers of {self._design.units} units, but "
                f"hidden_layer_sizes and the data make {units}. Use warm_start=False, or a new estimator."
            )
        design = self._design_of(units, self._design.dtype)
        if design != self._design:
            self._design, self._model = design, design.model()
            self._model.parameters[:] = model.parameters
            self._make_views()

    def _examples(self: Any, X: Any, targets: np.ndarray, sample_weight: Any, dtype: np.dtype) -> Examples:
        """Return examples as the kernels take them; `targets` are (m, n_outputs), or (m,) numbers of classes."""
        loss = self._loss()
        name = DEFAULT_LOSSES[mlp.OUTPUTS[self.out_activation_]] if loss is None else name_of(loss)
        y = validation.targets(targets, dtype, X.shape, self.n_outputs_, name)
        return Examples(mlp.rows_of(X, dtype), y, sample_weights(sample_weight, len(y), dtype))

    def _make_optimizer(self: Any) -> Optimizer:
        """Return fastnet's optimizer for the solver."""
        clip_norm = None if self.clip_norm is None else float(self.clip_norm)
        if isinstance(self.solver, Optimizer):
            return self.solver if clip_norm is None else replace(self.solver, clip_norm=clip_norm)
        rate = float(self.learning_rate_init)
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum > 0)
            return mlp.UndampedSGD(rate, float(self.momentum), nesterov, clip_norm=clip_norm)
        return EpsilonHatAdam(rate, float(self.beta_1), float(self.beta_2), float(self.epsilon), clip_norm=clip_norm)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the views to the model, of which copies have one of their own."""
        state = dict(super().__getstate__())  # type: ignore[call-overload]
        if "_views" in state:
            state["_model"] = copy.copy(self._bound())
            for name in ("coefs_", "intercepts_", "_views"):
                del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        if "_model" in state:
            self._make_views()
