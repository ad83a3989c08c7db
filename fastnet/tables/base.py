"""What the estimators for tables have in common: how networks are fitted to an encoded table, and their mean."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names, _check_sample_weight, check_is_fitted

from fastnet import checks, words
from fastnet.activations import canonical
from fastnet.engine.threads import get_num_threads
from fastnet.files import tensors
from fastnet.history import History
from fastnet.many import train_many
from fastnet.metrics import METRICS
from fastnet.model import Model
from fastnet.tables import files
from fastnet.tables.encoder import TableEncoder
from fastnet.tables.few_rows import FewRows
from fastnet.tables.inputs import product, refuse_complex
from fastnet.tables.networks import NetworkSettings, seeds
from fastnet.tables.rows import distinct_rows, folds, repeated

ROWS_OF_IMPORTANCE, PERMUTATIONS = 2000, 5
"""Rows held out by which the importance of features is found, at most; and how often each is permuted."""

SCORES = {
    "accuracy": "accuracy", "roc_auc": "auc", "roc_auc_ovr": "auc", "neg_log_loss": "log_loss", "f1": "f1",
    "f1_macro": "f1", "r2": "r2", "neg_mean_squared_error": "mse", "neg_root_mean_squared_error": "mse",
    "neg_mean_absolute_error": "mae",
}  # fmt: skip
"""scikit-learn's names of scores, by which the best epoch may be chosen, and the metric of the same order."""


