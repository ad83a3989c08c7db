"""A network in a file: its settings as a text, its parameters and its optimizer's memory as arrays.

The text "network" is an object of JSON: the arguments of `Model`, and where training stands. The arrays are W1, b1, W2,
b2, ..., as the layers have them, and, of a network that was trained, "moments" (n_moments, n_parameters) and "powers".
And "factored" (1 + n_moments, n_factored) where the inputs have factors: U and s of W1 = U diag(s), and their moments.
Where X, or y, is standardized, "X_mean" and "X_spread", or those of y, in float64, once they are known.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnet.errors import FileFormatError
from fastnet.files import settings, tensors
from fastnet.layers import Dense, Encode, Scale
from fastnet.scaling import Scales, Standardize

TEXT = "network"
FORMAT, VERSION = "format", "1"
KINDS = MODEL, CHECKPOINT, ESTIMATOR, TABLE = (
    "fastnet model", "fastnet checkpoint", "fastnet estimator", "fastnet table"
)  # fmt: skip
"""The kinds of files, of which the text FORMAT has one, and the version after it: "fastnet model 1"."""

ARGUMENTS = ("layers", "loss", "optimizer", "l2", "dtype", "seed", "l1", "standardize_y")
"""Of `Model`."""

Pairs = Sequence[tuple[np.ndarray, np.ndarray | None]]


def check_kind(contents: tensors.Contents, *kinds: str) -> str:
    """Return which of some kinds a file is; FileFormatError if it is none of them, or has no digest."""
    name, _, version = contents.texts.get(FORMAT, "").rpartition(" ")
    if name not in KINDS:
        raise FileFormatError("fastnet did not write it: among its texts there is no format of fastnet's")
    if version != VERSION:
        raise FileFormatError(f"it is a {name!r} of version {version}; this fastnet reads {VERSION}. Upgrade fastnet")
    if name not in kinds:
        reader = {ESTIMATOR: "fastnet.sklearn.load", TABLE: "fastnet.tables.load"}.get(name, "fastnet.load")
        raise FileFormatError(f"it is a {name!r}, not a {' or a '.join(map(repr, kinds))}. Read it by {reader}")
    if contents.digest is None:
        raise FileFormatError("it has no sha256: something else has written it anew")
    return name


class Memory(NamedTuple):
    """What an optimizer remembers: `moments` (n_moments, n_parameters), and `powers` (2,), of beta1 and beta2.

    Where the inputs have factors, `factored` (1 + n_moments, n_factored): U and s, and their moments.
    """

    moments: np.ndarray
    powers: np.ndarray
    factored: np.ndarray | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Those there are, by name."""
        return {name: array for name, array in self._asdict().items() if array is not None and array.size}


class SavedNetwork(NamedTuple):
    """The arguments of `Model`, and what it has beside them once it is built; `parameters` is None until then."""

    arguments: dict[str, Any]
    n_features: int | None
    parameters: np.ndarray | None
    memory: Memory | None
    scales: dict[str, Scales | None]
    key: int = 0
    epochs_finished: int = 0
    feature_names: tuple[str, ...] | None = None


def described(model: Any) -> dict[str, Any]:
    """Return the arguments that make a model like this one, as JSON has them."""
    found = {name: settings.described(getattr(model, name), name) for name in ARGUMENTS if name != "dtype"}
    return found | {"dtype": model.dtype.name}


