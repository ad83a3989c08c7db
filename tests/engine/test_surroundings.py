"""What the program around it has made of Python: threads that are none, an executable that is no Python."""

import importlib.util
import sys

import pytest
from scenes import run_scene

pytestmark = pytest.mark.jit

# ------------------------------------------------------------------------------------------- threads that are none

PATCHED = {
    "gevent": "from gevent import monkey, sleep; monkey.patch_all()\n",
    "eventlet": "import eventlet; from eventlet import sleep; eventlet.monkey_patch()\n",
    "called at once": """
import threading, time
from time import sleep
def start(self):
    self._native_id = threading.get_native_id()
    self._started.set()
    self.run()
threading.Thread.start = start
threading.Thread.join = lambda self, timeout=None: None
""",
}


@pytest.fixture(params=PATCHED)
def patched(request):
    """The code that makes of threads what takes turns with the one that starts them."""
    if request.param != "called at once" and importlib.util.find_spec(request.param) is None:
        pytest.skip(f"needs {request.param}")
    return "import warnings; warnings.simplefilter('ignore')\n" + PATCHED[request.param]


def test_where_threads_take_turns_one_trains_and_predicts(patched):
    out = run_scene(
        """
        threads.available_cores = lambda: 2
        model = make()
        history = model.fit(X, y, epochs=2, batch_size=100, threads=2, verbose=False)
        print(digest(model) == expected(0, 2), len(threads._reserved))
        rows = np.tile(X, (200, 1))
        print(np.array_equal(model.forward(rows)[:1000], model.forward(X)))
        """,
        before=patched,
        timeout=60,
    )
    assert out.split() == ["True", "0", "True"]


@pytest.mark.parametrize("name", ["gevent", "eventlet"])
def test_what_is_patched_after_the_import_trains_and_predicts(name):
    """By threads that are real, then: they may not wait for a lock of those that are none."""
    pytest.importorskip(name)
    out = run_scene(
        f"""
        {PATCHED[name]}
        threads.available_cores = lambda: 4
        sys.setswitchinterval(1e-5)
        model = make()
        model.fit(X, y, epochs=2, batch_size=100, threads=2, verbose=False)
        print(digest(model) == expected(0, 2), threads.THREADS_ARE_REAL)
        rows = np.tile(X, (200, 1))
        print(all(np.array_equal(model.forward(rows)[:1000], model.forward(X)) for _ in range(5)))
        """,
        before="import warnings; warnings.simplefilter('ignore')\n",
        timeout=60,
    )
    assert out.split() == ["True", "True", "True"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to itself")
def test_and_ctrl_c_is_answered(patched):
    out = run_scene(
        """
        threads.available_cores = lambda: 2
        model = make()
        model.fit(X, y, epochs=1, batch_size=100, threads=2, verbose=False)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            model.fit(X, y, epochs=10**6, batch_size=100, threads=2, verbose=False)
        except KeyboardInterrupt:
            print(model.history.stopped_reason, np.isfinite(model.parameters).all(), len(threads._reserved))
        """,
        before=patched,
        timeout=60,
    )
    assert out.split() == ["interrupted", "True", "0"]


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="needs gevent")
def test_three_that_take_turns_in_callbacks_train_as_one_after_the_other():
    out = run_scene(
        """
        import gevent
        threads.available_cores = lambda: 2
        models = [make(seed) for seed in range(3)]
        order = []
        def fit(seed):
            def turn(model, epoch, logs):
                order.append(seed)
                sleep(0)
            models[seed].fit(X, y, epochs=3, batch_size=100, threads=2, verbose=False, callbacks=turn)
        gevent.joinall([gevent.spawn(fit, seed) for seed in range(3)], raise_error=True)
        print([digest(model) for model in models] == [expected(seed, 3) for seed in range(3)], order != sorted(order))
        """,
        before=PATCHED["gevent"],
        timeout=60,
    )
    assert out.split() == ["True", "True"]


# ------------------------------------------------------------------------------------------- an application's Python

WATCHED = """
import sys
started = []
STARTS = ("subprocess.", "os.system", "os.posix_spawn", "os.exec", "os.fork", "os.spawn", "os.startfile", "pty.spawn")
def watch(event, arguments):
    if event.startswith(STARTS) or "CreateProcess" in event:
        started.append((event, arguments))
sys.addaudithook(watch)
"""


@pytest.mark.parametrize("executable", ["'/usr/bin/application'", "None"])
def test_no_process_is_ever_started(executable, store_without_updates):
    """In an application that embeds Python, sys.executable may be the application. Some parts are compiled here."""
    pytest.importorskip("fastnet.sklearn")
    out = run_scene(
        f"""
        sys.executable = {executable}
        import warnings
        import fastnet
        from fastnet.kernels.build import load
        from fastnet.sklearn import MLPClassifier
        threads.available_cores = lambda: 2
        model = make()
        model.fit(X, y, epochs=2, threads=2, validation_split=0.2, metrics=["accuracy"])
        model.predict(np.tile(X, (200, 1)))
        model.predict(X[:1])
        fastnet.warmup()
        warnings.simplefilter("ignore")
        MLPClassifier((3,), max_iter=2).fit(X, y).predict(X)
        print(started, load.counts[load.COMPILED] > 1)
        """,
        before=WATCHED,
        NUMBA_CACHE_DIR=store_without_updates,
    )
    assert out == "[] True\n"


def test_a_process_that_is_started_is_noticed():
    out = run_scene("import os; os.system('true'); print([event for event, _ in started])", before=WATCHED)
    assert out == "['os.system']\n"
