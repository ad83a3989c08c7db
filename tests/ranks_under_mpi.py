"""`mpiexec -n 3 python tests/ranks_under_mpi.py`: fits on all ranks beside the same ones of a process alone.

Prints, by case, the digest of the parameters and how far they and the costs are from those of one process.
"""

import hashlib
import json
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from fastnet import SGD, Adam, Dense, Dropout, Model

WORLD = MPI.COMM_WORLD
BATCH, EPOCHS = 12, 3
SHARES = {
    "even": {1: [12], 2: [6, 6], 3: [4, 4, 4], 4: [3, 3, 3, 3]},
    "uneven": {1: [12], 2: [11, 1], 3: [3, 7, 2], 4: [1, 2, 3, 6]},
    "empty": {1: [12], 2: [0, 12], 3: [5, 0, 7], 4: [6, 0, 6, 0]},
}
"""Of each batch, the examples of each rank, by the number of ranks."""

rng = np.random.default_rng(0)
X, WEIGHTS = rng.standard_normal((125, 5)), rng.random(125)
Y = (X[:, 0] * X[:, 1] > 0).astype(float)


class Case(NamedTuple):
    """What a fit is like."""

    shares: str
    dtype: str
    optimizer: str
    weighted: bool
    dropout: bool

    def model(self) -> Model:
        optimizer = {"SGD": SGD(0.1), "Adam": Adam(0.01)}[self.optimizer]
        layers: list[Any] = [Dense(20, "relu"), *([Dropout(0.3)] * self.dropout), Dense(1, "sigmoid")]
        return Model(layers, optimizer=optimizer, dtype=self.dtype, seed=3)

    def fit(self, rows: np.ndarray, batch_size: int, **settings: Any) -> Model:
        model = self.model()
        weights = WEIGHTS[rows] if self.weighted else None
        model.fit(
            X[rows], Y[rows], epochs=EPOCHS, batch_size=batch_size, shuffle=self.dropout, sample_weight=weights,
            validation_data=(X[rows], Y[rows]), metrics=["accuracy", "auc"], **settings,
        )  # fmt: skip
        return model

    def on_all(self) -> Model:
        shares = SHARES[self.shares][WORLD.size]
        first, mine, place = sum(shares[: WORLD.rank]), shares[WORLD.rank], np.arange(len(X)) % BATCH
        rows = np.flatnonzero((first <= place) & (place < first + mine))
        return self.fit(rows, mine or 1, communicator=WORLD)


CASES = [Case(*values) for values in product(SHARES, ["float32", "float64"], ["SGD", "Adam"], [False, True], [False])]
CASES += [Case("uneven", "float32", "Adam", False, True)]


def digest(model: Model) -> str:
    known = model.parameters.tobytes() + repr((model.history.cost, model.history.metrics)).encode()
    return hashlib.sha256(known).hexdigest()


def distance(of: Any, to: Any) -> float:
    return float(np.abs(np.subtract(of, to)).max() / np.abs(to).max())


def main() -> None:
    found = {}
    for case in CASES:
        model = case.on_all()
        digests = WORLD.allgather(digest(model))
        assert len(set(digests)) == 1, (case, digests)
        alone = case.fit(np.arange(len(X)), BATCH)
        found[" ".join(map(str, case))] = [
            digests[0], digests[0] == digest(alone), distance(model.parameters, alone.parameters),
            distance(model.history.cost, alone.history.cost), distance(model.history.val_cost, alone.history.val_cost),
        ]  # fmt: skip
    if WORLD.rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
