"""`Pruning` tells an Optuna trial of each epoch, and ends what the study's pruner does not want to go on."""

import itertools
import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnet import Adam, Checkpoint, Dense, EarlyStopping, Model, Pruning
from fastnet.callbacks import Callback

optuna = pytest.importorskip("optuna")

pytestmark = pytest.mark.jit

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
Y = (X[:, 0] > X[:, 1]).astype(int)


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(logging.WARNING)


class Trial:
    """Keeps what is reported, and is to be pruned as soon as it was told of an epoch."""

    def __init__(self, pruned_at=None):
        self.pruned_at, self.reported = pruned_at, []

    def report(self, value, step):
        self.reported.append((step, value))

    def should_prune(self):
        return self.reported[-1][0] == self.pruned_at


class Told(Callback):
    """Notes whether it was told of the end."""

    def __call__(self, model, epoch, logs):
        pass

    def finish(self, model):
        self.reason = "finished"


def made():
    return Model([Dense(4, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(0.05), seed=0)


def fit(model, **settings):
    return model.fit(X, Y, **{"epochs": 8, "validation_split": 0.25} | settings)


@pytest.mark.parametrize(
    ("monitor", "name"),
    [("val_cost", "val_cost"), ("val_loss", "val_cost"), ("loss", "cost"), ("val_acc", "val_accuracy")],
)
def test_each_epoch_is_reported_and_the_fit_goes_on(monitor, name):
    trial, plain = Trial(), made()
    model = made()
    history = fit(model, metrics=["accuracy"], callbacks=Pruning(trial, monitor))
    values = getattr(history, name) if name != "val_accuracy" else history.val_accuracy
    assert trial.reported == list(enumerate(values))
    assert (history.epochs, history.stopped_reason) == (8, "epochs")
    fit(plain, metrics=["accuracy"])
    np.testing.assert_array_equal(model.parameters, plain.parameters)


@pytest.mark.parametrize("first", [True, False])
def test_a_pruned_fit_ends_in_good_order_and_raises_what_optuna_waits_for(first):
    """Wherever it stands: the others are told of the end, and the parameters are those of the epochs there were."""
    told, stopping = Told(), EarlyStopping(patience=99)
    model, twin, pruning = made(), made(), Pruning(Trial(pruned_at=2))
    with pytest.raises(optuna.TrialPruned, match="epoch 2") as raised:
        fit(model, callbacks=[pruning, told, stopping] if first else [told, stopping, pruning])
    assert raised.type is optuna.TrialPruned
    assert (model.history.epochs, model.history.stopped_reason) == (3, "pruned")
    assert told.reason == "finished"
    assert model.history.kept_epoch == stopping.best_epoch == 2
    fit(twin, epochs=3)
    np.testing.assert_array_equal(model.parameters, twin.parameters)
    assert model.epochs_finished == 3
    assert fit(model, epochs=1).epochs == 1  # it can be trained on


def test_one_that_is_used_again_begins_anew():
    pruning = Pruning(Trial(pruned_at=2))
    with pytest.raises(optuna.TrialPruned):
        fit(made(), callbacks=pruning)
    pruning.trial.pruned_at = None
    assert fit(made(), callbacks=pruning).stopped_reason == "epochs"


def test_a_fit_that_does_not_log_what_is_reported_is_refused():
    model = made()
    with pytest.raises(
        ValueError, match=r"Pruning monitors 'val_cost', but this fit logs only 'cost'\. Pass validation"
    ):
        model.fit(X, Y, callbacks=Pruning(Trial()))
    with pytest.raises(TypeError, match="monitor must be the name of a logged value"):
        Pruning(Trial(), 3)
    assert model._parameters is None


def test_what_is_no_trial_is_refused():
    study = optuna.create_study()
    for wrong in (study, None, "trial", Trial):
        with pytest.raises(TypeError, match=r"trial must be an optuna.Trial, as an objective is given it, not "):
            Pruning(wrong)
    assert repr(Pruning(optuna.trial.FixedTrial({}), "val_loss")).endswith("monitor='val_cost')")
    history = fit(made(), callbacks=Pruning(optuna.trial.FixedTrial({})))  # which is never pruned
    assert history.stopped_reason == "epochs"


def test_without_optuna_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"Pruning needs optuna: pip install optuna\.") as raised:
        Pruning(Trial())
    assert raised.value.name == "optuna"


@pytest.mark.parametrize(
    ("direction", "monitor", "advice"),
    [("maximize", "val_cost", "is better the less"), ("minimize", "val_accuracy", "is better the more")],
)
def test_a_study_that_goes_the_other_way_is_refused(direction, monitor, advice):
    """The best would be pruned, without a word."""
    model = made()
    with pytest.raises(
        ValueError, match=f"Pruning monitors '{monitor}', which {advice} it is, but the study {direction[:-1]}"
    ):
        fit(model, metrics="accuracy", callbacks=Pruning(optuna.create_study(direction=direction).ask(), monitor))
    assert model._parameters is None
    other = {"maximize": "minimize", "minimize": "maximize"}[direction]
    fit(model, metrics="accuracy", callbacks=Pruning(optuna.create_study(direction=other).ask(), monitor))


def test_pruned_trials_of_a_study_end_early():
    """Of two kinds of networks, those that cannot learn, of which one has begun to be compared, are pruned."""
    epochs = []

    def objective(trial):
        rate = 0.1 if trial.number < 3 else 1e-9
        model = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], optimizer=Adam(rate), seed=0)
        try:
            return fit(model, epochs=20, callbacks=Pruning(trial)).val_cost[-1]
        finally:
            epochs.append(model.history.epochs)

    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=4))
    study.optimize(objective, n_trials=5)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3 + ["PRUNED"] * 2
    assert epochs == [20] * 3 + [5] * 2
    for trial, n in zip(study.trials, epochs, strict=True):
        assert list(trial.intermediate_values) == list(range(n))


