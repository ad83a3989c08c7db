"""Estimators in files: their arguments and what a fit has left as text, labels and names of features as arrays.

The file is that of a network (`fastnet/files/network.py`) with a text "estimator" beside it: its class, one of two; its
arguments; and its fitted attributes, of which arrays and long lists lie in the buffer, text as the code points of its
characters. Nothing is unpickled, and no class is named but those of this file's tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from sklearn.preprocessing import LabelBinarizer

from fastnet.errors import FileFormatError
from fastnet.files import network, settings, tensors
from fastnet.layers import Dense, dropout_rates
from fastnet.model import Model
from fastnet.sklearn import rules
from fastnet.sklearn.parameters import NetworkEstimator

Estimator = TypeVar("Estimator", bound=NetworkEstimator)

TEXT = "estimator"

PLAIN = (
    "n_features_in_", "n_outputs_", "n_layers_", "n_iter_", "t_", "loss_", "best_loss_", "best_validation_score_",
    "out_activation_", "_epochs_finished", "_dropout_key", "_no_improvement_count", "_schedule",
)  # fmt: skip
"""The fitted attributes that are numbers, texts, None, or tuples of such."""

COUNTS = (
    "n_features_in_", "n_outputs_", "n_layers_", "n_iter_", "t_", "_epochs_finished", "_dropout_key",
    "_no_improvement_count",
)  # fmt: skip
NUMBERS = ("loss_", "best_loss_", "best_validation_score_")
"""Of those, integers of at least 0; and floats, or None."""

LISTS = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
"""Those that are lists of floats, or None."""

ARRAYS = ("classes_", "feature_names_in_", "_best_parameters")
KINDS_OF_TARGETS = ("binary", "multiclass", "multilabel-indicator")
MOST_CODE_POINT = 0x10FFFF


# ----------------------------------------------------------------------------------------------------------- writing


def written(estimator: NetworkEstimator) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return arrays and texts of the file of an estimator; TypeError, which says of what, if it has no place there."""
    arguments = {name: plain(value, name) for name, value in estimator.get_params(deep=False).items()}
    text: dict[str, Any] = {"class": type(estimator).__name__, "arguments": arguments}
    arrays: dict[str, np.ndarray] = {}
    texts = {network.FORMAT: f"{network.ESTIMATOR} {network.VERSION}"}
    if hasattr(estimator, "coefs_"):
        model, state = estimator._bound(), vars(estimator)
        moments = state.get("_moments")
        description = network.described(model)
        if "_optimizer" in state:
            description["optimizer"] = settings.described(estimator._optimizer, "optimizer")
        memory = moments and network.Memory(moments.divided(len(model.parameters), 0)[0], moments.powers)
        pairs = [(layer.W, layer.b) for layer in rules.dense(model)]
        arrays, of_network = network.written(description, pairs, memory, {}, pairs[0][0].shape[1], 0, 0)
        texts |= of_network
        text["loss"] = settings.described(estimator._design.loss, "loss")
        text["fitted"] = {name: plain(state[name], name) for name in PLAIN if name in state}
        text["none"] = [name for name in LISTS if name in state and state[name] is None]
        arrays |= {name: np.array(state[name], float) for name in LISTS if state.get(name) is not None}
        text["kinds"] = {}
        for name in ARRAYS:
            if name in state:
                text["kinds"][name], arrays[name] = as_numbers(state[name], name)
        binarizer = state.get("_label_binarizer")
        text["targets"] = binarizer and [binarizer.y_type_, bool(binarizer.sparse_input_)]
    texts[TEXT] = json.dumps(text, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return arrays, texts


def plain(value: Any, name: str) -> Any:
    """Return an argument as JSON has it: with types where JSON has none."""
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"type": "float", "value": repr(value)}
    if name == "callbacks" and value is not None:
        listed = value if isinstance(value, (list, tuple)) else [value]
        if not all(type(each) in settings.CALLBACKS for each in listed):
            names = (getattr(each, "__qualname__", type(each).__qualname__) for each in listed)
            return {"type": settings.FUNCTION, "name": ", ".join(names)}
    if isinstance(value, tuple):
        return {"type": "tuple", "values": [plain(entry, name) for entry in value]}
    if isinstance(value, list):
        return [plain(entry, name) for entry in value]
    if isinstance(value, dict):
        return {"type": "dict", "items": [[plain(key, name), plain(entry, name)] for key, entry in value.items()]}
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), name)
    if isinstance(value, (np.dtype, type)):
        return np.dtype(value).name
    if isinstance(value, np.random.RandomState):
        state = settings.state_described(value.get_state(legacy=False))
        if state["bit_generator"] != "MT19937":
            raise TypeError(f"{name} has a {state['bit_generator']}, which no file can hold. Pass a seed, an integer.")
        return {"type": "RandomState", "state": state}
    return settings.described(value, name)


