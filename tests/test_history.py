"""What a fit leaves to be read: a history, a table of layers, scores; in a terminal and in a notebook."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import fastnet
from fastnet import Dense, EarlyStopping, History, Model
from fastnet.report import Scores, Text

RNG = np.random.default_rng(0)
X = RNG.standard_normal((65, 4))
Y = (X[:, 0] > 0).astype(float)


def fitted(**settings):
    model = Model([Dense(3, "tanh"), Dense(1, "sigmoid")], seed=0)
    return model.fit(X, Y, **{"epochs": 4, "validation_split": 0.3, "metrics": ["accuracy"]} | settings)


def test_a_history_shows_itself_in_a_line():
    history = fitted()
    assert repr(history).startswith(
        f"History(epochs=4, cost={history.cost[0]:.4g} -> {history.cost[-1]:.4g}, val_cost="
    )
    assert repr(history).endswith(", 'epochs')")
    assert len(repr(history).splitlines()) == 1
    assert repr(History()) == "History(epochs=0, best_epoch=None, seconds=0, '')"
    assert repr(fitted(epochs=300))[:19] == "History(epochs=300,"


def test_the_best_epoch():
    assert History(cost=[3.0, 1.0, 2.0]).best_epoch == 1
    assert History(cost=[3.0, 1.0, 2.0], val_cost=[1.0, 2.0, 3.0]).best_epoch == 0
    assert History(cost=[np.nan, 1.0, np.nan]).best_epoch == 1
    assert History(cost=[3.0, 1.0], kept_epoch=0).best_epoch == 0
    assert History().best_epoch is None
    stopping = EarlyStopping("val_accuracy", patience=2)
    history = fitted(callbacks=stopping, epochs=50)
    assert history.kept_epoch == history.best_epoch == stopping.best_epoch
    assert fitted(callbacks=EarlyStopping(restore_best=False)).kept_epoch is None


def test_metrics_are_found_by_completion():
    assert {"accuracy", "val_accuracy", "cost", "plot"} <= set(dir(fitted()))


def test_a_history_as_a_frame():
    history = fitted()
    frame = history.to_pandas()
    assert list(frame) == ["cost", "val_cost", "accuracy", "val_accuracy"]
    pd.testing.assert_index_equal(frame.index, pd.RangeIndex(4, name="epoch"))
    assert frame["val_accuracy"].tolist() == history.val_accuracy
    assert History().to_pandas().empty


def test_without_pandas_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas: pip install pandas"):
        History(cost=[1.0]).to_pandas()


def test_a_history_in_a_notebook():
    html = fitted()._repr_html_()
    assert html.count("<tr>") == 4
    assert all(f"<td>{name}</td>" in html for name in ("first", "best", "last"))
    assert "<th>epoch, from 0</th>" in html  # a plot, as the line of progress, counts from 1
    assert "stopped by 'epochs'" in html
    assert History()._repr_html_().count("<tr>") == 1
    interrupted = History(cost=[2.0, 1.0], val_cost=[3.0])
    assert interrupted._repr_html_().count("<td></td>") == 1


def test_texts_and_scores_print_well():
    text = Model([Dense(1)]).summary()
    assert isinstance(text, str)
    assert repr(text) == str(text)
    assert Text("a < b")._repr_html_() == "<pre>a &lt; b</pre>"
    scores = Scores(cost=0.123456, accuracy=1.0)
    assert scores == {"cost": 0.123456, "accuracy": 1.0}
    assert repr(scores) == "cost      0.1235\naccuracy  1"
    assert repr(Scores()) == ""
    assert "<th>accuracy</th>" in scores._repr_html_()
    assert pickle.loads(pickle.dumps(scores)) == scores


def test_the_epoch_that_was_kept_is_marked_and_the_cost_may_be_logarithmic():
    pytest.importorskip("matplotlib").use("Agg")
    history = History(cost=[1.0, 0.1, 0.01], val_cost=[1.0, 0.5, 0.6], kept_epoch=1)
    ax = history.plot(log=True)
    assert ax.get_yscale() == "log"
    assert [line.get_xdata() for line in ax.lines if line.get_label() == "kept"] == [[2, 2]]
    (kept,) = (line for line in ax.lines if line.get_label() == "kept")
    assert kept.get_ydata()[1] == pytest.approx(0.91)  # of the height: one row of the legend is above
    bottom, top = ax.get_ylim()
    assert 0 < bottom < 0.01
    assert top > 1
    assert History(cost=[1.0, 0.5]).plot().get_yscale() == "linear"
    with pytest.raises(TypeError, match="log must be True or False"):
        history.plot(log="yes")


def test_the_public_names_alone_are_listed():
    assert dir(fastnet) == sorted(fastnet.__all__)
    assert all(hasattr(fastnet, name) for name in dir(fastnet))


def test_versions(capsys):
    fastnet.show_versions()
    printed = capsys.readouterr().out
    assert all(
        word in printed for word in (f"fastnet {fastnet.__version__}", "numpy", "cores", "scikit-learn", "threads:")
    )
    command = [sys.executable, "-m", "fastnet", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"fastnet {fastnet.__version__}\n"
