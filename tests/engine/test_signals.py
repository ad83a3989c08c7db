"""What a signal's handler raises comes out of the call, at whatever moment, and leaves a model that goes on."""

import _thread
import copy
import gc
import os
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from compiled import random_data, threads_left

from fastnet import Adam, Checkpoint, Dense, Model
from fastnet.engine import memory, threads
from fastnet.engine.threads import Helpers

X, Y = (array.astype(np.float32) for array in random_data(150, 5))


class HandlerError(Exception):
    """What a handler raises."""


class Bell:
    """Rings by a signal, whose handler raises: a function, a method, a partial function or an object."""

    def __init__(self, kind, error):
        self.error = error
        handler = {
            "function": lambda number, frame: self.raise_error(number, frame),
            "method": self.raise_error,
            "partial": partial(self.raise_error),
            "object": self,
        }[kind]
        self.before = signal.signal(signal.SIGINT, handler)

    def raise_error(self, number, frame):
        raise self.error("of a handler")

    def __call__(self, number, frame):
        self.raise_error(number, frame)

    def ring(self, *arguments, **settings):
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def bell(request):
    bell = Bell(*getattr(request, "param", ("function", HandlerError)))
    yield bell
    signal.signal(signal.SIGINT, bell.before)


@pytest.fixture(autouse=True)
def a_machine_of_two_cores(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 2)


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = _thread._count()
    yield
    assert not threads._reserved
    assert not threads_left(before)


def unbuilt():
    return Model([Dense(7, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.01), seed=0)


def fit(model, **settings):
    return model.fit(X, Y, **{"epochs": 2, "batch_size": 40, "threads": 2, "verbose": False} | settings)


def fit_watched(model):
    fit(model, validation_data=(X[:40], Y[:40]), metrics="mse", callbacks=lambda *_: None)


CALLS = {
    "fit": fit,
    "fit, watched": fit_watched,
    "step": lambda model: model.step(X, Y),
    "build": lambda model: model.build(5),
    "cost": lambda model: model.cost(X, Y),
    "gradients": lambda model: model.gradients(X, Y),
    "diagnose": lambda model: model.diagnose(X, Y),
    "forward": lambda model: model.forward(X),
}


def moments_of(call, bell, ringing_at=0):
    """Return how many moments there are in a call at which Python looks for signals; ring at that one.

    Those are the beginnings of functions and the ends of builtin ones; and of turns of loops, which are not counted.
    """
    moments, seen = count(1), 0

    def look(frame, event, argument):
        nonlocal seen
        # A generator that is closed before its end looks like one that is called.
        if event in ("call", "c_return") and frame.f_code.co_name != "<genexpr>":
            seen = next(moments)
            if seen == ringing_at:
                bell.ring()

    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


def assert_goes_on(model):
    """Assert that a model trains as a copy of it does."""
    twin = copy.deepcopy(model)
    history, of_twin = fit(model), fit(twin, threads=1)
    assert history.cost == of_twin.cost
    assert np.isfinite(model.parameters).all()
    np.testing.assert_array_equal(model.parameters, twin.parameters)


def assert_kept_once():
    """Assert that no two runs to come would work in the same memory."""
    for index, piece in enumerate(memory._kept):
        assert not any(np.may_share_memory(piece, other) for other in memory._kept[:index])


@pytest.mark.jit
@pytest.mark.parametrize(
    ("name", "is_built"), [*((name, True) for name in CALLS), ("fit", False), ("step", False), ("build", False)]
)
def test_a_model_goes_on_whenever_a_handler_raises(name, is_built, bell):
    """At some of the moments, and at the first and the last fifty, when things are taken and given back."""
    call, built, before = CALLS[name], unbuilt(), _thread._count()
    fit(built)
    call(built)
    last = moments_of(lambda: call(built if is_built else unbuilt()), bell)
    assert last > 50
    for number, moment in enumerate(sorted({*range(1, 50), *range(50, last, 29), *range(max(1, last - 50), last)})):
        model = built if is_built else unbuilt()
        with suppress(HandlerError):
            seen = moments_of(lambda model=model: call(model), bell, ringing_at=moment)
            assert seen < moment, "what was raised is lost"
        assert not model._training.busy, moment
        if threads._reserved:  # by a run that only the garbage collector finds
            gc.collect()
        assert not threads._reserved, moment
        assert not threads_left(before), moment
        assert_kept_once()
        if number % 10 == 0 or not is_built:
            assert_goes_on(model)


def test_helpers_that_nobody_holds_end():
    stopped, before = threading.Event(), _thread._count()
    helpers = Helpers(3, lambda member: stopped.wait(60), stopped.set)
    assert helpers.start()
    assert not stopped.is_set()
    del helpers
    assert stopped.is_set()
    assert not threads_left(before)


# ------------------------------------------------------------------------------- where other errors are dealt with


@pytest.mark.parametrize(
    "bell",
    [(kind, RuntimeError) for kind in ("function", "method", "partial", "object")]
    + [("function", error) for error in (TimeoutError, HandlerError, KeyboardInterrupt)],
    indirect=True,
)
@pytest.mark.parametrize("has_started", [False, True])
def test_what_a_handler_raises_while_a_thread_starts_is_no_refusal(has_started, bell, monkeypatch):
    start, model = threads.start_new_thread, unbuilt()
    fit(model)

    def start_and_ring(*arguments):
        if has_started:
            start(*arguments)
        bell.ring()

    with monkeypatch.context() as patch:
        patch.setattr(threads, "start_new_thread", start_and_ring)
        with pytest.raises(bell.error, match="of a handler"):
            fit(model)
    assert_goes_on(model)


TIMEOUT = pytest.mark.parametrize("bell", [("function", TimeoutError)], indirect=True)


@TIMEOUT
def test_nor_is_a_timeout_a_lack_of_memory(bell, monkeypatch):
    monkeypatch.setattr(memory, "in_huge_pages", bell.ring)
    if hasattr(memory.mmap, "MADV_HUGEPAGE"):
        with pytest.raises(bell.error, match="of a handler"):
            memory.aligned_zeros(memory.LARGE, np.dtype(np.uint8))


@TIMEOUT
def test_nor_a_failure_of_the_disk(bell, tmp_path, monkeypatch):
    model = unbuilt()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", bell.ring)
        with pytest.raises(bell.error, match="of a handler"):
            fit(model, callbacks=Checkpoint(tmp_path, most_time=1.0))
    assert not list(tmp_path.iterdir())
    assert_goes_on(model)


@TIMEOUT
def test_nor_one_of_the_screen(bell, monkeypatch):
    model = unbuilt()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=bell.ring, isatty=lambda: True))
    with pytest.raises(bell.error, match="of a handler"):
        fit(model, verbose=True)
    assert_goes_on(model)


@TIMEOUT
def test_nor_one_of_the_data(bell):
    class Slow(float):
        def __float__(self):
            bell.ring()

    class SlowRows:
        def __array__(self, *arguments, **settings):
            bell.ring()

    for given in (SlowRows(), np.array([[Slow()] * 5], object)):
        with pytest.raises(bell.error, match="of a handler"):
            unbuilt().fit(given, Y[:1])
