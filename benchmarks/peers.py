"""Train and predict every workload with fastnet and with what a user might pick instead, and print who takes how long.

python benchmarks/peers.py [--threads N] [--only NAME ...] [--without LABEL ...] [--markdown | --write]

Uses whatever of NumPy, scikit-learn, PyTorch, JAX and ONNX Runtime is installed. All train the same network on the same
examples in the same order, in float32, and must reach the same cost; they take turns, so that what else the machine
does touches all alike. The process keeps itself to N cores (default: those it has).
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.readme import circumstances, write

ROUNDS, ROUND_SECONDS = 9, 0.25
CHECKED_EPOCHS = 3


class Row(NamedTuple):
    """A line of a table: the seconds per unit of work of each contender, and the share of the core's FMA peak."""

    name: str
    seconds: dict[str, float]
    share: float

    @property
    def peers(self) -> dict[str, float]:
        """The seconds of all but fastnet."""
        return {label: seconds for label, seconds in self.seconds.items() if label != "fastnet"}

    def ratio(self, labels: tuple[str, ...] = ()) -> float:
        """The best peer's time, or the best of those, over fastnet's."""
        return min(s for label, s in self.peers.items() if not labels or label in labels) / self.seconds["fastnet"]


def keep_to(threads: int | None) -> int:
    """Keep the process to so many cores, before any library counts them; return their number."""
    cores = sorted(os.sched_getaffinity(0))
    if threads is not None:
        if threads > len(cores):
            raise SystemExit(f"--threads {threads}, but there are {len(cores)} cores.")
        cores = cores[:threads]
        os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(len(cores))
    return len(cores)


def take_turns(tasks: dict[str, Callable[[int], object]]) -> dict[str, float]:
    """Return the median seconds of each task, by repetition; task(n) repeats n times, about ROUND_SECONDS a turn."""
    import numpy as np

    repeats = {}
    for label, task in tasks.items():
        task(1)  # a slow first call would leave turns of a few repetitions
        n, seconds = 1, 0.0
        while True:
            start = time.perf_counter()
            task(n)
            seconds = time.perf_counter() - start
            if seconds > ROUND_SECONDS / 4:
                break
            n *= 2
        repeats[label] = max(1, round(n * ROUND_SECONDS / seconds))
    times: dict[str, list[float]] = {label: [] for label in tasks}
    for _ in range(ROUNDS):
        for label, task in tasks.items():
            start = time.perf_counter()
            task(repeats[label])
            times[label].append((time.perf_counter() - start) / repeats[label])
    return {label: float(np.median(values)) for label, values in times.items()}


def training_row(name: str, threads: int, without: list[str]) -> Row:
    """Train one workload with every contender, check that all reach the same cost, and time them."""
    from benchmarks.contenders import TRAINERS, final_cost
    from benchmarks.peak import peak
    from benchmarks.workloads import WORKLOADS, Problem

    contenders, costs = {}, {}
    problem = Problem(name)
    for kind in TRAINERS:
        if kind.label in without or not kind.installed():
            continue
        contender = kind(Problem(name), threads)
        contender.train(CHECKED_EPOCHS)
        costs[kind.label] = final_cost(problem, contender.parameters())
        contenders[kind.label] = contender
    before = final_cost(problem, problem.parameters)
    for label, cost in costs.items():
        if abs(cost - costs["fastnet"]) > 0.02 * abs(before - costs["fastnet"]) + 1e-5 * before:
            raise SystemExit(f"{name}: {label} comes from a cost of {before:.6f} to {cost:.6f}, fastnet to {costs}.")
    tasks: dict[str, Callable[[int], object]] = {label: made.train for label, made in contenders.items()}
    tasks["peak"] = lambda n: peak("float32", 1000 * n)
    seconds = take_turns(tasks)
    workload = WORKLOADS[name]
    peak_rate = peak("float32", 1000) / seconds.pop("peak")
    share = workload.operations / seconds["fastnet"] / peak_rate
    return Row(name, {label: value / workload.steps for label, value in seconds.items()}, share)


PREDICTIONS = {"1 row, 30-64-32-1": ((30, 64, 32, 1), 1), "100,000 rows, 30-64-32-1": ((30, 64, 32, 1), 100_000)} | {
    f"{rows:,} rows, {'-'.join(map(str, units))}": (units, rows)
    for units in ((30, 64, 32, 1), (54, 512, 512, 7), (300, 300, 300, 1), (784, 256, 128, 1))
    for rows in (2_000, 20_000)
}


