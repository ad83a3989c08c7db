"""Every workload on one and two threads: time, speed-up, share of the FMA peak, the cost reached, memory."""

import os
import sys
import tracemalloc
from functools import partial
from unittest.mock import patch

import numpy as np

from benchmarks.peak import peak
from benchmarks.timing import median_seconds
from benchmarks.workloads import WORKLOADS, problem
from fastnet import Adam, Dense, Model, train_many
from fastnet.engine import memory

EPOCHS = {"planar": 200, "cancer": 20, "logistic": 20}
"""Epochs in a unit of work, where one takes less than a few milliseconds."""


def needs_cores(threads):
    """Make asv skip a benchmark where there are fewer cores than threads."""
    if threads > len(os.sched_getaffinity(0)):
        raise NotImplementedError


class Epoch:
    """Time of training, in units of several epochs where one is short."""

    params = (list(WORKLOADS), [1, 2])
    param_names = ("workload", "threads")
    timeout = 600

    def time_epochs(self, workload, threads):
        needs_cores(threads)
        problem(workload).train(EPOCHS.get(workload, 1), threads)


class Step:
    """Time of one call of `Model.step` on a batch, as in a training loop of one's own."""

    params = ([name for name in WORKLOADS if name != "matrix-exp"],)  # whose batch is all of its many examples
    param_names = ("workload",)
    timeout = 600

    def setup(self, workload):
        made = problem(workload)
        size = made.workload.batch_size or made.workload.examples
        self.model, self.batch = made.model, (made.X[:size], made.y[:size])

    def time_step(self, workload):
        self.model.step(*self.batch)


class Many:
    """Networks 30-16-1 of 569 examples, 100 epochs each: all at once, and one after the other."""

    params = (["all rows", "five folds"],)
    param_names = ("rows",)
    timeout = 600
    networks = 40

    def models(self):
        return [
            Model([Dense(16, "relu"), Dense(1, "sigmoid")], optimizer=Adam(0.01), seed=seed)
            for seed in range(self.networks)
        ]

    def loop(self, X, y, rows):
        for number, model in enumerate(self.models()):
            chosen = slice(None) if rows is None else rows[number]
            model.fit(X[chosen], y[chosen], threads=1, verbose=False)

    def track_time_over_loop(self, rows):
        """On two threads, over that of a loop of `fit` on one."""
        needs_cores(2)
        rng = np.random.default_rng(0)
        X = rng.standard_normal((569, 30)).astype(np.float32)
        y = (X[:, :5].sum(axis=1) + rng.standard_normal(569) > 0).astype(np.float32)
        folds = [np.arange(569) % 5 != number % 5 for number in range(self.networks)]
        chosen = None if rows == "all rows" else folds
        tasks = {
            "many": lambda: train_many(self.models(), X, y, chosen, threads=2, verbose=False),
            "loop": lambda: self.loop(X, y, chosen),
        }
        seconds = median_seconds(tasks, 9)
        return seconds["many"] / seconds["loop"]

    track_time_over_loop.unit = "time / time of a loop of fit"


class Subnormal:
    """Time with numbers below the smallest normal one, over the time with others."""

    params = (["inputs", "weights", "squares of gradients", "60 layers"],)
    param_names = ("subnormal",)
    timeout = 600

    def track_time_over_normal(self, subnormal):
        """Of predictions, or of five epochs."""
        small = {"inputs": 1e-40, "weights": 1e-40, "squares of gradients": 1e-20, "60 layers": 0.1}[subnormal]
        scales = {"subnormal": small, "normal": 1.0}
        seconds = median_seconds({name: self.task(subnormal, scale) for name, scale in scales.items()}, 9)
        return seconds["subnormal"] / seconds["normal"]

    track_time_over_normal.unit = "time / time with normal numbers"

    def task(self, subnormal, scale):
        """Return what is timed, with something made smaller."""
        X, y = np.random.default_rng(0).standard_normal((2, 2000, 64)).astype(np.float32)
        units = [32] * 60 if subnormal == "60 layers" else [64, 64]
        model = Model([*(Dense(n, "tanh") for n in units), Dense(1)], optimizer=Adam(1e-6), seed=0)
        model.build(64)
        if subnormal == "inputs":
            return partial(model.forward, (X * scale).astype(np.float32))
        for layer in model.layers[-1:] if subnormal == "squares of gradients" else model.layers:
            layer.W[:] *= scale
        if subnormal == "weights":
            return partial(model.forward, X)
        return partial(model.fit, X, y[:, 0] * scale, epochs=5, threads=1, verbose=False)


class Share:
    """How near training comes to the machine's limit, and what a second thread brings."""

    params = (list(WORKLOADS),)
    param_names = ("workload",)
    timeout = 600

    def track_time_over_floor(self, workload):
        """Time over that of the products alone at the FMA peak; one thread."""
        epochs = EPOCHS.get(workload, 1)
        tasks = {"fastnet": lambda: problem(workload).train(epochs, 1), "peak": lambda: peak("float32", 100_000)}
        seconds = median_seconds(tasks, 9)
        floor = WORKLOADS[workload].operations * epochs / (peak("float32", 100_000) / seconds["peak"])
        return seconds["fastnet"] / floor

    track_time_over_floor.unit = "time / time at the FMA peak"

    def track_two_threads_over_one(self, workload):
        needs_cores(2)
        epochs = EPOCHS.get(workload, 1)
        tasks = {threads: lambda threads=threads: problem(workload).train(epochs, threads) for threads in (1, 2)}
        seconds = median_seconds(tasks, 9)
        return seconds[2] / seconds[1]

    track_two_threads_over_one.unit = "time on 2 threads / time on 1"

    def track_final_cost(self, workload):
        """J after 20 epochs of the seeded problem: a faster engine must not learn less."""
        return problem.__wrapped__(workload).train(20)

    track_final_cost.unit = "J"

    def track_memory_of_a_fit(self, workload):
        """Peak of what `fit` allocates beyond the data, in bytes."""
        made = problem(workload)
        # tracemalloc sees neither what is mapped nor what earlier fits have left.
        with patch.object(memory, "LARGE", sys.maxsize), patch.object(memory, "_kept", []):
            tracemalloc.start()
            made.train(1)
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak_bytes

    track_memory_of_a_fit.unit = "bytes"
