"""Where a part's machine code comes from: the wheel, this machine's store, or the compiler; and its address.

numba is loaded only where something must be compiled.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastnet.kernels.build import forks, store
from fastnet.kernels.build.parts import WITHOUT_JIT, function_of
from fastnet.kernels.build.store import Code, Key
from fastnet.kernels.build.target import JIT_DISABLED, NATIVE, digest_of_sources, level, native, source_digest

SHIPPED, CACHED, COMPILED = "shipped", "cached", "compiled"
"""Where a part's machine code came from: a wheel, what this machine had compiled before, or the compiler."""

counts = Counter[str]()
"""How many parts of this process came from where."""

_addresses: dict[tuple[str, np.dtype, tuple[int, ...]], int] = {}


class Found(NamedTuple):
    """Machine code, SHIPPED or CACHED, and the folder that it was found in."""

    code: Code
    origin: str
    folder: Any


def is_loaded(name: str, dtype: np.dtype, *code: int) -> bool:
    """Return whether nothing of a part need be compiled, or loaded, any more."""
    return (name, dtype, code) in _addresses


def address_of(name: str, dtype: np.dtype, *code: int) -> int:
    """Return the address of a part for one dtype and, if its maker takes one, a code: load it, or compile it first."""
    address = _addresses.get((name, dtype, code))
    if address is None:
        with forks.lock:
            if not load_stored(name, dtype, *code):
                _compile(name, dtype, *code)
            address = _addresses[name, dtype, code]
    return address


def load_stored(name: str, dtype: np.dtype, *code: int) -> bool:
    """Load a part, unless it must be compiled first; return whether it is loaded now."""
    with forks.lock:
        if is_loaded(name, dtype, *code):
            return True
        if JIT_DISABLED:
            _addresses[name, dtype, code] = number = len(WITHOUT_JIT) + 1
            WITHOUT_JIT[number] = function_of(name, *code)
            return True
        found = stored(name, dtype, *code)
        if found is not None:
            _load(found.code, found.origin, name, dtype, *code)
        return found is not None


def stored(name: str, dtype: np.dtype, *code: int) -> Found | None:
    """Return the machine code of a part; None if it must be compiled."""
    for origin, folder, key in _places(label(name, dtype, *code)):
        found = store.read(folder, key)
        if found is not None:
            return Found(found, origin, folder)
    return None


def _places(part: str) -> Iterator[tuple[str, Any, Key]]:
    """Yield origin, folder and key of each place where a part may be stored, in order."""
    sources = source_digest()
    if sources is None:  # nothing says from what the code was made
        return
    if level() != NATIVE:
        yield from ((SHIPPED, folder, Key(part, level(), sources)) for folder in store.shipped())
    own = native()
    if own is not None:
        yield from ((CACHED, folder, Key(part, own, sources)) for folder in store.folders())


def _compile(name: str, dtype: np.dtype, *code: int) -> None:
    """Compile a part, store it in the first folder that can be written to, if there is one, and load it.

    It is not stored if its name would not tell what it was made from: sources that were edited meanwhile, or settings
    of numba's that stand elsewhere than in the environment.
    """
    forks.come_before_logging()
    with _in_some_folder():
        from fastnet.kernels.build import jit
        from fastnet.kernels.build.callers import compiled

        made = compiled(name, dtype, *code)
    if digest_of_sources() == source_digest() and jit.is_set_by_environment():
        for origin, folder, key in _places(label(name, dtype, *code)):
            if origin == CACHED and store.write(folder, key, made):
                break
    _load(made, COMPILED, name, dtype, *code)


def _load(found: Code, origin: str, name: str, dtype: np.dtype, *code: int) -> None:
    from fastnet.kernels.build.machine import load

    _addresses[name, dtype, code] = load(found)
    counts[origin] += 1


@contextmanager
def _in_some_folder() -> Iterator[None]:
    """Be elsewhere for a while if the working directory has been deleted: numba asks for it."""
    try:
        os.getcwd()
    except FileNotFoundError:
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir("/")
            yield
        finally:
            os.fchdir(here)
            os.close(here)
    else:
        yield


def label(name: str, dtype: np.dtype, *code: int) -> str:
    """Return how a stored part is called: its name, its code and its dtype."""
    return "_".join((name, *map(str, code), dtype.name))


def call_of(name: str, dtype: np.dtype, *arguments: Any, changing: str = "") -> Callable[..., int]:
    """Return a call of an entry point, with arguments that may be records, arrays, integers or tuples of those.

    It may be made any number of times, and returns an integer. `changing` says what is passed anew each time, before
    those arguments: "i" an integer, "a" an array, by the address of its data.
    """
    address = address_of(name, dtype)
    if JIT_DISABLED:
        function, given = WITHOUT_JIT[address], tuple(map(by_name, arguments))
        return lambda *changed: int(function(*changed, *given) or 0)
    from fastnet.kernels.build.machine import bound

    return bound(address, changing, arguments)


def by_name(argument: Any) -> Any:
    """Return records as the kernels take them, `layer.units`, in plain Python too; anything else as it is."""
    if JIT_DISABLED and isinstance(argument, np.ndarray) and argument.dtype.names:
        return argument.view(np.recarray)
    return argument
