"""From object code to functions that Python calls: by LLVM alone, without numba.

numba's functions take an array as words: two for who owns it, the number and size of its items, the address of its
data, its shape and its strides. A *call* has those of all arguments laid out once, in a vector of `Words`. It is a
builtin function of Python's whose `self` is that vector, and which passes them on: in a tenth of a microsecond.

**Subnormal numbers**, those below the smallest normal one (float32: 1.2e-38, float64: 2.2e-308), take many processors a
hundred times as long. While a call runs, on its thread alone, they are zero, of their sign: as operands, and as results
once these are rounded. A control word of the processor says so, and that it rounds to nearest, whatever the caller's
says, which is put back on every way out. NumPy's arithmetic around the calls keeps them, and so does the mode without
the JIT.
"""

import ctypes
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np

from fastnet.kernels.build import forks
from fastnet.kernels.build.store import Code

OUTSIDE = "A kernel reaches outside its array: an error of fastnet's. Please report it.\\00"
"""The message of the only error that a kernel raises, when numba's bounds checks are on."""

_engines: list[Any] = []
"""One for each piece of code, for as long as the process lives."""


def load(code: Code) -> int:
    """Load object code; return the address of its function.

    Each has an engine of its own: helpers in the code of two processes may share a name and be two functions.
    """
    engine = _engine(llvm.parse_assembly(""))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.data))
    engine.finalize_object()
    address: int = engine.get_function_address(code.symbol)
    if address == 0:
        raise ImportError(f"The machine code of {code.symbol!r} does not hold that function. Please report this.")
    return address


def _engine(module: Any) -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(opt=0, jit=True)
    engine = llvm.create_mcjit_compiler(module, machine)
    _engines.append(engine)
    return engine


def words_of(argument: Any) -> Iterator[int]:
    """Yield an argument as numba's functions take it: an integer, an array, or a tuple of those."""
    if isinstance(argument, tuple):
        for part in argument:
            yield from words_of(part)
    elif isinstance(argument, np.ndarray):
        yield from (0, 0, argument.size, argument.itemsize, argument.ctypes.data, *argument.shape, *argument.strides)
    else:
        yield int(argument)


class Words(np.ndarray):
    """The address of a function and the words of its arguments, which it keeps alive."""

    arguments: tuple[Any, ...]


