"""The table of parts: each line agrees with what it names, and who calls by address with all that may stand there."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
from bounds import DTYPES
from conftest import JIT_DISABLED
from numba import njit, types

from fastnet.kernels.build import load
from fastnet.kernels.build.callers import argument_types, caller
from fastnet.kernels.build.jit import OPTIONS
from fastnet.kernels.build.load import address_of, is_loaded
from fastnet.kernels.build.parts import NONE, PARTS, function_of
from fastnet.kernels.link import every_part

KERNELS = Path(load.__file__).parent.parent


@pytest.mark.parametrize(("name", "code"), every_part())
def test_the_table_names_the_arguments_of_each_function_in_their_order(name, code):
    assert list(inspect.signature(function_of(name, *code)).parameters) == PARTS[name].arguments.split()


@pytest.mark.parametrize("name", PARTS)
def test_each_argument_has_a_type(name):
    T = types.float32
    kinds = argument_types(PARTS[name].arguments, T)
    for argument, kind in zip(PARTS[name].arguments.split(), kinds, strict=True):
        if argument in ("network", "layers", "job", "progress"):
            assert isinstance(kind.dtype, types.Record)
        elif argument in ("S", "parameters", "gradient", "moments"):
            assert kind == types.Array(T, 1, "C")
        elif argument in ("l", "m", "first", "stop", "thread", "head", "a", "block", "ld"):
            assert kind == types.int64


def test_every_caller_is_of_a_part():
    source = ast.parse((KERNELS / "build" / "callers.py").read_text())
    called = {
        argument.value
        for call in ast.walk(source)
        if isinstance(call, ast.Call) and any(getattr(f, "id", "") == "caller" for f in (call.func, *call.args[:1]))
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }
    mapped = {"forward", "backward", "gradients", "steps"}
    assert called | mapped <= set(PARTS)
    assert len(called) > 10


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_part_is_loaded_once(dtype, monkeypatch):
    monkeypatch.setattr(load, "_addresses", {})
    found = np.dtype(dtype)
    assert not is_loaded("signs", found)
    before = load.counts.total()
    address = address_of("signs", found)
    assert is_loaded("signs", found)
    assert address_of("signs", found) == address
    assert load.counts.total() == before + (not JIT_DISABLED)


call_signs = caller("signs")


def add_signs_by_address(address, p, dp):
    call_signs(address, 0.5, 0, p.shape[0], 0, p, dp)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_stands_at_an_address_is_called(dtype):
    call = add_signs_by_address if JIT_DISABLED else njit(**OPTIONS)(add_signs_by_address)
    p, dp = np.array([3, -2, 0], dtype), np.zeros(3, dtype)
    address = address_of("signs", np.dtype(dtype))
    assert address == address_of("signs", np.dtype(dtype)) != NONE
    call(address, p, dp)
    np.testing.assert_array_equal(dp, [0.5, -0.5, 0])


@pytest.mark.jit
def test_an_error_at_an_address_comes_through():
    """As that of a bounds check does; here one that is always there."""

    def raise_error(strength, start, stop, at, parameters, gradient):
        raise ValueError("of a part")

    made = njit(argument_types(PARTS["signs"].arguments, types.float32), **OPTIONS)(raise_error)
    (overload,) = made.overloads.values()
    address = overload.library.get_pointer_to_function(overload.fndesc.llvm_func_name)
    p = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="of a part"):
        njit(**OPTIONS)(add_signs_by_address)(address, p, p)
