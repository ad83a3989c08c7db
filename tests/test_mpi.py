"""Ranks of MPI, each a process under mpiexec: the results of one process, and they all end when one does."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import failing_ranks
import pytest
from scenes import ROOT

pytest.importorskip("mpi4py")
MPIEXEC = shutil.which("mpiexec", path=f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}")
pytestmark = [pytest.mark.jit, pytest.mark.skipif(MPIEXEC is None, reason="needs mpiexec")]


def run(n, *command, timeout=100):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    return subprocess.run(
        [MPIEXEC, "-n", str(n), sys.executable, *command], env=environment, capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip


def fits(n):
    found = run(n, str(ROOT / "tests" / "ranks_under_mpi.py"))
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_ranks_find_what_one_process_finds(n):
    found = fits(n)
    for case, (_, same_bits, *distances) in found.items():
        if n == 1:
            assert same_bits, case
        elif not case.endswith("True"):  # dropout: what is drawn differs from rank to rank
            assert max(distances) <= (1e-6 if "float32" in case else 1e-12), (case, distances)
    if n == 3:
        assert fits(n) == found, "the same bits each time"


@pytest.mark.parametrize("kind", failing_ranks.KINDS)
def test_all_end_when_one_does(kind):
    failing_ranks.run_kind(kind, 1 if kind == "killed" else 4, mpiexec=MPIEXEC)


SCRIPT = """
import sys
import numpy as np
from mpi4py import MPI
from fastnet import Dense, Model
from fastnet.sklearn import MLPRegressor
import beside

model = Model([Dense(3, "relu"), Dense(1)], seed=MPI.COMM_WORLD.rank)
X = np.random.default_rng(MPI.COMM_WORLD.rank).random((40, 2))
history = model.fit(X, X[:, 0], epochs=2)
regressor = MLPRegressor(hidden_layer_sizes=(3,), early_stopping=True).fit(X, X[:, 0])
costs = MPI.COMM_WORLD.allgather((history.cost, model.parameters.tolist(), regressor.loss_curve_))
assert costs[0] == costs[1], "every fit has the communicator"
{last}
"""


def write(folder, last):
    (folder / "beside.py").write_text("")
    path = folder / "script.py"
    path.write_text(SCRIPT.format(last=last))
    return str(path)


def test_a_script_is_run_whose_fits_are_on_all_ranks(tmp_path):
    found = run(2, "-m", "fastnet.mpi", write(tmp_path, "print(sys.argv[1:], __name__)"), "a", "--b")
    assert found.returncode == 0, found.stderr
    printed = found.stdout  # of two processes, which may write into each other's lines
    assert (printed.count("['a', '--b']"), printed.count("__main__")) == (2, 2)


@pytest.mark.parametrize("last", ["1 / MPI.COMM_WORLD.rank", "sys.exit(1 - MPI.COMM_WORLD.rank)"])
def test_an_error_outside_of_a_fit_ends_all(tmp_path, last):
    waits = "\nif MPI.COMM_WORLD.rank:\n    model.fit(X, X[:, 0], epochs=10**6)"
    found = run(2, "-m", "fastnet.mpi", write(tmp_path, last + waits), timeout=30)
    assert found.returncode != 0
    assert "Rank 0 of 2 has failed, and ends all." in found.stderr


LISTENS = """
import signal, time
heard = []
signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
print("ready", flush=True)
until = time.time() + 1
while time.time() < until:
    time.sleep(0.01)
print(len(heard))
"""


def test_a_signal_to_all_of_a_group_comes_once(tmp_path):
    """As mpiexec and terminals send Ctrl-C."""
    (tmp_path / "script.py").write_text(LISTENS)
    process = subprocess.Popen(
        [sys.executable, "-m", "fastnet.mpi", str(tmp_path / "script.py")], env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == "1\n"


@pytest.mark.parametrize("n", [2, 5])
def test_the_story_runs_on_all_ranks(n):
    """Of five, one has no rows to validate with."""
    found = run(n, "-m", "fastnet.mpi", str(ROOT / "examples" / "many_machines.py"), "--quick")
    assert found.returncode == 0, found.stderr
    digests = re.findall(r"^ +(\d) +\d+  (\w{8})$", found.stdout, re.MULTILINE)
    assert [rank for rank, _ in digests] == [str(rank) for rank in range(n)]
    assert len({digest for _, digest in digests}) == 1


def test_how_it_is_used_is_said():
    found = run(1, "-m", "fastnet.mpi")
    assert found.returncode != 0
    assert "usage: mpiexec -n RANKS python -m fastnet.mpi script.py" in found.stderr


def test_without_mpi4py_the_extra_is_named(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('no such library')")
    found = subprocess.run(
        [sys.executable, "-m", "fastnet.mpi", "script.py"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode != 0
    assert "fastnet.mpi needs mpi4py: pip install 'fastnet-mlp[mpi]'" in found.stderr
