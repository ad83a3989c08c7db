"""scikit-learn's MLPClassifier and MLPRegressor, on fastnet's engine.

Change the import line, and a program that uses scikit-learn's classes goes on: same arguments, methods, attributes,
initial weights, shuffles, batches, stopping rules and warnings. From the same `random_state` comes the same network,
but for rounding. Needs scikit-learn, which the extra fastnet[sklearn] brings.
"""

import copy
import warnings
from collections.abc import Callable
from contextlib import suppress
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np

from fastnet.activations import LeakyReLU
from fastnet.callbacks import AnyCallback, checked_callbacks
from fastnet.checks import float_dtype
from fastnet.engine.examples import Data, sample_weights
from fastnet.engine.run import OptimizerState, Run
from fastnet.kernels import codes
from fastnet.losses import Huber
from fastnet.model import Model
from fastnet.optimizers import Optimizer
from fastnet.sklearn import rules
from fastnet.sklearn.epochs import Hooks, Training
from fastnet.sklearn.lbfgs import minimize
from fastnet.sklearn.parameters import MLPNetwork

try:
    from sklearn import neural_network
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context, is_classifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import check_scoring, r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import LabelBinarizer
    from sklearn.utils import _safe_indexing, check_random_state, column_or_1d
    from sklearn.utils._param_validation import Interval, Options, StrOptions
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
    from sklearn.utils.optimize import _check_optimize_result
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        'fastnet.sklearn needs scikit-learn 1.6 or later: pip install "scikit-learn>=1.6" (the extra fastnet[sklearn]).'
    ) from error
try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """What scikit-learn had before: nothing."""

    def with_callbacks(method: Any) -> Any:
        """Add nothing but a level to the stack, so that USER is right."""
        return lambda *args, **kwargs: method(*args, **kwargs)


__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn"]

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)

FITTED = (
    "classes_", "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_", "n_iter_",
    "n_layers_", "n_outputs_", "out_activation_", "t_", "n_features_in_", "feature_names_in_", "_label_binarizer",
    "_no_improvement_count",
)  # fmt: skip
"""The attributes that a fitted estimator has in both libraries, but for the parameters."""

USER = 6
"""The level of the stack, above `_fit_stochastic`, at which warnings are to point: the line that calls `fit`."""

OF_TRAINING = {"class_weight", "dropout", "clip_norm", "scoring"}
"""The arguments that scikit-learn's classes do not have, and that decide what a fit gives."""


