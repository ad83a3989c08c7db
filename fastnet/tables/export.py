"""An estimator for tables as nodes of ONNX: the table's columns in, what it predicts out. Knows no onnx.

What `TableEncoder.compact` makes of a column is made here by operators, in float64 up to its last step; then come the
input layer, the networks and their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnet.exchange.layers import layers_of
from fastnet.exchange.onnx_encode import add_encoded
from fastnet.exchange.onnx_graph import ML, TYPES, Graph, add_layers, as_before, as_double
from fastnet.kernels.codes import LARGEST_COMPACT
from fastnet.tables.encoder import MISSING, TableEncoder
from fastnet.tables.learned import CATEGORIES, Column

Values = list[tuple[str, int, list[str | int]]]
"""Of each input, or output, its name, ONNX's number of its type, and its shape."""


def add_estimator(graph: Graph, encoder: TableEncoder, models: list[Any]) -> tuple[Values, str]:
    """Add the networks' mean output, (m, n_L) in double; return the inputs, and its name."""
    inputs, columns = add_compact(graph, encoder)
    X = add_encoded(graph, columns, encoder.layer())
    outputs = [as_double(graph, add_layers(graph, X, layers_of(model, encodes=True))) for model in models]
    total = graph.add("Sum", *outputs) if len(outputs) > 1 else outputs[0]
    return inputs, graph.add("Div", total, graph.constant("n_networks", np.array(float(len(models)))))


def add_compact(graph: Graph, encoder: TableEncoder) -> tuple[Values, list[str]]:
    """Add what `compact` makes of a table; return the inputs, and the names of its columns, each (m, 1).

    An input is a column (m, 1) by its name, of which something is made; or X (m, n_features), if the table was an array
    of numbers. ValueError for a column that ONNX cannot read.
    """
    counted = [k for k, places in enumerate(encoder.places) if len(places)]
    for k in counted:
        check_column(encoder.columns[k])
    if encoder.feature_names_in_ is None and not any("text" in column.sorts for column in encoder.columns):
        X = graph.free("X")
        inputs: Values = [(X, TYPES["float64"], ["m", encoder.n_features_in_])]
        names = [graph.add("Gather", X, graph.constant("column", np.array([k])), axis=1) for k in counted]
    else:
        inputs = column_inputs(graph, [encoder.columns[k] for k in counted])
        names = [name for name, _, _ in inputs]
    made: list[str] = []
    firsts = np.cumsum([0, *(len(column.parts) for column in encoder.columns)])
    for k, name in zip(counted, names, strict=True):
        column = encoder.columns[k]
        if column.kind in CATEGORIES:
            made.append(as_before(graph, add_category(graph, name, column)))
            continue
        missing = graph.add("IsNaN", name)
        for f in range(firsts[k], firsts[k + 1]):
            z = add_z(graph, name, missing, encoder.medians[f], encoder.units[f])
            made.append(as_before(graph, z))
        if not column.parts:
            made.append(graph.add("Cast", missing, to=TYPES[graph.dtype.name]))
    if not made:
        raise ValueError("Nothing is made of any column of this table, so there is nothing to predict from in ONNX.")
    return inputs, made


def column_inputs(graph: Graph, columns: Sequence[Column]) -> Values:
    """Return an input for each column, by its name; ValueError if two have the same."""
    names = [graph.free(column.name) for column in columns]  # before any node has one of them
    for name, column in zip(names, columns, strict=True):
        if name != column.name:
            raise ValueError(f"Two columns are called {column.name!r}. Give each a name of its own before fit.")
    kinds = ["str" if "text" in column.sorts else "float64" for column in columns]
    return [(name, TYPES[kind], ["m", 1]) for name, kind in zip(names, kinds, strict=True)]


def check_column(column: Column) -> None:
    """Raise ValueError for a column that ONNX cannot read."""
    if column.kind in ("date", "duration"):
        raise ValueError(
            f"Column {column.name!r} holds {column.kind}s, which ONNX cannot read. Make numbers of them before fit."
        )
    if len(column.sorts) > 1:
        raise ValueError(
            f"Column {column.name!r} holds both numbers and text, of which ONNX reads one. Convert it before fit, such "
            "as by .astype(str)."
        )


def add_z(graph: Graph, x: str, missing: str, median: float, unit: float) -> str:
    """Add (x - median) / unit, limited, in double; MISSING where x is."""

    def double(wish: str, value: float) -> str:
        return graph.constant(wish, np.array(value, np.float64))

    z = graph.add("Div", graph.add("Sub", x, double("median", median)), double("unit", unit))
    z = graph.add("Max", graph.add("Min", z, double("most", LARGEST_COMPACT)), double("least", -LARGEST_COMPACT))
    return graph.add("Where", missing, double("missing", MISSING), z)


def add_category(graph: Graph, x: str, column: Column) -> str:
    """Add what `compact` has for a category, in double: its number, -1 for none; of two 1, -1, and 0 for none."""
    codes, none = np.arange(len(column.levels), dtype=np.float64), -1.0
    if len(column.levels) == 2:
        first, none = (-1.0 if column.kind == "boolean" else 1.0), 0.0
        codes = np.array([first, -first])
    if "text" in column.sorts:
        code = graph.add(
            "LabelEncoder", x, domain=ML, keys_strings=list(column.levels), values_floats=codes.tolist(),
            default_float=none,
        )  # fmt: skip
        return graph.add("Cast", code, to=TYPES["float64"])
    levels = graph.constant("levels", np.array(column.levels, np.float64))
    is_level = graph.add("Cast", graph.add("Equal", x, levels), to=TYPES["float64"])
    found = graph.add("MatMul", is_level, graph.constant("codes", (codes - none)[:, np.newaxis]))
    return graph.add("Add", found, graph.constant("none", np.array(none)))


def add_class(graph: Graph, A: str, classes: np.ndarray) -> tuple[str, int]:
    """Add the class of the largest output; return its name, and ONNX's number of its type."""
    numbers = {"b": np.int64, "i": np.int64, "u": np.int64, "f": np.float64}.get(classes.dtype.kind)
    if numbers is None and not all(isinstance(label, str) for label in classes.tolist()):
        raise ValueError(f"Classes must be numbers, truth values or text for ONNX, not {classes.tolist()}.")
    labels = graph.constant("classes", classes.astype(object if numbers is None else numbers))
    largest = graph.add("ArgMax", A, axis=1, keepdims=0)
    name = graph.add("Gather", labels, largest, named=graph.free("label"), axis=0)
    return name, TYPES["str" if numbers is None else np.dtype(numbers).name]
