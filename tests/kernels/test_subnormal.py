"""Numbers below the smallest normal one: zero inside the kernels, on every thread, and outside what they ever were.

Many processors take a hundred times as long over them.
"""

import ctypes
import os
import platform
import re
import signal
import sys
import threading
from contextlib import contextmanager
from functools import cache

import llvmlite.binding as llvm
import numpy as np
import pytest
from bounds import DTYPES
from compiled import make_model, random_classes, random_data, raw_run

import fastnet
from fastnet import SGD, Adagrad, Adam, Huber, Quantile, RMSprop, TrainingDivergedError
from fastnet.engine import threads
from fastnet.engine.course import OptimizerState
from fastnet.kernels.build import machine

pytestmark = pytest.mark.jit
on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names a register of x86-64")

FLUSHING, UPWARD, TO_ZERO, SINGLE_FLAGS = 0x9FC0, 0x5F80, 0x7F80, 0x1FBF
"""Values of MXCSR: subnormal numbers are zero; rounding up; rounding towards zero; all exceptions have occurred."""


@pytest.fixture(autouse=True)
def a_machine_of_two_cores(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 2)


def subnormal(dtype):
    """Return some: the smallest and the largest, of both signs, and one between."""
    info = np.finfo(dtype)
    below = np.nextafter(info.tiny, info.dtype.type(0))
    return np.array([info.smallest_subnormal, -info.smallest_subnormal, below, -below, info.tiny / 2], dtype)


def strewn(array, seed=0):
    """Return a copy with subnormals at a third of its places, and one with zeros of their signs there."""
    found, rng = array.copy(), np.random.default_rng(seed)
    where = rng.random(array.shape) < 0.3
    found[where] = rng.choice(subnormal(array.dtype), where.sum())
    assert is_subnormal(found).sum() > 1
    return found, np.where(is_subnormal(found), np.copysign(0, found), found).astype(array.dtype)


def is_subnormal(array):
    return (array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)


# ------------------------------------------------------------------------------------------------- inside the kernels

NETS = {
    "Adam": ((5, 17, 9, 1), ("relu", "tanh", "sigmoid"), {"optimizer": Adam(0.01), "l2": 0.1}),
    "clipped": ((5, 17, 3), ("gelu", "softmax"), {"optimizer": RMSprop(0.01, clip_norm=0.5), "l1": 0.1}),
    "Huber": ((5, 8, 1), ("elu", "linear"), {"optimizer": Adagrad(0.01), "loss": Huber(0.3)}),
    "quantiles": ((5, 8, 1), ("tanh", "linear"), {"optimizer": SGD(0.1, 0.9), "loss": Quantile([0.8])}),
    "Nesterov": ((7, 33, 2), ("leaky_relu", "linear"), {"optimizer": SGD(0.1, 0.9, True), "l1": 0.2, "l2": 0.1}),
    "wide": ((2100, 3), ("softmax",), {"optimizer": SGD(0.01, 0.9)}),
    "wide, with panels": ((2100, 6, 1), ("selu", "sigmoid"), {"optimizer": Adam(0.01)}),
}

CLASSES = [name for name, (_, activations, _) in NETS.items() if activations[-1] == "softmax"]


def problem(name, dtype):
    units, activations, settings = NETS[name]
    model = make_model(units, activations, dtype=dtype, scale=0.1, **settings)
    X, y = random_data(150, units[0], units[-1])
    y = random_classes(150, units[-1])[0] if name in CLASSES else y.astype(dtype)
    return model, X.astype(dtype), y


def results(model, X, y, moments, n_threads):
    """Train; return all that comes of it, and the predictions by one row, by a few and by many at a time."""
    powers = np.ones(2)
    state = OptimizerState(moments.copy(), powers)
    settings = {"batch_size": 40, "epochs": 3, "key": 1, "shuffle": True, "state": state, "threads": n_threads}
    before = [model.forward(X[:n]) for n in (1, 5, 100)]
    with raw_run(model, X, y, **settings) as run:
        assert run.division.threads == n_threads
        while not run.done:
            run.advance()
        costs = run.costs.copy()
    gradients = [array for pair in model.gradients(X, y) for array in pair]
    found = [*before, costs, model.parameters, state.moments, powers, np.array(model.cost(X, y)), *gradients]
    return found + [model.forward(X[:n]) for n in (1, 5, 100)]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("where", ["data", "state"])
