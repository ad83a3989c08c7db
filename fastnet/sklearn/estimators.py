"""The estimators, MLPClassifier and MLPRegressor: arguments, targets, and predictions in scikit-learn's form."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import neural_network
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from fastnet import words
from fastnet.engine.examples import Data, weighted
from fastnet.engine.ranks import Ranks, together
from fastnet.files import settings
from fastnet.losses import AnyLoss, Huber, Quantile, settings_of
from fastnet.sklearn import files, rules
from fastnet.sklearn.base import USER, BaseMLP, typed
from fastnet.sklearn.inputs import factors_of_classes, one_eval_set, refuse_factors


class MLPClassifier(ClassifierMixin, BaseMLP):
    """scikit-learn's MLPClassifier, and more.

    Every argument of `sklearn.neural_network.MLPClassifier` 1.9, and every attribute of the fitted estimator, is there
    and means the same, with these additions.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter,
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction,
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        As scikit-learn has them. `activation` may also be any of fastnet's, such as "gelu" or `LeakyReLU(0.1)`, or a
        list with one for each hidden layer; `solver` one of fastnet's optimizers, such as `AdamW(0.001)`, whose
        numbers then count instead of `learning_rate`, `learning_rate_init`, `momentum`, `beta_1` and so on.
    class_weight : dict, "balanced", list of dicts or None
        How much the examples of each class count in training, as in scikit-learn's other classifiers, 1 of a class left
        out; a list has a dict for each label.
    label_smoothing : float, default 0.0
        The share of each target that is spread evenly over the classes, in training: for the examples held out, the
        loss is of y as it is. See `fastnet.Model.fit`.
    dropout : float or list of floats, default 0.0
        The rate of dropout after each hidden layer.
    clip_norm : float or None
        Scale gradients down to this length.
    scoring : str, callable or None
        What early stopping goes by, and what `validation_scores_` holds: a scorer as in `sklearn.model_selection`,
        "loss" (minus that), or None for the accuracy. Without early stopping or `eval_set` there is nothing to score.
    callbacks : callable, list of callables or None
        Called after each epoch as f(model, epoch, logs): `fastnet.ReduceOnPlateau` or any function. `logs` holds
        "cost", scikit-learn's loss, and "val_cost" and "val_score", if examples are held out. True ends the fit.
    n_threads : int or None
        None: as many as the work is worth. The result does not depend on it.
    dtype : "float32", "float64" or None
        Of a new network; None: that of X.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray, (n_in, n_out) and (n_out,)
        Views of the parameters: to change them is to change the network.
    validation_loss_curve_ : list of float
        The loss of the examples held out, after each epoch; if there are any.
    model_ : fastnet.Model
        The fitted network, for what else fastnet does: `model_.input_gradients(X)`, which explanations go by, gradients
        of the cost, diagnosis. It has the parameters in common.

    Notes
    -----
    Unlike scikit-learn's, networks are the same to the bit on every machine and any number of threads, but for
    solver="lbfgs", which is SciPy's (and Poisson's loss, and scores, whose last digit is NumPy's: stopping goes by
    them). Sparse rows are made dense some at a time: that saves memory, not time.

    Examples
    --------
    >>> from fastnet.sklearn import MLPClassifier
    >>> classifier = MLPClassifier((8,), learning_rate_init=0.05, tol=0.01, random_state=0).fit(X, y)
    >>> classifier.predict([[1.0, -1.0], [-1.0, 1.0]])
    array([1, 0])
    >>> classifier.predict_proba(X).shape
    (100, 2)
    """

    _counterpart: ClassVar[Any] = neural_network.MLPClassifier
    class_weight: Any
    classes_: np.ndarray
    _label_binarizer: LabelBinarizer
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self, hidden_layer_sizes: Any = (100,), activation: Any = "relu", *, solver: Any = "adam",
        alpha: float = 0.0001, batch_size: Any = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
        random_state: Any = None, tol: float = 1e-4, verbose: Any = False, warm_start: bool = False,
        momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, max_fun: int = 15000, class_weight: Any = None, dropout: Any = 0.0,
        clip_norm: float | None = None, scoring: Any = None, callbacks: Any = None, n_threads: int | None = None,
        dtype: Any = None, label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        self._keep(locals())

    def _loss(self) -> None:
        """Return None: the output decides."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @together
    @typed(_fit_context(prefer_skip_nested_validation=True))
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None, communicator: Any = None,
    ) -> Self:  # fmt: skip
        """Fit the network to X (m, n_features) and classes y (m,), or labels (m, n_labels), zeros and ones.

        Parameters
        ----------
        X, y : array_like
            X may be sparse.
        sample_weight : array_like, (m,), optional
            How much each example counts; not negative.
        eval_set : (X, y) or (X, y, sample_weight), optional
            Examples to validate with after each epoch. With early_stopping=True, which holds out none then, it goes by
            them. Not for solver="lbfgs".
        X_val, y_val, sample_weight_val : array_like, optional
            The same in parts, so that a Pipeline with transform_input=["X_val"] transforms X_val as it does X.
        communicator : mpi4py.MPI.Comm or Communicator, optional
            Train with other processes, of whose examples these are a part, as `fastnet.Model.fit` does; each has some.
            Not for solver="lbfgs", nor with a scorer of scikit-learn's.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is not as scikit-learn requires, or training diverges.
        """
        with self._alone("fit"):
            eval_set = one_eval_set(eval_set, X_val, y_val, sample_weight_val)
            return self._fit(X, y, sample_weight, eval_set, ranks=communicator)

    @typed(available_if(BaseMLP._check_solver))
    @words.helpful
    @typed(_fit_context(prefer_skip_nested_validation=True))
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Go through X and y once more; `classes`, all there are, must be given the first time."""
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' is not for partial_fit, which does not see all examples. Pass a dictionary, "
                "such as sklearn.utils.class_weight.compute_class_weight makes it."
            )
        with self._alone("partial_fit"):
            if _check_partial_fit_first_call(self, classes):
                given = y if type_of_target(y).startswith("multilabel") else classes
                self._label_binarizer = LabelBinarizer().fit(given)
            return self._fit(X, y, sample_weight, incremental=True)

    def _learn_targets(self, y: Any, incremental: bool) -> None:
        """Find the classes in y; or check that it has those known."""
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start and set(unique_labels(y)) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {unique_labels(y)}"
            )
        kind = self._label_binarizer.y_type_
        self.out_activation_ = "softmax" if kind == "multiclass" else "logistic"
        self.n_outputs_ = 1 if kind == "binary" else len(self.classes_)

    def _encoded(self, y: Any) -> np.ndarray:
        """Return the number of the class of each example (m,), or (m, n_labels)."""
        if self._label_binarizer.y_type_.startswith("multilabel"):
            labels: np.ndarray = self._label_binarizer.transform(y)
            return labels
        if y.ndim > 1:
            raise ValueError(
                f"y must hold one of the classes {self.classes_} for each example, but has shape {y.shape}."
            )
        numbers: np.ndarray = np.searchsorted(self.classes_, y)
        if np.any(self.classes_.take(numbers, mode="clip") != y):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has "
                f"{unique_labels(y)}."
            )
        return numbers

    def _with_class_weight(self, examples: Data, y: Any, ranks: Ranks | None) -> Data:
        """Return the examples, their weights multiplied by those of their classes."""
        if self.class_weight is None:
            return examples
        weights = self._class_weights(y, ranks)
        refuse_factors(weights, self.class_weight)
        return weighted(examples, weights)

    def _class_weights(self, y: Any, ranks: Ranks | None) -> np.ndarray:
        """Return the weight of each example (m,) by its class, 1 of a class that `class_weight` leaves out."""
        if isinstance(self.class_weight, Mapping) and y.ndim == 1:
            weights = factors_of_classes(self.class_weight, self.classes_, USER + 2)
            by_example: np.ndarray = weights[self._encoded(y)]
            return by_example
        given = self.class_weight
        if isinstance(given, str) and ranks is not None:
            if y.ndim > 1:
                raise ValueError("With a communicator, class_weight must be a list for several labels, not 'balanced'.")
            numbers = self._encoded(y)
            (counts,) = ranks.sums([np.bincount(numbers, minlength=len(self.classes_))])
            balanced: np.ndarray = (counts.sum() / (len(counts) * counts))[numbers]
            return balanced
        if isinstance(given, list) and len(given) == y.shape[-1]:
            given = [dict.fromkeys((0, 1), 1) | dict(each) for each in given]
        return np.asarray(compute_sample_weight(given, y))

    def _score_of(self, held_out: Data, A: np.ndarray) -> float:
        """Return the accuracy: the share of examples of which all is right."""
        found = np.argmax(A, axis=1)[:, np.newaxis] if self.out_activation_ == "softmax" else A > 0.5
        with np.errstate(all="ignore"):
            return float(np.average((found == held_out.y).all(axis=1), weights=held_out.weights))

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row of X, (m,), or its labels, (m, n_labels)."""
        A = self._outputs(X)
        if self._label_binarizer.y_type_.startswith("multilabel"):
            labels: np.ndarray = self._label_binarizer.inverse_transform(A)  # sparse, if those of the fit were
            return labels
        found = A.argmax(axis=1) if self.n_outputs_ > 1 else (A[:, 0] > 0.5).astype(np.intp)
        classes: np.ndarray = self.classes_.take(found, mode="clip")  # there may be but one
        return classes

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, (m, n_classes), in the order of `classes_`; or of each label."""
        A = self._outputs(X)
        return np.hstack([1 - A, A]) if self.n_outputs_ == 1 else A

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`."""
        probabilities = self.predict_proba(X)
        with np.errstate(all="ignore"):
            np.log(probabilities, out=probabilities)
        return probabilities