def written(
    description: Mapping[str, Any],
    pairs: Pairs,
    memory: Memory | None,
    scales: Mapping[str, Scales | None],
    n_features: int | None,
    key: int,
    epochs_finished: int,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the texts of a file, for W and b of each layer, or no pair of a network not built."""
    arrays = {}
    for number, (W, b) in enumerate(pairs, start=1):
        arrays[f"W{number}"] = W
        if b is not None:
            arrays[f"b{number}"] = b
    if memory is not None:
        arrays |= {"moments": memory.moments, **memory.arrays}
    for name, each in scales.items():
        if each is not None:
            arrays |= {f"{name}_mean": each.mean, f"{name}_spread": each.spread}
    text = {"feature_names": None, **description, "n_features": n_features}
    text |= {"key": key, "epochs_finished": epochs_finished}
    return arrays, {TEXT: json.dumps(text, separators=(",", ":"), ensure_ascii=False, allow_nan=False)}


def read(contents: tensors.Contents, functions: Mapping[str, Any], *, check_finite: bool) -> SavedNetwork:
    """Return the network that the contents of a file describe; it takes its arrays out of them.

    Raises
    ------
    FileFormatError
        If they describe none, or arrays and settings do not fit; if `check_finite`, also if a number is not finite.
    ValueError
        If a function is missing, which no file holds.
    """
    text = object_of(contents, TEXT)
    description = {name: taken(text, name) for name in ARGUMENTS}
    n_features, key, epochs = taken(text, "n_features"), taken(text, "key"), taken(text, "epochs_finished")
    names = taken(text, "feature_names")
    if names is not None and (
        not isinstance(names, list) or len(names) != n_features or not all(isinstance(name, str) for name in names)
    ):
        raise FileFormatError("its feature_names must be as many texts as it has features, or null")
    if text:
        raise FileFormatError(f"its {TEXT} has {', '.join(map(repr, text))}, which this version does not know")
    arguments = {name: settings.restored(value, functions, name) for name, value in description.items()}
    layers = arguments["layers"]
    if not isinstance(layers, list):
        raise FileFormatError("its layers must be a list")
    if not tensors.are_sizes([key, epochs, 1 if n_features is None else n_features]) or n_features == 0:
        raise FileFormatError(
            "its key and epochs_finished must be integers of at least 0, its n_features of at least 1"
        )
    scales = {
        "X": scales_in(contents.arrays, "X") if any(isinstance(each, Standardize) for each in layers) else None,
        "y": scales_in(contents.arrays, "y") if arguments["standardize_y"] else None,
    }
    if n_features is None:
        return SavedNetwork(arguments, None, None, None, scales)
    if arguments["dtype"] not in ("float32", "float64"):
        raise FileFormatError("its dtype must be float32 or float64")
    dtype = np.dtype(arguments["dtype"])
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    if not dense:
        raise FileFormatError("its layers have no parameters")
    for name, sizes in {"X": (n_features,), "y": (1, dense[-1].units)}.items():
        each = scales[name]
        if each is not None and len(each.mean) not in sizes:
            raise FileFormatError(f"array '{name}_mean' has {len(each.mean)} numbers, not {sizes[-1]}")
    encode = layers[0] if isinstance(layers[0], Encode) else None
    if encode is not None and n_features != len(encode.columns):
        raise FileFormatError(f"its n_features is {n_features}, but its {encode!r}")
    n_inputs = n_features if encode is None else encode.n_inputs
    shapes = shapes_of(dense, n_inputs)
    parts = [array_of(contents.arrays, name, shape, dtype).reshape(-1) for name, shape in shapes.items()]
    n_parameters = sum(map(len, parts))
    memory = None
    if "powers" in contents.arrays:
        kept = contents.arrays.get("moments", np.empty(()))
        n_moments = kept.shape[0] if kept.ndim == 2 else 0
        n_factored = (dense[0].units + 1) * n_inputs if any(isinstance(each, Scale) for each in layers) else 0
        memory = Memory(
            array_of(contents.arrays, "moments", (n_moments, n_parameters), dtype),
            array_of(contents.arrays, "powers", (2,), np.dtype(np.float64)),
            array_of(contents.arrays, "factored", (1 + n_moments, n_factored), dtype) if n_factored else None,
        )
    if check_finite:
        found = dict(zip(shapes, parts, strict=True))
        refuse_not_finite(found | (memory.arrays if memory else {}), shapes)
    return SavedNetwork(
        arguments, n_features, np.concatenate(parts), memory, scales, key, epochs, tuple(names) if names else None
    )


def scales_in(arrays: dict[str, np.ndarray], name: str) -> Scales | None:
    """Remove mean and spread from arrays and return them; None if they are not there.

    FileFormatError unless they are as many numbers each, finite, and spreads greater than zero.
    """
    if f"{name}_mean" not in arrays:
        return None
    n = arrays[f"{name}_mean"].size
    parts = {each: array_of(arrays, f"{name}_{each}", (n,), np.dtype(np.float64)) for each in Scales._fields}
    refuse_not_finite(parts, {})
    if not (parts["spread"] > 0).all():
        raise FileFormatError(f"array '{name}_spread' has a number that is not greater than 0")
    return Scales(**parts)


def shapes_of(layers: Sequence[Dense], n_features: int) -> dict[str, tuple[int, int]]:
    """Return the shapes of W and b of each layer, by their names in a file."""
    shapes, n_prev = {}, n_features
    for number, layer in enumerate(layers, start=1):
        shapes[f"W{number}"] = (layer.units, n_prev)
        if layer.use_bias:
            shapes[f"b{number}"] = (layer.units, 1)
        n_prev = layer.units
    return shapes


def object_of(contents: tensors.Contents, name: str) -> dict[str, Any]:
    """Return the object of JSON that is the text of that name; FileFormatError if there is none."""
    try:
        text = contents.texts[name]
    except KeyError:
        raise FileFormatError(
            f"it has no {name!r} among its texts: fastnet did not write it, or not for this"
        ) from None
    return tensors.parsed(text.encode(errors="surrogatepass"))


def taken(text: dict[str, Any], name: str) -> Any:
    """Remove an entry from an object and return it; FileFormatError if it is not there."""
    if name not in text:
        raise FileFormatError(f"it has no {name}")
    return text.pop(name)


def array_of(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Remove an array from others and return it; FileFormatError unless it has that shape and dtype."""
    array = arrays.pop(name, None)
    if array is None or array.shape != shape or array.dtype != dtype:
        came = "missing" if array is None else f"{array.dtype} of shape {array.shape}"
        raise FileFormatError(f"array {name!r} must be {dtype} of shape {shape}, but is {came}")
    return array


def refuse_others(contents: tensors.Contents) -> None:
    """Raise FileFormatError if there are arrays or texts that nobody has taken."""
    others = [*contents.arrays, *(name for name in contents.texts if name not in (FORMAT, TEXT))]
    if others:
        raise FileFormatError(f"it has {', '.join(map(repr, others))}, which no model has")


def refuse_not_finite(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise FileFormatError if a number is not finite."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            where = np.unravel_index(int(np.argmin(np.isfinite(array))), shapes.get(name, array.shape))
            raise FileFormatError(
                f"array {name!r} has a number that is not finite, at {tuple(map(int, where))}. Pass check_finite=False "
                "to load it all the same"
            )
