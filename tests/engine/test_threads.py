"""Threads: the result does not depend on them, and whatever happens, none is left behind nor a core kept."""

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from bounds import DTYPES
from compiled import make_model, random_classes, random_data, raw_run, start_only, threads_left
from conftest import JIT_DISABLED

import fastnet
from fastnet import SGD, Adagrad, Adam, RMSprop, TrainingDivergedError
from fastnet.engine import threads
from fastnet.engine.network import Division, division_for
from fastnet.engine.run import Run
from fastnet.kernels import codes, plan
from fastnet.optimizers import Optimizer

ROOT = Path(__file__).parent.parent.parent
CORES = 3 if JIT_DISABLED else 7
TEAMS = (2, 3) if JIT_DISABLED else (2, 3, 4, 7)


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = _thread._count()  # of Python's threads, those that the module threading does not know, too
    yield
    assert not threads._reserved
    assert not threads_left(before)


@pytest.fixture(autouse=True)
def a_machine_of_seven_cores(monkeypatch):
    """So that seven threads really run, on however few; and no limit from outside."""
    monkeypatch.setattr(threads, "available_cores", lambda: CORES)
    monkeypatch.setattr(threads, "_limit", None)
    for name in threads.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    if JIT_DISABLED:
        monkeypatch.setattr(plan, "MOST_EXAMPLES", 64)


@pytest.fixture
def members(monkeypatch):
    """The members of teams that have worked: (number of threads, by chunks, member)."""
    seen, make_team = set(), Run._make_team

    def note(division, member, call):
        seen.add((division.threads, division.by_chunks, member))
        call()

    def make_noted_team(run, division):
        make_team(run, division)
        run.calls = [partial(note, division, member, call) for member, call in enumerate(run.calls)]

    monkeypatch.setattr(Run, "_make_team", make_noted_team)
    return seen


# --------------------------------------------------------------------------------------------------------- the results


class Case(NamedTuple):
    """A network, and how it is trained."""

    units: tuple[int, ...]
    activations: tuple[str, ...]
    m: int
    batch_size: int | None
    epochs: int = 2
    optimizer: Optimizer = SGD(0.05)
    l2: float = 0.0
    by_chunks: bool = False
    use_bias: bool = True

    def model(self, dtype, **settings):
        settings = {"optimizer": self.optimizer, "l2": self.l2, "use_bias": self.use_bias, **settings}
        return make_model(self.units, self.activations, dtype=dtype, **settings)

    def data(self):
        X, y = random_data(self.m, self.units[0], self.units[-1])
        return X, random_classes(self.m, self.units[-1])[0] if self.activations[-1] == "softmax" else y


