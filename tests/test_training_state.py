"""A model is trained or built by one caller at a time, from whatever thread the others come."""

import copy
import pickle
import threading

import numpy as np
import pytest
from compiled import make_model, random_data

import fastnet.model
from fastnet import SGD, Adam, Dense, History, Model
from fastnet.callbacks import Callback

X, Y = random_data(65, 7)
REFUSED = "was called on a model that is being trained: by a callback, or in another thread"
CALLS = {
    "fit": lambda model: model.fit(X[:, :5], Y, epochs=1),  # which is not looked at
    "step": lambda model: model.step(X[:, :5], Y),
    "build": lambda model: model.build(5),
}


def unbuilt(**settings):
    return Model([Dense(3, "tanh"), Dense(1, "sigmoid")], seed=0, **settings)


def in_threads(*calls):
    """Make the calls at the same time, each in a thread; return what each returned or raised.

    Each is given a function that waits for the end of the others.
    """
    barrier, ended = threading.Barrier(len(calls)), [threading.Event() for _ in calls]
    results = [None] * len(calls)

    def work(own):
        barrier.wait(10)
        try:
            results[own] = calls[own](lambda: [end.wait(5) for i, end in enumerate(ended) if i != own])
        except Exception as error:
            results[own] = error
        finally:
            ended[own].set()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class AtStart(Callback):
    """Calls a function when the fit starts."""

    def __init__(self, function):
        self.start = function

    def __call__(self, model, epoch, logs):
        pass


@pytest.mark.parametrize("call", CALLS)
def test_from_before_the_first_epoch_on_no_other_thread_may_change_the_model(call):
    results = []
    model = unbuilt()
    history = model.fit(
        X, Y, epochs=2, callbacks=AtStart(lambda model: results.extend(in_threads(lambda _: CALLS[call](model))))
    )
    assert isinstance(results[0], RuntimeError)
    assert str(results[0]).startswith(f"{call} {REFUSED}")
    twin = unbuilt()
    assert twin.fit(X, Y, epochs=2).cost == history.cost
    np.testing.assert_array_equal(model.parameters, twin.parameters)


def fit_until_others_end(model, n_features):
    """Return a call for `in_threads`: a fit that, once it has begun, waits for the end of the others."""
    return lambda wait: model.fit(X[:, :n_features], Y, epochs=2, callbacks=AtStart(lambda _: wait() and None))


def test_of_two_threads_that_fit_a_model_exactly_one_does():
    """With inputs of different widths, which in one vector would end the process."""
    for _ in range(30):
        model = unbuilt()
        results = in_threads(fit_until_others_end(model, 4), fit_until_others_end(model, 7))
        assert sorted(type(result).__name__ for result in results) == ["History", "RuntimeError"]
        n_features, refused = (4, results[1]) if isinstance(results[0], History) else (7, results[0])
        assert str(refused).startswith(f"fit {REFUSED}")
        twin = unbuilt()
        twin.fit(X[:, :n_features], Y, epochs=2)
        np.testing.assert_array_equal(model.parameters, twin.parameters)
        model.fit(X[:, :n_features], Y, epochs=1)


def test_fit_beside_build_crashes_in_no_order():
    """Whichever comes first; after `build`, X has other features than the network."""
    for _ in range(30):
        model = unbuilt()
        fitted, built = in_threads(fit_until_others_end(model, 7), lambda _, model=model: model.build(5))
        if built is model:
            assert str(fitted) == "X has 7 features, but the first layer was built for 5." or REFUSED in str(fitted)
            assert model.layers[0].W.shape == (3, 5)
        else:
            assert isinstance(fitted, History)
            assert str(built).startswith(f"build {REFUSED}")


@pytest.mark.parametrize("call", ["cost", "gradients", "evaluate"])
def test_data_checked_before_another_thread_has_built_the_model_anew(call, monkeypatch):
    model, data = make_model((7, 3, 1), ("tanh", "sigmoid")), Model._data

    def data_then_build(model, *arguments):
        checked = data(model, *arguments)
        model.build(9)
        return checked

    monkeypatch.setattr(Model, "_data", data_then_build)
    with pytest.raises(ValueError, match=r"X has 7 features, but the first layer was built for 9\."):
        getattr(model, call)(X, Y)


def test_a_model_built_anew_while_a_prediction_is_prepared(monkeypatch):
    model, make = make_model((7, 3, 1), ("tanh", "sigmoid")), fastnet.model.Predictor
    before = make_model((7, 3, 1), ("tanh", "sigmoid")).forward(X)

    def make_and_build(*arguments):
        made = make(*arguments)
        model.build(9)
        return made

    monkeypatch.setattr(fastnet.model, "Predictor", make_and_build)
    np.testing.assert_array_equal(model.forward(X), before)
    monkeypatch.undo()
    rows, after = np.ones((2, 9)), make_model((9, 3, 1), ("tanh", "sigmoid"))
    np.testing.assert_array_equal(model.forward(rows), after.forward(rows))


def test_the_kind_of_optimizer_stays_from_the_start_of_a_fit():
    def change(model):
        model.optimizer = Adam()

    model = unbuilt(optimizer=SGD(0.1))
    with pytest.raises(ValueError, match="which is of another kind than"):
        model.fit(X, Y, epochs=2, callbacks=AtStart(change))
    model.optimizer = Adam()
    model.fit(X, Y, epochs=1)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_made_within_a_fit_is_not_in_training(copied):
    copies = []
    model = unbuilt()
    model.fit(X, Y, epochs=2, batch_size=None, callbacks=lambda model, epoch, logs: copies.append(copied(model)))
    first, second = copies
    first.fit(X, Y, epochs=1, batch_size=None)
    np.testing.assert_array_equal(first.parameters, second.parameters)
    assert all(np.shares_memory(layer.W, first.parameters) for layer in first.layers)
    assert first.parameters.ctypes.data % 64 == 0


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"batch_size": 16}])
def test_a_model_is_free_after_an_error(settings):
    model = make_model((7, 3, 1), ("tanh", "sigmoid"))
    model.layers[0].W[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"epochs must be|parameters has 1 non-finite value"):
        model.fit(X, Y, **settings)
    assert model.history is None
    model.build(7)
    model.fit(X, Y, epochs=1)
