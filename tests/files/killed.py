"""Fits that are killed at random moments and go on in other processes, with other threads and other machine code."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fastnet import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Checkpoint,
    CosineDecay,
    Dense,
    Dropout,
    EarlyStopping,
    Model,
    OneCycle,
    ReduceOnPlateau,
    RMSprop,
    Standardize,
    StepDecay,
)

OPTIMIZERS = {
    "SGD": SGD(0.1),
    "momentum": SGD(CosineDecay(0.05, epochs=30), 0.9),
    "Nesterov": SGD(0.05, 0.9, nesterov=True, clip_norm=1.0),
    "RMSprop": RMSprop(StepDecay(0.01, step=5)),
    "Adagrad": Adagrad(0.05),
    "Adam": Adam(OneCycle(0.01, epochs=30)),
    "AdamW": AdamW(0.003, weight_decay=0.1),
}
CALLBACKS = {
    "none": list,
    "early": lambda: [EarlyStopping(patience=3)],
    "early, of training": lambda: [EarlyStopping("cost", patience=3, min_delta=1e-3)],
    "plateau": lambda: [ReduceOnPlateau(patience=2, cooldown=1, factor=0.5), EarlyStopping(patience=6)],
}
TARGETS = ["", "x86-64-v3"]


def drawn(rng: np.random.Generator) -> dict[str, Any]:
    """Return the settings of a fit."""
    return {
        "optimizer": str(rng.choice(list(OPTIMIZERS))),
        "callbacks": str(rng.choice(list(CALLBACKS))),
        "dtype": str(rng.choice(["float32", "float64"])),
        "dropout": float(rng.choice([0.0, 0.3])),
        "batch_size": [7, 32, 700, None][rng.integers(4)],
        "metrics": [["accuracy"], []][rng.integers(2)],
        "every": int(rng.choice([1, 2, 5])),
        "batches": [None, 1, 5][rng.integers(3)],
        "epochs": 25,
        "seed": int(rng.integers(1000)),
        "label_smoothing": float(rng.choice([0.0, 0.1])),
        "standardize": bool(rng.integers(2)),
    }


def fit(settings: dict[str, Any], folder: Path | None, threads: int = 1) -> str:
    """Fit, with checkpoints in a folder from which it goes on, if there are any; return the digest of the outcome."""
    rng = np.random.default_rng(settings["seed"])
    X = rng.standard_normal((700, 9))
    y = (X[:, 0] * X[:, 1] + rng.standard_normal(700) / 3 > 0).astype(float)
    layers = [Dense(17, "tanh"), Dropout(settings["dropout"]), Dense(5, "relu", l1=1e-3), Dense(1, "sigmoid")]
    if settings["standardize"]:
        layers.insert(0, Standardize())
    model = Model(
        layers,
        optimizer=OPTIMIZERS[settings["optimizer"]],
        l2=0.01,
        dtype=settings["dtype"],
        seed=settings["seed"],
    )
    callbacks: list[Any] = CALLBACKS[settings["callbacks"]]()
    if folder is not None:
        callbacks.append(Checkpoint(folder, settings["every"], batches=settings["batches"], most_time=1.0))
    history = model.fit(
        X,
        y,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        sample_weight=rng.random(700),
        label_smoothing=settings["label_smoothing"],
        validation_split=0.2,
        metrics=settings["metrics"],
        callbacks=callbacks,
        verbose=False,
        threads=threads,
        resume=folder,
    )
    found = hashlib.sha256(model.parameters.tobytes())
    found.update(repr((history.cost, history.val_cost, history.metrics, history.stopped_reason)).encode())
    found.update(repr((model.optimizer, model.epochs_finished)).encode())
    return found.hexdigest()


def finished(settings: dict[str, Any], folder: Path, rng: np.random.Generator, kills: int) -> tuple[str, int]:
    """Fit in processes of which some are killed; return the digest, and how many were killed before the end."""
    shutil.rmtree(folder, ignore_errors=True)
    killed = 0
    while True:
        target = TARGETS[rng.integers(2)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        if target:
            environment["FASTNET_TARGET"] = target
        arguments = [sys.executable, __file__, json.dumps(settings), str(folder), str(rng.integers(1, 3))]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment, text=True) as process:
            assert process.stdout is not None
            if process.stdout.readline() != "begins\n":
                raise RuntimeError("the process did not begin")
            if killed < kills:
                time.sleep(rng.random() * 0.25)
                process.send_signal(signal.SIGKILL)
            last = process.stdout.read().strip()
        if last:
            return last, killed
        killed += 1


def attack(folder: Path, kills: int, seed: int) -> int:
    """Kill at least so many fits; return in how many chains. Each must end as one that is not killed."""
    rng, done, chains = np.random.default_rng(seed), 0, 0
    while done < kills:
        settings = drawn(rng)
        digest, killed = finished(settings, folder / "checkpoints", rng, int(rng.integers(1, 5)))
        if digest != fit(settings, None):
            raise AssertionError(f"another outcome after {killed} kills: {settings}")
        done, chains = done + killed, chains + 1
    return chains


# ------------------------------------------------------------------------------------------------------------ saves


def save_again_and_again(path: Path) -> None:
    """Save two models by turns, for ever."""
    models = models_to_save()
    while True:
        for model in models:
            model.save(path)


def models_to_save() -> list[Model]:
    """Return two models whose files are of one size and differ everywhere in their parameters."""
    models = [Model([Dense(101, "tanh"), Dense(31)], seed=seed) for seed in (3, 4)]
    for model in models:
        model.build(67)
    return models


def attack_saves(folder: Path, n: int, seed: int) -> None:
    """Kill n processes that save; the file must be one of the two, and the next save leaves nothing else."""
    rng, path, models = np.random.default_rng(seed), folder / "model", models_to_save()
    whole = []
    for model in models:
        model.save(path)
        whole.append(path.read_bytes())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(n):
        arguments = [sys.executable, __file__, str(path)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.random() * 0.02)
            process.send_signal(signal.SIGKILL)
        if path.read_bytes() not in whole:
            raise AssertionError("the file is torn")
    models[0].save(path)
    if path.read_bytes() != whole[0] or os.listdir(folder) != [path.name]:
        raise AssertionError(f"there are {os.listdir(folder)}")


if __name__ == "__main__":
    print("begins", flush=True)
    if len(sys.argv) == 2:
        save_again_and_again(Path(sys.argv[1]))
    print(fit(json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
