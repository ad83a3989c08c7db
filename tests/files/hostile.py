"""Files that no one wrote with good intent: mutations of good ones, and a list made by hand."""

import io
import json
import os
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastnet
from fastnet import Adam, ByStep, CosineDecay, CosLog, Dense, Dropout, FileFormatError, Model, Scale, Standardize
from fastnet.files import tensors
from fastnet.layers import Encode

SLACK = 16 * 2**20
TIMES = 4
"""Reading may take TIMES the size of a file, and SLACK beside it."""


def samples(folder: Path) -> list[Path]:
    """Write some good files to a folder; return their paths."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((17, 7)), rng.integers(0, 2, 17)
    trained = Model(
        [Dense(5, "relu"), Dropout(0.2), Dense(1, "sigmoid")], optimizer=Adam(CosineDecay(0.1, epochs=9)), seed=0
    )
    trained.fit(X, y, epochs=2, verbose=False)
    built = Model([Dense(2, use_bias=False), Dense(1)], seed=np.random.default_rng(3), dtype="float64")
    built.build(3)
    standardized = Model([Standardize(), Dense(3, "tanh"), Dense(2)], standardize_y=True, seed=0)
    standardized.fit(10 * rng.standard_normal((9, 4)), rng.standard_normal((9, 2)), epochs=1, verbose=False)
    columns = [("number", True, 8.0, -1.0, 0.0, 1.0), ("category", 3), ("value",)]
    encoded = Model(
        [Encode(columns), Scale(), Dense(3, "relu", learning_rate=0.5), Dense(1, "sigmoid")],
        optimizer=Adam(ByStep(CosLog(0.1, epochs=9))), seed=0,
    )  # fmt: skip
    encoded.fit(X[:, :3], y, epochs=1, verbose=False)
    models = {
        "trained": trained, "built": built, "unbuilt": Model([Dense(1)]), "standardized": standardized,
        "encoded": encoded,
    }  # fmt: skip
    for name, model in models.items():
        model.save(folder / name)
    return [folder / name for name in models]


def remade(header: dict[str, Any] | bytes, buffer: bytes = b"", *, digest: bool = True) -> bytes:
    """Return a file with that header and buffer, and a digest that is right."""
    if isinstance(header, dict):
        header = json.dumps(header, separators=(",", ":")).encode()
    content = len(header).to_bytes(8, "little") + header + buffer
    if digest and content.count(tensors.NO_DIGEST.encode()) == 1:
        content = content.replace(tensors.NO_DIGEST.encode(), tensors.digest_of([content]).encode())
    return content


def taken_apart(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and buffer of a good file, the digest zero."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"]["sha256"] = tensors.NO_DIGEST
    return header, content[start:]


STRANGE = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    2**64,
    10**400,
    0.5,
    1e308,
    1e-320,
    "",
    "x",
    "relu",
    "softmax",
    "float16",
    [],
    {},
    [[]],
    {"type": "os.system"},
    {"type": "Model"},
    {"type": "function", "name": "f"},
    {"type": "Dense", "units": 1},
    {"type": "SlowedDown", "schedule": 3, "factor": 2, "least": 0},
    {"type": "Generator", "state": {"bit_generator": "MT19937"}},
    {"type": "SGD", "learning_rate": {"type": "Dropout", "rate": 0.1}},
    "\udc80",
    "\x00",
    "a" * 5000,
]


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value within one of JSON, itself included."""
    yield path
    if isinstance(value, (dict, list)):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places_in(entry, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a value of JSON with another at that path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


def mutated(content: bytes, rng: np.random.Generator, name: str = "network") -> tuple[bytes, bool]:
    """Return a changed file, and whether its digest was made right again: then it may be one that is valid."""
    if rng.random() < 0.4:
        header, buffer = taken_apart(content)
        inner = rng.random() < 0.7
        target = json.loads(header["__metadata__"][name]) if inner else header
        paths = list(places_in(target))
        target = changed(target, paths[rng.integers(len(paths))], STRANGE[rng.integers(len(STRANGE))])
        if inner:
            header["__metadata__"][name] = json.dumps(target)
        return remade(target if not inner and isinstance(target, dict) else header, buffer), True
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        a, b = sorted(int(i) for i in rng.integers(0, len(data) + 1, 2))
        kind = rng.integers(7)
        if kind == 0 and data:
            data[min(a, len(data) - 1)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[a : a + 8] = rng.bytes(8)
        elif kind == 2:
            del data[a:b]
        elif kind == 3:
            data[a:a] = data[a : min(b, a + 64)]
        elif kind == 4:
            data[a:] = b""
        elif kind == 5:
            data[a:a] = rng.bytes(int(rng.integers(1, 30)))
        elif len(data) > 8:
            data[int(rng.integers(8))] = int(rng.integers(256))
    return bytes(data), False


def hostile_files() -> dict[str, bytes]:
    """Return the list made by hand, by what is wrong."""
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    two = {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}
    metadata = {"__metadata__": {"sha256": tensors.NO_DIGEST, "format": "fastnet model 1", "network": "{}"}}

    def with_array(**changes: Any) -> bytes:
        return remade({**metadata, "W1": {**entry, **changes}}, b"abcd")

    def text(network: str) -> bytes:
        return remade({"__metadata__": {**metadata["__metadata__"], "network": network}})

    npz, npy = io.BytesIO(), io.BytesIO()
    np.savez(npz, W1=np.ones(3))
    np.save(npy, np.ones(3))
    return {
        "nothing": b"",
        "7 bytes": b"\x01" * 7,
        "no header": bytes(8),
        "header of 1": b"\x01" + bytes(7) + b"{",
        "header of 2^64 - 1": b"\xff" * 8 + b"{}",
        "header beyond the end": (100).to_bytes(8, "little") + b"{}",
        "header of 1 GiB": (2**30).to_bytes(8, "little") + b"{" + b" " * 100,
        "header above 1 MiB": remade(b"{" + b" " * (2**20) + b"}"),
        "no object": remade(b"[1]"),
        "not JSON": remade(b'{"a"'),
        "not UTF-8": remade(b'{"\xff":1}'),
        "NaN": remade(b'{"a":NaN}'),
        "a second object": remade(b"{}{}"),
        "trailing text": remade(b"{} x"),
        "a byte too many": remade({**metadata, "W1": entry}, b"abcde"),
        "a byte too few": remade({**metadata, "W1": entry}, b"abc"),
        "only metadata": remade(metadata),
        "an empty object": remade({}),
        "no digest": remade({"__metadata__": {"format": "fastnet model 1"}}),
        "a name twice": remade(
            b'{"W1":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"W1":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
        ),
        "a key twice": remade(b'{"W1":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
        "overlap": remade({**metadata, "a": entry, "b": entry}, b"abcd"),
        "hole": remade({**metadata, "a": two}, b"abcdefgh"),
        "hole at the end": remade({**metadata, "a": entry}, b"abcdefgh"),
        "backwards": with_array(data_offsets=[4, 0]),
        "offset 2^63": with_array(data_offsets=[2**63, 2**63 + 4]),
        "negative offset": with_array(data_offsets=[-4, 0]),
        "float offset": with_array(data_offsets=[0.0, 4.0]),
        "boolean offset": with_array(data_offsets=[False, 4]),
        "one offset": with_array(data_offsets=[0]),
        "offset of 4,400 digits": remade(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,' + b"9" * 4400 + b"]}}"),
        "unknown dtype": with_array(dtype="O"),
        "dtype of records": with_array(dtype="f4,f4"),
        "dtype no text": with_array(dtype=["F32"]),
        "shape 2^63": with_array(shape=[2**63]),
        "shape wraps round": with_array(shape=[2**62, 4, 2**2]),
        "shape of zeros and 2^62": with_array(shape=[0, 2**62, 2**62], data_offsets=[0, 0]),
        "negative shape": with_array(shape=[-1, -1]),
        "shape of 40 axes": with_array(shape=[1] * 40),
        "shape no list": with_array(shape="1"),
        "an entry more": with_array(more=1),
        "booleans of 7": remade({**metadata, "a": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}, b"\x07"),
        "metadata no object": remade({"__metadata__": [1]}),
        "metadata of numbers": remade({"__metadata__": {"a": 1}}),
        "deep list": remade(b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}"),
        "deep object": remade(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        "list bomb": remade(b'{"a":[' + b"[]," * 300_000 + b"[]]}"),
        "text bomb": remade(b'{"a":[' + b'"ab",' * 200_000 + b'"ab"]}'),
        "number bomb": remade(b'{"a":[' + b"0.1," * 250_000 + b"0.1]}"),
        "names bomb": remade(b"{" + b",".join(b'"%d":0' % i for i in range(90_000)) + b"}"),
        "deep text": text("[" * 30_000),
        "text of another": text('{"a":1}'),
        "text no object": text("3"),
        "text deep": text('{"layers":' * 400 + "1" + "}" * 400),
        "pickle": pickle.dumps({"a": np.ones(3)}),
        "pickle that runs": b"cos\nsystem\n(S'touch /tmp/fastnet-was-here'\ntR.",
        "npz": npz.getvalue(),
        "npy": npy.getvalue(),
        "zip": b"PK\x03\x04" + bytes(100),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    }


def load_bounded(path: Path, load: Callable[[Path], Any] = fastnet.load) -> Any:
    """Load a file and return the model, or the error that may be raised; MemoryError if it took too much memory."""
    size = os.stat(path).st_size if path.is_file() else 0
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        found: Any = load(path)
    except (FileFormatError, OSError) as error:
        found = error
    except ValueError as error:  # a digest that was made right may belong to a file with a function
        if "was saved with a function as" not in str(error):
            raise
        found = error
    taken = tracemalloc.get_traced_memory()[1] - before
    if taken > TIMES * size + SLACK:
        raise MemoryError(f"{taken} bytes for a file of {size}")
    return found


def attack(folder: Path, n: int, seed: int) -> int:
    """Load n mutations of good files; return how many were refused. A byte that was changed must be."""
    rng, refused = np.random.default_rng(seed), 0
    contents = [path.read_bytes() for path in samples(folder)]
    path = folder / "mutated"
    tracemalloc.start()
    try:
        for _ in range(n):
            original = contents[rng.integers(len(contents))]
            content, made_right = mutated(original, rng)
            path.write_bytes(content)
            found = load_bounded(path)
            assert made_right or content == original or isinstance(found, FileFormatError), content
            refused += isinstance(found, Exception)
    finally:
        tracemalloc.stop()
    return refused