class _MLP(MLPNetwork, CallbackSupportMixin, BaseEstimator):
    """What classifier and regressor have in common."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(rules.HIDDEN_ACTIVATIONS), LeakyReLU, "array-like"],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"}), Optimizer],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "scoring": [None, str, callable],
        "callbacks": [None, callable, "array-like"],
        "n_threads": [None, Interval(Integral, 1, None, closed="left")],
        "dtype": [None, StrOptions({"float32", "float64"}), Options(type, {np.float32, np.float64}), np.dtype],
    }

    def _keep(self, parameters: dict[str, Any]) -> None:
        """Keep the arguments of a constructor, which are its only variables."""
        for name, value in parameters.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ------------------------------------------------------------------------------------------------------ parameters

    @property
    def model_(self) -> Model:
        """The fitted network as a `fastnet.Model`; until the next fit, its parameters are those of the estimator."""
        check_is_fitted(self)
        return self._bound()

    # -------------------------------------------------------------------------------------------------------- training

    @with_callbacks
    def _fit(self, X: Any, y: Any, sample_weight: Any, eval_set: Any = None, incremental: bool = False) -> Self:
        hidden = rules.hidden_units(self.hidden_layer_sizes)
        self._refuse_what_lbfgs_does_not_do(eval_set)
        callbacks = checked_callbacks(() if self.callbacks is None else self.callbacks)
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        given = X, y
        X, y = self._validated(X, y, first_pass)
        self._learn_targets(y, incremental)
        encoded = self._encoded(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        self._random_state = check_random_state(self.random_state)
        dtype = float_dtype(self.dtype or X.dtype) if first_pass else self._bound().dtype
        examples = self._examples(X, encoded, sample_weight, dtype)
        class_weighted = self._with_class_weight(examples, y)
        if self.solver != "lbfgs" and self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        units = (X.shape[1], *hidden, self.n_outputs_)
        if first_pass:
            self._make_network(units, dtype)
            self.n_layers_ = len(units)
            self._forget()
        else:
            self._go_on_with_network(units)
        held_out = scored = None
        if eval_set is not None:
            held_out, scored = self._from_eval_set(eval_set)
        elif self.early_stopping and self.solver != "lbfgs":
            class_weighted, held_out, scored = self._split(class_weighted, examples, encoded, given)
        hooks = Hooks(self, *given, sample_weight)
        if self.solver == "lbfgs":
            self._fit_lbfgs(class_weighted, hooks)
        else:
            self._fit_stochastic(class_weighted, held_out, scored, callbacks, hooks, incremental)
        hooks.end_fit()
        if not np.isfinite(self._model.parameters).all():
            raise ValueError(NOT_FINITE)
        return self

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """Check X and y as scikit-learn does; return X as floats, perhaps sparse, and y, (m,) or (m, outputs)."""
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=(np.float64, np.float32), reset=reset,
            y_numeric=not is_classifier(self),
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _refuse_what_lbfgs_does_not_do(self, eval_set: Any) -> None:
        given = {"eval_set": eval_set is not None, "callbacks": self.callbacks is not None}
        given |= {"dropout": bool(np.any(np.asarray(self.dropout) != 0)), "clip_norm": self.clip_norm is not None}
        for name, is_given in given.items():
            if self.solver == "lbfgs" and is_given:
                raise ValueError(f"{name} is only for stochastic solvers. Use solver='sgd' or 'adam', or leave it out.")

    def _with_class_weight(self, examples: Data, y: Any) -> Data:
        """Return the examples, their weights multiplied by those of their classes."""
        return examples

    def _forget(self) -> None:
        """Begin the record of a new network."""
        self.n_iter_ = self.t_ = 0
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self._no_improvement_count = 0
            self.validation_scores_: list[float] | None = None
            self.best_validation_score_: float | None = None
            self.best_loss_ = None if self.early_stopping else np.inf
        for name in ("_optimizer", "validation_loss_curve_", "_best_parameters"):
            self.__dict__.pop(name, None)

    def _split(
        self, to_train: Data, to_validate: Data, targets: np.ndarray, given: tuple[Any, Any]
    ) -> tuple[Data, Data, Any]:
        """Hold a part of the examples out; return those to train with, those to validate with, and these as given.

        `to_train` and `to_validate` are all of them, with the weights that they have for either.
        """
        binary = is_classifier(self) and self.n_outputs_ == 1
        kept, taken = train_test_split(
            np.arange(len(targets)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=targets.astype(bool).reshape(-1, 1) if binary else None,
        )
        if len(taken) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        scored = None
        if self.scoring not in (None, "loss"):
            rows = (array.tocsr() if hasattr(array, "tocsr") else array for array in given)
            scored = tuple(_safe_indexing(array, taken) for array in rows)
        return to_train.take(kept), to_validate.take(taken), scored

    def _from_eval_set(self, eval_set: Any) -> tuple[Data, Any]:
        """Return the examples to validate with that were given to `fit`."""
        if isinstance(eval_set, list) and len(eval_set) == 1:
            eval_set = eval_set[0]
        if not isinstance(eval_set, tuple) or len(eval_set) not in (2, 3):
            raise ValueError(
                "eval_set must be (X, y) or (X, y, sample_weight), or a list of one such tuple, not a "
                f"{type(eval_set).__name__}" + (f" of {len(eval_set)}." if hasattr(eval_set, "__len__") else ".")
            )
        X_given, y_given, weights = (*eval_set, None)[:3]
        X, y = self._validated(X_given, y_given, reset=False)
        if weights is not None:
            weights = _check_sample_weight(weights, X)
        return self._examples(X, self._encoded(y), weights, self._design.dtype), (X_given, y_given)

    def _fit_stochastic(
        self,
        examples: Data,
        held_out: Data | None,
        scored: Any,
        callbacks: tuple[AnyCallback, ...],
        hooks: Hooks,
        incremental: bool,
    ) -> None:
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._make_optimizer()
            self._moments = OptimizerState.fresh(self._optimizer, len(self._model.parameters), self._design.dtype)
        self._complete_record(is_validated=held_out is not None)
        m = len(examples.y)
        batch_size = min(200, m) if self.batch_size == "auto" else self.batch_size
        if batch_size > m:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=USER
            )
        score = None if held_out is None else self._score_function(held_out, scored)
        with Training(self, examples, held_out, score, min(batch_size, m), callbacks) as training:
            reason = training.run_epochs(hooks, only_one=incremental)
        if reason == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=USER)
        elif reason == "diverged" and not self.early_stopping:
            raise ValueError(
                f"{NOT_FINITE} Loss or parameters were not finite in iteration {self.n_iter_}; `coefs_` are those from "
                "before."
            )
        elif reason == "diverged":
            warnings.warn(
                f"Training diverged in iteration {self.n_iter_}: the best parameters so far are kept.",
                ConvergenceWarning,
                stacklevel=USER,
            )
        elif reason == "max_iter":
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=USER,
            )

    def _complete_record(self, is_validated: bool) -> None:
        """Add what this fit records, and an earlier one, under other settings, did not."""
        record = self.__dict__
        record.setdefault("loss_curve_", [])
        record.setdefault("_no_improvement_count", 0)
        if record.get("best_loss_") is None and not self.early_stopping:
            self.best_loss_ = np.inf
        if is_validated and record.get("validation_scores_") is None:
            self.validation_scores_ = []
        if is_validated:
            record.setdefault("validation_loss_curve_", [])
        if self.early_stopping and record.get("best_validation_score_") is None:
            self.best_validation_score_ = -np.inf
        if self.early_stopping and "_best_parameters" not in record:
            self._best_parameters = self._model.parameters.copy()

    def _score_function(self, held_out: Data, scored: Any) -> Callable[[np.ndarray], float] | None:
        """Return what makes a score of A of the examples held out, or None for the loss."""
        if self.scoring == "loss":
            return None
        if self.scoring is None:
            return lambda A: self._score_of(held_out, A)
        scorer = check_scoring(self, scoring=self.scoring)
        weights = {} if held_out.weights is None else {"sample_weight": held_out.weights}
        return lambda A: scorer(self, *scored, **weights)

    def _fit_lbfgs(self, examples: Data, hooks: Hooks) -> None:
        network = self._model._built().replaced(dtype=np.dtype(np.float64)).without_dropout
        examples = examples.astype(network.dtype)
        scale = rules.LossScale.of(self._loss(), examples.y, examples.weights)
        stopped = False

        def after_iteration(iteration: int, cost: float) -> bool:
            nonlocal stopped
            if self.verbose:
                print(f"Iteration {iteration}, loss = {scale(run):.8f}")
            hooks.begin_epoch()
            stopped = hooks.end_epoch()
            return stopped

        start = self._model.parameters.astype(network.dtype)
        with Run(
            network, start, examples, mode=codes.GRADIENT, threads=self.n_threads,
        ) as run:  # fmt: skip
            result = minimize(
                run, self._model.parameters, tol=self.tol, max_iter=self.max_iter, max_fun=self.max_fun,
                after_iteration=after_iteration,
            )  # fmt: skip
            run.parameters[:] = result.x
            run.cost()
            self.loss_ = scale(run)
        if stopped:
            self.n_iter_ = result.nit
        else:
            self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    # ------------------------------------------------------------------------------------------------------ prediction

    def _outputs(self, X: Any) -> np.ndarray:
        """Return A of the last layer, (m, n_outputs)."""
        # Checks take longer than a prediction of one row: an array that is right is left to the kernel, which finds
        # values that are not finite.
        design = self.__dict__.get("_design")
        if (
            design is not None
            and type(X) is np.ndarray
            and X.dtype == design.dtype
            and X.ndim == 2
            and X.shape[0] > 0
            and X.shape[1] == design.units[0]
            and not hasattr(self, "feature_names_in_")
        ):
            with suppress(ValueError):  # said again, as scikit-learn would, below
                return self._bound().forward(X)
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        model = self._bound()
        rows = rules.rows_of(X, model.dtype)
        if isinstance(rows, np.ndarray):
            return model.forward(rows)
        A = np.empty((len(rows), self.n_outputs_), model.dtype)
        for block, dense in rows.blocks():
            model.forward(dense, out=A[block])
        return A

    @classmethod
    def from_sklearn(cls, estimator: Any) -> Self:
        """Return the estimator of this class for one of scikit-learn's; as the function `from_sklearn`."""
        made = from_sklearn(estimator)
        if not isinstance(made, cls):
            raise TypeError(f"estimator must be scikit-learn's {cls.__name__}, not {estimator!r}.")
        return made

    def to_sklearn(self) -> Any:
        """Return scikit-learn's estimator with the same arguments and, if this one is fitted, the same network.

        The predictions are equal but for rounding. What the solver remembers of its steps stays behind.

        Raises
        ------
        ValueError
            If an argument has a value that scikit-learn's class does not know; `set_params` can change it, and the
        predictions stay.
        """
        made = self._counterpart()
        arguments = self.get_params(deep=False)
        for name in OF_TRAINING & set(arguments):
            if arguments[name] is not None and np.any(np.asarray(arguments[name]) != 0):
                raise ValueError(
                    f"scikit-learn's {type(made).__name__} has no {name}, which is {arguments[name]!r}. If only "
                    f"predictions matter, call set_params({name}={'0.0' if name == 'dropout' else None}) first."
                )
        made.set_params(**{name: value for name, value in arguments.items() if name in made.get_params()})
        try:
            made._validate_params()
        except ValueError as error:
            raise ValueError(f"scikit-learn's {type(made).__name__} cannot be this network: {error}") from None
        _copy_fitted(self, made)
        return made


