"""Every public name has an example in its docstring, which runs and prints what stands there."""

import doctest
import inspect
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import fastnet
from fastnet import streams
from fastnet.engine import threads

NEEDS = {
    "fastnet.Model.to_onnx": "onnx",
    "TableClassifier.to_onnx": "onnx",
    "fastnet.Model.to_torch": "torch",
    "fastnet.Model.from_torch": "torch",
    "fastnet.sklearn.register_onnx": "skl2onnx",
    "fastnet.Pruning": "optuna",
    "fastnet.streams.FrameStream": "pandas",
    "fastnet.streams.ParquetStream": "pyarrow",
}
"""What else an example imports, which may be missing; those of `fastnet.plot` need matplotlib."""


def functions_of(owner: Any, module: str) -> Iterator[tuple[str, Any]]:
    """Yield the public functions of a class or module that are written in that module, by name."""
    for name, value in vars(owner).items():
        function = getattr(value, "__func__", value)  # of a class method
        if not name.startswith("_") and inspect.isfunction(function) and function.__module__ == module:
            yield name, function


def public_names() -> dict[str, Any]:
    """Return what must have an example."""
    found = {f"fastnet.{name}": getattr(fastnet, name) for name in fastnet.__all__ if name != "__version__"}
    found |= {f"fastnet.Model.{name}": method for name, method in functions_of(fastnet.Model, "fastnet.model")}
    for module in (fastnet.metrics, fastnet.plot):
        found |= {f"{module.__name__}.{name}": each for name, each in functions_of(module, module.__name__)}
    found |= {f"fastnet.streams.{name}": getattr(streams, name) for name in streams.__all__}
    if find_spec("sklearn"):
        from fastnet import sklearn, tables

        found |= {f"fastnet.tables.{name}": getattr(tables, name) for name in tables.__all__}
        shared = tables.TableClassifier.__mro__[2]
        found |= {f"TableClassifier.{name}": each for name, each in functions_of(shared, shared.__module__)}
        found |= {f"fastnet.sklearn.{name}": getattr(sklearn, name) for name in sklearn.__all__}
    return found


PUBLIC = public_names()


@pytest.fixture
def surroundings(monkeypatch, tmp_path) -> Iterator[dict[str, Any]]:
    """Yield what an example may use without more ado; its files, settings and figures are gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(threads, "_limit", threads._limit)
    X = np.random.default_rng(0).standard_normal((100, 2))
    y = (X[:, 0] > X[:, 1]).astype(int)
    yield {"np": np, "fastnet": fastnet, **{name: getattr(fastnet, name) for name in fastnet.__all__}, "X": X, "y": y}
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.jit
@pytest.mark.parametrize("name", PUBLIC)
def test_it_has_an_example_that_prints_what_it_says(name, surroundings):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    if name.startswith("fastnet.plot."):
        pytest.importorskip("matplotlib").use("Agg")
    finder = doctest.DocTestFinder(recurse=False, exclude_empty=False)
    [test] = finder.find(PUBLIC[name], name, globs=surroundings)
    assert test.examples, f"{name} has no example: write one, as the others have it"
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert not report, "".join(report)
