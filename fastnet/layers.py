"""What a layer is: its settings, and views of its parameters once it belongs to a built model."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.activations import AnyActivation, activation_for, canonical
from fastnet.errors import NotFittedError
from fastnet.initializers import Normal, initializer_for
from fastnet.kernels import codes
from fastnet.scaling import Standardize


class Dense(checks.FixedSettings):
    """A fully connected layer: Z = W A_prev + b, A = g(Z).

    Parameters
    ----------
    units : int
        n_l, at least 1.
    activation : str, LeakyReLU or None, default "linear"
        g: "linear", "sigmoid", "tanh", "relu", "leaky_relu" (slope 0.01; `LeakyReLU(slope)` for another), "elu" (alpha
        1), "selu", "gelu" (with erf), "silu", "mish" or "softplus"; "softmax" for a last layer; None is "linear".
        Names of other libraries, such as "swish" and "logistic", are known too.
    initializer : str, Normal or None
        How W starts: "zeros", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal" or
        `Normal(scale)`. None: "he_normal" for the ReLU family (with elu, gelu, silu and mish), "glorot_normal"
        otherwise. b starts at zero.
    use_bias : bool, default True
        Without it, Z = W A_prev.
    l2 : float or None
        lambda of this layer; None: the model's.
    l1 : float or None
        The strength of L1 in this layer; None: the model's.
    learning_rate, bias_learning_rate : float, default 1.0
        Times the optimizer's learning rate: that of W, and that of b. 0 lets them be as they are.

    Raises
    ------
    ValueError, TypeError
        If a setting is not one of those.

    Examples
    --------
    >>> model = Model([Dense(16, "gelu"), Dense(3, "softmax")], seed=0).build(n_features=4)
    >>> model.layers[0]
    Dense(16, 'gelu')
    >>> model.layers[0].W.shape, model.layers[0].b.shape
    ((16, 4), (16, 1))
    """

    fixed = ("units", "activation", "initializer", "use_bias", "l2", "l1", "learning_rate", "bias_learning_rate")

    def __init__(
        self,
        units: int,
        activation: AnyActivation | None = "linear",
        *,
        initializer: str | Normal | None = None,
        use_bias: bool = True,
        l2: float | None = None,
        l1: float | None = None,
        learning_rate: float = 1.0,
        bias_learning_rate: float = 1.0,
    ) -> None:
        self.units = checks.positive_integer(units, "units")
        self.activation: AnyActivation = canonical(activation)
        he_initialized = activation_for(self.activation).he_initialized
        self.initializer = initializer
        self.draw_weights = initializer_for(initializer, he_initialized)
        self.use_bias = checks.flag(use_bias, "use_bias")
        self.l2 = None if l2 is None else checks.non_negative_number(l2, "l2")
        self.l1 = None if l1 is None else checks.non_negative_number(l1, "l1")
        self.learning_rate = checks.non_negative_number(learning_rate, "learning_rate")
        self.bias_learning_rate = checks.non_negative_number(bias_learning_rate, "bias_learning_rate")
        self._W: np.ndarray | None = None
        self._b: np.ndarray | None = None

    def bind(self, W: np.ndarray | None, b: np.ndarray | None) -> None:
        """Make W (n_l, n_{l-1}) and b (n_l, 1), or None without bias, the layer's parameters; `Model.build` does it.

        Or let it have none: None and None.
        """
        self._W, self._b = W, b

    @property
    def is_bound(self) -> bool:
        """Whether the layer has parameters, and so belongs to a model."""
        return self._W is not None

    @property
    def W(self) -> np.ndarray:
        """The weights (n_l, n_{l-1}): a view into `model.parameters`; assigning copies in."""
        return self._built().view()  # a new one each time: its shape and dtype may be set

    @W.setter
    def W(self, value: Any) -> None:
        assign(self._built(), value, "W")

    @property
    def b(self) -> np.ndarray | None:
        """The biases (n_l, 1): a view into `model.parameters`; assigning copies in. None if `use_bias=False`."""
        self._built()
        return None if self._b is None else self._b.view()

    @b.setter
    def b(self, value: Any) -> None:
        self._built()
        if self._b is None:
            raise ValueError("b cannot be set: this layer was made with use_bias=False.")
        assign(self._b, value, "b")

    def __getstate__(self) -> dict[str, Any]:
        """Leave the parameters to the model: a copied view would no longer be one."""
        return {**self.__dict__, "_W": None, "_b": None}

    def _built(self) -> np.ndarray:
        if self._W is None:
            raise NotFittedError("This layer has no parameters yet: call the model's build(n_features) or fit(X, y).")
        return self._W

    def __repr__(self) -> str:
        return f"Dense({self.units}, {self.activation!r})"


class Dropout(checks.FixedSettings):
    """Dropout, inverted, of the layer before it: only in training, each of its outputs is 0 with probability `rate`.

    The others are multiplied by 1 / (1 - rate), so that their mean stays. Source: Srivastava, Hinton, Krizhevsky,
    Sutskever and Salakhutdinov, Dropout: a simple way to prevent neural networks from overfitting, 2014. What is
    dropped depends on the model's seed, the epoch and the example's place in it, not on threads or the machine.

    Parameters
    ----------
    rate : float
        At least 0 and less than 1.

    Raises
    ------
    ValueError, TypeError
        If the rate is not such a number.

    Examples
    --------
    >>> model = Model([Dense(16, "relu"), Dropout(0.2), Dense(1, "sigmoid")], seed=0)
    >>> history = model.fit(X, y, epochs=5)
    >>> np.array_equal(model.forward(X), model.forward(X))
    True
    """

    fixed = ("rate",)

    def __init__(self, rate: float) -> None:
        self.rate = checks.number_below_one(rate, "rate")

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})"


class Scale(checks.FixedSettings):
    """A factor for each input of the first Dense layer, learned beside its W: Z = U (s * x) + b, s being 1 at first.

    Features that matter get more weight in a few steps. It stands first, or right after `Standardize`. Outside of a
    step there is only W = U diag(s), the layer's W: penalties are of that, and predictions, files and exports are those
    of the network without factors. Who sets W lets training begin with s = 1 again. Source: Holzmüller, Grinsztajn and
    Steinwart, Better by default: strong pre-tuned MLPs and boosted trees on tabular data, 2024.

    Parameters
    ----------
    learning_rate : float, default 6.0
        Times the optimizer's learning rate: that of s.

    Raises
    ------
    ValueError, TypeError
        If that is not a number of at least 0.

    Examples
    --------
    >>> model = Model([Scale(), Dense(8, "relu"), Dense(1, "sigmoid")], optimizer=Adam(0.01), seed=0)
    >>> history = model.fit(X, y, epochs=5)
    >>> model.layers[1].W.shape
    (8, 2)
    """

    fixed = ("learning_rate",)

    def __init__(self, learning_rate: float = 6.0) -> None:
        self.learning_rate = checks.non_negative_number(learning_rate, "learning_rate")

    def __repr__(self) -> str:
        return f"Scale({self.learning_rate:g})"


class Encode(checks.FixedSettings):
    """Columns of a table, one number each, that become inputs when examples are loaded: bins, and one-hot categories.

    It stands first; X has a column for each of its `columns`. `fastnet.tables.TableEncoder` makes it, and such X. So a
    table is nowhere as wide as what the network sees of it.

    Parameters
    ----------
    columns : sequence of sequences
        For each column, what it is, and its constants: ("value",), passed on as it is; ("category", n), an input for
        each of n, 1 where the column is its number, from 0; ("number", has_gaps, clip, *edges): z / sqrt(1 + (z /
        clip)^2), then 2 t - 1 for each bin between two edges, t being the part of it that lies below z, and, if
        `has_gaps`, 1 where z is missing, which is less than -2^100 then and counts as 0.

    Raises
    ------
    ValueError, TypeError
        If they are not as described.

    Examples
    --------
    >>> layer = Encode([("value",), ("category", 3)])
    >>> layer
    Encode(2 columns, 4 inputs)
    """

    fixed = ("columns",)

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        if isinstance(columns, str) or not isinstance(columns, Sequence):
            raise TypeError(f"columns must be a sequence of columns, such as [('value',)], not {columns!r}.")
        self.columns = tuple(encoded_column(column, index) for index, column in enumerate(columns))
        if not self.columns:
            raise ValueError("columns must hold at least one, such as ('value',), but is empty.")

    @property
    def n_inputs(self) -> int:
        """How many inputs the network has."""
        return sum(rows_of_encoded(column) for column in self.columns)

    def check_range(self, dtype: np.dtype) -> None:
        """Raise ValueError if a clip or an edge is beyond what a dtype holds."""
        for index, (kind, *numbers) in enumerate(self.columns):
            if kind == "number":
                checks.in_range_of(dtype, numbers[1], f"the clip of columns[{index}] of Encode")
                edges = np.array(numbers[2:], np.float64)
                with np.errstate(all="ignore"):
                    checks.refuse_beyond(edges.astype(dtype), edges, dtype, f"columns[{index}][3:]")

    @property
    def constants(self) -> tuple[float, ...]:
        """The constants as the kernels read them."""
        found: list[float] = []
        for kind, *numbers in self.columns:
            found.append(ENCODED_KINDS[kind])
            if kind == "number":
                has_gaps, clip, *edges = numbers
                found += [max(0, len(edges) - 1), has_gaps, 1 / clip]
                for start, stop in pairwise(edges):
                    found += [start, 1 / (stop - start)]
            else:
                found += numbers
        return tuple(map(float, found))

    def __repr__(self) -> str:
        return f"Encode({len(self.columns)} columns, {self.n_inputs} inputs)"


ENCODED_KINDS = {
    "value": codes.ENCODED_VALUE, "number": codes.ENCODED_NUMBER, "category": codes.ENCODED_CATEGORY,
}  # fmt: skip
MOST_CATEGORIES = 2**20


def encoded_column(column: Sequence[Any], index: int) -> tuple[Any, ...]:
    """Return a column of `Encode`, checked; ValueError or TypeError if it is none."""
    name = f"columns[{index}]"
    is_listed = isinstance(column, Sequence) and not isinstance(column, str) and len(column) > 0
    if not is_listed or not isinstance(column[0], str) or column[0] not in ENCODED_KINDS:
        raise ValueError(f"{name} must begin with one of {', '.join(map(repr, ENCODED_KINDS))}, not {column!r}.")
    kind, *numbers = column
    is_short = len(numbers) != {"value": 0, "category": 1}.get(kind, 2)
    if is_short and (kind != "number" or len(numbers) < 4):
        raise ValueError(f"{name} has {len(numbers)} constants, which are not those of a {kind!r}.")
    if kind == "category":
        n = checks.positive_integer(numbers[0], f"the number of categories of {name}")
        if n > MOST_CATEGORIES:
            raise ValueError(f"{name} has {n} categories, but {MOST_CATEGORIES} are the most.")
        return kind, n
    if kind == "value":
        return (kind,)
    has_gaps, clip = checks.flag(numbers[0], name), checks.positive_number(numbers[1], f"the clip of {name}")
    edges = [checks.real_number(each, name, "finite numbers") for each in numbers[2:]]
    if len(edges) > MOST_CATEGORIES:
        raise ValueError(f"{name} has {len(edges)} edges, but {MOST_CATEGORIES} are the most.")
    if not all(start < stop for start, stop in pairwise(edges)):
        raise ValueError(f"the edges of {name} must increase, but are {edges}.")
    return kind, has_gaps, clip, *edges


def rows_of_encoded(column: tuple[Any, ...]) -> int:
    """Return how many inputs a column of `Encode` becomes."""
    kind, *numbers = column
    if kind == "category":
        return int(numbers[0])
    return 1 + numbers[0] + max(0, len(numbers) - 3) if kind == "number" else 1


AnyLayer = Dense | Dropout | Standardize | Scale | Encode


def assign(view: np.ndarray, value: Any, name: str) -> None:
    """Copy a value of exactly the view's shape, finite in its dtype, into a parameter; ValueError otherwise."""
    array = checks.real_array(value, name)
    if array.shape != view.shape:
        raise ValueError(f"{name} must have shape {view.shape}, not {array.shape}.")
    view[...] = checks.parameter(array, view.dtype, name)


