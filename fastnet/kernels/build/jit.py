"""How kernels are compiled: one set of options, for helpers and for the parts that call them.

A helper is compiled into each part that calls it, and stored there, not by itself.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from numba import njit, types
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from fastnet.kernels.build.store import Code
from fastnet.kernels.build.target import JIT_DISABLED, host_features, levels, settings

Function = Callable[..., Any]

if bool(config.DISABLE_JIT) != JIT_DISABLED:
    raise ImportError(
        f"numba's JIT is {'off' if config.DISABLE_JIT else 'on'}, but the environment variable NUMBA_DISABLE_JIT says "
        "otherwise. Set it before Python starts."
    )

USUAL = {
    "BOUNDSCHECK": None, "OPT": 3, "LOOP_VECTORIZE": 1, "SLP_VECTORIZE": 0, "LLVM_REFPRUNE_PASS": 1,
    "DEBUGINFO_DEFAULT": 0, "CPU_NAME": None, "CPU_FEATURES": None, "EXTEND_VARIABLE_LIFETIMES": 0,
}  # fmt: skip
"""The settings of numba's that change machine code, as they are where nobody sets them."""


def is_set_by_environment() -> bool:
    """Return whether numba is set as the environment says, by which stored code is named.

    A file `.numba_config.yaml`, or the program itself, may set it otherwise.
    """
    named = {name.removeprefix("NUMBA_").replace("DEBUGINFO", "DEBUGINFO_DEFAULT") for name, _ in settings()}
    found = {name: getattr(config, name, usual) for name, usual in USUAL.items() if name not in named}
    return all(value == USUAL[name] or not (value or USUAL[name]) for name, value in found.items())


# error_model: the default checks every division for zero, which kept loops scalar.
# fastmath: deletes NaN checks and reorders sums; the kernels spell out each fma instead.
# _nrt: what allocates nothing has no references to count.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "fastmath": False, "_nrt": False}


def kernel(function: Function, **more: Any) -> Function:
    """Compile a helper that parts call; its machine code is stored with theirs.

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


def object_code(function: Function, argument_types: tuple[types.Type, ...]) -> Code:
    """Compile a function for one signature, to be called by its address."""
    options = OPTIONS | {"no_cfunc_wrapper": True, "no_cpython_wrapper": True}
    with garbage_collection_paused():
        dispatcher = njit(**options)(function)
        dispatcher.compile(argument_types)
        (made,) = dispatcher.overloads.values()
        with global_compiler_lock:
            _, _, (data, _) = made.library.serialize_using_object_code()
    return Code(data, made.fndesc.llvm_func_name, needed_features())


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


def needed_features() -> tuple[str, ...]:
    """Return what a CPU must have to execute what is compiled here: of a level its features, else all of this CPU's."""
    level = levels().get(TARGET[1])
    return tuple(sorted(host_features())) if level is None else level


def _assembly(function: str) -> str:
    """Return what the compiler, as it is set for numba, makes of a function in LLVM IR.

    Names and feature lists of CPUs say less: NUMBA_CPU_NAME and NUMBA_CPU_FEATURES may override the machine's own.
    """
    triple, cpu, features = TARGET
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    made: str = machine.emit_assembly(llvm.parse_assembly(function))
    return made


def _vector_bytes() -> int:
    """Return the widest register the compiler will use, in bytes: 64, 32 or 16."""
    assembly = _assembly(
        "define <16 x float> @add(<16 x float> %a, <16 x float> %b) {\n"
        "  %c = fadd <16 x float> %a, %b\n"
        "  ret <16 x float> %c\n"
        "}"
    )
    return 64 if "zmm" in assembly else 32 if "ymm" in assembly else 16


def _has_fma() -> bool:
    """Return whether a b + c is an instruction, not a call of a library's `fmaf`."""
    assembly = _assembly(
        "define float @f(float %a, float %b, float %c) {\n"
        "  %d = call float @llvm.fma.f32(float %a, float %b, float %c)\n"
        "  ret float %d\n"
        "}"
    )
    return "fmaf" not in assembly


TARGET = cpu_target.target_context.codegen().magic_tuple()
VECTOR_BYTES = _vector_bytes()
HAS_FMA = _has_fma()