def as_numbers(array: np.ndarray, name: str) -> tuple[str, np.ndarray]:
    """Return the kind of an array of numbers or texts, and the numbers that stand for it: (n, longest) code points."""
    if array.dtype.kind not in "UO":
        return "numbers", array
    texts = array.tolist()
    if not all(isinstance(text, str) and not text.endswith("\0") for text in texts):
        raise TypeError(f"{name} has values that no file can hold: {array!r}. Use numbers or texts.")
    as_text = np.array(texts, str).reshape(len(texts))
    numbers = np.ascontiguousarray(as_text).view(np.uint32).reshape(len(texts), -1)
    return array.dtype.kind, numbers


# ----------------------------------------------------------------------------------------------------------- reading


def read(
    path: Any, classes: Mapping[str, type[Estimator]], instead: Mapping[str, Any], check_finite: bool
) -> Estimator:
    """Return the estimator in a file, whose class is one of `classes`; `instead`, what stands for its functions."""
    contents = tensors.read(path)
    try:
        network.check_kind(contents, network.ESTIMATOR)
        return restored(contents, classes, instead, check_finite)
    except FileFormatError as error:
        raise FileFormatError(f"{str(path)!r} cannot be read: {error}.") from None


def restored(
    contents: tensors.Contents, classes: Mapping[str, type[Estimator]], instead: Mapping[str, Any], check_finite: bool
) -> Estimator:
    """Return the estimator that the contents of a file describe; FileFormatError if they describe none."""
    text = network.object_of(contents, TEXT)
    kind, arguments = text.get("class"), text.get("arguments")
    if not isinstance(kind, str) or kind not in classes or not isinstance(arguments, dict):
        raise FileFormatError(f"its class must be one of {', '.join(classes)}, with arguments")
    found = {name: argument(value, instead, name) for name, value in arguments.items()}
    estimator: Estimator = settings.made(classes[kind], found, TEXT)
    settings.made(estimator._validate_params, {}, TEXT)
    if network.TEXT in contents.texts:
        saved = network.read(contents, instead, check_finite=check_finite)
        settings.made(lambda: restore_fit(estimator, saved, text, contents.arrays), {}, TEXT)
    if contents.arrays:
        raise FileFormatError(f"it has {', '.join(map(repr, contents.arrays))}, which no estimator has")
    return estimator


def argument(value: Any, instead: Mapping[str, Any], name: str, level: int = 0) -> Any:
    """Return the argument that `plain` described."""
    if level > settings.MOST_LEVELS:
        raise FileFormatError(f"its {name} has more than {settings.MOST_LEVELS} levels")

    def each(values: Any) -> list[Any]:
        if not isinstance(values, list):
            raise FileFormatError(f"its {name} has no list where one must be")
        return [argument(entry, instead, name, level + 1) for entry in values]

    if isinstance(value, list):
        return each(value)
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "float" and value.get("value") in ("inf", "-inf", "nan"):
        return float(value["value"])
    if kind == "tuple":
        return tuple(each(value.get("values")))
    if kind == "dict":
        return settings.made(lambda: dict(each(value.get("items"))), {}, name)
    if kind == "RandomState":
        return settings.random_state_restored(value, name)
    return settings.restored(value, instead, name, level)


