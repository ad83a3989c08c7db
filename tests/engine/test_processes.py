"""Many processes: started in every way, all at once on an empty store, and when that goes while they run."""

import multiprocessing
import os

import numpy as np
import pytest
from scenes import PROLOGUE, ROOT, run_scene

pytestmark = pytest.mark.jit

WORKER = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
{PROLOGUE}
def work(seed):
    "Train, and go on with a model that came from another process; return digests, and how many parts were compiled."
    from fastnet.kernels.build import load
    model = make(seed)
    model.fit(X, y, epochs=2, batch_size=100, threads=2, verbose=False)
    return digest(model), load.counts[load.COMPILED]

def go_on(model):
    model.fit(X, y, epochs=1, batch_size=100, verbose=False)
    return model
"""


@pytest.fixture
def worker(tmp_path):
    """A folder with a module `worker`, which a process that is not forked has to import."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "worker.py").write_text(WORKER)
    return f"sys.path.insert(0, {str(folder)!r}); import worker, multiprocessing"


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_pool_gives_the_bits_of_this_process(method, worker):
    """Though this one has trained with threads before; and models come and go."""
    out = run_scene(f"""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        {worker}
        threads.available_cores = lambda: 2
        here = [worker.work(seed)[0] for seed in range(3)]
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            there = [found for found, _ in pool.map(worker.work, range(3))]
            (back,) = pool.map(worker.go_on, [make(7)])
        print(here == there, digest(back) == digest(worker.go_on(make(7))))
    """)
    assert out.split() == ["True", "True"]


def test_a_pool_of_eight_that_start_on_a_store_without_what_they_need(worker, store_without_updates):
    out = run_scene(
        f"""
        {worker}
        with multiprocessing.get_context("spawn").Pool(8) as pool:
            found = pool.map(worker.work, [0] * 8, chunksize=1)
        print(len(set(bits for bits, _ in found)), max(compiled for _, compiled in found))
        print(worker.work(0)[1])
        """,
        NUMBA_CACHE_DIR=store_without_updates,
    )
    assert out.split() == ["1", "1", "0"]


FITTING = """
import os, shutil
from fastnet.kernels.build import load
place = os.environ["NUMBA_CACHE_DIR"]
def fit(optimizer):
    model = Model([Dense(1, "sigmoid")], optimizer=optimizer, seed=0)
    model.fit(X, y, epochs=1, verbose=False)
    return bool(np.isfinite(model.parameters).all())
"""


def test_a_store_that_is_deleted_while_a_process_runs(store_without_updates):
    """What comes later is compiled, and stored where the folder was; also while someone deletes it again and again."""
    out = run_scene(
        """
        print(fit(SGD(0.1)))
        shutil.rmtree(place)
        print(fit(SGD(0.1)), fit(Adam()), os.path.isdir(place))
        deleting = True
        def delete():
            while deleting:
                shutil.rmtree(place, ignore_errors=True)
        thread = threading.Thread(target=delete)
        thread.start()
        print(all([fit(SGD(0.1, 0.9)), fit(SGD(0.1, 0.9, True))]))
        deleting = False
        thread.join()
        print(load.counts[load.COMPILED])
        """,
        before=FITTING,
        NUMBA_CACHE_DIR=store_without_updates,
    )
    assert out.split() == ["True"] * 5 + ["4"]


@pytest.mark.parametrize("option", ["-O", "-OO"])
def test_without_assertions_or_docstrings_training_gives_the_same_bits(option):
    pytest.importorskip("fastnet.sklearn")
    code = """
        import warnings
        from fastnet.sklearn import MLPClassifier
        warnings.simplefilter("ignore")
        estimator = MLPClassifier((5,), max_iter=2, early_stopping=True, random_state=0).fit(X, y)
        print(expected(0, 2), hashlib.sha256(estimator.coefs_[0].tobytes()).hexdigest())
        try:
            Model([Dense(1)], optimizer=SGD(1e30), seed=0).fit(1e9 * X, y)
        except TrainingDivergedError as error:
            print(error)
    """
    assert run_scene(code, option) == run_scene(code)


def test_a_store_that_can_be_neither_made_nor_read():
    out = run_scene(
        """
        model = Model([Dense(1)], seed=0)
        model.build(2)
        print(model.predict([[0.0, 0.0]])[0], load.counts[load.COMPILED] > 0)
        """,
        before=FITTING,
        NUMBA_CACHE_DIR=os.path.join(os.devnull, "store"),
        FASTNET_TARGET="native",
    )
    assert out.split() == [str(np.float32(0.0)), "True"]
