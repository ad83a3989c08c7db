"""scikit-learn's own tests of its MLP, with fastnet's classes in place of its own; and its checks of any estimator."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn import neural_network
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnet import sklearn as ours

pytestmark = [
    pytest.mark.jit,  # thousands of epochs
    pytest.mark.filterwarnings("ignore"),  # as many fits end at max_iter; some tests ask for warnings themselves
]

SOURCE = Path(neural_network.__file__).parent / "tests" / "test_mlp.py"
REWRITTEN = ("test_gradient",)
"""What touches private attributes; rewritten below."""


@pytest.fixture
def global_random_seed():
    return 42


def load_their_tests():
    """Define scikit-learn's tests here, on our classes."""
    theirs = neural_network.MLPClassifier, neural_network.MLPRegressor
    neural_network.MLPClassifier, neural_network.MLPRegressor = ours.MLPClassifier, ours.MLPRegressor
    try:
        exec(compile(SOURCE.read_text(), str(SOURCE), "exec"), globals())
    finally:
        neural_network.MLPClassifier, neural_network.MLPRegressor = theirs
    for name in REWRITTEN:
        del globals()[name]


if SOURCE.exists():
    load_their_tests()


def test_their_tests_are_here():
    """The wheels of scikit-learn have its tests; were they left out, nothing would be tested."""
    assert sum(name.startswith("test_") for name in globals()) > 40


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("n_labels", [2, 3])
def test_gradient_through_public_names(activation, n_labels):
    """scikit-learn's test_gradient: the gradient that L-BFGS gets agrees with differences of the loss."""
    X = np.random.RandomState(42).rand(5, 10)
    y = 1 + np.mod(np.arange(5) + 1, n_labels)
    mlp = ours.MLPClassifier(10, activation, solver="lbfgs", alpha=1e-5, max_iter=1, random_state=1)
    mlp.fit(X, y)
    classes = np.searchsorted(mlp.classes_, y)
    gradients = mlp.model_.gradients(X, classes)
    for layer, (dW, db) in enumerate(gradients):
        for parameters, derivatives in ((mlp.coefs_[layer], dW.T), (mlp.intercepts_[layer], db[:, 0])):
            for index in np.ndindex(parameters.shape):
                kept, costs = parameters[index], []
                for step in (1e-5, -1e-5):
                    parameters[index] = kept + step  # coefs_ and intercepts_ are views
                    costs.append(mlp.model_.cost(X, classes))
                parameters[index] = kept
                np.testing.assert_almost_equal((costs[0] - costs[1]) / 2e-5, derivatives[index])


@parametrize_with_checks([ours.MLPClassifier(), ours.MLPRegressor()])
def test_checks_of_any_estimator(estimator, check):
    check(estimator)
