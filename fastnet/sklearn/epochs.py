"""The epochs of `fastnet.sklearn`, as scikit-learn runs them: shuffles, losses, scores, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from fastnet.callbacks import AnyCallback, Callback
from fastnet.engine.examples import Data
from fastnet.engine.network import team_for
from fastnet.engine.run import Course, Run
from fastnet.kernels import codes
from fastnet.sklearn.rules import LossScale, inverse_scaling, lowest_rate

MOST_EPOCHS_OF_WORK = 10**6
LOWEST_ADAPTIVE_RATE = 1e-6


class Hooks:
    """Tells the callbacks of scikit-learn, if an estimator has any, of its fit and of the epochs."""

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
        self.estimator, self.fit = estimator, None
        if hasattr(estimator, "_skl_callbacks"):
            self.told = {"estimator": estimator, "X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
            self.fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
            self.fit.call_on_fit_task_begin(**self.told)

    def begin_epoch(self) -> None:
        """Say that an epoch begins."""
        if self.fit is not None:
            self.epoch = self.fit.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(**self.told)

    def end_epoch(self) -> bool:
        """Say that it has ended; return whether to stop. Callbacks may ask for a copy of the estimator as it is."""
        if self.fit is None:
            return False
        return bool(self.epoch.call_on_fit_task_end(**self.told, reconstruction_attributes={}))

    def end_fit(self) -> None:
        """Say that the fit has ended."""
        if self.fit is not None:
            self.fit.call_on_fit_task_end(**self.told, reconstruction_attributes={})


class Judge:
    """Looks at examples that are not trained with, after each epoch.

    Parameters
    ----------
    examples : Data
    run : Run
        The run that trains.
    scale : LossScale
    score : callable or None
        Of A (m, n_L); None: minus the loss.
    """

    def __init__(self, examples: Data, run: Run, scale: LossScale, score: Callable[[np.ndarray], float] | None) -> None:
        network = run.network.without_dropout.replaced(l2=(0.0,) * len(run.network.l2))
        self.run = Run(
            network, run.parameters, examples, mode=codes.COST, with_outputs=True, cores=run.team.threads,
        )  # fmt: skip
        self.scale, self.score = scale, score

    def __call__(self) -> tuple[float, float]:
        """Return loss and score; the score is NaN where an output is not finite."""
        self.run.cost()
        loss, A = self.scale(self.run), self.run.results[0]
        if self.score is None:
            return loss, -loss
        return loss, float(self.score(A)) if np.isfinite(A).all() else math.nan

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *error: object) -> None:
        self.run.__exit__(*error)


class Training:
    """The epochs of a fit; a context manager, as its threads must end.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        With parameters to start from, `_optimizer` and `_moments`. Its attributes are filled, however it ends.
    examples : Data
        To train with.
    held_out : Data or None
        To validate with.
    score : callable or None
        Of A (m, n_L) of those held out; None: minus their loss.
    batch_size : int
        At most the number of examples.
    callbacks : tuple of callables
        fastnet's.
    """

    def __init__(
        self,
        estimator: Any,
        examples: Data,
        held_out: Data | None,
        score: Callable[[np.ndarray], float] | None,
        batch_size: int,
        callbacks: tuple[AnyCallback, ...],
    ) -> None:
        model = estimator._model
        network = model._built()
        self.estimator, self.model, self.callbacks = estimator, model, callbacks
        self.m, self.used = len(examples.y), estimator._optimizer
        self.judge: Judge | None = None
        names = ("cost",) if held_out is None else ("cost", "val_cost", "val_score")
        self.check_callbacks(names)
        epochs = min(estimator.max_iter, MOST_EPOCHS_OF_WORK)
        team = team_for(network, self.m, batch_size, epochs, estimator.n_threads)
        self.scale = LossScale.of(estimator._loss(), examples.y, examples.weights)
        with ExitStack() as ends:
            self.run = ends.enter_context(
                Run(
                    network, model.parameters, examples, mode=estimator._optimizer, state=estimator._moments,
                    course=Course(1, batch_size, False, estimator._dropout_key, estimator._epochs_finished),
                    threads=team.threads,
                )
            )  # fmt: skip
            if held_out is not None:
                scale = LossScale.of(estimator._loss(), held_out.y, held_out.weights)
                self.judge = ends.enter_context(Judge(held_out, self.run, scale, score))
            model.optimizer, model._is_training = estimator._optimizer, True
            ends.callback(setattr, model, "_is_training", False)
            self.ends = ends.pop_all()

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *error: object) -> None:
        self.ends.close()

    def check_callbacks(self, names: tuple[str, ...]) -> None:
        """Raise ValueError if a callback cannot do with logs of those names."""
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                try:
                    callback.check(names)
                except ValueError as error:
                    remedy = "Pass validation_data or validation_split to fit"  # of a Model
                    raise ValueError(
                        str(error).replace(remedy, "Pass eval_set to fit, or early_stopping=True")
                    ) from None

    def run_epochs(self, hooks: Hooks, only_one: bool) -> str:
        """Train, for `only_one` epoch or as many as the estimator wants; the hooks are told of each.

        Returns why it ended: "converged", "max_iter", "callback", "one", "interrupted" or "diverged".
        """
        estimator, reason = self.estimator, "max_iter"
        parameters = self.model.parameters
        before = parameters.copy()
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                callback.start(self.model)
        estimator.n_iter_ = 0
        try:
            while estimator.n_iter_ < estimator.max_iter:
                hooks.begin_epoch()
                before[:] = parameters
                logs = self.epoch()
                if self.run.status:
                    reason = "diverged"
                    break
                stop = self.tell_callbacks(logs)
                stop |= hooks.end_epoch()
                if self.is_patience_over():
                    reason = "converged"
                    break
                if stop or only_one:
                    reason = "callback" if stop else "one"
                    break
        except KeyboardInterrupt:
            reason = "interrupted"
        if not np.isfinite(parameters).all():
            parameters[:] = before
        for callback in self.callbacks:
            if isinstance(callback, Callback) and reason not in ("diverged", "interrupted"):
                callback.finish(self.model)
        if estimator.early_stopping:
            parameters[:] = estimator._best_parameters
        return reason

    def epoch(self) -> dict[str, float]:
        """Go through the examples once, in a new order if they are shuffled; return what callbacks are told."""
        estimator, run = self.estimator, self.run
        if estimator.shuffle:
            estimator._random_state.shuffle(run.examples.order)
        run.rewind()
        run.first_epoch = estimator._epochs_finished
        if estimator._optimizer is not self.used or callable(estimator._optimizer.learning_rate):
            run.use(estimator._optimizer)
            self.used = estimator._optimizer
        while not run.done and not run.status:
            run.advance()
        loss = math.nan if run.status else self.scale(run)
        estimator.n_iter_ += 1
        estimator._epochs_finished += 1
        estimator.t_ += self.m
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        logs = {"cost": loss}
        if self.judge is not None:
            validation_loss, score = (math.nan, math.nan) if run.status else self.judge()
            estimator.validation_loss_curve_.append(validation_loss)
            estimator.validation_scores_.append(score)
            logs |= {"val_cost": validation_loss, "val_score": score}
            if estimator.verbose:
                print(f"Validation score: {score:f}")
        self.count_improvement()
        policy, first_rate, power = estimator._schedule
        if policy == "invscaling":
            self.set_rate(inverse_scaling(first_rate, estimator.t_, power))
        return logs

    def count_improvement(self) -> None:
        """Count epochs without improvement: of the validation score with early stopping, else of the loss."""
        estimator, tol = self.estimator, self.estimator.tol
        if estimator.early_stopping:
            score = estimator.validation_scores_[-1]
            improved = not score < estimator.best_validation_score_ + tol
            if score > estimator.best_validation_score_:
                estimator.best_validation_score_ = score
                estimator._best_parameters = self.model.parameters.copy()
        else:
            improved = not estimator.loss_ > estimator.best_loss_ - tol
            if estimator.loss_ < estimator.best_loss_:
                estimator.best_loss_ = estimator.loss_
        estimator._no_improvement_count = 0 if improved else estimator._no_improvement_count + 1

    def is_patience_over(self) -> bool:
        """Return whether to stop; or lower the learning rate instead, where that is adaptive."""
        estimator = self.estimator
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return False
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive "
            "epochs."
        )
        rate = estimator._optimizer.learning_rate
        adaptive = estimator._schedule[0] == "adaptive"
        if adaptive and rate > LOWEST_ADAPTIVE_RATE:
            self.set_rate(rate / 5)
            estimator._no_improvement_count = 0
            outcome = f"Setting learning rate to {rate / 5:f}"
        else:
            outcome = "Learning rate too small. Stopping." if adaptive else "Stopping."
        if estimator.verbose:
            print(f"{message} {outcome}")
        return outcome.endswith("Stopping.")

    def set_rate(self, rate: float) -> None:
        """Take another learning rate, for which the velocity is scikit-learn's: a step, and not a sum of gradients."""
        rate = max(rate, lowest_rate(self.model.dtype))
        self.run.state.moments[:] *= self.estimator._optimizer.learning_rate / rate
        self.estimator._optimizer = self.model.optimizer = replace(self.estimator._optimizer, learning_rate=rate)

    def tell_callbacks(self, logs: dict[str, float]) -> bool:
        """Call fastnet's callbacks; return whether one wants to stop."""
        stop = False
        for callback in self.callbacks:
            answer = callback(self.model, self.estimator.n_iter_ - 1, dict(logs))
            stop |= isinstance(answer, (bool, np.bool_)) and bool(answer)
        self.estimator._optimizer = self.model.optimizer
        return stop