def restore_fit(
    estimator: NetworkEstimator, saved: network.SavedNetwork, text: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    """Give an estimator its network and fitted attributes; ValueError, KeyError or TypeError if they do not fit."""
    model = Model._restored(saved)
    fitted = {name: argument(value, {}, name) for name, value in text["fitted"].items()}
    units = (model._built().units[0], *(layer.units for layer in rules.dense(model)))
    sizes = fitted["n_features_in_"], fitted["n_outputs_"], fitted["n_layers_"]
    if not set(fitted) <= set(PLAIN) or sizes != (units[0], units[-1], len(units)):
        raise ValueError("its attributes are not those of its network")
    counts = [fitted[name] for name in COUNTS if name in fitted]
    policy, *rates = fitted.get("_schedule", ("constant",))
    numbers = [*rates, *(fitted[name] for name in NUMBERS if fitted.get(name) is not None)]
    are_numbers = tensors.are_sizes(counts) and all(isinstance(number, float) for number in numbers)
    if not are_numbers or not isinstance(policy, str) or len(rates) not in (0, 2):
        raise ValueError("its record of training has other than numbers")
    for name in (*text["none"], *LISTS):
        if name in LISTS and name in arrays:
            fitted[name] = network.array_of(arrays, name, (arrays[name].size,), np.dtype(np.float64)).tolist()
        elif name in text["none"]:
            fitted[name] = None
    for name, kind in text["kinds"].items():
        if name not in ARRAYS:
            raise ValueError(f"it has no {name}")
        fitted[name] = from_numbers(kind, arrays.pop(name), name)
    if "_best_parameters" in fitted and fitted["_best_parameters"].shape != model.parameters.shape:
        raise ValueError("its best parameters are not those of its network")
    if "feature_names_in_" in fitted and fitted["feature_names_in_"].shape != units[:1]:
        raise ValueError("it has not one name for each feature")
    if text["targets"] is not None:
        fitted["_label_binarizer"] = label_binarizer(text["targets"], fitted["classes_"], units[-1])
    loss = settings.restored(text["loss"], {}, "loss")
    hidden = [layer for layer in model.layers if isinstance(layer, Dense)][:-1]
    design = rules.Design(
        units, tuple(layer.activation for layer in hidden), dropout_rates(model.layers)[:-1],
        fitted["out_activation_"], loss, model.l2, model.dtype,
    )  # fmt: skip
    if repr(design.model()) != repr(model):
        raise ValueError("its out_activation_ or loss are not those of its network")
    estimator.__dict__.update(fitted)
    if model._optimizer_state is not None:
        estimator._optimizer, estimator._moments = model.optimizer, model._optimizer_state
        estimator._made_from = rules.solver_arguments(estimator)
    estimator._take(design, model)


def from_numbers(kind: Any, array: np.ndarray, name: str) -> np.ndarray:
    """Return the array that `as_numbers` stored."""
    if kind == "numbers" and array.ndim == 1:
        return array.copy()
    if kind not in ("U", "O") or array.ndim != 2 or array.dtype != np.uint32 or not array.shape[1]:
        raise ValueError(f"{name} is neither numbers nor text")
    if array.max(initial=0) > MOST_CODE_POINT:
        raise ValueError(f"{name} has numbers that are no characters")
    texts = np.array(array, order="C").view(f"U{array.shape[1]}").reshape(len(array))
    return texts if kind == "U" else texts.astype(object)


def label_binarizer(targets: Any, classes: np.ndarray, n_outputs: int) -> LabelBinarizer:
    """Return the binarizer of a classifier that has those classes; ValueError if they do not fit its outputs."""
    (kind, sparse), n_classes = targets, len(classes)
    if kind not in KINDS_OF_TARGETS or not isinstance(sparse, bool):
        raise ValueError("its targets are of no kind that a classifier has")
    if not (1 <= n_classes <= 2 if kind == "binary" else n_classes == n_outputs):
        raise ValueError(f"its {n_classes} classes do not fit {n_outputs} outputs")
    binarizer = LabelBinarizer()
    binarizer.classes_, binarizer.y_type_, binarizer.sparse_input_ = classes.copy(), kind, sparse
    return binarizer
