"""What an export takes of a model: each layer's parameters, copied, its activation and its dropout."""

from typing import NamedTuple, Protocol

import numpy as np

from fastnet import checks
from fastnet.activations import activation_for
from fastnet.errors import NotFittedError
from fastnet.kernels.codes import INCREASING
from fastnet.layers import AnyLayer, Dense, Encode, dropout_rates
from fastnet.losses import AnyLoss, output_code
from fastnet.metrics import CLASS_ACTIVATIONS
from fastnet.scaling import Scales, Standardize


class AnyModel(Protocol):
    """The part of a `Model` that is exported."""

    layers: tuple[AnyLayer, ...]
    loss: AnyLoss
    standardize_y: bool
    y_scales: Scales | None
    dtype: np.dtype
    output_layer: Dense

    @property
    def parameters(self) -> np.ndarray:
        """All parameters as one flat vector."""


class Layer(NamedTuple):
    """A dense layer as it is exported: A = g(W A_prev + b), then dropout.

    W (n, n_prev) and b (n,), or None without bias, are copies. `code` says which g, of `kernels.codes`; `setting` is
    the number that it reads, leaky ReLU's slope. `dropout` is the rate, 0 for none.
    """

    W: np.ndarray
    b: np.ndarray | None
    code: int
    setting: float
    dropout: float


def layers_of(model: AnyModel, *, encodes: bool = False) -> list[Layer]:
    """Return the dense layers of a model; NotFittedError without parameters, ValueError if one is not finite.

    Nor may one be an `Encode`, unless the export `encodes`.
    """
    if isinstance(model.layers[0], Encode) and not encodes:
        raise ValueError(
            "This export has no Encode layer yet; to_onnx has. Or export a model that is trained on encoded columns."
        )
    dense = [layer for layer in model.layers if isinstance(layer, Dense)]
    checks.refuse_not_finite(
        model.parameters, "parameters", "non-finite {}", "Set W and b anew, or fit the model again."
    )
    activations = [activation_for(layer.activation) for layer in dense]
    codes = [activation.code for activation in activations]
    codes[-1] = output_code(model.loss, model.output_layer.activation)  # Poisson's A = e^Z comes with the loss
    if codes[-1] == INCREASING:
        raise ValueError(
            f"loss {model.loss!r} makes outputs of each other, which no exported network does yet. Train one for each, "
            "such as Quantile(0.9)."
        )
    return [
        Layer(layer.W.copy(), None if layer.b is None else layer.b[:, 0].copy(), code, activation.setting, rate)
        for layer, code, activation, rate in zip(dense, codes, activations, dropout_rates(model.layers), strict=True)
    ]


def scales_in(model: AnyModel) -> tuple[Scales | None, Scales | None]:
    """Return the scales of X and of y, None of what is not standardized; NotFittedError before they are known."""
    first = model.layers[0]
    if model.standardize_y and model.y_scales is None:
        raise NotFittedError("With standardize_y, the scale of y comes from the first fit(X, y): call that first.")
    return first.learned() if isinstance(first, Standardize) else None, model.y_scales


def is_classifier(model: AnyModel) -> bool:
    """Return whether the outputs are probabilities."""
    return model.output_layer.activation in CLASS_ACTIVATIONS
