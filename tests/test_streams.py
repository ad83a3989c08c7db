"""Streams: the bits of the same rows in memory, an order under the seed, and what is wrong said with its place."""

import gc
import threading

import numpy as np
import pytest
from compiled import random_data

from fastnet import Adam, Checkpoint, Dense, Dropout, EarlyStopping, Model, Standardize
from fastnet.engine import parts
from fastnet.streams import FrameStream, MemmapStream, ParquetStream

pytestmark = pytest.mark.jit  # what the kernels compute is tested elsewhere, and in plain Python this takes minutes

M = 5003
X, Y = random_data(M, 7)
X, SIGNS = X.astype(np.float32), (Y[:, :1] > 0).astype(np.float32)
WEIGHTS = np.random.default_rng(1).uniform(0.5, 1.5, M).astype(np.float32)


class Blocks:
    """A stream of blocks of so many rows, which come in their own order; with weights, if so."""

    def __init__(self, rows, arrays=(X, SIGNS), copies=True):
        self.rows, self.arrays, self.copies = rows, arrays, copies

    def __iter__(self):
        buffers = [np.empty((self.rows, *array.shape[1:]), array.dtype) for array in self.arrays]
        for start in range(0, len(self.arrays[0]), self.rows):
            block = tuple(array[start : start + self.rows] for array in self.arrays)
            if not self.copies:  # but views of one buffer, which the next block overwrites
                for buffer, array in zip(buffers, block, strict=True):
                    buffer[: len(array)] = array
                block = tuple(buffer[: len(block[0])] for buffer in buffers)
            yield block
        for buffer in buffers:
            buffer[:] = np.nan


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of 1,024 rows of X."""
    monkeypatch.setattr(parts, "PART_BYTES", 7 * 4 * 1024)


def make_model(dtype="float32", standardizes=False, **settings):
    layers = [Dense(17, "relu"), Dropout(0.3), Dense(1, "sigmoid")]
    return Model([Standardize()] * standardizes + layers, optimizer=Adam(0.01), dtype=dtype, seed=1, **settings)


def assert_same(one, other):
    np.testing.assert_array_equal(one.parameters, other.parameters)
    for name in ("cost", "val_cost", "metrics"):
        assert getattr(one.history, name) == getattr(other.history, name), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", [1, 33, 1000, 1500, 3000, None])
def test_the_bits_are_those_of_the_rows_in_memory(batch_size, weighted, dtype):
    settings = {"epochs": 2, "batch_size": batch_size, "shuffle": False, "metrics": ["accuracy", "auc"]}
    weights = WEIGHTS if weighted else None
    whole, streamed = make_model(dtype, standardizes=weighted), make_model(dtype, standardizes=weighted)
    whole.fit(X, SIGNS, sample_weight=weights, validation_data=(X[:1500], SIGNS[:1500]), **settings)
    held_out = Blocks(700, (X[:1500], SIGNS[:1500]))
    stream = Blocks(333, (X, SIGNS, WEIGHTS) if weighted else (X, SIGNS))
    streamed.fit(stream, validation_data=held_out, **settings)
    assert_same(whole, streamed)
    assert whole.evaluate(X, SIGNS, "auc", sample_weight=weights) == streamed.evaluate(stream, metrics="auc")
    assert whole.cost(X, SIGNS) == streamed.cost(Blocks(1))
    np.testing.assert_array_equal(whole.predict(X), streamed.predict(Blocks(500)))
    out = np.full((M, 1), np.nan, dtype)
    assert streamed.forward(Blocks(500), out=out) is out
    np.testing.assert_array_equal(out, whole.forward(X))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_wide_layers_and_targets_on_a_scale(threads):
    y = 40 * Y + 1000
    models = [
        Model([Standardize(), Dense(65, "tanh"), Dense(2)], optimizer=Adam(clip_norm=1.0), seed=0, standardize_y=True)
        for _ in range(2)
    ]
    settings = {"epochs": 2, "batch_size": 512, "shuffle": False, "threads": threads, "metrics": "r2"}
    models[0].fit(X + 100, np.hstack([y, -y]), **settings)
    models[1].fit(Blocks(401, (X + 100, np.hstack([y, -y]))), **settings)
    assert_same(*models)
    np.testing.assert_array_equal(models[0].layers[0].mean, models[1].layers[0].mean)


@pytest.mark.parametrize("rows", [1, 33, 1024, M, 2 * M])
def test_blocks_of_any_length_and_views_of_one_buffer(rows):
    one, other = make_model(), make_model()
    one.fit(X[:1999], SIGNS[:1999], epochs=2, shuffle=False)
    other.fit(Blocks(rows, (X[:1999], SIGNS[:1999]), copies=False), epochs=2, shuffle=False)
    assert_same(one, other)


def test_rows_are_shuffled_under_the_seed_and_those_of_a_sequence_by_blocks_too(tmp_path):
    """The order is seen in the targets that metrics get: each row's own number, in a model that learns nothing."""
    numbers = np.arange(M, dtype=np.float64)[:, np.newaxis]
    orders = []
    for source in (Blocks(100, (X, numbers)), MemmapStream(X, numbers, block_rows=100), Blocks(100, (X, numbers))):
        model, seen = Model([Dense(1)], dtype="float64", seed=0, standardize_y=True), []

        def spy(targets, seen=seen):
            seen.append(targets.copy())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "fastnet.engine.watch.compute", lambda names, A, y, activation, spy=spy: spy(y) or {"mae": 0.0}
            )
            model.fit(source, epochs=2, metrics="mae")
        orders.append([np.rint(each[:, 0]).astype(int) for each in seen])
    for order in orders:
        assert len(order) == 2
        np.testing.assert_array_equal(np.sort(order[0]), np.arange(M))
        assert (order[0] != order[1]).mean() > 0.9
    np.testing.assert_array_equal(orders[0], orders[2])
    assert orders[0][0][:1024].max() < 1024  # within the buffer
    assert orders[1][0][:1024].max() > 1024  # blocks from anywhere


