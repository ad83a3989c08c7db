"""The process that compiles beside this one: when it starts, what is gained, and that nothing depends on it."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core import event
from test_jit import run_python

from fastnet import Dense, Model, compilation
from fastnet.kernels import companion, losses

COMPILE = """
import numpy as np
from fastnet.kernels import companion, jit, losses, penalties
dtype = np.dtype("float32")
with companion.compiled_meanwhile([losses.make_weighting], dtype):
    mine = jit.entry_point(penalties.make_signs, dtype)
others = jit.entry_point(losses.make_weighting, dtype)
print(*(sum(part.stats.cache_hits.values()) for part in (mine, others)))
"""


@pytest.mark.jit
def test_parts_are_loaded_that_another_process_has_compiled(tmp_path):
    place = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert run_python(COMPILE, **place).split() == ["0", "1"]
    assert run_python(COMPILE, **place).split() == ["1", "1"]


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


def begin_to_compile(cache_path="somewhere"):
    """Tell listeners what numba does when it compiles a function."""
    dispatcher = SimpleNamespace(stats=SimpleNamespace(cache_path=cache_path))
    event.start_event("numba:compile", data={"dispatcher": dispatcher})


def meanwhile():
    return companion.compiled_meanwhile([losses.make_weighting], np.dtype("float32"))


def test_one_is_started_and_ends_with_what_is_beside_it(processes):
    def compile_until_interrupted():
        with meanwhile():
            begin_to_compile()
            begin_to_compile()
            assert processes[0].poll() is None
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_until_interrupted()
    (process,) = processes
    assert process.poll() is not None


def test_none_is_started_where_it_would_do_nothing(processes, monkeypatch):
    with meanwhile():
        pass  # all is there
    with meanwhile():
        begin_to_compile(cache_path=None)
    for name, value in (("executable", ""), ("frozen", True)):  # no Python to start
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, value, raising=False)
            with meanwhile():
                begin_to_compile()
    monkeypatch.setattr(companion, "JIT_DISABLED", True)
    with meanwhile():
        begin_to_compile()
    assert not processes


def test_where_none_can_be_started_one_compiles_alone(processes, monkeypatch):
    def refuse(*arguments, **settings):
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with meanwhile():
        begin_to_compile()
    assert not processes


@pytest.mark.parametrize("threads", [1, 2])
def test_training_has_one_where_there_are_cores_for_it(threads, monkeypatch):
    asked = []
    real = companion.compiled_meanwhile
    monkeypatch.setattr(companion, "compiled_meanwhile", lambda *wanted: asked.append(wanted) or real(*wanted))
    monkeypatch.setattr(compilation, "get_num_threads", lambda: threads)
    Model([Dense(1)], seed=0).fit([[0.0], [1.0]], [0.0, 1.0], epochs=1, verbose=False)
    assert len(asked) == threads - 1
