"""Data frames of pandas, polars and pyarrow: every kind of column, the same bits from each; names of columns."""

import datetime
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from fastnet import checks
from fastnet.tables.encoder import ROWS, TableEncoder

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.jit  # not about kernels

M = 50
ZONE = ZoneInfo("Europe/Berlin")
DATES = [datetime.datetime(2023, 3, 20) + datetime.timedelta(hours=17 * i) for i in range(M)]
VALUES = {
    "float": [i * 0.37 % 5 for i in range(M)],
    "int": [i * i % 17 for i in range(M)],
    "bool": [i % 3 == 0 for i in range(M)],
    "text": ["abc"[i * i % 3] * (i % 4) for i in range(M)],
    "bytes": [b"xyz"[i % 3 : i % 3 + 1] for i in range(M)],
    "decimal": [Decimal(i * 7 % 11) / 10 for i in range(M)],
    "date": [each.date() for each in DATES],
    "time": DATES,
    "zoned": [each.replace(tzinfo=ZONE) for each in DATES],
    "duration": [datetime.timedelta(milliseconds=i * i * 501) for i in range(M)],
}
WITH_GAPS = {name: [None if i % 7 == 3 else v for i, v in enumerate(column)] for name, column in VALUES.items()}
GONE = {name: [None] * M for name in VALUES}

PANDAS = {
    "float": "float64", "int": "Int64", "bool": "boolean", "text": "str", "bytes": object, "decimal": object,
    "date": "datetime64[s]", "time": "datetime64[ns]", "zoned": "datetime64[us, Europe/Berlin]",
    "duration": "timedelta64[ns]",
}  # fmt: skip
POLARS = {
    "float": pl.Float64, "int": pl.UInt16, "bool": pl.Boolean, "text": pl.Categorical, "bytes": pl.Binary,
    "decimal": pl.Decimal(10, 3), "date": pl.Date, "time": pl.Datetime("ms"),
    "zoned": pl.Datetime("us", "Europe/Berlin"), "duration": pl.Duration("ms"),
}  # fmt: skip
ARROW = {
    "float": pa.float64(), "int": pa.int32(), "bool": pa.bool_(), "text": pa.dictionary(pa.int8(), pa.string()),
    "bytes": pa.binary(), "decimal": pa.decimal128(10, 3), "date": pa.date32(), "time": pa.timestamp("s"),
    "zoned": pa.timestamp("us", "Europe/Berlin"), "duration": pa.duration("us"),
}  # fmt: skip


def of_arrow(columns, types=ARROW):
    return pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})


def objects(columns):
    X = np.empty((M, len(columns)), object)
    for k, column in enumerate(columns.values()):
        X[:, k] = column
    return X


FRAMES = {
    "pandas": lambda columns: pd.DataFrame({k: pd.Series(v, dtype=PANDAS[k]) for k, v in columns.items()}),
    "pandas, objects": lambda columns: pd.DataFrame(columns, dtype=object),
    "pandas, categories": lambda columns: pd.DataFrame(columns, dtype=object).astype(
        {"text": "category", "bytes": "category", "bool": "category"}
    ),
    "pandas, string": lambda columns: pd.DataFrame(columns, dtype=object).astype({"text": "string"}),
    "pandas, of Arrow": lambda columns: of_arrow(columns).to_pandas(types_mapper=pd.ArrowDtype),
    "polars": lambda columns: pl.DataFrame(columns, schema=POLARS),
    "polars, String": lambda columns: pl.DataFrame(columns, schema=POLARS | {"text": pl.String}),
    "polars, Enum": lambda columns: pl.DataFrame(
        columns, schema=POLARS | {"text": pl.Enum(["unused", *sorted(set(VALUES["text"]), reverse=True)])}
    ),
    "pyarrow": of_arrow,
    "pyarrow, strings": lambda columns: of_arrow(columns, ARROW | {"text": pa.large_string()}),
    "pyarrow, chunks": lambda columns: pa.concat_tables(of_arrow(columns).slice(i, 10) for i in range(0, M, 10)),
    "pyarrow, batch": lambda columns: of_arrow(columns).combine_chunks().to_batches()[0],
    "lists": lambda columns: [list(row) for row in zip(*columns.values(), strict=True)],
}


