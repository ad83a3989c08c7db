"""Streams that are not what they seem: an error that says what is wrong and where, or the right result."""

import numpy as np
import pytest
from compiled import random_data

from fastnet import SGD, Adam, Checkpoint, Dense, Model, Standardize
from fastnet.engine import parts
from fastnet.streams import FrameStream, MemmapStream, ParquetStream

pytestmark = pytest.mark.jit  # not about kernels

M = 3003
X, Y = random_data(M, 7)
X, SIGNS = X.astype(np.float32), (Y[:, :1] > 0).astype(np.float32)
NAMES = list("abcdefg")


class Stream:
    """A stream of what a function returns."""

    def __init__(self, blocks):
        self.blocks = blocks

    def __iter__(self):
        return iter(self.blocks())


def blocks_of(*arrays, rows=400):
    return Stream(lambda: [tuple(array[i : i + rows] for array in arrays) for i in range(0, len(arrays[0]), rows)])


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of 1,024 rows of X."""
    monkeypatch.setattr(parts, "PART_BYTES", 7 * 4 * 1024)


def make_model(*first, units=1, activation="sigmoid"):
    return Model([*first, Dense(5, "relu"), Dense(units, activation)], optimizer=Adam(0.01), seed=0)


USES = {
    "fit": lambda model, stream: model.fit(stream, epochs=2),
    "evaluate": lambda model, stream: model.evaluate(stream),
    "cost": lambda model, stream: model.cost(stream),
}


# ---------------------------------------------------------------------------------------------------- any streams


@pytest.mark.parametrize("use", USES)
def test_an_iterator_that_is_returned_twice_is_no_stream(use):
    """A division by zero came of it."""
    blocks = (block for block in blocks_of(X, SIGNS))
    with pytest.raises(ValueError, match="X gave examples at first, and none when it was gone through again"):
        USES[use](make_model().build(7), Stream(lambda: blocks))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("first", [[], [Standardize()]])
def test_weights_that_are_all_zero_are_refused_as_in_memory(use, first):
    """The cost of a fit was NaN."""
    model = make_model(*first)
    model.fit(X, SIGNS, epochs=1)
    before = model.parameters.copy()
    with pytest.raises(ValueError, match="In X, sample_weight is zero for every example"):
        USES[use](model, blocks_of(X, SIGNS, np.zeros(M)))
    np.testing.assert_array_equal(model.parameters, before)
    with pytest.raises(ValueError, match="In validation_data, sample_weight is zero for every example"):
        model.fit(X, SIGNS, epochs=1, validation_data=blocks_of(X, SIGNS, np.zeros(M)))


def test_classes_in_one_block_and_rows_of_ones_in_another_are_refused():
    """One class for all outputs was trained on, without a word."""
    classes = np.arange(M) % 3
    rows = np.eye(3, dtype=np.float32)[classes]
    for one, other, said in ((rows, classes, "1 columns, but the first of 3"), (classes, rows, "3 columns, but the f")):
        model = make_model(units=3, activation="softmax")
        with pytest.raises(ValueError, match=f"^Block 1 of X has y of {said}"):
            model.fit(Stream(lambda one=one, other=other: [(X[:10], one[:10]), (X, other)]), epochs=1)


def test_a_second_epoch_without_end_is_noticed():
    passes = []

    def blocks():
        passes.append(0)
        yield X, SIGNS
        while len(passes) > 2:
            yield X, SIGNS

    model = make_model()
    with pytest.raises(ValueError, match="X gave 3003 examples in an epoch, and 3072 or more in the next"):
        model.fit(Stream(blocks), epochs=3)
    assert model.epochs_finished == 1


def test_rows_that_are_no_table_are_said_to_be_of_their_block():
    with pytest.raises(ValueError, match=r"^Block 1 of X: "):
        make_model().fit(Stream(lambda: [(X, SIGNS), ([[1, 2], [3]], [0, 1])]), epochs=1)


def test_the_first_block_may_be_overwritten_while_it_is_looked_at():
    """What has not fallen was diagnosed on rows of NaN."""
    X_buffer, y_buffer = np.empty((M, 7), np.float32), np.empty((M, 1), np.float32)

    def blocks():
        X_buffer[:], y_buffer[:] = X, SIGNS
        yield X_buffer, y_buffer
        X_buffer[:] = y_buffer[:] = np.nan

    model = Model([Standardize(), Dense(5, "relu"), Dense(1, "sigmoid")], optimizer=SGD(1e-12), seed=0)
    with pytest.warns(UserWarning, match="The cost has not fallen"):
        history = model.fit(Stream(blocks), epochs=12)
    assert history.stopped_reason == "not_fallen"


def test_frames_to_validate_with_have_the_columns_of_the_frame_to_train_with():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=NAMES)
    with pytest.raises(ValueError, match="Block 0 of validation_data: X has its columns in another order"):
        make_model().fit(frame, SIGNS, epochs=1, validation_data=Stream(lambda: [(frame[NAMES[::-1]], SIGNS)]))


@pytest.mark.parametrize("validates", [False, True])
def test_a_fit_that_had_ended_goes_on_to_nothing(validates, tmp_path):
    """StopIteration came of it."""
    settings = {"validation_data": blocks_of(X, SIGNS)} if validates else {}
    one, other = make_model(), make_model()
    one.fit(blocks_of(X, SIGNS), epochs=2, callbacks=Checkpoint(tmp_path), **settings)
    history = other.fit(blocks_of(X, SIGNS), epochs=2, resume=tmp_path, **settings)
    assert (history.cost, history.val_cost) == (one.history.cost, one.history.val_cost)
    np.testing.assert_array_equal(one.parameters, other.parameters)


def test_what_is_trained_on_is_predicted_from():
    """Lists, as a DataLoader of PyTorch gives them, and empty blocks."""
    model = make_model()
    blocks = [[X[:500], SIGNS[:500]], (X[:0], SIGNS[:0]), [X[500:], SIGNS[500:]]]
    model.fit(Stream(lambda: blocks), epochs=1)
    expected = model.forward(X)
    np.testing.assert_array_equal(model.forward(Stream(lambda: blocks)), expected)
    np.testing.assert_array_equal(model.forward(Stream(lambda: [X[:1].tolist(), X[1:]])), expected)


@pytest.mark.parametrize("name", ["__array_interface__", "__array_struct__"])
def test_what_numpy_reads_is_no_stream_though_it_has_rows_to_go_through(name):
    rows = type("Rows", (), {name: property(lambda self: getattr(X, name)), "__iter__": lambda self: iter(X)})()
    model = make_model().build(7)
    np.testing.assert_array_equal(model.forward(rows), model.forward(X))


# ------------------------------------------------------------------------------------------------- files and frames


@pytest.fixture
def frame():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    return pandas.DataFrame(X, columns=NAMES).assign(y=SIGNS[:, 0])


def test_a_bad_target_is_not_said_to_be_in_the_first_row_of_its_block(frame, tmp_path):
    bad = SIGNS.copy()
    bad[1030] = np.nan
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", bad)
    frame.assign(y=bad[:, 0]).to_parquet(tmp_path / "all.parquet", row_group_size=1000)
    for stream, place in (
        (MemmapStream(tmp_path / "X.npy", tmp_path / "y.npy", block_rows=1000), "'X.npy', from row 1000 on"),
        (ParquetStream(tmp_path / "all.parquet", "y"), "'all.parquet', from row 1000 on"),
        (FrameStream([frame[:1000], frame[1000:].assign(y=bad[1000:, 0])], "y"), "frame 1"),
    ):
        with pytest.raises(ValueError, match=rf"^Block 1 of X \({place}\): y has 1 non-finite value; .* y\[30"):
            make_model().fit(stream, epochs=1)


def test_a_file_of_numpy_that_has_become_another_is_not_read_as_the_one_before(tmp_path):
    """Numbers of float64 were read as of float32."""
    np.save(tmp_path / "X.npy", X)
    stream = MemmapStream(tmp_path / "X.npy", SIGNS)
    for other in (X.astype(np.float64), np.hstack([X, X]), X[1:]):
        np.save(tmp_path / "X.npy", other)
        with pytest.raises(OSError, match=r"X.npy' has changed since the stream was made: from float32 \(3003, 7\) to"):
            make_model().fit(stream, epochs=1)
    np.save(tmp_path / "X.npy", X)
    make_model().fit(stream, epochs=1)
    with open(tmp_path / "v3.npy", "wb") as file:
        np.lib.format.write_array(file, X, version=(3, 0))
    with pytest.raises(ValueError, match=r"v3.npy' is no array in a file of NumPy \(.npy\): version 3.0 of the format"):
        MemmapStream(tmp_path / "v3.npy", SIGNS)


def test_a_file_of_parquet_that_has_become_another_is_named(frame, tmp_path):
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=1000)
    stream = ParquetStream(tmp_path / "a.parquet", "y")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match=r"Row group \d of the stream, in '.*a.parquet', cannot be read"):
        make_model().fit(stream, epochs=1)


def test_the_index_of_a_frame_is_no_feature(frame, tmp_path):
    """One that had been filtered or sorted had its row numbers for a feature."""
    frame.sample(frac=1.0, random_state=0).to_parquet(tmp_path / "a.parquet")
    frame.set_index((frame.index**2).rename("number")).to_parquet(tmp_path / "b.parquet")
    for name in "ab":
        assert ParquetStream(tmp_path / f"{name}.parquet", "y").features == NAMES
    assert ParquetStream(tmp_path / "b.parquet", "y", features=["number"])[0][0].shape == (M, 1)


def test_a_column_may_stand_in_several_places(frame, tmp_path):
    frame.to_parquet(tmp_path / "a.parquet")
    settings = {"target": ["a", "b"], "features": ["b", "a", "c", "c"], "sample_weight": "y"}
    (block,) = ParquetStream(tmp_path / "a.parquet", **settings)
    for found, expected in zip(block, next(iter(FrameStream([frame], **settings))), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_columns_of_one_name_and_none_at_all_are_refused(frame, tmp_path):
    """Of two columns of one name, X had four."""
    for name in ("a", "y"):
        with pytest.raises(ValueError, match=f"Frame number 0 has 2 columns '{name}'. Rename them."):
            make_model().fit(FrameStream([frame.rename(columns={"b": name})], "y"), epochs=1)
    frame[["y"]].to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"features must be at least one column, but '.*' has none beside the target"):
        ParquetStream(tmp_path / "a.parquet", "y")
    numbered = frame.set_axis(range(8), axis=1)  # as read_csv(header=None) names them
    assert [len(each.columns) for each in next(iter(FrameStream([numbered], 7)))] == [7, 1]


def test_folders_that_are_tables_are_gone_into(frame, tmp_path):
    """As Spark writes them."""
    for i, rows in enumerate((slice(0, 1000), slice(1000, M))):
        (tmp_path / f"day-{i}.parquet").mkdir()
        frame[rows].to_parquet(tmp_path / f"day-{i}.parquet" / "part.parquet")
    for path in (tmp_path, tmp_path / "*.parquet", tmp_path / "**" / "*.parquet"):
        np.testing.assert_array_equal(np.vstack([block[0] for block in ParquetStream(path, "y")]), X)
