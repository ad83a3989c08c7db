"""A network as a module of PyTorch, and from one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastnet import checks
from fastnet.activations import AnyActivation, LeakyReLU
from fastnet.exchange.layers import AnyModel, layers_of, scales_in
from fastnet.exchange.weights import Array, as_array
from fastnet.kernels import codes
from fastnet.layers import AnyLayer, Dense, Dropout
from fastnet.scaling import FLOAT64, Scales, Standardize

try:
    import torch
    from torch import nn as nn  # `Model` takes it from here
except ImportError as error:
    raise ImportError(
        f"to_torch and from_torch need PyTorch, which cannot be imported ({error}). Install it by pip install torch; "
        "or pass the parameters as arrays, to Model.load_torch.",
        name=error.name,
    ) from error


class Exp(nn.Module):
    """A = e^Z, as it comes with fastnet's loss "poisson"; PyTorch has no module for it."""

    def forward(self, Z: torch.Tensor) -> torch.Tensor:
        """Return e^Z."""
        return Z.exp()


class Standardized(nn.Module):
    """x' = (x - mean) / spread, in double, as fastnet's layer Standardize; mean and spread (n_x,) are buffers."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, scales: Scales) -> None:
        super().__init__()
        for name, values in scales._asdict().items():
            self.register_buffer(name, torch.from_numpy(values.copy()))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return X' in the dtype of X."""
        return ((X.double() - self.mean) / self.spread).to(X.dtype)


class Restored(Standardized):
    """a' spread + mean, in double, as fastnet's standardize_y has it."""

    def forward(self, A: torch.Tensor) -> torch.Tensor:
        """Return the outputs on the scale of y."""
        return (A.double() * self.spread + self.mean).to(A.dtype)


LEAST_THRESHOLD = 20
"""From which z on PyTorch's Softplus may return z itself, which is off by 2e-9 there: its default."""

TO_TORCH: dict[int, Callable[[float], nn.Module]] = {
    codes.SIGMOID: lambda setting: nn.Sigmoid(),
    codes.TANH: lambda setting: nn.Tanh(),
    codes.RELU: lambda setting: nn.ReLU(),
    codes.LEAKY_RELU: nn.LeakyReLU,
    codes.SOFTMAX: lambda setting: nn.Softmax(dim=1),
    codes.EXPONENTIAL: lambda setting: Exp(),
    codes.ELU: lambda setting: nn.ELU(),
    codes.SELU: lambda setting: nn.SELU(),
    codes.SOFTPLUS: lambda setting: nn.Softplus(threshold=40),  # where e^-z is lost in float64
    codes.GELU: lambda setting: nn.GELU(),
    codes.SILU: lambda setting: nn.SiLU(),
    codes.MISH: lambda setting: nn.Mish(),
}
"""By code: what makes the module of an activation, given its setting; but of "linear", which needs none."""


class Form(NamedTuple):
    """What fastnet has for a module: the activation, and which settings the module must have."""

    activation: str
    fits: Callable[[Any], bool] = lambda module: True
    settings: str = ""


FROM_TORCH: dict[type[nn.Module], Form] = {
    nn.Sigmoid: Form("sigmoid"),
    nn.Tanh: Form("tanh"),
    nn.ReLU: Form("relu"),
    nn.LeakyReLU: Form("leaky_relu", lambda module: module.negative_slope >= 0, "negative_slope>=0"),
    nn.Softmax: Form("softmax", lambda module: module.dim in (1, -1), "dim=1"),
    Exp: Form("linear"),  # A = e^Z comes with the loss
    nn.ELU: Form("elu", lambda module: module.alpha == 1, "alpha=1"),
    nn.SELU: Form("selu"),
    nn.Softplus: Form(
        "softplus",
        lambda module: module.beta == 1 and module.threshold >= LEAST_THRESHOLD,
        f"beta=1 and threshold>={LEAST_THRESHOLD}",
    ),
    nn.GELU: Form("gelu", lambda module: module.approximate == "none", "approximate='none'"),
    nn.SiLU: Form("silu"),
    nn.Mish: Form("mish"),
}
NOT_LAYERS: dict[type[nn.Module], Form] = {
    nn.Identity: Form(""),
    nn.Flatten: Form("", lambda module: (module.start_dim, module.end_dim) == (1, -1), "start_dim=1 and end_dim=-1"),
}
"""What does nothing to examples in rows."""


def to_torch(model: AnyModel) -> nn.Sequential:
    """Return a model as a module; see `Model.to_torch`."""
    X_scales, y_scales = scales_in(model)
    modules: list[nn.Module] = [] if X_scales is None else [Standardized(X_scales)]
    for layer in layers_of(model):
        n, n_prev = layer.W.shape
        linear = nn.utils.skip_init(nn.Linear, n_prev, n, bias=layer.b is not None)  # draws no random numbers
        linear.weight = nn.Parameter(torch.from_numpy(layer.W))
        if layer.b is not None:
            linear.bias = nn.Parameter(torch.from_numpy(layer.b))
        modules.append(linear)
        if layer.code != codes.LINEAR:
            modules.append(TO_TORCH[layer.code](layer.setting))
        if layer.dropout:
            modules.append(nn.Dropout(layer.dropout))
    if y_scales is not None:
        modules.append(Restored(y_scales))
    return nn.Sequential(*modules).eval()


