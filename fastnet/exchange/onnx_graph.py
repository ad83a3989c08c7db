"""A network as nodes of ONNX, which `onnx_file.py` and `fastnet/sklearn/` put into files of their own. Knows no onnx.

An activation is an operator where the opset has one that ONNX Runtime can execute in the dtype; or else it is composed
of others. (In double, ONNX Runtime lacks LeakyRelu, Elu, Selu, Softplus and Erf; and in any dtype, Swish.)
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnet.exchange.layers import Layer
from fastnet.kernels import codes
from fastnet.kernels.constants import NUMBERS, POLYNOMIALS
from fastnet.scaling import Scales

OLDEST_OPSET = 13

TYPES = {"float32": 1, "int64": 7, "str": 8, "float64": 11}
"""By the names of NumPy's types, ONNX's numbers of its own (`TensorProto.DataType`)."""

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


ML = "ai.onnx.ml"
"""The domain of ONNX's operators of machine learning."""


def free_names() -> Callable[[str], str]:
    """Return a function that makes a wish a name that it has not given yet."""
    given: set[str] = set()
    last: Counter[str] = Counter()

    def free(wish: str) -> str:
        name = wish
        while name in given:
            last[wish] += 1
            name = f"{wish}_{last[wish] + 1}"
        given.add(name)
        return name

    return free


class Node(NamedTuple):
    """An operator, the names of its inputs ("" for one left out) and of its output, and its attributes."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class Graph:
    """The nodes and constants of a network, in an opset and a dtype; `free` makes a wish a name that is free."""

    def __init__(self, opset: int, dtype: np.dtype, free: Callable[[str], str]) -> None:
        self.opset, self.dtype, self.free = opset, dtype, free
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, operator: str, *inputs: str | float, named: str | None = None, **attributes: Any) -> str:
        """Add a node; numbers among its inputs become constants. Return the name of its output, `named` if given."""
        names = tuple(each if isinstance(each, str) else self.number(each) for each in inputs)
        output = self.free("t") if named is None else named
        self.nodes.append(Node(operator, names, output, attributes))
        return output

    def constant(self, wish: str, values: np.ndarray) -> str:
        """Return the name of a constant."""
        name = self.free(wish)
        self.constants[name] = values
        return name

    def number(self, value: float) -> str:
        """Return the name of a number in the graph's dtype; the same number is written once."""
        wanted = np.array(value, self.dtype)
        for name, known in self.constants.items():
            if known.dtype == wanted.dtype and known.shape == () and known == wanted:
                return name
        return self.constant("c", wanted)

    @property
    def is_double(self) -> bool:
        """Whether the graph computes in float64."""
        return self.dtype == np.float64

    def rename_last(self, name: str) -> str:
        """Give the output of the last node, which no other has read yet, another name."""
        self.nodes[-1] = self.nodes[-1]._replace(output=name)
        return name

    def less_than_zero(self, z: str) -> str:
        """Return whether z < 0."""
        return self.add("Less", z, 0.0)


# ------------------------------------------------------------------------------------------------------- activations


def softplus(graph: Graph, z: str, setting: float = 0.0) -> str:
    """Add log(1 + e^z), in double as max(z, 0) + log(1 + e^-|z|)."""
    if not graph.is_double:
        return graph.add("Softplus", z)
    e = graph.add("Exp", graph.add("Neg", graph.add("Abs", z)))
    return graph.add("Add", graph.add("Max", z, 0.0), graph.add("Log", graph.add("Add", e, 1.0)))


def leaky_relu(graph: Graph, z: str, slope: float) -> str:
    """Add z where z > 0, and slope z elsewhere."""
    if not graph.is_double:
        return graph.add("LeakyRelu", z, alpha=slope)
    return graph.add("Where", graph.less_than_zero(z), graph.add("Mul", z, slope), z)


def expm1(graph: Graph, z: str) -> str:
    """Add e^z - 1 for z <= 0, and 0 elsewhere."""
    return graph.add("Sub", graph.add("Exp", graph.add("Min", z, 0.0)), 1.0)


def elu(graph: Graph, z: str, setting: float) -> str:
    """Add z where z > 0, and e^z - 1 elsewhere."""
    if not graph.is_double:
        return graph.add("Elu", z)
    return graph.add("Where", graph.less_than_zero(z), expm1(graph, z), z)


def selu(graph: Graph, z: str, setting: float) -> str:
    """Add scale z where z > 0, and scale alpha (e^z - 1) elsewhere."""
    if not graph.is_double:
        return graph.add("Selu", z, alpha=SELU_ALPHA, gamma=SELU_SCALE)
    left = graph.add("Mul", expm1(graph, z), SELU_ALPHA)
    return graph.add("Mul", graph.add("Where", graph.less_than_zero(z), left, z), SELU_SCALE)


def gelu(graph: Graph, z: str, setting: float) -> str:
    """Add z Phi(z), in double with Phi of the kernels (`normal` in `kernels/elementary.py`), else with erf."""
    if graph.is_double:
        return normal_times(graph, z)
    if graph.opset >= 20:
        return graph.add("Gelu", z)
    erf = graph.add("Erf", graph.add("Mul", z, math.sqrt(0.5)))
    return graph.add("Mul", graph.add("Mul", z, 0.5), graph.add("Add", erf, 1.0))


