"""How kernels are compiled and cached: helpers by decorators; entry points and parts; one set of options.

numba's on-disk cache looks at the file of the cached function alone. It does not notice an edit to a helper in
another file, to an intrinsic or to a global, nor that bounds checks were switched on. So only *entry points*, which
Python calls, and *parts*, which kernels call by address, are cached, each made by a factory that closes over
`source_digest()`: the value of a closure cell is part of the key.
"""

import gc
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba import njit, types
from numba.core import config
from numba.core.registry import cpu_target

JIT_DISABLED = bool(config.DISABLE_JIT)

# error_model: the default checks every division for zero, which kept loops scalar.
# fastmath: deletes NaN checks and reorders sums; the kernels spell out each fma instead.
# _nrt: what allocates nothing has no references to count.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "fastmath": False, "_nrt": False}

Function = Callable[..., Any]


def kernel(function: Function, **more: Any) -> Function:
    """Compile a helper that entry points and parts call; it lives in their cache files, not in its own.

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

    For the links between entry points or parts and `dense.multiply`. numba sends a compiled helper, and all that it
    calls, through LLVM once for every function above it. `scripts/bench --bench cold_compile` tells what that costs.
    """
    compiled: Function = njit(inline="always", **OPTIONS)(function)
    return compiled


@cache
def entry_point(factory: Callable[..., Function], dtype: np.dtype) -> Function:
    """Compile, or load from the cache, the function that `factory(source_digest())` returns, for one dtype.

    The function carries its argument types in `signature`, a function of the floating-point type. It gets exactly
    that one signature: a call with anything else raises instead of compiling again.
    """
    return _compiled(factory, dtype, (), no_cpython_wrapper=False)


@cache
def compiled_part(factory: Callable[..., Function], dtype: np.dtype, *code: int) -> Function:
    """Do the same with `factory(source_digest(), *code)`, for kernels that call it by its address.

    A call from Python would end the process: what that needs is left out, and with it a fortieth of a first fit's
    compiling (`scripts/bench --bench cold_compile`).
    """
    return _compiled(factory, dtype, code, no_cpython_wrapper=True)


def _compiled(
    factory: Callable[..., Function], dtype: np.dtype, code: tuple[int, ...], *, no_cpython_wrapper: bool
) -> Function:
    function = factory(source_digest(), *code)
    if JIT_DISABLED:
        return function
    # A name for each kind, dtype, code and target, with checks or without, so that two processes never write two
    # functions into one index file.
    kind = "part" if no_cpython_wrapper else "entry"
    function.__qualname__ += "_".join(("", kind, dtype.name, *map(str, code), TARGET_DIGEST))
    argument_types = function.signature(types.float32 if dtype == np.float32 else types.float64)  # type: ignore[attr-defined]
    options = OPTIONS | {"no_cfunc_wrapper": True, "no_cpython_wrapper": no_cpython_wrapper}
    with garbage_collection_paused():
        try:
            dispatcher = njit(cache=True, **options)(function)
            dispatcher.compile(argument_types)
        except (RuntimeError, OSError):  # numba found no folder it may write to, or no room in it
            dispatcher = njit(**options)(function)
            dispatcher.compile(argument_types)
    dispatcher.disable_compile()
    compiled: Function = dispatcher
    return compiled


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
    """Return a digest of all that goes into the machine code and that numba's cache would overlook."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent.parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    for fact in (numba.__version__, llvmlite.__version__, np.__version__, bool(config.BOUNDSCHECK), VECTOR_BYTES):
        digest.update(repr(fact).encode())
    return digest.hexdigest()


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
TARGET_DIGEST = hashlib.sha256(repr((TARGET, bool(config.BOUNDSCHECK))).encode()).hexdigest()[:8]
VECTOR_BYTES = _vector_bytes()