@dataclass
class Stage:
    """A Linear and what follows it; `position` is how messages call it, such as "module[1][0]", and the activation."""

    position: str
    linear: nn.Linear
    activation: nn.Module | None = None
    activation_position: str = ""
    dropout: float | None = None

    @property
    def layers(self) -> list[Dense | Dropout]:
        """The layers of fastnet's that they are."""
        activation: AnyActivation = "linear"
        if isinstance(self.activation, nn.LeakyReLU):
            activation = LeakyReLU(self.activation.negative_slope)
        elif self.activation is not None:
            activation = FROM_TORCH[type(self.activation)].activation
        dense = Dense(self.linear.out_features, activation, use_bias=self.linear.bias is not None)
        return [dense] if self.dropout is None else [dense, Dropout(self.dropout)]

    @property
    def arrays(self) -> list[Array]:
        """The parameters."""
        parameters = {"weight": self.linear.weight, "bias": self.linear.bias}
        return [Array(f"{self.position}.{name}", as_array(p)) for name, p in parameters.items() if p is not None]


class Found(NamedTuple):
    """What a module is as a model: layers, settings of its constructor, and parameters."""

    layers: list[AnyLayer]
    settings: dict[str, Any]
    arrays: list[Array]
    scales: dict[str, Scales | None]


def from_torch(module: Any, settings: dict[str, Any]) -> Found:
    """Return what a module is as a model, whose constructor gets these settings; see `Model.from_torch`."""
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"module must be a torch.nn.Sequential, not a {type(module).__name__}. A state_dict is for load_torch, a "
            "method of a Model that has the layers."
        )
    each = list(leaves(module, "module"))
    scales: dict[str, Scales | None] = {"X": None, "y": None}
    if each and type(each[0][1]) is Standardized:
        scales["X"] = scales_of_module(each.pop(0)[1])
    if each and type(each[-1][1]) is Restored:
        scales["y"] = scales_of_module(each.pop()[1])
        settings = {**settings, "standardize_y": True}
    stages = stages_of(each, module)
    dtypes = sorted({str(stage.linear.weight.dtype).removeprefix("torch.") for stage in stages})
    if "dtype" not in settings:
        if len(dtypes) > 1 or dtypes[0] not in checks.FLOAT_DTYPES:
            raise ValueError(f"module has parameters of {' and '.join(dtypes)}. Pass dtype='float32' or 'float64'.")
        settings = {**settings, "dtype": dtypes[0]}
    for stage in stages[:-1]:
        if isinstance(stage.activation, (Exp, nn.Softmax)):
            raise ValueError(
                f"{stage.activation_position} is {stage.activation!r}, which fastnet has after the last Linear alone."
            )
    if isinstance(stages[-1].activation, Exp):
        if settings.get("loss") not in (None, "poisson"):
            raise ValueError(
                f"{stages[-1].activation_position} is Exp(), A = e^Z, for which loss must be 'poisson', not "
                f"{settings['loss']!r}."
            )
        settings = {**settings, "loss": "poisson"}
    of_probabilities = settings.get("loss") in ("binary_crossentropy", "categorical_crossentropy")
    if of_probabilities and stages[-1].activation is None:
        raise ValueError(
            f"module ends with logits, those of {stages[-1].position}, but loss {settings['loss']!r} takes "
            "probabilities. Append nn.Sigmoid() or nn.Softmax(dim=1)."
        )
    layers: list[AnyLayer] = [layer for stage in stages for layer in stage.layers]
    if scales["X"] is not None:
        layers.insert(0, Standardize())
    return Found(layers, settings, [array for stage in stages for array in stage.arrays], scales)


def scales_of_module(module: Any) -> Scales:
    """Return the scales of a Standardized or a Restored; ValueError if they are none."""
    scales = Scales(*(as_array(getattr(module, name)).astype(FLOAT64) for name in Scales._fields))
    if not (np.isfinite(scales).all() and (scales.spread > 0).all()):
        raise ValueError(f"mean and spread of {module!r} must be finite, and spread greater than 0.")
    return scales


def stages_of(modules: list[tuple[str, nn.Module]], module: nn.Module) -> list[Stage]:
    """Return the Linear modules of a module, each with what follows it; ValueError for what fastnet does not have."""
    stages: list[Stage] = []
    for position, each in modules:
        kind, shown = type(each), f"{position} is {each!r}"
        form = FROM_TORCH.get(kind, NOT_LAYERS.get(kind))
        if form is None and kind not in (nn.Linear, nn.Dropout):
            known = ", ".join(found.__name__ for found in (nn.Linear, nn.Dropout, *FROM_TORCH, *NOT_LAYERS))
            raise ValueError(
                f"{shown}, which fastnet does not have. It has, in a Sequential: {known}. Of any other it takes "
                "the parameters: Model([...]).load_torch(module.state_dict())."
            )
        if form is not None and not form.fits(each):
            raise ValueError(f"{shown}, but fastnet has {kind.__name__} with {form.settings} alone.")
        if kind in NOT_LAYERS:
            continue
        if isinstance(each, nn.Linear):
            stages.append(Stage(position, each))
            continue
        last = stages[-1] if stages else None
        if last is None or last.dropout is not None or (kind is not nn.Dropout and last.activation is not None):
            raise ValueError(
                f"{shown}, but a layer of fastnet's is a Linear, then an activation or none, then a Dropout or none. "
                "Move it, or leave it out."
            )
        if isinstance(each, nn.Dropout):
            last.dropout = checks.number_below_one(each.p, f"p of {position}")
        else:
            last.activation, last.activation_position = each, position
    if not stages:
        raise ValueError(f"module has no Linear, but must have one: {module!r}.")
    if stages[-1].dropout is not None:
        raise ValueError(f"module ends with a Dropout, after {stages[-1].position}, the last Linear. Leave it out.")
    return stages


def leaves(module: nn.Module, position: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules in nested Sequentials, in order, and how messages call each."""
    if type(module) is nn.Sequential:
        for i, each in enumerate(module):
            yield from leaves(each, f"{position}[{i}]")
    else:
        yield position, module
