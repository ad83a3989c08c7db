"""What a user waits for before the first epoch: import, compilation, loading machine code, a whole short process."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
IMPORT_NUMPY = "import numpy"
IMPORT_FASTNET = "import numpy, fastnet"
# The data is read from scikit-learn's file, without the 0.8 s that importing scikit-learn takes.
FIT = """
from importlib.util import find_spec
from pathlib import Path
import numpy as np
from fastnet import SGD, Dense, Model
folder = Path(find_spec("sklearn").submodule_search_locations[0])
table = np.loadtxt(folder / "datasets" / "data" / "breast_cancer.csv", delimiter=",", skiprows=1)
X, y = table[:, :-1], table[:, -1]
X = (X - X.mean(axis=0)) / X.std(axis=0)
model = Model([Dense(64, "relu"), Dense(32, "relu"), Dense(1, "sigmoid")], optimizer=SGD(0.1), seed=0)
print(model.fit(X, y, epochs=20, verbose=False).compile_seconds)
"""


def run_process(code: str, cache: str | None = None) -> tuple[float, str]:
    """Return the time of a whole Python process, and what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = cache
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    return time.perf_counter() - start, done.stdout


def cpu_seconds(code: str, cache: str) -> float:
    """Return the CPU time of a whole Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_process(code, cache)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def warm_cpu_seconds(rounds: int = 15) -> tuple[float, float]:
    """Return medians over alternating processes: that fit, with all machine code there, and that import NumPy."""
    with tempfile.TemporaryDirectory() as cache:
        run_process(FIT, cache)
        times = [[cpu_seconds(code, cache) for code in (FIT, IMPORT_NUMPY)] for _ in range(rounds)]
    ours, numpys = np.median(times, axis=0)
    return float(ours), float(numpys)


def import_seconds(rounds: int = 15) -> float:
    """Return what `import fastnet` adds to `import numpy`: the difference of medians of alternating processes."""
    times = [[run_process(IMPORT_FASTNET)[0], run_process(IMPORT_NUMPY)[0]] for _ in range(rounds)]
    ours, numpys = np.median(times, axis=0)
    return float(ours - numpys)


def cold_compile_seconds() -> float:
    """Return the seconds of compilation of a first fit where nothing is compiled yet."""
    with tempfile.TemporaryDirectory() as cache:
        return float(run_process(FIT, cache)[1])


def warm_process_seconds(rounds: int = 5) -> tuple[float, float]:
    """Return medians for a process that loads machine code: to its very end, and of the loading."""
    with tempfile.TemporaryDirectory() as cache:
        run_process(FIT, cache)
        runs = [run_process(FIT, cache) for _ in range(rounds)]
    return float(np.median([seconds for seconds, _ in runs])), float(np.median([float(text) for _, text in runs]))


class Start:
    timeout = 600

    def track_import(self):
        return import_seconds()

    track_import.unit = "seconds beyond import numpy"

    def track_cold_compile(self):
        return cold_compile_seconds()

    track_cold_compile.unit = "seconds"

    def track_cached_compile(self):
        return warm_process_seconds()[1]

    track_cached_compile.unit = "seconds"

    def track_warm_process(self):
        """A whole process that fits the breast-cancer data for 20 epochs, from its start to its exit."""
        return warm_process_seconds()[0]

    track_warm_process.unit = "seconds"

    def track_warm_cpu(self):
        """The CPU time of such a process, over that of one that imports NumPy."""
        ours, numpys = warm_cpu_seconds()
        return ours / numpys

    track_warm_cpu.unit = "CPU time of a process / of one that imports NumPy"