def prediction_row(name: str, threads: int, without: list[str]) -> Row:
    """Predict with every contender, check that all find the same, and time them."""
    import numpy as np

    from benchmarks.contenders import predictors
    from benchmarks.peak import peak
    from benchmarks.workloads import WORKLOADS, Problem, Workload
    from fastnet import SGD

    units, rows = PREDICTIONS[name]
    WORKLOADS[name] = workload = Workload(units, ("relu", "relu", "sigmoid"), 64, None, SGD(0.01))
    problem = Problem(name)
    X = np.random.default_rng(0).standard_normal((rows, units[0])).astype(np.float32)
    made = predictors(problem, X, threads, without)
    ours = problem.model.forward(X)
    for label, function in made.items():
        np.testing.assert_allclose(function(), ours, rtol=1e-3, atol=1e-5, err_msg=label)

    def repeated(function: Callable[[], object]) -> Callable[[int], object]:
        def repeat(n: int) -> None:
            for _ in range(n):
                function()

        return repeat

    tasks = {label: repeated(function) for label, function in made.items()}
    tasks["peak"] = lambda n: peak("float32", 1000 * n)
    seconds = take_turns(tasks)
    peak_rate = peak("float32", 1000) / seconds.pop("peak")
    operations = rows * 2 * sum(a * b for a, b in zip(workload.units, workload.units[1:], strict=False))
    return Row(name, seconds, operations / seconds["fastnet"] / peak_rate)


def start_times() -> str:
    """Return what a user waits for before the first epoch, as a sentence."""
    from benchmarks.bench_start import cold_compile_seconds, import_seconds, warm_cpu_seconds

    process, numpy = warm_cpu_seconds()
    return (
        f"A whole process that fits breast cancer for 20 epochs takes {process:.2f} s of CPU time, "
        f"{process / numpy:.1f} times what one that imports NumPy takes; where nothing is compiled yet, "
        f"{cold_compile_seconds():.1f} s more. `import fastnet`: {import_seconds() * 1000:.0f} ms beyond NumPy's."
    )


def geometric_mean(values: list[float]) -> float:
    """Return the n-th root of the product."""
    import numpy as np

    return float(np.exp(np.mean(np.log(values))))


def table(rows: list[Row], first: str, threads: int) -> str:
    """Return the rows as a table in Markdown, which is readable as it is."""
    labels = [label for label in rows[0].seconds if label != "fastnet"]
    labels += [label for row in rows[1:] for label in row.peers if label not in labels]
    head = [first, "fastnet", "of the FMA peak", *labels, "best peer / fastnet"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        times = [show(row.seconds[label]) if label in row.seconds else "-" for label in labels]
        share = f"{row.share / threads:.0%}"
        lines.append([row.name, show(row.seconds["fastnet"]), share, *times, f"{row.ratio():.2f}" if labels else "-"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def show(seconds: float) -> str:
    """Return a time in microseconds."""
    return f"{seconds * 1e6:,.1f} us" if seconds < 1e-4 else f"{seconds * 1e6:,.0f} us"


def report(threads: int, only: list[str], without: list[str], verbose: bool) -> str:
    """Measure everything and return the report in Markdown."""
    from benchmarks.workloads import WORKLOADS

    training = [name for name in WORKLOADS if not only or name in only]
    prediction = [name for name in PREDICTIONS if not only or name in only]
    parts = []
    if training:
        rows = []
        for name in training:
            rows.append(training_row(name, threads, without))
            if verbose:
                times = ", ".join(f"{label} {show(seconds)}" for label, seconds in rows[-1].seconds.items())
                print(f"{name}: {times}", file=sys.stderr)
        parts.append(table(rows, "training, a step of", threads))
        if all(row.peers for row in rows):
            torch = [row.ratio(("PyTorch", "torch.compile")) for row in rows if "PyTorch" in row.peers]
            means = f"Geometric means: best peer / fastnet {geometric_mean([row.ratio() for row in rows]):.2f}"
            parts.append(means + (f", best of PyTorch / fastnet {geometric_mean(torch):.2f}." if torch else "."))
    if prediction:
        parts.append(table([prediction_row(name, threads, without) for name in prediction], "prediction", threads))
    if not only:
        parts.append(start_times())
    parts.append(circumstances(f"{threads} thread(s), float32"))
    return "\n\n".join(parts)


def main() -> None:
    """Measure, and print the report or put it into the README."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, help="cores to use, by all")
    parser.add_argument("--only", nargs="*", default=[], help="workloads to measure")
    parser.add_argument("--without", nargs="*", default=[], help="contenders to leave out")
    parser.add_argument("--markdown", action="store_true", help="print nothing but the tables")
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    arguments = parser.parse_args()
    if "fastnet" in arguments.without:
        parser.error("fastnet cannot be left out: the others are held against it.")
    threads = keep_to(arguments.threads)
    if arguments.write and (threads != 1 or arguments.only or arguments.without):
        parser.error(
            "the README's table is of everything on one thread: --write goes with taskset -c 0, and neither "
            "with --only nor with --without."
        )
    text = report(threads, arguments.only, arguments.without, not arguments.markdown)
    print(text)
    if arguments.write:
        write("speed table", text)


if __name__ == "__main__":
    main()
