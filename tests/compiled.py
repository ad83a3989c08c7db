"""Calls kernels from Python. Those below the entry points have no wrapper for that, so a test makes them one."""

import _thread
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import reference
from bounds import Guarded
from conftest import JIT_DISABLED
from numba import njit

from fastnet import SGD, Dense, Model, Standardize
from fastnet.engine import threads
from fastnet.kernels.build.jit import OPTIONS, VECTOR_BYTES
from fastnet.kernels.build.load import address_of, by_name
from fastnet.kernels.build.parts import function_of
from fastnet.kernels.plan import LANES, PADDING, PANEL, make_plan, padded


@cache
def from_python(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Return the kernel as a function that Python can call."""
    return kernel if JIT_DISABLED else njit(**OPTIONS)(kernel.py_func)


def lanes_of(dtype):
    """Return how many numbers a vector register holds."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


@cache
def part(name: str, *code: int) -> Callable[..., Any]:
    """Return a part, by its name in `PARTS` and its code, as a function that Python can call."""
    function = function_of(name, *code)
    return function if JIT_DISABLED else njit(**OPTIONS)(function)


class Chunk:
    """The records of a network, and guarded memory S for a chunk of m examples: NaN until something is put there.

    `S.inside` is what the offsets of the records count in. Where a layout is asked for that networks of that size do
    not have, its place is added at the end: `panels` gives each input of a layer an AT, `by_rows` makes the input that
    of a wide one.
    """

    def __init__(self, units, m, dtype, *, use_bias=True, backward=True, panels=False, by_rows=False, **settings):
        plan = make_plan(units, [use_bias] * (len(units) - 1), examples=m, backward=backward, **settings)
        self.m, self.dtype, size, record = m, np.dtype(dtype), plan.n_scratch, plan.layers[0]
        ld = min(LANES, padded(m))
        if by_rows:
            record["lanes"], record["ld"], record["block"] = 1, 1, padded(units[0]) + PADDING
            record["A"], size = size, size + int(record["block"]) * padded(m)
            plan.layers[1]["dW"], size = size, size + units[1] * int(record["block"])
        for layer in plan.layers[:-1] if panels else ():
            layer["panel"] = -(-m // ld) * ld * PANEL
            layer["AT"], size = size, size + int(layer["panel"]) * -(-int(layer["units"]) // PANEL)
        self.network, self.layers, self.n_parameters = by_name(plan.network), by_name(plan.layers), plan.n_parameters
        self.S, self.filled = Guarded(size, dtype), []

    def place(self, l, field, n=None, m=None, first=0):
        """Return where rows 0 to n (all units) of examples first to m (all) lie in S: (n, m - first) indices."""
        layer = self.layers[l]
        u = np.arange(layer["units"] if n is None else n)[:, None]
        e = np.arange(first, self.m if m is None else m)
        start = self.network[0][field] if field in ("Y", "terms") else layer[field]
        return start + e // layer["lanes"] * layer["block"] + u * layer["ld"] + e % layer["lanes"]

    def place_in_panels(self, l, n=None, m=None, first=0):
        """Return where those units of those examples lie in AT."""
        layer = self.layers[l]
        u, e = np.arange(layer["units"] if n is None else n)[:, None], np.arange(first, self.m if m is None else m)
        return layer["AT"] + u // PANEL * layer["panel"] + e * PANEL + u % PANEL

    def put(self, l, field, matrix):
        """Fill what belongs to the first examples: A (n_l, m), or the like; or AT, from A."""
        m = matrix.shape[1]
        where = self.place_in_panels(l, m=m) if field == "AT" else self.place(l, field, len(matrix), m)
        self.S.inside[where] = matrix
        self.filled.append((where, matrix))

    def get(self, l, field, **which):
        """Return A (n_l, m), or the like, of the examples that `place` means."""
        return self.S.inside[self.place_in_panels(l, **which) if field == "AT" else self.place(l, field, **which)]

    def assert_untouched(self, *but):
        """Assert that S holds what was put there, NaN elsewhere, but for those indices; and that nothing is outside."""
        expected = np.full_like(self.S.inside, np.nan)
        for where, matrix in self.filled:
            expected[where] = matrix
        for indices in but:
            expected[indices] = self.S.inside[indices]
        np.testing.assert_array_equal(self.S.inside, expected)
        self.S.assert_guards()


def link(chunk, l, **parts):
    """Write addresses of parts to the record of layer l, or of the network (None): field = name, or (name, code)."""
    for field, name in parts.items():
        name, *code = (name,) if isinstance(name, str) else name
        record = chunk.network[0] if l is None else chunk.layers[l]
        record[field] = address_of(name, chunk.dtype, *code)


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


def dense(model: Model) -> list[Dense]:
    """Return the layers of a model that have parameters."""
    return [layer for layer in model.layers if isinstance(layer, Dense)]


def reference_parameters(model: Model) -> reference.Parameters:
    """Return copies of a model's parameters in float64, with the reference's keys."""
    parameters = {}
    for index, layer in enumerate(dense(model), start=1):
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


def assert_equal_training(
    model, units, activations, X, y, *, epochs, batch_size, orders=None, l2=0.0, rtol=1e-9, optimizer=None, threads=None
):  # fmt: skip
    """Train both, and compare the cost of every epoch and then every parameter."""
    parameters = reference_parameters(model)
    m, optimizer = len(X), optimizer or reference_optimizer(model.optimizer)
    costs = []
    for epoch in range(epochs):
        order = None if orders is None else orders[epoch]
        costs.append(
            reference.train_epoch(
                X.T, y.T, parameters, activations, model.loss, optimizer,
                batch_size=batch_size or m, order=order, l2=l2,
            )
        )  # fmt: skip
    history = model.fit(X, y, epochs=epochs, batch_size=batch_size, shuffle=orders is not None, threads=threads)
    np.testing.assert_allclose(history.cost, costs, rtol=rtol)
    for index, layer in enumerate(dense(model), start=1):
        for ours, theirs in ((layer.W, parameters[f"W{index}"]), (layer.b, parameters[f"b{index}"])):
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


def threads_left(before):
    """Return how many more threads Python has than before, once those that are about to end have ended."""
    patience = time.monotonic() + 5
    while _thread._count() > before and time.monotonic() < patience:
        time.sleep(0.001)
    return _thread._count() - before


def start_only(startable, monkeypatch):
    """Let the system start so many helpers and no more; return the list of the members it starts."""
    start, started = threads.start_new_thread, []

    def start_some(function, arguments):
        if len(started) == startable:
            raise RuntimeError("can't start new thread")
        started.append(arguments[0])
        start(function, arguments)

    monkeypatch.setattr(threads, "start_new_thread", start_some)
    return started


def standardizing(dtype, outputs=2, standardize_y=True):
    """Return a trained model that standardizes X and, if asked, y; and examples, (70, 5), in that dtype."""
    rng = np.random.default_rng(5)
    X = np.array([1900.0, -3e5, 0.02, 7.0, 5.0]) + [20.0, 7e4, 1e-4, 1.0, 0.0] * rng.standard_normal((70, 5))
    y = X[:, 3:4] * np.linspace(100, 300, outputs) + 1000
    layers = [Standardize(), Dense(7, "tanh"), Dense(outputs)]
    model = Model(layers, dtype=dtype, seed=0, standardize_y=standardize_y)
    model.fit(X, y if standardize_y else y / 1000, epochs=2, verbose=False)
    return model, X.astype(dtype)
