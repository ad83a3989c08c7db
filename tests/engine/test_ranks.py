"""Several ranks train one model: what one process does alone with all of their examples; and they end together."""

import io
import re
import signal
import sys
import threading
from _thread import interrupt_main

import numpy as np
import pytest
from compiled import random_data
from ranks_of_threads import RankOfThreads, run_ranks

import fastnet
from fastnet import (
    SGD,
    Adam,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    Model,
    RMSprop,
    Scale,
    Standardize,
    TimeLimit,
    TrainingDivergedError,
)
from fastnet.engine.mpi import OverMPI
from fastnet.engine.ranks import Ranks, ranks_of
from fastnet.engine.run import Run

pytestmark = pytest.mark.jit  # not about kernels, and minutes in plain Python

BATCH = 12
X, Y = random_data(125, 5)  # the last batch is shorter
WEIGHTS = np.random.default_rng(1).random(125) + 0.1
WEIGHTS[30:40] = 0
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def make(*, dtype="float64", optimizer=None, hidden=20, first=(), rate=1.0, **settings):
    layers = [*(kind() for kind in first), Dense(hidden, "relu", learning_rate=rate), Dense(1, "sigmoid")]
    return Model(layers, optimizer=optimizer or Adam(0.01), dtype=dtype, seed=3, **settings)


def rows_of(rank, shares):
    """Return the rows of a rank that has so many of each batch, if the batches are those of all ranks together."""
    first = sum(shares[:rank])
    place = np.arange(len(X)) % sum(shares)
    return np.flatnonzero((first <= place) & (place < first + shares[rank]))


def train(make, shares=None, *, weighted=False, split=False, **settings):
    """Return the models of ranks that share each batch like this; without shares, of one process alone."""
    settings = {"epochs": 4, "shuffle": False} | settings

    def work(communicator):
        model = make()
        given = dict(settings, batch_size=BATCH)
        rows = np.arange(len(X))
        if communicator is not None:
            rows = rows_of(communicator.rank, shares)
            given |= {"batch_size": shares[communicator.rank] or 7, "communicator": communicator}
        if weighted:
            given["sample_weight"] = WEIGHTS[rows]
        if split:
            given["validation_data"] = X[rows][::-1], Y[rows][::-1]
        model.fit(X[rows], Y[rows], **given)
        return model

    if shares is None:
        return work(None)
    models = run_ranks(len(shares), work)
    for model in models:
        if isinstance(model, BaseException):
            raise model
        assert model.parameters.tobytes() == models[0].parameters.tobytes()
        assert model.history.cost == models[0].history.cost
        assert model.history.metrics == models[0].history.metrics
    return models


# ---------------------------------------------------------------------------------------------------------- results

