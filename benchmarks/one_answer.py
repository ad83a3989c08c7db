"""Train every workload on several numbers of threads and for two instruction sets, and compare all bits.

python benchmarks/one_answer.py [--epochs N] [--only NAME ...]

Prints a SHA-256 of the parameters and costs for each workload and dtype, and fails unless all agree.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
THREADS = (1, 2, 3, 4, 7)
INSTRUCTION_SETS = {
    "native": {},
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
}


def print_digests(only: list[str], epochs: int) -> None:
    """Train with every number of threads, and print a line for each run."""
    sys.path.insert(0, str(ROOT))
    import numpy as np

    from benchmarks.workloads import WORKLOADS, Problem
    from fastnet.engine import threads

    threads.available_cores = lambda: max(THREADS)  # more threads than cores, too, must agree
    for name, workload in WORKLOADS.items():
        if only and name not in only:
            continue
        for dtype in ("float32", "float64"):
            for n in THREADS:
                model = (problem := Problem(name, dtype)).model
                history = model.fit(
                    problem.X, problem.y, epochs=epochs, batch_size=workload.batch_size, verbose=False, threads=n
                )
                bits = model.parameters.tobytes() + np.array(history.cost).tobytes()
                print(name, dtype, n, hashlib.sha256(bits).hexdigest(), flush=True)


def main() -> None:
    """Compare the digests of a process for each instruction set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--print", action="store_true", help="only train and print, for this process's instruction set")
    arguments = parser.parse_args()
    if arguments.print:
        print_digests(arguments.only, arguments.epochs)
        return
    found: dict[tuple[str, str], set[str]] = {}
    with tempfile.TemporaryDirectory() as caches:
        for label, settings in INSTRUCTION_SETS.items():
            command = [
                sys.executable,
                __file__,
                "--print",
                "--epochs",
                str(arguments.epochs),
                "--only",
                *arguments.only,
            ]
            environment = os.environ | settings | {"NUMBA_CACHE_DIR": str(Path(caches, label))}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            for line in done.stdout.splitlines():
                name, dtype, threads, digest = line.split()
                found.setdefault((name, dtype), set()).add(digest)
                print(label, name, dtype, f"{threads} threads", digest[:16])
    different = [key for key, digests in found.items() if len(digests) > 1]
    if different or not found:
        raise SystemExit(f"Different bits: {different}")
    print(f"One answer each, for {len(found)} runs of {arguments.epochs} epochs.")


if __name__ == "__main__":
    main()
