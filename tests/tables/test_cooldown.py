"""The cooldown: in the end networks train on with all rows, at a rate that falls to 0."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from fastnet import AdamW
from fastnet.schedules import ByStep, CosLog
from fastnet.tables import TableClassifier, TableRegressor
from fastnet.tables.networks import COOLDOWN_RATE, EARLY, NetworkSettings, falling
from fastnet.tables.rows import distinct_rows

SETTINGS = {"n_nets": 2, "hidden_layer_sizes": (8,), "epochs": 16, "patience": 16, "random_state": 0}
BOTH = [(TableClassifier, {"calibrate": False, "scoring": "neg_log_loss"}), (TableRegressor, {})]


def table(m=130, seed=0):
    X = np.random.default_rng(seed).standard_normal((m, 3))
    return X, X @ [1.0, -2.0, 0.5] + np.abs(X[:, 0])


def fitted(kind, own, y, **given):
    X, values = table()
    target = values > 0 if kind is TableClassifier else values
    return kind(**SETTINGS, **own, **given).fit(X, target, **y)


@pytest.mark.jit
@pytest.mark.parametrize("validates", [False, True])
@pytest.mark.parametrize(("kind", "own"), BOTH)
def test_it_goes_on_with_all_rows_and_none_to_validate_with(kind, own, validates, monkeypatch):
    X, values = table()
    others, of_others = table(33, seed=1)
    given = {"eval_set": (others, of_others > 0 if kind is TableClassifier else of_others)} if validates else {}
    model = fitted(kind, own, given)
    monkeypatch.setattr("fastnet.tables.base.FewRows", lambda *_: None)  # which makes parameters read-only
    before = fitted(kind, own, given, cooldown=0)
    best = [history.kept_epoch for history in before.history_]
    epochs = round(0.5 * (np.mean(best) - EARLY))
    assert epochs >= 2
    C = model.encoder_.compact(X, np.float32)
    y = before._for_networks(np.asarray(values > 0).astype(int) if kind is TableClassifier else values)
    rows = distinct_rows(C, values > 0 if kind is TableClassifier else values, None).rows
    assert len(rows) == 130
    rate = COOLDOWN_RATE * model.learning_rate
    for network, expected in zip(model.model_, before.model_, strict=True):
        first, optimizer = expected.epochs_finished, expected.optimizer
        falling_rate = ByStep(lambda epoch, first=first: rate * (1 - (epoch - first) / epochs))
        expected.optimizer = AdamW(falling_rate, beta2=0.95, weight_decay=0.0)
        expected.fit(
            C[rows], y[rows], epochs=epochs, batch_size=32, verbose=False,
            label_smoothing=0.1 if kind is TableClassifier else 0.0,
        )  # fmt: skip
        np.testing.assert_array_equal(network.parameters, expected.parameters)
        assert network.optimizer == optimizer
        assert isinstance(network.optimizer.learning_rate.schedule, CosLog)


@pytest.mark.jit
@pytest.mark.parametrize(("kind", "own"), [(TableClassifier, {"scoring": "neg_log_loss"}), (TableRegressor, {})])
def test_what_is_learned_of_rows_held_out_is_of_networks_that_have_not_seen_them(kind, own):
    model, before = fitted(kind, own, {}), fitted(kind, own, {}, cooldown=0)
    X, _ = table()
    ask = "predict_proba" if kind is TableClassifier else "predict"
    assert np.abs(getattr(model, ask)(X) - getattr(before, ask)(X)).max() > 1e-3
    np.testing.assert_array_equal(model.oof_prediction_, before.oof_prediction_)
    np.testing.assert_array_equal(model.feature_importances_, before.feature_importances_)
    if kind is TableClassifier:
        assert model.temperature_ == before.temperature_ != 1
    else:
        for found, expected in zip(model._errors, before._errors, strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.jit
def test_predictions_out_of_fold_are_at_the_temperature():
    model = fitted(TableClassifier, {"scoring": "neg_log_loss"}, {}, cooldown=0)
    X, _ = table()
    C = model.encoder_.compact(X, np.float32)
    found = np.stack([network.forward(C) for network in model.model_])
    is_held_out = ~np.isnan(model.oof_prediction_[:, 0])
    near = np.abs(found - model.oof_prediction_).max(axis=2).min(axis=0)
    assert model.temperature_ != 1
    assert near[is_held_out].max() < 1e-5


def test_networks_that_are_best_early_do_not_cool_down():
    settings = NetworkSettings.of(TableRegressor())
    early = [[0], [EARLY], [EARLY - 2, EARLY + 2]]
    assert [settings.cooldown_epochs(best) for best in early] == [0, 0, 0]
    assert settings.cooldown_epochs([EARLY + 8, EARLY + 12]) == 5
    assert NetworkSettings.of(TableRegressor(cooldown=0)).cooldown_epochs([60]) == 0


def test_the_rate_falls_to_nothing_in_a_straight_line():
    rate = falling(0.5, first=7, epochs=4)
    np.testing.assert_allclose([rate(7), rate(8), rate(9.5), rate(11)], [0.5, 0.375, 0.1875, 0], rtol=1e-15)


@pytest.mark.jit
def test_a_time_limit_ends_it_too():
    X, y = table(1000)
    model = TableRegressor(2, hidden_layer_sizes=(8,), epochs=10**4, patience=10**4, cooldown=1e3, random_state=0)
    model.set_params(time_limit=0.5).fit(X, y)
    assert {network.history.stopped_reason for network in model.model_} == {"time_limit"}


@pytest.mark.parametrize("time_limit", [None, 1.0])
@pytest.mark.parametrize("cooldown", [-1, np.nan, "long", None, 1e20, 1e308])
def test_it_must_be_a_number(cooldown, time_limit):
    """Before anything is trained: of 1e20, there were too many epochs."""
    with pytest.raises((TypeError, ValueError), match="cooldown must be a number of at least 0 and below 10000"):
        TableRegressor(cooldown=cooldown, time_limit=time_limit, hidden_layer_sizes=(8,)).fit(*table())
