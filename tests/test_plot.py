"""Pictures, by the artists on the axes."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from compiled import make_model, random_classes, random_data

from fastnet import History, NotFittedError
from fastnet.plot import decision_boundary

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.collections import PathCollection  # noqa: E402
from matplotlib.contour import QuadContourSet  # noqa: E402

pytestmark = pytest.mark.jit  # a picture takes 40,000 predictions
X, Y = random_data(40, 2)


@pytest.fixture(autouse=True)
def no_trace():
    """Close the figures, each of which can be drawn, and check that no setting has changed."""
    settings = dict(matplotlib.rcParams)
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings


def sigmoid_model(scale=2.0):
    return make_model((2, 5, 1), ("tanh", "sigmoid"), scale=scale, dtype="float32")


def recorded(n=5, *names):
    """Return a History of n epochs and the metrics of these names."""
    rng = np.random.default_rng(0)
    return History(cost=rng.random(n).tolist(), metrics={name: rng.random(n).tolist() for name in names})


def line(ax, label):
    """Return the one line of that label on these axes or their twin."""
    lines = [found for axes in ax.figure.axes for found in axes.lines if found.get_label() == label]
    assert len(lines) == 1
    return lines[0]


def legend_of(ax):
    """Return the texts of the figure's one legend, which covers no data, drawn or not."""
    legends = [axes.get_legend() for axes in ax.figure.axes if axes.get_legend()]
    assert len(legends) == 1
    ax.figure.canvas.draw()
    box = legends[0].get_window_extent()
    for axes in ax.figure.axes:
        drawn = [axes.transData.transform(found.get_xydata()) for found in axes.lines]
        drawn += [found.get_offset_transform().transform(found.get_offsets()) for found in points_on(axes)]
        for points in drawn:
            assert not box.count_contains(points)
    return [text.get_text() for text in legends[0].get_texts()]


def points_on(ax):
    return [found for found in ax.collections if isinstance(found, PathCollection)]


def contours_on(ax):
    return [found for found in ax.collections if isinstance(found, QuadContourSet)]


# --------------------------------------------------------------------------------------------------------- history


def test_cost_alone():
    history = recorded(5)
    ax = history.plot()
    (drawn,) = ax.lines
    np.testing.assert_array_equal(drawn.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(drawn.get_ydata(), history.cost)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "cost")
    assert ax.figure.axes == [ax]
    assert ax.get_legend() is None
    assert all(tick == int(tick) for tick in ax.get_xticks())


def test_costs_and_metrics():
    history = recorded(30, "accuracy", "val_accuracy")
    history.val_cost = history.cost[:29]  # as an interrupt leaves it
    ax = history.plot()
    ax.figure.canvas.draw()
    assert [found.get_label() for found in ax.lines] == ["cost", "val_cost"]
    left, right = ax.figure.axes
    assert left is ax
    assert right.get_ylabel() == "accuracy"
    assert [found.get_label() for found in right.lines] == ["accuracy", "val_accuracy"]
    for label, values in {"val_cost": history.val_cost, **history.metrics}.items():
        np.testing.assert_array_equal(line(ax, label).get_ydata(), values)
        np.testing.assert_array_equal(line(ax, label).get_xdata(), np.arange(1, len(values) + 1))
    assert line(ax, "accuracy").get_color() == line(ax, "val_accuracy").get_color() != line(ax, "cost").get_color()
    assert (line(ax, "accuracy").get_linestyle(), line(ax, "val_accuracy").get_linestyle()) == ("-", "--")
    assert legend_of(ax) == ["cost", "val_cost", "accuracy", "val_accuracy"]


@pytest.mark.parametrize("lowest", [0.0, 0.3, 0.5, 0.75, 0.9, 0.99])
@pytest.mark.parametrize("names", [("accuracy",), ("accuracy", "f1", "auc", "val_auc", "val_f1")])
def test_no_tick_is_beyond_an_accuracy_of_one(lowest, names):
    history = History(cost=[1.0, 0.5], metrics={name: [lowest, 1.0] for name in names})
    ax = history.plot()
    assert len(legend_of(ax)) == len(names) + 1
    right = ax.figure.axes[1]
    bottom, top = right.get_ylim()
    shown = [tick for tick in right.get_yticks() if bottom <= tick <= top]
    assert len(shown) > 1
    assert max(shown) < 1 + 1e-9


