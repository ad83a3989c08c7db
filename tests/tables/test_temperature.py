"""The temperature of classifiers, and that estimators train to the same bits on every machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnet.tables import temperature
from fastnet.tables.temperature import TEMPERATURES, best_temperature, log_loss, tempered

HERE = Path(__file__).parent.parent.parent


def problem(m, classes, sharpness, seed=0):
    """Return probabilities that are as certain as `sharpness` says, and classes drawn by those of 1."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(m, classes)) * 2
    p, A = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (Z, Z * sharpness))
    return A, np.array([rng.choice(classes, p=each) for each in p])


def test_logarithms_and_powers_are_those_of_numpy():
    x = np.concatenate([np.geomspace(1e-300, 1e300, 2001), 1 + np.linspace(-1e-3, 1e-3, 201)])
    np.testing.assert_allclose(temperature.log(x), np.log(x), rtol=1e-14, atol=1e-16)
    x = -np.concatenate([np.linspace(0, 700, 2001), np.geomspace(1e-12, 1, 101)])
    np.testing.assert_allclose(temperature.exp(x), np.exp(x), rtol=1e-12)
    assert temperature.exp(np.array([-800.0])) == 0
    np.testing.assert_allclose(TEMPERATURES, 2 ** (np.arange(-12, 13) / 8), rtol=1e-15)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 17])
def test_the_log_loss_is_that_of_scaled_logits(classes, weighted):
    A, y = problem(65, classes, 1)
    weights = np.arange(65) % 3 + 0.5 if weighted else None
    for each in (0.5, 1.0, 2.0):
        p = A ** (1 / each) / (A ** (1 / each)).sum(axis=1, keepdims=True)
        expected = np.average(-np.log(p[np.arange(65), y]), weights=weights)
        assert log_loss(np.log(A), y, weights, each) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 17])
def test_probabilities_at_a_temperature_are_those_of_scaled_logits(classes):
    A, _ = problem(65, classes, 1)
    for each in (0.5, 1.0, 2.0):
        expected = A ** (1 / each) / (A ** (1 / each)).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(tempered(A, each), expected, rtol=1e-12)
    np.testing.assert_allclose(tempered(np.array([[0.0, 1.0]]), 0.5), [[0, 1]], atol=1e-70)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_what_is_too_certain_is_cooled_and_the_reverse(sharpness):
    A, y = problem(4000, 3, sharpness)
    assert best_temperature(A, y, None) == pytest.approx(sharpness, rel=0.1)


def test_probabilities_of_zero_count_as_the_least():
    A = np.array([[1.0, 0.0], [0.0, 1.0]] * 20)
    y = np.array([0, 1] * 18 + [1, 0] * 2)
    assert best_temperature(A, y, None) == TEMPERATURES[-1]


TRAINED = """
import hashlib
import numpy as np
from fastnet.tables import TableClassifier, TableRegressor

rng = np.random.default_rng(0)
X = [[a, b, c] for a, b, c in zip(rng.standard_normal(400), (np.arange(400) % 7).tolist(), "xyxz" * 100)]
y = np.arange(400) ** 2 % 3
everything = []
settings = {"random_state": 0, "epochs": 6, "hidden_layer_sizes": (24, 17)}
for model in (TableClassifier(**settings, class_weight="balanced"), TableRegressor(**settings)):
    model.fit(X, y, sample_weight=1 + np.arange(400) % 4)
    everything += [network.parameters.tobytes() for network in model.model_]
    everything.append(model.predict(X[:50]).astype(float).tobytes())
    everything.append(np.float64(getattr(model, "temperature_", 1)).tobytes())
print(hashlib.sha256(b"".join(everything)).hexdigest())
"""


@pytest.mark.jit
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 CPUs")
def test_estimators_train_to_the_same_bits_on_every_instruction_set():
    """Of the kernels, and of NumPy."""
    pytest.importorskip("sklearn")
    known = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_CPU")}
    features = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512F AVX512_SKX AVX2 FMA3"}
    targets = [{}, features | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}]
    command = [sys.executable, "-W", "ignore", "-c", TRAINED]
    processes = [
        subprocess.Popen(command, env=known | {"PYTHONPATH": str(HERE)} | target, stdout=subprocess.PIPE, text=True)
        for target in targets
    ]
    digests = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(digests[0]) == 65
    assert digests[1] == digests[0]
