"""A fit that was killed goes on to the bit: parameters, history, callbacks, schedules, shuffles, dropout."""

import json
import os
import shutil
import warnings

import killed
import numpy as np
import pytest
from hostile import remade, taken_apart

import fastnet
from fastnet import Adam, Checkpoint, Dense, Dropout, EarlyStopping, FileFormatError, Model, ReduceOnPlateau, TimeLimit
from fastnet.callbacks import Callback
from fastnet.files import tensors

pytestmark = pytest.mark.jit  # not about kernels, and minutes in plain Python

RNG = np.random.default_rng(0)
X = RNG.standard_normal((65, 7))
Y = (X[:, 0] > 0).astype(float)


class Killed(BaseException):
    """Stands for SIGKILL, within a process."""


def made(**settings):
    settings = {"optimizer": Adam(0.01), "seed": 0} | settings
    return Model([Dense(5, "tanh"), Dropout(0.2), Dense(1, "sigmoid")], **settings)


def fit(model, **settings):
    """Fit with settings that all the tests here have in common."""
    return model.fit(X, Y, **{"epochs": 5, "batch_size": 17} | settings)


def kill(at):
    """Return a callback that kills the fit after an epoch."""

    def callback(model, epoch, logs):
        if epoch == at:
            raise Killed

    return callback


def names(folder):
    return sorted(os.listdir(folder))


def settings_to_try():
    rng = np.random.default_rng(1)
    for optimizer in killed.OPTIMIZERS:
        for callbacks in killed.CALLBACKS:
            yield killed.drawn(rng) | {"optimizer": optimizer, "callbacks": callbacks, "epochs": 9}