CHUNK = 64 if JIT_DISABLED else 512
LONG = 4 * CORES * CHUNK + CHUNK // 3  # long enough for a team of them all to work by chunks; the last is short
WIDE = 70 if JIT_DISABLED else plan.WIDE_FROM + 52
CASES = {
    "relu": Case((30, 65, 33, 1), ("relu", "relu", "sigmoid"), 209, 64),
    "relu, L2": Case((30, 65, 33, 1), ("relu", "leaky_relu", "sigmoid"), 209, 65, l2=0.7),
    "batches smaller than a team": Case((5, 7, 1), ("tanh", "sigmoid"), 40, 3),
    "Adam, softmax": Case((20, 33, 10), ("relu", "softmax"), 209, 50, optimizer=Adam(0.01), l2=0.1),
    "Adam, no bias": Case((20, 33, 10), ("tanh", "softmax"), 209, 50, optimizer=Adam(0.01), use_bias=False),
    "Nesterov, clipped, L2": Case(
        (30, 65, 33, 1), ("relu", "relu", "sigmoid"), 209, 64, 3, SGD(0.05, 0.9, True, clip_norm=0.1), l2=0.7
    ),
    "RMSprop, clipped": Case((20, 33, 10), ("relu", "softmax"), 209, 50, optimizer=RMSprop(0.01, clip_norm=0.5)),
    "large": Case((260, 301, 7, 1), ("relu", "relu", "sigmoid"), 20, 13, 1, Adam(0.01), l2=0.3),
    "Adagrad": Case((20, 33, 10), ("relu", "softmax"), 209, 50, optimizer=Adagrad(0.01)),
    "one chunk for all epochs": Case((20, 33, 1), ("tanh", "linear"), 200, None, 5, optimizer=Adam(0.01)),
    "several chunks": Case((7, 17, 1), ("tanh", "sigmoid"), 3 * CHUNK - 20, None, l2=0.3),
    "by chunks": Case((3, 17, 1), ("tanh", "linear"), LONG, None, l2=0.3, by_chunks=True),
    "by chunks, Adam, shuffled": Case(
        (3, 17, 5), ("relu", "softmax"), LONG + CHUNK, LONG, optimizer=Adam(0.01), by_chunks=True
    ),
    "slopes kept": Case((30, 65, 33, 1), ("gelu", "elu", "sigmoid"), 209, 64),
    "slopes kept, by chunks": Case((3, 17, 1), ("mish", "linear"), LONG, None, by_chunks=True),
    "few units": Case((70, 3), ("softmax",), 209, 64),
    "few units behind others": Case((30, 65, 4, 1), ("gelu", "linear", "sigmoid"), CHUNK + 60, None, l2=0.3),
    "wide": Case((WIDE, 20, 1), ("relu", "sigmoid"), 90, 40),
    "wide, narrow layer": Case((WIDE, 3), ("softmax",), 90, 40, optimizer=Adam(0.01)),
    "wide, swept": Case((plan.WIDE_FROM + 52, 1), ("sigmoid",), 90, None, 3, l2=0.3),
    "wide, swept, Adam": Case((plan.WIDE_FROM + 52, 3), ("softmax",), 90, None, 3, optimizer=Adam(0.01)),
    "wide, several chunks": Case((WIDE, 1), ("sigmoid",), 2 * CHUNK - 30, None, epochs=1),
}


