"""What a wheel brings: every part, compiled for the levels of an architecture, in as many processes as there are cores.

    python -m fastnet.kernels.ahead FOLDER

`scripts/hatch_build.py` calls this while a wheel is built. numba takes the CPU it compiles for from the environment, as
a process starts; so each process compiles for one.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastnet.kernels.build.callers import compiled
from fastnet.kernels.build.load import label
from fastnet.kernels.build.store import Key, write
from fastnet.kernels.build.target import SETTINGS, levels, source_digest
from fastnet.kernels.link import every_part

DTYPES = "float32", "float64"

TUNING = {"x86-64-v4": "-prefer-256-bit"}
"""What LLVM is told beside the level: it would write loops for half of a register, as the first CPUs with AVX-512 liked
it. (`matrix-exp` was 0.83 times as fast as compiled for this machine, `digits-784` 0.94: `benchmarks/peers.py`.)"""


class Task(NamedTuple):
    """Every `step`-th part from `first` on, for one level and dtype."""

    level: str
    dtype: str
    first: int
    step: int


def tasks(cores: int) -> Iterator[Task]:
    """Yield what is to be compiled, in at least as many tasks as there are cores."""
    step = -(-cores // max(1, len(levels()) * len(DTYPES)))
    for level in levels():
        for dtype in DTYPES:
            yield from (Task(level, dtype, first, step) for first in range(step))


def compile_in_processes(folder: Path, cores: int, of: Iterable[Task]) -> None:
    """Compile tasks into a folder, as many at a time as there are cores; CalledProcessError if a process fails."""

    def compile_in_process(task: Task) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        environment |= {
            "NUMBA_CPU_NAME": task.level,
            "NUMBA_CPU_FEATURES": TUNING.get(task.level, ""),
            "NUMBA_DISABLE_JIT": "0",
        }
        command = [sys.executable, "-m", __spec__.name, str(folder), *map(str, task)]
        subprocess.run(command, env=environment, check=True)

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(compile_in_process, of))


def compile_task(folder: Path, task: Task) -> None:
    """Compile the parts of one task, for the CPU that numba was told of when this process started."""
    dtype, sources = np.dtype(task.dtype), source_digest()
    assert sources is not None
    for name, code in every_part()[task.first :: task.step]:
        if not write(folder, Key(label(name, dtype, *code), task.level, sources), compiled(name, dtype, *code)):
            raise OSError(f"{folder} cannot be written to.")


def main() -> None:
    """Read the command line: a folder; or, in the processes that this starts, a folder and a task."""
    folder, *task = sys.argv[1:]
    if task:
        level, dtype, first, step = task
        compile_task(Path(folder), Task(level, dtype, int(first), int(step)))
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        compile_in_processes(Path(folder), cores, tasks(cores))


if __name__ == "__main__":
    main()
