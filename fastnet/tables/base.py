"""What the estimators for tables have in common: how networks are fitted to an encoded table, and their mean."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastnet import checks, words
from fastnet.activations import canonical
from fastnet.engine.threads import get_num_threads
from fastnet.history import History
from fastnet.many import train_many
from fastnet.metrics import METRICS
from fastnet.model import Model
from fastnet.tables.encoder import TableEncoder
from fastnet.tables.networks import NetworkSettings, folds, seeds

ROWS_AT_ONCE = 4096
"""Rows that are encoded for a prediction at a time: a few megabytes."""

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

    `_learn_targets(y)` returns y as the networks take it, and the number of classes, or 0; `_targets(y)` that of rows
    to validate with; `_finish(A, y, weights)` is told what the networks give for rows that they have not seen.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray
    encoder_: TableEncoder
    model_: list[Model]
    history_: list[History]
    oof_prediction_: np.ndarray | None
    _held_out: tuple[np.ndarray, np.ndarray, np.ndarray]  # encoded rows, their targets, and which network left them out

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

    _best_is: str
    """The metric that chooses an epoch if `scoring` names none; "cost" for the cost itself."""

    def _learn_targets(self, y: Any) -> tuple[np.ndarray, int]:
        raise NotImplementedError

    def _targets(self, y: Any) -> np.ndarray:
        raise NotImplementedError

    def _weights_of_classes(self, y: Any) -> np.ndarray | None:
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
        """Encode X, and train the networks, each on another part of its rows."""
        start = time.monotonic()
        settings, n_nets = self._settings(), checks.positive_integer(self.n_nets, "n_nets")
        n_folds = checks.integer_from(2, self.n_folds, "n_folds")
        limit = None if self.time_limit is None else checks.positive_number(self.time_limit, "time_limit")
        threads = None if self.n_threads is None else checks.positive_integer(self.n_threads, "n_threads")
        encoder = TableEncoder(bins=self.bins, clip=self.clip, max_categories=self.max_categories)
        validate_data(self, X, reset=True, skip_check_array=True)
        Z = encoder.fit_transform(X)
        self.n_features_in_ = encoder.n_features_in_
        if len(Z) != len(y):
            raise ValueError(f"X has {len(Z)} rows, but y has {len(y)}. Pass a target for each row.")
        y, n_classes = self._learn_targets(y)
        metrics = self._metric(n_classes > 0)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, Z, ensure_non_negative=True)
        by_class = self._weights_of_classes(y)
        if by_class is not None:
            weights = by_class if weights is None else weights * by_class
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        m, divided = len(Z), None
        if held_out is None:
            divided = folds(y if n_classes else None, m, n_folds, seed)
            out = [divided[i % n_folds] for i in range(n_nets)]
            rows = [np.setdiff1d(np.arange(m), each, assume_unique=True) for each in out]
            if any(len(each) == 0 for each in (*out, *rows)):  # fewer rows than folds: train with all of them
                rows, out, divided = [np.arange(m)] * n_nets, [np.arange(m)] * n_nets, None
        else:
            Z, y, weights = self._with(held_out, encoder, Z, y, weights)
            rows, out = [np.arange(m)] * n_nets, [np.arange(m, len(Z))] * n_nets
        models = [
            settings.model(Z.shape[1], n_classes or 1, each, softmax=n_classes > 0) for each in seeds(seed, n_nets)
        ]
        if limit is not None:
            at_once = min(n_nets, threads or get_num_threads())
            limit = max(1e-3, limit - (time.monotonic() - start)) / -(-n_nets // at_once)
        monitor = f"val_{metrics[0]}" if metrics else "val_cost"
        self.history_ = train_many(
            models, Z, y, rows=rows, validation_rows=out, sample_weight=weights, epochs=settings.epochs,
            batch_size=settings.batch_size_for(min(map(len, rows))), metrics=metrics,
            callbacks=settings.callbacks(monitor, limit), label_smoothing=self._smoothing(), threads=threads,
            verbose=self.verbose,
        )  # fmt: skip
        self.encoder_, self.model_ = encoder, models
        self.oof_prediction_ = None
        if divided is not None or held_out is not None:
            rows_left_out = np.unique(np.concatenate(out))
            self._finish(self._unseen(Z, out)[rows_left_out], y[rows_left_out], weights and weights[rows_left_out])
            of_networks = np.concatenate([np.full(len(each), i) for i, each in enumerate(out)])
            chosen = np.arange(len(of_networks))[:: -(-len(of_networks) // ROWS_OF_IMPORTANCE)]
            rows_chosen = np.concatenate(out)[chosen]
            self._held_out = Z[rows_chosen], y[rows_chosen], of_networks[chosen]
        if divided is not None:
            self.oof_prediction_ = self._outputs(self._unseen(Z, out))
        return self

    def _with(
        self, held_out: Any, encoder: TableEncoder, Z: np.ndarray, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return encoded rows, targets and weights, those of rows to validate with behind the others."""
        if not isinstance(held_out, (tuple, list)) or len(held_out) not in (2, 3):
            raise TypeError(f"eval_set must be (X, y) or (X, y, sample_weight), not {type(held_out).__name__}.")
        Z_val, y_val = encoder.transform(held_out[0]), self._targets(held_out[1])
        if len(Z_val) != len(y_val) or len(Z_val) == 0:
            raise ValueError(f"In eval_set, X has {len(Z_val)} rows, but y {len(y_val)}. Pass as many, at least one.")
        w_val = held_out[2] if len(held_out) == 3 else None
        if weights is not None or w_val is not None:
            own = np.ones(len(Z)) if weights is None else weights
            w_val = _check_sample_weight(w_val, Z_val, ensure_non_negative=True)
            weights = np.concatenate([own, w_val])
        return np.concatenate([Z, Z_val]), np.concatenate([y, y_val]), weights

    def _unseen(self, Z: np.ndarray, out: list[np.ndarray]) -> np.ndarray:
        """Return for each row the mean output of the networks that have not trained with it; NaN where all have."""
        total, count = np.zeros((len(Z), self.model_[0].output_layer.units)), np.zeros((len(Z), 1))
        for model, rows in zip(self.model_, out, strict=True):
            total[rows] += model.forward(Z[rows])
            count[rows] += 1
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def _mean(self, X: Any) -> np.ndarray:
        """Return the mean output of the networks for raw rows, (m, n_L) in float64."""
        check_is_fitted(self)
        validate_data(self, X, reset=False, skip_check_array=True)
        found = []
        for Z in self.encoder_.slabs(X, ROWS_AT_ONCE):
            total = np.zeros((len(Z), self.model_[0].output_layer.units))
            for model in self.model_:
                total += model.forward(Z)
            found.append(total / len(self.model_))
        return np.concatenate(found)

    def save(self, path: Any) -> None:
        """Write the estimator to one file, from which `fastnet.tables.load` makes an equal one; see there.

        Arguments, encoding and networks; not `history_`, `oof_prediction_`, nor any row of X. The file is on the disk
        when this returns, and whole or not there at all. OSError if it cannot be written; TypeError if an argument is
        of a class that is not fastnet's.
        """
        from fastnet.files import tensors
        from fastnet.tables import files

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
            Z, y, networks = self._held_out
            before = self._loss_of_held_out(Z, y, networks)
            rises = np.zeros(self.n_features_in_)
            for column, parts in enumerate(self.encoder_.columns_of):
                generator = np.random.default_rng(column)
                for _ in range(PERMUTATIONS if len(parts) else 0):
                    permuted = Z.copy()
                    permuted[:, parts] = Z[generator.permutation(len(Z))][:, parts]
                    rises[column] += self._loss_of_held_out(permuted, y, networks) - before
            self._importances = rises / PERMUTATIONS
        return self._importances.copy()

    def _loss_of_held_out(self, Z: np.ndarray, y: np.ndarray, networks: np.ndarray) -> float:
        """Return the mean loss of rows, each by the network that has not trained with it."""
        parts = [self._loss(model.forward(Z[networks == i]), y[networks == i]) for i, model in enumerate(self.model_)]
        return float(np.mean(np.concatenate(parts)))
