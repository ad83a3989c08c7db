"""Machine code on disk: a file for each part, dtype and target. Nothing in it is executed before it is verified.

A file begins with a magic word and the SHA-256 of all that follows: the length of a header, the header (JSON), and the
object code. It is written beside its place and renamed, so that no one ever finds a half of it. Whatever is wrong with
a file, or with a folder, costs a compilation and nothing else.
"""

import hashlib
import json
import os
import sys
import time
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

from fastnet.kernels.build.target import host_features

MAGIC = b"fastnet machine code 1\n"
ENDING = ".code"
MOST_BYTES = 2**26
"""More than any part has: what is larger is not read."""

LEFT_OVER_AFTER = 600.0
"""Seconds after which a file that is still being written belongs to a process that was killed."""


class Key(NamedTuple):
    """What a stored file holds: the part (with its code and dtype), what it was compiled for, and from what."""

    part: str
    target: str
    digest: str

    @property
    def file_name(self) -> str:
        """Its name in any folder."""
        return ".".join(self) + ENDING


class Code(NamedTuple):
    """Object code, the symbol of the function in it, and the features that its CPU must have."""

    data: bytes
    symbol: str
    features: tuple[str, ...] = ()


def packed(key: Key, code: Code) -> bytes:
    """Return the content of a file."""
    header = json.dumps({**key._asdict(), "symbol": code.symbol, "features": code.features}).encode()
    body = len(header).to_bytes(4, "little") + header + code.data
    return MAGIC + hashlib.sha256(body).digest() + body


def unpacked(content: bytes, key: Key) -> Code | None:
    """Return the code in the content of a file; None if that is not, to the bit, what was stored under that key.

    None, too, if it needs features that this CPU has not.
    """
    start = len(MAGIC) + hashlib.sha256().digest_size
    body = content[start:]
    if content[:start] != MAGIC + hashlib.sha256(body).digest():
        return None
    length = 4 + int.from_bytes(body[:4], "little")
    try:
        header = json.loads(body[4:length])
        code = Code(body[length:], header.pop("symbol"), tuple(header.pop("features")))
        fits = header == key._asdict() and isinstance(code.symbol, str) and host_features().issuperset(code.features)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return code if fits else None


def read(folder: Any, key: Key) -> Code | None:
    """Return what a folder, which may be inside a zip, holds under a key; None if nothing, or nothing that is right."""
    try:
        path = folder / key.file_name
        if not path.is_file() or (isinstance(path, Path) and path.stat().st_size > MOST_BYTES):
            return None
        return unpacked(path.read_bytes(), key)
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


def write(folder: Path, key: Key, code: Code) -> bool:
    """Store code in a folder, which is made; return False where that cannot be. Files of other digests then go."""
    place = folder / key.file_name
    beside = folder / f"{key.part}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        try:
            beside.write_bytes(packed(key, code))
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
    except OSError:
        return False
    _sweep(folder, key)
    return True


def _sweep(folder: Path, key: Key) -> None:
    """Delete what other versions left under the same part and target, and what processes that were killed left."""
    with suppress(OSError):
        for path in folder.glob(f"{key.part}.{key.target}.*{ENDING}"):
            if path.name != key.file_name:
                path.unlink(missing_ok=True)
        for path in folder.glob("*.tmp"):
            if time.time() - path.stat().st_mtime > LEFT_OVER_AFTER:
                path.unlink(missing_ok=True)


def shipped() -> list[Any]:
    """Return where wheels may have brought code: beside the sources, which may be in a zip, or elsewhere on the path.

    So Python that is started in a clone, and imports its sources, finds the code of the wheel that was made of them.
    """
    own = files("fastnet.kernels") / "store"
    others = (Path(folder) / "fastnet" / "kernels" / "store" for folder in sys.path if folder)
    return [own, *(folder for folder in others if folder != own and folder.is_dir())]


def folders() -> list[Path]:
    """Return where this machine keeps what it compiled, in order: beside the sources, then below the home.

    Or in NUMBA_CACHE_DIR alone, if that is set. They need not exist, nor be writable. Where several installations may
    share a folder, each has one of its own in it, since it deletes what is of other sources.
    """
    sources, chosen, home = files("fastnet.kernels"), os.environ.get("NUMBA_CACHE_DIR"), _cache_home()
    own = "fastnet-" + hashlib.sha256(str(sources).encode()).hexdigest()[:8]
    if chosen:
        return [Path(chosen) / own]
    found = [sources / "__pycache__"] if isinstance(sources, Path) else []  # not in a zip
    return found + ([home / own] if home else [])


def _cache_home() -> Path | None:
    """Return the user's folder for caches; None where no home is known."""
    variable, below_home = {
        "win32": ("LOCALAPPDATA", "AppData/Local"),
        "darwin": ("", "Library/Caches"),
    }.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    chosen = Path(os.environ.get(variable, ""))
    if chosen.is_absolute():
        return chosen
    home = Path(os.path.expanduser("~"))
    return home / below_home if home.is_absolute() else None