@pytest.fixture
def files(tmp_path):
    """Three shards of X and of targets, as `.npy` and as Parquet."""
    pandas, pytest_pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    assert pytest_pyarrow
    names = [f"f{i}" for i in range(7)]
    for i, rows in enumerate((slice(0, 2000), slice(2000, 2001), slice(2001, M))):
        np.save(tmp_path / f"X{i}.npy", X[rows])
        np.save(tmp_path / f"y{i}.npy", SIGNS[rows, 0])
        frame = pandas.DataFrame(X[rows], columns=names).assign(sign=SIGNS[rows, 0])
        frame.to_parquet(tmp_path / f"part-{i}.parquet", row_group_size=300)
    return tmp_path


def test_files_and_frames_have_the_bits_of_memory(files):
    pandas = pytest.importorskip("pandas")
    whole = make_model()
    whole.fit(X, SIGNS, epochs=2, shuffle=False)
    shards = [files / f"X{i}.npy" for i in range(3)], [files / f"y{i}.npy" for i in range(3)]
    np.save(files / "X.npy", X)
    mapped = np.load(files / "X.npy", mmap_mode="r")
    for stream in (
        MemmapStream(*shards), MemmapStream(*shards, block_rows=7), MemmapStream(mapped, SIGNS),
        ParquetStream(files, "sign"), ParquetStream(files / "part-*.parquet", ["sign"]),
        FrameStream([pandas.read_parquet(files / f"part-{i}.parquet") for i in range(3)], "sign"),
        FrameStream(lambda: (pandas.read_parquet(files / f"part-{i}.parquet") for i in range(3)), "sign"),
    ):  # fmt: skip
        streamed = make_model()
        streamed.fit(stream, epochs=2, shuffle=False)
        assert_same(whole, streamed)
    mapped_model = make_model()
    mapped_model.fit(mapped, SIGNS, epochs=2, shuffle=False)
    assert_same(whole, mapped_model)


