"""scikit-learn's tools around fastnet's estimators: each gives what it gives around scikit-learn's own."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
import joblib
from sklearn import config_context
from sklearn import neural_network as theirs
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from fastnet import sklearn as ours

pytestmark = [
    pytest.mark.jit,  # thousands of epochs
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X, Y = load_breast_cancer(return_X_y=True, as_frame=True)
X_SCALED = StandardScaler().fit_transform(X)
SETTINGS = {"hidden_layer_sizes": (8,), "max_iter": 15, "learning_rate_init": 0.01}


def both(make):
    """Return what `make` makes of a class, for fastnet's and for scikit-learn's."""
    return make(ours.MLPClassifier), make(theirs.MLPClassifier)


@pytest.mark.parametrize("seed", range(10))
def test_cross_validation_of_a_pipeline(seed):
    """Ten seeds, and the same scores of every fold: the networks are the same but for rounding."""
    found, expected = both(
        lambda kind: cross_val_score(make_pipeline(StandardScaler(), kind(**SETTINGS, random_state=seed)), X, Y)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search_with_two_jobs(backend):
    grid = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(4,), (8, 4)]}

    def search(kind):
        with joblib.parallel_backend(backend):
            return GridSearchCV(kind(**{**SETTINGS, "random_state": 0}), grid, n_jobs=2, cv=3).fit(X_SCALED, Y)

    found, expected = both(search)
    assert found.best_params_ == expected.best_params_
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])


@pytest.mark.parametrize(
    "around",
    [
        lambda network: CalibratedClassifierCV(network, cv=3),
        pytest.param(
            lambda network: BaggingClassifier(network, 5, max_samples=0.5, random_state=0),
            marks=pytest.mark.skipif(
                not has_fit_parameter(theirs.MLPClassifier(), "sample_weight"),
                reason="before scikit-learn 1.7, its MLP knew no weights, by which bagging draws",
            ),
        ),
        lambda network: StackingClassifier([("network", network), ("line", LogisticRegression())], cv=3),
    ],
)
def test_estimators_made_of_estimators(around):
    found, expected = both(lambda kind: around(kind(**SETTINGS, random_state=0)).fit(X_SCALED, Y))
    np.testing.assert_allclose(found.predict_proba(X_SCALED), expected.predict_proba(X_SCALED), rtol=1e-6, atol=1e-9)


def test_permutation_importance():
    found, expected = both(
        lambda kind: permutation_importance(
            kind(**SETTINGS, random_state=0).fit(X_SCALED, Y), X_SCALED, Y, n_repeats=2, random_state=0
        )
    )
    np.testing.assert_allclose(found.importances, expected.importances)


def test_data_frames_in_and_out():
    """The names of columns are kept and compared; a pipeline hands on frames after set_output."""
    pd = pytest.importorskip("pandas")
    network = ours.MLPClassifier(**SETTINGS, random_state=0)
    pipeline = make_pipeline(StandardScaler(), network).set_output(transform="pandas").fit(X, Y)
    assert list(network.feature_names_in_) == list(X.columns)
    expected = network.predict_proba(pd.DataFrame(X_SCALED, columns=X.columns))
    np.testing.assert_allclose(pipeline.predict_proba(X), expected)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_array_equal(network.predict_proba(X_SCALED), expected)
    with pytest.raises(ValueError, match="feature names should match"):
        network.predict(X.rename(columns={"mean radius": "radius"}))


def test_an_eval_set_is_routed():
    """Metadata routing knows what fit takes besides X and y."""
    with config_context(enable_metadata_routing=True):
        network = ours.MLPClassifier(**SETTINGS, random_state=0).set_fit_request(sample_weight=True, eval_set=True)
    assert network.get_metadata_routing().fit.requests.items() >= {"eval_set": True, "sample_weight": True}.items()


@pytest.mark.filterwarnings("ignore:The (features of X|targets) are far:UserWarning")
def test_regression_with_cross_validation():
    X_diabetes, y = load_diabetes(return_X_y=True)
    settings = {"max_iter": 20, "learning_rate_init": 0.05, "random_state": 0, "early_stopping": True}
    found, expected = (
        cross_val_score(kind(**settings), StandardScaler().fit_transform(X_diabetes), y, cv=3)
        for kind in (ours.MLPRegressor, theirs.MLPRegressor)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
