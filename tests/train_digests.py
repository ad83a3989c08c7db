"""Prints a digest of the parameters after training several networks: one line per dtype.

`test_contract.py` runs it under different instruction sets, each in a process and a cache of its own.
"""

import hashlib

import numpy as np

from fastnet import SGD, Dense, Model


def parameters_after_training(dtype: str) -> bytes:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((569, 30))
    y = (X[:, 0] * X[:, 1] > 0).astype(float)
    models = [
        (Model([Dense(64, "relu"), Dense(33, "relu"), Dense(1, "sigmoid")], None, SGD(0.1), 0.1, dtype, 0), 32),
        (Model([Dense(17, "tanh"), Dense(7, "sigmoid"), Dense(1)], None, SGD(0.05), 0.0, dtype, 1), 64),
        (Model([Dense(20, "leaky_relu"), Dense(1, "sigmoid")], "mean_squared_error", SGD(0.3), 0.0, dtype, 2), None),
        (Model([Dense(1, "sigmoid")], None, SGD(0.1), 1.0, dtype, 3), 209),
    ]
    everything = []
    for model, batch_size in models:
        history = model.fit(X, y, epochs=20, batch_size=batch_size)
        everything += [model.parameters.tobytes(), np.array(history.cost).tobytes(), model.forward(X).tobytes()]
    return b"".join(everything)


if __name__ == "__main__":
    for name in ("float32", "float64"):
        print(name, hashlib.sha256(parameters_after_training(name)).hexdigest())
