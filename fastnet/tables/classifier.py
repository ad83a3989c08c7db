"""TableClassifier: raw tables in, classes and their probabilities out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from fastnet import checks
from fastnet.exchange.onnx_graph import TYPES, Graph
from fastnet.files.network import array_of
from fastnet.scaling import FLOAT64
from fastnet.sklearn.inputs import factors_of_classes, refuse_factors
from fastnet.tables.base import TableEstimator
from fastnet.tables.export import Values, add_class
from fastnet.tables.inputs import refuse_missing
from fastnet.tables.temperature import best_temperature, tempered

USER = 6
"""The place of the user's call of `fit` on the stack, seen from the function that warns of an argument."""


class TableClassifier(ClassifierMixin, TableEstimator):
    """Classify the rows of a table as it comes: any columns, with gaps; several networks, and their mean.

    X is a DataFrame of pandas, polars or pyarrow, an array or a list of rows: numbers on any scale, truth values,
    categories and text, dates, missing values (`TableEncoder` says what becomes of them, and prints it). y are classes
    of any type. Preparation is a part of the estimator, and of its files.

    Rows that are alike count as one of more weight, so that none is held out whose twin trains; unless the table has
    few kinds of rows, so that twins are no copies. The order of the rows changes nothing.

    The recipe is that of RealMLP-TD-S, with bins and less of it: Holzmüller, Grinsztajn and Steinwart, Better by
    default: strong pre-tuned MLPs and boosted trees on tabular data, 2024; and what was measured on real tables
    (`python benchmarks/tables.py`).

    Parameters
    ----------
    n_nets : int, default 4
        Networks, each of which leaves another fold of the rows out, to choose its best epoch by. With one network, a
        fit takes a quarter of the CPU time, and errors are 4 to 8 % larger.
    hidden_layer_sizes : sequence of int, default (128, 128, 128)
    activation : str or LeakyReLU, default "relu"
        Of the hidden layers.
    learning_rate : float, default 0.04
        The largest rate of `CosLog`; that of a layer's weights is this over the root of its inputs.
    bias_learning_rate, scale_learning_rate : float, default 0.1 and 6.0
        Times the learning rate: that of biases, and of the factors of the inputs (`Scale`; 0: none).
    beta2 : float, default 0.95
        Of `AdamW`, whose beta1 is 0.9.
    weight_decay, dropout : float, default 0.0
        Neither gains on the average of tables.
    label_smoothing : float, default 0.1
        See `Model.fit`.
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
        The score that chooses the best epoch: "accuracy", "roc_auc" (of several classes each against the rest, their
        mean; also "roc_auc_ovr"), "neg_log_loss" or "f1" (of several the mean of each class's; also "f1_macro"); None:
        "accuracy".
    calibrate : bool, default True
        Divide the logits by the temperature that makes the log-loss of rows held out least.
    class_weight : dict, "balanced" or None
        The factor of the weights of each class; "balanced": so that those of each class add up to the same.
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
        (m, n_classes): the probabilities of the networks that have left a row out; NaN where none has, as for
        one fold of five with four networks. None with `eval_set`, or too few rows for
        folds. In a table of few kinds of rows, of those that have left any row of the kind out.
    feature_importances_ : numpy.ndarray, (n_features,)
    classes_ : numpy.ndarray, (n_classes,)
    temperature_ : float
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray, (n_features,)
        Of a data frame alone.

    Raises
    ------
    ValueError, TypeError
        From `fit`, if an argument or the data is not as described; the message names the column.

    Examples
    --------
    >>> from fastnet.tables import TableClassifier
    >>> table = [[1.5, "red", None], [None, "blue", 2.0], [2.5, "red", 1.0], [0.5, "blue", 7.0]] * 10
    >>> model = TableClassifier(random_state=0).fit(table, ["yes", "no", "yes", "no"] * 10)
    >>> model.predict([[9.0, "red", 3.0], [1.0, "green", None]]).shape
    (2,)
    """

    def __init__(
        self, n_nets: int = 4, *, hidden_layer_sizes: Any = (128, 128, 128), activation: Any = "relu",
        learning_rate: float = 0.04, bias_learning_rate: float = 0.1, scale_learning_rate: float = 6.0,
        beta2: float = 0.95, weight_decay: float = 0.0, dropout: float = 0.0, label_smoothing: float = 0.1,
        epochs: int = 64, patience: int = 26, cycles: int = 4, cooldown: float = 0.5, batch_size: Any = "auto",
        largest_batch: int = 256, n_folds: int = 5, bins: int = 8, clip: float = 3.0, max_categories: int = 1000,
        scoring: Any = None, calibrate: bool = True, class_weight: Any = None, time_limit: float | None = None,
        random_state: Any = None, n_threads: int | None = None, dtype: Any = "float32", verbose: Any = False,
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
        self.label_smoothing = label_smoothing
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
        self.calibrate = calibrate
        self.class_weight = class_weight
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_threads = n_threads
        self.dtype = dtype
        self.verbose = verbose

    temperature_: float
    _best_is = "accuracy"

    def _checked_targets(self, y: Any, *, learns: bool) -> np.ndarray:
        """Return the number of the class of each row."""
        refuse_missing(y)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        if learns:
            self.classes_, numbers = np.unique(y, return_inverse=True)
            return numbers
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has a class {unknown.tolist()[0]!r}, which y to train with has not. Drop its rows.")
        found: np.ndarray = np.searchsorted(self.classes_, y)
        return found

    def _learn(self, y: np.ndarray, rows: np.ndarray, weights: np.ndarray | None) -> None:
        checks.flag(self.calibrate, "calibrate")
        self.temperature_ = 1.0
        classes = self.classes_[np.unique(y[rows])].tolist()
        if len(classes) < 2:
            raise ValueError(
                f"y has one class, {classes[0]!r}; a classifier needs two. Pass rows of another class as well."
            )

    def _for_networks(self, y: np.ndarray) -> np.ndarray:
        return y

    def _factors_of_classes(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """Return the weight of each class, or None: 1; "balanced": so that all sum up to the same weight."""
        given, n = self.class_weight, len(self.classes_)
        if given is None:
            return None
        if isinstance(given, Mapping):
            factors = factors_of_classes(given, self.classes_, USER)
            refuse_factors(factors, given)
            return factors
        if isinstance(given, str) and given == "balanced":
            order = slice(None) if weights is None else np.argsort(weights)
            sums = np.bincount(y[order], None if weights is None else weights[order], minlength=n)
            return np.asarray(sums.sum() / (np.count_nonzero(sums) * np.where(sums > 0, sums, 1)))
        raise ValueError(f"class_weight must be a dictionary of weights by class, 'balanced' or None, not {given!r}.")

    def _smoothing(self) -> float:
        return self.label_smoothing

    def _refuse_lack_of_classes(self, y: np.ndarray, held_out: list[np.ndarray]) -> None:
        """Raise ValueError if some of the rows held out have not all classes, without which there is no ROC."""
        for rows in held_out:
            counts = np.bincount(y[rows], minlength=len(self.classes_))
            if not counts.all():
                label = self.classes_[counts.argmin()].item()
                raise ValueError(
                    f"scoring={self.scoring!r} needs all classes among the rows held out, but {label!r} is missing in "
                    "some. Pass fewer n_folds, an eval_set that has it, or another score, such as 'neg_log_loss'."
                )

    def _loss(self, A: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the log-loss of each row."""
        losses: np.ndarray = -np.log(np.maximum(A[np.arange(len(y)), y], np.finfo(np.float32).tiny))
        return losses

    def _learn_of_unseen(self, A: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Find the temperature that makes the log-loss of rows held out least, if any of them counts."""
        if self.calibrate and (weights is None or weights.any()):
            self.temperature_ = best_temperature(A, y, weights)

    def _outputs_of_unseen(self, A: np.ndarray) -> np.ndarray:
        return tempered(A, self.temperature_)

    def _finish(self) -> None:
        """Divide the logits of all networks by the temperature."""
        if self.temperature_ != 1:
            for model in self.model_:
                last = model.output_layer
                last.W = last.W / last.W.dtype.type(self.temperature_)
                assert last.b is not None
                last.b = last.b / last.b.dtype.type(self.temperature_)

    def _add_outputs(self, graph: Graph, A: str) -> Values:
        label, kind = add_class(graph, A, self.classes_)
        probabilities = graph.add("Identity", A, named=graph.free("probabilities"))
        return [(label, kind, ["m"]), (probabilities, TYPES["float64"], ["m", len(self.classes_)])]

    def _numbers(self) -> dict[str, Any]:
        return {"temperature_": [self.temperature_]}

    def _take_numbers(self, arrays: dict[str, np.ndarray]) -> None:
        self.temperature_ = float(array_of(arrays, "temperature_", (1,), FLOAT64)[0])

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each row, (m, n_classes)."""
        return self._mean(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row, (m,)."""
        A = self._mean(X)
        classes: np.ndarray = self.classes_[A.argmax(axis=1)]
        return classes