class MLPRegressor(RegressorMixin, BaseMLP):
    """scikit-learn's MLPRegressor, and more.

    Every argument of `sklearn.neural_network.MLPRegressor` 1.9, and every attribute of the fitted estimator, is there
    and means the same, with the additions that `MLPClassifier` has (but for class_weight), and this one.

    Parameters
    ----------
    loss : str, Huber or Quantile, default "squared_error"
        "squared_error" or "poisson", as scikit-learn has them; "absolute_error", "huber" or `fastnet.Huber(delta)`. Of
        several outputs errors are averaged, but for "poisson"; their gradient is that of their sum, in either library.
        `fastnet.Quantile(q)`: the network predicts that quantile; with several, of y (m,), `predict` returns all,
        (m, n_quantiles), which never cross.
    scoring : str, callable or None
        What early stopping goes by: a scorer as in `sklearn.model_selection`, "loss", or None for what `score` gives.

    Examples
    --------
    >>> from fastnet.sklearn import MLPRegressor
    >>> regressor = MLPRegressor("squared_error", (8,), learning_rate_init=0.05, tol=0.01, random_state=0)
    >>> regressor = regressor.fit(X, X.sum(axis=1))
    >>> round(regressor.score(X, X.sum(axis=1)), 1)
    1.0
    """

    _counterpart: ClassVar[Any] = neural_network.MLPRegressor
    loss: AnyLoss
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(set(rules.REGRESSION_LOSSES)), Huber, Quantile],
    }

    def __init__(
        self, loss: Any = "squared_error", hidden_layer_sizes: Any = (100,), activation: Any = "relu", *,
        solver: Any = "adam", alpha: float = 0.0001, batch_size: Any = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
        random_state: Any = None, tol: float = 1e-4, verbose: Any = False, warm_start: bool = False,
        momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, max_fun: int = 15000, dropout: Any = 0.0, clip_norm: float | None = None,
        scoring: Any = None, callbacks: Any = None, n_threads: int | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self._keep(locals())

    def _loss(self) -> AnyLoss:
        """Return fastnet's loss."""
        return rules.REGRESSION_LOSSES[self.loss] if isinstance(self.loss, str) else self.loss

    def _validate_params(self) -> None:
        """Raise ValueError for an argument that is none; scikit-learn's own check, but for a name of its losses."""
        if isinstance(self.loss, str) and words.canonical(self.loss, words.LOSSES) == "quantile":
            raise ValueError(
                "loss='quantile' does not say which. Pass loss=fastnet.Quantile(0.9), or of several "
                "loss=fastnet.Quantile([0.1, 0.5, 0.9])."
            )
        if isinstance(self.loss, (int, list, tuple)):
            raise ValueError(
                f"loss must be a name, Huber or Quantile, not {self.loss!r}. It is MLPRegressor's first argument: for "
                f"the hidden layers pass hidden_layer_sizes={self.loss!r}."
            )
        super()._validate_params()

    @together
    @typed(_fit_context(prefer_skip_nested_validation=True))
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None, communicator: Any = None,
    ) -> Self:  # fmt: skip
        """Fit the network to X (m, n_features) and y (m,) or (m, n_outputs); see `MLPClassifier.fit`."""
        with self._alone("fit"):
            eval_set = one_eval_set(eval_set, X_val, y_val, sample_weight_val)
            return self._fit(X, y, sample_weight, eval_set, ranks=communicator)

    @typed(available_if(BaseMLP._check_solver))
    @words.helpful
    @typed(_fit_context(prefer_skip_nested_validation=True))
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go through X and y once more."""
        with self._alone("partial_fit"):
            return self._fit(X, y, sample_weight, incremental=True)

    def _learn_targets(self, y: Any, incremental: bool) -> None:
        self.n_outputs_ = len(settings_of(self._loss(), y.shape[1] if y.ndim == 2 else 1))
        self.out_activation_ = "exp" if self.loss == "poisson" else "identity"

    def _encoded(self, y: Any) -> np.ndarray:
        """Return y (m, n_outputs)."""
        return np.reshape(y, (len(y), -1))

    def _score_of(self, held_out: Data, A: np.ndarray) -> float:
        """Return R2; of quantiles, D2."""
        if isinstance(self.loss, Quantile):
            return d2_of_quantiles(self.loss, held_out.y, A, held_out.weights)
        with np.errstate(all="ignore"):
            return float(r2_score(held_out.y, A, sample_weight=held_out.weights))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R2 of the predictions for X (m, n_features); of quantiles, D2: the mean of `d2_pinball_score`."""
        if isinstance(self.loss, Quantile):
            return d2_of_quantiles(self.loss, np.asarray(y), self.predict(X), sample_weight)
        return float(super().score(X, y, sample_weight))

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted values, (m,), or (m, n_outputs) of several outputs or quantiles."""
        A = self._outputs(X)
        return A[:, 0] if A.shape[1] == 1 else A


def d2_of_quantiles(loss: Quantile, y: np.ndarray, A: np.ndarray, weights: Any) -> float:
    """Return the share of the pinball loss that is gone, in place of a constant's, 1 at best: the mean of quantiles."""
    levels = settings_of(loss, 1)
    columns = A.T if len(levels) > 1 else [A]
    scores = [d2_pinball_score(y, a, sample_weight=weights, alpha=q) for q, a in zip(levels, columns, strict=True)]
    return float(np.mean(scores))


