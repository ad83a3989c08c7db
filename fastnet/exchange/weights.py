"""Parameters that come as arrays, from Keras or PyTorch: all are checked before any is taken. Knows neither library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnet import checks
from fastnet.layers import Dense


class Array(NamedTuple):
    """An array that is to become W or b of a layer: what messages call it, and whether W comes transposed."""

    name: str
    values: Any
    transposed: bool = False


def keras_arrays(weights: Any) -> list[Array]:
    """Return the arrays of Keras' `get_weights()`, kernels (n_prev, n) and biases (n,); TypeError if it is none."""
    if not isinstance(weights, (list, tuple)):
        raise TypeError(
            f"weights must be the list of arrays that get_weights() of Keras' model returns, not {_kind_of(weights)}."
        )
    return [Array(f"weights[{i}]", values, transposed=True) for i, values in enumerate(weights)]


def torch_arrays(state_dict: Any) -> list[Array]:
    """Return the tensors of PyTorch's `state_dict()`, weights (n, n_prev) and biases (n,), in its order.

    TypeError if it is no such dictionary, ValueError if something in it is neither a weight nor a bias.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"state_dict must be what state_dict() of PyTorch's module returns, not {_kind_of(state_dict)}."
        )
    for key in state_dict:
        if not isinstance(key, str) or key.rpartition(".")[2] not in ("weight", "bias"):
            raise ValueError(
                f"state_dict[{key!r}] is neither a weight nor a bias, and a Dense layer has nothing else. Pass the "
                "state_dict of a module of Linear layers alone."
            )
    return [Array(f"state_dict[{key!r}]", as_array(values)) for key, values in state_dict.items()]


def as_array(tensor: Any) -> Any:
    """Return a tensor of PyTorch, of any dtype and on any device, as an array of float64; anything else as it is."""
    return tensor.detach().cpu().double().numpy() if hasattr(tensor, "detach") else tensor


def parameter_vector(
    arrays: Sequence[Array], layers: Sequence[Dense], dtype: np.dtype, n_features: int | None
) -> tuple[np.ndarray, int]:
    """Return the arrays, W and b of each layer in turn, as a vector of parameters, and how many features they take.

    `n_features` may be None: then the first W tells. ValueError or TypeError if there are too many or too few arrays,
    or one has another shape than its W or b, or a value that is not finite in `dtype`.
    """
    names = [f"{letter}{l}" for l, layer in enumerate(layers, start=1) for letter in ("Wb" if layer.use_bias else "W")]
    if len(arrays) != len(names):
        raise ValueError(
            f"There must be {len(names)} arrays, for {', '.join(names)} of this model, but {len(arrays)} came"
            f"{': ' if arrays else ''}{', '.join(array.name for array in arrays)}. Make the model of as many layers, "
            "and give those without a bias use_bias=False."
        )
    if n_features is None:
        n_features = features_of(arrays[0])
    units, vector, l = [n_features, *(layer.units for layer in layers)], [], 0
    for name, array in zip(names, arrays, strict=True):
        if name.startswith("W"):
            l += 1
            shape: tuple[int, ...] = (units[l], units[l - 1])
            if array.transposed:
                name, shape = f"{name}.T", shape[::-1]
        else:
            shape = (units[l],)
        values = checks.real_array(array.values, array.name)
        if values.shape != shape:
            raise ValueError(f"{array.name} must have shape {shape}, as {name} of this model, not {values.shape}.")
        values = checks.parameter(values, dtype, array.name)
        vector.append((values.T if array.transposed else values).ravel())
    return np.concatenate(vector), n_features


def features_of(W: Array) -> int:
    """Return how many features a first W is for; ValueError if it is no matrix."""
    shape = np.shape(W.values)
    if len(shape) != 2 or 0 in shape:
        form = "(n_prev, n)" if W.transposed else "(n, n_prev)"
        raise ValueError(f"{W.name} must have 2 dimensions, {form}, but has shape {shape}.")
    return int(shape[0 if W.transposed else 1])


def _kind_of(value: Any) -> str:
    return f"a {type(value).__name__}"