# ------------------------------------------------------------------------------------------------- what is hostile


def stream_of(*blocks):
    class Given:
        def __iter__(self):
            for block in blocks:
                if isinstance(block, Exception):
                    raise block
                yield block

    return Given()


GOOD = (X[:2048], SIGNS[:2048])


@pytest.mark.parametrize(
    ("blocks", "error", "said"),
    [
        ([], ValueError, "X is a stream without any example"),
        ([(X[:0], SIGNS[:0])], ValueError, "X is a stream without any example"),
        ([X[:10]], TypeError, r"Block 0 of X must be \(X, y\) or \(X, y, sample_weight\), not a ndarray"),
        ([GOOD, GOOD, (X[:10],)], TypeError, r"Block 2 of X must be .*, not a tuple of 1"),
        ([GOOD, GOOD, (X[:10, :6], SIGNS[:10])], ValueError, "Block 2 of X: X has 6 features"),
        ([GOOD, GOOD, (X[:10].astype(complex), SIGNS[:10])], TypeError, "Block 2 of X: X must hold real numbers"),
        ([GOOD, GOOD, (X[:10], SIGNS[:9])], ValueError, "Block 2 of X: X and y must have the same length"),
        ([GOOD, GOOD, (X[:10], SIGNS[:10] + 1)], ValueError, r"Block 2 of X: y has .* outside \[0, 1\]"),
        ([GOOD, GOOD, (X[:10] * np.nan, SIGNS[:10])], ValueError, r"Block 2 of X: X has 70 non-finite values"),
        ([GOOD, (*GOOD, WEIGHTS[:2048])], ValueError, "Block 1 of X has weights, unlike the first"),
        ([GOOD, GOOD, RuntimeError("the disk is gone")], RuntimeError, "the disk is gone"),
    ],
)
def test_what_is_wrong_is_said_and_the_model_is_as_after_a_whole_batch(blocks, error, said):
    """Two good blocks, which are two parts, have been trained by then, or nothing has."""
    model, short = make_model(), make_model()
    with pytest.raises(error, match=said):
        model.fit(stream_of(*blocks), epochs=2, shuffle=False)
    if len(blocks) < 3:
        assert model._parameters is None or model.epochs_finished == 0
        return
    candidates = [[0]]
    for n in range(1024, 4097, 1024):
        short.build(7)
        short.fit(np.vstack([GOOD[0]] * 2)[:n], np.vstack([GOOD[1]] * 2)[:n], epochs=1, shuffle=False)
        candidates.append(short.parameters.copy())
        short = make_model()
    assert any(np.array_equal(model.parameters, each) for each in candidates)
    assert model.history.stopped_reason == "interrupted"
    model.fit(X, SIGNS, epochs=1)  # goes on


@pytest.mark.parametrize("other_m", [1000, 3000])
def test_a_stream_that_is_another_in_the_second_epoch(other_m):
    class Changing:
        passes = 0

        def __iter__(self):
            self.passes += 1
            m = 2000 if self.passes <= 2 else other_m  # the first is to look at the first block
            return iter([(X[:m], SIGNS[:m])])

    model = make_model()
    with pytest.raises(ValueError, match=f"X gave 2000 examples in an epoch, and {other_m} in the next"):
        model.fit(Changing(), epochs=2)
    assert model.epochs_finished == 1


def test_what_is_no_stream_is_refused():
    model = make_model()
    with pytest.raises(TypeError, match=r"X is a generator, which can be gone through only once"):
        model.fit((block for block in [GOOD]), epochs=2)
    with pytest.raises(TypeError, match=r"y must hold real numbers, but it is None"):
        model.fit(X)
    with pytest.raises(ValueError, match=r"sample_weight is not for a stream, .* Give blocks \(X, y, sample_weight\)"):
        model.fit([GOOD], sample_weight=WEIGHTS)
    with pytest.raises(ValueError, match=r"validation_split is not for a stream, .* Pass validation_data"):
        model.fit([GOOD], validation_split=0.1)
    with pytest.raises(ValueError, match=r"class_weight='balanced' needs all examples at once"):
        model.fit([GOOD], class_weight="balanced")
    with pytest.raises(ValueError, match=r"X has 7 features, but the X to train with 6"):
        model.fit([(X[:10, :6], SIGNS[:10])], validation_data=(X, SIGNS))
    assert model._parameters is None


