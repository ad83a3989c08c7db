"""Compilation: what import loads, when the cache is used, and when it must not be."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core import config

from fastnet import SGD, Adam, Dense, Dropout, LeakyReLU, Model, warmup
from fastnet.engine import threads
from fastnet.kernels.build import jit, parts

ROOT = Path(__file__).parent.parent.parent

PREDICT = """
from fastnet import Dense, Model
from fastnet.kernels.build import parts
model = Model([Dense(1, "selu")], loss="mean_squared_error")
model.build(1)
model.layers[0].W = [[1.0]]
value = model.forward([[1.0]])[0, 0]
hits, misses = (sum(sum(getattr(made.stats, name).values()) for made in parts._made.values())
                for name in ("cache_hits", "cache_misses"))
print(round(float(value), 4), hits, misses)
"""
PARTS_OF_IT = (
    "7"  # the entry point, the forward pass, the activation, and for rows and for blocks: loading, the product
)

KILLED = """
import os
from numba.core.caching import IndexDataCacheFile
IndexDataCacheFile._save_data = lambda *arguments: os._exit(7)
"""
"""Ends the process where numba has written an index, and not yet the code that it names."""


def run_python(code, *, returns=0, **environment):
    command = [sys.executable, "-P", "-c", code]  # -P: what is in the current folder does not count
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == returns, process.stderr
    return process.stdout


@pytest.fixture
def package(tmp_path):
    """Copy the package, to be edited; return its folder, and the environment that uses it and a cache of its own."""
    shutil.copytree(ROOT / "fastnet", tmp_path / "fastnet", ignore=shutil.ignore_patterns("__pycache__"))
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_BOUNDSCHECK": "0"}
    return tmp_path, {"PYTHONPATH": str(tmp_path), **cache}


def edit_selu(folder, value="0.5"):
    """Make the activation another one."""
    helper = folder / "fastnet" / "kernels" / "activations.py"
    before = helper.read_text()
    helper.write_text(before.replace("SELU_SCALE = 1.0507009873554805", f"SELU_SCALE = {value}"))
    assert helper.read_text() != before


def cached_files(folder, ending="nb?"):
    return {path.name for path in (folder / "cache").rglob(f"*.{ending}")}


@pytest.mark.jit
def test_the_cache_is_used_and_notices_an_edited_helper(package):
    folder, places = package
    assert run_python(PREDICT, **places).split() == ["1.0507", "0", PARTS_OF_IT]
    assert run_python(PREDICT, **places).split() == ["1.0507", PARTS_OF_IT, "0"]
    edit_selu(folder)
    assert run_python(PREDICT, **places).split() == ["0.5", "0", PARTS_OF_IT]
    # Bounds-checked code is other code: it must neither be served from, nor go to, the plain part or its index file,
    # which a process that compiles for something else, another CPU say, could be writing at the same time.
    assert run_python(PREDICT, **places | {"NUMBA_BOUNDSCHECK": "1"}).split() == ["0.5", "0", PARTS_OF_IT]
    assert len(cached_files(folder, "nbi")) == 2 * int(PARTS_OF_IT)
    assert run_python(PREDICT, **places).split() == ["0.5", PARTS_OF_IT, "0"]


@pytest.mark.jit
@pytest.mark.parametrize("file", ["plan.py", "ir/tiles.py"])
def test_no_file_of_another_version_is_used_again_or_stays(file, package):
    folder, places = package
    run_python(PREDICT, **places)
    before = cached_files(folder)
    assert len(before) == 2 * int(PARTS_OF_IT)
    edited = folder / "fastnet" / "kernels" / file
    edited.write_text(edited.read_text() + "# another version\n")
    assert run_python(PREDICT, **places).split() == ["1.0507", "0", PARTS_OF_IT]
    after = cached_files(folder)
    assert len(after) == len(before)
    assert not after & before


@pytest.mark.jit
def test_a_process_that_was_killed_while_it_wrote_leaves_no_code_of_another_version(package):
    folder, places = package
    run_python(PREDICT, **places)
    edit_selu(folder)
    run_python(KILLED + PREDICT, **places, returns=7)
    assert run_python(PREDICT, **places).split() == ["0.5", "0", PARTS_OF_IT]
    assert run_python(PREDICT, **places).split() == ["0.5", PARTS_OF_IT, "0"]


@pytest.mark.jit
def test_an_index_without_its_data_compiles_anew(package):
    folder, places = package
    run_python(PREDICT, **places)
    for path in (folder / "cache").rglob("*.activate_*.nbc"):
        path.unlink()
    assert run_python(PREDICT, **places).split()[::2] == ["1.0507", "1"]
    assert run_python(PREDICT, **places).split() == ["1.0507", PARTS_OF_IT, "0"]


SETTINGS_OF_THE_COMPILER = [("OPT", "1"), ("OPT", "max"), ("LOOP_VECTORIZE", "0"), ("SLP_VECTORIZE", "1")]


@pytest.mark.jit
def test_settings_of_the_compiler_are_a_part_of_the_names_of_files(package):
    folder, places = package
    for setting in ({"NUMBA_OPT": "3"}, {"NUMBA_OPT": "1", "NUMBA_LOOP_VECTORIZE": "0"}):
        before = cached_files(folder)
        assert run_python(PREDICT, **places | setting).split() == ["1.0507", "0", PARTS_OF_IT]
        assert len(cached_files(folder) - before) == 2 * int(PARTS_OF_IT)
        assert before <= cached_files(folder)


@pytest.mark.parametrize(("name", "value"), [*SETTINGS_OF_THE_COMPILER, ("BOUNDSCHECK", 1)])
def test_another_setting_of_the_compiler_is_another_target(name, value, monkeypatch):
    plain = {"OPT": 3, "LOOP_VECTORIZE": 1, "SLP_VECTORIZE": 0, "BOUNDSCHECK": None}
    for setting, usual in plain.items():
        monkeypatch.setattr(config, setting, usual)
    before = jit.target_digest()
    assert jit.target_digest() == before
    monkeypatch.setattr(config, name, value)
    assert jit.target_digest() != before


@pytest.mark.jit
@pytest.mark.parametrize("error", [RuntimeError("cannot cache function: no locator available"), OSError("no room")])
@pytest.mark.parametrize("name", ["train", "predict", "forward"])
def test_without_a_folder_to_cache_in_it_compiles_all_the_same(name, error, monkeypatch):
    real = jit.njit

    def njit_without_cache(*arguments, cache=False, **options):
        if cache:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(jit, "njit", njit_without_cache)
    monkeypatch.setattr(parts, "_made", {})
    assert len(parts.part(name, np.dtype("float32")).signatures) == 1


def test_a_32_bit_python_is_refused():
    with pytest.raises(
        ImportError, match=r"^fastnet needs a 64-bit Python, but this one has 32 bits\. Install a 64-bit"
    ):
        jit.refuse_32_bits(2**31 - 1)
    jit.refuse_32_bits(sys.maxsize)


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
    assert set(imported_modules(ROOT / "tests" / "reference.py")) == {"math", "numpy"}


@pytest.mark.jit
def test_a_first_fit_compiles_what_its_network_adds_and_says_how_long(monkeypatch):
    monkeypatch.setattr(parts, "_made", {})

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
    monkeypatch.setattr(parts, "_made", {})
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
    def interrupt(*arguments):
        raise KeyboardInterrupt

    model = Model([Dense(1)], seed=0)
    model.build(1)
    monkeypatch.setattr("fastnet.engine.run.compiled_train", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        model.cost([[1.0]], [1.0])
    assert caught.value is not None  # whose traceback keeps the run alive
    assert not threads._reserved
