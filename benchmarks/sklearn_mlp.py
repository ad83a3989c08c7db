"""fastnet.sklearn against scikit-learn's MLP: the same arguments, data and epochs, alternating in one run.

taskset -c 0 env OPENBLAS_NUM_THREADS=1 python benchmarks/sklearn_mlp.py [--quick | --write]
python benchmarks/sklearn_mlp.py --search         (a grid search in two processes)
python benchmarks/sklearn_mlp.py --memory         (the most memory that a fit of 200,000 x 100 float64 takes)

Prints the medians of fit, an epoch, and of predict; and the ratio of the two, the median of that of each pair. With
--write, puts the ratios into the README.
"""

import argparse
import os
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import neural_network as theirs
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.readme import circumstances, write
from fastnet import sklearn as ours

ENDLESS = {"tol": 0.0, "n_iter_no_change": np.inf, "random_state": 0}
CALLS = 100


def problems() -> dict[str, tuple[np.ndarray, np.ndarray, dict[str, Any]]]:
    """Return X, y and the arguments of each; the small two are at default settings, but for when they stop."""
    cancer, digits = load_breast_cancer(return_X_y=True), load_digits(return_X_y=True)
    made = make_classification(20_000, 50, random_state=0)
    return {
        "breast cancer": (StandardScaler().fit_transform(cancer[0]), cancer[1], {"max_iter": 200}),
        "digits": (*digits, {"max_iter": 50}),
        "20,000 x 50, (100,)": (*made, {"max_iter": 5}),
        "20,000 x 50, (256, 128)": (*made, {"max_iter": 3, "hidden_layer_sizes": (256, 128)}),
    }


def seconds(task: Callable[[], Any]) -> float:
    """Return how long a task takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def compare(mine: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """Return the medians of the seconds of two tasks, alternating, and of the ratios of the second to the first."""
    mine()
    other()
    pairs = [(seconds(mine), seconds(other)) for _ in range(rounds)]
    ratios = [theirs_ / ours_ for ours_, theirs_ in pairs]
    return (*(statistics.median(times) for times in zip(*pairs, strict=True)), statistics.median(ratios))


def show_fits_and_predictions(rounds: int, dtypes: tuple[str, ...]) -> str:
    """Print a line for each problem, dtype, and prediction of 1 and of 100 rows; return a table of the ratios."""
    lines = ["| | " + " | ".join(f"`fit`, {dtype} | `predict` of one row" for dtype in dtypes) + " |"]
    lines.append("|---" * (1 + 2 * len(dtypes)) + "|")
    for name, (X, y, arguments) in problems().items():
        cells = [name]
        for dtype in dtypes:
            rows = X.astype(dtype)
            both = [kind(**arguments, **ENDLESS) for kind in (ours.MLPClassifier, theirs.MLPClassifier)]
            found = compare(*(partial(each.fit, rows, y) for each in both), rounds)
            show(f"{name:25} {dtype}  fit, an epoch", "ms", 1e3 / arguments["max_iter"], found)
            cells.append(f"{found[-1]:.1f}")
            for m in (1, 100):
                found = compare(*(partial(predict_often, each, rows[:m]) for each in both), 3 * rounds)
                show(f"{name:25} {dtype}  predict {m:5}", "us", 1e6 / CALLS, found)
                if m == 1:
                    cells.append(f"{found[-1]:.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def predict_often(estimator: Any, rows: np.ndarray) -> None:
    """Predict the same rows CALLS times."""
    for _ in range(CALLS):
        estimator.predict(rows)


def show(title: str, unit: str, scale: float, found: tuple[float, float, float]) -> None:
    """Print what `compare` has found."""
    mine, other, ratio = found
    print(f"{title:48} {scale * mine:9.3f} {unit} {scale * other:9.3f} {unit} {ratio:6.2f}", flush=True)


def show_search() -> None:
    """Print the time of a grid search: 24 candidates, 5 folds, 2 jobs."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    grid = {
        "hidden_layer_sizes": [(50,), (100,), (50, 50)], "alpha": [1e-4, 1e-2], "activation": ["relu", "tanh"],
        "learning_rate_init": [1e-3, 1e-2],
    }  # fmt: skip
    searches = [
        GridSearchCV(kind(random_state=0), grid, n_jobs=2, cv=5) for kind in (ours.MLPClassifier, theirs.MLPClassifier)
    ]
    show("grid search, 24 candidates x 5 folds, 2 jobs", "s", 1, compare(*(partial(s.fit, X, y) for s in searches), 3))
    assert searches[0].best_params_ == searches[1].best_params_


def show_memory() -> None:
    """Print the most memory of a fit beyond its input."""
    X = np.random.default_rng(0).standard_normal((200_000, 100))
    y = (X[:, 0] > 0).astype(int)
    estimator = ours.MLPClassifier(max_iter=2).fit(X[:1000], y[:1000])  # what is compiled is not counted
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    estimator.fit(X, y)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"fit of 200,000 x 100 float64, {X.nbytes / 1e6:.0f} MB: {(peak - before) / 1e3:.0f} MB more at its peak")


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    parser = argparse.ArgumentParser()
    for option in ("quick", "write", "search", "memory"):
        parser.add_argument(f"--{option}", action="store_true")
    options = parser.parse_args()
    if options.search:
        os.environ["PYTHONWARNINGS"] = "ignore"  # of the other processes
        sys.exit(show_search())
    if options.memory:
        sys.exit(show_memory())
    print(f"{'':48} {'fastnet':>12} {'scikit-learn':>12}  ratio")
    text = show_fits_and_predictions(
        1 if options.quick else 5, ("float64",) if options.quick else ("float64", "float32")
    )
    if options.write:
        write("scikit-learn table", f"{text}\n\n{circumstances('1 thread')}")
