"""An `Encode` layer as nodes of ONNX: what `kernels/encode.py` does, for one column after the other."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastnet.exchange.onnx_graph import TYPES, Graph
from fastnet.kernels.codes import MISSING_BELOW
from fastnet.layers import Encode


def add_encoded(graph: Graph, columns: Sequence[str], layer: Encode) -> str:
    """Add the inputs of a network, (m, n_inputs), of the columns of a layer, each (m, 1); return their name."""
    return joined(graph, [BLOCKS[kind](graph, x, *of) for x, (kind, *of) in zip(columns, layer.columns, strict=True)])


def columns_of(graph: Graph, X: str, n: int) -> list[str]:
    """Add the n columns of X, each (m, 1); return their names."""
    return [graph.add("Gather", X, graph.constant("column", np.array([j])), axis=1) for j in range(n)]


def joined(graph: Graph, blocks: Sequence[str]) -> str:
    """Add blocks (m, n) side by side, if they are several."""
    return graph.add("Concat", *blocks, axis=1) if len(blocks) > 1 else blocks[0]


def number(graph: Graph, z: str, has_gaps: bool, clip: float, *edges: float) -> str:
    """Add z / sqrt(1 + (z / clip)^2), the code of z in bins, and where it is missing, which counts as 0."""
    missing = graph.add("Less", z, float(MISSING_BELOW))
    z = graph.add("Where", missing, 0.0, z)
    scaled = graph.add("Mul", z, 1 / clip)
    blocks = [graph.add("Div", z, graph.add("Sqrt", graph.add("Add", graph.add("Mul", scaled, scaled), 1.0)))]
    if len(edges) > 1:
        with np.errstate(over="ignore"):  # 1 / width of a bin may be infinite, a step
            rates = np.array([1 / (stop - start) for start, stop in pairwise(edges)]).astype(graph.dtype)
        starts = graph.constant("edges", np.array(edges[:-1], graph.dtype))
        t = graph.add("Mul", graph.add("Sub", z, starts), graph.constant("rates", rates))
        t = graph.add("Where", graph.add("Greater", t, 0.0), t, 0.0)  # 0 for NaN, 0 times infinity
        t = graph.add("Min", t, 1.0)
        blocks.append(graph.add("Sub", graph.add("Mul", t, 2.0), 1.0))
    if has_gaps:
        blocks.append(graph.add("Cast", missing, to=TYPES[graph.dtype.name]))
    return joined(graph, blocks)


def category(graph: Graph, k: str, n: int) -> str:
    """Add 1 in place k of n, and else 0."""
    is_it = graph.add("Equal", k, graph.constant("categories", np.arange(n, dtype=graph.dtype)))
    return graph.add("Cast", is_it, to=TYPES[graph.dtype.name])


BLOCKS: dict[str, Callable[..., Any]] = {
    "value": lambda graph, x: x,
    "number": number,
    "category": category,
}
"""By the kind of a column: what adds its inputs, and returns their name."""