@pytest.mark.parametrize("columns", [VALUES, WITH_GAPS], ids=["whole", "with gaps"])
@pytest.mark.parametrize("frame", FRAMES)
def test_every_kind_of_column_has_the_same_bits_from_each_library(frame, columns):
    expected = TableEncoder().fit(objects(columns))
    Z = expected.transform(objects(columns))
    X = FRAMES[frame](columns)
    encoder = TableEncoder().fit(X)
    kinds = ["number", "number", "boolean", "category", "category", "number", "date", "date", "date", "duration"]
    assert [column.kind for column in encoder.columns] == kinds
    np.testing.assert_array_equal(encoder.transform(X), Z)
    np.testing.assert_array_equal(expected.transform(X), Z)
    np.testing.assert_array_equal(encoder.transform(objects(columns)), Z)
    assert encoder.feature_names_in_ == (None if frame == "lists" else tuple(columns))
    assert encoder.transform(FRAMES[frame](GONE)).shape == Z.shape
    part = X[3:9] if isinstance(X, list) else X.iloc[3:9] if hasattr(X, "iloc") else X.slice(3, 6)
    np.testing.assert_array_equal(encoder.transform(part), Z[3:9])


def test_zones_are_those_of_one_moment():
    moments = pd.to_datetime(["2024-01-01 00:30", "2024-07-01 12:00", "2024-12-31 23:00"]).tz_localize("UTC")
    naive = TableEncoder().fit(moments.tz_localize(None).to_frame())
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        frame = moments.tz_convert(zone).to_frame()
        for X in (
            frame,
            frame.astype(object),
            pl.from_pandas(frame),
            pa.Table.from_pandas(frame, preserve_index=False),
        ):
            np.testing.assert_array_equal(TableEncoder().fit(X).transform(X), naive.transform(X))


def test_nanoseconds_count_with_a_zone_as_without():
    times = pd.Series(np.array([1, 999, 500, 77], "M8[ns]"))
    naive = TableEncoder().fit(times.to_frame())
    assert naive.columns[0].parts == ("seconds", "hour")
    zoned = times.dt.tz_localize("Asia/Tokyo").to_frame() - pd.Timedelta(hours=-9)
    for X in (zoned, pl.from_pandas(zoned), pa.Table.from_pandas(zoned), zoned.convert_dtypes(dtype_backend="pyarrow")):
        np.testing.assert_array_equal(TableEncoder().fit(X).transform(X), naive.transform(times.to_frame()))


@pytest.mark.parametrize("dtype", ["int8", "Int64", "UInt16", "Float32", "float32", "int32[pyarrow]", "Sparse[int64]"])
def test_numbers_of_pandas(dtype):
    column = [3, 1, 2, 5, 8, 1]
    frame = pd.DataFrame({"a": pd.Series(column).astype(dtype)})
    expected = TableEncoder().fit(np.array([column]).T)
    np.testing.assert_array_equal(TableEncoder().fit(frame).transform(frame), expected.transform(frame.to_numpy()))


@pytest.mark.parametrize("dtype", [pl.Int128, pl.UInt64, pl.Float32, pl.Int8])
def test_numbers_of_polars(dtype):
    column = [3, 1, None, 5, 8, 1]
    frame = pl.DataFrame({"a": column}, schema={"a": dtype})
    expected = TableEncoder().fit([[value] for value in column])
    np.testing.assert_array_equal(TableEncoder().fit(frame).transform(frame), expected.transform(frame))
    np.testing.assert_array_equal(expected.transform(frame)[:, 1], [0, 0, 1, 0, 0, 0])