def from_sklearn(estimator: Any) -> MLPClassifier | MLPRegressor:
    """Return fastnet's estimator for one of scikit-learn's, fitted or not; see `to_sklearn`, which goes back.

    Raises
    ------
    TypeError
        If it is neither scikit-learn's MLPClassifier nor its MLPRegressor.

    Examples
    --------
    >>> from sklearn.neural_network import MLPClassifier
    >>> from fastnet.sklearn import from_sklearn
    >>> trained = MLPClassifier((8,), learning_rate_init=0.05, tol=0.01, random_state=0).fit(X, y)
    >>> classifier = from_sklearn(trained)
    >>> np.allclose(classifier.predict_proba(X), trained.predict_proba(X))
    True
    """
    for kind in (MLPClassifier, MLPRegressor):
        if isinstance(estimator, kind._counterpart):
            return kind.from_sklearn(estimator)
    raise TypeError(f"estimator must be scikit-learn's MLPClassifier or MLPRegressor, not {estimator!r}.")


def load(path: Any, *, check_finite: bool = True, **instead: Any) -> MLPClassifier | MLPRegressor:
    """Return the estimator that `save` wrote to a file: it predicts, and goes on with training, to the bit as that one.

    Nothing in the file is run, unpickled or imported; a file of which a byte was changed is refused.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    check_finite : bool, default True
        Refuse parameters that are infinite or NaN.
    **instead
        `learning_rate`, `scoring`, `callbacks`: what is to stand for those that were functions, which no file holds;
        None for the last two will do where none is needed.

    Raises
    ------
    FileFormatError
        If the file is not such a file, whatever is wrong with it.
    OSError
        If it cannot be read.
    ValueError
        If something was a function and is not given.

    Examples
    --------
    >>> from fastnet.sklearn import MLPClassifier, load
    >>> classifier = MLPClassifier((8,), learning_rate_init=0.05, tol=0.01, random_state=0).fit(X, y)
    >>> classifier.save("classifier.fastnet")
    >>> np.array_equal(load("classifier.fastnet").predict(X), classifier.predict(X))
    True
    """
    if others := set(instead) - set(settings.MAY_BE_FUNCTIONS):
        raise TypeError(f"load takes {', '.join(settings.MAY_BE_FUNCTIONS)} in place of functions, not {others}.")
    kinds: dict[str, type[MLPClassifier | MLPRegressor]] = {
        "MLPClassifier": MLPClassifier,
        "MLPRegressor": MLPRegressor,
    }
    return files.read(path, kinds, instead, check_finite)