class _MethodDefinition(ctypes.Structure):
    """PyMethodDef: what Python makes a builtin function from."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class Control(NamedTuple):
    """How the control word is kept and set, and how it is put back: in LLVM IR."""

    enter: str
    leave: str


CONTROLS = {
    # MXCSR = 0x9FC0: no exception interrupts (0x1F80), results are flushed to zero (0x8000), operands too (0x40).
    "x86_64": Control(
        """
            %callers = alloca i32
            %kernels = alloca i32
            store i32 40896, ptr %kernels
            call void @llvm.x86.sse.stmxcsr(ptr %callers)
            call void @llvm.x86.sse.ldmxcsr(ptr %kernels)
        """,
        "call void @llvm.x86.sse.ldmxcsr(ptr %callers)",
    ),
    # FPCR: bit 24, FZ, flushes both; of results, those too that only rounding would have made normal.
    "aarch64": Control(
        """
            %callers = call i64 @llvm.aarch64.get.fpcr()
            call void @llvm.aarch64.set.fpcr(i64 16777216)
        """,
        "call void @llvm.aarch64.set.fpcr(i64 %callers)",
    ),
}
CONTROLS["arm64"] = CONTROLS["aarch64"]  # as it is called on macOS
"""By the architecture's name in LLVM. On others the caller's control word stays as it is."""

FASTCALL = 0x80
"""METH_FASTCALL: the function takes self, an array of arguments and their number."""


def bound(address: int, changing: str, arguments: tuple[Any, ...]) -> Callable[..., int]:
    """Return the call of a function at an address, which lets go of the GIL and returns an integer.

    `changing` says what is passed anew each time, before those arguments: "i" an integer, "a" the address of an
    array's data. IndexError if the function raised. What else changes lies in the arrays among the arguments.
    """
    words = np.array([address, *[0] * len(changing), *words_of(arguments)], np.int64).view(Words)
    words.arguments = arguments
    definition = _definitions.get((len(words), changing)) or _define(len(words), changing)
    made: Callable[..., int] = _new_builtin(ctypes.byref(definition), words, None)
    return made


_new_builtin = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)


_definitions: dict[tuple[int, str], _MethodDefinition] = {}


def _define(words: int, changing: str) -> _MethodDefinition:
    """Define the builtin function that passes so many words, once, whatever number of threads ask for it."""
    with forks.lock:
        if (words, changing) not in _definitions:
            _definitions[words, changing] = _passing(words, changing)
        return _definitions[words, changing]


def _passing(words: int, changing: str) -> _MethodDefinition:
    """Define a builtin function that calls the function whose address is the first of its words with the others.

    numba's functions take two places before their arguments, for their result and for an error, and return 0, or -2
    for None.
    """
    names = "PyLong_AsLongLong", "PyLong_FromLongLong", "PyEval_SaveThread", "PyEval_RestoreThread", "PyErr_SetString"
    addresses = {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in names}
    python = {name: f"inttoptr (i64 {address} to ptr)" for name, address in addresses.items()}
    take = []
    for i, kind in enumerate(changing):
        take += [f"%o{i} = getelementptr ptr, ptr %given, i64 {i}", f"%g{i} = load ptr, ptr %o{i}"]
        if kind == "i":
            take.append(f"%c{i} = call i64 {python['PyLong_AsLongLong']}(ptr %g{i})")
        else:
            take += [f"%d{i} = getelementptr i8, ptr %g{i}, i64 {_data_offset()}", f"%c{i} = load i64, ptr %d{i}"]
    load_words = [
        line
        for i in (0, *range(1 + len(changing), words))
        for line in (f"%p{i} = getelementptr i64, ptr %words, i64 {i}", f"%w{i} = load i64, ptr %p{i}")
    ]
    passed = [f"i64 %c{i}" for i in range(len(changing))] + [f"i64 %w{i}" for i in range(1 + len(changing), words)]
    lines = "\n".join(take + load_words)
    control = CONTROLS.get(llvm.get_process_triple().split("-")[0], Control("", ""))
    module = llvm.parse_assembly(f"""
        @message = private constant [{len(OUTSIDE) - 2} x i8] c"{OUTSIDE}"
        define ptr @pass(ptr %self, ptr %given, i64 %n) {{
            %place = getelementptr i8, ptr %self, i64 {_data_offset()}
            %words = load ptr, ptr %place
            %result = alloca i64
            %error = alloca ptr
            store i64 0, ptr %result
            {lines}
            %function = inttoptr i64 %w0 to ptr
            %thread = call ptr {python["PyEval_SaveThread"]}()
            {control.enter}
            %status = call i32 %function({", ".join(["ptr %result", "ptr %error", *passed])})
            {control.leave}
            call void {python["PyEval_RestoreThread"]}(ptr %thread)
            %ok = icmp eq i32 %status, 0
            %none = icmp eq i32 %status, -2
            %good = or i1 %ok, %none
            br i1 %good, label %returned, label %raised
        returned:
            %value = load i64, ptr %result
            %object = call ptr {python["PyLong_FromLongLong"]}(i64 %value)
            ret ptr %object
        raised:
            call void {python["PyErr_SetString"]}(ptr inttoptr (i64 {id(IndexError)} to ptr), ptr @message)
            ret ptr null
        }}
    """)
    engine = _engine(module)
    engine.finalize_object()
    definition = _MethodDefinition(b"call", engine.get_function_address("pass"), FASTCALL, None)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(definition))  # builtin functions may outlive this module
    return definition


@cache
def _data_offset() -> int:
    """Return where in the object that is an array the address of its data lies."""
    probe = np.empty(16)
    step = ctypes.sizeof(ctypes.c_void_p)
    for offset in range(2 * step, 8 * step, step):
        if ctypes.c_void_p.from_address(id(probe) + offset).value == probe.ctypes.data:
            return offset
    raise ImportError(f"fastnet does not know where NumPy {np.__version__} keeps the address of an array's data.")