@pytest.mark.parametrize("settings", [*settings_to_try()], ids=lambda each: f"{each['optimizer']}, {each['callbacks']}")
def test_a_fit_goes_on_from_each_of_its_checkpoints(tmp_path, monkeypatch, settings):
    """Whatever file is the newest: the outcome, history included, is that of a fit that was never killed."""
    whole = killed.fit(settings, None)
    monkeypatch.setattr(
        killed, "Checkpoint", lambda folder, every, **rest: Checkpoint(folder, every, keep=10**6, **rest)
    )
    assert killed.fit(settings, tmp_path / "all") == whole, "to write changes nothing"
    files = names(tmp_path / "all")
    assert len(files) >= 2
    for name in {files[0], files[len(files) // 3], files[len(files) // 2], files[-1]}:
        folder = tmp_path / "some"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(tmp_path / "all" / name, folder)
        assert killed.fit(settings, folder, threads=2) == whole, name


@pytest.mark.jit
def test_fits_killed_in_other_processes_go_on(tmp_path):
    assert killed.attack(tmp_path, kills=6, seed=0) >= 2


def test_what_is_written_and_what_is_kept(tmp_path):
    folder = tmp_path / "a" / "b"
    fit(made(), callbacks=Checkpoint(folder, every=2, most_time=1.0))
    assert names(folder) == [f"checkpoint-0000000{n}.fastnet" for n in (1, 2, 3)], "after epochs 2, 4 and 5, the last"
    assert [fastnet.load(folder / name).epochs_finished for name in names(folder)] == [2, 4, 5]
    fit(made(), callbacks=Checkpoint(folder, keep=2, batches=3, most_time=1.0))
    assert names(folder)[:3] == [f"checkpoint-0000000{n}.fastnet" for n in (1, 2, 3)], "of another fit: they stay"
    assert names(folder)[3:] == ["checkpoint-00000012.fastnet", "checkpoint-00000013.fastnet"], "two an epoch"
    fit(made(), epochs=6, resume=folder, callbacks=Checkpoint(folder, keep=2, batches=3, most_time=1.0))
    assert names(folder) == ["checkpoint-00000014.fastnet", "checkpoint-00000015.fastnet"], "of the fit that goes on"


def test_a_model_loaded_from_a_checkpoint_is_that_of_then(tmp_path):
    model = made()
    fit(model, callbacks=Checkpoint(tmp_path, every=5))
    found = fastnet.load(tmp_path / "checkpoint-00000001.fastnet")
    np.testing.assert_array_equal(found.parameters, model.parameters)
    fit(model)
    fit(found)
    np.testing.assert_array_equal(found.parameters, model.parameters)


def test_writing_takes_no_more_than_its_part_of_the_time(tmp_path, monkeypatch):
    """The clock stands still but for writing, which takes a second: none but the first and the last is written."""
    clock = iter(range(10**6))
    monkeypatch.setattr("fastnet.engine.checkpoints.time.perf_counter", lambda: next(clock) / 1000)
    fit(made(), epochs=50, callbacks=Checkpoint(tmp_path, keep=99, most_time=1e-3))
    assert 2 <= len(names(tmp_path)) < 6
    fit(made(), epochs=50, callbacks=Checkpoint(tmp_path, keep=99, most_time=1.0))
    assert len(names(tmp_path)) >= 52


def test_the_second_fit_of_a_model_goes_on_too(tmp_path):
    whole = made()
    fit(whole)
    fit(whole)
    model = made()
    fit(model)
    with pytest.raises(Killed):
        fit(model, callbacks=[Checkpoint(tmp_path, most_time=1.0), kill(3)])
    resumed = made()
    history = fit(resumed, resume=tmp_path, callbacks=[kill(9)])
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    assert (resumed.epochs_finished, history.epochs) == (10, 5)
    assert history.cost == whole.history.cost


def test_epochs_may_have_grown_and_a_fit_that_had_ended_has_nothing_to_do(tmp_path):
    fit(made(), callbacks=Checkpoint(tmp_path))
    again, longer, whole = made(), made(), made()
    assert fit(again, resume=tmp_path).epochs == 5
    fit(longer, epochs=8, resume=tmp_path)
    fit(whole, epochs=8)
    np.testing.assert_array_equal(longer.parameters, whole.parameters)
    with pytest.raises(ValueError, match="resume: the fit that would go on is in its epoch 5 already, but epochs=4"):
        fit(made(), epochs=4, resume=tmp_path)


def test_a_fit_that_a_time_limit_ended_goes_on(tmp_path):
    def limited(**settings):
        return fit(made(), callbacks=[Checkpoint(tmp_path, most_time=1.0), TimeLimit(1e-9)], **settings)

    assert limited().epochs == 1
    for epochs in (2, 3, 4, 5):
        history = limited(resume=tmp_path)
        assert (history.epochs, history.stopped_reason) == (epochs, "time_limit")
    whole, model = made(), made()
    fit(model, resume=tmp_path, callbacks=TimeLimit(1e9))
    fit(whole)
    np.testing.assert_array_equal(model.parameters, whole.parameters)


@pytest.mark.parametrize("seed", [3, None])
def test_the_same_rows_are_held_out_when_a_fit_goes_on(tmp_path, seed):
    with pytest.raises(Killed):
        fit(made(seed=seed), validation_split=0.3, callbacks=[Checkpoint(tmp_path, most_time=1.0), kill(2)])
    saved = fastnet.load(tmp_path / names(tmp_path)[-1])
    costs = [fit(made(seed=seed), epochs=3, validation_split=0.3, resume=tmp_path, callbacks=[kill(9)]).val_cost]
    costs.append(fit(made(seed=seed), epochs=3, validation_split=0.3, resume=tmp_path, callbacks=[kill(9)]).val_cost)
    assert costs[0] == costs[1]
    assert len(costs[0]) == 3
    assert saved.seed == seed
    if seed is not None:
        assert costs[0] == fit(made(seed=seed), epochs=3, validation_split=0.3).val_cost


def test_progress_says_from_where_a_fit_goes_on(tmp_path, capsys):
    fit(made(), callbacks=Checkpoint(tmp_path))
    fit(made(), epochs=7, resume=tmp_path, verbose=True)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"going on after epoch 5/7, from {tmp_path}"
    assert [line[:9] for line in said[1:]] == ["epoch 6/7", "epoch 7/7"]


@pytest.mark.parametrize(("at", "begun"), [(-1, 5), (-2, 5), (-5, 4)])
def test_fewer_epochs_than_are_done_are_refused_and_change_nothing(tmp_path, at, begun):
    fit(made(), callbacks=Checkpoint(tmp_path, batches=1, keep=99, most_time=1.0))
    path, model, whole = tmp_path / names(tmp_path)[at], made(), made()
    for epochs in (1, begun - 1):
        with pytest.raises(ValueError, match=f"is in its epoch {begun} already, but epochs={epochs}. Pass"):
            fit(model, epochs=epochs, resume=path)
    assert model._parameters is None
    fit(model, epochs=begun, resume=path)
    fit(whole, epochs=begun)
    np.testing.assert_array_equal(model.parameters, whole.parameters)


def test_where_there_is_no_checkpoint_yet(tmp_path):
    with pytest.raises(FileNotFoundError):
        fit(made(), resume=tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="There is no checkpoint in"):
        fit(made(), resume=tmp_path, callbacks=Checkpoint(tmp_path / "other"))
    model, whole = made(), made()
    fit(model, resume=tmp_path / "new", callbacks=Checkpoint(str(tmp_path / "." / "new")))
    fit(whole)
    np.testing.assert_array_equal(model.parameters, whole.parameters)


def test_a_damaged_newest_one_is_skipped_with_a_warning(tmp_path):
    with pytest.raises(Killed):
        fit(made(), callbacks=[Checkpoint(tmp_path, most_time=1.0), kill(3)])
    newest = tmp_path / names(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    model, whole = made(), made()
    with pytest.warns(UserWarning, match="A checkpoint is skipped: .*00000003.fastnet' cannot be read") as caught:
        fit(model, resume=tmp_path, callbacks=[kill(9)])
    assert caught[0].filename == __file__
    fit(whole)
    np.testing.assert_array_equal(model.parameters, whole.parameters)
    with pytest.raises(FileFormatError, match="cannot be read"):
        fit(made(), resume=newest, callbacks=[kill(9)])
    for name in names(tmp_path):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(FileFormatError, match="of its 0 bytes"):
        fit(made(), resume=tmp_path, callbacks=[kill(9)])


def test_a_newest_one_that_is_gone_is_skipped_with_a_warning(tmp_path):
    """The fit does not begin anew, and delete those that are there."""
    with pytest.raises(Killed):
        fit(made(), callbacks=[kill(3), Checkpoint(tmp_path, most_time=1.0)])
    (tmp_path / "checkpoint-00000009.fastnet").symlink_to("nowhere")
    model, whole = made(), made()
    with pytest.warns(UserWarning, match="A checkpoint is skipped: .*No such file"):
        fit(model, resume=tmp_path, callbacks=[kill(9), Checkpoint(tmp_path, most_time=1.0)])
    fit(whole)
    np.testing.assert_array_equal(model.parameters, whole.parameters)
    assert model.history.epochs == 5
    assert names(tmp_path)[-1] == "checkpoint-00000011.fastnet", "two epochs, as three were done"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 16}, "resume: the fit that would go on had batch_size=17, but this one has 16. Pass the same"),
        ({"batch_size": None}, "batch_size=17, but this one has 65"),
        ({"label_smoothing": 0.1}, "label_smoothing=0.0, but this one has 0.1"),
        ({"shuffle": False}, "shuffle=True, but this one has False"),
        ({"metrics": ["auc"]}, r"metrics=\(\), but this one has \('auc',\)"),
        ({"callbacks": [EarlyStopping("cost")]}, r"callbacks=\(\), but this one has \('EarlyStopping',\)"),
        ({"validation_split": 0.2}, "other examples"),
        ({"sample_weight": np.ones(65)}, "other examples"),
        ({"class_weight": {0: 2.0}}, "other examples"),
        ({"validation_data": (X, Y)}, "other examples"),
    ],
)
def test_another_fit_is_refused_and_changes_nothing(tmp_path, changes, message):
    fit(made(), callbacks=Checkpoint(tmp_path))
    model = made()
    fit(model, epochs=1)
    before = model.parameters.copy()
    with pytest.raises(ValueError, match=message):
        fit(model, resume=tmp_path, **changes)
    np.testing.assert_array_equal(model.parameters, before)
    assert model.epochs_finished == 1


