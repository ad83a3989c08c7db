"""What `fit` shows: on a terminal, in a notebook, in a file."""

import re
import sys
import types

import pytest
from compiled import make_model, random_data

from fastnet import TrainingDivergedError
from fastnet.engine import progress
from fastnet.history import History

X, Y = random_data(65, 4)


class Stream:
    """Standard output that says whether it is a terminal, and keeps what was written."""

    def __init__(self, is_terminal):
        self.is_terminal, self.text = is_terminal, ""

    def isatty(self):
        return self.is_terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    @property
    def shown(self):
        """The lines as a terminal shows them: of what was rewritten, the last."""
        return [re.split(r"\r(?:\x1b\[K)?", line)[-1] for line in self.text.split("\n") if line]


@pytest.fixture
def stream_of(monkeypatch):
    def make(is_terminal):
        stream = Stream(is_terminal)
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return make


def fit(epochs=3, **settings):
    return make_model((4, 3, 1), ("relu", "sigmoid")).fit(X, Y, epochs=epochs, **settings)


@pytest.mark.parametrize(("is_terminal", "verbose"), [(False, "auto"), (True, False), (False, False), (True, 0)])
def test_nothing_is_shown_unasked_where_nobody_looks(is_terminal, verbose, stream_of):
    stream = stream_of(is_terminal)
    fit(verbose=verbose)
    assert stream.text == ""


@pytest.mark.parametrize("verbose", [True, 1, 2])
def test_a_file_gets_a_line_for_each_epoch(verbose, stream_of):
    stream = stream_of(False)
    history = fit(verbose=verbose, validation_split=0.2)
    assert "\r" not in stream.text
    for epoch, line in enumerate(stream.text.splitlines()):
        costs = f"cost {history.cost[epoch]:.4g}  val_cost {history.val_cost[epoch]:.4g}"
        assert line.startswith(f"epoch {epoch + 1}/3  {costs}  ")
    assert epoch == 2


def test_a_terminal_gets_one_line_that_is_rewritten(stream_of):
    stream = stream_of(True)
    history = fit(verbose="auto", epochs=12)
    (line,) = stream.shown
    assert line.startswith(f"epoch 12/12  cost {history.cost[-1]:.4g}  ")
    assert " rows/s  " in line
    assert line.endswith(" s")
    assert " left" not in line


def test_the_line_tells_speed_and_remaining_time(stream_of):
    stream = stream_of(True)
    shown = progress.Progress(True, 10)
    history = History(cost=[0.5], val_cost=[0.75])
    shown.update(history, example=50, examples=100, seconds=30.0)
    assert stream.shown == ["epoch  1/10  cost 0.5  val_cost 0.75  (50% of the next)  5 rows/s  2:50 left"]
    shown.update(history, example=51, examples=100, seconds=30.05)  # too soon for another
    assert stream.shown == ["epoch  1/10  cost 0.5  val_cost 0.75  (50% of the next)  5 rows/s  2:50 left"]
    shown.close(history, 61.0)
    assert stream.shown == ["epoch  1/10  cost 0.5  val_cost 0.75  5 rows/s  1:01"]


def test_a_fit_that_ends_early_leaves_its_last_epoch(stream_of):
    stream = stream_of(True)
    history = fit(epochs=500, callbacks=lambda model, epoch, logs: epoch == 6)
    assert stream.shown[-1].startswith(f"epoch   7/500  cost {history.cost[6]:.4g}  ")


def test_a_line_is_no_longer_than_the_terminal_is_wide(stream_of, monkeypatch):
    stream = stream_of(True)
    monkeypatch.setenv("COLUMNS", "30")
    fit(epochs=3)
    assert max(map(len, stream.shown)) == 29


def test_an_interrupted_line_is_ended(stream_of, monkeypatch):
    def interrupt(model, epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    stream = stream_of(True)
    with pytest.raises(KeyboardInterrupt):
        fit(verbose=True, callbacks=interrupt)
    assert stream.text.endswith("\n")


def test_a_long_epoch_shows_how_far_it_is(stream_of, monkeypatch):
    stream = stream_of(True)
    monkeypatch.setattr("fastnet.engine.run.CALL_SECONDS", 1e-9)
    monkeypatch.setattr(progress, "REWRITE_SECONDS", 0.0)
    fit(epochs=1, batch_size=5)
    assert "epoch 0/1  (46% of the next)  " in stream.text


def test_a_line_left_by_divergence_is_ended(stream_of, monkeypatch):
    stream = stream_of(True)
    monkeypatch.setattr(progress, "REWRITE_SECONDS", 0.0)
    model = make_model((4, 3, 1), ("relu", "linear"), learning_rate=30.0, dtype="float32")
    with pytest.raises(TrainingDivergedError):
        model.fit(X, Y, epochs=10_000, callbacks=lambda model, epoch, logs: None)
    assert stream.text.endswith("\n")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_is_told_why_the_first_fit_waits(is_terminal, stream_of, monkeypatch):
    stream = stream_of(is_terminal)
    monkeypatch.setattr("fastnet.kernels.build.load._addresses", {})
    monkeypatch.setattr("fastnet.engine.run.load_stored", lambda recipe: False)
    first, second = (fit() for _ in range(2))
    assert stream.text.count("compiling kernels") == is_terminal
    assert first.compile_seconds > second.compile_seconds == 0


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1:01"), (3661, "1:01:01")])
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def in_a_notebook(monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))


def test_a_notebook_gets_tqdms_bar(stream_of, monkeypatch):
    pytest.importorskip("tqdm")
    bars = []

    class Bar:
        def __init__(self, total, unit):
            self.total, self.done, self.shown, self.closed = total, 0, {}, False
            bars.append(self)

        def set_postfix(self, values, refresh):
            self.shown = values

        def update(self, n):
            self.done += n

        def close(self):
            self.closed = True

    in_a_notebook(monkeypatch)
    monkeypatch.setitem(sys.modules, "ipywidgets", types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Bar))
    stream = stream_of(False)
    history = fit(verbose="auto")
    (bar,) = bars
    assert (bar.total, bar.done, bar.closed) == (3, 3, True)
    assert bar.shown == {"cost": f"{history.cost[-1]:.4g}"}
    assert stream.text == ""


@pytest.mark.parametrize("missing", ["tqdm.auto", "ipywidgets"])
def test_a_notebook_without_tqdms_bar_gets_the_line_whole(missing, stream_of, monkeypatch):
    """Without ipywidgets tqdm.auto warns of that in red, and writes its bar to the stream of errors."""
    in_a_notebook(monkeypatch)
    monkeypatch.setitem(sys.modules, "ipywidgets", types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setenv("COLUMNS", "20")
    stream = stream_of(False)
    fit(verbose="auto")
    assert re.fullmatch(r"epoch 3/3  cost [\d.]+  \S+ rows/s  [\d.]+ s", stream.shown[0].rstrip())


def test_a_line_in_a_notebook_covers_the_last(stream_of, monkeypatch):
    """A notebook leaves out the sign that erases a line, and puts what follows a return over what is there."""
    in_a_notebook(monkeypatch)
    stream = stream_of(False)
    shown = progress.Progress(True, 3)
    with shown.compiling():
        pass
    long, blank = stream.text.split("\r")[1:]
    assert long.startswith("compiling kernels")
    assert blank == " " * len(long)
