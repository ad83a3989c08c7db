"""What `fit` does after each epoch: validation, metrics, callbacks, early stopping; and what it refuses."""

import copy
import itertools

import numpy as np
import pytest
from compiled import make_model, random_classes, random_data

from fastnet import (
    SGD,
    Adam,
    AdamW,
    Dense,
    EarlyStopping,
    ExponentialDecay,
    History,
    Model,
    ReduceOnPlateau,
    TimeLimit,
    TrainingDivergedError,
)
from fastnet.engine.run import Run
from fastnet.engine.threads import available_cores
from fastnet.kernels import codes
from fastnet.kernels.plan import WIDE_FROM

X, Y = random_data(130, 4)
X_VAL, Y_VAL = random_data(65, 4, seed=1)


def classifier(**settings):
    return make_model((4, 6, 1), ("tanh", "sigmoid"), **settings)


def test_validation_costs_and_metrics_are_those_of_evaluate_after_each_epoch():
    model, twin = classifier(), classifier()
    names = ("accuracy", "log_loss")
    weights = np.arange(1, 66)
    history = model.fit(X, Y, epochs=4, validation_data=(X_VAL, Y_VAL, weights), metrics=names)
    for epoch in range(4):
        cost = twin.fit(X, Y, epochs=1).cost[0]
        found = twin.evaluate(X_VAL, Y_VAL, names, sample_weight=weights)
        assert history.cost[epoch] == cost
        assert history.val_cost[epoch] == found["cost"]
        assert history.val_accuracy[epoch] == found["accuracy"]
        assert history.val_log_loss[epoch] == found["log_loss"]
    np.testing.assert_array_equal(model.parameters, twin.parameters)
    assert model.history is history


@pytest.mark.parametrize(("last", "n"), [("sigmoid", 1), ("softmax", 3), ("linear", 2)])
def test_metrics_of_training_are_of_the_outputs_before_each_update(last, n):
    """A batch of all examples, in any order, gives what evaluate did before the epoch; so do many chunks of them."""
    m = 1100
    rows, targets = random_data(m, 4, n)
    targets = random_classes(m, n)[0] if last == "softmax" else targets
    names = ("mse",) if last == "linear" else ("accuracy", "f1")
    model = make_model((4, 5, n), ("relu", last))
    before = model.evaluate(rows, targets, names)
    history = model.fit(rows, targets, epochs=1, batch_size=m, metrics=names)
    assert {"cost": pytest.approx(history.cost[0]), **{name: history.metrics[name][0] for name in names}} == before


def test_metrics_of_mini_batches_stand_in_the_order_of_the_examples():
    """With a learning rate of next to nothing, the outputs of an epoch are those of the model, however shuffled."""
    model = classifier(learning_rate=1e-300)
    history = model.fit(X, Y, epochs=2, batch_size=7, metrics=["auc", "accuracy"])
    found = model.evaluate(X, Y, ["auc", "accuracy"])
    assert history.auc == [found["auc"]] * 2
    assert history.accuracy == [found["accuracy"]] * 2


@pytest.mark.parametrize("threads", [1, available_cores()])
def test_what_is_watched_changes_no_bit_of_training(threads):
    plain, watched = (make_model((4, 65, 33, 1), ("relu", "tanh", "sigmoid"), dtype="float32") for _ in range(2))
    expected = plain.fit(X, Y, epochs=3, threads=1)
    seen = []
    history = watched.fit(
        X, Y, epochs=3, threads=threads, metrics="accuracy", validation_data=(X_VAL, Y_VAL),
        callbacks=lambda model, epoch, logs: seen.append((epoch, logs)),
    )  # fmt: skip
    np.testing.assert_array_equal(watched.parameters, plain.parameters)
    assert history.cost == expected.cost
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert [logs["val_cost"] for _, logs in seen] == history.val_cost
    assert set(seen[0][1]) == {"cost", "accuracy", "val_cost", "val_accuracy"}


def test_a_validation_split_is_held_out_the_same_each_time():
    model, twin = classifier(), classifier()
    history = model.fit(X, Y, epochs=2, validation_split=0.2)
    again = model.fit(X, Y, epochs=1, validation_split=0.2)
    both = twin.fit(X, Y, epochs=3, validation_split=0.2)
    assert history.val_cost + again.val_cost == both.val_cost
    assert history.cost + again.cost == both.cost
    assert classifier().fit(X, Y, epochs=3).cost != both.cost