def trained(case, dtype, n):
    """Return all that training gives, and what may be asked of a model, as bytes."""
    model, (X, y) = case.model(dtype), case.data()
    history = model.fit(X, y, epochs=case.epochs, batch_size=case.batch_size, threads=n)
    state = model._optimizer_state
    return [np.array(history.cost).tobytes(), *(part.tobytes() for part in (model.parameters, *state))]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_what_memory_held_before_changes_no_bit_of_training(name, n_threads, monkeypatch):
    expected, taken = trained(CASES[name], "float32", n_threads), []

    def take_nan(n, dtype):
        taken.append(n)
        return np.full(n, np.nan, dtype)

    monkeypatch.setattr("fastnet.engine.run.take", take_nan)
    assert trained(CASES[name], "float32", n_threads) == expected
    assert taken


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_training_gives_the_same_bits_with_any_number_of_threads(name, dtype, members):
    case = CASES[name]
    by_one = trained(case, dtype, 1)
    assert members == {(1, False, 0)}
    assert len(np.frombuffer(by_one[1], dtype)) == case.model(dtype).parameters.size
    for n in TEAMS:
        members.clear()
        assert trained(case, dtype, n) == by_one
        assert members == {(n, case.by_chunks, member) for member in range(n)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu, L2", "several chunks", "by chunks", "Adam, softmax", "wide"])
def test_so_do_costs_and_gradients(name, dtype, members):
    case = CASES[name]
    model, (X, y) = case.model(dtype), case.data()
    results = []
    for n in (1, *TEAMS):
        members.clear()
        results.append([])
        for mode in (codes.COST, codes.GRADIENT):
            with raw_run(model, X, y, mode=mode, threads=n) as run:
                results[-1] += [run.cost(), run.gradient.tobytes(), run.cost(), run.gradient.tobytes()]
        assert {member for _, _, member in members} == set(range(n))
    assert all(result == results[0] for result in results)
    assert results[0][1] != results[0][5]


@pytest.mark.parametrize("name", ["relu", "by chunks"])
def test_where_calls_end_does_not_matter_to_a_team(name):
    """A call may end within a batch, and a team's chunks at once may be cut short."""
    case = CASES[name]
    X, y = case.data()
    results = set()
    for n, pieces in ((1, 10**6), (3, 10**6), (3, 1), (3, 2), (2, 5)):
        model = case.model("float32")
        with raw_run(model, X, y, batch_size=case.batch_size, epochs=2, key=1, shuffle=True, threads=n) as run:
            while not run.done:
                run.work(pieces)
            results.add(run.costs.tobytes() + model.parameters.tobytes())
    assert len(results) == 1


# ------------------------------------------------------------------------------------------------------- how many


def test_the_number_of_threads_is_what_was_set_last_or_the_environment_says(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 7)
    assert fastnet.get_num_threads() == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert fastnet.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert fastnet.get_num_threads() == 4
    monkeypatch.setenv("FASTNET_NUM_THREADS", " 2 ")
    assert fastnet.get_num_threads() == 2
    monkeypatch.setenv("FASTNET_NUM_THREADS", "99")
    assert fastnet.get_num_threads() == 7
    monkeypatch.setenv("FASTNET_NUM_THREADS", "")
    assert fastnet.get_num_threads() == 4
    for not_meant_for_us in ("", "auto", "0", "-1"):
        monkeypatch.setenv("OMP_NUM_THREADS", not_meant_for_us)
        assert fastnet.get_num_threads() == 7
    monkeypatch.setenv("FASTNET_NUM_THREADS", "2")
    fastnet.set_num_threads(5)
    assert fastnet.get_num_threads() == 5
    fastnet.set_num_threads(np.int64(8))
    assert fastnet.get_num_threads() == 7
    monkeypatch.setattr(threads, "available_cores", lambda: 1)
    assert fastnet.get_num_threads() == 1


@pytest.mark.parametrize("text", ["many", "0", "-2", "1.5", "x,2"])
def test_a_bad_number_in_the_environment_is_named(text, monkeypatch):
    monkeypatch.setenv("FASTNET_NUM_THREADS", text)
    shown = text.split(",")[0]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        fastnet.get_num_threads()
    assert str(caught.value) == f"FASTNET_NUM_THREADS must be an integer of at least 1, not {shown!r}."
    fastnet.set_num_threads(2)
    assert fastnet.get_num_threads() == 2


@pytest.mark.parametrize(
    ("n", "kind", "reason"),
    [
        (0, ValueError, "at least 1, not 0."),
        (-3, ValueError, "at least 1, not -3."),
        (2.0, TypeError, "an integer of at least 1, not 2.0."),
        (True, TypeError, "an integer of at least 1, not True."),
        ("all", TypeError, "an integer of at least 1, not 'all'."),
    ],
)
def test_bad_numbers_are_refused_and_change_nothing(n, kind, reason):
    with pytest.raises(kind) as caught:
        fastnet.set_num_threads(n)
    assert str(caught.value) == f"n must be {reason}"
    assert fastnet.get_num_threads() == CORES
    model = fastnet.Model([fastnet.Dense(1, "sigmoid")])
    with pytest.raises(kind) as caught:
        model.fit([[1.0]], [1.0], threads=n)
    assert str(caught.value) == f"threads must be {reason}"
    with pytest.raises(fastnet.NotFittedError):
        model.parameters


def test_a_team_is_as_large_as_the_work_is_worth(monkeypatch):
    def team(units, m, batch_size, epochs=100, n=None):
        model = make_model(units, ["tanh"] * len(units[1:]), loss="mean_squared_error")
        return division_for(model._built(), m, batch_size, epochs, n)

    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    large, small = (784, 500, 10), (4, 3, 1)
    assert team(large, 60_000, 256) == Division(4)
    assert team(small, 60_000, 32) == Division(1)
    assert team(small, 60_000, 60_000) == Division(4, by_chunks=True)
    assert team(small, 60_000, 60_000, n=2) == Division(2, by_chunks=True)
    assert team(small, 60_000, 15 * chunk_of(small)) == Division(1)
    assert team(small, 60_000, 32, n=3) == Division(3)
    assert team(large, 32, 32, epochs=1) == Division(1), "not worth starting"
    assert team((784, 500, 500, 10), 60_000, 60_000) == Division(4), "too large for a gradient each"
    fastnet.set_num_threads(3)
    assert team(large, 60_000, 256) == Division(3)
    assert team(large, 60_000, 256, n=4) == Division(4)


def chunk_of(units):
    return plan.chunk_size(units)


def test_runs_at_the_same_time_share_the_cores():
    """Each gets what is left, at least one thread; and gives it back, in whatever order they end."""
    case = CASES["relu"]
    X, y = case.data()
    reference = trained(case, "float32", 1)
    with raw_run(case.model("float32"), X, y, threads=CORES - 1) as first:
        assert first.division.threads == CORES - 1
        with raw_run(case.model("float32"), X, y, threads=CORES) as second:
            assert second.division.threads == 1
            third = raw_run(case.model("float32"), X, y, threads=2)
            assert third.division.threads == 1
            assert trained(case, "float32", 2) == reference
        with third:
            pass
        with raw_run(case.model("float32"), X, y, threads=CORES) as fourth:
            assert fourth.division.threads == 1
    with raw_run(case.model("float32"), X, y, threads=CORES + 1) as fifth:
        assert fifth.division.threads == CORES


@pytest.mark.parametrize("dtype", DTYPES)
def test_fits_in_several_python_threads_equal_those_one_after_the_other(dtype):
    case = CASES["Adam, softmax"]
    by_one = trained(case, dtype, 1)
    results = []
    fits = [threading.Thread(target=lambda: results.append(trained(case, dtype, 3))) for _ in range(3)]
    for fit in fits:
        fit.start()
    for fit in fits:
        fit.join()
    assert results == [by_one] * 3


def test_a_gradient_check_gives_its_cores_back():
    case = CASES["batches smaller than a team"]
    X, y = case.data()
    case.model("float64").check_gradients(X[:5], y[:5])
    assert not threads._reserved


# ---------------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.jit
@pytest.mark.filterwarnings("ignore:The features of X are far from the scale")
@pytest.mark.parametrize("n", TEAMS)
@pytest.mark.parametrize(
    ("case", "place"),
    [("cost", ""), ("by chunks", ""), ("parameters", "in its W or b"), ("Adam", "in its gradient, or the square")],
)
def test_divergence_is_the_same_with_any_number_of_threads(case, place, n):
    def diverge(n):
        if case == "Adam":  # the square of the gradient overflows, by an input that is zero in all other examples
            X, y = random_data(LONG, 3)
            X[:, 0] = 0
            X[-1, 0] = 1e25
            model = make_model((3, 1), ("sigmoid",), dtype="float32", optimizer=Adam())
            model.layers[0].W[0, 0] = 0
            settings = {"batch_size": LONG // 2, "shuffle": False}
        elif case == "parameters":
            X, y = random_data(200, 3)
            X[:, 0], y[150] = 0, 0.5
            X[150, 0] = 1e24
            model = make_model((3, 1), ("sigmoid",), dtype="float32", learning_rate=1e19)
            settings = {"batch_size": 40, "shuffle": False}
        else:
            X, y = random_data(LONG, 3)
            model = make_model((3, 33, 1), ("relu", "linear"), dtype="float32", learning_rate=30.0)
            settings = {"batch_size": None if case == "by chunks" else 64}
        with pytest.raises(TrainingDivergedError) as caught:
            model.fit(X, y, epochs=100, threads=n, **settings)
        assert np.isfinite(model.parameters).all()
        assert not threads._reserved
        error = caught.value
        assert place in str(error)
        return str(error), error.epoch, error.batch, error.layer, model.history.cost, model.parameters.tobytes()

    assert diverge(n) == diverge(1)


class HelperError(Exception):
    """Raised by a test."""


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("name", ["relu", "by chunks"])
def test_an_exception_in_one_thread_reaches_the_caller_and_ends_all(name, failing, monkeypatch):
    case, make_team = CASES[name], Run._make_team
    X, y = case.data()
    model = case.model("float32")
    before = model.parameters.copy()

    def fail():
        raise HelperError("a helper's")

    def make_failing_team(run, division):
        make_team(run, division)
        run.calls[failing] = fail

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_make_team", make_failing_team)
        with pytest.raises(HelperError, match="a helper's"):
            model.fit(X, y, epochs=case.epochs, batch_size=case.batch_size, threads=3)
    assert not threads._reserved
    assert model.history.stopped_reason == "interrupted"
    np.testing.assert_array_equal(model.parameters, before)
    history = model.fit(X, y, epochs=case.epochs, batch_size=case.batch_size, threads=3)
    assert [np.array(history.cost).tobytes(), model.parameters.tobytes()] == trained(case, "float32", 1)[:2]


@pytest.mark.parametrize("startable", [0, 1])
@pytest.mark.parametrize("name", ["relu", "by chunks"])
def test_where_no_more_threads_can_be_started_one_gives_the_same_bits(name, startable, monkeypatch, members):
    case = CASES[name]
    by_one = trained(case, "float32", 1)
    members.clear()

    started = start_only(startable, monkeypatch)
    assert trained(case, "float32", 3) == by_one
    assert (1, False, 0) in members
    assert len(started) == startable


def test_cores_come_back_when_a_run_is_interrupted(monkeypatch):
    case, work = CASES["relu"], Run.work
    X, y = case.data()
    model, calls = case.model("float32"), []

    def interrupted(run, chunks):
        work(run, 1)
        calls.append(chunks)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "work", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y, epochs=2, batch_size=64, threads=2, shuffle=False)
    assert not threads._reserved
    assert model.history.stopped_reason == "interrupted"
    twin = case.model("float32")
    twin.fit(X[:192], y[:192], epochs=1, batch_size=64, shuffle=False)
    np.testing.assert_array_equal(model.parameters, twin.parameters)


@pytest.mark.jit
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that interrupts")
@pytest.mark.parametrize("by_chunks", [False, True])
def test_an_interrupt_ends_a_team_and_leaves_a_usable_model(by_chunks):
    """Ctrl-C soon after the first epochs of a fit that would take minutes."""
    X, y = random_data(2 * LONG, 8)
    model = make_model((8, 65, 1), ("tanh", "sigmoid"), dtype="float32", learning_rate=0.01)
    batch_size = None if by_chunks else 256
    model.fit(X, y, epochs=1, batch_size=batch_size, threads=2)
    seconds_an_epoch = model.fit(X, y, epochs=1, batch_size=batch_size, threads=2).seconds
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2 + 5 * seconds_an_epoch)  # so that epochs end on a busy machine too
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y, epochs=100_000, batch_size=batch_size, threads=2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert time.perf_counter() - start < 30, "not answered before the epochs were over"
    assert model.history.stopped_reason == "interrupted"
    assert 0 < model.history.epochs < 100_000
    assert not threads._reserved
    cost = model.cost(X, y)
    assert np.isfinite(cost)
    assert model.step(X, y) == cost
    assert model.fit(X, y, epochs=2, batch_size=batch_size, threads=2).epochs == 2