def test_categories_are_matched_by_value():
    kinds = pd.CategoricalDtype(["unused", "c", "a", "b"], ordered=True)
    frame = pd.DataFrame({"a": pd.Series(["a", "b", None, "c"], dtype=kinds)})
    encoder = TableEncoder().fit(frame)
    assert encoder.columns[0].levels == ("a", "b", "c")
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]
    for X in (frame, frame.astype(str).replace("nan", None), frame.to_numpy(), frame.astype("category")):
        assert encoder.transform(X).tolist() == expected
    assert encoder.transform([["unused"], ["new"]]).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_categories_that_are_numbers_match_numbers():
    large = 2**62
    frame = pd.DataFrame({"a": pd.Categorical([large + 1, large, 2, large])})
    encoder = TableEncoder().fit(frame)
    assert encoder.columns[0].kind == "category"
    assert encoder.columns[0].levels == (2, large, large + 1)
    expected = [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 0]]
    plain = frame.astype("int64")
    for X in (
        frame,
        plain,
        plain.to_numpy(),
        plain.astype("Int64"),
        pl.from_pandas(plain),
        pa.Table.from_pandas(plain),
    ):
        assert encoder.transform(X).tolist() == expected
    assert encoder.transform([[2.0], ["2"]][:1]).tolist() == [[1, 0, 0]]
    with pytest.raises(
        TypeError, match="X has text, '2' in row 0, in column 'a', which had categories that are numbers"
    ):
        encoder.transform([["2"]])
    numbers = TableEncoder().fit(pd.DataFrame({"a": [1, 2, 4]}))
    np.testing.assert_array_equal(
        numbers.transform(pd.DataFrame({"a": pd.Categorical([4, None])})), numbers.transform([[4], [None]])
    )


def test_categories_that_are_neither_text_nor_numbers_are_texts():
    frame = pd.DataFrame({"a": pd.cut([1, 5, 9, 2], [0, 3, 6, 10])})
    encoder = TableEncoder().fit(frame)
    assert encoder.columns[0].levels == ("(0, 3]", "(3, 6]", "(6, 10]")
    assert encoder.transform([["(6, 10]"]]).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("of", ["pandas", "polars", "pyarrow"])
def test_little_memory_is_needed_beside_a_frame(of):
    m, n = 100_000, 20
    texts = pd.Categorical.from_codes(np.arange(m) % 3, ["a", "b", "c"])
    frame = pd.DataFrame({f"{k}": texts if k % 2 else np.arange(m) % (k + 7) for k in range(n)})
    X = {"pandas": lambda X: X, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}[of](frame)
    tracemalloc.start()
    try:
        encoder = TableEncoder().fit(X)
        _, peak = tracemalloc.get_traced_memory()
        assert peak < 6 * m * 8
        tracemalloc.reset_peak()
        Z = encoder.transform(X)
        _, peak = tracemalloc.get_traced_memory()
        assert peak < Z.nbytes + 2 * m * 8
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_table_of_many_rows_and_categories(make):
    """More categories than a slab has rows, and missing ones."""
    rng = np.random.default_rng(0)
    values = [None if i % 11 == 0 else f"{i}" for i in rng.integers(0, 3 * ROWS, 2 * ROWS)]
    X = make({"a": values})
    encoder = TableEncoder(max_categories=20).fit(X)
    Z = encoder.transform(X)
    at = {value: i for i, value in enumerate(encoder.columns[0].levels)}
    assert np.flatnonzero(Z).tolist() == [20 * row + at[v] for row, v in enumerate(values) if v in at]
    if make is pd.DataFrame:
        np.testing.assert_array_equal(encoder.transform(X.astype("category")), Z)


# --------------------------------------------------------------------------------------------------- names and kinds

FRAME = pd.DataFrame({"age": [31.0, 40, 52], "town": ["Bonn", "Kiel", "Ulm"], "height": [1.8, 1.7, 1.6]})


@pytest.mark.parametrize("make", [lambda X: X, pl.from_pandas, pa.Table.from_pandas])
def test_columns_have_the_names_of_fit(make):
    encoder = TableEncoder().fit(make(FRAME))
    for frame, message in [
        (FRAME[["town", "age", "height"]], r"in another order than .* Pass X\[list\(model.feature_names_in_\)\]"),
        (FRAME.rename(columns={"age": "Age"}), r"it lacks 'age' and has 'Age'\. Pass a frame with all of model\.feat"),
        (FRAME.assign(more=1), r"it has 'more'\. Pass X\[list"),
        (FRAME[["age"]], "it lacks 'town', 'height'"),
    ]:
        with pytest.raises(ValueError, match=message):
            encoder.transform(make(frame))


