"""What a model is made of: its settings, its layers, and the vector of all their parameters."""

from __future__ import annotations  # NumPy loads np.random when it is first named: 20 ms of an import

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from fastnet import checks
from fastnet.activations import activation_for
from fastnet.engine.memory import aligned_zeros
from fastnet.engine.network import Network
from fastnet.engine.predict import Predictor
from fastnet.engine.run import OptimizerState
from fastnet.errors import NotFittedError
from fastnet.history import History
from fastnet.kernels.plan import UNITS, B, W
from fastnet.layers import Dense, Dropout, checked_layers, dropout_rates
from fastnet.losses import LOSSES, Huber, loss_for, name_of, output_code, setting_of
from fastnet.optimizers import SGD, Optimizer


class Architecture(checks.FixedSettings):
    """The settings of a `Model`, which tells what they are; and its parameters, once it is built."""

    fixed = ("layers", "loss", "l2", "dtype", "seed", "l1")

    def __init__(
        self,
        layers: Sequence[Dense | Dropout],
        loss: str | Huber | None = None,
        optimizer: Optimizer | None = None,
        l2: float = 0.0,
        dtype: Any = "float32",
        seed: int | np.random.Generator | None = None,
        l1: float = 0.0,
    ) -> None:
        self.layers = checked_layers(layers)
        self._dense = tuple(layer for layer in self.layers if isinstance(layer, Dense))
        self.output_layer = self._dense[-1]
        self.loss = loss_for(loss, self.output_layer.activation)
        self.dtype = checks.float_dtype(dtype)
        self.optimizer = SGD() if optimizer is None else optimizer
        self.l2 = checks.non_negative_number(l2, "l2")
        self.l1 = checks.non_negative_number(l1, "l1")
        for penalised in (self, *self._dense):
            for name in ("l2", "l1"):
                checks.in_range_of(self.dtype, getattr(penalised, name) or 0.0, name)
        for layer in self._dense:
            checks.in_range_of(self.dtype, activation_for(layer.activation).setting, "slope")
        try:
            np.random.default_rng(seed)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"seed must be a non-negative integer, a numpy.random.Generator or None, not {seed!r}."
            ) from None
        self.seed = seed
        self.history: History | None = None
        self._network: Network | None = None
        self._parameters = np.empty(0, self.dtype)
        self._predictor: Predictor | None = None
        self._optimizer_state: OptimizerState | None = None
        self._key = 0
        self._is_training = False
        self._epochs_finished = 0

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; assign another, such as `SGD(0.01)`, to go on with another learning rate.

        One of the same kind goes on with the running means of the one before.
        """
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be one of fastnet's, such as SGD(0.1) or Adam(), not {optimizer!r}.")
        for name, value in optimizer.numbers.items():
            checks.in_range_of(self.dtype, value, name)
        before = self.__dict__.get("_optimizer")
        if before is not None and self._is_training and before.kind != optimizer.kind:
            raise ValueError(
                f"A callback gave the model the optimizer {optimizer!r}, which is of another kind than {before!r}. "
                "Within a fit, only numbers such as its learning rate may change."
            )
        if (type(optimizer), optimizer.n_moments) != (type(before), getattr(before, "n_moments", 0)):
            self._optimizer_state = None
        self._optimizer = optimizer

    # ------------------------------------------------------------------------------------------------- parameters

    def build(self, n_features: int) -> None:
        """Create the parameters for inputs of `n_features` features, and initialise them; anew if they exist."""
        n_features = checks.positive_integer(n_features, "n_features")
        self._refuse_while_training("build")
        network = Network(
            units=(n_features, *(layer.units for layer in self._dense)),
            activations=(
                *(activation_for(layer.activation).code for layer in self._dense[:-1]),
                output_code(self.loss, self.output_layer.activation),
            ),
            activation_settings=tuple(activation_for(layer.activation).setting for layer in self._dense),
            dropout=dropout_rates(self.layers),
            use_bias=tuple(layer.use_bias for layer in self._dense),
            loss=LOSSES[name_of(self.loss)].code,
            loss_setting=setting_of(self.loss),
            l2=tuple(self.l2 if layer.l2 is None else layer.l2 for layer in self._dense),
            l1=tuple(self.l1 if layer.l1 is None else layer.l1 for layer in self._dense),
            dtype=self.dtype,
        )
        generator = np.random.default_rng(self.seed)
        weights = [
            layer.draw_weights((n, n_prev), generator)
            for layer, n, n_prev in zip(self._dense, network.units[1:], network.units[:-1], strict=True)
        ]
        for index, layer in enumerate(self._dense):
            if layer.is_bound and not (self._network and np.shares_memory(layer.W, self._parameters)):
                raise ValueError(f"layers[{index}] belongs to another model already. Make a new Dense for each model.")
        self._network = network
        self._parameters = aligned_zeros(network.n_parameters, self.dtype)
        self._bind_layers()
        for layer, W_drawn in zip(self._dense, weights, strict=True):
            layer.W[:] = W_drawn
        self._key = int(generator.integers(2**62))
        self._epochs_finished = 0
        self._optimizer_state = self._predictor = None

    def _bind_layers(self) -> None:
        """Make every layer's W and b views of the parameter vector."""
        for layer, (W_view, b_view) in zip(self._dense, self._by_layer(self._parameters), strict=True):
            layer.bind(W_view, b_view)

    def __copy__(self) -> Self:
        """Copy the parameters too: layers can view only one model's."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the compiled function, and memory, that predictions use; a copy is not in training."""
        return {**self.__dict__, "_predictor": None, "_is_training": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or unpickled model: the layers' views must point into its own vector."""
        self.__dict__.update(state)
        if self._network is not None:
            parameters = aligned_zeros(len(self._parameters), self.dtype)
            parameters[:] = self._parameters
            self._parameters = parameters
            self._bind_layers()

    @property
    def parameters(self) -> np.ndarray:
        """All parameters as one flat, writable vector, W then b of each layer, which the layers view."""
        self._built()
        return self._parameters

    def _built(self) -> Network:
        if self._network is None:
            raise NotFittedError("This model has no parameters yet: call build(n_features) or fit(X, y) first.")
        return self._network

    def _refuse_while_training(self, method: str) -> None:
        if self._is_training:
            raise RuntimeError(
                f"{method} was called on a model that is being trained: by a callback, or in another thread. Train a "
                "copy.copy(model), or wait for the end of fit."
            )

    def _by_layer(self, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Return views of a vector laid out like the parameters, shaped as each layer's W and b."""
        network = self._built()
        pairs = []
        for row, n_prev in zip(network.plan(1, backward=False).rows[1:], network.units, strict=False):
            n, w, b = row[UNITS], row[W], row[B]
            dW = vector[w : w + n * n_prev].reshape(n, n_prev)
            pairs.append((dW, vector[b : b + n].reshape(n, 1) if b >= 0 else None))
        return pairs

    def summary(self) -> str:
        """Return a table of the layers: activation, shapes of W, b and Z/A (m examples), number of parameters."""
        rows = [("layer", "activation", "W", "b", "Z, A", "parameters")]
        n_prev: int | str = self._network.units[0] if self._network else "n_x"
        number = 0
        for layer in self.layers:
            if isinstance(layer, Dropout):
                rows.append(("", f"dropout {layer.rate:g}", "-", "-", f"({n_prev}, m)", "0"))
                continue
            number, n = number + 1, layer.units
            count = str(n * n_prev + n * layer.use_bias) if isinstance(n_prev, int) else "?"
            b = f"({n}, 1)" if layer.use_bias else "-"
            rows.append((str(number), str(layer.activation), f"({n}, {n_prev})", b, f"({n}, m)", count))
            n_prev = n
        columns = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(size) for cell, size in zip(row, columns, strict=True)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * size for size in columns))
        total = f"{len(self._parameters)} parameters" if self._network else "not built yet"
        lines.append(f"{total}, {self.dtype}, loss {self.loss}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers))
        return f"Model([{layers}], loss={self.loss!r}, dtype={self.dtype.name!r})"