FORK = """
import os, signal, threading
from fastnet import Dense, Model
from fastnet.engine import threads
import numpy as np
threads.available_cores = lambda: 2
X = np.random.default_rng(0).standard_normal((500, 20))
def fit(n):
    model = Model([Dense(33, "relu"), Dense(1, "sigmoid")], seed=0)
    model.fit(X, X[:, 0] > 0, epochs=3, threads=n)
    assert len(threads._reserved) == taken, threads._cores_in_use
    return model.parameters.tobytes() + model.forward(np.tile(X, (9, 1))).tobytes()
taken = 0
here = fit(2)
with threads.reserved_cores(2):
    child = os.fork()
    if not child:
        signal.alarm(60)  # rather than hang
        there = fit(2)
        os._exit(0 if there == here else 3)
    _, status = os.waitpid(child, 0)
print("child", os.waitstatus_to_exitcode(status), len(threads._reserved), here == fit(1))
"""


@pytest.mark.jit
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_after_a_fit_trains():
    """Though cores were in use when it was forked."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", FORK], env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert (done.stdout, done.returncode) == ("child 0 0 True\n", 0), done.stderr


# ------------------------------------------------------------------------------------------------------------- cgroups


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("cpu_", "cpu.")).write_text(text)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu_max": "max 100000\n"}, []),
        ({"cpu_max": "200000 100000\n"}, [2]),
        ({"cpu_max": "150000 100000\n"}, [2]),
        ({"cpu_max": "1000 100000\n"}, [1]),
        ({"cpu_max": "nonsense\n"}, []),
        ({"cpu_max": "100000 0x\n"}, []),
        ({"cpu_cfs_quota_us": "-1\n", "cpu_cfs_period_us": "100000\n"}, []),
        ({"cpu_cfs_quota_us": "350000\n", "cpu_cfs_period_us": "100000\n"}, [4]),
        ({"cpu_cfs_quota_us": "350000\n"}, []),
        ({}, []),
    ],
)
def test_the_quota_of_a_control_group(files, quota, tmp_path):
    write(tmp_path, **files)
    assert threads._quota_of(tmp_path) == quota


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A folder that stands for the root of a file system."""
    monkeypatch.setattr(threads, "Path", lambda *parts: Path(tmp_path, *(part.lstrip("/") for part in parts)))
    write(tmp_path / "proc" / "self")
    return tmp_path


