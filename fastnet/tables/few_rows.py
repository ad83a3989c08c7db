"""Predictions of few rows of numbers in microseconds: columns, encoding and all networks in one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.engine.memory import aligned_zeros
from fastnet.engine.predict import FEW, LinkedPlan, linked_for_mean, turned_parameters
from fastnet.kernels.build import forks
from fastnet.kernels.plan import padded
from fastnet.model import Model
from fastnet.tables.encoder import TableEncoder


class FewRows:
    """The mean output of networks that are made alike, for few raw rows.

    Their parameters become read-only, since those of all are laid out anew, in one vector, with the first prediction.
    """

    def __init__(self, encoder: TableEncoder, models: list[Model]) -> None:
        self.encoder, self.models = encoder, models
        self.columns = encoder.numbers()
        self.n_features, self.n_outputs = encoder.n_features_in_, models[0].output_layer.units
        self.names = encoder.feature_names_in_ and list(encoder.feature_names_in_)
        self.linked: LinkedPlan | None = None
        for model in models:
            model._freeze()

    def _link(self) -> LinkedPlan:
        """Return the call."""
        assert self.columns is not None
        network, k = self.models[0]._built(), len(self.models)
        n, stride = network.n_parameters, padded(network.n_parameters)
        together = aligned_zeros(k * stride, network.dtype)
        for i, model in enumerate(self.models):
            together[i * stride : i * stride + n] = turned_parameters(network, model.parameters)
        return linked_for_mean(network, together, k, (self.n_features, *self.columns))

    def predict(self, X: Any) -> np.ndarray | None:
        """Return the mean output (m, n_L) in float64 for raw rows; None unless they are few, and all numbers.

        An array of float64, or a frame of pandas that has the names of the one in `fit`.
        """
        if self.columns is None:
            return None
        if type(X) is not np.ndarray and hasattr(X, "columns") and hasattr(X, "iloc") and 0 < len(X) <= FEW:
            if self.names is None or list(X.columns) != self.names:
                return None
            X = X.to_numpy()
            X = np.ascontiguousarray(X, np.float64) if X.dtype.kind in "fiu" else None
        if (
            type(X) is not np.ndarray
            or X.dtype != np.float64
            or X.ndim != 2
            or X.shape[1] != self.n_features
            or not 0 < X.shape[0] <= FEW
            or not (X.flags.carray or (X.flags.c_contiguous and X.flags.aligned))
        ):
            return None
        if self.linked is None:
            with forks.lock:  # once, whoever predicts
                self.linked = self.linked or self._link()
        out = np.empty((X.shape[0], self.n_outputs))
        return out if self.linked.predict(X, out) else None
