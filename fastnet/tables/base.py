"""What the estimators for tables have in common: how networks are fitted to an encoded table, and their mean."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names, check_is_fitted

from fastnet import checks, words
from fastnet.callbacks import TimeLimit
from fastnet.engine.examples import sample_weights
from fastnet.engine.threads import get_num_threads
from fastnet.exchange.onnx_graph import Graph, free_names
from fastnet.files import tensors
from fastnet.history import History
from fastnet.many import train_many
from fastnet.metrics import METRICS
from fastnet.model import Model
from fastnet.scaling import FLOAT64
from fastnet.sklearn.inputs import one_eval_set, parts_of_eval_set
from fastnet.tables import files
from fastnet.tables.encoder import TableEncoder
from fastnet.tables.examples import Others, at_rows, in_folds, outputs_of_unseen, product, with_others
from fastnet.tables.export import Values, add_estimator
from fastnet.tables.few_rows import FewRows
from fastnet.tables.importance import HeldOut, held_out_by, importances
from fastnet.tables.inputs import refuse_complex
from fastnet.tables.networks import NetworkSettings, seeds
from fastnet.tables.rows import Distinct, distinct_rows, repeated

SCORES = {
    "accuracy": "accuracy", "roc_auc": "auc", "roc_auc_ovr": "auc", "neg_log_loss": "log_loss", "f1": "f1",
    "f1_macro": "f1", "r2": "r2", "neg_mean_squared_error": "mse", "neg_root_mean_squared_error": "mse",
    "neg_mean_absolute_error": "mae",
}  # fmt: skip
"""scikit-learn's names of scores, by which the best epoch may be chosen, and the metric of the same order."""