class TableEstimator(BaseEstimator, metaclass=words.Helpful):
    """The base of classifier and regressor, which say what their targets are, and what the networks' mean is of.

    `_checked_targets(y, learns)` returns numbers of classes, or values; `_learn(y, rows, weights)` what the distinct
    rows say of them, as the networks take y, and how many outputs they have; `_outputs(A)` makes predictions of their
    mean output; and `_finish(A, y, weights)` is told what they give for rows that they have not seen.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray
    encoder_: TableEncoder
    model_: list[Model]
    history_: list[History]
    oof_prediction_: np.ndarray | None
    _few_rows: FewRows
    _held_out: tuple[np.ndarray, np.ndarray, np.ndarray]  # compact rows, their targets, and which network left them out

    # The arguments, as the constructors type them.
    n_nets: int
    hidden_layer_sizes: Any
    activation: Any
    learning_rate: float
    bias_learning_rate: float
    scale_learning_rate: float
    beta2: float
    weight_decay: float
    dropout: float
    epochs: int
    patience: int
    cycles: int
    batch_size: Any
    largest_batch: int
    n_folds: int
    bins: int
    clip: float
    max_categories: int
    scoring: Any
    time_limit: float | None
    random_state: Any
    n_threads: int | None
    dtype: Any
    verbose: Any

    classes_: np.ndarray
    _best_is: str
    """The metric that chooses an epoch if `scoring` names none; "cost" for the cost itself."""

    def _checked_targets(self, y: Any, *, learns: bool) -> np.ndarray:
        raise NotImplementedError

    def _learn(self, y: np.ndarray, rows: np.ndarray, weights: np.ndarray | None) -> None:
        raise NotImplementedError

    def _for_networks(self, y: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _weights_of_classes(self, y: np.ndarray) -> np.ndarray | None:
        return None

    def _finish(self, A: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
        raise NotImplementedError

    def _outputs(self, A: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _loss(self, A: np.ndarray, y: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _smoothing(self) -> float:
        return 0.0

    def _settings(self) -> NetworkSettings:
        """Return what networks are made with; ValueError or TypeError if an argument is not as described."""
        sizes = self.hidden_layer_sizes
        if not isinstance(sizes, (int, np.integer, tuple, list, np.ndarray)):
            raise TypeError(f"hidden_layer_sizes must be integers, such as (128, 128), not {sizes!r}.")
        sizes = (sizes,) if isinstance(sizes, (int, np.integer)) else tuple(sizes)
        batch_size = self.batch_size
        if not isinstance(batch_size, str):
            batch_size = checks.positive_integer(batch_size, "batch_size")
        elif batch_size != "auto":
            raise ValueError(f"batch_size must be 'auto' or an integer of at least 1, not {batch_size!r}.")
        return NetworkSettings(
            hidden_layer_sizes=tuple(checks.positive_integer(size, "hidden_layer_sizes") for size in sizes),
            activation=canonical(self.activation),
            learning_rate=checks.positive_number(self.learning_rate, "learning_rate"),
            bias_learning_rate=checks.non_negative_number(self.bias_learning_rate, "bias_learning_rate"),
            scale_learning_rate=checks.non_negative_number(self.scale_learning_rate, "scale_learning_rate"),
            beta2=checks.number_below_one(self.beta2, "beta2"),
            weight_decay=checks.non_negative_number(self.weight_decay, "weight_decay"),
            dropout=checks.number_below_one(self.dropout, "dropout"),
            epochs=checks.positive_integer(self.epochs, "epochs"),
            patience=checks.positive_integer(self.patience, "patience"),
            cycles=checks.positive_integer(self.cycles, "cycles"),
            batch_size=batch_size,
            largest_batch=checks.positive_integer(self.largest_batch, "largest_batch"),
            dtype=checks.float_dtype(self.dtype),
        )

    def _metric(self, classifies: bool) -> tuple[str, ...]:
        """Return the metric by which the best epoch is chosen, or nothing: the cost."""
        if self.scoring is None:
            return () if self._best_is == "cost" else (self._best_is,)
        name = SCORES.get(self.scoring, self.scoring) if isinstance(self.scoring, str) else None
        if name not in METRICS or METRICS[name].for_classes != classifies:
            fitting = sorted(each for each, metric in SCORES.items() if METRICS[metric].for_classes == classifies)
            raise ValueError(f"scoring must be one of {', '.join(map(repr, fitting))}, or None, not {self.scoring!r}.")
        return (name,)

    def _fit(self, X: Any, y: Any, sample_weight: Any, held_out: Any) -> Self:
        """Fit as `_fitted` does; or be as before, if that raises something."""
        before = dict(self.__dict__)
        try:
            return self._fitted(X, y, sample_weight, held_out)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _fitted(self, X: Any, y: Any, sample_weight: Any, held_out: Any) -> Self:
        """Encode X, and train the networks, each on another part of its rows."""
        start, classifies = time.monotonic(), is_classifier(self)
        settings, n_nets = self._settings(), checks.positive_integer(self.n_nets, "n_nets")
        n_folds = checks.integer_from(2, self.n_folds, "n_folds")
        limit = None if self.time_limit is None else checks.positive_number(self.time_limit, "time_limit")
        threads = None if self.n_threads is None else checks.positive_integer(self.n_threads, "n_threads")
        refuse_complex(X)
        if y is None:
            raise ValueError(f"This {type(self).__name__} requires y to be passed, but the target y is None.")
        self._check_names(X, reset=True)
        y = self._checked_targets(y, learns=True)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, y, ensure_non_negative=True)
        if weights is not None and not weights.any():
            raise ValueError("sample_weight is zero for every row. At least one must be greater than 0.")
        by_class = self._weights_of_classes(y)
        if by_class is not None and not product(weights, by_class).any():
            raise ValueError("class_weight leaves no row any weight. Give at least two classes more than 0.")
        encoder = TableEncoder(bins=self.bins, clip=self.clip, max_categories=self.max_categories)
        C = encoder.fit(X, product(weights, by_class)).compact(X, settings.dtype)
        if len(C) != len(y):
            raise ValueError(f"X has {len(C)} rows, but y has {len(y)}. Pass a target for each row.")
        if by_class is not None and not by_class.all():
            weights = product(weights, by_class > 0)
        rows, of, weights = distinct_rows(C, y, weights)
        self._learn(y, rows, weights)
        rows, weights = repeated(C, rows, weights)
        weights = product(weights, by_class)
        n_outputs, metrics = len(self.classes_) if classifies else 1, self._metric(classifies)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        m, in_folds = len(C), None
        targets = self._for_networks(y)
        if held_out is not None:
            C, targets, weights = self._with(held_out, encoder, C, targets, weights)
            training, out = [rows] * n_nets, [np.arange(m, len(C))] * n_nets
        else:
            in_folds = folds(rows, y if classifies else None, n_folds, seed)
            left = [in_folds[i % n_folds] for i in range(n_nets)]
            out, training = [rows[each] for each in left], [np.delete(rows, each) for each in left]
            if any(len(each) == 0 for each in (*out, *training)):  # fewer rows than folds: train with all of them
                training, out, in_folds = [rows] * n_nets, [rows] * n_nets, None
        layer = encoder.layer()
        models = [settings.model(layer, n_outputs, each, softmax=classifies) for each in seeds(seed, n_nets)]
        if limit is not None:
            at_once = min(n_nets, threads or get_num_threads())
            limit = max(1e-3, limit - (time.monotonic() - start)) / -(-n_nets // at_once)
        monitor = f"val_{metrics[0]}" if metrics else "val_cost"
        history = train_many(
            models, C, targets, rows=training, validation_rows=out, sample_weight=weights, epochs=settings.epochs,
            batch_size=settings.batch_size_for(min(map(len, training))), metrics=metrics,
            callbacks=settings.callbacks(monitor, limit), label_smoothing=self._smoothing(), threads=threads,
            verbose=self.verbose,
        )  # fmt: skip
        for name in ("_held_out", "_importances", "_errors"):  # of a fit before
            self.__dict__.pop(name, None)
        self.n_features_in_, self.encoder_ = encoder.n_features_in_, encoder
        self.model_, self.history_, self.oof_prediction_ = models, history, None
        if in_folds is not None or held_out is not None:
            left_out = out[0] if in_folds is None else np.sort(np.concatenate(out[:n_folds]))
            of_left_out = None if weights is None else weights[left_out]
            self._finish(self._unseen(C, out)[left_out], targets[left_out], of_left_out)
            networks = np.concatenate([np.full(len(each), i) for i, each in enumerate(out)])
            chosen = np.arange(len(networks))[:: -(-len(networks) // ROWS_OF_IMPORTANCE)]
            chosen_rows = np.concatenate(out)[chosen]
            self._held_out = C[chosen_rows], targets[chosen_rows], networks[chosen]
        if in_folds is not None:
            self.oof_prediction_ = self._outputs(self._unseen(C, out)[of])
            self.oof_prediction_[of < 0] = np.nan
        self._few_rows = FewRows(encoder, models)
        return self

    def _with(
        self, held_out: Any, encoder: TableEncoder, C: np.ndarray, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return compact rows, targets and weights, those of rows to validate with behind the others."""
        is_list_of_pairs = isinstance(held_out, list) and any(isinstance(each, tuple) for each in held_out)
        if not isinstance(held_out, (tuple, list)) or len(held_out) != 2 or is_list_of_pairs:
            what = "list of pairs" if is_list_of_pairs else type(held_out).__name__
            raise TypeError(f"eval_set must be one pair, (X, y), not a {what}.")
        C_val = encoder.compact(held_out[0], C.dtype)
        y_val = self._for_networks(self._checked_targets(held_out[1], learns=False))
        if len(C_val) != len(y_val) or len(C_val) == 0:
            raise ValueError(f"In eval_set, X has {len(C_val)} rows, but y {len(y_val)}. Pass as many, at least one.")
        weights = None if weights is None else np.concatenate([weights, np.ones(len(C_val))])
        return np.concatenate([C, C_val]), np.concatenate([y, y_val]), weights

    def _check_names(self, X: Any, *, reset: bool) -> None:
        """Learn the names of the columns, or check them, as scikit-learn does; an array is taken by their places."""
        names = checks.column_names(X)
        if names is not None and len(set(names)) < len(names):  # which scikit-learn does not take; the encoder does
            if reset:
                self.feature_names_in_ = np.array(names, dtype=object)
        elif reset or names is not None:
            _check_feature_names(self, X, reset=reset)

    def _unseen(self, C: np.ndarray, out: list[np.ndarray]) -> np.ndarray:
        """Return for each row the mean output of the networks that have not trained with it; NaN where all have."""
        total, count = np.zeros((len(C), self.model_[0].output_layer.units)), np.zeros((len(C), 1))
        for model, rows in zip(self.model_, out, strict=True):
            total[rows] += model.forward(C[rows])
            count[rows] += 1
        total[count[:, 0] == 0] = np.nan
        total /= np.maximum(count, 1)
        return total

    def _mean(self, X: Any) -> np.ndarray:
        """Return the mean output of the networks for raw rows, (m, n_L) in float64."""
        check_is_fitted(self)
        found = self._few_rows.predict(X)
        if found is not None:
            return found
        refuse_complex(X)
        self._check_names(X, reset=False)
        C = self.encoder_.compact(X, self.model_[0].dtype)
        total = np.zeros((len(C), self.model_[0].output_layer.units))
        for model in self.model_ if len(C) else ():
            total += model.forward(C)
        return total / len(self.model_)

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there are networks."""
        return hasattr(self, "model_")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what calls of compiled functions are made of."""
        state = dict(super().__getstate__())
        state.pop("_few_rows", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_" in state:
            self._few_rows = FewRows(self.encoder_, self.model_)

    def save(self, path: Any) -> None:
        """Write the estimator to one file, from which `fastnet.tables.load` makes an equal one; see there.

        Arguments, encoding and networks; not `history_`, `oof_prediction_`, nor any row of X. The file is on the disk
        when this returns, and whole or not there at all. OSError if it cannot be written; TypeError if an argument is
        of a class that is not fastnet's.
        """
        tensors.write(path, *files.written(self))

    def _numbers(self) -> dict[str, Any]:
        """Return what predictions need beside networks and encoding, by the names of arrays in a file."""
        raise NotImplementedError

    def _take_numbers(self, arrays: dict[str, np.ndarray]) -> None:
        """Take that out of the arrays of a file; KeyError, TypeError or ValueError if it is not right."""
        raise NotImplementedError

    @property
    def feature_importances_(self) -> np.ndarray:
        """How much the loss of rows held out rises, on the average, when a column of X is permuted: (n_features,).

        The loss is the log-loss, or the squared error over the variance of y. A column that does not matter has about
        0, or less by chance. Computed when it is first asked for, from up to ROWS_OF_IMPORTANCE rows.
        """
        check_is_fitted(self)
        if not hasattr(self, "_held_out"):
            raise AttributeError("There are no feature_importances_: fewer rows than folds were all trained with.")
        if not hasattr(self, "_importances"):
            C, y, networks = self._held_out
            before = self._loss_of_held_out(C, y, networks)
            rises = np.zeros(self.n_features_in_)
            for column, places in enumerate(self.encoder_.places):
                generator = np.random.default_rng(column)
                for _ in range(PERMUTATIONS if len(places) else 0):
                    permuted = C.copy()
                    permuted[:, places] = C[generator.permutation(len(C))][:, places]
                    rises[column] += self._loss_of_held_out(permuted, y, networks) - before
            self._importances = rises / PERMUTATIONS
        return self._importances.copy()

    def _loss_of_held_out(self, C: np.ndarray, y: np.ndarray, networks: np.ndarray) -> float:
        """Return the mean loss of rows, each by the network that has not trained with it."""
        parts = [self._loss(model.forward(C[networks == i]), y[networks == i]) for i, model in enumerate(self.model_)]
        return float(np.mean(np.concatenate(parts)))


def one_eval_set(eval_set: Any, X_val: Any, y_val: Any) -> Any:
    """Return `eval_set`, or what the other arguments make of one; ValueError if it is given by both, or in part."""
    if X_val is None and y_val is None:
        return eval_set
    if eval_set is not None:
        raise ValueError("Pass eval_set, or X_val and y_val, not both.")
    if X_val is None or y_val is None:
        raise ValueError("X_val and y_val belong together: pass both.")
    return X_val, y_val
