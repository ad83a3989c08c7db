"""`python tests/failing_ranks.py 50`: ranks of MPI that raise, diverge, are interrupted or killed, so often each.

A random one of three, at a random step; of those interrupted also all at once. All must end within ten seconds, with a
message that names the rank; and those that were not killed must be able to go on together.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from fastnet import Adam, Dense, Model, TrainingDivergedError
from fastnet.engine.ranks import Ranks
from fastnet.engine.run import Run

ROOT = Path(__file__).parent.parent
RANKS, MOST_SECONDS, MOST_STEPS = 3, 10, 200
KINDS = ("raises", "diverges", "interrupted", "all interrupted", "killed")


def run_kind(kind: str, count: int, seed: int = 0, *, mpiexec: str = "mpiexec") -> None:
    """Start ranks that fail so often; AssertionError or subprocess.TimeoutExpired if they do not end as they should."""
    if kind == "killed":
        for i in range(count):
            found = started(mpiexec, kind, 1, seed + i)
            (killed_at,) = re.findall(r"killed at (.*)", found.stderr)
            assert time.time() - float(killed_at) < MOST_SECONDS, found
            rank = int(np.random.default_rng(seed + i).integers(RANKS))
            assert found.returncode != 0
            assert f"Rank {rank} of {RANKS} was killed by SIGKILL" in found.stderr, found
    else:
        found = started(mpiexec, kind, count, seed)
        assert found.returncode == 0, found.stderr
        assert found.stdout.count("ended") == RANKS, found


def started(mpiexec: str, kind: str, count: int, seed: int) -> subprocess.CompletedProcess[str]:
    command = [mpiexec, "-n", str(RANKS), sys.executable, "-m", "fastnet.mpi", __file__, kind, str(count), str(seed)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60 + (MOST_SECONDS + 1) * count, check=False
    )


# ------------------------------------------------------------------------------------------------------ on each rank


class Failing:
    """One fit, in which a rank fails at a random step, and what each rank was told of it."""

    def __init__(self, kind: str, seed: int, rank: int) -> None:
        generator = np.random.default_rng(seed)
        self.kind, self.rank, self.who = kind, rank, int(generator.integers(RANKS))
        self.step, self.delay = int(generator.integers(MOST_STEPS)), float(generator.random() * 0.02)
        self.exchange = int(generator.integers((15, MOST_STEPS)[seed % 2]))  # some before the first step
        self.X = np.random.default_rng(rank).standard_normal((90, 5)).astype(np.float32)
        self.timer = threading.Timer(self.delay, os.kill, (os.getpid(), signal.SIGINT))
        self.failed_at = float("inf")

    def before_exchange(self) -> None:
        """Have this rank interrupted soon, wherever it is then, if it is time."""
        self.exchange -= 1
        mine = self.rank == self.who or self.kind.startswith("all")
        if "interrupted" in self.kind and mine and self.exchange == -1:
            self.failed_at = time.time()
            self.timer.start()

    def before_batch(self, run: Run) -> None:
        """Fail, if it is time."""
        if "interrupted" not in self.kind and self.rank == self.who and run.optimizer and run.steps == self.step:
            self.failed_at = time.time()
            if self.kind == "raises":
                raise ValueError("a disk is full")
            if self.kind == "killed":
                os.write(2, f"killed at {self.failed_at}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)
            self.X[:] = 1e30  # whose memory the fit has

    def fit(self) -> BaseException:
        """Return what ended the fit."""
        model = Model([Dense(8, "relu"), Dense(1)], optimizer=Adam(0.001), seed=0)
        y = self.X[:, 0] * self.X[:, 1]
        try:
            try:
                model.fit(self.X, y, epochs=10**6, validation_data=(self.X[:20].copy(), y[:20]))
            finally:
                self.timer.cancel()
                if self.timer.ident is not None:
                    self.timer.join()
                time.sleep(0.001)  # a signal that has come is seen here at last
        except BaseException as error:
            return error
        raise AssertionError("an endless fit has ended")

    def check(self, error: BaseException, seconds: float) -> None:
        """AssertionError unless the error is the one that this rank must have."""
        assert seconds < MOST_SECONDS, seconds
        mine = self.rank == self.who
        told = f"{type(error).__name__} {error}"
        if self.kind == "diverges":
            assert isinstance(error, TrainingDivergedError), told
            assert mine or f"rank {self.who} of {RANKS}" in told, told
        elif self.kind.startswith("all"):
            assert isinstance(error, KeyboardInterrupt) or "KeyboardInterrupt" in told, told
        elif mine:
            assert isinstance(error, ValueError if self.kind == "raises" else KeyboardInterrupt), told
            assert error.__notes__ == [f"So it was on rank {self.who} of {RANKS}. All have stopped."]
        else:
            name = "ValueError: a disk is full" if self.kind == "raises" else "KeyboardInterrupt"
            assert told == f"RuntimeError Rank {self.who} of {RANKS} has stopped the training of all: {name}", told


def fail(kind: str, count: int, seed: int) -> None:
    """On a rank: fail so often."""
    from mpi4py import MPI

    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    world, real, real_exchange = MPI.COMM_WORLD, Run._work_through_batch, Ranks.add_up
    for i in range(count):
        failing = Failing(kind, seed + i, world.rank)

        def work_through(run: Run, failing: Failing = failing) -> int:
            failing.before_batch(run)
            return real(run)

        def add_up(ranks: Ranks, *numbers: float, failing: Failing = failing) -> list[float]:
            failing.before_exchange()
            return real_exchange(ranks, *numbers)

        Run._work_through_batch, Ranks.add_up = work_through, add_up  # type: ignore[method-assign]
        error = failing.fit()
        failing.check(error, time.time() - world.allreduce(failing.failed_at, MPI.MIN))
    print("ended", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        fail(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        for kind in KINDS:
            start = time.time()
            run_kind(kind, int(sys.argv[1]))
            print(f"{kind}: {sys.argv[1]} times, {time.time() - start:.0f} s", flush=True)