def test_a_pruned_fit_that_goes_on_from_its_checkpoint_stays_pruned(tmp_path):
    """As where the process was killed before the study heard of it."""
    checkpoint = Checkpoint(tmp_path, most_time=1.0)
    with pytest.raises(optuna.TrialPruned):
        fit(made(), callbacks=[checkpoint, Pruning(Trial(pruned_at=2))])
    model, trial = made(), Trial()
    with pytest.raises(optuna.TrialPruned, match="epoch 2"):
        fit(model, callbacks=[checkpoint, Pruning(trial)], resume=tmp_path)
    assert (model.history.epochs, model.history.stopped_reason) == (3, "pruned")
    assert trial.reported == []


def test_a_killed_fit_goes_on_reporting(tmp_path):
    class Killed(BaseException):
        pass

    def kill(model, epoch, logs):
        if epoch == 3:
            raise Killed

    whole, trials = made(), [Trial(), Trial()]
    fit(whole)
    with pytest.raises(Killed):
        fit(made(), callbacks=[Checkpoint(tmp_path, most_time=1.0), Pruning(trials[0]), kill])
    model = made()
    fit(model, callbacks=[Pruning(trials[1]), lambda *_: None], resume=tmp_path)
    assert trials[0].reported[:3] + trials[1].reported == list(enumerate(whole.history.val_cost))
    np.testing.assert_array_equal(model.parameters, whole.parameters)
    with pytest.raises(ValueError, match="resume: the fit that would go on had callbacks="):
        fit(made(), callbacks=[EarlyStopping()], resume=tmp_path)


