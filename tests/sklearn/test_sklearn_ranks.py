"""The drop-in classes on several ranks: what one process finds with all examples."""

import numpy as np
import pytest
from ranks_of_threads import run_ranks

from fastnet.sklearn import MLPClassifier, MLPRegressor

pytestmark = [pytest.mark.jit, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

rng = np.random.default_rng(0)
X = rng.standard_normal((240, 4))
THREE = np.array(["low", "middle", "high"])[np.digitize(X[:, 0] + X[:, 1], [-1, 0.5])]
VALUES = X[:, 0] - X[:, 1] ** 2
SHARES = [9, 3]


def regressor(**settings):
    return MLPRegressor(hidden_layer_sizes=(8,), **settings)


def fit(estimator, y, communicator=None, **settings):
    """Fit on a rank's part of batches of 12, or on all."""
    rows = np.arange(len(X))
    if communicator is None:
        estimator.set_params(batch_size=12)
    else:
        rank, place = communicator.rank, rows % 12
        rows = rows[place < 9] if rank == 0 else rows[place >= 9]
        estimator.set_params(batch_size=SHARES[rank])
        settings["communicator"] = communicator
    for name in ("sample_weight", "eval_set"):
        if name in settings:
            settings[name] = settings[name](rows)
    return estimator.fit(X[rows], y[rows], **settings)


def on_ranks(make, y, **settings):
    found = run_ranks(2, lambda communicator: fit(make(), y, communicator, **settings))
    for each in found:
        if isinstance(each, BaseException):
            raise each
    first, second = found
    assert first.model_.parameters.tobytes() == second.model_.parameters.tobytes()
    assert first.loss_curve_ == second.loss_curve_
    return first


SETTINGS = {"shuffle": False, "random_state": 0, "max_iter": 6, "dtype": "float64"}
CASES = {
    "classes": (lambda: MLPClassifier((8,), alpha=0.1, **SETTINGS), THREE, {}),
    "balanced": (lambda: MLPClassifier((8,), class_weight="balanced", **SETTINGS), THREE, {}),
    "weights": (lambda: MLPClassifier((8,), **SETTINGS), THREE, {"sample_weight": lambda rows: 1 + rows % 3}),
    "labels": (lambda: MLPClassifier((8,), **SETTINGS), (X[:, :3] > 0).astype(int), {}),
    "values": (lambda: regressor(**SETTINGS), VALUES, {"eval_set": lambda rows: (X[rows], VALUES[rows])}),
    "counts": (lambda: MLPRegressor("poisson", (8,), **SETTINGS), np.abs(VALUES), {}),
    "invscaling": (
        lambda: regressor(solver="sgd", learning_rate="invscaling", learning_rate_init=0.1, **SETTINGS),
        VALUES, {},
    ),
    "early stopping": (
        lambda: MLPClassifier((8,), early_stopping=True, **SETTINGS), THREE,
        {"eval_set": lambda rows: (X[rows], THREE[rows])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_ranks_find_what_one_process_finds(case):
    make, y, settings = CASES[case]
    alone, first = fit(make(), y, **settings), on_ranks(make, y, **settings)
    np.testing.assert_allclose(first.model_.parameters, alone.model_.parameters, rtol=0, atol=1e-12)
    np.testing.assert_allclose(first.loss_curve_, alone.loss_curve_, rtol=1e-12)
    assert (first.n_iter_, first.t_) == (alone.n_iter_, alone.t_)
    for name in ("validation_loss_curve_", "validation_scores_"):
        if getattr(alone, name, None):
            np.testing.assert_allclose(getattr(first, name), getattr(alone, name), rtol=1e-12)


def test_a_class_may_be_on_one_rank_alone():
    def work(communicator):
        rows = np.flatnonzero((THREE == "middle") == (communicator.rank == 1))
        return MLPClassifier((8,), max_iter=3).fit(X[rows], THREE[rows], communicator=communicator)

    first, second = run_ranks(2, work)
    assert first.classes_.tolist() == second.classes_.tolist() == ["high", "low", "middle"]
    assert first.predict(X).tolist() == second.predict(X).tolist()


def test_a_part_is_held_out_of_each_and_a_second_fit_goes_on():
    def work(communicator):
        half = slice(communicator.rank, None, 2)
        classifier = MLPClassifier((8,), early_stopping=True, n_iter_no_change=3, warm_start=True, max_iter=50,
                                   dropout=0.1)  # fmt: skip
        for _ in range(2):
            classifier.fit(X[half], THREE[half], communicator=communicator)
        return classifier.validation_scores_, classifier.loss_curve_, classifier.model_.parameters.tobytes()

    first, second = run_ranks(2, work)
    assert first == second


def test_one_rank_is_no_other_fit():
    found = run_ranks(1, lambda communicator: fit(MLPClassifier((8,), **SETTINGS), THREE, communicator=None))
    assert found[0].loss_curve_ == fit(MLPClassifier((8,), **SETTINGS), THREE).loss_curve_


def test_weights_of_what_is_held_out_may_be_on_one_rank_alone():
    def work(communicator, everywhere):
        weights = (np.ones(240, "float32"),) if everywhere or communicator.rank else ()
        fitted = regressor(early_stopping=True, dtype="float32", max_iter=3, random_state=0)
        fitted.fit(X, VALUES, eval_set=(X, VALUES, *weights), communicator=communicator)
        return fitted.validation_scores_

    found = run_ranks(2, lambda communicator: work(communicator, everywhere=False))
    assert found == run_ranks(2, lambda communicator: work(communicator, everywhere=True))


def test_a_warm_start_goes_on_from_one_record():
    """By another each rank would stop where the others go on."""

    def work(communicator):
        fitted = regressor(warm_start=True, random_state=0, max_iter=3, n_iter_no_change=2)
        fitted.fit(X, VALUES * (1 + communicator.rank))
        return fitted.fit(X, VALUES, communicator=communicator)

    first, second = run_ranks(2, work)
    assert isinstance(second, ValueError)
    assert "'record'" in str(second)
    assert "Rank 1 of 2 has stopped" in str(first)


def stop(model, epoch, logs):
    return epoch == 1


def test_a_callback_of_one_rank_ends_the_fit_of_all():
    def work(communicator):
        callbacks = [stop if communicator.rank == 1 else lambda model, epoch, logs: None]
        return regressor(callbacks=callbacks).fit(X, VALUES, communicator=communicator).n_iter_

    assert run_ranks(2, work) == [2, 2]


def raises(error):
    def callback(model, epoch, logs):
        if epoch == 1:
            raise error

    return callback


def told(error):
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


FAILURES = {
    "Ctrl-C": (KeyboardInterrupt, "", {"callbacks": raises(KeyboardInterrupt())}, {}),
    "a callback": (KeyError, "disk", {"callbacks": raises(KeyError("disk"))}, {}),
    "L-BFGS": (ValueError, "communicator is only for stochastic", {"solver": "lbfgs"}, {"solver": "lbfgs"}),
    "a scorer": (ValueError, "scoring must be", {"scoring": "f1"}, {"scoring": "f1"}),
    "another argument": (ValueError, "another than that of rank 0", {"tol": 0.5}, {}),
    "another solver": (ValueError, "another than that of rank 0", {"solver": "sgd"}, {}),
    "no argument": (ValueError, "activation", {"activation": "no such thing"}, {}),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_one_rank_raises_ends_all(case):
    kind, message, of_second, of_first = FAILURES[case]

    def work(communicator):
        settings = {"callbacks": lambda model, epoch, logs: None} | (of_second if communicator.rank else of_first)
        return regressor(max_iter=5).set_params(**settings).fit(X, VALUES, communicator=communicator)

    first, second = run_ranks(2, work)
    assert isinstance(second, kind)
    assert message in str(second)
    if not of_first:
        assert isinstance(first, RuntimeError)
        assert str(first) == f"Rank 1 of 2 has stopped the training of all: {told(second)}"


def test_all_end_when_training_diverges():
    def work(communicator):
        values = VALUES * (1e25 if communicator.rank else 1)
        return regressor(dtype="float32").fit(X.astype("float32"), values, communicator=communicator)

    first, second = run_ranks(2, work)
    assert "non-finite" in str(first)
    assert "non-finite" in str(second)