def checked_layers(layers: Sequence[AnyLayer]) -> tuple[AnyLayer, ...]:
    """Return the layers as a tuple; ValueError or TypeError unless each stands where it may, and once."""
    if isinstance(layers, AnyLayer) or not isinstance(layers, Sequence):
        raise TypeError(f"layers must be a list of layers, such as [Dense(1, 'sigmoid')], not {layers!r}.")
    if not layers:
        raise ValueError("layers must hold at least one layer, such as [Dense(1, 'sigmoid')], but is empty.")
    for index, layer in enumerate(layers):
        if isinstance(layer, (Standardize, Encode)) and (index > 0 or len(layers) == 1):
            raise ValueError(f"layers[{index}] is {layer!r}, which must be the first of several. Move it.")
        before, after = layers[:index], (*layers[index + 1 :], None)[0]
        stands_right = isinstance(after, Dense) and all(isinstance(each, (Standardize, Encode)) for each in before)
        if isinstance(layer, Scale) and not stands_right:
            raise ValueError(f"layers[{index}] is {layer!r}, which must stand right before the first Dense. Move it.")
        follows_dense = index > 0 and isinstance(layers[index - 1], Dense)
        if isinstance(layer, Dropout) and (not follows_dense or index == len(layers) - 1):
            raise ValueError(
                f"layers[{index}] is {layer!r}, which must stand after a hidden Dense layer and before another. "
                "Leave it out, or move it."
            )
    for index, layer in enumerate(layers):
        if isinstance(layer, (Dropout, Standardize, Scale, Encode)):
            continue
        if not isinstance(layer, Dense):
            raise TypeError(
                f"layers must hold Dense, Dropout, Standardize, Scale and Encode, but layers[{index}] is {layer!r}. "
                "Pass such as [Dense(8, 'relu'), Dense(1, 'sigmoid')]."
            )
        if any(layer is other for other in layers[:index]):
            raise ValueError(f"layers[{index}] stands in the list twice. Make a new Dense for each place.")
        if layer.activation == "softmax" and index < len(layers) - 1:
            raise ValueError(f"layers[{index}] has activation 'softmax', which only the last layer may have.")
        if layer.activation == "softmax" and layer.units == 1:
            raise ValueError("A softmax over 1 unit is always 1. Use as many units as classes, or 'sigmoid' for two.")
    return tuple(layers)


def dropout_rates(layers: Sequence[AnyLayer]) -> tuple[float, ...]:
    """Return, for each Dense layer, the rate of the dropout that follows it, or 0."""
    after_dense = [after for layer, after in pairwise((*layers, None)) if isinstance(layer, Dense)]
    return tuple(after.rate if isinstance(after, Dropout) else 0.0 for after in after_dense)


def table_of(layers: Sequence[AnyLayer], n_features: int | None) -> str:
    """Return a table of the layers; None: the number of features is not known yet."""
    rows = [("layer", "activation", "W", "b", "Z, A", "parameters")]
    n_prev: int | str = "n_x" if n_features is None else n_features
    number = 0
    for layer in layers:
        if isinstance(layer, Standardize):
            rows.append(("", "standardize", "-", "-", f"({n_prev}, m)", "0"))
            continue
        if isinstance(layer, Encode):
            rows.append(("", "encode", "-", "-", f"({layer.n_inputs}, m)", "0"))
            n_prev = layer.n_inputs
            continue
        if isinstance(layer, Scale):
            rows.append(("", "scale", "-", "-", f"({n_prev}, m)", "0"))
            continue
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
    return "\n".join(lines)