def test_early_stopping_ends_the_fit_and_brings_the_best_parameters_back():
    stopping = EarlyStopping(patience=3)
    model, twin = (classifier(learning_rate=3.0) for _ in range(2))
    history = model.fit(X, Y, epochs=500, validation_data=(X_VAL, Y_VAL), callbacks=[stopping])
    best = int(np.argmin(history.val_cost))
    assert history.stopped_reason == "early_stopping"
    assert (stopping.best_epoch, stopping.best) == (best, history.val_cost[best])
    assert history.epochs == best + 1 + 3
    assert model.cost(X_VAL, Y_VAL) == history.val_cost[best]
    twin.fit(X, Y, epochs=best + 1)
    np.testing.assert_array_equal(model.parameters, twin.parameters)


@pytest.mark.parametrize(("ties", "kept"), [("first", 1), ("last", 3)])
def test_of_epochs_that_are_alike_the_first_or_the_last_is_kept(ties, kept):
    """Patience counts from the first of them, so that such epochs do not prolong a fit."""
    stopping, model, seen = EarlyStopping("val_cost", patience=4, ties=ties), classifier(), []
    stopping.start(model)
    for epoch, score in enumerate([0.5, 0.25, 0.75, 0.25, 0.5, 0.5]):
        model.parameters[:] = epoch
        seen.append(stopping(model, epoch, {"val_cost": score}))
    assert seen == [False] * 5 + [True]
    stopping.finish(model)
    assert stopping.best_epoch == kept
    np.testing.assert_array_equal(model.parameters, kept)


def test_ties_are_first_or_last():
    for wrong in ("both", 1, None):
        with pytest.raises(ValueError, match="ties must be 'first' or 'last'"):
            EarlyStopping(ties=wrong)


@pytest.mark.jit
@pytest.mark.filterwarnings("ignore:The cost has not fallen")
def test_the_best_parameters_come_back_however_the_fit_ends_but_not_unasked():
    for restore in (True, False):
        model = classifier(learning_rate=3.0)
        stopping = EarlyStopping(patience=500, restore_best=restore)
        history = model.fit(X, Y, epochs=100, validation_data=(X_VAL, Y_VAL), callbacks=stopping)
        assert history.stopped_reason == "not_fallen"
        assert stopping.best_epoch < 99
        assert model.cost(X_VAL, Y_VAL) == (min(history.val_cost) if restore else history.val_cost[-1])
    history = model.fit(X, Y, epochs=2, validation_data=(X_VAL, Y_VAL), callbacks=stopping)
    assert stopping.best == min(history.val_cost)  # not that of the fit before


def test_metrics_of_which_more_is_better_must_rise_and_min_delta_counts():
    values = iter([0.5, 0.6, 0.65, 0.69, 0.2])
    stopping = EarlyStopping("val_accuracy", patience=2, min_delta=0.1)
    stopping.check(("cost", "val_accuracy"))
    stopping.start(classifier())
    answers = [stopping(classifier(), epoch, {"val_accuracy": next(values)}) for epoch in range(4)]
    assert answers == [False, False, False, False]
    assert stopping.best_epoch == 2
    assert stopping(classifier(), 4, {"val_accuracy": next(values)})


def test_a_value_that_is_not_a_number_is_no_improvement_and_not_waited_on_before_there_was_one():
    stopping, model = EarlyStopping("val_auc", patience=2), classifier()
    stopping.start(model)
    values = [np.nan, np.nan, np.nan, 0.5, np.nan, np.nan]
    answers = [stopping(model, epoch, {"val_auc": value}) for epoch, value in enumerate(values)]
    assert answers == [False, False, False, False, False, True]


def test_a_value_of_training_brings_back_the_parameters_that_had_it():
    """The update of the best epoch may be the one that spoils everything."""
    targets = X[:, 0] * 2
    model = make_model((4, 1), ("linear",), optimizer=SGD(lambda epoch: 50.0 if epoch == 8 else 0.3))
    stopping = EarlyStopping("cost", patience=3)
    model.fit(X, targets, epochs=50, batch_size=None, callbacks=stopping)
    assert stopping.best_epoch == 8
    assert model.cost(X, targets) == stopping.best


