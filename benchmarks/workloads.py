"""The training problems that every benchmark measures, for fastnet and for the NumPy reference of the tests."""

import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import reference

from benchmarks.timing import median_seconds
from fastnet import SGD, Dense, Model

LEARNING_RATE = 0.01


class Workload(NamedTuple):
    """A network of `units` (the input's width first), and how it is trained."""

    units: tuple[int, ...]
    activations: tuple[str, ...]
    examples: int
    batch_size: int | None

    @property
    def operations(self) -> int:
        """Floating-point operations of the products in one epoch."""
        pairs = list(zip(self.units, self.units[1:], strict=False))
        return self.examples * (sum(6 * a * b for a, b in pairs) - 2 * pairs[0][0] * pairs[0][1])


RELU_NET = ("relu", "relu", "sigmoid")
WORKLOADS = {
    "planar 2-4-1": Workload((2, 4, 1), ("tanh", "sigmoid"), 400, None),
    "cancer 30-64-32-1": Workload((30, 64, 32, 1), RELU_NET, 569, 32),
    "digits 784-256-128-1": Workload((784, 256, 128, 1), RELU_NET, 2048, 128),
    "cats 12288-20-7-5-1": Workload((12288, 20, 7, 5, 1), ("relu", "relu", "relu", "sigmoid"), 209, None),
    "wide 1024-1024-1024-1": Workload((1024, 1024, 1024, 1), RELU_NET, 512, 256),
}


class Problem:
    """A workload with its data and freshly initialised networks, one for fastnet and an equal one for the reference."""

    def __init__(self, name: str, dtype: str = "float32") -> None:
        self.workload = WORKLOADS[name]
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((self.workload.examples, self.workload.units[0])).astype(dtype)
        self.y = (self.X[:, :1] * self.X[:, 1:2] > 0).astype(dtype)
        _, *layers = zip(self.workload.units, ("", *self.workload.activations), strict=True)
        self.model = Model([Dense(n, g) for n, g in layers], optimizer=SGD(LEARNING_RATE), dtype=dtype, seed=0)
        self.model.build(self.workload.units[0])
        self.parameters = {}
        for index, layer in enumerate(self.model.layers, start=1):
            self.parameters[f"W{index}"], self.parameters[f"b{index}"] = layer.W.copy(), layer.b.copy()
        # Examples in columns, as the reference takes them: gathering a batch is fastest from this order,
        # full-batch products from either.
        self.X_columns, self.y_columns = self.X.T, self.y.T
        self.order_rng = np.random.default_rng(1)

    def fastnet_epochs(self, epochs: int) -> float:
        """Train; return the last cost."""
        return self.model.fit(self.X, self.y, epochs=epochs, batch_size=self.workload.batch_size, verbose=False).cost[
            -1
        ]

    def reference_epochs(self, epochs: int) -> float:
        """Train the reference; return the last cost."""
        batch_size = self.workload.batch_size
        cost = 0.0
        for _ in range(epochs):
            cost = reference.train_epoch(
                self.X_columns,
                self.y_columns,
                self.parameters,
                list(self.workload.activations),
                "binary_crossentropy",
                LEARNING_RATE,
                batch_size=batch_size or self.workload.examples,
                order=None if batch_size is None else self.order_rng.permutation(self.workload.examples),
            )
        return cost


@lru_cache(maxsize=2)
def problem(name: str, dtype: str = "float32") -> Problem:
    """Return the problem of that name, made once and its kernels compiled; training goes on from call to call."""
    made = Problem(name, dtype)
    made.fastnet_epochs(1)
    return made


class Comparison(NamedTuple):
    """Medians of seconds per epoch, and the ratio of the two."""

    fastnet: float
    reference: float

    @property
    def ratio(self) -> float:
        """fastnet's time over the reference's."""
        return self.fastnet / self.reference


def compare(name: str, rounds: int = 9, round_seconds: float = 0.4) -> Comparison:
    """Time both on one workload, in turns, each for about `round_seconds` a turn."""
    made = problem(name)
    trains = {"fastnet": made.fastnet_epochs, "reference": made.reference_epochs}
    epochs = {}
    for key, train in trains.items():
        start = time.perf_counter()
        train(2)
        epochs[key] = max(1, int(round_seconds / (time.perf_counter() - start) * 2))
    tasks = {key: lambda train=train, n=epochs[key]: train(n) for key, train in trains.items()}
    seconds = median_seconds(tasks, rounds)
    return Comparison(**{key: seconds[key] / epochs[key] for key in trains})
