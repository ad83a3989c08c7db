"""fastnet's estimators in skl2onnx: how it learns to convert them, alone or at the end of a pipeline.

skl2onnx knows scikit-learn's own classes; those of other libraries, such as LightGBM's, a user registers by a call. So
it is here, for to import fastnet should not change another library.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.exchange import onnx_graph
from fastnet.exchange.layers import Layer, layers_of
from fastnet.exchange.onnx_graph import OLDEST_OPSET, TYPES, Graph
from fastnet.sklearn.estimators import MLPClassifier, MLPRegressor

OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}
"""Those of a classifier, as skl2onnx has them for scikit-learn's."""


def register_onnx() -> None:
    """Let skl2onnx convert `MLPClassifier` and `MLPRegressor`, alone and in pipelines; to call it again does no harm.

    Then `skl2onnx.to_onnx(make_pipeline(StandardScaler(), MLPClassifier()).fit(X, y), X[:1])` gives what it gives for
    scikit-learn's classes, with the same options ("zipmap", "nocl"): of a classifier "output_label" and
    "output_probability", or "label" and "probabilities" with options={"zipmap": False}; of a regressor "variable". As
    there, the network computes in the type of X, float32 unless that is float64, for which ONNX has no ZipMap: turn it
    off. Labels may be integers, booleans, text or, of several labels at once, a matrix. How the network was trained is
    not carried over.

    Raises
    ------
    ImportError
        Without skl2onnx.

    Examples
    --------
    >>> import skl2onnx
    >>> from fastnet.sklearn import MLPClassifier, register_onnx
    >>> register_onnx()
    >>> classifier = MLPClassifier((8,), learning_rate_init=0.05, tol=0.01, random_state=0).fit(X, y)
    >>> converted = skl2onnx.to_onnx(classifier, X[:1], options={"zipmap": False})
    >>> [output.name for output in converted.graph.output]
    ['label', 'probabilities']
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError(
            f"register_onnx needs skl2onnx, which cannot be imported ({error}). Install it by pip install skl2onnx.",
            name=error.name,
        ) from error
    for kind, shapes, convert, options in (
        (MLPClassifier, classifier_shapes, convert_classifier, OPTIONS),
        (MLPRegressor, regressor_shapes, convert_regressor, None),
    ):
        update_registered_converter(kind, f"Fastnet{kind.__name__}", shapes, convert, options=options)


def classifier_shapes(operator: Any) -> None:
    """Say which types and shapes label and probabilities have; ValueError if there is but one class."""
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    estimator, m = operator.raw_operator, operator.inputs[0].get_first_dimension()
    classes = classes_of(operator.scope_inst, estimator)
    if len(classes) == 1:
        raise ValueError(
            f"This MLPClassifier was fitted to one class, {estimator.classes_.tolist()[0]!r}, and tells nothing apart. "
            "Fit it to examples of several."
        )
    is_text = classes.dtype.kind == "U"
    labels = [m, len(classes)] if is_multilabel(estimator) else [m]
    operator.outputs[0].set_type((StringTensorType if is_text else Int64TensorType)(labels))
    operator.outputs[1].type.shape = [m, len(classes)]


def convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a classifier."""
    estimator = operator.raw_operator
    label, probabilities = (output.full_name for output in operator.outputs)
    graph, A, output = begun(scope, operator, container)
    A = onnx_graph.add_probabilities(graph, A, output, probabilities)
    if is_multilabel(estimator):
        graph.add("Cast", graph.add("Greater", A, 0.5), named=label, to=TYPES["int64"])
    else:
        numbers = onnx_graph.add_classes(graph, A, output, graph.free("class"))
        classes = graph.constant("classes", classes_of(scope, estimator))
        graph.add("Gather", classes, numbers, named=label, axis=0)
    write_to(container, graph, scope)


def regressor_shapes(operator: Any) -> None:
    """Say which shape the predictions have: (m, n_outputs), one output or several."""
    operator.outputs[0].type.shape = [operator.inputs[0].get_first_dimension(), operator.raw_operator.n_outputs_]


def convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a regressor."""
    graph, _, _ = begun(scope, operator, container)
    graph.rename_last(operator.outputs[0].full_name)
    write_to(container, graph, scope)


def begun(scope: Any, operator: Any, container: Any) -> tuple[Graph, str, Layer]:
    """Return a graph with the layers of the network, the name of its A_L, and the last layer."""
    from skl2onnx.common.data_types import guess_proto_type

    opset, X = container.target_opset_any_domain(""), operator.inputs[0]
    if opset < OLDEST_OPSET:
        raise ValueError(f"target_opset must be at least {OLDEST_OPSET} for fastnet's estimators, not {opset}.")
    given, name = guess_proto_type(X.type), X.full_name
    dtype = np.dtype(np.float64 if given == TYPES["float64"] else np.float32)
    graph = Graph(opset, dtype, scope.get_unique_variable_name)
    if given != TYPES[dtype.name]:
        name = graph.add("Cast", name, to=TYPES[dtype.name])
    layers = [
        layer._replace(W=layer.W.astype(dtype), b=None if layer.b is None else layer.b.astype(dtype))
        for layer in layers_of(operator.raw_operator.model_)
    ]
    return graph, onnx_graph.add_layers(graph, name, layers), layers[-1]


def write_to(container: Any, graph: Graph, scope: Any) -> None:
    """Give skl2onnx what a graph holds."""
    for name, values in graph.constants.items():
        is_text = values.dtype.kind == "U"
        numbers = [text.encode() for text in values] if is_text else values.ravel()
        container.add_initializer(name, TYPES["str" if is_text else values.dtype.name], values.shape, numbers)
    for node in graph.nodes:
        unique = scope.get_unique_operator_name(node.operator)
        container.add_node(node.operator, list(node.inputs), [node.output], name=unique, **node.attributes)


def classes_of(scope: Any, estimator: Any) -> np.ndarray:
    """Return the classes, as text or int64; their numbers, if the option "nocl" asks for those."""
    from skl2onnx.common.utils_classifier import get_label_classes

    classes = np.asarray(get_label_classes(scope, estimator))
    return classes.astype(np.str_ if classes.dtype.kind in "OU" else np.int64)


def is_multilabel(estimator: Any) -> bool:
    """Return whether an example may have several labels."""
    return bool(estimator._label_binarizer.y_type_.startswith("multilabel"))