def test_frames_and_arrays_stand_for_each_other():
    encoder = TableEncoder().fit(FRAME)
    Z = encoder.transform(FRAME)
    np.testing.assert_array_equal(encoder.transform(FRAME.to_numpy()), Z)
    without = TableEncoder().fit(FRAME.to_numpy())
    assert without.feature_names_in_ is None
    np.testing.assert_array_equal(without.transform(FRAME), Z)
    numbered = TableEncoder().fit(FRAME.set_axis(range(3), axis=1))
    assert numbered.feature_names_in_ is None
    np.testing.assert_array_equal(numbered.transform(FRAME), Z)


def test_names_that_are_there_twice():
    twice = FRAME.set_axis(["a", "b", "a"], axis=1)
    encoder = TableEncoder().fit(twice)
    np.testing.assert_array_equal(encoder.transform(twice), TableEncoder().fit(FRAME).transform(FRAME))
    table = pa.table(list(pa.Table.from_pandas(FRAME).columns), names=["a", "b", "a"])
    np.testing.assert_array_equal(encoder.transform(table), encoder.transform(twice))
    with pytest.raises(ValueError, match="has one of a name more, or less, often"):
        encoder.transform(twice.assign(c=1).set_axis(["a", "b", "a", "b"], axis=1))


@pytest.mark.parametrize("names", [["column_names", "num_columns", "columns"], ["get_columns", "nnz", "type"]])
def test_names_that_libraries_use(names):
    frame = FRAME.set_axis(names, axis=1)
    for X in (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)):
        assert TableEncoder().fit(X).feature_names_in_ == tuple(names)
        assert checks.column_names(X) == tuple(names)


def test_a_column_stays_what_it_was():
    encoder = TableEncoder().fit(FRAME)
    with pytest.raises(TypeError, match=r"X has text, '31.0' in row 0, in column 'age', which had numbers in fit"):
        encoder.transform(FRAME.astype({"age": str}))
    with pytest.raises(TypeError, match=r"X has numbers, 1 in row 0, in column 'town', which had text in fit"):
        encoder.transform(FRAME.assign(town=1))
    with pytest.raises(TypeError, match="X has dates, in column 'height', which had numbers in fit"):
        encoder.transform(FRAME.assign(height=pd.Timestamp(0)))
    with pytest.raises(ValueError, match="infinite value in column 'height', row 1"):
        encoder.transform(FRAME.assign(height=[1, np.inf, 2]))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: pl.from_pandas(FRAME).lazy(), TypeError, r"X is lazy: .* Pass X.collect\(\)"),
        (lambda: FRAME["age"], ValueError, "X must have 2 dimensions"),
        (lambda: pl.Series([1, 2]), ValueError, "X must have 2 dimensions"),
        (lambda: FRAME[:0], ValueError, r"X has 0 sample"),
        (lambda: FRAME[[]], ValueError, r"X has 0 feature"),
        (lambda: pl.DataFrame({"a": [[1], [2]]}), TypeError, r"of type ndarray, in column 'a', row 0\. Pass"),
        (lambda: pa.table({"a": [datetime.time(1)]}), TypeError, "of type time, in column 'a', row 0"),
        (lambda: pd.DataFrame({"a": pd.period_range("2020", periods=2)}), TypeError, "of type Period, in column 'a'"),
    ],
)
def test_what_is_no_table_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        TableEncoder().fit(make())


def test_no_library_is_needed_to_predict():
    """Of an encoder that was fitted on a frame, and came by a file."""
    encoder = TableEncoder().fit(FRAME)
    settings, arrays = encoder.state()
    plain = {name: (array.tolist(), str(array.dtype)) for name, array in arrays.items()}
    code = (
        "import sys; from numpy import array; from fastnet.tables.encoder import TableEncoder\n"
        f"arrays = {{k: array(*v) for k, v in {plain}.items()}}\n"
        f"print(TableEncoder.of_state({settings}, arrays).transform({FRAME.to_numpy().tolist()}).tolist())\n"
        "assert not {'pandas', 'polars', 'pyarrow'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(encoder.transform(FRAME).tolist())
