"""Compiling in two processes: numba compiles one function at a time in each, and a first fit needs many."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

import numpy as np
from numba.core import event

from fastnet.kernels.jit import JIT_DISABLED, Function, entry_point

PROGRAM = """
import sys
dtype, parts, *sys.path = sys.argv[1:]
from fastnet.kernels.companion import compile_parts
compile_parts(dtype, parts.split())
"""


@contextmanager
def compiled_meanwhile(factories: Iterable[Function], dtype: np.dtype) -> Iterator[None]:
    """While what is within compiles something else, let another process compile these parts, into the cache on disk.

    None is started unless something within has to be compiled, and there is a cache. Afterwards they can be loaded; if
    anything went wrong with that process, they are compiled as ever.
    """
    companion = Companion(factories, dtype)
    try:
        with event.install_listener("numba:compile", companion):
            yield
        companion.wait()
    finally:
        companion.end()


class Companion(event.Listener):  # type: ignore[misc]
    """Another Python process, which starts when this one begins to compile."""

    def __init__(self, factories: Iterable[Function], dtype: np.dtype) -> None:
        parts = " ".join(f"{factory.__module__}:{factory.__name__}" for factory in factories)
        self.arguments = ["-c", PROGRAM, dtype.name, parts, *sys.path]
        self.process: subprocess.Popen[bytes] | None = None
        self.is_wanted = not JIT_DISABLED and bool(sys.executable) and not getattr(sys, "frozen", False)

    def on_start(self, event: event.Event) -> None:
        """Start, at the first function that has a cache file, and is not in it."""
        if not self.is_wanted or event.data["dispatcher"].stats.cache_path is None:
            return
        self.is_wanted = False
        nothing = subprocess.DEVNULL
        with suppress(OSError):  # it could not be started
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments], stdin=nothing, stdout=nothing, stderr=nothing
            )

    def on_end(self, event: event.Event) -> None:
        """Do nothing: more may be compiled."""

    def wait(self) -> None:
        """Wait until it has done its work."""
        if self.process is not None:
            self.process.wait()

    def end(self) -> None:
        """End it, if it is still at work, as after Ctrl-C."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def compile_parts(dtype: str, names: list[str]) -> None:
    """Compile parts, each named by module and factory, into the cache."""
    for name in names:
        module, factory = name.split(":")
        entry_point(getattr(import_module(module), factory), np.dtype(dtype))
