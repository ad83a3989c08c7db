"""Several networks at once: each to the bit as by itself, on rows of one table that nobody copies."""

import _thread
import copy
import functools
import threading
import time
import tracemalloc
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

import fastnet
from fastnet import (
    SGD,
    Adam,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    Model,
    Pruning,
    ReduceOnPlateau,
    Standardize,
    TrainingDivergedError,
    train_many,
)
from fastnet.engine import memory
from fastnet.engine.threads import available_cores
from fastnet.many.team import Fits, ManyProgress

DTYPES = ["float32", "float64"]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """Let there be two, so that two threads work wherever the tests run."""
    monkeypatch.setattr("fastnet.engine.threads.available_cores", lambda: max(2, available_cores()))


def table(m, n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n))
    return X, (X.sum(axis=1) > 0.3).astype(float)


def classifiers(k, dtype="float32", hidden=5, **settings):
    settings = {"optimizer": Adam(0.02), **settings}
    return [
        Model([Dense(hidden, "tanh"), Dense(1, "sigmoid")], dtype=dtype, seed=seed, **settings) for seed in range(k)
    ]


def rows_of_each(k, m, seed=1):
    """Return a mask, row numbers in any order, a bootstrap that is longer than the table, all rows; over and over."""
    rng = np.random.default_rng(seed)
    kinds = [
        rng.random(m) < 0.6,
        rng.permutation(m)[: m // 2 + 1],
        rng.integers(0, m, m + 7),
        slice(None),
    ]
    return [kinds[i % 4] for i in range(k)]


def loop(
    models, X, y, rows, validation_rows=None, sample_weight=None, validation_sample_weight=None, **settings
):  # fmt: skip
    """Return the histories of fits one after the other, of copies."""
    found = []
    for number, model in enumerate(models):
        chosen = rows[number]
        held_out = None
        if validation_rows is not None:
            held_out = X[validation_rows[number]], y[validation_rows[number]]
            if validation_sample_weight is not None:
                held_out = (*held_out, validation_sample_weight[validation_rows[number]])
        own = dict(settings)
        if isinstance(settings.get("batch_size"), list):
            own["batch_size"] = settings["batch_size"][number]
        if "callbacks" in settings:
            own["callbacks"] = copy.deepcopy(settings["callbacks"])
        weight = None if sample_weight is None else sample_weight[chosen]
        found.append(model.fit(X[chosen], y[chosen], validation_data=held_out, sample_weight=weight, **own))
    return found


def without_slices(rows):
    return [None if isinstance(each, slice) else each for each in rows]


def assert_same(models, others, histories, other_histories):
    for model, other, history, expected in zip(models, others, histories, other_histories, strict=True):
        np.testing.assert_array_equal(model.parameters, other.parameters, strict=True)
        np.testing.assert_array_equal(model._optimizer_state.moments, other._optimizer_state.moments, strict=True)
        assert history is model.history
        assert history.cost == expected.cost
        assert history.val_cost == expected.val_cost
        assert history.metrics == expected.metrics
        assert history.stopped_reason == expected.stopped_reason
        assert history.kept_epoch == expected.kept_epoch
        assert model.epochs_finished == other.epochs_finished


def assert_as_a_loop(make, X, y, rows, threads=2, again=False, **settings):
    """Assert that `train_many` gives the bits of fits one by one; of new models, and going on."""
    models, others = make(), make()
    of_loop = dict(settings)
    validation_rows = of_loop.pop("validation_rows", None)
    for _ in range(1 + again):
        expected = loop(others, X, y, rows, validation_rows, verbose=False, **of_loop)
        given = {**of_loop, "validation_rows": None if validation_rows is None else without_slices(validation_rows)}
        found = train_many(models, X, y, without_slices(rows), threads=threads, verbose=False, **given)
        assert_same(models, others, found, expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n"), [(33, 1), (33, 17), (65, 7), (130, 1), (130, 17)])
def test_each_is_to_the_bit_as_by_itself(m, n, dtype, threads):
    X, y = table(m, n)
    rows = rows_of_each(5, m)
    assert_as_a_loop(
        lambda: classifiers(5, dtype), X.astype(dtype), y, rows, threads, again=True, epochs=4,
        validation_rows=rows[::-1], metrics=["accuracy", "auc"],
    )  # fmt: skip


SETTINGS = {
    "in order": {"shuffle": False, "metrics": ["log_loss"]},
    "in order, one batch": {"shuffle": False, "batch_size": None, "metrics": ["log_loss"]},
    "all at once": {"batch_size": None},
    "one at a time": {"batch_size": 1},
    "batches of their own": {"batch_size": [1, 7, None, 300]},
    "balanced": {"class_weight": "balanced"},
    "weights by class": {"class_weight": {0: 0.5, 1: 3.0}},
    "smooth labels": {"label_smoothing": 0.1},
    "validation": {"validated": True, "metrics": ["accuracy", "log_loss"]},
    "early stopping": {
        "epochs": 40, "callbacks": [EarlyStopping(patience=2, restore_best=True), ReduceOnPlateau(patience=1)],
        "validated": True,
    },
}  # fmt: skip


@pytest.mark.jit
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_is_that_of_fit(name, weighted):
    X, y = table(130, 7)
    rows, settings = rows_of_each(4, 130), {"epochs": 5, **SETTINGS[name]}
    if settings.pop("validated", False):
        settings["validation_rows"] = rows_of_each(4, 130, seed=5)
    if weighted:
        settings["sample_weight"] = np.random.default_rng(2).random(130) * (np.arange(130) % 5 > 0)
    if weighted and "validation_rows" in settings:
        settings["validation_sample_weight"] = np.random.default_rng(3).random(130) * (np.arange(130) % 7 > 0)
    assert_as_a_loop(lambda: classifiers(4), X, y, rows, **settings)


@pytest.mark.jit
def test_batches_are_longer_than_a_chunk():
    X, y = table(1700, 3)
    rows = rows_of_each(4, 1700)
    for settings in ({"batch_size": 900}, {"batch_size": None}, {"shuffle": False, "batch_size": 1024}):
        assert_as_a_loop(lambda: classifiers(4), X, y, rows, epochs=3, validation_rows=rows, metrics="auc", **settings)


def mixed_models():
    """Return networks that have little in common but the number of outputs."""
    first = Model([Dense(3, "relu"), Dense(1)], optimizer=SGD(0.01), standardize_y=True, seed=1)
    shared = np.random.default_rng(7)  # from which several draw, in their order
    return [
        first,
        Model([Standardize(), Dense(4, "tanh"), Dense(1)], optimizer="adam", seed=2),
        Model([Standardize(), Dense(4, "tanh"), Dense(1)], optimizer="adam", seed=2, standardize_y=True),
        Model([Dense(8, "relu"), Dropout(0.4), Dense(1)], dtype="float64", optimizer="rmsprop", seed=shared),
        Model([Dense(6, "tanh"), Dense(1)], loss="huber", optimizer="adam", seed=shared, l2=0.1),
        Model([Dense(5, "relu"), Dense(5, "tanh"), Dense(1)], dtype="float64", standardize_y=True, seed=5),
    ]


def test_models_may_differ_in_all_but_their_table():
    X, y = table(65, 7)
    y = 3 * X[:, 0] - X[:, 1] + 0.1 * y + 2
    weights = np.random.default_rng(1).random(65)
    rows = rows_of_each(6, 65)
    for given in (X, X.astype(np.float32)):
        assert_as_a_loop(
            mixed_models, given, y, rows, again=True, epochs=4, validation_rows=rows[::-1], sample_weight=weights,
            metrics=["r2", "mae"],
        )  # fmt: skip


@pytest.mark.parametrize("as_rows", [False, True])
def test_classes_and_several_outputs(as_rows):
    X, _ = table(65, 7)
    y = np.argmax(X[:, :3], axis=1)
    y = np.eye(3)[y] if as_rows else y

    def models():
        return [Model([Dense(6, "relu"), Dense(3, "softmax")], optimizer="adam", seed=seed) for seed in range(4)]

    rows = rows_of_each(4, 65)
    assert_as_a_loop(
        models, X, y, rows, epochs=4, validation_rows=rows, metrics=["accuracy"], class_weight="balanced"
    )  # fmt: skip


@pytest.mark.jit
def test_a_table_in_a_file_is_read_some_rows_at_a_time(tmp_path):
    X, y = table(1300, 7)
    np.save(tmp_path / "X.npy", X)  # of float64, for networks of float32
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")

    def models():
        found = classifiers(4)
        found[1] = Model([Standardize(), Dense(4, "tanh"), Dense(1, "sigmoid")], seed=3)
        return found

    rows = rows_of_each(4, 1300)
    assert_as_a_loop(models, mapped, y, rows, epochs=3, validation_rows=rows)


def test_data_frames_give_their_names():
    pandas = pytest.importorskip("pandas")
    X, y = table(65, 2)
    frame = pandas.DataFrame(X, columns=["a", "b"])
    models, others = classifiers(2), classifiers(2)
    rows = [np.arange(40), np.arange(20, 65)]
    train_many(models, frame, y, rows, epochs=2)
    for model, other, each in zip(models, others, rows, strict=True):
        other.fit(frame.iloc[each], y[each], epochs=2)
        np.testing.assert_array_equal(model.parameters, other.parameters)
        assert model.feature_names == ("a", "b")
    with pytest.raises(ValueError, match="another order"):
        train_many(models, frame[["b", "a"]], y, rows, epochs=2)


def test_without_rows_all_train_on_all():
    X, y = table(33, 7)
    models, others = classifiers(3), classifiers(3)
    histories = train_many(models, X, y, epochs=3)
    assert_same(models, others, histories, [other.fit(X, y, epochs=3) for other in others])


def test_callbacks_that_are_functions_get_each_model():
    X, y = table(33, 7)
    models, calls = classifiers(3), []

    def stop(model, epoch, logs):
        calls.append((model, epoch, threading.get_ident()))
        return epoch == models.index(model)

    histories = train_many(models, X, y, callbacks=stop, epochs=9, threads=2)
    assert [history.epochs for history in histories] == [1, 2, 3]
    assert sorted((models.index(model), epoch) for model, epoch, _ in calls) == [
        (i, e) for i in range(3) for e in range(i + 1)
    ]


def test_methods_and_partial_functions_are_functions():
    """Who notes what comes, in an object of its own, finds it there."""

    class Notes:
        def __init__(self):
            self.epochs = []

        def note(self, model, epoch, logs):
            self.epochs.append(epoch)

    def note_in(found, model, epoch, logs):
        found.append(epoch)

    X, y = table(33, 3)
    notes, found = Notes(), []
    train_many(classifiers(2), X, y, epochs=2, callbacks=[notes.note, functools.partial(note_in, found)])
    assert sorted(notes.epochs) == sorted(found) == [0, 0, 1, 1]


def test_two_are_trained_at_a_time_and_cores_are_reserved_once():
    X, y = table(33, 7)
    models, both, seen = classifiers(2), threading.Barrier(2, timeout=20), []

    def meet(model, epoch, logs):
        both.wait()
        seen.append(sum(fastnet.engine.threads._reserved.values()))

    train_many(models, X, y, callbacks=meet, epochs=2, threads=2)
    assert seen == [2] * 4
    assert not fastnet.engine.threads._reserved


def test_where_no_thread_can_be_started_this_one_does_all(monkeypatch):
    monkeypatch.setattr("fastnet.engine.threads.THREADS_ARE_REAL", False)
    X, y = table(33, 7)
    assert_as_a_loop(lambda: classifiers(3), X, y, rows_of_each(3, 33), epochs=2)


# ----------------------------------------------------------------------------------------------------------- warnings


def test_scales_are_warned_of_once_and_costs_as_by_fit():
    X, y = table(33, 2)
    with pytest.warns(UserWarning, match="The features of X are far") as found:
        train_many(classifiers(3), 1000 + X, y, epochs=1)
    assert len(found) == 1
    assert found[0].filename == __file__
    models = [Model([Dense(2, "relu"), Dense(1, "sigmoid")], optimizer=SGD(1e-9), seed=seed) for seed in range(2)]
    with pytest.warns(UserWarning, match="The cost has not fallen") as found:
        histories = train_many(models, X, y, [np.arange(20), None], epochs=12)
    assert [history.stopped_reason for history in histories] == ["not_fallen"] * 2
    assert found[0].filename == __file__


@pytest.mark.parametrize("terminal", [False, True])
def test_a_line_counts_the_networks(terminal, capsys, monkeypatch):
    X, y = table(33, 2)
    monkeypatch.setattr("fastnet.engine.progress.is_terminal", lambda stream: terminal)
    train_many(classifiers(3), X, y, epochs=2, verbose="auto" if terminal else True)
    shown = capsys.readouterr().out
    for number in (1, 2, 3):
        assert f"network {number}/3  cost 0." in shown
    assert shown.count("\n") == (1 if terminal else 3)
    train_many(classifiers(3), X, y, epochs=2, verbose=False)
    assert not capsys.readouterr().out


# -------------------------------------------------------------------------------------------------------------- errors

M = 33
TRIAL = SimpleNamespace(report=print, should_prune=bool)


def shared_layer():
    layer = Dense(3, "tanh")
    return [Model([layer, Dense(1, "sigmoid")]), Model([layer, Dense(1, "sigmoid")])]


class Locked:
    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, model, epoch, logs):
        pass


class Blocks:
    """A stream without blocks."""

    def __iter__(self):
        return iter(())


BAD = {
    "no model": ({"models": []}, ValueError, "models is empty"),
    "a model alone": ({"models": classifiers(1)[0]}, TypeError, "models must be a sequence of Models"),
    "a number": ({"models": 3}, TypeError, "models must be a sequence of Models"),
    "no Model": ({"models": [classifiers(1)[0], "adam"]}, TypeError, r"models\[1\] must be a Model"),
    "twice": ({"models": classifiers(1) * 2}, ValueError, r"models\[1\] is models\[0\] again"),
    "a layer twice": ({"models": shared_layer()}, ValueError, r"models\[1\] has a layer, Dense.* that models\[0\]"),
    "one entry": ({"rows": [np.arange(3)]}, ValueError, "rows must have an entry for each of the 2 models, but has 1"),
    "one for all": ({"rows": np.arange(M)}, ValueError, "for each of the 2 models, but has 33"),
    "numbers": ({"rows": [1, 2]}, ValueError, r"rows\[0\] must be row numbers \(n,\), or a mask \(33,\)"),
    "a text": ({"rows": "ab"}, TypeError, "rows must be None, or a sequence"),
    "too large": ({"rows": [[0], [0, M]]}, ValueError, r"rows\[1\] has 1 value.* not from 0 to 32.*rows\[1\]\[1\]"),
    "negative": ({"rows": [[0], [0, -1]]}, ValueError, r"rows\[1\] has .*not from 0 to 32"),
    "none": ({"rows": [[0], []]}, ValueError, r"rows\[1\] chooses no row"),
    "an empty mask": ({"rows": [[0], np.zeros(M, bool)]}, ValueError, r"rows\[1\] chooses no row"),
    "a short mask": ({"rows": [[0], np.ones(M - 1, bool)]}, ValueError, r"rows\[1\] is a mask of 32 rows, but X has"),
    "floats": ({"rows": [[0], [0.0, 1.0]]}, TypeError, r"rows\[1\] must hold integers.* not float64"),
    "ragged": ({"rows": [[0], [[0], [1, 2]]]}, ValueError, r"rows\[1\] must be row numbers"),
    "held out": ({"validation_rows": [[0], [M]]}, ValueError, r"validation_rows\[1\] has .*not from 0"),
    "none held out": ({"validation_rows": [[0], []]}, ValueError, r"validation_rows\[1\] chooses no row"),
    "no weight": (
        {"rows": [[0], [1, 2]], "sample_weight": np.arange(M) % 3 == 0}, ValueError,
        r"For models\[1\]: sample_weight is zero for every example",
    ),
    "no weight held out": (
        {"validation_rows": [[0], [1, 2]], "validation_sample_weight": np.arange(M) % 3 == 0}, ValueError,
        r"For models\[1\]: validation_sample_weight is zero for every example",
    ),
    "weights of none": (
        {"validation_sample_weight": np.ones(M)}, ValueError, "validation_sample_weight belongs to validation_rows",
    ),
    "a negative weight": (
        {"validation_rows": [[0], [1]], "validation_sample_weight": np.arange(M) - 9.0}, ValueError,
        "validation_sample_weight has .*negative",
    ),
    "too few weights": (
        {"validation_rows": [[0], [1]], "validation_sample_weight": np.ones(M - 1)}, ValueError,
        r"validation_sample_weight must have shape \(33,\)",
    ),
    "batches": ({"batch_size": [3]}, ValueError, "batch_size must have an entry for each of the 2 models"),
    "ragged batches": ({"batch_size": [3, [4]]}, TypeError, r"batch_size\[1\] must be an integer"),
    "a batch": ({"batch_size": [3, 0]}, ValueError, r"batch_size\[1\] must be at least 1"),
    "batch_size": ({"batch_size": 1.5}, TypeError, "batch_size must be an integer"),
    "epochs": ({"epochs": 0}, ValueError, "epochs must be at least 1"),
    "threads": ({"threads": 0}, ValueError, "threads must be at least 1"),
    "shuffle": ({"shuffle": 2}, (TypeError, ValueError), "shuffle"),
    "verbose": ({"verbose": "loud"}, ValueError, "verbose"),
    "metrics": ({"metrics": "r3"}, ValueError, "r3"),
    "monitor": ({"callbacks": EarlyStopping("val_cost")}, ValueError, "monitors 'val_cost'.* Pass validation_rows, or"),
    "no copy": ({"callbacks": Locked()}, TypeError, "callbacks must be copied for each model, but one cannot: .*lock"),
    "a checkpoint": ({"callbacks": Checkpoint("folder")}, ValueError, "of a single fit"),
    "a trial": ({"callbacks": Pruning(TRIAL)}, ValueError, "of a single fit"),
    "y": ({"y": np.zeros(M - 1)}, ValueError, "y"),
    "X": ({"X": np.full((M, 2), np.nan)}, ValueError, "X has 66 non-finite"),
    "a generator": ({"X": (each for each in ())}, TypeError, "X must hold real numbers"),
    "a stream": ({"X": Blocks()}, TypeError, r"X must be an array, not a stream \(Blocks\). Call fit of each model"),
    "features": ({"X": np.zeros((M, 3))}, ValueError, "X has 3 features, but the first layer was built for 2"),
    "an unknown argument": ({"validation_split": 0.2}, TypeError, "validation_split"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_change_nothing(name):
    change, kind, message = BAD[name]
    X, y = table(M, 2)
    models = classifiers(2)
    models[1].build(2)
    given = {"models": models, "X": X, "y": y, "epochs": 1, **change}
    before = [model.parameters.copy() for model in models[1:]]
    with pytest.raises(kind, match=message):
        train_many(**given)
    assert models[0]._parameters is None
    np.testing.assert_array_equal(models[1].parameters, before[0])
    for model in models:
        assert model.history is None
        assert not model._training.busy


def test_a_layer_of_a_model_outside_is_refused_before_another_is_built():
    X, y = table(M, 2)
    layer = Dense(3, "tanh")
    Model([layer, Dense(1, "sigmoid")]).build(2)
    models = [*classifiers(1), Model([layer, Dense(1, "sigmoid")])]
    with pytest.raises(ValueError, match="belongs to another model"):
        train_many(models, X, y)
    assert models[0]._parameters is None


def test_read_only_parameters_are_refused_before_another_is_trained():
    X, y = table(M, 2)
    models = classifiers(2)
    models[1].build(2)._freeze()
    with pytest.raises(ValueError, match=r"read-only. Train a copy") as raised:
        train_many(models, X, y)
    assert models[0]._parameters is None
    assert not hasattr(raised.value, "__notes__")


def test_a_model_that_is_being_trained_is_refused():
    X, y = table(M, 2)
    models, raised = classifiers(2), []

    def train_again(model, epoch, logs):
        with pytest.raises(RuntimeError, match="train_many was called on a model that is being trained"):
            train_many(models[::-1], X, y)
        with pytest.raises(RuntimeError, match="fit was called on a model that is being trained"):
            model.fit(X, y)
        raised.append(model)

    train_many(models, X, y, epochs=1, callbacks=train_again)
    assert len(raised) == 2


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.jit)])
def test_the_first_error_ends_all_and_says_whose_it_is(threads):
    X, y = table(M, 2)
    models = [Model([Dense(3), Dense(1)], optimizer=SGD(0.01), seed=seed) for seed in range(4)]
    models[1].optimizer = SGD(1e20)

    def stop_of_first(model, epoch, logs):
        return model is models[0] and epoch == 3

    with pytest.raises(TrainingDivergedError) as raised:
        train_many(models, X, y, epochs=10**6, threads=threads, callbacks=stop_of_first)
    assert raised.value.__notes__ == ["It is of models[1]; the fits of the others were stopped."]
    assert models[1].history.stopped_reason == "diverged"
    assert np.isfinite(models[1].parameters).all()
    assert models[0].history.stopped_reason in ("callback", "interrupted")
    for model in models[2:]:
        assert model.history is None or model.history.stopped_reason == "interrupted"
    for model in models:
        model.optimizer = SGD(0.01)
        model.build(2).fit(X, y, epochs=1)


