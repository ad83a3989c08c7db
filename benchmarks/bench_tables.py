"""fastnet.tables: a fit, one row, and columns that are encoded as they are loaded against the same ones in memory."""

import tracemalloc
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.timing import median_seconds
from fastnet import Adam, Dense, Model, Scale
from fastnet.layers import Encode
from fastnet.tables import TableClassifier, TableEncoder, TableRegressor

ROWS, COLUMNS = 4000, 57  # those of spambase


@lru_cache(maxsize=1)
def table() -> tuple[np.ndarray, np.ndarray]:
    """Return numbers, of which most are 0 in half of the columns, and what to predict."""
    X = np.random.default_rng(0).exponential(size=(ROWS, COLUMNS))
    X[:, ::2] *= np.random.default_rng(1).random((ROWS, (COLUMNS + 1) // 2)) < 0.2
    return X, np.log1p(X[:, :4]).sum(axis=1)


@lru_cache(maxsize=1)
def fitted() -> TableRegressor:
    """Return four networks that have hardly learned anything."""
    return TableRegressor(epochs=2, random_state=0).fit(*table())


class Tables:
    """Seconds of a fit of four networks, of 8 epochs each; of one row, as an array of float64."""

    timeout = 300

    def time_fit(self) -> None:
        TableRegressor(epochs=8, patience=8, random_state=0, n_threads=1).fit(*table())

    def track_one_row(self) -> float:
        model, row = fitted(), table()[0][:1].copy()
        model.predict(row)
        return 1e4 * median_seconds({"100 rows": lambda: [model.predict(row) for _ in range(100)]}, 9)["100 rows"]

    track_one_row.unit = "us"  # type: ignore[attr-defined]


class FitMemory:
    """MB that a fit of 10^6 rows of 20 numbers takes beside X, at most, of which 76 are the table in float32.

    As `tracemalloc` sees it: the memory of arrays.
    """

    timeout = 300
    params = (["values", "2 classes", "10 classes"], [1, 4])
    param_names = ("y", "networks")
    unit = "MB"

    def track_peak(self, y: str, networks: int) -> float:
        X = np.random.default_rng(0).standard_normal((1_000_000, 20))
        target, kind = X[:, 0] - X[:, 1], TableRegressor if y == "values" else TableClassifier
        if kind is TableClassifier:
            target = np.digitize(target, np.linspace(-1, 1, int(y.split()[0]) - 1))
        model = kind(networks, hidden_layer_sizes=(8,), epochs=1, random_state=0, n_threads=1)
        tracemalloc.start()
        try:
            model.fit(X, target)
            return tracemalloc.get_traced_memory()[1] / 2**20
        finally:
            tracemalloc.stop()


class EncodedInputs:
    """Training on compact columns, over training on the columns that they become, in memory: time, and bytes of X."""

    timeout = 300

    def setup(self) -> None:
        X, y = table()
        encoder = TableEncoder().fit(X)
        self.y = y > np.median(y)
        self.compact, layer = encoder.compact(X), encoder.layer()
        identity = Model([layer, Dense(layer.n_inputs)], seed=0).build(COLUMNS)
        identity.layers[1].W = np.eye(layer.n_inputs)  # type: ignore[union-attr]
        self.columns = identity.forward(self.compact)
        self.models = [self.model(Encode(layer.columns)), self.model()]

    def model(self, *first: Any) -> Model:
        hidden = [Dense(128, "relu") for _ in range(3)]
        return Model([*first, Scale(), *hidden, Dense(1, "sigmoid")], optimizer=Adam(1e-4), seed=0)

    def track_time(self) -> float:
        """Seconds of an epoch on compact columns over those on columns in memory, in turn."""

        compact, columns = self.models
        settings: dict[str, Any] = {"epochs": 4, "batch_size": 128, "threads": 1, "verbose": False}
        tasks = {
            "compact": lambda: compact.fit(self.compact, self.y, **settings),
            "columns": lambda: columns.fit(self.columns, self.y, **settings),
        }
        seconds = median_seconds(tasks, 7)
        return seconds["compact"] / seconds["columns"]

    def track_memory(self) -> float:
        """Bytes of compact columns over those of columns in memory."""
        return self.compact.nbytes / self.columns.nbytes

    track_time.unit = track_memory.unit = "ratio"  # type: ignore[attr-defined]