class MLPClassifier(ClassifierMixin, _MLP):
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
        How much the examples of each class count in training, as in scikit-learn's other classifiers; a list has a dict
        for each label.
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
        The fitted network, for what else fastnet does: gradients, diagnosis. It has the parameters in common.

    Notes
    -----
    Unlike scikit-learn's, networks are the same to the bit on every machine and any number of threads, but for
    solver="lbfgs", which is SciPy's (and Poisson's loss, and scores, whose last digit is NumPy's: stopping goes by
    them). Sparse rows are made dense some at a time: that saves memory, not time.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_MLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Any = None,
        dropout: Any = 0.0,
        clip_norm: float | None = None,
        scoring: Any = None,
        callbacks: Any = None,
        n_threads: int | None = None,
        dtype: Any = None,
    ) -> None:
        self._keep(locals())

    def _loss(self) -> None:
        """Return None: the output decides."""

    def _counterpart(self) -> Any:
        return neural_network.MLPClassifier()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> Self:
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

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is not as scikit-learn requires, or training diverges.
        """
        return self._fit(X, y, sample_weight, eval_set)

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Go through X and y once more; `classes`, all there are, must be given the first time."""
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' is not for partial_fit, which does not see all examples. Pass a dictionary, "
                "such as sklearn.utils.class_weight.compute_class_weight makes it."
            )
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer().fit(y if type_of_target(y).startswith("multilabel") else classes)
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
            return self._label_binarizer.transform(y)
        if y.ndim > 1:
            raise ValueError(
                f"y must hold one of the classes {self.classes_} for each example, but has shape {y.shape}."
            )
        numbers = np.searchsorted(self.classes_, y)
        if np.any(self.classes_.take(numbers, mode="clip") != y):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has "
                f"{unique_labels(y)}."
            )
        return numbers

    def _with_class_weight(self, examples: Data, y: Any) -> Data:
        """Return the examples, their weights multiplied by those of their classes."""
        if self.class_weight is None:
            return examples
        weights = compute_sample_weight(self.class_weight, y)
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError(f"class_weight must hold finite numbers of at least 0, not {self.class_weight!r}.")
        if examples.weights is not None:
            weights = weights * examples.weights
        return examples._replace(weights=sample_weights(weights, len(weights), examples.y.dtype))

    def _score_of(self, held_out: Data, A: np.ndarray) -> float:
        """Return the accuracy: the share of examples of which all is right."""
        found = np.argmax(A, axis=1)[:, np.newaxis] if self.out_activation_ == "softmax" else A > 0.5
        return float(np.average((found == held_out.y).all(axis=1), weights=held_out.weights))

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row of X, (m,), or its labels, (m, n_labels)."""
        A = self._outputs(X)
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return self._label_binarizer.inverse_transform(A)
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
        with np.errstate(divide="ignore"):
            return np.log(probabilities, out=probabilities)


class MLPRegressor(RegressorMixin, _MLP):
    """scikit-learn's MLPRegressor, and more.

    Every argument of `sklearn.neural_network.MLPRegressor` 1.9, and every attribute of the fitted estimator, is there
    and means the same, with the additions that `MLPClassifier` has (but for class_weight), and this one.

    Parameters
    ----------
    loss : str or Huber, default "squared_error"
        "squared_error" or "poisson", as scikit-learn has them; "absolute_error", "huber" or `fastnet.Huber(delta)`. Of
        several outputs errors are averaged, but for "poisson"; their gradient is that of their sum, in either library.
    scoring : str, callable or None
        What early stopping goes by: a scorer as in `sklearn.model_selection`, "loss", or None for R2.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_MLP._parameter_constraints,
        "loss": [StrOptions(set(rules.REGRESSION_LOSSES)), Huber],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        clip_norm: float | None = None,
        scoring: Any = None,
        callbacks: Any = None,
        n_threads: int | None = None,
        dtype: Any = None,
    ) -> None:
        self._keep(locals())

    def _loss(self) -> str | Huber:
        """Return fastnet's loss."""
        return rules.REGRESSION_LOSSES[self.loss] if isinstance(self.loss, str) else self.loss

    def _counterpart(self) -> Any:
        return neural_network.MLPRegressor()

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> Self:
        """Fit the network to X (m, n_features) and y (m,) or (m, n_outputs); see `MLPClassifier.fit`."""
        return self._fit(X, y, sample_weight, eval_set)

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go through X and y once more."""
        return self._fit(X, y, sample_weight, incremental=True)

    def _learn_targets(self, y: Any, incremental: bool) -> None:
        self.n_outputs_ = y.shape[1] if y.ndim == 2 else 1
        self.out_activation_ = "exp" if self.loss == "poisson" else "identity"

    def _encoded(self, y: Any) -> np.ndarray:
        """Return y (m, n_outputs)."""
        return np.reshape(y, (len(y), -1))

    def _score_of(self, held_out: Data, A: np.ndarray) -> float:
        """Return R2."""
        return float(r2_score(held_out.y, A, sample_weight=held_out.weights))

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted values, (m,), or (m, n_outputs) of several outputs."""
        A = self._outputs(X)
        return A[:, 0] if A.shape[1] == 1 else A