class TableEstimator(BaseEstimator, metaclass=words.Helpful):
    """The base of classifier and regressor, which say what their targets are, and what the networks' mean is of.

    `_checked_targets(y, learns)` returns numbers of classes, or values; `_learn(y, rows, weights)` learns what the
    distinct rows say of them; `_for_networks(y)` returns them as the networks take them. `_learn_of_unseen(A, y,
    weights)` is told what networks give for rows that they have not seen, of which `_outputs_of_unseen(A)` makes
    predictions; `_finish()` changes the networks, in the end, by what was learned.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray
    encoder_: TableEncoder
    model_: list[Model]
    history_: list[History]
    oof_prediction_: np.ndarray | None
    _few_rows: FewRows
    _held_out: HeldOut

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
    cooldown: float
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

    def _factors_of_classes(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        return None

    def _learn_of_unseen(self, A: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
        raise NotImplementedError

    def _outputs_of_unseen(self, A: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _refuse_lack_of_classes(self, y: np.ndarray, held_out: list[np.ndarray]) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        pass

    def _loss(self, A: np.ndarray, y: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _smoothing(self) -> float:
        return 0.0

    def _metric(self, classifies: bool) -> tuple[str, ...]:
        """Return the metric by which the best epoch is chosen, or nothing: the cost."""
        if self.scoring is None:
            return () if self._best_is == "cost" else (self._best_is,)
        name = SCORES.get(self.scoring, self.scoring) if isinstance(self.scoring, str) else None
        if name not in METRICS or METRICS[name].for_classes != classifies:
            fitting = sorted(each for each, metric in SCORES.items() if METRICS[metric].for_classes == classifies)
            raise ValueError(f"scoring must be one of {', '.join(map(repr, fitting))}, or None, not {self.scoring!r}.")
        return (name,)

    def __sklearn_tags__(self) -> Any:
        """Return the tags of scikit-learn: gaps, categories and text are let in."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        return tags

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: Any = None, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:  # fmt: skip
        """Learn from a table; the best epoch of each network is chosen by rows that it has not trained with.

        Parameters
        ----------
        X : data frame, array or list of rows, (m, n_features)
        y : array_like, (m,)
            Classes or values.
        sample_weight : array_like, (m,), optional
            How much each row counts; 0: not at all. Of rows held out, it counts in the cost and for the temperature; in
            scores, such as the accuracy, they count alike.
        eval_set : (X, y) or (X, y, sample_weight), optional
            Rows to choose the epochs by, in place of folds.
        X_val, y_val, sample_weight_val : optional
            The same in parts.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If an argument or the data is not as described. The estimator is as before then.

        Examples
        --------
        >>> from fastnet.tables import TableRegressor
        >>> table = [[1.0, "a"], [2.0, "b"], [None, "a"]]
        >>> rows, weights = (table * 20, [3.0, 4.0, 5.0] * 20, [1.0, 2.0, 1.0] * 20), [1.0, 1.0, 3.0]
        >>> TableRegressor(n_nets=2, random_state=0).fit(*rows, eval_set=(table, [3.0, 4.0, 5.0], weights))
        TableRegressor(n_nets=2, random_state=0)
        """
        before = dict(self.__dict__)
        try:
            return self._fitted(X, y, sample_weight, one_eval_set(eval_set, X_val, y_val, sample_weight_val))
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _fitted(self, X: Any, y: Any, sample_weight: Any, held_out: Any) -> Self:
        """Encode X, and train the networks, each on another part of its rows."""
        start, classifies = time.monotonic(), is_classifier(self)
        settings, n_nets = NetworkSettings.of(self), checks.positive_integer(self.n_nets, "n_nets")
        n_folds, metrics = checks.integer_from(2, self.n_folds, "n_folds"), self._metric(classifies)
        limit = None if self.time_limit is None else checks.positive_number(self.time_limit, "time_limit")
        threads = None if self.n_threads is None else checks.positive_integer(self.n_threads, "n_threads")
        for name in ("_held_out", "_importances", "_errors"):  # of a fit before
            self.__dict__.pop(name, None)
        C, y, distinct, factors = self._encoded(X, y, sample_weight, settings.dtype)
        self._learn(y, distinct.rows, distinct.weights)
        rows, weights = repeated(C, distinct)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        targets = self._for_networks(y)
        if held_out is None:
            division = in_folds(C, targets, weights, rows, n_nets, n_folds, seed, stratify=classifies)
        else:
            division = with_others(C, targets, weights, rows, n_nets, self._others(held_out, settings.dtype))
        C, targets, weights, training, out, unseen = division
        if metrics == ("auc",):
            self._refuse_lack_of_classes(targets, out)
        of_training = product(weights, None if factors is None else factors[targets])
        layer, n_outputs = self.encoder_.layer(), len(self.classes_) if classifies else 1
        self.model_ = [settings.model(layer, n_outputs, each, softmax=classifies) for each in seeds(seed, n_nets)]
        of_folds = of_cooldown = None
        if limit is not None:
            waves = -(-n_nets // min(n_nets, threads or get_num_threads()))
            seconds = max(1e-3, limit - (time.monotonic() - start)) / waves
            of_folds = seconds / (1 + settings.cooldown * len(rows) / min(map(len, training)))
            of_cooldown = seconds - of_folds
        monitor = f"val_{metrics[0]}" if metrics else "val_cost"
        train = partial(
            train_many, self.model_, C, targets, sample_weight=of_training, label_smoothing=self._smoothing(),
            batch_size=settings.batch_size_for(min(map(len, training))), threads=threads,
        )  # fmt: skip
        self.history_ = train(
            training, settings.epochs, validation_rows=out, validation_sample_weight=weights, metrics=metrics,
            callbacks=settings.callbacks(monitor, of_folds), verbose=self.verbose,
        )  # fmt: skip
        self.oof_prediction_ = None
        if unseen is not None:
            kinds, A = outputs_of_unseen(self.model_, C, out)
            of_unseen = None if of_training is None else of_training[unseen]
            A_unseen = A if len(unseen) == len(kinds) else A[np.searchsorted(kinds, unseen)]  # of rows that repeat
            self._learn_of_unseen(A_unseen, targets[unseen], of_unseen)
            del A_unseen
            self._held_out = held_out_by(self.model_, C, targets, out)
            if held_out is None:
                A = self._outputs_of_unseen(A)
                self.oof_prediction_ = at_rows(A, kinds, distinct.of)
            del A
        epochs = settings.cooldown_epochs([history.kept_epoch or 0 for history in self.history_])
        if epochs:
            with settings.cooling_down(self.model_, epochs):
                limits = [] if of_cooldown is None else [TimeLimit(of_cooldown)]
                train([rows] * n_nets, epochs, callbacks=limits, verbose=False)
        self._finish()
        self._few_rows = FewRows(self.encoder_, self.model_)
        return self

    def _encoded(
        self, X: Any, y: Any, sample_weight: Any, dtype: np.dtype
    ) -> tuple[np.ndarray, np.ndarray, Distinct, np.ndarray | None]:
        """Learn the encoding of X; return its compact rows, y checked, which rows are distinct, factors by class."""
        refuse_complex(X)
        if y is None:
            raise ValueError(f"This {type(self).__name__} requires y to be passed, but the target y is None.")
        self._check_names(X, reset=True)
        y = self._checked_targets(y, learns=True)
        weights = sample_weights(sample_weight, len(y), FLOAT64)
        factors = self._factors_of_classes(y, weights)
        of_encoder, counted = weights, weights
        if factors is not None:
            of_encoder, counted = product(weights, factors[y]), product(weights, np.sign(factors)[y])
            if not np.any(of_encoder):
                raise ValueError("class_weight leaves no row any weight. Give at least two classes more than 0.")
        encoder = TableEncoder(bins=self.bins, clip=self.clip, max_categories=self.max_categories)
        C = encoder.fit(X, of_encoder).compact(X, dtype)
        if len(C) != len(y):
            raise ValueError(f"X has {len(C)} rows, but y has {len(y)}. Pass a target for each row.")
        self.n_features_in_, self.encoder_ = encoder.n_features_in_, encoder
        return C, y, distinct_rows(C, y, counted), factors

    def _others(self, held_out: Any, dtype: np.dtype) -> Others:
        """Return the rows to validate with that were given to `fit`."""
        X, y, weights = parts_of_eval_set(held_out)
        try:
            refuse_complex(X)
            self._check_names(X, reset=False)
            C = self.encoder_.compact(X, dtype)
            y = self._for_networks(self._checked_targets(y, learns=False))
            if len(C) != len(y) or len(C) == 0:
                raise ValueError(f"X has {len(C)} rows, but y has {len(y)}. Pass a target for each row, at least one.")
            return Others(C, y, sample_weights(weights, len(y), dtype))
        except (TypeError, ValueError) as error:
            raise type(error)(f"In eval_set: {error}") from None

    def _check_names(self, X: Any, *, reset: bool) -> None:
        """Learn the names of the columns, or check them, as scikit-learn does; an array is taken by their places."""
        names = checks.column_names(X)
        if names is not None and len(set(names)) < len(names):  # which scikit-learn does not take; the encoder does
            if reset:
                self.feature_names_in_ = np.array(names, dtype=object)
        elif reset or names is not None:
            _check_feature_names(self, X, reset=reset)

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
        of a class that no file names.

        Examples
        --------
        >>> from fastnet.tables import TableRegressor, load
        >>> TableRegressor(2, random_state=0).fit([[1.0, "a"], [2.0, "b"]] * 20, [3.0, 4.0] * 20).save("model.fastnet")
        >>> load("model.fastnet")
        TableRegressor(n_nets=2, random_state=0)
        """
        tensors.write(path, *files.written(self))

    def to_onnx(self, path: Any, *, opset: int = 17) -> None:
        """Write encoding, networks and their mean as an ONNX file, which is never there in part.

        Needs the extra `fastnet-mlp[onnx]`. The inputs are the columns of which something is made, each (m, 1), by
        their names: text as such, "" where it is missing; all others, truth values and categories that are numbers too,
        in float64, NaN where they are missing. Of an array without text, it is X (m, n_features). What the encoder
        refuses is not refused there. A classifier gives "label" and "probabilities"; a regressor "prediction".

        Parameters
        ----------
        path : str or path-like
            Where to.
        opset : int, default 17
            ONNX's version of the operators, from 13.

        Raises
        ------
        ImportError
            Without onnx.
        NotFittedError, ValueError, TypeError
            Before `fit`, if onnx does not know the opset, or if a column holds what ONNX cannot read, such as dates.

        Examples
        --------
        >>> import onnx
        >>> from fastnet.tables import TableRegressor
        >>> model = TableRegressor(random_state=0).fit([[1.0, "a"], [2.0, "b"]] * 20, [3.0, 4.0] * 20)
        >>> model.to_onnx("model.onnx")
        >>> [each.name for each in onnx.load("model.onnx").graph.input]
        ['0', '1']
        """
        check_is_fitted(self)
        from fastnet.exchange import onnx_file

        graph = Graph(onnx_file.checked_opset(opset), self.model_[0].dtype, free_names())
        inputs, A = add_estimator(graph, self.encoder_, self.model_)
        onnx_file.write_proto(onnx_file.proto_of(graph, inputs, self._add_outputs(graph, A)), path)

    def _add_outputs(self, graph: Graph, A: str) -> Values:
        """Add what is predicted of the mean output of the networks, in double; return the outputs."""
        raise NotImplementedError

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
        0, or less by chance. Computed when it is first asked for, from up to 2,000 rows, by the networks that have held
        them out, as they were before cooldown and temperature. A file does not keep these rows: of an estimator that
        was loaded there are none.
        """
        check_is_fitted(self)
        if not hasattr(self, "_held_out"):
            raise AttributeError(
                "There are no feature_importances_: they need rows held out, which a file does not keep, and a fit of "
                "few rows may not have."
            )
        if not hasattr(self, "_importances"):
            self._importances = importances(self._held_out, self.model_, self.encoder_.places, self._loss)
        return self._importances.copy()
