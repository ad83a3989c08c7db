"""`MLPRegressor(loss=Quantile(q))`: one quantile and several, scores, early stopping, and what is refused."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import d2_pinball_score, mean_pinball_loss
from sklearn.model_selection import GridSearchCV

from fastnet import Adam, CosineDecay, Quantile
from fastnet.sklearn import MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LEVELS = (0.1, 0.5, 0.9)
SMALL = {"hidden_layer_sizes": (5,), "random_state": 0, "max_iter": 3, "alpha": 0.0}


def problem(m, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (m, 2))
    return X, np.sin(3 * X[:, 1]) + (0.35 + 0.25 * X[:, 0]) * rng.standard_normal(m)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("q", [0.8, LEVELS, (0.8,)])
def test_the_loss_is_the_mean_pinball_loss(q, solver):
    """Of several quantiles, too; the loss of an epoch is that before its updates, all in one batch."""
    X, y = problem(65)
    estimator = MLPRegressor(Quantile(q), **SMALL, solver="adam", batch_size=65).fit(X, y)
    assert estimator.n_outputs_ == np.size(q)
    A = estimator.predict(X)
    assert A.shape == ((65,) if np.size(q) == 1 else (65, 3))
    columns = zip(np.ravel(q), A.reshape(65, -1).T, strict=True)
    expected = np.mean([mean_pinball_loss(y, a, alpha=level) for level, a in columns])
    if solver == "lbfgs":
        estimator.set_params(solver=solver, warm_start=True, max_iter=50).fit(X, y)
        assert estimator.loss_ < expected
    else:
        estimator.partial_fit(X, y)
        np.testing.assert_allclose(estimator.loss_, expected, rtol=1e-12)


def test_scores_and_early_stopping_are_of_the_pinball_loss():
    X, y = problem(300)
    X_val, y_val = problem(100, 1)
    weights = np.linspace(0, 1, 100)
    for q in (0.9, LEVELS):
        estimator = MLPRegressor(Quantile(q), **SMALL).fit(X, y, eval_set=(X_val, y_val, weights))
        columns = list(zip(np.ravel(q), estimator.predict(X_val).reshape(100, -1).T, strict=True))
        score = np.mean([d2_pinball_score(y_val, a, alpha=level, sample_weight=weights) for level, a in columns])
        np.testing.assert_allclose(estimator.score(X_val, y_val, weights), score, rtol=1e-12)
        np.testing.assert_allclose(estimator.validation_scores_[-1], score, rtol=1e-12)
        loss = np.mean([mean_pinball_loss(y_val, a, alpha=level, sample_weight=weights) for level, a in columns])
        np.testing.assert_allclose(estimator.validation_loss_curve_[-1], loss, rtol=1e-12)
        stopped = clone(estimator).set_params(early_stopping=True, max_iter=30, learning_rate_init=0.02).fit(X, y)
        assert stopped.best_validation_score_ == max(stopped.validation_scores_) > 0.1


@pytest.mark.jit
def test_of_examples_held_out_as_many_lie_below_as_should():
    (X, y), (X_new, y_new) = problem(10_000), problem(20_000, 1)
    for q in (0.9, LEVELS):
        solver = Adam(CosineDecay(0.01, 20))
        estimator = MLPRegressor(Quantile(q), (32, 32), "tanh", solver=solver, max_iter=20, tol=0.0, random_state=0)
        estimator.fit(X, y)
        A = estimator.predict(X_new).reshape(20_000, -1)
        np.testing.assert_allclose((y_new[:, None] <= A).mean(axis=0), np.ravel(q), atol=0.02)
        assert (np.diff(A, axis=1) >= 0).all()


def test_several_targets_have_one_quantile_each():
    X, y = problem(65)
    Y = np.column_stack([y, 2 * y])
    estimator = MLPRegressor(Quantile(0.8), **SMALL).fit(X, Y)
    assert estimator.predict(X).shape == (65, 2)
    score = d2_pinball_score(Y, estimator.predict(X), alpha=0.8)
    np.testing.assert_allclose(estimator.score(X, Y), score, rtol=1e-12)
    message = "y must have shape (m,) or (m, 1), a single target, of which the outputs are quantiles, but has (65, 2)."
    with pytest.raises(ValueError, match=re.escape(message)):
        MLPRegressor(Quantile(LEVELS), **SMALL).fit(X, Y)


def test_a_search_over_quantiles_and_a_warm_start_with_another():
    X, y = problem(65)
    search = GridSearchCV(MLPRegressor(**SMALL), {"loss": [Quantile(0.1), Quantile(0.9)]}, cv=2).fit(X, y)
    assert search.best_params_["loss"] in (Quantile(0.1), Quantile(0.9))
    estimator = MLPRegressor(Quantile([0.1, 0.9]), **SMALL, warm_start=True).fit(X, y)
    before = estimator.predict(X)
    estimator.set_params(loss=Quantile([0.2, 0.8])).fit(X, y)
    assert (estimator.predict(X) != before).any()
    with pytest.raises(ValueError, match="The network that training would go on with has layers of"):
        estimator.set_params(loss=Quantile(LEVELS)).fit(X, y)


def test_the_name_alone_does_not_say_which():
    message = "loss='quantile' does not say which. Pass loss=fastnet.Quantile(0.9), or of several "
    with pytest.raises(ValueError, match=re.escape(message)):
        MLPRegressor("quantile").fit(*problem(9))
    with pytest.raises(ValueError, match="Quantile"):
        MLPRegressor("pinball").fit(*problem(9))
    with pytest.raises(ValueError, match="scikit-learn's MLPRegressor cannot be this network"):
        MLPRegressor(Quantile(0.5), **SMALL).fit(*problem(65)).to_sklearn()
