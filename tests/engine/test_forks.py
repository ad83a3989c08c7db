"""Children that are forked at a bad moment, while other threads compile or train: they train, and never hang."""

import os

import pytest
from scenes import run_scene

pytestmark = [pytest.mark.jit, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

FORKING = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is the point here

def in_child(function):
    '''Fork; return whether the function returned True in the child.'''
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # rather than hang
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        os._exit(0 if function() is True else 1)
    return os.waitpid(child, 0)[1] == 0
"""


def scene(code, **settings):
    return run_scene(code, before=FORKING, timeout=300, **settings)  # some compile half of the kernels


def test_a_child_forked_while_another_thread_warms_up(store_without_updates):
    """The thread compiles one part for each child, so that it is not at the end before the last; a child another."""
    out = scene(
        """
        import gc
        from fastnet import Adagrad, RMSprop
        def warm_up():
            from fastnet.engine.network import import_kernels
            import_kernels()
            from fastnet.kernels.build import load
            from fastnet.kernels.link import every_part
            for name, code in every_part():
                if name == "update":
                    turns.acquire()
                    load.address_of(name, np.dtype("float32"), *code)
        def train(optimizer):
            model = Model([Dense(1, "sigmoid")], optimizer=optimizer, seed=0)
            model.fit(X, y, epochs=1, verbose=False)
            return gc.isenabled() and bool(np.isfinite(model.parameters).all())
        turns = threading.Semaphore(0)
        threading.Thread(target=warm_up, daemon=True).start()
        sys.setswitchinterval(1e-5)
        moments = {
            SGD(0.1, momentum=0.9, nesterov=True): lambda: "fastnet.kernels.link" in sys.modules,  # importing kernels
            RMSprop(0.01): lambda: "numba" in sys.modules,  # importing numba
            Adagrad(0.01): lambda: not gc.isenabled(),  # compiling
        }
        for optimizer, moment in moments.items():
            while not moment():
                time.sleep(0)
            print(in_child(lambda: train(optimizer)), flush=True)
            turns.release()
        os._exit(0)
        """,
        NUMBA_CACHE_DIR=store_without_updates,
    )
    assert out.split() == ["True"] * 3


@pytest.mark.parametrize("place", ["loading a part", "defining a call", "copying parameters in", "changing a model"])
def test_a_child_forked_while_another_thread_holds_a_lock(place):
    out = scene(f"""
        from fastnet.kernels.build import load, machine
        model = estimator = make()
        model.build(40)
        if {place!r} == "copying parameters in":
            from fastnet.sklearn import MLPClassifier
            warnings.simplefilter("ignore")
            estimator = MLPClassifier((3,), max_iter=1, random_state=0).fit(X, y)
        reached = threading.Event()
        def wait_once():
            if threading.current_thread() is not threading.main_thread() and not reached.is_set():
                reached.set()
                time.sleep(0.3)
        def patched(function):
            def wait_and_call(*arguments):
                wait_once()
                return function(*arguments)
            return wait_and_call
        def change():
            with model._training.lock:
                wait_once()
        def copy_in():
            estimator.coefs_ = [coef.copy() for coef in estimator.coefs_]
            estimator._bind = patched(estimator._bind)
            estimator.predict(X)
        load.store.read, machine._passing = patched(load.store.read), patched(machine._passing)
        held = {{
            "loading a part": lambda: model.forward(X),
            "defining a call": lambda: machine.bound(1, "i", (np.zeros(1),)),
            "copying parameters in": copy_in,
            "changing a model": change,
        }}
        thread = threading.Thread(target=held[{place!r}])
        thread.start()
        reached.wait()
        def use():
            model.optimizer = Adam(0.002)
            model.fit(X, y, epochs=1, verbose=False)
            return len(model.forward(X)) == len(estimator.predict(X))
        print(in_child(use))
        thread.join()
    """)
    assert out.split() == ["True"]


def test_a_fork_beside_a_part_that_logs():
    """numba does: whoever forks has logging's lock too, and must not wait with it for the part to end."""
    out = scene("""
        from fastnet.kernels.build import forks
        import logging
        reached = threading.Event()
        def compile():
            with forks.lock:
                forks.come_before_logging()
                reached.set()
                time.sleep(0.3)
                logging.getLogger("compiling").debug("nothing")
        thread = threading.Thread(target=compile)
        thread.start()
        reached.wait()
        signal.alarm(20)
        print(in_child(lambda: True))
        thread.join()
    """)
    assert out.split() == ["True"]


def test_a_child_forked_while_another_thread_trains_may_train_that_model():
    out = scene("""
        model, other, epochs = make(), make(), []
        def fit():
            model.fit(X, y, epochs=10**6, batch_size=100, threads=2, callbacks=lambda *_: epochs.append(0) or stop)
        stop = False
        thread = threading.Thread(target=fit)
        thread.start()
        while len(epochs) < 3:
            time.sleep(0.001)
        def train():
            for each in (copy.copy(model), model):
                each.fit(X, y, epochs=2, batch_size=100, threads=2, verbose=False)
                each.step(X, y)
                assert np.isfinite(each.parameters).all()
            model.build(7)
            return True
        print(in_child(train))
        try:
            model.step(X, y)
        except RuntimeError:
            print("still training")
        stop = True
        thread.join()
    """)
    assert out.split() == ["True", "still", "training"]


@pytest.mark.parametrize(("m", "batch_size"), [(1000, 100), (100, None), (8000, None)])
def test_a_child_forked_in_a_callback_goes_on_with_the_fit(m, batch_size):
    """On one thread, as the others are not in it; while it does, nobody else may train the model there."""
    out = scene(f"""
        threads.available_cores = lambda: 3
        X, y, settings = np.resize(X, ({m}, 40)), np.resize(y, {m}), {{"epochs": 4, "batch_size": {batch_size}}}
        validation = {{"validation_data": (X[:90], y[:90]), "metrics": ["mse"]}}
        twin, model, found = make(), make(), []
        twin.fit(X, y, threads=1, **settings)
        print(digest(twin))
        def fork(model, epoch, logs):
            if epoch == 1:
                child = os.fork()
                if child:
                    found.append(os.waitpid(child, 0)[1])
                    return
                signal.alarm(60)
                found.append("child")
                another = make()
                another.fit(X, y, threads=2, **settings)
                print(digest(another))
                try:
                    model.step(X, y)
                except RuntimeError:
                    copy.copy(model).step(-X, y)  # and leaves memory in which other examples are
        model.fit(X, y, threads=3, callbacks=fork, **settings, **validation)
        print(digest(model), flush=True)
        if found != ["child"]:
            print(found, flush=True)
        os._exit(0)
    """)
    *digests, status = out.split()
    assert status == "[0]"
    assert len(digests) == 4
    assert len(set(digests)) == 1
