"""A network as an ONNX file."""

import os
from collections import Counter
from collections.abc import Callable

from fastnet import checks
from fastnet.exchange import onnx_graph
from fastnet.exchange.layers import AnyModel, is_classifier, layers_of, scales_in
from fastnet.exchange.onnx_graph import OLDEST_OPSET, TYPES, Graph
from fastnet.files.durable import write_whole
from fastnet.kernels import codes

try:
    import onnx
except ImportError as error:
    raise ImportError(
        f"to_onnx needs onnx, which cannot be imported ({error}). Install it by pip install onnx (the extra "
        "fastnet-mlp[onnx]).",
        name=error.name,
    ) from error

LEAST_IR_VERSION = 8
"""Of ONNX's format; an opset that needs a newer one, as 19 and later do, gets the oldest that has it."""


def write_onnx(model: AnyModel, path: str | os.PathLike[str], opset: int) -> None:
    """Write a model as an ONNX file; see `Model.to_onnx`."""
    proto = model_proto(model, opset)
    write_whole(path, [proto.SerializeToString()])


def model_proto(model: AnyModel, opset: int) -> onnx.ModelProto:
    """Return a model as ONNX has it, checked."""
    newest = onnx.defs.onnx_opset_version()
    opset = checks.positive_integer(opset, "opset")
    if not OLDEST_OPSET <= opset <= newest:
        raise ValueError(
            f"opset must be from {OLDEST_OPSET} to {newest}, the newest of onnx {onnx.__version__}, not {opset}."
        )
    layers, dtype = layers_of(model), checks.float_dtype(model.dtype)
    graph, output = Graph(opset, dtype, free_names()), layers[-1]
    X_scales, y_scales = scales_in(model)
    A = onnx_graph.add_layers(graph, onnx_graph.add_standardized(graph, "X", X_scales), layers)
    A = onnx_graph.add_restored(graph, A, y_scales)
    n, of_model = len(output.W), TYPES[dtype.name]
    rows: list[str | int] = ["m"]
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
    made = onnx.helper.make_graph(
        [onnx.helper.make_node(node.operator, node.inputs, [node.output], **node.attributes) for node in graph.nodes],
        "fastnet",
        [onnx.helper.make_tensor_value_info("X", of_model, [*rows, layers[0].W.shape[1]])],
        [onnx.helper.make_tensor_value_info(*each) for each in outputs],
        [onnx.numpy_helper.from_array(values, name) for name, values in graph.constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", opset)]
    ir_version = max(LEAST_IR_VERSION, onnx.helper.find_min_ir_version_for(opsets))
    proto = onnx.helper.make_model(made, opset_imports=opsets, ir_version=ir_version, producer_name="fastnet")
    onnx.checker.check_model(proto, full_check=True)
    return proto


def free_names() -> Callable[[str], str]:
    """Return a function that makes a wish a name that it has not given yet."""
    given: Counter[str] = Counter()

    def free(wish: str) -> str:
        given[wish] += 1
        return wish if given[wish] == 1 else f"{wish}_{given[wish]}"

    return free