def test_a_row_to_validate_with_is_named_by_its_place_among_those():
    X, y = table(M, 2)
    X = X.astype("float64")
    X[20, 0] = 1e200
    model = Model([Standardize(), Dense(1, "sigmoid")], seed=0)
    with pytest.raises(ValueError, match=r"^Of X\[rows\], the rows to validate with: X .* X\[5, 0\] = 1e\+200"):
        train_many([model], X, y, rows=[np.arange(15)], validation_rows=[np.arange(15, M)])


def test_of_two_errors_the_first_in_order_is_raised():
    X, y = table(M, 2)
    models, both = classifiers(2), threading.Barrier(2, timeout=20)

    def fail(model, epoch, logs):
        both.wait()
        time.sleep(0.05 * (model is models[0]))
        raise LookupError(models.index(model))

    with pytest.raises(LookupError, match="0") as raised:
        train_many(models, X, y, callbacks=fail, threads=2)
    assert raised.value.__notes__ == ["It is of models[0]; the fits of the others were stopped."]


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.jit)])
def test_who_has_begun_to_compile_is_called_interrupted(threads, monkeypatch):
    X, y = table(M, 2)
    models = classifiers(2)
    both = threading.Barrier(threads, timeout=20)

    def load_nothing(recipe):
        both.wait()
        return False

    def fail(recipe):
        raise MemoryError("of compiling")

    monkeypatch.setattr("fastnet.engine.run.is_loaded", lambda recipe: False)
    monkeypatch.setattr("fastnet.engine.run.load_stored", load_nothing)
    monkeypatch.setattr("fastnet.engine.run.compile_parts", fail)
    with pytest.raises(MemoryError, match="of compiling"):
        train_many(models, X, y, threads=threads)
    assert [model.history.stopped_reason for model in models[:threads]] == ["interrupted"] * threads


