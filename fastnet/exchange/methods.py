"""The methods of `Model` that lead to other programs, and back; what they need is imported when they are called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import numpy as np

    from fastnet.exchange.torch_network import nn
    from fastnet.exchange.weights import Array
    from fastnet.layers import AnyLayer, Dense
    from fastnet.losses import AnyLoss
    from fastnet.scaling import Scales


class Exchange:
    """A model as an ONNX or a C file, or of PyTorch; and parameters that PyTorch and Keras have."""

    if TYPE_CHECKING:  # what `Model` has
        layers: tuple[AnyLayer, ...]
        loss: AnyLoss
        dtype: np.dtype
        output_layer: Dense
        standardize_y: bool
        y_scales: Scales | None

        def __init__(self, layers: Sequence[AnyLayer], **settings: Any) -> None: ...
        @property
        def parameters(self) -> np.ndarray: ...  # noqa: D102
        def _with_arrays(self, method: str, arrays: list[Array]) -> Self: ...
        def _take_scales(self, scales: Mapping[str, Scales | None]) -> None: ...

    def to_onnx(self, path: str | os.PathLike[str], *, opset: int = 17) -> None:
        """Write the model as an ONNX file, which is never there in part. Needs the extra `fastnet-mlp[onnx]`.

        The input is X (m, n_x), of the model's dtype, for any m. A sigmoid or softmax output gives "label", what
        `predict` returns, as int64, and "probabilities", what `predict_proba` returns; any other, "prediction", what
        `predict` returns. The weights are called W1, b1, W2 and so on. X is not checked for values that are not finite.
        Only the layers are written: neither dropout, nor loss, optimizer and its state, and history.

        Parameters
        ----------
        path : str or path-like
            Where to.
        opset : int, default 17
            ONNX's version of the operators, from 13. The version of the file's format is 8, or the oldest that has
            that opset: 9 for 19, say.

        Raises
        ------
        ImportError
            Without onnx.
        NotFittedError, ValueError, TypeError
            If the model has no parameters yet, or onnx does not know the opset.

        Examples
        --------
        >>> import onnx
        >>> model = Model([Dense(4, "relu"), Dense(1, "sigmoid")], seed=0).build(n_features=2)
        >>> model.to_onnx("model.onnx")
        >>> [output.name for output in onnx.load("model.onnx").graph.output]
        ['label', 'probabilities']
        """
        from fastnet.exchange.onnx_file import write_onnx

        write_onnx(self, path, opset)

    def to_c(self, path: str | os.PathLike[str], *, prefix: str = "") -> None:
        """Write the model as a C99 file that needs nothing else; the file is never there in part.

        Its head says how to compile it, and how to call `void predict(const float *X, float *out, size_t m)`, or
        double, which gives the bits of `forward`. Only the layers are written: neither dropout, nor loss, optimizer and
        its state, and history.

        Parameters
        ----------
        path : str or path-like
            Where to.
        prefix : str, default ""
            Put before what the file defines for others: "tumour_" makes the function `tumour_predict`, and the sizes
            TUMOUR_N_FEATURES and TUMOUR_N_OUTPUTS. All else is static.

        Raises
        ------
        NotFittedError, ValueError
            If the model has no parameters yet, or no name in C can begin with `prefix`.

        Examples
        --------
        >>> model = Model([Dense(4, "relu"), Dense(1, "sigmoid")], seed=0).build(n_features=2)
        >>> model.to_c("model.c", prefix="tumour_")
        >>> with open("model.c") as file:
        ...     "void tumour_predict(const float *X, float *out, size_t m)" in file.read()
        True
        """
        from fastnet.exchange.c_source import write_c

        write_c(self, path, prefix)

    def to_torch(self) -> nn.Sequential:
        """Return the model as a module of PyTorch, of the same dtype: Linear modules, activations and Dropout.

        It has copies of the parameters, and is in evaluation mode, so that it gives what `forward` does; `.train()`
        turns its dropout on. Loss, penalties, optimizer and its state, and history are not carried over; but Poisson's
        A = e^Z becomes a module. ImportError without PyTorch.

        Examples
        --------
        >>> Model([Dense(4, "relu"), Dense(1, "sigmoid")], seed=0).build(n_features=2).to_torch()
        Sequential(
          (0): Linear(in_features=2, out_features=4, bias=True)
          (1): ReLU()
          (2): Linear(in_features=4, out_features=1, bias=True)
          (3): Sigmoid()
        )
        """
        from fastnet.exchange import torch_network

        return torch_network.to_torch(self)

    @classmethod
    def from_torch(cls, module: nn.Module, **settings: Any) -> Self:
        """Return a model of a module of PyTorch, with copies of its parameters.

        How the module was trained is not carried over: neither loss, nor optimizer and its state, nor history. Where it
        ends with logits, as PyTorch's cross-entropies take them, append a `Sigmoid()` or `Softmax(dim=1)` first.

        Parameters
        ----------
        module : torch.nn.Sequential
            Of Linear, each followed by an activation or none, and by a Dropout or none; in any order Flatten and
            Identity; or nested ones of such.
        **settings
            Of the constructor, such as `loss` and `optimizer`. `dtype` is the module's, if it is not given.

        Raises
        ------
        ImportError
            Without PyTorch.
        ValueError, TypeError
            If the module holds something else, an activation with settings that fastnet's has not, or parameters that
            are not finite: with its position. Or if a setting is wrong.

        Examples
        --------
        >>> from torch import nn
        >>> module = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid())
        >>> Model.from_torch(module, optimizer=Adam(0.01))
        Model([Dense(4, 'relu'), Dense(1, 'sigmoid')], loss='binary_crossentropy', dtype='float32')
        """
        from fastnet.exchange import torch_network

        found = torch_network.from_torch(module, settings)
        model = cls(found.layers, **found.settings)._with_arrays("from_torch", found.arrays)
        model._take_scales(found.scales)
        return model

    def load_torch(self, state_dict: Mapping[str, Any]) -> Self:
        """Take the parameters of PyTorch's `module.state_dict()`; return the model, which is built if it is not yet.

        The dictionary has weight (n, n_prev) and bias (n,) of each layer, in the layers' order, and nothing else: as
        tensors or arrays, whatever the keys before ".weight" and ".bias". How PyTorch trained them (loss, state of the
        optimizer, history) is not carried over: this model has its own, unchanged. Does not need PyTorch. ValueError or
        TypeError if an array is missing, too many, of another shape or not finite; nothing has changed then.

        Examples
        --------
        >>> state_dict = {"0.weight": np.array([[2.0, 3.0]]), "0.bias": np.array([1.0])}
        >>> Model([Dense(1)]).load_torch(state_dict).predict([[10.0, 100.0]])
        array([321.], dtype=float32)
        """
        from fastnet.exchange.weights import torch_arrays

        return self._with_arrays("load_torch", torch_arrays(state_dict))

    def from_keras(self, weights: Sequence[Any]) -> Self:
        """Take the parameters of Keras' `model.get_weights()`; return the model, which is built if it is not yet.

        The list has kernel (n_prev, n) and bias (n,) of each layer, in turn, the bias left out where this model's layer
        has use_bias=False. How Keras trained them (loss, state of the optimizer, history) is not carried over: this
        model has its own, unchanged. Does not need Keras. ValueError or TypeError if an array is missing, too many, of
        another shape or not finite; nothing has changed then.

        Examples
        --------
        >>> weights = [np.array([[2.0], [3.0]]), np.array([1.0])]
        >>> Model([Dense(1)]).from_keras(weights).predict([[10.0, 100.0]])
        array([321.], dtype=float32)
        """
        from fastnet.exchange.weights import keras_arrays

        return self._with_arrays("from_keras", keras_arrays(weights))
