"""Estimators for tables in files: their arguments, how they encode, and their networks, each as in a model's file.

The file is one of `fastnet/files/tensors.py`. The arrays of network i, and its text, have names that begin with "i.";
those of the encoder begin with "encoder.". Nothing is unpickled, and no class is named but those of this package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from fastnet.errors import FileFormatError
from fastnet.files import network, settings, tensors
from fastnet.model import Model
from fastnet.sklearn.files import argument, as_numbers, from_numbers, plain
from fastnet.tables.encoder import TableEncoder
from fastnet.tables.few_rows import FewRows

TEXT, ENCODER = "table", "encoder"
MOST_NETWORKS = 10_000

NAMES = ("classes_", "feature_names_in_")
"""The fitted attributes that are arrays of numbers or texts."""


def written(estimator: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return arrays and texts of the file of an estimator; TypeError, which says of what, if it has no place there."""
    arguments = {name: plain(value, name) for name, value in estimator.get_params(deep=False).items()}
    text: dict[str, Any] = {"class": type(estimator).__name__, "arguments": arguments, "networks": None, "kinds": {}}
    arrays: dict[str, np.ndarray] = {}
    texts = {network.FORMAT: f"{network.TABLE} {network.VERSION}"}
    if hasattr(estimator, "model_"):
        text["networks"] = len(estimator.model_)
        for i, model in enumerate(estimator.model_):
            own, of_model = model._saved(network.MODEL, model.epochs_finished)
            arrays |= {f"{i}.{name}": array for name, array in own.items() if name not in ("moments", "factored")}
            texts[f"{i}.{network.TEXT}"] = of_model[network.TEXT]
        text[ENCODER], of_encoder = estimator.encoder_.state()
        arrays |= {f"{ENCODER}.{name}": array for name, array in of_encoder.items()}
        for name in NAMES:
            if hasattr(estimator, name):
                text["kinds"][name], arrays[name] = as_numbers(getattr(estimator, name), name)
        arrays |= {name: np.asarray(array, float) for name, array in estimator._numbers().items()}
    texts[TEXT] = json.dumps(text, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return arrays, texts


def read(path: Any, classes: Mapping[str, Any], check_finite: bool) -> Any:
    """Return the estimator in a file, whose class is one of `classes`."""
    contents = tensors.read(path)
    try:
        network.check_kind(contents, network.TABLE)
        return restored(contents, classes, check_finite)
    except FileFormatError as error:
        raise FileFormatError(f"{str(path)!r} cannot be read: {error}.") from None


def restored(contents: tensors.Contents, classes: Mapping[str, Any], check_finite: bool) -> Any:
    """Return the estimator that the contents of a file describe; FileFormatError if they describe none."""
    text = network.object_of(contents, TEXT)
    kind, arguments, n = text.get("class"), text.get("arguments"), text.get("networks")
    if not isinstance(kind, str) or kind not in classes or not isinstance(arguments, dict):
        raise FileFormatError(f"its class must be one of {', '.join(classes)}, with arguments")
    found = {name: argument(value, {}, name) for name, value in arguments.items()}
    estimator = settings.made(classes[kind], found, TEXT)
    if n is not None:
        if not tensors.are_sizes([n]) or not 0 < n <= MOST_NETWORKS:
            raise FileFormatError(f"its networks must be a number from 1 to {MOST_NETWORKS}")
        models = [model_of(contents, i, check_finite) for i in range(n)]
        settings.made(lambda: restore_fit(estimator, models, text, contents.arrays), {}, TEXT)
    if contents.arrays:
        raise FileFormatError(f"it has {', '.join(map(repr, contents.arrays))}, which no estimator has")
    return estimator


def model_of(contents: tensors.Contents, number: int, check_finite: bool) -> Model:
    """Take a network out of the contents of a file."""
    prefix = f"{number}."
    own = [name for name in contents.arrays if name.startswith(prefix)]
    arrays = {name.removeprefix(prefix): contents.arrays.pop(name) for name in own}
    arrays.pop("powers", None)  # no network goes on with training
    texts = {network.TEXT: contents.texts.get(prefix + network.TEXT, "")}
    part = contents._replace(arrays=arrays, texts=texts)
    model = Model._restored(network.read(part, {}, check_finite=check_finite))
    network.refuse_others(part)
    if model._parameters is None:
        raise FileFormatError(f"its network {number} has no parameters")
    return model


def restore_fit(estimator: Any, models: list[Model], text: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Give an estimator its networks and fitted attributes; ValueError, KeyError or TypeError if they do not fit."""
    prefix = f"{ENCODER}."
    own = {name.removeprefix(prefix): arrays.pop(name) for name in list(arrays) if name.startswith(prefix)}
    encoder = TableEncoder.of_state(text[ENCODER], own)
    fitted: dict[str, Any] = {}
    if not isinstance(text["kinds"], dict) or ("classes_" in text["kinds"]) != is_classifier(estimator):
        raise ValueError("its kinds are no object, or classes_ are missing or one too many")
    if any(model.standardize_y for model in models):
        raise ValueError("its networks have a scale of y of their own")
    for name, kind in text["kinds"].items():
        if name not in NAMES:
            raise ValueError(f"it has no {name}")
        fitted[name] = from_numbers(kind, arrays.pop(name), name)
    names = fitted.get("feature_names_in_")
    if names is not None and names.shape != (encoder.n_features_in_,):
        raise ValueError("it has not one name for each feature")
    layer, built = encoder.layer(), {model._built() for model in models}
    n_outputs = len(fitted["classes_"]) if "classes_" in fitted else 1
    found = {(network.encoded, network.units[-1]) for network in built}
    if len(built) > 1 or found != {((len(layer.columns), layer.constants), n_outputs)}:
        raise ValueError("its networks are not those of its columns and classes")
    estimator.__dict__.update(fitted)
    estimator.encoder_, estimator.model_ = encoder, models
    estimator.n_features_in_ = encoder.n_features_in_
    estimator._take_numbers(arrays)
    estimator._few_rows = FewRows(encoder, models)
