"""Training on tables from files against the same rows in memory: rows a second, and the memory that each needs.

python benchmarks/streams.py [--gigabytes 6] [--limit 1.5] [--only memory memmap ...]

A table of 28 features in float32 is made on disk (and taken away again); 28-300-300-1 goes through it once, in batches
of 1,000, each way in a process of its own that may have `--limit` GiB of memory of its own (RLIMIT_DATA of Linux). What
is in memory is as much of the table as half of the limit. The file is read once before, into the page cache.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from fastnet import Adam, Dense, Model
from fastnet.streams import MemmapStream

FEATURES, BATCH, SLAB = 28, 1000, 200_000
WAYS = ("memory", "memmap", "memmap in order", "stream", "stream in order")


def make_table(folder: Path, m: int) -> None:
    """Write X.npy (m, FEATURES) and y.npy (m,), a slab at a time."""
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (m, FEATURES))
    y = np.lib.format.open_memmap(folder / "y.npy", "w+", np.float32, (m,))
    generator = np.random.default_rng(0)
    for start in range(0, m, SLAB):
        rows = generator.standard_normal((min(SLAB, m - start), FEATURES), dtype=np.float32)
        X[start : start + SLAB], y[start : start + SLAB] = rows, rows[:, 0] * rows[:, 1] > 0


def train(way: str, folder: Path, limit: float) -> None:
    """Go through the table once, and print rows, seconds and the memory of the process's own, in MiB."""
    model = Model([Dense(300, "relu"), Dense(300, "relu"), Dense(1, "sigmoid")], optimizer=Adam(0.001), seed=0)
    generator = np.random.default_rng(1)
    model.fit(generator.standard_normal((2000, FEATURES)), np.arange(2000) % 2, epochs=1, batch_size=BATCH)
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 2**30),) * 2)
    mapped = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in "Xy"]
    if way == "memory":
        m = int(limit * 2**30 / 2 / (4 * FEATURES))
        data = [np.array(array[:m]) for array in mapped]
    elif way.startswith("memmap"):
        data = mapped
    else:
        data = [MemmapStream(folder / "X.npy", folder / "y.npy")]
    m = min(len(mapped[0]), m) if way == "memory" else len(mapped[0])
    peaks, settings = [0], {"epochs": 1, "batch_size": BATCH, "shuffle": not way.endswith("in order"), "verbose": False}
    start = time.perf_counter()
    model.fit(*data, **settings, callbacks=lambda *_: peaks.append(own_memory()))
    print(m, time.perf_counter() - start, max(peaks))


def own_memory() -> int:
    """Return the memory of this process's own, in MiB."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("RssAnon:") + 1]) // 1024


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=6.0, help="of the table, in GiB")
    parser.add_argument("--limit", type=float, default=1.5, help="of a process's own memory, in GiB")
    parser.add_argument("--only", nargs="*", default=WAYS, choices=WAYS)
    parser.add_argument("--folder", help="where a table is, or is to be made; else in a temporary folder")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.train, Path(arguments.folder), arguments.limit)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        m = int(arguments.gigabytes * 2**30 / (4 * FEATURES))
        make_table(Path(folder), m)
        print(
            f"{m} rows x {FEATURES} in float32, {arguments.gigabytes:g} GiB, {arguments.limit:g} GiB for each process"
        )
        print("                     rows      seconds     rows/s   of memory   its own MiB")
        in_memory = None
        for way in arguments.only:
            for name in "Xy":
                with open(Path(folder) / f"{name}.npy", "rb") as file:
                    while file.read(2**24):
                        pass
            command = [sys.executable, __file__, "--train", way, "--folder", folder, "--limit", str(arguments.limit)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
            rows, seconds, peak = (float(value) for value in done.stdout.split()[-3:])
            speed = rows / seconds
            in_memory = in_memory or speed
            print(
                f"{way:16s} {rows:12.0f} {seconds:10.1f} {speed:12.0f} {speed / in_memory:9.2f} {peak:12.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
