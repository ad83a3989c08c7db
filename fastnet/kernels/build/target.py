"""What machine code is made for, and from which sources: what the names of stored files say. Knows no numba.

Code that a wheel brings is made for a *level*, a set of features that many CPUs have; code that this machine compiles
is made for the machine itself, as numba sees it ("native").
"""

import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

JIT_DISABLED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
"""Whether kernels run as plain Python, which numba decides by the same variable."""

NATIVE = "native"

_V3 = (
    "avx", "avx2", "bmi", "bmi2", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse3", "ssse3", "sse4.1",
    "sse4.2",
)  # fmt: skip
LEVELS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "x86-64-v4": (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
        "x86-64-v3": _V3,
    },
    "aarch64": {"generic": ()},
}
"""For each architecture, the levels that a wheel carries code for, best first: LLVM's name, and the features needed."""

SETTINGS = (
    "NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_LOOP_VECTORIZE", "NUMBA_SLP_VECTORIZE", "NUMBA_LLVM_REFPRUNE_PASS",
    "NUMBA_DEBUGINFO", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX", "NUMBA_ENABLE_PROFILING",
    "NUMBA_EXTEND_VARIABLE_LIFETIMES",
)  # fmt: skip
"""The environment variables by which numba makes other code. A wheel's code is for none of them."""


def refuse_32_bits(largest_index: int) -> None:
    """Raise ImportError where an address has fewer than 64 bits: records hold addresses and offsets of that size."""
    if largest_index < 2**63 - 1:
        raise ImportError("fastnet needs a 64-bit Python, but this one has 32 bits. Install a 64-bit build of Python.")


refuse_32_bits(sys.maxsize)


def architecture() -> str:
    """Return the name of the machine's architecture in LEVELS, or what else it is called."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def levels() -> dict[str, tuple[str, ...]]:
    """Return the levels of this machine's architecture, and the features that each needs."""
    return LEVELS.get(architecture(), {})


@cache
def host_features() -> frozenset[str]:
    """Return the features of this CPU that the system lets programs use, by LLVM's names."""
    try:
        return frozenset(name for name, is_there in llvm.get_host_cpu_features().items() if is_there)
    except RuntimeError:  # LLVM does not know this machine
        return frozenset()


@cache
def settings() -> list[tuple[str, str]]:
    """Return the variables in SETTINGS that asked for code of another kind than usual when this was first called."""
    found = [(name, os.environ[name]) for name in SETTINGS if name in os.environ]
    return [pair for pair in found if pair not in (("NUMBA_BOUNDSCHECK", "0"), ("NUMBA_BOUNDSCHECK", ""))]


def level() -> str:
    """Return the level whose code is to be used where a wheel has brought it, or NATIVE: none.

    The best that this CPU has, or what the environment variable FASTNET_TARGET names.
    """
    there = {name: set(needed) <= host_features() for name, needed in levels().items()}
    wanted = os.environ.get("FASTNET_TARGET", "")
    if wanted not in ("", NATIVE) and not there.get(wanted):
        names = ", ".join(repr(name) for name in [NATIVE, *(name for name, has in there.items() if has)])
        raise ValueError(f"The environment variable FASTNET_TARGET must be one of {names} on this CPU, not {wanted!r}.")
    if wanted == NATIVE or settings():
        return NATIVE
    return wanted or next((name for name, has in there.items() if has), NATIVE)


@cache
def native() -> str | None:
    """Return NATIVE with a digest of what compiles here, for which CPU and with which settings; None if unknown.

    numba's version is read from its file: to import it takes three times as long as to import NumPy.
    """
    numba = find_spec("numba")
    if numba is None or numba.origin is None:
        return None
    try:
        versions = llvmlite.__version__, (Path(numba.origin).parent / "_version.py").read_bytes()
    except OSError:
        return None
    machine = llvm.get_process_triple(), llvm.get_host_cpu_name(), sorted(host_features()), settings(), versions
    return f"{NATIVE}-{hashlib.sha256(repr(machine).encode()).hexdigest()[:8]}"


def _sources(folder: Any, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each source in a folder of a package, which may be inside a zip.

    Or of what Python compiled it to, beside which there is none.
    """
    entries = sorted(folder.iterdir(), key=lambda entry: str(entry.name))
    names = {entry.name for entry in entries}
    for entry in entries:
        bare = entry.name.endswith(".pyc") and entry.name[:-1] not in names
        if (bare or entry.name.endswith(".py")) and entry.is_file():
            yield prefix + entry.name, entry.read_bytes()
        elif entry.name != "__pycache__" and entry.is_dir():
            yield from _sources(entry, f"{prefix}{entry.name}/")


def digest_of_sources() -> str | None:
    """Return a digest of the sources of all kernels; None where there are none, as in a program that was frozen."""
    digest = hashlib.sha256()
    try:
        found = list(_sources(files("fastnet.kernels")))
    except OSError:
        return None
    for name, content in found:
        digest.update(b"%s %d " % (name.encode(), len(content)) + content)
    return digest.hexdigest()[:16] if found else None


@cache
def source_digest() -> str | None:
    """Return the digest of the sources as they were when this was first called."""
    return digest_of_sources()
