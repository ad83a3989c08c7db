"""Scenes: whole processes, for what would take the tests' own process with it, or hang, when it goes wrong."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent

PROLOGUE = """
import _thread, copy, gc, hashlib, os, random, signal, sys, threading, time
import numpy as np
from fastnet import Adam, Dense, Model, SGD, TrainingDivergedError
from fastnet.engine import threads

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes what it starts in the background ignore it
rng = np.random.default_rng(0)
X = rng.standard_normal((1000, 40)).astype(np.float32)
y = (X[:, 0] * X[:, 1] > 0).astype(np.float32)

def make(seed=0):
    layers = [Dense(128, "relu"), Dense(64, "tanh"), Dense(1, "sigmoid")]
    return Model(layers, optimizer=Adam(0.001), seed=seed)

def digest(model):
    return hashlib.sha256(model.parameters.tobytes()).hexdigest()

def expected(seed, epochs):
    model = make(seed)
    model.fit(X, y, epochs=epochs, batch_size=100, threads=1, verbose=False)
    return digest(model)
"""


def run_scene(code, *options, before="", timeout=120, **environment):
    """Run the scene in a process, with options of Python, and `before` ahead of the prologue; return what it printed.

    A process that hangs is killed after `timeout` seconds, and so are its children.
    """
    with subprocess.Popen(
        [sys.executable, "-P", *options, "-c", before + PROLOGUE + textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as scene:
        try:
            out, errors = scene.communicate(timeout=timeout)
        except BaseException:
            os.killpg(scene.pid, signal.SIGKILL)
            raise
    assert scene.returncode == 0, errors[-3000:]
    return out
