"""An epoch with everything a practitioner asks for, against the same in PyTorch, in one run, taking turns.

taskset -c 0 python benchmarks/everything.py        (needs scikit-learn for the data; PyTorch, if it is to be compared)

scikit-learn's digits, 64-64-32-10, batches of 32: Adam, dropout, class weights, and after each epoch the cost and the
accuracy of a validation set. Prints the median time of an epoch; then what the metrics alone add to fastnet's.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.timing import median_seconds
from fastnet import Adam, Dense, Dropout, Model

RATE, BATCH, EPOCHS, ROUNDS = 0.2, 32, 10, 15
Epochs = Callable[[int], None]


def fastnet_epochs(X: np.ndarray, y: np.ndarray, X_val: np.ndarray, y_val: np.ndarray, metrics: list[str]) -> Epochs:
    """Return what trains for some epochs more."""
    layers = [Dense(64, "relu"), Dropout(RATE), Dense(32, "relu"), Dropout(RATE), Dense(10, "softmax")]
    model = Model(layers, optimizer=Adam(0.001), seed=0)

    def train(epochs: int) -> None:
        model.fit(
            X, y, epochs=epochs, batch_size=BATCH, class_weight="balanced", validation_data=(X_val, y_val),
            metrics=metrics, verbose=False, threads=1,
        )  # fmt: skip

    return train


def torch_epochs(X: np.ndarray, y: np.ndarray, X_val: np.ndarray, y_val: np.ndarray) -> Epochs:
    """Return the same in PyTorch: tensors on hand, batches by index, the fused optimizer."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = [torch.from_numpy(array) for array in (X, y, X_val, y_val)]
    rows, classes, val_rows, val_classes = data
    drop = nn.Dropout(RATE)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), drop, nn.Linear(64, 32), nn.ReLU(), drop, nn.Linear(32, 10))
    weights = torch.from_numpy((len(y) / (10 * np.bincount(y))).astype(np.float32))
    loss, validation_loss = nn.CrossEntropyLoss(weights), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), 0.001, fused=True)

    def train(epochs: int) -> None:
        for _ in range(epochs):
            net.train()
            total, right = torch.zeros(()), torch.zeros(())
            for batch in torch.randperm(len(rows)).split(BATCH):
                optimizer.zero_grad(set_to_none=True)
                logits, target = net(rows[batch]), classes[batch]
                cost = loss(logits, target)
                cost.backward()
                optimizer.step()
                with torch.no_grad():
                    total += cost * len(batch)
                    right += (logits.argmax(1) == target).sum()
            net.eval()
            with torch.inference_mode():
                logits = net(val_rows)
                logs = validation_loss(logits, val_classes), (logits.argmax(1) == val_classes).float().mean()
            _ = [float(value) for value in (total / len(rows), right / len(rows), *logs)]

    return train


def main() -> None:
    """Print the times, and their ratios."""
    X, y = load_digits(return_X_y=True)
    X = np.ascontiguousarray(X / 16, dtype=np.float32)
    order = np.random.default_rng(0).permutation(len(X))
    train, held_out = order[360:], order[:360]
    data = X[train], y[train], X[held_out], y[held_out]
    contenders = {"fastnet": partial(fastnet_epochs(*data, metrics=["accuracy"]), EPOCHS)}
    if find_spec("torch"):
        contenders["PyTorch"] = partial(torch_epochs(*data), EPOCHS)
    found = median_seconds(contenders, ROUNDS)
    for name, seconds in found.items():
        print(f"{name:8s} {1e6 * seconds / EPOCHS:10,.0f} us an epoch")
    if "PyTorch" in found:
        print(f"PyTorch / fastnet {found['PyTorch'] / found['fastnet']:.1f}")
    # By themselves: whoever comes after another library finds cold caches.
    metrics = {
        "with": partial(fastnet_epochs(*data, metrics=["accuracy"]), EPOCHS),
        "without": partial(fastnet_epochs(*data, metrics=[]), EPOCHS),
    }
    seconds = median_seconds(metrics, 4 * ROUNDS)
    print(f"metrics add {seconds['with'] / seconds['without'] - 1:.1%}")


if __name__ == "__main__":
    main()
