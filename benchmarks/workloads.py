"""The training problems that every benchmark measures: their networks, their data, and how fastnet trains them."""

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastnet import SGD, Adam, Dense, Model


class Workload(NamedTuple):
    """A network of `units` (the input's width first), and how it is trained."""

    units: tuple[int, ...]
    activations: tuple[str, ...]
    examples: int
    batch_size: int | None
    optimizer: SGD | Adam

    @property
    def steps(self) -> int:
        """Updates in an epoch."""
        return -(-self.examples // (self.batch_size or self.examples))

    @property
    def operations(self) -> int:
        """Floating-point operations of the products in one epoch; the first layer has no input gradient."""
        pairs = list(pairwise(self.units))
        return self.examples * (sum(6 * a * b for a, b in pairs) - 2 * pairs[0][0] * pairs[0][1])

    @property
    def loss(self) -> str:
        """The name of the loss, which goes with the last activation."""
        losses = {"sigmoid": "binary_crossentropy", "softmax": "categorical_crossentropy"}
        return losses.get(self.activations[-1], "mean_squared_error")


WORKLOADS = {
    "planar": Workload((2, 4, 1), ("tanh", "sigmoid"), 400, None, SGD(0.01)),
    "logistic": Workload((12288, 1), ("sigmoid",), 209, None, SGD(0.001)),
    "cats": Workload((12288, 20, 7, 5, 1), ("relu", "relu", "relu", "sigmoid"), 209, None, SGD(0.001)),
    "cancer": Workload((30, 64, 32, 1), ("relu", "relu", "sigmoid"), 569, 32, SGD(0.01)),
    "matrix-exp": Workload((4, 32, 16, 4), ("tanh", "tanh", "linear"), 10_000, None, Adam(0.001)),
    "higgs": Workload((28, 300, 300, 300, 300, 300, 1), (*5 * ("tanh",), "sigmoid"), 10_000, 100, Adam(0.0001)),
    "digits-784": Workload((784, 256, 128, 10), ("relu", "relu", "softmax"), 8_192, 128, Adam(0.0001)),
    "wide": Workload((1024, 1024, 1024, 1), ("relu", "relu", "sigmoid"), 2_048, 256, SGD(0.001)),
}


class Problem:
    """A workload with its data and a freshly initialised model."""

    def __init__(self, name: str, dtype: str = "float32") -> None:
        self.name, self.workload = name, WORKLOADS[name]
        rng = np.random.default_rng(0)
        units, outputs = self.workload.units, self.workload.units[-1]
        self.X = rng.standard_normal((self.workload.examples, units[0])).astype(dtype)
        if self.workload.loss == "mean_squared_error":
            self.y = np.tanh(self.X[:, :outputs] + self.X[:, ::-1][:, :outputs])
        elif self.workload.loss == "categorical_crossentropy":
            self.y = np.argmax(self.X[:, :outputs], axis=1)
        else:
            self.y = (self.X[:, :1] * self.X[:, 1:2] > 0).astype(dtype)
        layers = [Dense(n, g) for n, g in zip(units[1:], self.workload.activations, strict=True)]
        self.model = Model(layers, optimizer=self.workload.optimizer, dtype=dtype, seed=0)
        self.model.build(units[0])
        self.parameters = {}
        """Copies of the first parameters, under the names of the notes: W1, b1, ..."""
        for index, layer in enumerate(self.model.layers, start=1):
            self.parameters[f"W{index}"], self.parameters[f"b{index}"] = layer.W.copy(), layer.b.copy()

    def train(self, epochs: int, threads: int | None = None, shuffle: bool = True, **settings: Any) -> float:
        """Train, with further settings of `fit`; return the last cost."""
        history = self.model.fit(
            self.X,
            self.y,
            epochs=epochs,
            batch_size=self.workload.batch_size,
            shuffle=shuffle,
            verbose=False,
            threads=threads,
            **settings,
        )
        return history.cost[-1]


@lru_cache(maxsize=2)
def problem(name: str, dtype: str = "float32") -> Problem:
    """Return the problem of that name, made once and its kernels compiled; training goes on from call to call."""
    made = Problem(name, dtype)
    made.train(1)
    return made