@pytest.mark.parametrize("what", ["X", "y", "held out"])
def test_other_data_are_refused(tmp_path, what):
    data = {"X": X.copy(), "y": Y.copy(), "held out": X.copy()}

    def fit_them(**settings):
        return made().fit(data["X"], data["y"], validation_data=(data["held out"], Y), epochs=2, **settings)

    fit_them(callbacks=Checkpoint(tmp_path))
    fit_them(resume=tmp_path)
    data[what][3] = 1 - data[what][3]
    with pytest.raises(ValueError, match="other examples: X, y, weights or those held out differ"):
        fit_them(resume=tmp_path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (made(l2=0.1), "of a model with l2=0.0, but this has 0.1"),
        (made(dtype="float64"), "dtype='float32', but this has 'float64'"),
        (Model([Dense(1, "sigmoid")], optimizer=Adam()), "of a model with layers="),
        (made(optimizer=fastnet.SGD(0.1)), r"had the optimizer Adam\(.*\), but this one has SGD"),
        (
            made(optimizer=Adam(0.001)),
            r"had the optimizer Adam\(learning_rate=0.01, .* has Adam\(learning_rate=0.001, .*load",
        ),
        (made(optimizer=Adam(lambda epoch: 0.01)), r"but this one has Adam\(learning_rate=<lambda>, "),
        (made(seed=1), "of a model with seed=0, but this has 1"),
        (made(seed=None), "of a model with seed=0, but this has None"),
    ],
)
def test_another_model_is_refused(tmp_path, model, message):
    fit(made(), callbacks=Checkpoint(tmp_path))
    with pytest.raises(ValueError, match=message):
        fit(model, resume=tmp_path)