def test_reduce_on_plateau_lowers_the_learning_rate_at_once_and_for_good():
    model = classifier(optimizer=Adam(0.5))
    rates = []
    history = model.fit(
        X, Y, epochs=60, validation_data=(X_VAL, Y_VAL),
        callbacks=[
            ReduceOnPlateau(factor=0.5, patience=2, min_learning_rate=0.1),
            lambda model, epoch, logs: rates.append(model.optimizer.learning_rate),
        ],
    )  # fmt: skip
    assert rates[0] == 0.5
    assert rates[-1] == 0.1
    assert set(rates) == {0.5, 0.25, 0.125, 0.1}
    first = rates.index(0.25)
    assert first == 2 + int(np.argmin(history.val_cost[: first + 1]))
    twin = classifier(optimizer=Adam(0.5))
    twin.fit(X, Y, epochs=first + 1)
    twin.optimizer = Adam(0.25)
    twin.fit(X, Y, epochs=1)
    assert twin.cost(X_VAL, Y_VAL) == history.val_cost[first + 1]


def test_reduce_on_plateau_slows_a_schedule_down_and_rests():
    model = classifier(optimizer=Adam(ExponentialDecay(0.5, 0.9)))
    reduce = ReduceOnPlateau("cost", factor=0.1, patience=1, min_delta=1e9, cooldown=2)
    factors = []
    model.fit(
        X, Y, epochs=8,
        callbacks=[reduce, lambda model, epoch, logs: factors.append(model.optimizer.learning_rates(0, 1)[0] / 0.5)],
    )  # fmt: skip
    np.testing.assert_allclose(factors, [1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001])
    assert isinstance(model.optimizer.learning_rate.schedule, ExponentialDecay)  # not one wrapped in another, and so on


@pytest.mark.parametrize("rate", [0.1, ExponentialDecay(0.1, 0.9)])
def test_a_long_plateau_ends_at_the_smallest_rate(rate):
    model = make_model((4, 1), ("sigmoid",), optimizer=SGD(rate), dtype="float32")
    model.fit(X, Y, epochs=60, callbacks=ReduceOnPlateau("cost", factor=0.01, patience=1, min_delta=1e9))
    assert model.optimizer.learning_rates(60, 1)[0] == np.finfo("float32").tiny


def test_a_schedule_below_the_smallest_rate_is_not_raised_to_it():
    slowed = SGD(ExponentialDecay(0.1, 0.1)).slowed_down(0.5, 0.01)
    np.testing.assert_allclose(slowed.learning_rates(0, 4), [0.05, 0.01, 0.001, 0.0001])


@pytest.mark.parametrize("call", ["fit", "step", "build"])
def test_a_model_in_training_is_not_trained_or_built_by_a_callback(call):
    def callback(model, epoch, logs):
        {"fit": lambda: model.fit(X, Y), "step": lambda: model.step(X, Y), "build": lambda: model.build(4)}[call]()

    model = classifier()
    with pytest.raises(RuntimeError, match="called on a model that is being trained"):
        model.fit(X, Y, epochs=2, callbacks=callback)
    model.fit(X, Y, epochs=1, callbacks=lambda model, epoch, logs: copy.copy(model).step(X, Y) and None)


def test_ctrl_c_during_validation_keeps_the_epoch(monkeypatch):
    model, cost = classifier(), Run.cost

    def interrupt(run):
        if run.mode == codes.COST and model.history.epochs == 2:
            raise KeyboardInterrupt
        return cost(run)

    monkeypatch.setattr(Run, "cost", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=9, validation_data=(X_VAL, Y_VAL), metrics="accuracy")
    assert (model.history.epochs, len(model.history.val_cost), model.epochs_finished) == (2, 1, 2)


def test_a_callback_may_stop_the_fit_look_at_the_model_and_change_it():
    costs = []

    def look(model, epoch, logs):
        costs.append(model.cost(X_VAL, Y_VAL))
        model.layers[0].W[:] *= 0.5
        return np.int64(epoch) == 2

    model = classifier()
    history = model.fit(X, Y, epochs=10, validation_data=(X_VAL, Y_VAL), callbacks=[look])
    assert history.stopped_reason == "callback"
    assert costs == history.val_cost
    assert len(costs) == 3