def test_the_quota_is_the_least_of_all_groups_above(machine):
    quota = threads._cgroup_quota.__wrapped__
    assert quota() >= 10**6, "no /proc/self/cgroup"
    (machine / "proc/self/cgroup").write_text("0::/pods/mine\n")
    assert quota() >= 10**6
    groups = machine / "sys/fs/cgroup"
    write(groups / "pods/mine", cpu_max="600000 100000\n")
    assert quota() == 6
    write(groups / "pods", cpu_max="300000 100000\n")
    assert quota() == 3
    write(groups / "pods/other", cpu_max="100000 100000\n")
    assert quota() == 3
    write(groups, cpu_max="200000 100000\n")
    assert quota() == 2
    write(machine / "sys/fs", cpu_max="100000 100000\n")
    assert quota() == 2, "not a control group"


def test_the_quota_of_version_1_is_that_of_the_controller_of_the_cpu(machine):
    quota = threads._cgroup_quota.__wrapped__
    (machine / "proc/self/cgroup").write_text("5:memory:/box\n4:cpu,cpuacct:/box\n3:cpuset:/box\n0::/\n")
    groups = machine / "sys/fs/cgroup"
    for controller, cores in (("memory", 1), ("cpuset", 2), ("cpu", 5)):
        write(groups / controller / "box", cpu_cfs_quota_us=f"{cores}00000\n", cpu_cfs_period_us="100000\n")
    assert quota() == 5
    write(groups / "cpu", cpu_cfs_quota_us="400000\n", cpu_cfs_period_us="100000\n")
    assert quota() == 4


def test_available_cores_are_those_of_the_affinity_within_the_quota(monkeypatch):
    monkeypatch.undo()
    assert 1 <= threads.available_cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    for quota, cores in ((10**6, 6), (4, 4), (0, 1)):
        monkeypatch.setattr(threads, "_cgroup_quota", lambda quota=quota: quota)
        assert threads.available_cores() == cores
    monkeypatch.setattr(threads, "_cgroup_quota", lambda: 10**6)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert threads.available_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads.available_cores() == 1
