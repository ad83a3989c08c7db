"""Calls kernels from Python. Those below the entry points have no wrapper for that, so a test makes them one."""

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import reference
from conftest import JIT_DISABLED
from numba import njit

from fastnet import SGD, Dense, Model
from fastnet.kernels.build.jit import OPTIONS


@cache
def from_python(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Return the kernel as a function that Python can call."""
    return kernel if JIT_DISABLED else njit(**OPTIONS)(kernel.py_func)


@cache
def part(factory: Callable[..., Any], *code: int) -> Callable[..., Any]:
    """Return a part (see `fastnet.kernels.build.parts`) as a function that Python can call."""
    function = factory("", *code)
    return function if JIT_DISABLED else njit(**OPTIONS)(function)


def make_model(
    units, activations, *, loss=None, l2=0.0, l1=0.0, dtype="float64", learning_rate=0.1, seed=0, scale=None,
    optimizer=None, use_bias=True,
):  # fmt: skip
    """Return a built model: `units` begins with the number of features. `scale` draws weights and biases anew."""
    layers = [Dense(n, g, use_bias=use_bias) for n, g in zip(units[1:], activations, strict=True)]
    model = Model(layers, loss=loss, optimizer=optimizer or SGD(learning_rate), l2=l2, l1=l1, dtype=dtype, seed=seed)
    model.build(units[0])
    if scale is not None:
        model.parameters[:] = np.random.default_rng(seed).standard_normal(model.parameters.size) * scale
    return model


def reference_parameters(model: Model) -> reference.Parameters:
    """Return copies of a model's parameters in float64, with the reference's keys."""
    parameters = {}
    for index, layer in enumerate(model.layers, start=1):
        parameters[f"W{index}"] = layer.W.astype(np.float64)
        parameters[f"b{index}"] = layer.b.astype(np.float64)
    return parameters


def random_data(m, n_x, n_outputs=1, seed=0):
    """Return X (m, n_x) and targets 0/1 (m, n_outputs), in numbers that float32 holds exactly."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n_x)).astype(np.float32).astype(np.float64)
    return X, (rng.random((m, n_outputs)) < 0.5).astype(np.float64)


def random_classes(m, n_classes, seed=0):
    """Return classes (m,) from 0 to n_classes - 1, and the same one-hot (m, n_classes)."""
    classes = np.random.default_rng(seed).integers(n_classes, size=m)
    return classes, np.eye(n_classes)[classes]


def raw_run(model, X, y, **settings):
    """Return an `engine.Run` over the data as `Model.fit` would make it, with the model's optimizer."""
    return model._run(model._data(X, y), **{"mode": model.optimizer, **settings})


def reference_optimizer(optimizer):
    """Return the reference's optimizer of the same kind and settings."""
    settings = {name: value for name, value in vars(optimizer).items() if name != "clip_norm"}
    return getattr(reference, type(optimizer).__name__)(**settings)


def start_only(startable, monkeypatch):
    """Let the system start so many threads and no more; return the list of those it starts."""
    start, started = threading.Thread.start, []

    def start_some(thread):
        if len(started) == startable:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    return started