def test_what_a_thread_raises_between_two_fits_is_raised():
    asked, this_thread = threading.Event(), threading.get_ident()

    class NoMemory:
        """Numbers, for this thread alone."""

        numbers = iter(range(3))

        def __next__(self):
            if threading.get_ident() == this_thread:
                return next(self.numbers)
            asked.set()
            raise MemoryError

    fits = Fits([lambda: asked.wait(10)] * 3, lambda number: None, ManyProgress(False, 3))
    fits.left = NoMemory()
    with pytest.raises(MemoryError):
        fits.all(2)
    assert asked.is_set()


@pytest.mark.jit
@pytest.mark.alone
def test_an_interrupt_is_answered_and_leaves_usable_models():
    X, y = table(2000, 20)
    models = classifiers(3, hidden=50)
    train_many(models, X, y, epochs=1, threads=2)  # compiles
    before = models[2].history
    interrupted = []

    def interrupt():
        interrupted.append(time.perf_counter())
        _thread.interrupt_main()

    timer = threading.Timer(0.3, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        train_many(models, X, y, epochs=10**7, threads=2)
    assert time.perf_counter() - interrupted[0] < 0.3
    for model in models[:2]:
        assert model.history.stopped_reason == "interrupted"
        assert model.epochs_finished >= 1 + model.history.epochs > 1  # it may come before an epoch is recorded
        assert np.isfinite(model.parameters).all()
    assert models[2].history is before
    assert not fastnet.engine.threads._reserved
    assert len(train_many(models, X, y, epochs=1)) == 3


# -------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.jit
def test_nobody_copies_the_table():
    """Eight models on rows of their own, and as many to validate with, take far less than X: what two work in."""
    m, n = 12_500, 2000
    X = np.random.default_rng(0).random((m, n), np.float32)
    y = X[:, 0] > X[:, 1]
    rows = [np.arange(m) % 8 != i for i in range(8)]
    models = classifiers(8, hidden=4)
    train_many(models, X[:64], y[:64], epochs=1)  # compiles
    # tracemalloc sees neither what is mapped nor what earlier fits have left.
    with patch.object(memory, "LARGE", 2**62), patch.object(memory, "_kept", []):
        tracemalloc.start()
        try:
            train_many(
                models, X, y, rows, epochs=1, validation_rows=[~mask for mask in rows], class_weight="balanced",
                threads=2,
            )  # fmt: skip
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < X.nbytes / 5, f"{peak / 1e6:.0f} MB beside X of {X.nbytes / 1e6:.0f} MB"
