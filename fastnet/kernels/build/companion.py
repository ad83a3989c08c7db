"""Compiling in two processes: numba compiles one function at a time in each, and a first fit needs many."""

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
from numba.core import event

from fastnet.kernels.build.jit import JIT_DISABLED, Function
from fastnet.kernels.build.parts import part

PROGRAM = """
import sys
dtype, parts, *sys.path = sys.argv[1:]
from fastnet.kernels.build.companion import compile_parts
compile_parts(dtype, parts.split())
"""

PATIENCE = 60.0
"""Seconds to wait for another process at the most: several times what it needs."""


@contextmanager
def compiled_beside(name: str, others: Iterable[str], dtype: np.dtype) -> Iterator[Function]:
    """Yield the part of that name; if it is not in the cache on disk, another process compiles `others` to it.

    It does so until the context is left. Afterwards they can be loaded; if anything went wrong with that process, they
    are compiled as ever. The others have no codes.
    """
    companion = Companion(others, dtype)
    try:
        with event.install_listener("numba:compile", companion):
            made = part(name, dtype)
        yield made
        companion.wait()
    finally:
        companion.end()


class Companion(event.Listener):  # type: ignore[misc]
    """Another Python process, which starts when this thread begins to compile."""

    def __init__(self, names: Iterable[str], dtype: np.dtype) -> None:
        parts = " ".join(names)
        path = (place for place in sys.path if isinstance(place, str))  # Python ignores all else
        self.command = [sys.executable, "-c", PROGRAM, dtype.name, parts, *path]
        self.process: subprocess.Popen[bytes] | None = None
        self.is_wanted = bool(parts and sys.executable) and not JIT_DISABLED and not getattr(sys, "frozen", False)
        self.thread = threading.get_ident()

    def on_start(self, event: event.Event) -> None:
        """Start, at the first function, unless there is no cache."""
        if not self.is_wanted or threading.get_ident() != self.thread:
            return
        self.is_wanted = False
        if event.data["dispatcher"].stats.cache_path is None:
            return
        nothing = subprocess.DEVNULL
        with suppress(OSError, ValueError, RuntimeError):  # it cannot be started
            self.process = subprocess.Popen(self.command, stdin=nothing, stdout=nothing, stderr=nothing)

    def on_end(self, event: event.Event) -> None:
        """Do nothing."""

    def wait(self) -> None:
        """Wait until it has done its work, but not for ever."""
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)

    def end(self) -> None:
        """End it, if it is still at work, as after Ctrl-C; one that was just being started then ends by itself."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def compile_parts(dtype: str, names: list[str]) -> None:
    """Compile parts into the cache."""
    for name in names:
        part(name, np.dtype(dtype))
