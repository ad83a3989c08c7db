"""A network as an ONNX file."""

import os
from collections.abc import Sequence

from fastnet import checks
from fastnet.exchange import onnx_graph
from fastnet.exchange.layers import AnyModel, is_classifier, layers_of, scales_in
from fastnet.exchange.onnx_encode import add_encoded, columns_of
from fastnet.exchange.onnx_graph import ML, OLDEST_OPSET, TYPES, Graph, free_names
from fastnet.files.durable import write_whole
from fastnet.kernels import codes
from fastnet.layers import Encode

try:
    import onnx
except ImportError as error:
    raise ImportError(
        f"to_onnx needs onnx, which cannot be imported ({error}). Install it by pip install onnx (the extra "
        "fastnet-mlp[onnx]).",
        name=error.name,
    ) from error

Value = tuple[str, int, list[str | int]]
"""An input or output: its name, ONNX's number of its type, and its shape."""

ML_OPSET = 2
"""The version of the operators of machine learning."""

LEAST_IR_VERSION = 8
"""Of ONNX's format; an opset that needs a newer one, as 19 and later do, gets the oldest that has it."""


def write_onnx(model: AnyModel, path: str | os.PathLike[str], opset: int) -> None:
    """Write a model as an ONNX file; see `Model.to_onnx`."""
    write_proto(model_proto(model, opset), path)


def write_proto(proto: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Write what ONNX has to a file, which is never there in part."""
    write_whole(path, [proto.SerializeToString()])


def model_proto(model: AnyModel, opset: int) -> onnx.ModelProto:
    """Return a model as ONNX has it, checked."""
    opset = checked_opset(opset)
    layers, dtype = layers_of(model, encodes=True), checks.float_dtype(model.dtype)
    graph, output, first = Graph(opset, dtype, free_names()), layers[-1], model.layers[0]
    X_scales, y_scales = scales_in(model)
    X, n_features = "X", layers[0].W.shape[1]
    if isinstance(first, Encode):
        n_features = len(first.columns)
        X = add_encoded(graph, columns_of(graph, X, n_features), first)
    A = onnx_graph.add_layers(graph, onnx_graph.add_standardized(graph, X, X_scales), layers)
    A = onnx_graph.add_restored(graph, A, y_scales)
    n, of_model = len(output.W), TYPES[dtype.name]
    rows: list[str | int] = ["m"]
    outputs: list[Value]
    if is_classifier(model):
        A = onnx_graph.add_probabilities(graph, A, output, "probabilities")
        onnx_graph.add_classes(graph, A, output, "label")
        labels = [*rows, n] if output.code == codes.SIGMOID and n > 1 else rows
        outputs = [
            ("label", TYPES["int64"], labels),
            ("probabilities", of_model, [*rows, 2 if n == 1 else n]),
        ]
    else:
        onnx_graph.add_values(graph, A, output, "prediction")
        outputs = [("prediction", of_model, rows if n == 1 else [*rows, n])]
    return proto_of(graph, [("X", of_model, [*rows, n_features])], outputs)


def checked_opset(opset: int) -> int:
    """Return an opset, checked."""
    newest = onnx.defs.onnx_opset_version()
    opset = checks.positive_integer(opset, "opset")
    if not OLDEST_OPSET <= opset <= newest:
        raise ValueError(
            f"opset must be from {OLDEST_OPSET} to {newest}, the newest of onnx {onnx.__version__}, not {opset}."
        )
    return opset


def proto_of(graph: Graph, inputs: Sequence[Value], outputs: Sequence[Value]) -> onnx.ModelProto:
    """Return a graph as ONNX has it, checked."""
    made = onnx.helper.make_graph(
        [onnx.helper.make_node(node.operator, node.inputs, [node.output], **node.attributes) for node in graph.nodes],
        "fastnet",
        [onnx.helper.make_tensor_value_info(*each) for each in inputs],
        [onnx.helper.make_tensor_value_info(*each) for each in outputs],
        [onnx.numpy_helper.from_array(values, name) for name, values in graph.constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", graph.opset)]
    ir_version = max(LEAST_IR_VERSION, onnx.helper.find_min_ir_version_for(opsets))
    if any(node.attributes.get("domain") == ML for node in graph.nodes):
        opsets.append(onnx.helper.make_opsetid(ML, ML_OPSET))
    proto = onnx.helper.make_model(made, opset_imports=opsets, ir_version=ir_version, producer_name="fastnet")
    onnx.checker.check_model(proto, full_check=True)
    return proto