def test_more_metrics_than_colours():
    history = recorded(3, *(f"m{i}" for i in range(10)))
    ax = history.plot()
    colours = {tuple(np.atleast_1d(line(ax, f"m{i}").get_color()).tolist()) for i in range(10)}
    assert len(colours) == 10


def test_one_epoch_is_a_point():
    assert line(recorded(1).plot(), "cost").get_marker() == "o"


def test_metrics_that_are_not_numbers_leave_gaps():
    history = recorded(3)
    history.metrics = {"auc": [np.nan, 0.5, np.nan], "r2": [np.nan] * 3}
    np.testing.assert_array_equal(line(history.plot(), "auc").get_ydata(), history.auc)


def test_axes_are_reused():
    figure, axes = plt.subplots(1, 2)
    assert recorded(3).plot(axes[1]) is axes[1]
    assert decision_boundary(sigmoid_model(), X, Y, ax=axes[0]) is axes[0]
    assert plt.get_fignums() == [figure.number]
    assert len(figure.axes) == 2


def test_an_empty_history():
    with pytest.raises(ValueError, match=r"no finished epoch to plot. Call fit\(X, y\) first"):
        History().plot()
    assert plt.get_fignums() == []


def test_metrics_are_attributes():
    history = recorded(3, "accuracy", "val_accuracy")
    assert history.accuracy is history.metrics["accuracy"]
    assert history.val_accuracy is history.metrics["val_accuracy"]
    message = (
        "This History has no 'auc'. It has 'cost', 'val_cost', 'accuracy', 'val_accuracy'; fit(metrics=[...]) "
        "says which metrics to record."
    )
    with pytest.raises(AttributeError) as caught:
        history.auc
    assert str(caught.value) == message
    with pytest.raises(AttributeError, match=r"no 'accuracy'\. It has 'cost', 'val_cost'; fit"):
        History().accuracy
    assert not hasattr(history, "__array__")


def test_histories_are_copied_and_pickled():
    history = recorded(3, "accuracy")
    for twin in (copy.copy(history), copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert twin == history
        assert twin.accuracy == history.accuracy
    assert copy.deepcopy(history).accuracy is not history.accuracy
    with pytest.raises(AttributeError, match="no 'accuracy'"):
        History.__new__(History).accuracy


# --------------------------------------------------------------------------------------------------------- regions


def test_regions_of_one_sigmoid(monkeypatch):
    model = sigmoid_model()
    forward, asked = model.forward, []
    monkeypatch.setattr(model, "forward", lambda X: asked.append(len(X)) or forward(X))
    ax = decision_boundary(model, X, Y, resolution=50)
    assert asked == [50 * 50]
    filled, boundary = contours_on(ax)
    assert (filled.filled, boundary.filled) == (True, False)
    np.testing.assert_allclose(filled.levels, np.linspace(0, 1, 11))
    np.testing.assert_array_equal(boundary.levels, [0.5])
    vertices = boundary.get_paths()[0].vertices
    assert len(vertices) > 10
    np.testing.assert_allclose(forward(vertices), 0.5, atol=0.05)  # interpolated between points of the grid
    zeros, ones = points_on(ax)
    np.testing.assert_allclose(zeros.get_offsets(), X[Y[:, 0] == 0], rtol=1e-6)
    np.testing.assert_allclose(ones.get_offsets(), X[Y[:, 0] == 1], rtol=1e-6)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")
    assert legend_of(ax) == ["y = 0", "y = 1"]
    assert ax.get_aspect() == 1
    for points in (zeros, ones):
        inside = ax.get_window_extent().count_contains(ax.transData.transform(points.get_offsets()))
        assert inside == len(points.get_offsets())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 3, 9])
