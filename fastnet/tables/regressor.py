"""TableRegressor: raw tables in, values and their quantiles out."""

from __future__ import annotations

import warnings
from math import ceil
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import assert_all_finite, column_or_1d

from fastnet import checks
from fastnet.errors import may_get_lost
from fastnet.exchange.onnx_graph import TYPES, Graph, add_restored_double, as_vector
from fastnet.files.network import array_of, scales_in
from fastnet.scaling import FLOAT64, scales_of
from fastnet.tables.base import TableEstimator
from fastnet.tables.export import Values
from fastnet.tables.inputs import refuse_missing

NEIGHBOURS, NEIGHBOUR_SHARE = 100, 20
"""Errors of rows held out from which the quantiles at a prediction are taken: so many, or one in NEIGHBOUR_SHARE."""


class TableRegressor(RegressorMixin, TableEstimator):
    """Predict values for the rows of a table as it comes: any columns, with gaps; several networks, and their mean.

    As `TableClassifier`, which says of the table what this takes too. y, on any scale, is standardized for the
    networks; predictions stay within the range of those seen.

    Parameters
    ----------
    n_nets : int, default 4
        Networks, each of which leaves another fold of the rows out, to choose its best epoch by. With one network, a
        fit takes a quarter of the CPU time, and errors are 4 to 8 % larger.
    hidden_layer_sizes : sequence of int, default (128, 128, 128)
    activation : str or LeakyReLU, default "relu"
        Of the hidden layers.
    learning_rate : float, default 0.07
        The largest rate of `CosLog`; that of a layer's weights is this over the root of its inputs.
    bias_learning_rate, scale_learning_rate : float, default 0.1 and 6.0
        Times the learning rate: that of biases, and of the factors of the inputs (`Scale`; 0: none).
    beta2 : float, default 0.95
        Of `AdamW`, whose beta1 is 0.9.
    weight_decay, dropout : float, default 0.0
        Neither gains on the average of tables.
    epochs, patience : int, default 64 and 26
        A network ends early after so many epochs without a better one. (26 of 64 lose nothing on twelve tables.)
    cycles : int, default 4
        Of `CosLog`.
    cooldown : float, default 0.5
        In the end, all networks train on with all rows of X, at a rate that falls from half of `learning_rate` to 0:
        for so many times the epochs from the seventh until the best, on the average; 0: none. (2 % less error.)
    batch_size : int or "auto", default "auto"
        "auto": a power of two near a 20th of the rows a network trains with, from 32 to `largest_batch`.
    largest_batch : int, default 256
    n_folds : int, default 5
        Parts of the rows, of which each network holds out the next one; of more networks than folds, some the same.
    bins, clip, max_categories : default 8, 3.0 and 1000
        Of `TableEncoder`.
    scoring : str or None
        The score that chooses the best epoch: "r2", "neg_mean_squared_error", "neg_root_mean_squared_error" or
        "neg_mean_absolute_error"; None: the squared error.
    time_limit : float or None
        Seconds that a fit is to take at most; networks end with the epoch in which their share of it is over, the first
        at the earliest.
    random_state : int, RandomState or None
        Decides folds, initial weights and shuffles: the same seed gives the same bits on any machine and any threads.
    n_threads : int or None
        Networks trained at a time; None: as many as `fastnet.get_num_threads()`.
    dtype : str, default "float32"
        What the networks compute in, or "float64".
    verbose : bool or "auto", default False
        Show how many networks are trained, with the cost and seconds of each; "auto": in a terminal or a notebook. The
        cooldown is not shown.

    Attributes
    ----------
    model_ : list of Model
        The networks.
    encoder_ : TableEncoder
        Which columns became what; it prints.
    history_ : list of History
        Of each network, until the cooldown.
    oof_prediction_ : numpy.ndarray or None
        (m,): the prediction of the networks that have left a row out; NaN where none has, as for
        one fold of five with four networks. None with `eval_set`, or too few rows for
        folds. In a table of few kinds of rows, of those that have left any row of the kind out.
    feature_importances_ : numpy.ndarray, (n_features,)
    y_range_ : tuple of float
        The least and the largest y seen.
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray, (n_features,)
        Of a data frame alone.

    Raises
    ------
    ValueError, TypeError
        From `fit`, if an argument or the data is not as described; the message names the column.

    Examples
    --------
    >>> from fastnet.tables import TableRegressor
    >>> table = [[1.5, "red", None], [None, "blue", 2.0], [2.5, "red", 1.0], [0.5, "blue", 7.0]] * 10
    >>> model = TableRegressor(random_state=0).fit(table, [1e5, 2e5, 3e5, 4e5] * 10)
    >>> model.predict([[9.0, "red", 3.0], [1.0, "green", None]]).shape
    (2,)
    """

    def __init__(
        self, n_nets: int = 4, *, hidden_layer_sizes: Any = (128, 128, 128), activation: Any = "relu",
        learning_rate: float = 0.07, bias_learning_rate: float = 0.1, scale_learning_rate: float = 6.0,
        beta2: float = 0.95, weight_decay: float = 0.0, dropout: float = 0.0, epochs: int = 64, patience: int = 26,
        cycles: int = 4, cooldown: float = 0.5, batch_size: Any = "auto", largest_batch: int = 256, n_folds: int = 5,
        bins: int = 8, clip: float = 3.0, max_categories: int = 1000, scoring: Any = None,
        time_limit: float | None = None, random_state: Any = None, n_threads: int | None = None,
        dtype: Any = "float32", verbose: Any = False,
    ) -> None:  # fmt: skip
        self.n_nets = n_nets
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.learning_rate = learning_rate
        self.bias_learning_rate = bias_learning_rate
        self.scale_learning_rate = scale_learning_rate
        self.beta2 = beta2
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.epochs = epochs
        self.patience = patience
        self.cycles = cycles
        self.cooldown = cooldown
        self.batch_size = batch_size
        self.largest_batch = largest_batch
        self.n_folds = n_folds
        self.bins = bins
        self.clip = clip
        self.max_categories = max_categories
        self.scoring = scoring
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_threads = n_threads
        self.dtype = dtype
        self.verbose = verbose

    y_range_: tuple[float, float]
    _best_is = "cost"

    def _checked_targets(self, y: Any, *, learns: bool) -> np.ndarray:
        """Return the value of each row, in float64."""
        refuse_missing(y)
        y = column_or_1d(y, warn=True)
        try:
            values: np.ndarray = np.asarray(y.astype(object) if y.dtype.kind == "U" else y, np.float64)  # "a", not str_
        except (TypeError, ValueError) as error:
            raise ValueError(f"y must hold numbers: {error}. Of classes, TableClassifier learns.") from None
        assert_all_finite(values, input_name="y")
        return values

    def _learn(self, y: np.ndarray, rows: np.ndarray, weights: np.ndarray | None) -> None:
        self._scale = scales_of(y[rows, np.newaxis], None if weights is None else weights[rows], "y")
        self.y_range_ = float(y[rows].min()), float(y[rows].max())

    def _for_networks(self, y: np.ndarray) -> np.ndarray:
        return self._scale.standardized(y[:, np.newaxis], checks.float_dtype(self.dtype), "y")[:, 0]

    def _loss(self, A: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the squared error of each row, over the variance of y."""
        squares: np.ndarray = (A[:, 0].astype(float) - y) ** 2
        return squares

    def _learn_of_unseen(self, A: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Keep the errors of rows held out, by the order of their predictions, for `predict_quantiles`."""
        predicted = self._outputs(A)
        order = np.argsort(predicted, kind="stable")
        errors = self._scale.restored(y[:, np.newaxis].astype(float))[:, 0] - predicted
        self._errors = predicted[order], errors[order]

    def _outputs_of_unseen(self, A: np.ndarray) -> np.ndarray:
        return self._outputs(A)

    def _outputs(self, A: np.ndarray) -> np.ndarray:
        """Return outputs (m, 1) on the scale of y, within the range of those seen in training, (m,)."""
        values: np.ndarray = np.clip(self._scale.restored(A)[:, 0], *self.y_range_)
        return values

    def predict(self, X: Any) -> np.ndarray:
        """Return the value of each row, (m,), in float64."""
        return self._outputs(self._mean(X))

    def _add_outputs(self, graph: Graph, A: str) -> Values:
        low, high = (graph.constant("y_range", np.array(y)) for y in self.y_range_)
        value = add_restored_double(graph, as_vector(graph, A), self._scale)
        limited = graph.add("Max", graph.add("Min", value, high), low, named=graph.free("prediction"))
        return [(limited, TYPES["float64"], ["m"])]

    def _numbers(self) -> dict[str, Any]:
        found = {"y_range_": self.y_range_, "y_mean": self._scale.mean, "y_spread": self._scale.spread}
        return found | dict(zip(("predicted", "errors"), getattr(self, "_errors", ()), strict=False))

    def _take_numbers(self, arrays: dict[str, np.ndarray]) -> None:
        low, high = array_of(arrays, "y_range_", (2,), FLOAT64)
        scale = scales_in(arrays, "y")
        if scale is None or len(scale.mean) != 1 or not low <= high:
            raise ValueError("it has no scale, or no range, of y")
        self.y_range_, self._scale = (float(low), float(high)), scale
        if "predicted" in arrays:
            n = arrays["predicted"].size
            self._errors = array_of(arrays, "predicted", (n,), FLOAT64), array_of(arrays, "errors", (n,), FLOAT64)

    def predict_quantiles(self, X: Any, quantiles: Any = (0.05, 0.5, 0.95)) -> np.ndarray:
        """Return quantiles of y for each row, (m, n_quantiles): the prediction plus quantiles of errors.

        The errors are those of rows held out whose predictions are nearest: a 20th of them, or 100 if that is more.
        So intervals are as wide as errors were at such values, and hold in as many cases as they say, on the average.
        A warning says if there are too few errors for that: a quantile of 0.05 needs 19.
        """
        levels = [checks.real_number(q, "quantiles", "numbers above 0 and below 1") for q in np.ravel(quantiles)]
        if not levels or not all(0 < q < 1 for q in levels):
            raise ValueError(f"quantiles must be numbers above 0 and below 1, not {quantiles!r}.")
        values = self.predict(X)
        if not hasattr(self, "_errors"):
            raise ValueError("predict_quantiles needs rows held out, and the fit had too few for that: fit with more.")
        predicted, errors = self._errors
        needed = ceil(1 / min(*levels, *(1 - level for level in levels)) - 1 - 1e-9)
        if len(errors) < needed:
            with may_get_lost():
                warnings.warn(
                    f"Only {len(errors)} rows were held out, but the outermost of quantiles {levels} needs {needed} "
                    "or more: it is too near to the prediction.",
                    stacklevel=2,
                )
        n = min(len(errors), max(NEIGHBOURS, len(errors) // NEIGHBOUR_SHARE))
        first = np.clip(np.searchsorted(predicted, values) - n // 2, 0, len(errors) - n)
        near = np.sort(errors[first[:, np.newaxis] + np.arange(n)], axis=1)
        places = np.clip(np.ceil(np.array(levels) * (n + 1)).astype(int) - 1, 0, n - 1)
        found: np.ndarray = values[:, np.newaxis] + near[:, places]
        return found
