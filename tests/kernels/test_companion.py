"""The process that compiles beside this one: when it starts, what is gained, and that nothing depends on it."""

import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core import event
from test_jit import run_python

from fastnet import Dense, Model
from fastnet.engine import recipe
from fastnet.kernels.build import companion

COMPILE = """
import subprocess
import numpy as np
from fastnet.kernels.build import companion, parts
started, popen = [], subprocess.Popen
subprocess.Popen = lambda *arguments, **settings: started.append(arguments) or popen(*arguments, **settings)
dtype = np.dtype("float32")
for _ in range(2):
    with companion.compiled_beside("signs", ["weigh"], dtype) as mine:
        parts.part("penalty_cost", dtype)
others = parts.part("weigh", dtype)
print(*(sum(part.stats.cache_hits.values()) for part in (mine, others)), len(started))
"""


@pytest.mark.jit
def test_parts_are_loaded_that_another_process_has_compiled(tmp_path):
    place = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert run_python(COMPILE, **place).split() == ["0", "1", "1"]
    assert run_python(COMPILE, **place).split() == ["1", "1", "0"]
    for path in tmp_path.rglob("*.penalty_cost_*"):
        path.unlink()
    assert run_python(COMPILE, **place).split() == ["1", "1", "0"]  # for what is compiled within, none is started


@pytest.fixture
def processes(monkeypatch):
    """Let any companion do nothing for a minute, even without the JIT; yields those that were started."""
    started = []
    popen = subprocess.Popen

    def recorded(*arguments, **settings):
        started.append(popen(*arguments, **settings))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", recorded)
    monkeypatch.setattr(companion, "PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(companion, "JIT_DISABLED", False)
    return started


@pytest.fixture
def compiles(monkeypatch):
    """Let the part beside be compiled, as numba tells its listeners; yields what its dispatcher knows."""
    stats = SimpleNamespace(cache_path="somewhere")

    def compile_twice(name, dtype):
        for _ in range(2):  # such as a helper of it
            event.start_event("numba:compile", data={"dispatcher": SimpleNamespace(stats=stats)})
        return name

    monkeypatch.setattr(companion, "part", compile_twice)
    return stats


def beside(others=("weigh",)):
    return companion.compiled_beside("signs", others, np.dtype("float32"))


def test_one_is_started_and_ends_with_what_is_beside_it(processes, compiles):
    def compile_until_interrupted():
        with beside() as made:
            assert made == "signs"
            assert processes[0].poll() is None
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_until_interrupted()
    (process,) = processes
    assert process.poll() is not None


def test_patience_has_an_end(processes, compiles, monkeypatch):
    monkeypatch.setattr(companion, "PATIENCE", 0.01)
    with beside():
        pass
    (process,) = processes
    assert process.poll() is not None


def test_none_is_started_where_it_would_do_nothing(processes, compiles, monkeypatch):
    with beside(others=()):
        pass
    compiles.cache_path = None
    with beside():
        pass
    compiles.cache_path = "somewhere"
    for name, value in (("executable", ""), ("frozen", True)):  # no Python to start
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, value, raising=False)
            with beside():
                pass
    monkeypatch.setattr(companion, "JIT_DISABLED", True)
    with beside():
        pass
    assert not processes


def test_what_other_threads_compile_is_no_reason_to_start_one(processes, monkeypatch):
    def compile_elsewhere(name, dtype):
        data = {"dispatcher": "one of the user's"}
        other = threading.Thread(target=event.start_event, args=("numba:compile",), kwargs={"data": data})
        other.start()
        other.join()

    monkeypatch.setattr(companion, "part", compile_elsewhere)
    with beside():
        assert not processes


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_where_none_can_be_started_one_compiles_alone(error, compiles, processes, monkeypatch):
    def refuse(*arguments, **settings):
        raise error("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with beside() as made:
        assert made == "signs"


@pytest.mark.parametrize("place", [3, None, "a\0b", "\ud800"])
def test_an_odd_entry_of_the_path_does_no_harm(place, compiles, processes, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, place])
    monkeypatch.setattr(companion, "PATIENCE", 0.01)
    with beside() as made:
        assert made == "signs"


@pytest.mark.parametrize("threads", [1, 2])
def test_training_has_one_where_there_are_cores_for_it(threads, monkeypatch):
    asked = []
    real = companion.compiled_beside

    def recorded(name, others, dtype):
        asked.append(len(list(others)))
        return real(name, others, dtype)

    monkeypatch.setattr(companion, "compiled_beside", recorded)
    monkeypatch.setattr(recipe, "get_num_threads", lambda: threads)
    Model([Dense(1)], seed=0).fit([[0.0], [1.0]], [0.0, 1.0], epochs=1, verbose=False)
    assert set(asked) == {0 if threads == 1 else 4}
