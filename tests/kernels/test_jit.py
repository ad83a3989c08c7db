"""Compilation: what import loads, and what a first fit compiles."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnet import SGD, Adam, Dense, Dropout, LeakyReLU, Model, warmup
from fastnet.engine import threads
from fastnet.kernels.build import load

ROOT = Path(__file__).parent.parent.parent


def run_python(code, *, returns=0, **environment):
    command = [sys.executable, "-P", "-c", code]  # -P: what is in the current folder does not count
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == returns, process.stderr
    return process.stdout


def test_importing_fastnet_loads_neither_numba_nor_anything_optional():
    loaded = run_python("import sys, fastnet; print(*sys.modules)").split()
    assert not {"numba", "llvmlite", "sklearn", "scipy", "matplotlib", "pandas"} & set(loaded)
    assert "numpy" in loaded


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_reference_imports_nothing_of_fastnet():
    assert set(imported_modules(ROOT / "tests" / "reference.py")) == {
        "collections.abc.Callable",
        "itertools",
        "math",
        "numpy",
    }


@pytest.mark.jit
def test_a_first_fit_compiles_what_its_network_adds_and_says_how_long(monkeypatch):
    monkeypatch.setattr(load, "_addresses", {})

    def fit(*layers, data=None, **settings):
        model, data = Model(layers, seed=0, **settings), {"X": [[0.0], [1.0]], **(data or {})}
        return model.fit(y=[0, 1], epochs=1, verbose=False, **data).compile_seconds

    def everything(*layers, **settings):
        data = {"metrics": ["mse"], "sample_weight": [1, 2], "validation_data": ([[0.5]], [1])}
        return fit(*layers, data=data, l1=0.1, l2=0.1, **settings)

    assert fit(Dense(1, "sigmoid")) > 0
    assert fit(Dense(1, "sigmoid")) == 0
    assert fit(Dense(3, "sigmoid"), Dense(1, "sigmoid")) > 0  # now as a hidden layer, by itself
    assert fit(Dense(3, "sigmoid"), Dense(2, "sigmoid"), Dense(1, "sigmoid")) > 0  # an input gradient by a product
    assert fit(Dense(4, "sigmoid"), Dense(3, "sigmoid"), Dense(2, "sigmoid"), Dense(1, "sigmoid")) == 0
    assert fit(Dense(3, "sigmoid"), Dense(1)) > 0  # another loss
    assert fit(Dense(3, "sigmoid"), Dense(1), optimizer=Adam()) > 0
    assert fit(Dense(3, "relu"), Dense(1)) > 0
    assert fit(Dense(3, "leaky_relu"), Dense(1)) > 0
    assert fit(Dense(3, LeakyReLU(0.2)), Dense(1)) == 0  # a slope is data
    wide = {"X": np.zeros((2, 2048))}
    assert fit(Dense(1), data=wide) > 0
    assert fit(Dense(1), data=wide) == 0
    assert fit(Dense(1), data=wide | {"batch_size": None}) == 0
    assert fit(Dense(17_000, "relu"), Dense(1)) > 0  # a large network
    assert fit(Dense(17_000, "relu"), Dense(1)) == 0
    for settings in ({"l2": 0.1}, {"l1": 0.1}, {"data": {"metrics": ["mse"]}}, {"data": {"sample_weight": [1, 2]}}):
        assert fit(Dense(1), **settings) > 0
        assert fit(Dense(1), **settings) == 0
    monkeypatch.setattr(load, "_addresses", {})
    warmup()
    for optimizer in (SGD(), Adam()):
        for last in (Dense(1), Dense(1, "sigmoid"), Dense(2, "softmax"), Dense(1, "tanh")):
            loss = "mean_squared_error" if last.activation == "tanh" else None
            assert fit(Dense(3, "leaky_relu"), Dense(3, "gelu"), last, optimizer=optimizer, loss=loss) == 0
    assert fit(Dense(17_000, "relu"), Dense(1)) == 0
    assert fit(Dense(1), data=wide) == 0
    assert fit(Dense(1, "tanh"), data=wide, optimizer=Adam(), loss="mean_squared_error", l1=0.1) == 0
    for hidden in ("leaky_relu", "softplus"):
        assert everything(Dense(3, hidden), Dropout(0.5), Dense(1), optimizer=SGD(clip_norm=1.0)) == 0


def test_cores_are_given_back_when_preparing_a_run_is_interrupted(monkeypatch):
    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    model = Model([Dense(1)], seed=0)
    model.build(1)
    monkeypatch.setattr("fastnet.engine.run.link_for_training", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        model.cost([[1.0]], [1.0])
    assert caught.value is not None  # whose traceback keeps the run alive
    assert not threads._reserved
