"""What the estimators have in common: how they are fitted, and what the network gives for X."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self, TypeVar, cast

import numpy as np
from sklearn import neural_network
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastnet import checks
from fastnet.activations import LeakyReLU
from fastnet.callbacks import AnyCallback, checked_callbacks
from fastnet.engine.course import updates_in_epoch
from fastnet.engine.diagnostics import warn_of_scales
from fastnet.engine.examples import Data
from fastnet.engine.overflow import outputs_not_finite
from fastnet.engine.ranks import Ranks
from fastnet.engine.run import EPOCHS_AT_ONCE
from fastnet.errors import may_get_lost
from fastnet.files import tensors
from fastnet.model import Model
from fastnet.optimizers import EpsilonHatAdam, Optimizer, UndampedSGD
from fastnet.sklearn import conversion, files, rules
from fastnet.sklearn.epochs import NOT_FINITE, Epochs, Hooks, Score
from fastnet.sklearn.inputs import in_our_words, parts_of_eval_set, readable, takes_weights, warn_of_another_scale
from fastnet.sklearn.lbfgs import minimise_loss
from fastnet.sklearn.parameters import NetworkEstimator
from fastnet.sklearn.ranks import check_arguments, labels_of_all, take_from_first, targets_of_all

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """A stand-in with nothing in it."""

    def with_callbacks(method: Any) -> Any:
        """Add nothing but a level to the stack, so that USER is right."""
        return lambda *args, **kwargs: method(*args, **kwargs)


Method = TypeVar("Method", bound=Callable[..., Any])

USER = 7
"""The level of the stack, above `_fit_stochastic`, at which warnings are to point: the line that calls `fit`."""


def typed(decorator: Any) -> Callable[[Method], Method]:
    """Return a decorator of scikit-learn, which has no types, as one that leaves a method's type as it is."""
    return cast(Callable[[Method], Method], decorator)