KINDS = {
    "Adam": {},
    "SGD": {"optimizer": SGD(0.1)},
    "momentum, penalties": {"optimizer": SGD(0.1, momentum=0.9), "l2": 0.1, "l1": 0.01},
    "clipped": {"optimizer": RMSprop(0.01, clip_norm=0.1), "l2": 0.1},
    "factors and rates": {"first": (Scale,), "rate": 0.3},
    "large": {"hidden": 5000},  # whose step is fused with the gradient where one process is alone
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weighted", [False, True])
def test_with_ranks_that_have_nothing_all_bits_stay(kind, dtype, weighted):
    def of_kind():
        return make(dtype=dtype, **KINDS[kind])

    alone = train(of_kind, weighted=weighted, split=True, metrics=["auc", "accuracy"])
    first = train(of_kind, [BATCH, 0, 0], weighted=weighted, split=True, metrics=["auc", "accuracy"])[0]
    assert first.parameters.tobytes() == alone.parameters.tobytes()
    np.testing.assert_allclose(first.history.cost, alone.history.cost, rtol=TOLERANCE[dtype])
    assert first.history.metrics == alone.history.metrics


@pytest.mark.parametrize("shares", [[6, 6], [4, 4, 4], [3, 3, 3, 3], [9, 3], [1, 11], [5, 0, 7], [0, 2, 10]])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weighted", [False, True])
def test_ranks_agree_with_one_process_to_rounding(shares, dtype, weighted):
    settings = {"weighted": weighted, "split": True, "metrics": ["mse", "auc"]}

    def of_dtype():
        return make(dtype=dtype, optimizer=SGD(0.1, momentum=0.9), l2=0.01)

    alone, first = train(of_dtype, **settings), train(of_dtype, shares, **settings)[0]
    scale = np.abs(alone.parameters).max()
    np.testing.assert_allclose(first.parameters, alone.parameters, rtol=0, atol=TOLERANCE[dtype] * scale)
    for name in ("cost", "val_cost"):
        np.testing.assert_allclose(getattr(first.history, name), getattr(alone.history, name), rtol=TOLERANCE[dtype])
    for name, values in alone.history.metrics.items():
        np.testing.assert_allclose(first.history.metrics[name], values, rtol=TOLERANCE[dtype])
    assert train(of_dtype, shares, **settings)[0].parameters.tobytes() == first.parameters.tobytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_long_batches_and_teams_of_threads(threads):
    """A batch of many chunks, which each thread may take some of; the whole shard is one."""
    X, y = random_data(9000, 6)

    def work(communicator):
        model = Model([Dense(10, "tanh"), Dense(1, "sigmoid")], dtype="float64", seed=0)
        rows = slice(None) if communicator is None else slice(communicator.rank, None, 2)
        model.fit(X[rows], y[rows], epochs=3, batch_size=None, threads=threads, communicator=communicator)
        return model.parameters.copy()

    alone, ranks = work(None), run_ranks(2, work)
    assert ranks[0].tobytes() == ranks[1].tobytes()
    np.testing.assert_allclose(ranks[0], alone, rtol=0, atol=1e-12)


def test_what_is_random_differs_from_rank_to_rank_and_is_the_same_each_time():
    def work(communicator):
        model = Model([Dense(6, "relu"), Dropout(0.5), Dense(1, "sigmoid")], seed=communicator.rank)
        history = model.fit(X, Y, epochs=3, communicator=communicator)
        return model.parameters.tobytes(), tuple(history.cost), model._key

    first, second = run_ranks(2, work), run_ranks(2, work)
    assert first == second
    assert first[0] == first[1], "all have the seed of rank 0, and so the next fit"
    one_rank = run_ranks(1, work)[0]
    assert first[0][1] != one_rank[1], "equal shards with equal noise would be one shard"
    keys = [Ranks(RankOfThreads(rank, threading.Barrier(3), [])).key(5) for rank in range(3)]
    assert keys[0] == 5
    assert len({*keys}) == 3


def test_one_rank_is_no_other_fit():
    def work(communicator):
        model = make(dtype="float32", hidden=5000)
        model.fit(X, Y, epochs=2, communicator=communicator)
        return model.parameters.tobytes()

    assert run_ranks(1, work)[0] == work(None)


def test_a_second_fit_goes_on_from_the_first_rank():
    def work(communicator):
        model = Model([Dense(4, "relu"), Dense(1)], optimizer="adam", seed=None)
        if communicator.rank == 0:
            model.fit(X, Y, epochs=2)
        else:
            model.build(5)
        before = model.parameters.copy()
        model.fit(X, Y, epochs=1, communicator=communicator)
        model.fit(X, Y, epochs=1, communicator=communicator)
        return before, model.parameters.tobytes(), model.epochs_finished

    first, second = run_ranks(2, work)
    assert not np.array_equal(first[0], second[0])
    assert first[1:] == second[1:]
    assert first[2] == 4


@pytest.mark.parametrize("streamed", [False, True])
def test_scales_are_those_of_all_examples(streamed):
    shifted, y = 1000 + X * np.arange(1, 6), 50 * Y + X[:, :1]

    def work(communicator):
        layers = [Standardize(), Dense(4, "tanh"), Dense(1)]
        model = Model(layers, standardize_y=True, dtype="float64", optimizer=SGD(0.1), seed=0)
        rank = 0 if communicator is None else communicator.rank
        rows = np.arange(125) if communicator is None else rows_of(rank, [4, 8])
        batch_size = BATCH if communicator is None else (4, 8)[rank]
        given = shifted[rows], y[rows]
        if streamed:
            given = ([tuple(array[i : i + 50] for array in given) for i in range(0, len(rows), 50)],)
        model.fit(*given, epochs=3, batch_size=batch_size, shuffle=False, metrics="r2", communicator=communicator)
        return model

    alone, (first, second) = work(None), run_ranks(2, work)
    np.testing.assert_allclose(first.layers[0].mean, alone.layers[0].mean, rtol=1e-13)
    np.testing.assert_allclose(first.layers[0].spread, alone.layers[0].spread, rtol=1e-13)
    np.testing.assert_allclose(first.parameters, alone.parameters, rtol=0, atol=1e-12)
    np.testing.assert_allclose(first.history.r2, alone.history.r2, rtol=1e-10)
    assert first.parameters.tobytes() == second.parameters.tobytes()


def test_what_need_not_be_the_same_may_differ():
    """Threads, weights on one rank alone, an array there and a stream here."""

    def work(communicator):
        layers = [Standardize(), Dense(4, "tanh"), Dense(1)]
        model, first = Model(layers, standardize_y=True, seed=0), communicator.rank == 0
        given, settings = (X, Y), {"threads": 1, "sample_weight": WEIGHTS, "verbose": False}
        if not first:
            given, settings = ([(X, Y)],), {}
        model.fit(*given, epochs=2, batch_size=30 + communicator.rank, communicator=communicator, **settings)
        return model.parameters.tobytes()

    first, second = run_ranks(2, work)
    assert first == second


@pytest.mark.parametrize("class_weight", ["balanced", {0: 0.3, 1: 2.0}])
def test_class_weights_are_those_of_all_examples(class_weight):
    def of_dtype():
        return make(optimizer=SGD(0.1))

    alone = train(of_dtype, class_weight=class_weight)
    ranks = train(of_dtype, [2, 0, 10], class_weight=class_weight)
    np.testing.assert_allclose(ranks[0].parameters, alone.parameters, rtol=0, atol=1e-12)


class Blocks:
    """A stream of blocks, where a list would be taken for (X, y)."""

    def __init__(self, blocks):
        self.blocks = blocks

    def __iter__(self):
        return iter(self.blocks)


@pytest.mark.parametrize("standardized", [False, True])
def test_mapped_arrays_that_are_converted_are_shards(tmp_path, standardized):
    """Of another dtype than the network, so some rows are converted at a time; one rank has none of them."""
    np.save(tmp_path / "X.npy", 2 * X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")

    def work(communicator, given):
        model = Model([Standardize()] * standardized + [Dense(6, "tanh"), Dense(1)], seed=0)
        rows = (slice(0, 80), slice(80, None), slice(0, 0))[communicator.rank]
        model.fit(given[rows], Y[rows], epochs=3, validation_split=0.2, metrics="r2", communicator=communicator)
        return model.parameters.tobytes(), model.history.cost, model.history.r2

    found = run_ranks(3, lambda communicator: work(communicator, mapped))
    assert found == run_ranks(3, lambda communicator: work(communicator, (2 * X).astype("float64")))
    assert found == [found[0]] * 3
    assert found[0][1][-1] > 0


def test_streams_and_memory_maps_are_shards(tmp_path):
    """Streams of uneven length: a part of an epoch ends in the middle of a batch of the other rank."""
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")

    def work(communicator, streamed):
        model, rows = make(), rows_of(communicator.rank, [9, 3])
        given, held_out = (mapped[rows], Y[rows]), (X[rows], Y[rows])
        if streamed:
            given = ([(X[rows][i : i + 10], Y[rows][i : i + 10]) for i in range(0, len(rows), 10)],)
            held_out = Blocks([held_out])
        model.fit(
            *given, epochs=3, batch_size=(9, 3)[communicator.rank], shuffle=False, communicator=communicator,
            validation_data=held_out, metrics=["auc"],
        )  # fmt: skip
        return model.parameters.tobytes(), model.history.cost, model.history.metrics

    arrays = run_ranks(2, lambda communicator: work(communicator, False))
    assert arrays[0] == arrays[1]
    assert run_ranks(2, lambda communicator: work(communicator, True)) == arrays


def test_parts_of_streams_end_where_others_do_not(monkeypatch):
    monkeypatch.setattr(
        "fastnet.engine.parts.PART_BYTES", 1
    )  # parts of a chunk, 512 examples, and no batch's end there
    X, y = random_data(3000, 4)

    def work(communicator, streamed):
        model, rows = make(), slice(0, 2500) if communicator.rank == 0 else slice(2500, None)
        given = ([(X[rows][i : i + 100], y[rows][i : i + 100]) for i in range(0, len(X[rows]), 100)],)
        given = given if streamed else (X[rows], y[rows])
        model.fit(*given, epochs=3, batch_size=700, shuffle=False, metrics="auc", communicator=communicator)
        return model.parameters.tobytes(), model.history.cost, model.history.metrics

    arrays = run_ranks(2, lambda communicator: work(communicator, False))
    assert arrays[0] == arrays[1]
    assert run_ranks(2, lambda communicator: work(communicator, True)) == arrays


def test_a_share_is_held_out_of_each_shard():
    def work(communicator):
        model, m = make(dtype="float32"), (100, 1, 0)[communicator.rank]
        X_rank, y_rank = X[:m], Y[:m]
        stopping = EarlyStopping(patience=2)
        history = model.fit(
            X_rank, y_rank, epochs=100, validation_split=0.3, callbacks=stopping, communicator=communicator
        )
        return history.epochs, tuple(history.val_cost), history.stopped_reason, model.parameters.tobytes()

    ranks = run_ranks(3, work)
    assert ranks[0] == ranks[1] == ranks[2]
    assert ranks[0][0] < 100
    assert ranks[0][2] == "early_stopping"


# ------------------------------------------------------------------------------------------------------ all together


def test_a_callback_of_one_rank_ends_the_fit_of_all():
    def work(communicator):
        def stop(model, epoch, logs):
            return communicator.rank == 1 and epoch == 2

        return make().fit(X, Y, epochs=9, callbacks=stop, communicator=communicator)

    histories = run_ranks(3, work)
    assert [(history.epochs, history.stopped_reason) for history in histories] == [(3, "callback")] * 3


def test_a_limit_of_time_ends_the_fit_of_all():
    def work(communicator):
        return make().fit(X, Y, epochs=10**6, callbacks=TimeLimit(0.05), communicator=communicator)

    first, second = run_ranks(2, work)
    assert first.cost == second.cost
    assert first.stopped_reason == second.stopped_reason == "time_limit"


def test_the_first_rank_alone_shows_progress_and_writes_checkpoints(tmp_path, capsys):
    def work(communicator):
        model = make()
        folder = tmp_path / str(communicator.rank)
        model.fit(X, Y, epochs=2, verbose=True, callbacks=[Checkpoint(folder)], communicator=communicator)
        return model

    first, _ = run_ranks(2, work)
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    assert capsys.readouterr().out.count("epoch 2/2") == 1
    loaded = fastnet.load(max((tmp_path / "0").iterdir()))
    assert loaded.parameters.tobytes() == first.parameters.tobytes()


@pytest.mark.parametrize("batch_size", [None, 7])
def test_a_fit_on_streams_goes_on_to_the_bit(tmp_path, batch_size):
    def work(communicator, epochs, folder, resume=None):
        model, rows = make(), rows_of(communicator.rank, [5, 7])
        blocks = [(X[rows][i : i + 20], Y[rows][i : i + 20]) for i in range(0, len(rows), 20)]
        model.fit(
            blocks, epochs=epochs, batch_size=batch_size, callbacks=Checkpoint(tmp_path / folder, most_time=1),
            resume=resume and tmp_path / resume, communicator=communicator,
        )  # fmt: skip
        return model.parameters.tobytes()

    def fitted(*arguments):
        return run_ranks(2, lambda communicator: work(communicator, *arguments))

    fitted(2, "begun")
    first, second = fitted(5, "begun", "begun")
    assert first == second == fitted(5, "whole")[0]


@pytest.mark.parametrize("shares", [[5, 7], [0, 4, 8]])
def test_a_fit_that_was_interrupted_goes_on_to_the_bit(tmp_path, shares):
    def work(communicator, epochs, folder=None, resume=None):
        model, rows = make(dtype="float32"), rows_of(communicator.rank, shares)
        callbacks = [EarlyStopping(patience=50)]
        if folder is not None:
            callbacks.append(Checkpoint(tmp_path / folder, most_time=1))
        history = model.fit(
            X[rows], Y[rows], epochs=epochs, batch_size=shares[communicator.rank] or 1, metrics="auc", resume=resume,
            validation_split=0.2, callbacks=callbacks, communicator=communicator,
        )  # fmt: skip
        return model.parameters.tobytes(), history.cost, history.val_cost, history.metrics

    def ranks(*arguments):
        return run_ranks(len(shares), lambda communicator: work(communicator, *arguments))

    whole = ranks(8)
    assert whole == [whole[0]] * len(shares)
    assert ranks(3, "begun") == ranks(3)
    assert ranks(8, "begun", tmp_path / "begun") == whole
    alone = make(dtype="float32")
    with pytest.raises(ValueError, match=r"resume: the fit that would go on had (batch_size|other examples)"):
        alone.fit(X, Y, batch_size=shares[1], metrics="auc", validation_split=0.2, callbacks=EarlyStopping(patience=50),
                  resume=tmp_path / "begun")  # fmt: skip


def test_all_ranks_must_see_the_folder_to_resume_from(tmp_path):
    def work(communicator, resume=None):
        folder = tmp_path / str(communicator.rank)
        return make().fit(X, Y, epochs=2, callbacks=Checkpoint(folder), resume=resume and folder,
                          communicator=communicator)  # fmt: skip

    run_ranks(2, work)
    first, second = run_ranks(2, lambda communicator: work(communicator, resume=True))
    assert isinstance(second, ValueError)
    assert "after epoch 0 of what resume names here, after epoch 2 of what resume names there" in str(second)
    assert "Rank 1 of 2 has stopped the training of all" in str(first)


def test_parameters_that_are_no_longer_the_same_are_noticed():
    def work(communicator):
        def change(model, epoch, logs):
            if communicator.rank == 2 and epoch == 1:
                model.layers[0].b[0] += 1

        return make().fit(X, Y, epochs=9, callbacks=change, communicator=communicator)

    errors = run_ranks(3, work)
    assert [type(error) for error in errors] == [RuntimeError] * 3
    assert all("parameters of rank 2 of 3 are no longer those of rank 0" in str(error) for error in errors)


def test_parameters_are_compared_within_an_epoch_too(monkeypatch):
    monkeypatch.setattr("fastnet.engine.run.STEPS_BETWEEN_CHECKS", 4)
    real, steps = Run._work_through_batch, []

    def work_through(run):
        steps.append(run.steps)
        if run.ranks.rank == 1 and run.steps == 5:
            run.parameters[0] += 1
        return real(run)

    monkeypatch.setattr(Run, "_work_through_batch", work_through)
    errors = run_ranks(2, lambda communicator: make().fit(X, Y, batch_size=1, epochs=1, communicator=communicator))
    assert all("parameters of rank 1 of 2 are no longer those of rank 0" in str(error) for error in errors)
    assert max(steps) == 7


def wrong_callback(model, epoch, logs):
    if epoch == 2:
        raise KeyError("no such thing")


def wrong_data(rank, wrong, right):
    return wrong if rank == 1 else right


FAILURES = {
    "data": (ValueError, "non-finite", lambda rank: {"X": wrong_data(rank, X * np.nan, X)}),
    "one feature less": (ValueError, "another than that of rank 0", lambda rank: {"X": wrong_data(rank, X[:, 1:], X)}),
    "a setting": (ValueError, "batch_size", lambda rank: {"batch_size": wrong_data(rank, 0, 32)}),
    "a name": (TypeError, "no argument", lambda rank: wrong_data(rank, {"bach_size": 3}, {})),
    "epochs": (ValueError, "another than that of rank 0", lambda rank: {"epochs": wrong_data(rank, 3, 4)}),
    "a callback": (
        KeyError,
        "no such",
        lambda rank: {"callbacks": wrong_data(rank, [wrong_callback], [print_nothing])},
    ),
    "Ctrl-C": (KeyboardInterrupt, "", lambda rank: {"callbacks": wrong_data(rank, [interrupt], [print_nothing])}),
    "resumption": (ValueError, "another than that", lambda rank: {"resume": wrong_data(rank, "nowhere", None)}),
    "checkpoints": (
        ValueError,
        r"Checkpoint\(batches",
        lambda rank: {"callbacks": Checkpoint("x", batches=wrong_data(rank, 3, None))},
    ),
}


def print_nothing(model, epoch, logs):
    pass


def interrupt(model, epoch, logs):
    raise KeyboardInterrupt


@pytest.mark.parametrize("case", FAILURES)
def test_what_one_rank_raises_ends_all(case):
    kind, message, settings = FAILURES[case]

    def work(communicator):
        model = make()
        try:
            model.fit(**{"X": X, "y": Y, "epochs": 4, "communicator": communicator} | settings(communicator.rank))
        except BaseException as error:
            return error, model._training.busy
        return None

    found = run_ranks(3, work)
    assert [busy for _, busy in found] == [False] * 3
    errors = [error for error, _ in found]
    assert type(errors[1]) is kind
    assert re.search(message, str(errors[1]))
    assert errors[1].__notes__ == ["So it was on rank 1 of 3. All have stopped."]
    for error in errors[::2]:
        assert type(error) is RuntimeError
        assert str(error).startswith(f"Rank 1 of 3 has stopped the training of all: {kind.__name__}")
        assert re.search(message, str(error))


def test_nothing_has_changed_when_the_data_of_another_rank_are_refused():
    def work(communicator):
        model = make()
        with pytest.raises((RuntimeError, ValueError), match="non-finite"):
            model.fit(X if communicator.rank else X * np.inf, Y, communicator=communicator)
        return model

    assert [model._parameters for model in run_ranks(2, work)] == [None, None]


@pytest.mark.filterwarnings("ignore:The features of X are far")
@pytest.mark.parametrize("step", [0, 1, 7, 25])
@pytest.mark.parametrize("where", ["cost", "parameters"])
def test_all_diverge_in_the_same_step_and_keep_the_last_finite_parameters(step, where, monkeypatch):
    """The second rank has an example beyond all others; or a step of all is one too far."""

    def work(communicator):
        model = Model([Dense(3), Dense(1)], optimizer=Adam(0.01), seed=0)
        x = X.astype(np.float32)
        if where == "cost" and communicator.rank == 1:
            x[step * 4] = 1e25
        with pytest.raises(TrainingDivergedError) as caught:
            model.fit(x, Y, epochs=1, batch_size=4, shuffle=False, communicator=communicator)
        return caught.value, model

    real = Run._work_through_batch

    def work_through(run):
        chunks = real(run)
        if run.steps == step and where == "parameters":
            run.gradient[3] = np.inf
        return chunks

    monkeypatch.setattr(Run, "_work_through_batch", work_through)
    found = run_ranks(2, work)
    monkeypatch.undo()
    for error, model in found:
        assert (error.epoch, error.batch) == (1, step + 1)
        assert np.isfinite(model.parameters).all()
        assert np.isfinite(model._optimizer_state.moments).all()
        assert model.parameters.tobytes() == found[0][1].parameters.tobytes()
    if where == "cost":
        assert str(found[0][0]).startswith("On rank 1 of 2: Training diverged")

    def train_so_far(communicator):
        model, rows = Model([Dense(3), Dense(1)], optimizer=Adam(0.01), seed=0).build(5), slice(4 * step)
        if step:
            model.fit(X[rows], Y[rows], epochs=1, batch_size=4, shuffle=False, communicator=communicator)
        return model.parameters.tobytes()

    assert run_ranks(2, train_so_far)[0] == found[0][1].parameters.tobytes()


def test_a_rank_without_examples_shows_progress(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    train(make, [0, 12])
    assert "epoch 4/4" in sys.stdout.getvalue()


@pytest.mark.parametrize("rank", [0, 1])
def test_what_a_model_does_not_print_must_be_the_same_too(rank):
    for of_one in ({"standardize_y": True}, {"l1": 0.1}):

        def work(communicator, of_one=of_one):
            settings = of_one if communicator.rank == rank else {}
            return Model([Dense(1)], **settings).fit(X, Y, epochs=1, communicator=communicator)

        first, second = run_ranks(2, work)
        assert isinstance(second, ValueError)
        assert isinstance(first, RuntimeError)
        assert "another than that of rank 0" in str(first)


def test_no_rank_has_examples_to_hold_out():
    def work(communicator):
        return make().fit(X[:1], Y[:1], validation_split=0.5, communicator=communicator)

    for error in run_ranks(2, work):
        assert isinstance(error, ValueError)
        assert "No rank has examples to validate with" in str(error)


def test_no_rank_has_examples():
    def work(communicator):
        return make().fit(X[:0], Y[:0], communicator=communicator)

    for error in run_ranks(2, work):
        assert isinstance(error, ValueError)
        assert "No rank has examples to train with" in str(error)


def test_a_transport_that_fails_is_not_asked_again():
    class Failing(RankOfThreads):
        calls = 0

        def allreduce(self, array):
            Failing.calls += 1
            if len(array) > 50:
                self.barrier.abort()
                raise ConnectionError("the cable is out")
            super().allreduce(array)

    def work(communicator):
        return make().fit(X, Y, communicator=communicator)

    errors = run_ranks(2, work, kind=Failing)
    assert {type(error) for error in errors} <= {ConnectionError, threading.BrokenBarrierError}
    assert not any(hasattr(error, "__notes__") for error in errors)


def test_while_ranks_exchange_something_signals_wait():
    """In the main thread, whose handlers Python calls between any two lines: even where an exchange has just ended."""
    heard = []

    class Signalling:
        rank, size = 0, 2

        def allreduce(self, array):
            if not heard:
                signal.raise_signal(signal.SIGINT)
            heard.append(array.copy())
            array += 0  # the other rank has zeros

        def bcast(self, array, root):
            pass

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught, Ranks(Signalling()) as ranks:
            ranks.agree()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert [array.any() for array in heard[:2]] == [False, True], (
        "the next thing that others hear is that this one has failed"
    )
    assert caught.value.__notes__ == ["So it was on rank 0 of 2. All have stopped."]


class SignalSoon:
    """Item n: signal n comes, and Python sees it where it calls the next function."""

    __getitem__ = interrupt_main


@pytest.mark.parametrize("where", ["enter", "exit"])
def test_a_signal_where_a_fit_begins_or_ends_leaves_nobody_waiting(where, monkeypatch):
    heard, real, soon = [], signal.signal, SignalSoon()

    class Other:
        rank, size = 0, 2

        def allreduce(self, array):
            heard.append(array.copy())

        def bcast(self, array, root):
            pass

    def install(number, handler):
        found = real(number, handler)
        if number == signal.SIGINT and where == "enter" and not heard:
            signal.raise_signal(number)
        return found

    before = real(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(signal, "signal", install)
    try:
        with pytest.raises(KeyboardInterrupt), Ranks(Other()) as ranks:  # noqa: PT012
            if where == "enter":
                ranks.agree()
            soon[signal.SIGINT]
    finally:
        monkeypatch.undo()
        real(signal.SIGINT, before)
    assert heard, "the others wait for this"
    assert heard[-1].any() == (where == "enter")


def test_an_error_without_a_text_ends_all():
    class TextlessError(Exception):
        def __str__(self):
            raise ValueError("no text")

    def work(communicator):
        def fail(model, epoch, logs):
            if communicator.rank == 1:
                raise TextlessError

        return make().fit(X, Y, epochs=2, callbacks=fail, communicator=communicator)

    first, second = run_ranks(2, work)
    assert str(first) == "Rank 1 of 2 has stopped the training of all: TextlessError"
    assert type(second) is TextlessError


@pytest.mark.parametrize("rank", [0, 1])
def test_a_fit_within_another_on_the_same_ranks_is_refused(rank):
    """Its exchanges would meet those of the other, on the other ranks."""

    def work(communicator):
        def fit_another(model, epoch, logs):
            if communicator.rank == rank:
                make().fit(X, Y, epochs=1, communicator=communicator)

        with pytest.raises(RuntimeError, match="fit was called by a callback, or in another thread"):
            make().fit(X, Y, epochs=2, callbacks=fit_another, communicator=communicator)
        return make().fit(X, Y, epochs=1, communicator=communicator).epochs

    assert run_ranks(2, work) == [1, 1]


def test_targets_must_be_of_one_kind():
    """Numbers of classes here and a column for each there are outputs of all ranks that cannot be put together."""

    def work(communicator):
        numbers = np.arange(125) % 3
        y = numbers if communicator.rank else np.eye(3)[numbers]
        return Model([Dense(3, "softmax")]).fit(X, y, metrics="accuracy", communicator=communicator)

    _, second = run_ranks(2, work)
    assert isinstance(second, ValueError)
    assert "another than that of rank 0" in str(second)


def test_nothing_has_changed_where_the_first_rank_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")

    def work(communicator):
        model = make()
        with pytest.raises((RuntimeError, OSError), match="file"):
            model.fit(X, Y, callbacks=Checkpoint(tmp_path / "file"), communicator=communicator)
        return model._parameters

    assert run_ranks(2, work) == [None, None]


def test_a_class_derived_from_that_of_mpi4py_is_one_of_it():
    """Whose allreduce, of objects, is no method of a Communicator."""
    settings = {"Get_rank": lambda self: 0, "Get_size": lambda self: 2, "rank": 0, "size": 2, "allreduce": sum}
    derived = type("Mine", (type("Comm", (), settings | {"__module__": "mpi4py.MPI"}),), {"bcast": sum})
    assert type(ranks_of(derived()).communicator) is OverMPI


@pytest.mark.parametrize("communicator", [3, "world", object()])
def test_what_is_no_communicator_is_refused(communicator):
    with pytest.raises(TypeError, match=r"communicator must be one of mpi4py.* has no rank\."):
        make().fit(X, Y, communicator=communicator)


def test_ranks_of_a_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr("fastnet.engine.ranks.available_cores", lambda: 8)
    monkeypatch.setattr("fastnet.engine.ranks.get_num_threads", lambda: 5)

    def work(communicator):
        with ranks_of(communicator) as ranks:
            return ranks.cores()

    assert run_ranks(2, work) == [4, 4]
    assert run_ranks(3, work) == [2, 2, 2]
    monkeypatch.setattr("fastnet.engine.ranks.get_num_threads", lambda: 1)
    assert run_ranks(2, work) == [1, 1]
