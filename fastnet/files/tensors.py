"""Files of arrays in the safetensors format, with a strict reader: whatever a stranger sends, an error or the arrays.

A file is the length of its header, 8 bytes, little-endian; the header, JSON: for each array its dtype, shape and place
in the buffer, and under "__metadata__" texts by name; then the buffer, which the arrays fill without a gap. Source:
https://huggingface.co/docs/safetensors. Any reader of that format reads what is written here.

Among the texts that `write` adds is "sha256": the digest of the whole file as it is with zeros in that text's place.
"""

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastnet import checks
from fastnet.errors import FileFormatError
from fastnet.files.durable import write_whole

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
NAMES = {np.dtype(text): name for name, text in DTYPES.items()}

MOST_HEADER_BYTES = 2**20
MOST_HEADER_MARKS = 2**15
"""Brackets, braces and colons in a header: so many bound the memory that its objects take."""
MOST_AXES = 32
MOST_ENTRIES = 2**59

METADATA, DIGEST = "__metadata__", "sha256"
NO_DIGEST = "0" * 64


class Contents(NamedTuple):
    """What a file holds: arrays and texts, by name; and its digest, None if it has none."""

    arrays: dict[str, np.ndarray]
    texts: dict[str, str]
    digest: str | None


def write(path: Any, arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> None:
    """Write arrays and texts, by name, to a file that takes the place of one at that path; errors of `write_whole`.

    The same arrays and texts, in the same order, make the same bytes. TypeError for arrays of other than real numbers.
    """
    write_whole(path, pieces(arrays, texts))


def pieces(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> list[bytes | memoryview]:
    """Return the bytes of a file, in order: copies, as a fit in another thread may change the arrays meanwhile."""
    header: dict[str, Any] = {METADATA: {DIGEST: NO_DIGEST, **texts}}
    buffer, end = [], 0
    for name, array in arrays.items():
        dtype = array.dtype.newbyteorder("<")
        if dtype not in NAMES:
            raise TypeError(
                f"{name} has the dtype {array.dtype}, which no file can hold. Use numbers of 64 bits or less."
            )
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": NAMES[dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
        buffer.append(np.array(array, dtype, order="C").reshape(-1).view(np.uint8).data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MOST_HEADER_BYTES or marks(text) > MOST_HEADER_MARKS:
        raise ValueError(
            f"The settings, names and texts to be saved make a header of {len(text)} bytes and {marks(text)} brackets "
            f"and colons, but a file takes {MOST_HEADER_BYTES} and {MOST_HEADER_MARKS}. Save fewer layers or labels."
        )
    head = len(text).to_bytes(8, "little") + text
    digest = digest_of([head, *buffer])
    return [head.replace(NO_DIGEST.encode(), digest.encode(), 1), *buffer]


def digest_of(pieces: list[Any]) -> str:
    """Return the SHA-256 of some bytes."""
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def marks(header: bytes) -> int:
    """Count what makes objects of a header."""
    return sum(header.count(mark) for mark in b"[{:")


def read(path: Any) -> Contents:
    """Return what a file holds; its arrays are read-only views of one buffer.

    Its digest, if it has one, is checked: a file of which a byte was changed is refused. Memory is needed for the file,
    and at most 16 MiB beside it.

    Raises
    ------
    FileFormatError
        If it is not a file of this format, to the last byte; the message says what is wrong.
    OSError
        If it cannot be read, or memory does not suffice for it.
    """
    try:
        content = bytes_of(path)
        return contents_of(content)
    except FileFormatError as error:
        raise FileFormatError(f"{str(path)!r} cannot be read: {error}.") from None
    except MemoryError:
        raise OSError(errno.ENOMEM, "memory does not suffice for the file", str(path)) from None


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe too, without waiting for who writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def bytes_of(path: Any) -> memoryview:
    """Return the bytes of a file that has at least a header."""
    with open(checks.path(path, "path"), "rb", buffering=0, opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError("it is a device or a pipe, not a file")
        head = file.read(8)
        length = int.from_bytes(head, "little")
        if len(head) < 8 or not 2 <= length <= MOST_HEADER_BYTES or 8 + length > status.st_size:
            raise FileFormatError(f"of its {status.st_size} bytes, the first 8 are not the length of a header")
        content = bytearray(status.st_size)
        content[:8] = head
        view, done = memoryview(content), 8
        while done < len(content) and (n := file.readinto(view[done:])):
            done += n
        if done < len(content) or file.read(1):
            raise FileFormatError("its length changed while it was being read")
    return view.toreadonly()


def contents_of(content: memoryview) -> Contents:
    """Return what the bytes of a file hold, of which the first 8 are right; FileFormatError if others are not."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = parsed(bytes(content[8:start]))
    texts = header.pop(METADATA, {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise FileFormatError(f"its {METADATA} must map names to texts")
    places = [Place.of(name, entry) for name, entry in header.items()]
    end = 0
    for place in sorted(places, key=lambda place: (place.begin, place.end)):
        if place.begin != end:
            raise FileFormatError(f"array {place.name!r} begins at {place.begin}, but the one before ends at {end}")
        end = place.end
    if start + end != len(content):
        raise FileFormatError(f"its arrays need {end} bytes, but {len(content) - start} follow the header")
    digest = texts.pop(DIGEST, None)
    if digest is not None:
        check_digest(content, start, digest)
    arrays = {place.name: place.taken_from(content[start:]) for place in places}
    return Contents(arrays, texts, digest)


def parsed(header: bytes) -> dict[str, Any]:
    """Return the object that a header is; FileFormatError unless it is one of reasonable size and unique names."""
    if marks(header) > MOST_HEADER_MARKS:
        raise FileFormatError(f"its header has more than {MOST_HEADER_MARKS} brackets and colons")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise FileFormatError("its header has one name twice")
        return found

    def refuse(constant: str) -> None:
        raise FileFormatError(f"its header has the number {constant}")

    if not header.startswith(b"{"):
        raise FileFormatError("its header does not begin with a brace")
    try:
        found = json.loads(header.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except FileFormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"its header is not JSON ({error})") from None
    assert isinstance(found, dict)  # as it begins with a brace
    return found


def check_digest(content: memoryview, start: int, digest: str) -> None:
    """Raise FileFormatError unless `digest`, which stands in the header, is that of the file with zeros there."""
    head = bytes(content[:start])
    if not re.fullmatch("[0-9a-f]{64}", digest) or head.count(digest.encode()) != 1:
        raise FileFormatError(f"its {DIGEST} is none")
    found = digest_of([head.replace(digest.encode(), NO_DIGEST.encode()), content[start:]])
    if found != digest:
        raise FileFormatError(f"it was changed: its SHA-256 is {found[:12]}..., not {digest[:12]}... as when written")


class Place(NamedTuple):
    """Where an array lies in the buffer, and what it is."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int

    @classmethod
    def of(cls, name: str, entry: Any) -> "Place":
        """Return the place that an entry of the header describes; FileFormatError if it describes none."""
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise FileFormatError(f"array {name!r} must have dtype, shape and data_offsets, and nothing else")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise FileFormatError(f"array {name!r} must have one of the dtypes {', '.join(DTYPES)}")
        if not are_sizes(shape) or len(shape) > MOST_AXES:
            raise FileFormatError(f"array {name!r} must have a shape of at most {MOST_AXES} integers of at least 0")
        if not are_sizes(offsets) or len(offsets) != 2:
            raise FileFormatError(f"array {name!r} must have two integers of at least 0 as offsets")
        begin, end = offsets
        if prod(n or 1 for n in shape) >= MOST_ENTRIES:
            raise FileFormatError(f"array {name!r} has a shape beyond what memory can address")
        if end - begin != prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
            raise FileFormatError(f"array {name!r} of {dtype} has another size than its {end - begin} bytes")
        return cls(name, np.dtype(DTYPES[dtype]), tuple(shape), begin, end)

    def taken_from(self, buffer: memoryview) -> np.ndarray:
        """Return the array, a view of the buffer."""
        array: np.ndarray = np.ndarray(self.shape, self.dtype, buffer[self.begin : self.end])
        if self.dtype == bool and array.view(np.uint8).max(initial=0) > 1:
            raise FileFormatError(f"array {self.name!r} has booleans other than 0 and 1")
        return array


def are_sizes(value: Any) -> bool:
    """Return whether a value of JSON is a list of integers that sizes of arrays may have."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)
