"""Searches in several processes: what they find is what one finds, each takes its share of cores, none compiles."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("sklearn")
import joblib
from sklearn.model_selection import GridSearchCV

from fastnet.engine import threads
from fastnet.kernels.build import load
from fastnet.sklearn import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.jit,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X = np.random.default_rng(0).standard_normal((600, 32))
Y = (X[:, 0] > X[:, 1]).astype(int)
GRID = {"alpha": [1e-4, 10.0], "learning_rate_init": [1e-6, 1e-2]}


class Note:
    """A callback that leaves in a folder how many cores all fits of its process take, and what was compiled there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, model, epoch, logs) -> None:
        cores = sum(threads._reserved.values())
        (self.folder / f"{os.getpid()}-{cores}-{load.counts[load.COMPILED]}").touch()


@pytest.fixture
def two_cores() -> Iterator[None]:
    """Let this process, and those that it starts, run on two cores; its environment is as it was afterwards."""
    if threads.available_cores() < 2 or not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs two cores, and a system that says which")
    cores = os.sched_getaffinity(0)
    with mock.patch.dict(os.environ):
        for name in threads.ENVIRONMENT:
            os.environ.pop(name, None)
        os.sched_setaffinity(0, sorted(cores)[:2])
        yield
        os.sched_setaffinity(0, cores)


def search(folder: Path, n_jobs: int = 1, **settings: object) -> tuple[GridSearchCV, dict[int, int], int]:
    """Return a search, the cores that each of its processes took at most, and how many parts they compiled."""
    folder.mkdir()
    network = MLPClassifier(
        hidden_layer_sizes=(128, 128), max_iter=6, random_state=0, callbacks=Note(folder), **settings
    )
    found = GridSearchCV(network, GRID, cv=2, n_jobs=n_jobs, refit=False, error_score="raise").fit(X, Y)
    taken: dict[int, int] = {}
    compiled = 0
    for name in os.listdir(folder):
        process, cores, parts = map(int, name.split("-"))
        taken[process] = max(cores, taken.get(process, 0))
        compiled += parts * (process != os.getpid())
    return found, taken, compiled


@pytest.fixture
def serial(tmp_path, two_cores) -> GridSearchCV:
    """A search in this process, whose fits have both cores."""
    found, taken, _ = search(tmp_path / "serial")
    assert taken == {os.getpid(): 2}
    return found


def assert_same(found: GridSearchCV, expected: GridSearchCV) -> None:
    assert found.best_params_ == expected.best_params_
    scores = [name for name in expected.cv_results_ if "test_score" in name]
    assert len(scores) == 5
    for name in scores:
        np.testing.assert_array_equal(found.cv_results_[name], expected.cv_results_[name])
    assert len(set(expected.cv_results_["mean_test_score"])) > 1


def test_two_workers_of_loky(tmp_path, serial):
    with joblib.parallel_config(backend="loky"):
        found, taken, compiled = search(tmp_path / "loky", n_jobs=2)
        own, taken_if_told, _ = search(tmp_path / "told", n_jobs=2, n_threads=2)
    assert_same(found, serial)
    assert_same(own, serial)
    assert os.getpid() not in taken
    assert list(taken.values()) == [1, 1]
    assert set(taken_if_told.values()) == {2}  # by n_threads
    assert not compiled


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")  # of each other
@pytest.mark.parametrize(
    ("cluster", "settings"),
    [
        ({"n_workers": 2, "threads_per_worker": 1, "processes": True}, {}),
        ({"n_workers": 1, "threads_per_worker": 2, "processes": True}, {}),
        ({"n_workers": 1, "threads_per_worker": 2, "processes": False}, {"n_threads": 1}),
    ],
    ids=["two processes", "two threads of a process", "two threads here"],
)
def test_two_workers_of_dask(tmp_path, serial, cluster, settings):
    """In threads of this process, for which Dask sets no limit, the first fit would have both cores, as on its own."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(**cluster, dashboard_address=None) as workers,
        distributed.Client(workers),
        joblib.parallel_config(backend="dask"),
    ):
        found, taken, compiled = search(tmp_path / "dask", n_jobs=2, **settings)
    assert_same(found, serial)
    assert (os.getpid() in taken) is not cluster["processes"]
    assert sum(taken.values()) <= 2
    assert not compiled


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(("solver", "vectors"), [("sgd", 2), ("adam", 3), ("lbfgs", 1)])
def test_a_fitted_estimator_is_pickled_small(kind, solver, vectors):
    """As its parameters, what the solver remembers of them, and little else: no data, nothing compiled."""
    estimator = kind(hidden_layer_sizes=(128, 128), solver=solver, max_iter=3, random_state=0).fit(X, Y)
    pickled = pickle.dumps(estimator)
    n_bytes = estimator.model_.parameters.nbytes
    assert n_bytes <= len(pickled) <= vectors * n_bytes + 10_000
    np.testing.assert_array_equal(pickle.loads(pickled).predict(X), estimator.predict(X))