def from_sklearn(estimator: Any) -> MLPClassifier | MLPRegressor:
    """Return fastnet's estimator for one of scikit-learn's, fitted or not; see `to_sklearn`, which goes back.

    Raises
    ------
    TypeError
        If it is neither scikit-learn's MLPClassifier nor its MLPRegressor.
    """
    kinds = {neural_network.MLPClassifier: MLPClassifier, neural_network.MLPRegressor: MLPRegressor}
    for theirs, ours in kinds.items():
        if isinstance(estimator, theirs):
            known = set(ours().get_params())
            made = ours(**{name: value for name, value in estimator.get_params(deep=False).items() if name in known})
            _copy_fitted(estimator, made)
            return made
    raise TypeError(f"estimator must be scikit-learn's MLPClassifier or MLPRegressor, not {estimator!r}.")


def _copy_fitted(source: Any, target: Any) -> None:
    """Copy what a fit has left, if there was one."""
    if not hasattr(source, "coefs_"):
        return
    for name in FITTED:
        if hasattr(source, name):
            setattr(target, name, copy.deepcopy(getattr(source, name)))
    target.coefs_ = [np.array(coef, order="C") for coef in source.coefs_]
    target.intercepts_ = [np.array(intercept) for intercept in source.intercepts_]
    if isinstance(target, _MLP):
        target._bound()
    else:  # what a warm start with early stopping goes on from
        target._best_coefs = [coef.copy() for coef in target.coefs_]
        target._best_intercepts = [intercept.copy() for intercept in target.intercepts_]
