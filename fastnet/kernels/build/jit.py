"""How kernels are compiled and kept on disk: one set of options, one way to name files.

numba's cache looks at the file of the cached function alone. It does not notice an edit to a helper in another file,
to an intrinsic or to a global, nor another setting of its own. So helpers are not cached themselves, and the files of
a *part* (`parts.py`) carry in their names what numba overlooks: a digest of all kernel sources, and one of the target.
"""

import gc
import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba import njit, types
from numba.core import config
from numba.core.registry import cpu_target

Function = Callable[..., Any]


def refuse_32_bits(largest_index: int) -> None:
    """Raise ImportError where an address has fewer than 64 bits: records hold addresses and offsets of that size."""
    if largest_index < 2**63 - 1:
        raise ImportError("fastnet needs a 64-bit Python, but this one has 32 bits. Install a 64-bit build of Python.")


refuse_32_bits(sys.maxsize)

JIT_DISABLED = bool(config.DISABLE_JIT)

# error_model: the default checks every division for zero, which kept loops scalar.
# fastmath: deletes NaN checks and reorders sums; the kernels spell out each fma instead.
# _nrt: what allocates nothing has no references to count.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "fastmath": False, "_nrt": False}


def kernel(function: Function, **more: Any) -> Function:
    """Compile a helper that parts call; its machine code lives in their cache files, not in its own.

    It is compiled once for a dtype: numba would do so again for every constant among the arguments of a call.
    """
    compiled = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS, **more)(function)
    if not JIT_DISABLED:
        find = compiled.get_call_template
        compiled.get_call_template = lambda arguments, keywords: find(
            tuple(map(types.unliteral, arguments)), {name: types.unliteral(kind) for name, kind in keywords.items()}
        )
    made: Function = compiled
    return made


def inlined_kernel(function: Function) -> Function:
    """Compile a helper whose machine code becomes a part of its caller's, since a call costs as much as it does."""
    return kernel(function, forceinline=True)


def spliced_kernel(function: Function) -> Function:
    """Make a helper whose body replaces each call of it, before LLVM sees the caller.

    For helpers that are used once or twice. numba sends a compiled helper, and all that it calls, through LLVM once for
    every function above it. `scripts/bench --bench cold_compile` tells what that costs.
    """
    compiled: Function = njit(inline="always", **OPTIONS)(function)
    return compiled


def compiled(function: Function, name: str, argument_types: tuple[types.Type, ...], *, from_python: bool) -> Function:
    """Compile a function for one signature, or load it from the cache, whose files have that `name` among theirs.

    A call with anything else raises instead of compiling again. A call from Python, if the function was not made for
    it, would end the process: the wrapper that is left out then is a fortieth of a first fit's compiling.
    """
    if JIT_DISABLED:
        return function
    # A name for each part, dtype, code and target, so that two processes never write two functions into one index
    # file, and one of another version never finds this one's data.
    made = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    prefix = f"{name}_{TARGET_DIGEST}_"
    made.__qualname__ = prefix + source_digest()
    made.__module__ = function.__module__
    options = OPTIONS | {"no_cfunc_wrapper": True, "no_cpython_wrapper": not from_python}
    with garbage_collection_paused():
        try:
            dispatcher = njit(cache=True, **options)(made)
            dispatcher.compile(argument_types)
        except (RuntimeError, OSError):  # numba found no folder it may write to, or no room in it
            dispatcher = njit(**options)(made)
            dispatcher.compile(argument_types)
    dispatcher.disable_compile()
    if sum(dispatcher.stats.cache_misses.values()):
        _sweep(dispatcher.stats.cache_path, prefix)
    result: Function = dispatcher
    return result


def _sweep(folder: str | None, prefix: str) -> None:
    """Delete what other versions of the kernels left in the cache under the same name."""
    with suppress(OSError):
        for path in Path(folder or "/nowhere").glob(f"*.{prefix}*"):
            if source_digest() not in path.name:
                path.unlink(missing_ok=True)


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Compiling makes millions of small objects that stay: looking through them again and again is a sixth of it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@cache
def source_digest() -> str:
    """Return a digest of the sources of all kernels, and of the versions of what compiles them."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent.parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    for version in (numba.__version__, llvmlite.__version__, np.__version__):
        digest.update(version.encode())
    return digest.hexdigest()[:16]


def target_digest() -> str:
    """Return a digest of the CPU that code is made for, and of every setting of numba's that changes the code."""
    names = ("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "LLVM_REFPRUNE_PASS", "DEBUGINFO_DEFAULT")
    settings = [(name, getattr(config, name, None)) for name in names]
    return hashlib.sha256(repr((TARGET, VECTOR_BYTES, settings)).encode()).hexdigest()[:8]


def _vector_bytes() -> int:
    """Return the widest register the compiler will use, in bytes: 64, 32 or 16.

    Asks the compiler itself, as it is set for numba: names and feature lists of CPUs say less, since
    NUMBA_CPU_NAME and NUMBA_CPU_FEATURES may override the machine's own.
    """
    triple, cpu, features = TARGET
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    module = llvm.parse_assembly(
        "define <16 x float> @add(<16 x float> %a, <16 x float> %b) {\n"
        "  %c = fadd <16 x float> %a, %b\n"
        "  ret <16 x float> %c\n"
        "}"
    )
    assembly = machine.emit_assembly(module)
    return 64 if "zmm" in assembly else 32 if "ymm" in assembly else 16


TARGET = cpu_target.target_context.codegen().magic_tuple()
VECTOR_BYTES = _vector_bytes()
TARGET_DIGEST = target_digest()