def test_a_function_as_learning_rate_is_that_of_the_model(tmp_path):
    def rate(epoch):
        return 0.1 / (1 + epoch)

    callbacks = [ReduceOnPlateau("cost", patience=1, min_delta=9.0)]
    whole, killed_one, resumed = (made(optimizer=Adam(rate)) for _ in range(3))
    fit(whole, callbacks=[*callbacks, kill(9)])
    with pytest.raises(Killed):
        fit(killed_one, callbacks=[*callbacks, kill(3), Checkpoint(tmp_path, most_time=1.0)])
    fit(resumed, resume=tmp_path, callbacks=[*callbacks, kill(9)])
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    assert resumed.optimizer == whole.optimizer
    with pytest.raises(ValueError, match=r"learning_rate=.*rate, .* but this one has Adam\(learning_rate=0.01"):
        fit(made(), resume=tmp_path, callbacks=[*callbacks, kill(9)])


class Counting(Callback):
    """A callback of a user's own, with a memory."""

    def start(self, model):
        self.seen, self.total = 0, np.zeros(3)

    def __call__(self, model, epoch, logs):
        self.seen += 1
        self.total += epoch

    def state(self):
        return {"seen": self.seen, "total": self.total}

    def restore(self, state):
        self.seen, self.total = state["seen"], state["total"].copy()


def test_a_callback_of_ones_own_is_told_what_it_returned(tmp_path):
    with pytest.raises(Killed):
        fit(made(), callbacks=[Counting(), kill(3), Checkpoint(tmp_path, most_time=1.0)])
    counting = Counting()
    fit(made(), resume=tmp_path, callbacks=[counting, kill(9)])
    assert counting.seen == 5
    assert counting.total.tolist() == [10, 10, 10]