def test_class_weights_and_weights_of_zero_count_as_in_memory():
    weights = WEIGHTS * (np.arange(M) > 2500)  # whole blocks of no weight
    one, other = make_model(), make_model()
    one.fit(X, SIGNS, epochs=2, shuffle=False, sample_weight=weights, class_weight={1: 3.0})
    other.fit(Blocks(300, (X, SIGNS, weights)), epochs=2, shuffle=False, class_weight={1: 3.0})
    assert_same(one, other)


def test_places_are_named_by_file_row_and_column(files):
    pandas = pytest.importorskip("pandas")
    bad = X[2001:].copy()
    bad[700, 3] = np.nan
    np.save(files / "X2.npy", bad)
    shards = [files / f"X{i}.npy" for i in range(3)], [files / f"y{i}.npy" for i in range(3)]
    with pytest.raises(ValueError, match=r"Block \d+ of X \('X2.npy', row 700, column 3\): X has 1 non-finite"):
        make_model().fit(MemmapStream(*shards, block_rows=64), epochs=1)
    frame = pandas.DataFrame(bad, columns=[f"f{i}" for i in range(7)]).assign(sign=0.0)
    frame.to_parquet(files / "part-2.parquet", row_group_size=300)
    with pytest.raises(ValueError, match=r"Block \d+ of X \('part-2.parquet', row 700, column 'f3'\): X has 1 non-fin"):
        make_model().fit(ParquetStream(files, "sign"), epochs=1)
    with pytest.raises(ValueError, match=r"Block 1 of X \(frame 1, row 700, column 'f3'\): X has 1 non-finite"):
        make_model().fit(FrameStream([frame[:600], frame], "sign"), epochs=1)


