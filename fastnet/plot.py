"""Pictures, by matplotlib: the regions that a model tells apart, and the course of its training.

matplotlib is imported when a picture is drawn. Nothing here shows a figure or changes a setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnet import checks
from fastnet.callbacks import AnyModel
from fastnet.losses import name_of
from fastnet.metrics import classes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Told apart by the colour-blind: Okabe and Ito, Color universal design, 2008; without black."""

MARKERS = "o^sDvPX"
MARGIN = 0.08
"""What is shown around the examples, as a share of their extent."""

LEGEND_COLUMNS = 3
LEGEND_ROW = 0.09
"""The height kept free for a row of the legend, as a share of the axes: 8 mm of an ordinary figure's 94."""


def axes_for(ax: Axes | None, caller: str) -> Axes:
    """Return the axes, those of a new figure if None; ImportError that says how to get matplotlib.

    Examples
    --------
    >>> ax = fastnet.plot.axes_for(None, "my_picture")
    >>> fastnet.plot.axes_for(ax, "my_picture") is ax
    True
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} draws with matplotlib, which cannot be imported ({error}). Install it by "
            "pip install matplotlib (the extra fastnet-mlp[plot]).",
            name=error.name,
        ) from error
    if ax is None:
        return plt.subplots(layout="constrained")[1]
    if not hasattr(ax, "plot"):
        raise TypeError(f"ax must be the matplotlib Axes to draw on or None, not {ax!r}.")
    return ax


def colours_for(n: int) -> list[Any]:
    """Return n colours: those for the colour-blind as far as they go, else n of the rainbow.

    Examples
    --------
    >>> fastnet.plot.colours_for(2)
    ['#0072B2', '#D55E00']
    >>> len(fastnet.plot.colours_for(10))
    10
    """
    import matplotlib

    return list(COLOURS[:n]) if n <= len(COLOURS) else list(matplotlib.colormaps["turbo"](np.linspace(0, 1, n)))


# -------------------------------------------------------------------------------------------------------- a history


def plot_history(
    cost: Sequence[float], val_cost: Sequence[float], metrics: Mapping[str, Sequence[float]], ax: Axes | None,
    *, kept: int | None = None, log: bool = False,
) -> Axes:  # fmt: skip
    """Draw what `History.plot` says; a metric and its "val_" twin have one colour, the twin's line is dashed.

    `kept` is the epoch, from 0, that early stopping kept.

    Examples
    --------
    >>> ax = fastnet.plot.plot_history([0.7, 0.5], [0.8, 0.6], {}, None)
    >>> [line.get_label() for line in ax.lines]
    ['cost', 'val_cost']
    """
    if not len(cost):
        raise ValueError("This History has no finished epoch to plot. Call fit(X, y) first.")
    ax = axes_for(ax, "History.plot")
    from matplotlib.ticker import MaxNLocator

    curves = {"cost": cost, "val_cost": val_cost, **metrics}
    curves = {name: values for name, values in curves.items() if len(values)}
    measures = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    colours = dict(zip(measures, colours_for(len(measures)), strict=True))
    right = ax.twinx() if measures != ["cost"] else None
    lines = []
    for name, values in curves.items():
        measure = name.removeprefix("val_")
        where = ax if measure == "cost" or right is None else right
        epochs, style = np.arange(1, len(values) + 1), "--" if name != measure else "-"
        marker = "o" if len(values) == 1 else None
        lines += where.plot(epochs, values, style, color=colours[measure], marker=marker, label=name)
    ax.set(xlabel="epoch", ylabel="cost", yscale="log" if checks.flag(log, "log") else "linear")
    if kept is not None:
        lines.append(ax.axvline(kept + 1, color="grey", linewidth=1, linestyle=":", label="kept"))
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    if len(lines) == 1:
        return ax
    free = -(-len(lines) // LEGEND_COLUMNS) * LEGEND_ROW
    if right is not None:
        right.set_ylabel(", ".join(measure for measure in measures if measure != "cost"))
        # So few ticks that none falls into what is free (with the margin, 0.05): there is no accuracy of 1.1.
        right.yaxis.set_major_locator(MaxNLocator(max(2, int(1 / (free + 0.05))), steps=[1, 2, 2.5, 5, 10]))
    for scale in (ax, right):
        if scale is not None:
            transform = scale.yaxis.get_transform()
            bottom, top = transform.transform(scale.get_ylim())
            top = bottom + (top - bottom) / (1 - min(free, 0.5))
            scale.set_ylim(*transform.inverted().transform([bottom, top]).tolist())
    if kept is not None:
        lines[-1].set_ydata([0, 1 - min(free, 0.5)])  # not through the legend
    (right or ax).legend(handles=lines, loc="upper center", ncols=min(len(lines), LEGEND_COLUMNS), frameon=False)
    return ax


# --------------------------------------------------------------------------------------------- regions of a network


def decision_boundary(model: AnyModel, X: Any, y: Any, *, ax: Axes | None = None, resolution: int = 200) -> Axes:
    """Draw which class a model of two features predicts where, and the examples.

    Of one sigmoid unit, the probability of class 1 in tenths, and the line where it is 0.5; of a softmax, the regions
    of the largest.

    Parameters
    ----------
    model : Model
        Its last activation is the sigmoid, of one unit, or a softmax.
    X : array_like, (m, 2)
    y : array_like
        As `fit` takes it: classes, by which the examples are marked.
    ax : matplotlib.axes.Axes, optional
        Where to; None: a new figure.
    resolution : int, default 200
        The model is asked at resolution x resolution points.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        Without matplotlib, which the extra `fastnet-mlp[plot]` brings.
    ValueError, TypeError
        If X has not two features, X or y is not what the model takes, or its output has no regions to draw.

    Examples
    --------
    >>> model = Model([Dense(8, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.05), seed=0)
    >>> history = model.fit(X, y, epochs=20)
    >>> ax = fastnet.plot.decision_boundary(model, X, y)
    >>> ax.figure.savefig("boundary.png")
    """
    last = model.output_layer
    if last.activation not in ("sigmoid", "softmax"):
        raise ValueError(
            f"decision_boundary needs a last activation of 'sigmoid' or 'softmax', but the last layer has "
            f"{last.activation!r}. Plot the values of predict(X) instead."
        )
    if last.activation == "sigmoid" and last.units != 1:
        raise ValueError(
            f"decision_boundary needs one sigmoid unit or a softmax, but the last layer has {last.units} sigmoid "
            "units, each with a boundary of its own. Plot columns of predict_proba(X) instead."
        )
    X = checks.examples(X, model.dtype)
    if X.shape[1] != 2:
        remedy = " If its examples are columns, as in the course notes, pass X.T." if X.shape[0] == 2 else ""
        raise ValueError(
            f"X must have 2 features for decision_boundary, one for each axis, but has {X.shape[1]}.{remedy}"
        )
    y = checks.targets(y, model.dtype, X.shape, last.units, name_of(model.loss))
    resolution = checks.integer_from(2, resolution, "resolution")
    classes = classes_of(y) if last.activation == "softmax" else (y[:, 0] > 0.5).astype(np.intp)
    n_classes = max(last.units, 2)

    low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
    extent = np.where(high > low, high - low, 1.0)
    low, high = low - MARGIN * extent, high + MARGIN * extent
    high[1] += (high[1] - low[1]) * -(-n_classes // LEGEND_COLUMNS) * LEGEND_ROW
    x1, x2 = (np.linspace(low[i], high[i], resolution) for i in (0, 1))
    grid = np.stack(np.meshgrid(x1, x2), axis=-1)
    A = model.forward(grid.reshape(-1, 2)).reshape(resolution, resolution, last.units)

    ax = axes_for(ax, "decision_boundary")
    colours = colours_for(n_classes)
    if last.activation == "sigmoid":
        draw_probability(ax, x1, x2, A[:, :, 0], colours)
    else:
        draw_regions(ax, x1, x2, A, colours)
    for c in range(n_classes):
        shown: dict[str, Any] = {"color": [colours[c]], "marker": MARKERS[c % len(MARKERS)], "label": f"y = {c}"}
        of_class = X[classes == c]
        ax.scatter(of_class[:, 0], of_class[:, 1], s=26, edgecolors="white", linewidths=0.6, zorder=3, **shown)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    width, height = high - low
    ax.set_aspect("equal" if max(width, height) <= 2 * min(width, height) else "auto")
    ax.legend(
        loc="upper center", ncols=min(n_classes, LEGEND_COLUMNS), handlelength=1, handletextpad=0.3, columnspacing=1
    )
    return ax


def lightened(colour: Any, share: float) -> np.ndarray:
    """Return a colour (3,) mixed with that share of white.

    Examples
    --------
    >>> fastnet.plot.lightened("black", 0.25)
    array([0.25, 0.25, 0.25])
    """
    from matplotlib.colors import to_rgb

    return (1 - share) * np.array(to_rgb(colour)) + share


def draw_probability(ax: Axes, x1: np.ndarray, x2: np.ndarray, A: np.ndarray, colours: Sequence[Any]) -> None:
    """Fill the contours of the probability of class 1, with white at the 0.5 line.

    Examples
    --------
    >>> ax, x = fastnet.plot.axes_for(None, "my_picture"), np.linspace(0, 1, 5)
    >>> fastnet.plot.draw_probability(ax, x, x, np.outer(x, x), fastnet.plot.colours_for(2))
    >>> len(ax.collections)  # the filled contours, and the line
    2
    """
    from matplotlib.colors import LinearSegmentedColormap

    zero, one = (lightened(colour, 0.45) for colour in colours)
    shades = LinearSegmentedColormap.from_list("", np.array([zero, np.ones(3), one]))
    ax.contourf(x1, x2, A, levels=np.linspace(0, 1, 11), cmap=shades, vmin=0, vmax=1)
    if A.min() < 0.5 < A.max():
        ax.contour(x1, x2, A, levels=[0.5], colors="black", linewidths=1.2)


def draw_regions(ax: Axes, x1: np.ndarray, x2: np.ndarray, A: np.ndarray, colours: Sequence[Any]) -> None:
    """Colour each point of the grid by its class, and draw the boundaries between the classes.

    Examples
    --------
    >>> ax, x = fastnet.plot.axes_for(None, "my_picture"), np.linspace(0, 1, 5)
    >>> A = np.stack([np.outer(x, x), 1 - np.outer(x, x)], axis=-1)
    >>> fastnet.plot.draw_regions(ax, x, x, A, fastnet.plot.colours_for(2))
    >>> len(ax.images)
    1
    """
    regions = np.array([lightened(colour, 0.6) for colour in colours])[A.argmax(axis=2)]
    dx, dy = (x1[1] - x1[0]) / 2, (x2[1] - x2[0]) / 2
    box = (x1[0] - dx, x1[-1] + dx, x2[0] - dy, x2[-1] + dy)
    ax.imshow(regions, extent=box, origin="lower", aspect="auto", interpolation="nearest")
    for c in range(A.shape[2]):
        others = np.delete(A, c, axis=2).max(axis=2)
        lead = A[:, :, c] - others
        if lead.min() < 0 < lead.max():
            ax.contour(x1, x2, lead, levels=[0], colors="black", linewidths=1.2)
