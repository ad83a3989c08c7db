"""What training on several machines would take: measured here on few ranks, predicted for many by the usual model.

python benchmarks/scaling.py [--write] [--picture scaling.png]    (needs the extra fastnet-mlp[mpi], and mpiexec)

A step of n ranks takes  compute(B) + share + 2 log2(n) latency + 2 (n - 1) / n bytes / bandwidth.  compute(B), of a
batch of B rows a rank, is measured on one rank; latency and bandwidth of this machine's memory on two, by sums of
vectors of many lengths. share, what it takes to be a rank (copies of the parameters, Python), is a constant and so much
a byte, fitted to the steps of two ranks; so the figures predicted for those show how well the model fits. For more
ranks, the network's latency and bandwidth are assumed: --latency and --bandwidth. A node here is one rank with all the
cores of this machine.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from fastnet import Dense, Model

from benchmarks import readme  # isort: skip
from benchmarks.workloads import WORKLOADS  # isort: skip

NAMES = ("cancer", "higgs", "digits-784", "wide")
BATCHES = (32, 256, 1024, 4096)
NODES = (8, 64, 256, 1024)
LENGTHS = (10**2, 10**3, 10**4, 10**5, 10**6, 10**7)


def n_parameters(units: tuple[int, ...]) -> int:
    """Return how many numbers are added up over the ranks in a step."""
    return sum(n * (n_prev + 1) for n_prev, n in pairwise(units))


def measure(threads: int, quick: bool) -> None:
    """Measure, on each rank of a run of `mpiexec`, seconds a step and seconds a sum; print them on the first."""
    from mpi4py import MPI

    world, found = MPI.COMM_WORLD, {}
    for name in NAMES:
        workload = WORKLOADS[name]
        for batch in BATCHES[:2] if quick else BATCHES:
            steps = max(3, int((2e8 if quick else 4e9) / (batch * workload.operations / workload.examples)))
            steps = min(steps, 2000)
            generator = np.random.default_rng(world.rank)
            X = generator.standard_normal((batch, workload.units[0]), dtype=np.float32)
            y = np.arange(batch) % 2
            layers = [Dense(n, g) for n, g in zip(workload.units[1:], workload.activations, strict=True)]
            model = Model(layers, optimizer=workload.optimizer, seed=0).build(workload.units[0])
            settings = {"batch_size": batch, "threads": threads, "verbose": False, "shuffle": False}
            model.fit(X, y, epochs=3, communicator=world, **settings)
            times = [model.fit(X, y, epochs=steps, communicator=world, **settings).seconds / steps for _ in range(3)]
            found[f"{name} {batch}"] = min(times)
    workload = WORKLOADS["higgs"]
    X = np.random.default_rng(world.rank).standard_normal((20 * 1024, workload.units[0]), dtype=np.float32)
    layers = [Dense(n, g) for n, g in zip(workload.units[1:], workload.activations, strict=True)]
    model = Model(layers, optimizer=workload.optimizer, seed=0)
    settings = {"batch_size": 1024, "threads": threads, "verbose": False, "communicator": world}
    times = [model.fit(X, X[:, 0] > 0, epochs=3, **settings).seconds for _ in range(2 if quick else 4)][1:]
    found["rows a second"] = 3 * len(X) * world.size / min(times)
    for length in LENGTHS:
        array = np.ones(length, np.float32)
        times = []
        for _ in range(5 if quick else 20):
            world.Barrier()
            start = time.perf_counter()
            world.Allreduce(MPI.IN_PLACE, array)
            times.append(time.perf_counter() - start)
        found[f"sum {length}"] = min(times)
    if world.rank == 0:
        print(json.dumps(found))


def run(ranks: int, threads: int, quick: bool) -> dict[str, float]:
    """Return what `measure` finds on so many ranks."""
    command = ["mpiexec", "-n", str(ranks), sys.executable, __file__, "--measure", str(threads), *["--quick"] * quick]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


def sums(n: int, n_bytes: float, latency: float, bandwidth: float) -> float:
    """Return what it takes n ranks to add up vectors of so many bytes."""
    return 2 * np.log2(n) * latency + 2 * (n - 1) / n * n_bytes / bandwidth


def main() -> None:
    """Measure, check the model on two ranks, and print what it says of more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=2e-6, help="of the network, in s (2e-6: InfiniBand)")
    parser.add_argument("--bandwidth", type=float, default=12.5e9, help="of the network, in bytes/s (100 Gbit/s)")
    parser.add_argument("--quick", action="store_true", help="fewer batches, for less time: figures that say little")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--picture", metavar="FILE.png", help="draw the efficiency there")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.quick)
        return
    cores = len(os.sched_getaffinity(0))
    one_core, whole = run(1, 1, arguments.quick), run(1, cores, arguments.quick)
    two = run(2, max(1, cores // 2), arguments.quick)
    base = one_core if cores < 4 else run(1, cores // 2, arguments.quick)
    lengths = np.array(LENGTHS)
    times = np.array([two[f"sum {length}"] for length in LENGTHS])
    latency = float(times[0] / 2)
    bandwidth = float(4 * lengths[-1] / times[-1])
    keys = [key for key in whole if key.split()[0] in NAMES]
    sizes = {key: 4 * n_parameters(WORKLOADS[key.split()[0]].units) for key in keys}
    alone_and_sums = {key: base[key] + sums(2, sizes[key], latency, bandwidth) for key in keys}
    terms = np.array([[1, sizes[key]] for key in keys]) / np.array([[two[key]] for key in keys])
    constant, a_byte = np.linalg.lstsq(terms, np.array([1 - alone_and_sums[key] / two[key] for key in keys]))[0]
    text = (
        f"Predicted, but for the first columns of figures, for nodes like this one with {1e6 * arguments.latency:g} us "
        f"and {arguments.bandwidth / 1e9:g} GB/s between them. Here, of {cores} cores, a sum over two ranks takes "
        f"{2e6 * latency:.1f} us, and its bytes go at {bandwidth / 1e9:.1f} GB/s; to be a rank takes "
        f"{1e6 * constant:.0f} us a step, and {1e9 * a_byte:.2f} ns a byte of parameters. Two ranks train "
        f"{two['rows a second'] / base['rows a second']:.2f} times as many rows a second as one on as many cores as "
        "each of theirs (higgs, 20 batches of 1,024 rows an epoch)."
    )
    head = [
        "workload",
        "rows a node",
        "one node",
        "two ranks here: predicted, measured",
        *(f"{n} nodes" for n in NODES),
    ]
    lines = [f"| {' | '.join(head)} |", f"{'|---' * len(head)}|"]
    curves = {}
    for key in keys:
        name, batch = key.split()
        n_bytes, alone, share = sizes[key], whole[key], constant + a_byte * sizes[key]
        steps = [alone + share + sums(n, n_bytes, arguments.latency, arguments.bandwidth) for n in NODES]
        curves[key] = [alone / step for step in steps]
        two_ranks = f"{1e6 * (alone_and_sums[key] + share):,.0f}, {1e6 * two[key]:,.0f} us"
        cells = [name, f"{int(batch):,}", f"{1e6 * alone:,.0f} us", two_ranks]
        cells += [f"{1e6 * step:,.0f} us, {alone / step:.0%}" for step in steps]
        lines.append(f"| {' | '.join(cells)} |")
    table = "\n".join([*lines, "", text, "", readme.circumstances("float32")])
    print(table)
    if arguments.write:
        readme.write("scaling table", table, Path(__file__).parent.parent / "docs" / "benchmarks.md")
    if arguments.picture:
        draw(curves, arguments.picture)


def draw(curves: dict[str, list[float]], path: str) -> None:
    """Draw the efficiency by the number of nodes, a line for each workload and batch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    names = sorted({key.split()[0] for key in curves}, key=NAMES.index)
    for ax, name in zip(figure.subplots(1, len(names), sharey=True), names, strict=True):
        for key, values in curves.items():
            if key.split()[0] == name:
                ax.semilogx(NODES, values, "o-", base=2, label=f"{int(key.split()[1]):,} rows a node")
        ax.set(title=name, xlabel="nodes", ylim=(0, 1.05))
        ax.set_xticks(NODES, [str(n) for n in NODES])
    figure.axes[0].set_ylabel("efficiency, predicted")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=120)
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
