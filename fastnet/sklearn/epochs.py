"""Training by a stochastic solver, as scikit-learn has it: shuffles, losses, scores, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from fastnet.callbacks import AnyCallback, Callback, Checkpoint, finish
from fastnet.engine.course import Course
from fastnet.engine.examples import Data
from fastnet.engine.network import division_for
from fastnet.engine.ranks import Ranks
from fastnet.engine.run import Run
from fastnet.errors import may_get_lost
from fastnet.kernels import codes
from fastnet.losses import AnyLoss
from fastnet.sklearn.parameters import NetworkEstimator
from fastnet.sklearn.rules import LossScale, inverse_scaling, lowest_rate

MOST_EPOCHS_OF_WORK = 10**6
"""`max_iter` may be endless; the number of threads is chosen for so many epochs at most."""

LOWEST_ADAPTIVE_RATE = 1e-6

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)

Score = Callable[[np.ndarray], float]
"""The score of held-out examples, of A (m, n_L)."""


class Hooks:
    """Tells scikit-learn's callbacks, if an estimator has any, of its fit and of the epochs."""

    def __init__(self, estimator: NetworkEstimator, X: Any, y: Any, sample_weight: Any) -> None:
        self.fit: Any = None
        if hasattr(estimator, "_skl_callbacks"):
            self.told = {"estimator": estimator, "X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
            self.fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
            self.fit.call_on_fit_task_begin(**self.told)

    def begin_epoch(self) -> None:
        """Announce that an epoch begins."""
        if self.fit is not None:
            self.epoch: Any = self.fit.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(**self.told)

    def end_epoch(self) -> bool:
        """Announce its end; return whether to stop. Callbacks may ask for a copy of the estimator as it is."""
        if self.fit is None:
            return False
        return bool(self.epoch.call_on_fit_task_end(**self.told, reconstruction_attributes={}))

    def end_fit(self) -> None:
        """Announce the end of the fit."""
        if self.fit is not None:
            self.fit.call_on_fit_task_end(**self.told, reconstruction_attributes={})


class Validation:
    """Computes the loss and the score of held-out examples, after each epoch; its run must be left at the end.

    `training` is the run that trains, `loss` fastnet's, and `score` a function of A (m, n_L); None: minus the loss.
    """

    def __init__(self, examples: Data, training: Run, loss: AnyLoss | None, score: Score | None) -> None:
        ranks = training.ranks
        network = training.network.without_dropout.replaced(l2=(0.0,) * len(training.network.l2))
        self.run = Run(
            network, training.parameters, examples, mode=codes.COST, course=Course(ranks=ranks), with_outputs=True,
            cores=training.division.threads,
        )  # fmt: skip
        scale = LossScale.of(loss, examples.y, examples.weights)
        self.scale, self.score = scale.of_all(ranks, examples.total_weight), score

    def __call__(self) -> tuple[float, float]:
        """Return loss and score; the score is NaN where an output is not finite."""
        self.run.cost()
        loss, A = self.scale(self.run), self.run.results[0]
        if self.score is None:
            return loss, -loss
        return loss, float(self.score(A)) if np.isfinite(A).all() else math.nan


class Epochs:
    """The epochs of a fit; a context manager, as its threads must end.

    The estimator has parameters to start from, `_optimizer` and `_moments`; its attributes are filled, however training
    ends. `score` is a function of A (m, n_L) of the held-out examples; None: minus their loss. `batch_size` is at most
    the number of examples; `callbacks` are fastnet's. With ranks, the examples, and those held out, are a shard.
    `batches`: updates of an epoch, where each has a learning rate of its own.
    """

    def __init__(
        self, estimator: NetworkEstimator, examples: Data, held_out: Data | None, score: Score | None, batch_size: int,
        callbacks: tuple[AnyCallback, ...], ranks: Ranks | None = None, batches: int = 1,
    ) -> None:  # fmt: skip
        model = estimator._model
        network = model._built()
        self.estimator, self.model, self.callbacks = estimator, model, callbacks
        self.m, self.used, self.ranks = len(examples.y), estimator._optimizer, ranks
        self.speaks = bool(estimator.verbose) and (ranks is None or ranks.rank == 0)
        self.validation: Validation | None = None
        self.check_callbacks(("cost",) if held_out is None else ("cost", "val_cost", "val_score"))
        epochs = int(min(estimator.max_iter, MOST_EPOCHS_OF_WORK))
        threads = division_for(network, self.m, batch_size, epochs, estimator.n_threads).threads
        scale, key = LossScale.of(estimator._loss(), examples.y, examples.weights), estimator._dropout_key
        self.scale = scale.of_all(ranks, examples.total_weight)
        if ranks is not None:
            cores, key = ranks.cores(), ranks.key(key)
            threads = min(threads, estimator.n_threads or cores)
            self.m = int(ranks.sums([self.m])[0])
        with ExitStack() as ends:
            self.run = ends.enter_context(
                Run(
                    network, model.parameters, examples, mode=estimator._optimizer, state=estimator._moments,
                    course=Course(1, batch_size, False, key, estimator._epochs_finished, ranks, batches),
                    threads=threads, label_smoothing=float(estimator.label_smoothing),
                )
            )  # fmt: skip
            estimator._moments = self.run.state
            if held_out is not None:
                self.validation = Validation(held_out, self.run, estimator._loss(), score)
                ends.enter_context(self.validation.run)
            model.optimizer = estimator._optimizer
            ends.enter_context(model._training("fit"))
            self.scores = self.complete_record()
            self.ends = ends.pop_all()

    def __enter__(self) -> Epochs:
        return self

    def __exit__(self, *error: object) -> None:
        self.ends.close()

    def check_callbacks(self, names: tuple[str, ...]) -> None:
        """Raise ValueError if a callback needs more in its logs than those names."""
        for callback in self.callbacks:
            if isinstance(callback, Checkpoint):
                raise ValueError("A Checkpoint is for Model.fit. Save the estimator in a callback, by its save(path).")
            if isinstance(callback, Callback):
                try:
                    callback.check(names)
                except ValueError as error:
                    remedy = "Pass validation_data or validation_split to fit"  # of a Model
                    raise ValueError(
                        str(error).replace(remedy, "Pass eval_set to fit, or early_stopping=True")
                    ) from None

    def complete_record(self) -> list[float]:
        """Add the lists that an earlier fit, under other settings, did not fill; return that of the scores."""
        estimator = self.estimator
        record = estimator.__dict__
        record.setdefault("loss_curve_", [])
        record.setdefault("_no_improvement_count", 0)
        if record.get("best_loss_") is None and not estimator.early_stopping:
            estimator.best_loss_ = np.inf
        if estimator.early_stopping and record.get("best_validation_score_") is None:
            estimator.best_validation_score_ = -np.inf
        if estimator.early_stopping and "_best_parameters" not in record:
            estimator._best_parameters = self.model.parameters.copy()
        scores: list[float] = record.get("validation_scores_") or []
        if self.validation is not None:
            record.setdefault("validation_loss_curve_", [])
            estimator.validation_scores_ = scores
        return scores

    def train(self, hooks: Hooks, only_one: bool) -> str:
        """Train for one epoch, or until the estimator's rules stop it; the hooks are told of each epoch.

        Returns the reason of the end: "converged", "max_iter", "callback", "one", "interrupted" or "diverged".
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
                if self.run.status and self.ranks is not None:
                    raise ValueError(
                        f"{NOT_FINITE} Loss or parameters were not finite in iteration {estimator.n_iter_}."
                    )
                if self.run.status:
                    reason = "diverged"
                    break
                stop = self.tell_callbacks(logs)
                stop |= hooks.end_epoch()
                if self.ranks is not None:
                    stop = bool(self.ranks.first_text("stop" * stop))
                if self.is_patience_over():
                    reason = "converged"
                    break
                if stop or only_one:
                    reason = "callback" if stop else "one"
                    break
        except KeyboardInterrupt:
            if self.ranks is not None:  # the others would wait
                raise
            reason = "interrupted"
        finally:  # whatever the handler of a signal raises
            moments = self.run.state.moments  # may alone be infinite: squares of gradients overflow first
            if not (np.isfinite(parameters).all() and np.isfinite(moments).all()):
                parameters[:] = before
                moments[:], self.run.state.powers[:] = 0, 1
        try:
            if reason not in ("diverged", "interrupted"):
                finish(self.callbacks, self.model)
        finally:
            if estimator.early_stopping:
                parameters[:] = estimator._best_parameters
        return reason

    def epoch(self) -> dict[str, float]:
        """Go through the examples once, in a new order if they are shuffled; return the logs for callbacks."""
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
        if self.speaks:
            with may_get_lost():
                print(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        logs = {"cost": loss}
        if self.validation is not None:
            validation_loss, score = (math.nan, math.nan) if run.status else self.validation()
            estimator.validation_loss_curve_.append(validation_loss)
            self.scores.append(score)
            logs |= {"val_cost": validation_loss, "val_score": score}
            if self.speaks:
                with may_get_lost():
                    print(f"Validation score: {score:f}")
        self.count_improvement()
        policy, first_rate, power = estimator._schedule
        if policy == "invscaling":
            self.set_rate(inverse_scaling(first_rate, estimator.t_, power))
        return logs

    def count_improvement(self) -> None:
        """Count epochs without improvement: of the validation score with early stopping, else of the loss."""
        estimator, tol = self.estimator, float(self.estimator.tol)
        if estimator.early_stopping:
            score, best_score = self.scores[-1], estimator.best_validation_score_
            assert best_score is not None
            improved = not score < best_score + tol
            if score > best_score:
                estimator.best_validation_score_ = score
                estimator._best_parameters = self.model.parameters.copy()
        else:
            loss, best_loss = estimator.loss_, estimator.best_loss_
            assert best_loss is not None
            improved = not loss > best_loss - tol
            estimator.best_loss_ = loss if loss < best_loss else best_loss
        estimator._no_improvement_count = 0 if improved else estimator._no_improvement_count + 1

    def is_patience_over(self) -> bool:
        """Return whether to stop; or lower the learning rate instead, where it is adaptive."""
        estimator = self.estimator
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return False
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive "
            "epochs."
        )
        rate, adaptive = self.rate, estimator._schedule[0] == "adaptive"
        if adaptive and rate > LOWEST_ADAPTIVE_RATE:
            self.set_rate(rate / 5)
            estimator._no_improvement_count = 0
            outcome = f"Setting learning rate to {rate / 5:f}"
        else:
            outcome = "Learning rate too small. Stopping." if adaptive else "Stopping."
        if self.speaks:
            with may_get_lost():
                print(f"{message} {outcome}")
        return outcome.endswith("Stopping.")

    @property
    def rate(self) -> float:
        """The learning rate."""
        return float(self.estimator._optimizer.learning_rates(self.estimator._epochs_finished, 1)[0])

    def set_rate(self, rate: float) -> None:
        """Set another learning rate, and scale the velocity to it: scikit-learn's is a step, not a sum of gradients."""
        rate = max(rate, lowest_rate(self.model.dtype))
        with np.errstate(all="ignore"):
            self.run.state.moments[:] *= self.rate / rate
        self.estimator._optimizer = self.model.optimizer = replace(self.estimator._optimizer, learning_rate=rate)

    def tell_callbacks(self, logs: dict[str, float]) -> bool:
        """Call fastnet's callbacks; return whether one wants to stop."""
        stop = False
        for callback in self.callbacks:
            answer = callback(self.model, self.estimator.n_iter_ - 1, dict(logs))
            stop |= isinstance(answer, (bool, np.bool_)) and bool(answer)
        self.estimator._optimizer = self.model.optimizer
        return stop
