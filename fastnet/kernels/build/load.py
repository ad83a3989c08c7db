"""Where a part's machine code comes from: the wheel, this machine's store, or the compiler; and its address.

numba is loaded only where something must be compiled.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, NamedTuple

import numpy as np

from fastnet.kernels.build import store
from fastnet.kernels.build.parts import WITHOUT_JIT, function_of
from fastnet.kernels.build.store import Code, Key
from fastnet.kernels.build.target import JIT_DISABLED, NATIVE, compiler_digest, level, native, source_digest


class Counts(NamedTuple):
    """How many parts came from the wheel, from what this machine had compiled before, and from the compiler."""

    shipped: int = 0
    cached: int = 0
    compiled: int = 0


_addresses: dict[tuple[str, np.dtype, tuple[int, ...]], int] = {}
_lock = RLock()
counts = Counts()


def is_loaded(name: str, dtype: np.dtype, *code: int) -> bool:
    """Return whether nothing of a part need be compiled, or loaded, any more."""
    return (name, dtype, code) in _addresses


def address_of(name: str, dtype: np.dtype, *code: int) -> int:
    """Return the address of a part for one dtype and, if its maker takes one, a code: load it, or compile it first."""
    found = _addresses.get((name, dtype, code))
    if found is None:
        with _lock:
            found = _addresses.get((name, dtype, code)) or _loaded(name, dtype, *code)
            _addresses[name, dtype, code] = found
    return found


def _loaded(name: str, dtype: np.dtype, *code: int) -> int:
    if JIT_DISABLED:
        number = len(WITHOUT_JIT) + 1
        WITHOUT_JIT[number] = function_of(name, *code)
        return number
    from fastnet.kernels.build.machine import load

    return load(_found(name, dtype, *code))


def _found(name: str, dtype: np.dtype, *code: int) -> Code:
    """Return the machine code of a part: the wheel's, or this machine's own, or compiled now and stored."""
    global counts
    found, where = stored(name, dtype, *code)
    counts = counts._replace(**{where: getattr(counts, where) + 1})
    if found is None:
        with _in_some_folder():
            from fastnet.kernels.build.callers import compiled

            found = compiled(name, dtype, *code)
        key = _own_key(name, dtype, *code)
        if key is not None:
            any(store.write(folder, key, found) for folder in store.folders())  # nowhere: it lives with this process
    return found


def stored(name: str, dtype: np.dtype, *code: int) -> tuple[Code | None, str]:
    """Return the machine code of a part, and which of `Counts` it belongs to; None if it must be compiled."""
    sources, chosen = source_digest(), level()
    if sources is not None and chosen != NATIVE:
        found = store.read(store.shipped(), Key(label(name, dtype, *code), chosen, sources))
        if found is not None:
            return found, "shipped"
    key = _own_key(name, dtype, *code)
    if key is not None:
        for folder in store.folders():
            found = store.read(folder, key)
            if found is not None:
                return found, "cached"
    return None, "compiled"


def _own_key(name: str, dtype: np.dtype, *code: int) -> Key | None:
    """Return what a part is stored under that this machine compiles; None if its sources cannot be told."""
    digest = compiler_digest()
    return None if digest is None else Key(label(name, dtype, *code), native(), digest)


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
