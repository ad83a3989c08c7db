"""Prints a digest of the parameters after training several networks: one line per dtype.

`test_contract.py` runs it under different instruction sets, each in a process of its own.
"""

import hashlib

import numpy as np

from fastnet import SGD, Adam, ByStep, CosLog, Dense, Dropout, EarlyStopping, LeakyReLU, Model, Quantile, Scale
from fastnet.engine import threads
from fastnet.tables import TableEncoder
from fastnet.tables.few_rows import FewRows


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
    runs = [(model, X, y, 20, batch_size) for model, batch_size in models]
    softmax = Model([Dense(33, "relu"), Dense(20, "relu"), Dense(10, "softmax")], None, Adam(0.01), 0.1, dtype, 4)
    runs.append((softmax, X, np.arange(569) % 10, 10, 50))
    # Wide inputs, kept as panels, by rows and swept; and a batch of several chunks.
    X_wide, y_wide = rng.standard_normal((70, 2100)), rng.random(70) < 0.5
    wide = [Dense(20, "relu"), Dense(1, "sigmoid")], [Dense(1, "sigmoid")]
    runs += [(Model(layers, None, SGD(0.01), 0.0, dtype, 5), X_wide, y_wide, 5, 33) for layers in wide]
    runs.append((Model([Dense(1, "sigmoid")], None, Adam(0.01), 0.1, dtype, 9), X_wide, y_wide, 5, None))
    regression = Model([Dense(30, "tanh"), Dense(1)], None, SGD(0.1), 0.0, dtype, 6)
    runs.append((regression, np.tile(X, (4, 1)), np.sin(np.tile(X[:, 0], 4)), 10, 1500))
    rectifiers = [Dense(33, "gelu"), Dense(20, "silu"), Dense(17, "mish"), Dense(10, "elu"), Dense(9, "selu")]
    smooth = Model([*rectifiers, Dense(8, LeakyReLU(0.2)), Dense(1, "softplus")], "huber", Adam(0.01), 0.0, dtype, 7)
    runs.append((smooth, X, X[:, 0] ** 2, 5, 50))
    quantiles = Model([Dense(20, "tanh"), Dense(5)], Quantile([0.1, 0.3, 0.5, 0.7, 0.9]), Adam(0.01), 0.0, dtype, 10)
    runs.append((quantiles, X, X[:, 0] ** 2, 5, 50))
    runs.append((Model([Dense(20, "tanh"), Dense(1)], Quantile(0.8), Adam(0.01), 0.0, dtype, 11), X, X[:, 0], 5, 50))
    everything = []
    for model, X_model, y_model, epochs, batch_size in runs:
        history = model.fit(X_model, y_model, epochs=epochs, batch_size=batch_size)
        everything += [model.parameters.tobytes(), np.array(history.cost).tobytes()]
        everything += [model.forward(X_model).tobytes(), model.forward(X_model[:5]).tobytes()]
        everything.append(model.input_gradients(X_model[:70]).tobytes())
    for n_threads in (1, 2):
        layers = [Dense(65, "relu"), Dropout(0.2), Dense(33, "gelu"), Dropout(0.5), Dense(3, "softmax")]
        watched = Model(layers, None, Adam(0.01), 0.1, dtype, 8, l1=0.05)
        history = watched.fit(
            X, np.arange(569) ** 2 % 3, epochs=12, batch_size=64, sample_weight=1 + np.arange(569) % 4,
            class_weight="balanced", label_smoothing=0.1, validation_split=0.2, metrics=["accuracy"],
            callbacks=[EarlyStopping(patience=2)], threads=n_threads,
        )  # fmt: skip
        results = [watched.parameters, history.cost, history.val_cost, history.accuracy, history.val_accuracy]
        everything += [np.array(result).tobytes() for result in results]
    assert everything[-5:] == everything[-10:-5]
    # A raw table: bins and gaps as examples are loaded, factors, rates by layer and by step; and few rows in one call.
    table = X[:, :6].copy()
    table[::3, 1], table[:, 2] = np.nan, np.arange(569) % 3
    encoder = TableEncoder().fit(table)
    layers = [encoder.layer(), Scale(), Dense(33, "relu", learning_rate=0.5), Dense(3, "softmax")]
    raw = Model(layers, None, Adam(ByStep(CosLog(0.05, epochs=5))), 0.0, dtype, 12)
    raw.fit(encoder.compact(table, dtype), np.arange(569) % 3, epochs=5, batch_size=64)
    everything += [encoder.transform(table).tobytes(), raw.parameters.tobytes()]
    everything.append(raw.forward(encoder.compact(table, dtype)).tobytes())
    everything.append(FewRows(encoder, [raw]).predict(table[:5]).tobytes())
    # Products at the bottom of the range, parts of which, or all, are subnormal; moments that become so.
    smallest = float(np.finfo(dtype).tiny) ** 0.5
    for scale in (0.3, 3.0, 3e3, 3e7):
        bottom = Model([Dense(20), Dense(1)], None, Adam(0.01), 0.0, dtype, 9)
        bottom.build(30)
        for layer in bottom.layers:
            layer.W[:] *= scale * smallest
        everything.append(bottom.forward(X * smallest).tobytes())
        everything += [array.tobytes() for pair in bottom.gradients(X * smallest, X[:, 0] / scale) for array in pair]
        bottom.fit(X * smallest, X[:, 0] * scale * smallest, epochs=3)
        everything.append(bottom.parameters.tobytes())
    return b"".join(everything)


if __name__ == "__main__":
    threads.available_cores = lambda: 2
    for name in ("float32", "float64"):
        print(name, hashlib.sha256(parameters_after_training(name)).hexdigest())