def test_files_that_are_not_what_they_should_be(files):
    pandas = pytest.importorskip("pandas")
    whole = (files / "X0.npy").read_bytes()
    (files / "short.npy").write_bytes(whole[:-1])
    (files / "text.npy").write_text("no array")
    np.save(files / "objects.npy", np.array([[None]]))
    np.save(files / "narrow.npy", X[:1, :6])
    np.save(files / "columns.npy", np.asfortranarray(X))
    for name, said in {
        "short": "is cut short: it has", "text": r"is no array in a file of NumPy \(.npy\)", "objects": "in C order",
        "columns": "in C order",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=said):
            MemmapStream(files / f"{name}.npy", files / "y0.npy")
    with pytest.raises(FileNotFoundError):
        MemmapStream(files / "none.npy", files / "y0.npy")
    with pytest.raises(ValueError, match="with as many features as the first, but has"):
        MemmapStream([files / "X0.npy", files / "narrow.npy"], [files / "y0.npy", files / "y1.npy"])
    with pytest.raises(ValueError, match=r"must have as many rows, but have shapes \(2000, 7\) and \(1,\)"):
        MemmapStream(files / "X0.npy", files / "y1.npy")
    stream = MemmapStream(files / "X0.npy", files / "y0.npy")
    (files / "X0.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match=r"'.*X0.npy' ends in row 99\d, before row 2000"):
        make_model().fit(stream, epochs=1)
    frame = pandas.read_parquet(files / "part-0.parquet")
    frame.rename(columns={"f2": "g2"}).to_parquet(files / "part-1.parquet")
    with pytest.raises(ValueError, match=r"'.*part-1.parquet' has no column 'f2'; it has 'f0', 'f1', 'g2'"):
        ParquetStream(files, "sign")
    frame.assign(f2="text").to_parquet(files / "part-1.parquet")
    with pytest.raises(TypeError, match=r"Column 'f2' of '.*part-1.parquet' must hold numbers, but holds (large_)?str"):
        make_model().fit(ParquetStream(files, "sign"), epochs=1)
    (files / "part-1.parquet").write_bytes(b"PAR1")
    with pytest.raises((ValueError, OSError), match=r"'.*part-1.parquet' cannot be read as a file of Parquet"):
        ParquetStream(files, "sign")
    with pytest.raises(ValueError, match="at least one file of Parquet, but there is none"):
        ParquetStream(files / "none-*.parquet", "sign")
    with pytest.raises(TypeError, match=r"frames is a .*, which can be gone through only once"):
        FrameStream(iter([frame]), "sign")


# --------------------------------------------------------------------------------------------- beside what fits do


def test_the_next_part_is_read_while_one_trains_and_no_thread_is_left():
    reading = []

    class Watched(Blocks):
        def __iter__(self):
            for block in super().__iter__():
                reading.append(threading.current_thread().name)
                yield block

    make_model().fit(Watched(333), epochs=2)
    assert any(name.startswith("fastnet-reader") for name in reading)
    gc.collect()
    assert not [each for each in threading.enumerate() if each.name.startswith("fastnet-reader")]


def test_a_fit_that_ends_early_ends_the_reading():
    model = make_model()
    stop = EarlyStopping("val_cost", patience=1, min_delta=1.0)
    history = model.fit(Blocks(333), epochs=50, validation_data=Blocks(500), callbacks=stop)
    assert (history.epochs, history.stopped_reason, history.kept_epoch) == (2, "early_stopping", 0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(Blocks(333), epochs=50, callbacks=interrupt)
    assert model.history.stopped_reason == "interrupted"
    assert not [each for each in threading.enumerate() if each.name.startswith("fastnet-reader")]


def interrupt(model, epoch, logs):
    raise KeyboardInterrupt


def test_a_fit_goes_on_from_a_checkpoint_at_the_end_of_an_epoch(tmp_path):
    whole, parted = make_model(), make_model()
    whole.fit(Blocks(333), epochs=4)
    parted.fit(Blocks(333), epochs=2, callbacks=Checkpoint(tmp_path))
    resumed = make_model()
    resumed.fit(Blocks(333), epochs=4, resume=tmp_path)
    assert_same(whole, resumed)
    with pytest.raises(ValueError, match="batches= of a Checkpoint is not for a stream"):
        make_model().fit(Blocks(333), epochs=2, callbacks=Checkpoint(tmp_path / "other", batches=3))
    with pytest.raises(ValueError, match="the fit that would go on had other examples"):
        make_model().fit(Blocks(334), epochs=4, resume=tmp_path)


@pytest.mark.filterwarnings("ignore:The features of X are far:UserWarning")
def test_divergence_brings_back_the_last_finite_parameters():
    bad = X.copy()
    bad[4000] = 3e38
    models = make_model(), make_model()
    for model, data in zip(models, ((bad, SIGNS), (Blocks(333, (bad, SIGNS)),)), strict=True):
        with pytest.raises(Exception, match="Training diverged in epoch 2 of 2, batch 126"):
            model.fit(*data, epochs=2, shuffle=False)
    np.testing.assert_array_equal(models[0].parameters, models[1].parameters)
    assert np.isfinite(models[0].parameters).all()


def test_progress_counts_rows_before_it_knows_how_many_there_are(monkeypatch):
    from fastnet.engine.progress import Progress

    seen = []
    update = Progress.update

    def spy(self, history, example, examples, seconds):
        seen.append((example, examples))
        update(self, history, example, examples, seconds)

    monkeypatch.setattr(Progress, "update", spy)
    make_model().fit(Blocks(333), epochs=2, verbose=False)
    assert (1024, None) in seen
    assert seen[-1] == (0, M)
    assert all(example < M for example, _ in seen)
