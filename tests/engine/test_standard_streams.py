"""Standard streams that are replaced, closed or gone, and writes that fail: what is shown is no part of training."""

import errno
import io
import sys
import types

import pytest
from compiled import make_model, random_data
from scenes import ROOT, run_scene

pytestmark = pytest.mark.jit  # not about kernels, and minutes in plain Python

X, Y = random_data(65, 4)
SCALED = X * [1, 1, 1, 1e-6]  # a warning is due
GONE = object()


def closed():
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    return stream


def detached():
    stream = io.TextIOWrapper(io.BytesIO())
    stream.detach()
    return stream


class Failing:
    """A terminal whose writes fail from the given one on."""

    def __init__(self, error, after=0):
        self.error, self.left, self.encoding = error, after, "utf-8"

    def isatty(self):
        return True

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise self.error

    def flush(self):
        pass


class FailingFlush(Failing):
    def write(self, text):
        pass

    def flush(self):
        raise self.error


class Log:
    """What programs put in the place of a stream: no `isatty`, no `flush`."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


class NoTerminal(Log):
    def isatty(self):
        raise RuntimeError("wrapped C/C++ object has been deleted")


ERRORS = {
    "a broken pipe": BrokenPipeError(errno.EPIPE, "Broken pipe"),
    "a full device": OSError(errno.ENOSPC, "No space left on device"),
    "an encoding": UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range(128)"),
    "no reason known": RuntimeError("no console"),
}
STREAMS = {
    "None": lambda: None,
    "gone": lambda: GONE,
    "closed": closed,
    "detached": detached,
    "no stream": object,
    "a log": Log,
    "a window that is gone": NoTerminal,
    **{name: lambda error=error: Failing(error) for name, error in ERRORS.items()},
    **{f"{name}, later": lambda error=error: Failing(error, 2) for name, error in ERRORS.items()},
    **{f"{name}, when flushed": lambda error=error: FailingFlush(error) for name, error in ERRORS.items()},
}


def trained(**settings):
    model = make_model((4, 3, 1), ("relu", "sigmoid"))
    history = model.fit(SCALED, Y, epochs=5, **settings)
    return history.cost, history.stopped_reason, model.step(X, Y), model.parameters.tobytes()


@pytest.fixture(scope="module")
def expected():
    with pytest.warns(UserWarning, match="The features of X are far from the scale"):
        return trained(verbose=False)


IN_EVERY_STATE = """
    import io, traceback, warnings
    sys.path.insert(0, {tests!r})
    from engine.test_standard_streams import GONE, SCALED, STREAMS, X, Y, trained
    from fastnet.engine import progress
    progress.REWRITE_SECONDS = 0.0
    expected, out, errors = trained(verbose=False), sys.stdout, sys.stderr
    warnings.simplefilter("always")  # in earnest: pytest would keep them
    for name, make_stream in STREAMS.items():
        sys.stdout, sys.stderr = make_stream(), make_stream()
        if sys.stdout is GONE:
            del sys.stdout, sys.stderr
        try:
            {what}
        except BaseException as error:
            found = repr(error)
        sys.stdout, sys.stderr = out, errors
        print(name, found, sep=": ")
"""


def in_every_state(what):
    """Run a scene, with `found` set by that code for each of STREAMS; return what it was, by name."""
    out = run_scene(IN_EVERY_STATE.format(tests=str(ROOT / "tests"), what=what))
    return dict(line.split(": ", 1) for line in out.splitlines())


@pytest.mark.jit
@pytest.mark.parametrize("more", ["", ", callbacks=lambda model, epoch, logs: False"])
def test_a_model_trains_whatever_the_streams_are(more):
    found = in_every_state(f"found = [trained(verbose=v{more}) == expected for v in (False, True, 'auto')]")
    assert found == dict.fromkeys(STREAMS, "[True, True, True]")


@pytest.mark.jit
@pytest.mark.parametrize("settings", ["max_iter=3, early_stopping=True, batch_size=100", "solver='lbfgs', max_iter=3"])
def test_so_does_an_estimator(settings):
    pytest.importorskip("fastnet.sklearn")
    found = in_every_state(f"""
            from fastnet.sklearn import MLPClassifier
            found = []
            for verbose in (False, True):
                estimator = MLPClassifier((3,), random_state=0, verbose=verbose, {settings}).fit(X, Y[:, 0])
                found.append(estimator.n_iter_)
    """)
    assert found == dict.fromkeys(STREAMS, "[3, 3]")


@pytest.mark.parametrize("stream", ["a log", "closed"])
def test_what_a_log_gets(stream, monkeypatch):
    log = STREAMS[stream]()
    monkeypatch.setattr(sys, "stdout", log)
    make_model((4, 3, 1), ("relu", "sigmoid")).fit(X, Y, epochs=3, verbose=True)
    if stream == "a log":
        assert [line.split("  ")[0] for line in log.text.splitlines()] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]


@pytest.mark.parametrize("fails", ["tqdm", "set_postfix", "update", "close"])
def test_a_bar_that_fails_ends_no_fit(fails, monkeypatch, expected):
    class Bar:
        def __init__(self, total, unit):
            self.call("tqdm")

        def __getattr__(self, name):
            return lambda *arguments, **settings: self.call(name)

        def call(self, name):
            if name == fails:
                raise BrokenPipeError

    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipywidgets", types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Bar))
    with pytest.warns(UserWarning, match="The features of X are far from the scale"):
        assert trained() == expected


def test_a_module_that_is_called_ipython_and_is_none(monkeypatch, expected):
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    with pytest.warns(UserWarning, match="The features of X are far from the scale"):
        assert trained() == expected


def test_ctrl_c_while_the_line_is_written_ends_the_fit(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Failing(KeyboardInterrupt()))
    model = make_model((4, 3, 1), ("relu", "sigmoid"))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=3)
    assert model.history.stopped_reason == "interrupted"
    model.fit(X, Y, epochs=1, verbose=False)


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_made_an_error_is_one(monkeypatch):
    monkeypatch.setattr(sys, "stderr", closed())
    with pytest.raises(UserWarning, match="The features of X are far from the scale"):
        trained()


def test_the_warning_points_to_the_line_of_the_user():
    with pytest.warns(UserWarning, match="The features of X are far from the scale") as caught:
        make_model((4, 3, 1), ("relu", "sigmoid")).fit(SCALED, Y, epochs=1)
    assert caught[0].filename == __file__
