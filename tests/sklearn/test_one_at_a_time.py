"""An estimator is fitted by one caller at a time, and may predict meanwhile: a whole network, and no other."""

import copy
import pickle
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("sklearn")

from fastnet.callbacks import Callback
from fastnet.sklearn import MLPClassifier, MLPRegressor, base

pytestmark = [
    pytest.mark.jit,  # not about kernels, and minutes in plain Python
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:lbfgs failed to converge"),
]

rng = np.random.default_rng(0)
X = rng.standard_normal((200, 8))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
CALLS = {
    "fit": lambda estimator: estimator.fit(X[:, :5], Y),
    "partial_fit": lambda estimator: estimator.partial_fit(X, Y),
}


def in_thread(call):
    """Return what the call raised in another thread, or None."""
    raised = []

    def work():
        try:
            call()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return raised[0] if raised else None


class DuringTheFit(Callback):
    """Calls a function as training begins, and after each epoch; not within itself."""

    def __init__(self, function):
        self.function, self.inside = function, False

    def start(self, model):
        if not self.inside:
            self.inside = True
            self.function()
            self.inside = False

    def __call__(self, model, epoch, logs):
        self.start(model)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("own", CALLS)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_from_before_the_first_epoch_on_no_other_thread_may_fit_it(kind, own, call):
    twin = kind(hidden_layer_sizes=(5,), max_iter=2, random_state=0).fit(X, Y)
    estimator, raised = copy.deepcopy(twin), []
    estimator.set_params(callbacks=DuringTheFit(lambda: raised.append(in_thread(lambda: CALLS[call](estimator)))))
    if own == "fit":
        estimator.fit(X, Y)
        twin.fit(X, Y)
    else:
        estimator.partial_fit(X, Y)
        twin.partial_fit(X, Y)
    assert len(raised) > 1
    assert {type(error) for error in raised} == {RuntimeError}
    assert str(raised[0]).startswith(f"{call} was called on a model that is being trained: by a callback, or in an")
    np.testing.assert_array_equal(estimator.predict(X), twin.predict(X))
    assert estimator.loss_curve_ == twin.loss_curve_


def test_nor_one_that_is_fitted_by_lbfgs(monkeypatch):
    raised, minimise = [], base.minimise_loss
    estimator = MLPClassifier((5,), solver="lbfgs", max_iter=2, random_state=0)

    def minimise_beside_another(*arguments):
        monkeypatch.undo()
        raised.append(in_thread(lambda: estimator.fit(X, Y)))
        minimise(*arguments)

    monkeypatch.setattr(base, "minimise_loss", minimise_beside_another)
    estimator.fit(X, Y)
    assert [type(error) for error in raised] == [RuntimeError]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda estimator: pickle.loads(pickle.dumps(estimator))])
def test_a_copy_made_within_a_fit_is_free(copied):
    found = []

    class Copying(DuringTheFit):
        def __reduce__(self):
            return DuringTheFit, (None,)

    estimator = MLPClassifier((5,), max_iter=2, random_state=0)
    estimator.set_params(callbacks=Copying(lambda: found.append(copied(estimator))))
    estimator.fit(X, Y)
    found[0].set_params(callbacks=None).fit(X, Y)
    np.testing.assert_array_equal(found[0].coefs_[0], estimator.coefs_[0])


def test_it_is_free_after_an_error():
    estimator = MLPClassifier((5,), max_iter=2, random_state=0)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        estimator.fit(np.full((4, 2), np.nan), [0, 1, 0, 1])
    estimator.fit(X, Y)


def test_predictions_beside_fits_are_of_a_whole_network():
    """Of one width or the other; and the last fit is not lost, though predictions bind parameters to a network."""
    estimator = MLPClassifier((20,), max_iter=1, random_state=0).fit(X[:, :5], Y)
    stop, wrong = False, []

    def predict():
        while not stop:
            try:
                estimator.predict_proba(X)
            except ValueError as error:
                if "features" not in str(error):
                    wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=predict) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for i in range(40):
            width = 5 + 3 * (i % 2)
            estimator.fit(X[:, :width], Y)
            twin = MLPClassifier((20,), max_iter=1, random_state=0).fit(X[:, :width], Y)
            for ours, theirs in zip(estimator.coefs_, twin.coefs_, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    finally:
        stop = True
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not wrong