def test_divergence_after_a_callback_leaves_the_last_finite_parameters():
    """The run is repeated from after what the callback did, which repeating the run does not do."""
    kept = []

    def callback(model, epoch, logs):
        model.layers[0].b[:] += 0.25
        kept.append(model.parameters.copy())
        if epoch == 2:
            model.optimizer = type(model.optimizer)(1e300)

    model = make_model((4, 1), ("linear",))
    with pytest.raises(TrainingDivergedError) as caught:
        model.fit(X, Y, epochs=10, batch_size=None, callbacks=[callback])
    assert caught.value.epoch > 3
    assert np.isfinite(model.parameters).all()
    if caught.value.epoch == 4:
        np.testing.assert_array_equal(model.parameters, kept[-1])


class Halving(EarlyStopping):
    """A callback of the library's, made to change parameters, and the optimizer after the third epoch."""

    def __init__(self, last_rate):
        super().__init__("cost", patience=100, restore_best=False)
        self.last_rate = last_rate
        self.kept = []

    def __call__(self, model, epoch, logs):
        model.layers[0].W[:] *= 0.5
        model.layers[0].b[:] += 0.25
        self.kept.append(model.parameters.copy())
        if epoch == 2:
            model.optimizer = SGD(self.last_rate)
        return super().__call__(model, epoch, logs)


def as_function(callback):
    """Return what a callback does after an epoch as a plain function, of which nothing is known."""
    callback.start(classifier())
    return lambda model, epoch, logs: callback(model, epoch, logs)


@pytest.mark.parametrize("n_x", [4, WIDE_FROM])
def test_a_subclass_of_a_callback_may_change_parameters_as_a_function_may(n_x):
    """A wide input of full batches is where a step may use what was computed along with the step before."""
    rows, targets = random_data(33, n_x)
    results = []
    for known in (False, True):
        model, callback = make_model((n_x, 1), ("sigmoid",), learning_rate=0.01), Halving(0.01)
        history = model.fit(
            rows, targets, epochs=5, batch_size=None, callbacks=callback if known else as_function(callback)
        )
        results.append((model.parameters, history.cost))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


@pytest.mark.parametrize("n_x", [4, WIDE_FROM])
def test_divergence_after_a_subclass_changed_parameters(n_x):
    rows, targets = random_data(33, n_x)
    found = []
    for known in (False, True):
        model, callback = make_model((n_x, 1), ("linear",), learning_rate=1e-4), Halving(1e300)
        with pytest.raises(TrainingDivergedError) as caught:
            model.fit(rows, targets, epochs=10, batch_size=None, callbacks=callback if known else as_function(callback))
        assert np.isfinite(model.parameters).all()
        found.append((model.parameters, caught.value.epoch))
        if caught.value.epoch == len(callback.kept) + 1:
            np.testing.assert_array_equal(model.parameters, callback.kept[-1])
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def test_an_error_in_a_callback_reaches_the_caller_and_the_model_goes_on():
    def fail(model, epoch, logs):
        raise RuntimeError("mine")

    model = classifier()
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X, Y, epochs=10, callbacks=[fail])
    assert not model._training.busy
    assert model.history.epochs == 1
    twin = classifier()
    twin.fit(X, Y, epochs=2)
    model.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(model.parameters, twin.parameters)