def test_regions_of_a_softmax(n_classes, dtype):
    model = make_model((2, 5, n_classes), ("tanh", "softmax"), scale=3.0, dtype=dtype)
    classes, one_hot = random_classes(len(X), n_classes)
    ax = decision_boundary(model, X, classes, resolution=40)
    regions = ax.images[0]
    (left, right, bottom, top), colours = regions.get_extent(), np.asarray(regions.get_array())
    size = np.array([right - left, top - bottom]) / 40
    centres = [low + (np.arange(40) + 0.5) * step for low, step in zip((left, bottom), size, strict=True)]
    grid = np.stack(np.meshgrid(*centres), axis=-1).reshape(-1, 2)
    predicted = model.predict(grid).reshape(40, 40)
    found = {tuple(colours[predicted == c][0].tolist()) for c in np.unique(predicted)}
    assert len(found) == len(np.unique(predicted))
    assert all((colours[predicted == c] == colours[predicted == c][0]).all() for c in np.unique(predicted))
    assert len(contours_on(ax)) == len(found)
    assert sum(len(points.get_offsets()) for points in points_on(ax)) == len(X)
    assert legend_of(ax) == [f"y = {c}" for c in range(n_classes)]
    same = decision_boundary(model, X, one_hot, resolution=40)
    for ours, theirs in zip(points_on(ax), points_on(same), strict=True):
        np.testing.assert_array_equal(ours.get_offsets(), theirs.get_offsets())


def test_one_region_alone_has_no_boundary():
    model = sigmoid_model()
    model.parameters[:] = 0
    model.layers[-1].b[:] = 2
    ax = decision_boundary(model, X, Y)
    assert [contour.filled for contour in contours_on(ax)] == [True]


def test_features_of_other_scales_and_a_constant_one():
    assert decision_boundary(sigmoid_model(), X * [1, 100], Y).get_aspect() == "auto"
    ax = decision_boundary(sigmoid_model(), X * [1, 0] + [0, 5], Y)
    assert ax.get_ylim()[0] < 5 < ax.get_ylim()[1]


@pytest.mark.parametrize(
    ("units", "activations", "bad_X", "settings", "error", "message"),
    [
        ((2, 1), ("linear",), X, {}, ValueError, "needs a last activation of 'sigmoid' or 'softmax', but the last "
         "layer has 'linear'. Plot the values of predict"),
        ((2, 3), ("sigmoid",), X, {}, ValueError, "needs one sigmoid unit or a softmax, but the last layer has 3 "
         "sigmoid units, each with a boundary of its own. Plot columns of predict_proba"),
        ((3, 1), ("sigmoid",), np.ones((40, 3)), {}, ValueError, "X must have 2 features for decision_boundary, one "
         "for each axis, but has 3.$"),
        ((2, 1), ("sigmoid",), X.T, {}, ValueError, "but has 40. If its examples are columns.* pass X.T"),
        ((3, 1), ("sigmoid",), X, {}, ValueError, "X has 2 features, but the first layer was built for 3"),
        ((2, 1), ("sigmoid",), X[:5], {}, ValueError, "X and y must have the same length"),
        ((2, 1), ("sigmoid",), X, {"resolution": 1}, ValueError, "resolution must be at least 2, not 1"),
        ((2, 1), ("sigmoid",), X, {"ax": 3}, TypeError, "ax must be the matplotlib Axes to draw on or None, not 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn(units, activations, bad_X, settings, error, message):
    model = make_model(units, activations)
    with pytest.raises(error, match=message):
        decision_boundary(model, bad_X, Y, **settings)
    assert plt.get_fignums() == []


def test_a_model_without_parameters():
    from fastnet import Dense, Model

    with pytest.raises(NotFittedError, match="call build"):
        decision_boundary(Model([Dense(1, "sigmoid")]), X, Y)


# ---------------------------------------------------------------------------------------------- without matplotlib


@pytest.mark.parametrize("missing", ["matplotlib", "matplotlib.pyplot"])
def test_without_matplotlib(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    remedy = r"cannot be imported \(.*\). Install it by pip install matplotlib \(the extra fastnet-mlp\[plot\]\)"
    with pytest.raises(ImportError, match="History.plot draws with matplotlib, which " + remedy):
        recorded(3).plot()
    with pytest.raises(ImportError, match="decision_boundary draws with matplotlib, which " + remedy):
        decision_boundary(sigmoid_model(), X, Y)


def test_importing_fastnet_leaves_matplotlib_alone():
    code = "import fastnet.plot, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
