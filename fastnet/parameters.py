"""The parameters of a built network: one flat vector, and W and b of each layer as views of it."""

from __future__ import annotations  # NumPy loads np.random when it is first named: 20 ms of an import

from collections.abc import Sequence
from typing import Self

import numpy as np

from fastnet.activations import activation_for
from fastnet.engine.memory import aligned_zeros
from fastnet.engine.network import Network
from fastnet.kernels.plan import parameter_offsets
from fastnet.layers import AnyLayer, Dense, Encode, Scale, dropout_rates
from fastnet.losses import AnyLoss, loss_of, output_code, settings_of


class Parameters:
    """W, in C order, and then b of each layer, one after the other in a vector.

    A copy, deep or shallow, has a vector of its own, and so has one that is unpickled: `bind` gives it layers.
    `vector` (n_parameters,), zero or a copy of `values`, is writable, of the network's dtype, and aligned; it stays
    where it is, and `network` the same.
    """

    def __init__(self, network: Network, values: np.ndarray | None = None) -> None:
        self.network = network
        self._offsets, n_parameters = parameter_offsets(network.units, network.use_bias)
        self.vector = aligned_zeros(n_parameters, network.dtype)
        if values is not None:
            self.vector[:] = values

    @classmethod
    def drawn(cls, network: Network, layers: Sequence[Dense], generator: np.random.Generator) -> Self:
        """Return initial parameters, which become the layers': each draws its W, first to last; b is zero."""
        parameters = cls(network)
        with np.errstate(all="ignore"):  # a fit refuses parameters that are infinite
            for layer, (W, _) in zip(layers, parameters.by_layer(), strict=True):
                W[:] = layer.draw_weights(W.shape, generator)
        parameters.bind(layers)
        return parameters

    def __len__(self) -> int:
        return len(self.vector)

    def by_layer(self, vector: np.ndarray | None = None) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Return W (n, n_prev) and b (n, 1), or None without bias, of each layer.

        They are views of the parameters, or of another vector that is laid out like them, such as a gradient.
        """
        vector = self.vector if vector is None else vector
        units, pairs = self.network.units, []
        for n_prev, n, (w, b) in zip(units[:-1], units[1:], self._offsets, strict=True):
            W = vector[w : w + n * n_prev].reshape(n, n_prev)
            pairs.append((W, vector[b : b + n].reshape(n, 1) if b >= 0 else None))
        return pairs

    def bind(self, layers: Sequence[Dense]) -> None:
        """Make the layers' W and b views of the vector."""
        for layer, pair in zip(layers, self.by_layer(), strict=True):
            layer.bind(*pair)

    def freeze(self, layers: Sequence[Dense]) -> None:
        """Make them, and the layers' views, read-only."""
        self.vector.flags.writeable = False
        self.bind(layers)

    def __reduce__(self) -> tuple[type[Self], tuple[Network, np.ndarray]]:
        """Be copied, and pickled, as the network and the values."""
        return type(self), (self.network, self.vector)


def network_of(
    layers: Sequence[AnyLayer], loss: AnyLoss, n_features: int, dtype: np.dtype, *, l2: float, l1: float
) -> Network:
    """Return the network of some layers, for so many features; `l2` and `l1`: where a layer has none of its own."""
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    encode = layers[0] if isinstance(layers[0], Encode) else None
    if encode is not None and n_features != len(encode.columns):
        raise ValueError(f"X has {n_features} features, but {encode!r} is for {len(encode.columns)}.")
    found = [activation_for(layer.activation) for layer in dense]
    return Network(
        units=(n_features if encode is None else encode.n_inputs, *(layer.units for layer in dense)),
        activations=(*(each.code for each in found[:-1]), output_code(loss, dense[-1].activation)),
        activation_settings=tuple(each.setting for each in found),
        dropout=dropout_rates(layers),
        use_bias=tuple(layer.use_bias for layer in dense),
        loss=loss_of(loss).code,
        loss_settings=settings_of(loss, dense[-1].units),
        l2=tuple(l2 if layer.l2 is None else layer.l2 for layer in dense),
        l1=tuple(l1 if layer.l1 is None else layer.l1 for layer in dense),
        rates=tuple(layer.learning_rate for layer in dense),
        bias_rates=tuple(layer.bias_learning_rate for layer in dense),
        factor_rate=next((layer.learning_rate for layer in layers if isinstance(layer, Scale)), None),
        dtype=dtype,
        encoded=None if encode is None else (len(encode.columns), encode.constants),
    )