def test_another_kind_of_optimizer_is_refused_within_a_fit():
    def change(model, epoch, logs):
        model.optimizer = Adam()

    for optimizer in (SGD(0.1), AdamW(), Adam(clip_norm=1.0)):
        model = classifier(optimizer=optimizer)
        with pytest.raises(ValueError, match="which is of another kind than"):
            model.fit(X, Y, epochs=2, callbacks=[change])
        assert model.optimizer is optimizer


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"callbacks": 3}, TypeError, "callbacks must be a list of callables"),
        ({"callbacks": [3]}, TypeError, r"but callbacks\[0\] is 3"),
        ({"callbacks": [EarlyStopping]}, TypeError, r"Pass EarlyStopping\(\)"),
        (
            {"callbacks": [EarlyStopping()]},
            ValueError,
            "monitors 'val_cost', but this fit logs only 'cost'. Pass valida",
        ),
        ({"callbacks": [EarlyStopping("accuracy")]}, ValueError, r"only 'cost'. Pass metrics=\['accuracy'\] to fit"),
        ({"callbacks": [ReduceOnPlateau("lost")]}, ValueError, "ReduceOnPlateau monitors 'lost'"),
        ({"metrics": ["accurate"]}, ValueError, "metrics must be from 'accuracy'"),
        ({"validation_data": X_VAL}, TypeError, r"validation_data must be \(X, y\) or \(X, y, sample_weight\), not"),
        ({"validation_data": (X_VAL,) * 5}, TypeError, r"or \(X, y, sample_weight\), not a tuple of 5"),
        ({"validation_data": (X_VAL[:, :2], Y_VAL)}, ValueError, "In validation_data: X has 2 features"),
        ({"validation_data": (X_VAL, Y_VAL), "validation_split": 0.1}, ValueError, "validation_split, not both"),
        ({"validation_split": 1.0}, ValueError, "validation_split must be a number of at least 0 and less than 1"),
    ],
)
def test_what_is_refused_before_anything_changes(settings, error, message):
    model = classifier()
    before = model.parameters.copy()
    with pytest.raises(error, match=message):
        model.fit(X, Y, epochs=1, **settings)
    np.testing.assert_array_equal(model.parameters, before)
    assert model.history is None


def test_what_is_refused_leaves_a_model_unbuilt_and_callbacks_as_they_were():
    stopping = EarlyStopping("cost")
    stopping.best = 0.5
    model = Model([Dense(1, "sigmoid")], optimizer=SGD(lambda epoch: 0.1 if epoch < 2 else -1.0))
    for settings in ({}, {"validation_data": (X_VAL[:, :2], Y_VAL)}):
        with pytest.raises(ValueError, match=r"learning_rate\(2\) must|X has 2 features, but the X"):
            model.fit(X, Y, epochs=3, callbacks=stopping, **settings)
    assert (model._parameters, model.history, stopping.best) == (None, None, 0.5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping(3), TypeError, "monitor must be the name of a logged value"),
        (lambda: EarlyStopping(patience=0), ValueError, "patience must be at least 1"),
        (lambda: EarlyStopping(min_delta=-1), ValueError, "min_delta must be a finite number of at least 0"),
        (lambda: ReduceOnPlateau(factor=1.0), ValueError, "factor must be a number greater than 0 and less than 1"),
        (lambda: ReduceOnPlateau(cooldown=-1), ValueError, "cooldown must be at least 0"),
    ],
)
def test_wrong_settings_of_callbacks(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_features_on_a_bad_scale_are_warned_of_before_the_first_fit_alone():
    unscaled = X * [1, 1e4, 0, 1]
    model = classifier()
    with pytest.warns(UserWarning, match=r"feature 1 has mean .* and spread [\d.e+]*\. Put Standardize\(\) first"):
        model.fit(unscaled, Y, epochs=1)
    model.fit(unscaled, Y, epochs=1)
    classifier().fit(X * [1, 10, 0, 1], Y, epochs=1)
    Model.fit(make_model((4, 1), ("linear",)), np.zeros((3, 4)), np.zeros(3), epochs=1)


def test_callbacks_print_their_settings():
    expected = "EarlyStopping(monitor='val_cost', patience=10, min_delta=0.0, restore_best=True, ties='first')"
    assert repr(EarlyStopping()) == expected
    assert "cooldown=0" in repr(ReduceOnPlateau())
    assert History().val_cost == []


# -------------------------------------------------------------------------------------------------------- time limit


def test_a_time_limit_ends_the_fit_after_the_epoch_in_which_it_is_over(monkeypatch):
    clock = itertools.count(step=10)  # ten seconds from one look at the clock to the next
    monkeypatch.setattr("fastnet.callbacks.time.monotonic", lambda: next(clock))
    model = Model([Dense(1, "sigmoid")], seed=0)
    history = model.fit(np.ones((4, 1)), [0, 1, 0, 1], epochs=100, callbacks=TimeLimit(35))
    assert (history.epochs, history.stopped_reason) == (4, "time_limit")


def test_a_time_limit_must_be_a_positive_number():
    for wrong in (0, -1, np.inf, "1", None, True):
        with pytest.raises((TypeError, ValueError), match="seconds must be a finite number greater than 0"):
            TimeLimit(wrong)
    assert repr(TimeLimit(3)) == "TimeLimit(3.0)"