def test_subnormals_give_the_bits_of_zeros(where, name, dtype, n_threads):
    found = []
    for zeros in (False, True):
        model, X, y = problem(name, dtype)
        moments = np.random.default_rng(1).random(model.optimizer.n_moments * len(model.parameters)).astype(dtype)
        if where == "data":
            X = strewn(X)[zeros]
            y = y if name in CLASSES else np.abs(strewn(y)[zeros])
        else:
            model.parameters[:], moments = strewn(model.parameters)[zeros], np.abs(strewn(moments)[zeros])
        found.append(results(model, X, y, moments, n_threads))
    for with_subnormals, with_zeros in zip(*found, strict=True):  # zeros of their signs
        assert with_subnormals.tobytes() == with_zeros.tobytes()
        assert not is_subnormal(with_subnormals).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [(5, 3, 1), (40, 33, 1), (2100, 2, 1), (2100, 6, 1)])
def test_a_subnormal_is_zero_whatever_it_is_multiplied_by(units, dtype):
    """By what would make it a number like others: as an input, as a weight, as a gradient."""
    large = float(0.01 / np.finfo(dtype).tiny)
    for rows in (1, 5, 100):
        rng = np.random.default_rng(rows)
        tiny = rng.choice(subnormal(dtype), (rows, units[0]))
        model = make_model(units, ("relu", "linear"), dtype=dtype)
        W, b = model.layers[0].W, model.layers[0].b
        expected = model.forward(np.zeros_like(tiny))
        b[:] = 0.5
        (dW, _), _ = model.gradients(tiny, np.full(rows, 1e12))
        assert not dW.any()
        b[:] = 0
        W *= large
        np.testing.assert_array_equal(model.forward(tiny), expected)
        W[:] = rng.choice(subnormal(dtype), W.shape)
        np.testing.assert_array_equal(model.forward(np.full_like(tiny, large)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_becomes_subnormal_is_zero(dtype):
    """Weights that decay, moments of gradients that vanish, the square of a small gradient."""
    tiny = float(np.finfo(dtype).tiny)
    model = make_model((1, 1), ("linear",), dtype=dtype, optimizer=SGD(0.5), l2=1.0, use_bias=False)
    for weight, halved in ((3.0, 1.5), (2.0, 1.0), (1.5, 0.0), (-1.5, -0.0)):
        model.parameters[:] = weight * tiny
        model.step([[0.0]], [0.0])
        assert model.parameters.tobytes() == np.array(halved * tiny, dtype).tobytes()
    for g, square_is_there in ((16.0, True), (8.0, False)):  # 0.25 of whose square is, or is not, a normal number
        adam = Adam(0.5, beta1=0.5, beta2=0.75)
        model = make_model((1, 1), ("linear",), dtype=dtype, optimizer=adam, use_bias=False)
        model.parameters[:] = 0
        model.step([[1.0]], [g * np.sqrt(tiny / 32)])
        assert (model._optimizer_state.moments != 0).tolist() == [True, square_is_there]
        assert not is_subnormal(model._optimizer_state.moments).any()


# ------------------------------------------------------------------------------------------------ outside the kernels


@cache
def mxcsr():
    """Return two functions: that returns the thread's control word, and that sets it."""
    module = llvm.parse_assembly("""
        define i32 @get() {
            %place = alloca i32
            call void @llvm.x86.sse.stmxcsr(ptr %place)
            %word = load i32, ptr %place
            ret i32 %word
        }
        define void @set(i32 %word) {
            %place = alloca i32
            store i32 %word, ptr %place
            call void @llvm.x86.sse.ldmxcsr(ptr %place)
            ret void
        }
    """)
    engine = machine._engine(module)
    engine.finalize_object()
    get, set_ = (engine.get_function_address(name) for name in ("get", "set"))
    return ctypes.CFUNCTYPE(ctypes.c_uint32)(get), ctypes.CFUNCTYPE(None, ctypes.c_uint32)(set_)


@contextmanager
def control_word(word):
    """Let the thread have that control word for a while; it must be there at the end, flags of exceptions apart."""
    get, set_ = mxcsr()
    before = get()
    set_(word)
    try:
        yield
        after = get()
    finally:
        set_(before)
    assert after & ~0x3F == word & ~0x3F


def halves_are_subnormal():
    """Return whether this thread's arithmetic in NumPy still knows subnormal numbers."""
    tiny = [np.full(20, np.finfo(dtype).tiny) for dtype in DTYPES]
    return all(is_subnormal(numbers / 2).all() and (numbers / 2 * 2 == numbers).all() for numbers in tiny)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_caller_s_arithmetic_is_its_own(n_threads):
    """After a fit and in its callbacks, after a prediction, an error, a divergence."""
    seen = []
    model, X, y = problem("Adam", "float32")
    validation = X[:30], y[:30]
    model.fit(
        X, y, epochs=3, threads=n_threads, validation_data=validation, metrics=["mse"],
        callbacks=[lambda *_: seen.append(halves_are_subnormal())],
    )  # fmt: skip
    seen.append(halves_are_subnormal())
    for rows in (1, 5, 100, 150_000):
        model.forward(np.resize(X, (rows, X.shape[1])))
        seen.append(halves_are_subnormal())
    with pytest.raises(ValueError, match="non-finite"):
        model.forward(np.full_like(X, np.nan))
    seen.append(halves_are_subnormal())
    model.optimizer = Adam(1e38)
    with pytest.raises(TrainingDivergedError):
        model.fit(X, y, epochs=100, threads=n_threads)
    seen.append(halves_are_subnormal())
    assert all(seen), seen
    assert len(seen) == 10


def test_the_arithmetic_of_a_thread_beside_a_fit_is_its_own():
    model, X, y = problem("Adam", "float32")
    model.fit(X, y, epochs=1)
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            seen.append(halves_are_subnormal())

    beside = threading.Thread(target=look)
    beside.start()
    try:
        model.fit(X, y, epochs=300, batch_size=None, threads=2, verbose=False)
    finally:
        stop.set()
        beside.join()
    assert seen
    assert all(seen)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to itself")
def test_the_caller_s_arithmetic_is_its_own_after_ctrl_c():
    model, X, y = problem("Adam", "float32")

    def interrupt(model, epoch, logs):
        if epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes its background ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y, epochs=10**6, callbacks=[interrupt])
    finally:
        signal.signal(signal.SIGINT, before)
    assert halves_are_subnormal()


@on_x86
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_caller_s_control_word_changes_nothing(dtype, n_threads):
    """Other libraries set it, for their thread and those that it starts."""
    found = []
    for word in (0x1F80, FLUSHING, UPWARD, TO_ZERO, SINGLE_FLAGS):
        model, X, y = problem("Adam", dtype)
        out = np.empty((len(X), 1), dtype)
        model.forward(X[:1]), model.forward(X)  # makes what they need
        with raw_run(model, strewn(X)[0], y, batch_size=40, epochs=5, threads=n_threads) as run:
            run._set_rates(5)
            with control_word(word):
                run.work(10**6)
            assert run.done
            costs = run.costs.copy()
        with control_word(word):
            for n in (1, 5, len(X)):
                model.forward(X[:n], out=out[:n])
        found.append(model.parameters.tobytes() + costs.tobytes() + out.tobytes())
    assert len(set(found)) == 1


@on_x86
def test_every_way_out_restores_the_control_word():
    """Also where a kernel raises: here one that reaches outside its array, as with bounds checks."""
    module = llvm.parse_assembly("define i32 @kernel(ptr %result, ptr %error, i64 %status) {\n"
        " %short = trunc i64 %status to i32\n ret i32 %short\n}")  # fmt: skip
    engine = machine._engine(module)
    engine.finalize_object()
    call = machine.bound(engine.get_function_address("kernel"), "i", ())
    for word in (0x1F80, FLUSHING, UPWARD):
        with control_word(word):
            assert call(0) == call(-2) == 0
        with control_word(word), pytest.raises(IndexError, match="outside its array"):
            call(1)


def test_settings_that_are_subnormal_are_refused():
    """The kernels would take them for zero, and divide zero by it, where a gradient is zero."""
    for make in (lambda: Adam(epsilon=1e-40), lambda: SGD(1e-40), lambda: RMSprop(epsilon=1e-39)):
        with pytest.raises(ValueError, match="must be in the range of float32"):
            make_model((1, 1), ("linear",), dtype="float32", optimizer=make())
        make_model((1, 1), ("linear",), dtype="float64", optimizer=make())
    with pytest.raises(ValueError, match="slope must be in the range of float32, but 1e-39 is subnormal there"):
        make_model((1, 1), (fastnet.LeakyReLU(1e-39),), dtype="float32", loss="mean_squared_error")
    with pytest.raises(ValueError, match="delta must be in the range of float32"):
        make_model((1, 1), ("linear",), loss=Huber(1e-39), dtype="float32")


def test_the_control_word_of_aarch64_is_set_too():
    """What LLVM makes of it, since no such processor is at hand."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this LLVM knows no AArch64")
    control = machine.CONTROLS["aarch64"]
    module = llvm.parse_assembly(f"""
        target triple = "aarch64-unknown-linux-gnu"
        define void @enter_and_leave(ptr %kernel) {{
            {control.enter}
            call void %kernel()
            {control.leave}
            ret void
        }}
    """)
    assembly = target.create_target_machine().emit_assembly(module)
    found = re.findall(r"(mrs)\s+(\w+), FPCR|(msr)\s+FPCR, (\w+)|(blr)", assembly)
    kept, ours, put_back = (found[i][1] or found[i][3] for i in (0, 1, 3))
    assert ["".join((read, write, call)) for read, _, write, _, call in found] == ["mrs", "msr", "blr", "msr"]
    assert kept == put_back != ours
    assert re.search(rf"mov\s+w{ours[1:]}, #{1 << 24}\n", assembly)