def test_what_cannot_be_written_is_said_and_training_goes_on(tmp_path, monkeypatch):
    whole, model = made(), made()
    fit(whole)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        fit(model, callbacks=Checkpoint(tmp_path / "file"))
    assert model._parameters is None

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fastnet.files.durable.os.write", full)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, callbacks=Checkpoint(tmp_path / "folder", most_time=1.0))
    assert {str(each.message) for each in caught} == {
        "A checkpoint could not be written, and training goes on: [Errno 28] No space left on device"
    }
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(model.parameters, whole.parameters)
    assert names(tmp_path / "folder") == []


def test_what_no_file_can_hold_is_said_before_training(tmp_path):
    model = made(seed=np.random.SeedSequence(1))
    with pytest.raises(TypeError, match="which no file can hold"):
        fit(model, callbacks=Checkpoint(tmp_path / "folder"))
    assert model._parameters is None
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"example": 65}, "it stands at example 65 of epoch 1, where no batch begins"),
        ({"example": 18}, "where no batch begins"),
        ({"epoch": 4}, "array 'history.cost' must be float64 of shape"),
        ({"epoch": -1}, "its fit has an entry of another type"),
        ({"seconds": [1.0]}, "its fit has an entry of another type"),
        ({"first_epoch": 0.5}, "its fit has an entry of another type"),
        ({"states": [{}, {}]}, "its fit has an entry of another type"),
        ({"more": 1}, "its fit must have optimizer, batch_size, shuffle"),
        ({}, "its order is no permutation of the examples"),
    ],
)
def test_a_file_that_was_made_up_is_refused_before_a_kernel_runs(tmp_path, changes, message):
    with pytest.raises(Killed):
        fit(made(), callbacks=[kill(3), Checkpoint(tmp_path, batches=2, keep=99, most_time=1.0)])
    path = tmp_path / names(tmp_path)[2]
    header, buffer = taken_apart(path.read_bytes())
    text = json.loads(header["__metadata__"]["fit"])
    assert (text["epoch"], text["example"]) == (1, 34)
    header["__metadata__"]["fit"] = json.dumps(text | changes)
    if not changes:
        start = header["order"]["data_offsets"][0]
        buffer = buffer[:start] + (10**9).to_bytes(8, "little") + buffer[start + 8 :]
    path.write_bytes(remade(header, buffer))
    with pytest.raises(FileFormatError, match=message):
        fit(made(), resume=path, callbacks=[kill(9)])


@pytest.mark.parametrize(
    ("shape", "number", "message"),
    [([46], np.nan, "non-finite"), ([1, 46], 0.0, "best_parameters must be float32 of shape")],
)
def test_best_parameters_that_were_made_up_are_refused(tmp_path, shape, number, message):
    fit(made(), callbacks=[EarlyStopping("cost"), Checkpoint(tmp_path)])
    path, name = tmp_path / names(tmp_path)[-1], "callbacks.0.best_parameters"
    contents = tensors.read(path)
    assert contents.arrays[name].shape == (46,)
    tensors.write(path, contents.arrays | {name: np.full(shape, number, np.float32)}, contents.texts)
    with pytest.raises(FileFormatError, match=message):
        fit(made(), resume=path, callbacks=EarlyStopping("cost"))


def test_wrong_arguments():
    for settings, message in [
        ({"every": 0}, "every must be at least 1"),
        ({"keep": 0}, "keep must be at least 1"),
        ({"batches": 0.5}, "batches must be an integer"),
        ({"most_time": 0}, "most_time must be a number above 0, and at most 1"),
        ({"most_time": 1.5}, "most_time must be a number above 0, and at most 1"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            Checkpoint("folder", **settings)
    with pytest.raises(TypeError):
        Checkpoint(3.5)
    assert repr(Checkpoint("a", 2)) == "Checkpoint('a', every=2, keep=3, batches=None, most_time=0.03)"