@pytest.mark.parametrize(("held_out", "monitor"), [(True, "val_cost"), (True, "val_score"), (False, "cost")])
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_the_drop_ins_report_and_are_pruned(kind, held_out, monitor):
    pytest.importorskip("sklearn")
    from fastnet import sklearn

    settings = {"max_iter": 8, "random_state": 0, "hidden_layer_sizes": (4,), "early_stopping": held_out}
    direction = "maximize" if monitor == "val_score" else "minimize"
    trial = optuna.create_study(direction=direction).ask()
    whole = getattr(sklearn, kind)(**settings, callbacks=Pruning(trial, monitor)).fit(X, Y)
    curves = {
        "cost": whole.loss_curve_,
        "val_cost": getattr(whole, "validation_loss_curve_", None),
        "val_score": whole.validation_scores_,
    }
    assert list(trial._cached_frozen_trial.intermediate_values.values()) == curves[monitor]
    pruned, told = getattr(sklearn, kind)(**settings), Told()
    with pytest.raises(optuna.TrialPruned):
        pruned.set_params(callbacks=[Pruning(Trial(pruned_at=2), monitor), told]).fit(X, Y)
    assert told.reason == "finished"
    assert pruned.n_iter_ == 3
    twin = getattr(sklearn, kind)(**settings).set_params(max_iter=3).fit(X, Y)
    np.testing.assert_array_equal(pruned.predict(X), twin.predict(X))
    for found, expected in zip(pruned.coefs_, twin.coefs_, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_drop_in_without_held_out_examples_is_refused():
    pytest.importorskip("sklearn")
    from fastnet.sklearn import MLPClassifier

    with pytest.raises(ValueError, match=r"Pruning monitors 'val_cost'.*Pass eval_set to fit, or early_stopping=True"):
        MLPClassifier(callbacks=Pruning(Trial())).fit(X, Y)
    trial = optuna.create_study(direction="minimize").ask()
    with pytest.raises(ValueError, match="Pruning monitors 'val_score', which is better the more it is"):
        MLPClassifier(callbacks=Pruning(trial, "val_score"), early_stopping=True).fit(X, Y)


def test_two_processes_search_over_one_file(tmp_path):
    """The script of the recipe: every trial has its result, trials overlap, and those that are pruned end early.

    But for one that the other process makes hopeless in its last epoch.
    """
    page = (Path(__file__).parent.parent / "docs" / "recipes" / "optuna.md").read_text()
    (script,) = re.findall(r'^```{[^\n]*title="~/search.py"}\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    (tmp_path / "search.py").write_text(script)
    done = subprocess.run([sys.executable, "search.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("20 trials, the best {'width':")
    study = optuna.load_study(study_name="width and rate", storage=f"sqlite:///{tmp_path / 'study.db'}")
    n_epochs = {trial.number: len(trial.intermediate_values) for trial in study.trials}
    pruned = {trial.number for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED}
    completed = {trial.number for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE}
    assert sorted(pruned | completed) == list(range(20))
    assert all(trial.value == trial.intermediate_values[39] for trial in study.trials if trial.number in completed)
    assert sum(n_epochs[number] < 40 for number in pruned) > len(pruned) / 2
    by_time = sorted(study.trials, key=lambda trial: trial.datetime_start)
    assert any(later.datetime_start < earlier.datetime_complete for earlier, later in itertools.pairwise(by_time))


def test_a_copy_reports_to_the_same_trial():
    """scikit-learn copies what it clones, and TransformedTargetRegressor clones what it fits."""
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import StandardScaler

    from fastnet.sklearn import MLPRegressor

    X = np.random.default_rng(0).standard_normal((65, 3))
    study = optuna.create_study(direction="maximize")
    trial = study.ask()
    regressor = MLPRegressor(
        hidden_layer_sizes=(4,), max_iter=3, tol=0, early_stopping=True, callbacks=Pruning(trial, "val_score"),
        random_state=0,
    )  # fmt: skip
    assert clone(regressor).callbacks.trial is trial
    with pytest.warns(UserWarning, match="Maximum iterations"):
        TransformedTargetRegressor(regressor, transformer=StandardScaler()).fit(X, X[:, 0])
    assert sorted(study.trials[0].intermediate_values) == [0, 1, 2]