def normal_times(graph: Graph, z: str) -> str:
    """Add z Phi(z), where Phi(-|z|) = e^(-z^2 / 2) p(t) / (|z| + 4), t = (|z| - 4) / (|z| + 4)."""
    high = NUMBERS["normal_high"][1]
    magnitude = graph.add("Min", graph.add("Abs", z), high)
    e = graph.add("Exp", graph.add("Mul", graph.add("Mul", magnitude, magnitude), -0.5))
    total = graph.add("Add", magnitude, 4.0)
    t = graph.add("Div", graph.add("Sub", magnitude, 4.0), total)
    first, second, *rest = POLYNOMIALS["normal_tail"][1]
    p = graph.add("Add", graph.add("Mul", t, first), second)
    for coefficient in rest:
        p = graph.add("Add", graph.add("Mul", p, t), coefficient)
    tail = graph.add("Div", graph.add("Mul", e, p), total)
    Phi = graph.add("Where", graph.less_than_zero(z), tail, graph.add("Sub", 1.0, tail))
    return graph.add("Mul", graph.add("Max", z, -high), Phi)


def silu(graph: Graph, z: str, setting: float) -> str:
    """Add z sigmoid(z); in double z / (1 + e^-z): the product ONNX Runtime 1.19 fuses to what it has in float alone."""
    if graph.is_double:
        return graph.add("Div", z, graph.add("Add", graph.add("Exp", graph.add("Neg", z)), 1.0))
    return graph.add("Mul", z, graph.add("Sigmoid", z))


def mish(graph: Graph, z: str, setting: float) -> str:
    """Add z tanh(log(1 + e^z))."""
    if graph.opset >= 18 and not graph.is_double:
        return graph.add("Mish", z)
    return graph.add("Mul", z, graph.add("Tanh", softplus(graph, z)))


ACTIVATIONS: dict[int, Callable[[Graph, str, float], str]] = {
    codes.LINEAR: lambda graph, z, setting: z,
    codes.SIGMOID: lambda graph, z, setting: graph.add("Sigmoid", z),
    codes.TANH: lambda graph, z, setting: graph.add("Tanh", z),
    codes.RELU: lambda graph, z, setting: graph.add("Relu", z),
    codes.LEAKY_RELU: leaky_relu,
    codes.SOFTMAX: lambda graph, z, setting: graph.add("Softmax", z, axis=1),
    codes.EXPONENTIAL: lambda graph, z, setting: graph.add("Exp", z),
    codes.ELU: elu,
    codes.SELU: selu,
    codes.SOFTPLUS: softplus,
    codes.GELU: gelu,
    codes.SILU: silu,
    codes.MISH: mish,
}
"""By code: what adds g(z) of a node's output z, and returns the name of the result, which the last node has."""


# ----------------------------------------------------------------------------------------------------- whole networks


def add_layers(graph: Graph, X: str, layers: Sequence[Layer]) -> str:
    """Add all layers, weights by the names W1, b1, ...; return the name of A_L (m, n_L), which the last node has."""
    A = X
    for l, layer in enumerate(layers, start=1):
        parameters = [graph.constant(f"W{l}", layer.W)]
        if layer.b is not None:
            parameters.append(graph.constant(f"b{l}", layer.b))
        Z = graph.add("Gemm", A, *parameters, named=graph.free(f"Z{l}"), transB=1)
        A = ACTIVATIONS[layer.code](graph, Z, layer.setting)
        if A != Z:
            A = graph.rename_last(graph.free(f"A{l}"))
    return A


def add_standardized(graph: Graph, X: str, scales: Scales | None) -> str:
    """Add (X - mean) / spread, in double; return its name, or X's if there are no scales."""
    if scales is None:
        return X
    centred = graph.add("Sub", as_double(graph, X), graph.constant("X_mean", scales.mean))
    return as_before(graph, graph.add("Div", centred, graph.constant("X_spread", scales.spread)))


def add_restored(graph: Graph, A: str, scales: Scales | None) -> str:
    """Add A spread + mean, in double; return its name, or A's if there are no scales."""
    if scales is None:
        return A
    return as_before(graph, add_restored_double(graph, as_double(graph, A), scales))


def add_restored_double(graph: Graph, A: str, scales: Scales) -> str:
    """Add A spread + mean, of A in double."""
    scaled = graph.add("Mul", A, graph.constant("y_spread", scales.spread))
    return graph.add("Add", scaled, graph.constant("y_mean", scales.mean))


def as_double(graph: Graph, name: str) -> str:
    """Add what makes a float a double."""
    return name if graph.is_double else graph.add("Cast", name, to=TYPES["float64"])


def as_before(graph: Graph, name: str) -> str:
    """Add what makes a double what the graph computes in."""
    return name if graph.is_double else graph.add("Cast", name, to=TYPES["float32"])


def add_probabilities(graph: Graph, A: str, output: Layer, to: str) -> str:
    """Add, by the name `to`, what `predict_proba` makes of A_L; return A_L's name, which may be that now."""
    if output.code == codes.SIGMOID and len(output.W) == 1:
        graph.add("Concat", graph.add("Sub", 1.0, A), A, named=to, axis=1)
        return A
    return graph.rename_last(to)


def add_classes(graph: Graph, A: str, output: Layer, to: str) -> str:
    """Add, by the name `to`, the classes that `predict` gives, as int64: (m,), or (m, n) of several sigmoids."""
    if output.code == codes.SOFTMAX:
        return graph.add("ArgMax", A, named=to, axis=1, keepdims=0)
    exceeds = graph.add("Greater", A, 0.5)
    if len(output.W) == 1:
        exceeds = as_vector(graph, exceeds)
    return graph.add("Cast", exceeds, named=to, to=TYPES["int64"])


def add_values(graph: Graph, A: str, output: Layer, to: str) -> str:
    """Add, by the name `to`, what `predict` makes of A_L: (m,) of one unit, (m, n_L) of several."""
    return as_vector(graph, A, to) if len(output.W) == 1 else graph.rename_last(to)


def as_vector(graph: Graph, column: str, to: str | None = None) -> str:
    """Add (m,) of (m, 1)."""
    return graph.add("Squeeze", column, graph.constant("axes", np.array([1])), named=to)