class BaseMLP(CallbackSupportMixin, NetworkEstimator):
    """The base of classifier and regressor, which say what their targets are, and how predictions are scored.

    `_learn_targets(y, incremental)` finds the outputs that y needs, such as its classes, or checks that the network has
    them; `_encoded(y)` returns the targets as it has them, (m, n_outputs), or (m,) numbers of classes; and
    `_score_of(held_out, A)` the score that early stopping goes by, if `scoring` names no other.
    """

    _counterpart: ClassVar[Any]
    """scikit-learn's class of the same name."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **neural_network.MLPClassifier._parameter_constraints,
        "activation": [StrOptions(rules.HIDDEN_ACTIVATIONS), LeakyReLU, "array-like"],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"}), Optimizer],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "scoring": [None, str, callable],
        "callbacks": [None, callable, "array-like"],
        "n_threads": [None, Interval(Integral, 1, None, closed="left")],
        "dtype": [None, StrOptions({"float32", "float64"}), Options(type, {np.float32, np.float64}), np.dtype],
    }

    def _keep(self, parameters: dict[str, Any]) -> None:
        """Store the arguments of a constructor, given as its local variables."""
        for name, value in parameters.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    def _validate_params(self) -> None:
        """Raise ValueError for an argument that is none: scikit-learn's own check, and what may have been meant."""
        try:
            super()._validate_params()
        except ValueError as error:
            raise type(error)(f"{error}{rules.meant(self)}") from None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _with_class_weight(self, examples: Data, y: Any, ranks: Ranks | None) -> Data:
        """Return the examples, their weights multiplied by those of their classes."""
        return examples

    def _warn_of_scales(self, examples: Data) -> None:
        """Warn if features, or targets that are values, are far from the scale that networks learn on."""
        remedy = rules.X_ON_ANOTHER_SCALE
        if is_classifier(self):
            remedy = remedy._replace(line=remedy.line.replace("Regressor", "Classifier"))
        warn_of_scales(examples.X, remedy, USER)
        if not is_classifier(self) and self._loss() != "poisson":
            warn_of_scales(examples.y, rules.Y_ON_ANOTHER_SCALE, USER)

    def save(self, path: Any) -> None:
        """Write the estimator, fitted or not, to one file, from which `fastnet.sklearn.load` makes an equal one.

        Arguments, network, classes, names of features, the record of training, and what `partial_fit` and a warm start
        go on from, to the bit; of functions (`callbacks`, `scoring`, a learning rate) the name, and `load` asks for
        them. The file is whole or not there at all, as that of `fastnet.Model.save`.

        Raises
        ------
        OSError
            If it cannot be written; a file of that name is as it was then.
        TypeError
            If an argument or a label is neither number nor text, or the class is not fastnet's.
        """
        if type(self).__module__ != "fastnet.sklearn.estimators":
            raise TypeError(f"save is for fastnet's own classes, not for {type(self).__qualname__}. Use joblib.dump.")
        tensors.write(path, *files.written(self))

    @property
    def model_(self) -> Model:
        """The fitted network as a `fastnet.Model`; until the next fit, its parameters are those of the estimator."""
        check_is_fitted(self)
        return self._bound()

    # -------------------------------------------------------------------------------------------------------- training

    @typed(with_callbacks)
    def _fit(
        self, X: Any, y: Any, sample_weight: Any, eval_set: Any = None, incremental: bool = False,
        ranks: Ranks | None = None,
    ) -> Self:  # fmt: skip
        """Fit the network, a new one or the old; `incremental`: for one epoch, without forgetting anything.

        With ranks, the examples are a shard.
        """
        speaks = ranks is None or ranks.rank == 0
        if ranks is not None:
            check_arguments(self, ranks)
        hidden = rules.hidden_units(self.hidden_layer_sizes)
        self._refuse_what_lbfgs_does_not_do(eval_set)
        callbacks = checked_callbacks(() if self.callbacks is None else self.callbacks)
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        given = X, y
        X, y = self._validated(X, y, first_pass)
        y_of_all = labels_of_all(y, ranks) if ranks is not None and is_classifier(self) else y
        self._learn_targets(y_of_all, incremental)
        encoded = self._encoded(y)
        if sample_weight is not None:
            with in_our_words(sample_weight=sample_weight):
                sample_weight = _check_sample_weight(readable(sample_weight, "sample_weight"), X)
        self._random_state = check_random_state(self.random_state)
        dtype = checks.float_dtype(self.dtype or X.dtype) if first_pass else self._bound().dtype
        examples = self._examples(X, encoded, sample_weight, dtype)
        class_weighted = self._with_class_weight(examples, y, ranks)
        if self.solver != "lbfgs" and self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if first_pass and isinstance(X, np.ndarray) and speaks:
            self._warn_of_scales(examples)
        units = (X.shape[1], *hidden, self.n_outputs_)
        held_out = scored = None
        if eval_set is not None:
            held_out, scored = self._from_eval_set(eval_set, examples, dtype)
        if first_pass:
            self._make_network(units, dtype)
            self.n_layers_ = len(units)
            self._forget()
        else:
            self._go_on_with_network(units)
        if eval_set is None and self.early_stopping and self.solver != "lbfgs":
            class_weighted, held_out, scored = self._split(class_weighted, examples, encoded, given)
        hooks = Hooks(self, *given, sample_weight)
        if self.solver == "lbfgs":
            minimise_loss(self, class_weighted, hooks)
            if not np.isfinite(self.loss_):
                raise ValueError(f"{NOT_FINITE} The loss is {self.loss_}.")
        else:
            self._fit_stochastic(class_weighted, held_out, scored, callbacks, hooks, incremental, ranks)
        hooks.end_fit()
        if not np.isfinite(self._model.parameters).all():
            raise ValueError(NOT_FINITE)
        return self

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """Check X and y as scikit-learn does; return X as floats, perhaps sparse, and y, (m,) or (m, outputs)."""
        with in_our_words(X=X, y=y):
            X, y = readable(X, "X"), readable(y, "y")
            X, y = validate_data(
                self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=(np.float64, np.float32),
                reset=reset, y_numeric=not is_classifier(self),
            )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _refuse_what_lbfgs_does_not_do(self, eval_set: Any) -> None:
        """Raise ValueError for an argument that only stochastic solvers know, where the solver is L-BFGS."""
        given = {"eval_set": eval_set is not None, "callbacks": self.callbacks is not None}
        given |= {"dropout": bool(np.any(np.asarray(self.dropout) != 0)), "clip_norm": self.clip_norm is not None}
        for name, is_given in given.items():
            if self.solver == "lbfgs" and is_given:
                raise ValueError(f"{name} is only for stochastic solvers. Use solver='sgd' or 'adam', or leave it out.")

    def _forget(self) -> None:
        """Begin the record of a new network's training."""
        self.n_iter_ = self.t_ = 0
        if self.solver != "lbfgs":
            self.loss_curve_ = []
            self._no_improvement_count = 0
            self.validation_scores_ = self.best_validation_score_ = None
            self.best_loss_ = None if self.early_stopping else np.inf
        for name in ("_optimizer", "validation_loss_curve_", "_best_parameters"):
            self.__dict__.pop(name, None)

    def _split(
        self, to_train: Data, to_validate: Data, targets: np.ndarray, given: tuple[Any, Any]
    ) -> tuple[Data, Data, Any]:
        """Hold out a part of the examples; return those to train with, those to validate with, and the latter as given.

        `to_train` and `to_validate` hold all examples, with the weights that they have for training and validation.
        """
        binary = is_classifier(self) and self.n_outputs_ == 1
        kept, taken = train_test_split(
            np.arange(len(targets)), random_state=self._random_state, test_size=self.validation_fraction,
            stratify=targets.astype(bool).reshape(-1, 1) if binary else None,
        )  # fmt: skip
        if len(taken) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        scored = None
        if self.scoring not in (None, "loss"):
            rows = (array.tocsr() if hasattr(array, "tocsr") else array for array in given)
            scored = tuple(_safe_indexing(array, taken) for array in rows)
        return to_train.take(kept), to_validate.take(taken), scored

    def _from_eval_set(self, eval_set: Any, trained: Data, dtype: np.dtype) -> tuple[Data, Any]:
        """Return the examples to validate with that were given to `fit`, which trains with others, in a dtype."""
        X_given, y_given, weights = parts_of_eval_set(eval_set)
        X, y = self._validated(X_given, y_given, reset=False)
        if weights is not None:
            with in_our_words(sample_weight=weights):
                weights = _check_sample_weight(readable(weights, "sample_weight"), X)
        held_out = self._examples(X, self._encoded(y), weights, dtype)
        warn_of_another_scale(trained, held_out, USER + 1)
        return held_out, (X_given, y_given)

    def _fit_stochastic(
        self, examples: Data, held_out: Data | None, scored: Any, callbacks: tuple[AnyCallback, ...], hooks: Hooks,
        incremental: bool, ranks: Ranks | None,
    ) -> None:  # fmt: skip
        """Train by the solver's steps, and warn or raise if training did not end as it should."""
        self._set_optimizer(incremental)
        speaks = ranks is None or ranks.rank == 0
        if ranks is not None:
            take_from_first(self, ranks, validated=held_out is not None)
        m = len(examples.y)
        batch_size = min(200, m) if isinstance(self.batch_size, str) else int(self.batch_size)
        if batch_size > m:
            message = "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            with may_get_lost():
                warnings.warn(message, stacklevel=USER)
        score = None
        if held_out is not None:
            score = self._score_function(held_out if ranks is None else targets_of_all(held_out, ranks), scored)
        batches = updates_in_epoch(m, min(batch_size, m), ranks) if self._optimizer.is_by_step else 1
        self._check_rates(1 if incremental else self.max_iter, batches)
        with Epochs(self, examples, held_out, score, min(batch_size, m), callbacks, ranks, batches) as epochs:
            reason = epochs.train(hooks, only_one=incremental)
        if reason == "interrupted":
            with may_get_lost():
                warnings.warn("Training interrupted by user.", stacklevel=USER)
        elif reason == "diverged" and not self.early_stopping:
            raise ValueError(
                f"{NOT_FINITE} Loss or parameters were not finite in iteration {self.n_iter_}; `coefs_` are those from "
                "before."
            )
        elif reason in ("diverged", "max_iter") and speaks:
            message = {
                "diverged": f"Training diverged in iteration {self.n_iter_}: the best parameters so far are kept.",
                "max_iter": f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                "hasn't converged yet.",
            }[reason]
            with may_get_lost():
                warnings.warn(message, ConvergenceWarning, stacklevel=USER)

    def _check_rates(self, epochs: float, batches: int) -> None:
        """Raise ValueError if a schedule does not last for so many epochs; of very many, the first are asked for."""
        done = self._epochs_finished
        try:
            n = int(min(epochs * batches, EPOCHS_AT_ONCE))
            self._optimizer.learning_rates(done * batches, n, self._design.dtype, batches)
        except ValueError as error:
            reason = str(error).partition(". ")[0]
            raise ValueError(
                f"solver {self._optimizer!r} has no learning rate for all epochs from {done} to {done + epochs - 1}, "
                f"as max_iter={self.max_iter} asks for: {reason}. Lower max_iter, or pass a longer schedule."
            ) from None

    def _set_optimizer(self, incremental: bool) -> None:
        """Make the optimizer of a fit; or, of `partial_fit`, take over what has been set since the last call.

        A `solver` of fastnet's, and `clip_norm`, count at once; of scikit-learn's arguments that of the first call, as
        there, and a warning says so.
        """
        arguments = rules.solver_arguments(self)
        before, self._made_from = getattr(self, "_made_from", arguments), arguments
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer, self._moments = self._make_optimizer(), None
            return
        if isinstance(self.solver, Optimizer) and self.solver != before["solver"]:
            known, self._optimizer = self._optimizer, self._make_optimizer()
            if (type(known), known.n_moments) != (type(self._optimizer), self._optimizer.n_moments):
                self._moments = None
            return
        clip_norm = None if self.clip_norm is None else float(self.clip_norm)
        if not isinstance(self.solver, Optimizer) or clip_norm is not None:
            self._optimizer = replace(self._optimizer, clip_norm=clip_norm)
        changed = [name for name, value in arguments.items() if value != before[name]]
        if changed:
            with may_get_lost():
                warnings.warn(
                    "partial_fit goes on with the solver of its first call, as scikit-learn's does: what was set since "
                    f"counts from the next fit, {', '.join(changed)}. A solver=fastnet.Adam(...) counts at once.",
                    stacklevel=USER + 1,
                )

    def _make_optimizer(self) -> Optimizer:
        """Return fastnet's optimizer for the solver; its schedule goes with it, whatever arguments change later."""
        policy = self.learning_rate if self.solver == "sgd" else "constant"
        self._schedule = policy, float(self.learning_rate_init), float(self.power_t)
        clip_norm = None if self.clip_norm is None else float(self.clip_norm)
        if isinstance(self.solver, Optimizer):
            return self.solver if clip_norm is None else replace(self.solver, clip_norm=clip_norm)
        rate = float(self.learning_rate_init)
        checks.in_range_of(self._design.dtype, rate, "learning_rate_init")
        if self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum > 0)
            return UndampedSGD(rate, float(self.momentum), nesterov, clip_norm=clip_norm)
        return EpsilonHatAdam(rate, float(self.beta_1), float(self.beta_2), float(self.epsilon), clip_norm=clip_norm)

    def _score_function(self, held_out: Data, scored: Any) -> Score | None:
        """Return the function that scores A of the held-out examples, or None for the loss."""
        if self.scoring == "loss":
            return None
        if self.scoring is None:
            return lambda A: self._score_of(held_out, A)
        scorer = check_scoring(self, scoring=self.scoring)
        weights = {}
        if held_out.weights is not None and takes_weights(scorer):
            weights = {"sample_weight": held_out.weights}
        return lambda A: scorer(self, *scored, **weights)

    def _check_solver(self) -> bool:
        """Return True if there is a `partial_fit` for the solver; else raise AttributeError."""
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
        design: rules.Design | None = getattr(self, "_design", None)
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
        with in_our_words(X=X):
            X = validate_data(self, readable(X, "X"), accept_sparse=["csr", "csc"], reset=False)
            if isinstance(X, np.ndarray):
                X = checks.real_array(X, "X")  # dates are no numbers
        model = self._bound()
        rows = rules.rows_of(X, model.dtype)
        if isinstance(rows, np.ndarray):
            return model.forward(rows)
        A = np.empty((len(rows), self.n_outputs_), model.dtype)
        for block, dense in rows.blocks():
            try:
                model.forward(dense, out=A[block])
            except FloatingPointError:
                raise outputs_not_finite(model._built(), model.parameters, dense, block.start) from None
        return A

    @classmethod
    def from_sklearn(cls, estimator: Any) -> Self:
        """Return the estimator of this class for one of scikit-learn's; as the function `from_sklearn`."""
        if not isinstance(estimator, cls._counterpart):
            raise TypeError(f"estimator must be scikit-learn's {cls._counterpart.__name__}, not {estimator!r}.")
        return conversion.to_ours(estimator, cls)

    def to_sklearn(self) -> Any:
        """Return scikit-learn's estimator with the same arguments and, if this one is fitted, the same network.

        The predictions are equal but for rounding. What the solver remembers of its steps stays behind.

        Raises
        ------
        ValueError
            If an argument has a value that scikit-learn's class does not know; `set_params` can change it, and the
            predictions stay.
        """
        return conversion.to_theirs(self, self._counterpart())
