"""Raw tables of every kind of column, through the estimators: the right result, or a message that names the column."""

import datetime
import os
import subprocess
import sys
import uuid
from decimal import Decimal

import numpy as np
import pytest

pytest.importorskip("sklearn")
from fastnet.tables import TableClassifier, TableRegressor

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.jit  # many fits

QUICK = {"epochs": 2, "hidden_layer_sizes": (8,), "n_nets": 1, "random_state": 0}
M = 40
Y = np.arange(M) * 7 % 11 * 1.5
DAY = datetime.datetime(2024, 3, 30)
UTC = datetime.UTC
KINDS = {
    "float": [i * 0.37 % 5 for i in range(M)],
    "int": [i * i % 17 for i in range(M)],
    "bool": [i % 3 == 0 for i in range(M)],
    "category": [("red", "green", "blue")[i * i % 3] for i in range(M)],
    "text": [f"row {i * 7 % M} says so" for i in range(M)],  # each another
    "bytes": [bytes([200 + i % 3]) for i in range(M)],
    "decimal": [Decimal(i * 7 % 11) / 10 for i in range(M)],
    "date": [DAY.date() + datetime.timedelta(days=i * i) for i in range(M)],
    "moment": [DAY + datetime.timedelta(hours=17 * i) for i in range(M)],
    "zoned": [(DAY + datetime.timedelta(hours=i)).replace(tzinfo=UTC) for i in range(M)],
    "duration": [datetime.timedelta(minutes=i * i) for i in range(M)],
}
ALL = tuple(KINDS)
CATEGORIES = {"category", "text", "bytes"}
KIND_OF = {name: name if name in ("date", "duration") else "number" for name in KINDS} | {
    "bool": "boolean", "moment": "date", "zoned": "date"
} | dict.fromkeys(CATEGORIES, "category")  # fmt: skip


def of_rows(columns):
    return [list(row) for row in zip(*columns.values(), strict=True)]


def of_objects(columns):
    X = np.empty((M, len(columns)), object)
    for k, values in enumerate(columns.values()):
        X[:, k] = values
    return X


def of_pandas_types(columns):
    nullable = {"float": "Float64", "int": "Int64", "bool": "boolean", "category": "category", "text": "string"}
    return pd.DataFrame(columns, dtype=object).astype({k: v for k, v in nullable.items() if k in columns})


MAKERS = {
    "pandas": pd.DataFrame,
    "pandas, objects": lambda columns: pd.DataFrame(columns, dtype=object),
    "pandas, nullable": of_pandas_types,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
    "array": of_objects,
    "lists": of_rows,
}


def with_gaps(names, share):
    """Return columns by name, with so much of each missing."""
    gone = np.random.default_rng(1).permutation(M) < share * M
    return {name: [None if g else v for v, g in zip(KINDS[name], gone, strict=True)] for name in names}


def repr_of(value):
    """Return the name of a case, on one short line."""
    return " ".join(str(value).split())[:30]


def fitted(X, y=Y, make=TableRegressor, **settings):
    return make(**QUICK | settings).fit(X, y)


def kinds(model):
    return [column.kind for column in model.encoder_.columns]


# --------------------------------------------------------------------------------------------------- kinds of columns


@pytest.mark.parametrize("share", [0, 0.3, 1])
@pytest.mark.parametrize("names", [ALL, *((name,) for name in KINDS)], ids=lambda names: "+".join(names)[:12])
def test_every_kind_of_column_alone_and_together_is_the_same_from_each_library(names, share):
    columns = with_gaps(names, share)
    predictions = {}
    for library, make in MAKERS.items():
        X = make(columns)
        model = fitted(X)
        assert kinds(model) == [KIND_OF[name] if share < 1 else "empty" for name in names], library
        predictions[library] = model.predict(X)
        assert np.isfinite(predictions[library]).all(), library
    for library, predicted in predictions.items():
        np.testing.assert_array_equal(predicted, predictions["lists"], err_msg=library)
    if share < 1:
        assert np.ptp(predictions["lists"]) > 0
    else:
        assert np.ptp(predictions["lists"]) == 0


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.array([1, None, 2, 3], "Int64"), "number"),
        (pd.array([2**64 - 1, None, 2, 3], "UInt64"), "number"),
        (pd.Series([True, pd.NA, False, None], dtype=object), "boolean"),
        (pd.Series([Decimal("1.5"), Decimal("nan"), None, Decimal(3)], dtype=object), "number"),
        (pd.Series([b"\xff", b"a", None, b""], dtype=object), "category"),
        (pd.Series([1, "a", 2.5, None], dtype=object), "category"),
        (pd.Series([10**30, -(10**300), 3, None], dtype=object), "number"),
        (np.array([2**63 - 1, -(2**63), 2**53 + 1, 0]), "number"),
        ([1e300, -1e300, 0.0, 1.0], "number"),
        ([5e-324, 0.0, 1e-300, 1.0], "number"),
        (pd.Categorical([1.5, None, 2.5, 3.5]), "category"),
        (pd.Categorical(["a", "b", None, "a"], categories=["c", "b", "a"]), "category"),
        (pd.date_range("2024-03-30", periods=4, freq="h", tz="Europe/Berlin"), "date"),
        (pd.Series([datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31), None, DAY], dtype=object), "date"),
        (pd.arrays.SparseArray([0.0, 1.0, 0.0, np.nan]), "number"),
        (["\0", "a\0", "a", "\N{SNOWMAN}"], "category"),
    ],
    ids=repr_of,
)
def test_values_at_the_edge_of_a_kind(values, kind):
    X = pd.concat([pd.DataFrame({"odd": values})] * 10, ignore_index=True)
    model = fitted(X)
    assert kinds(model) == [kind]
    predicted = model.predict(X)
    assert np.isfinite(predicted).all()
    assert np.ptp(predicted) > 0


def test_zero_has_no_sign():
    X = np.array([[0.0, 1.0, 2.0, 0.0]] * 10).reshape(M, 1)
    other = np.where(X == 0, -0.0, X)
    model = fitted(X)
    np.testing.assert_array_equal(fitted(other).predict(X), model.predict(X))
    np.testing.assert_array_equal(model.predict(other), model.predict(X))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1.0, np.inf] * 20, ValueError, r"infinite value in column 'odd', row 1: inf\. Clip it"),
        (["a", None, 1, -np.inf] * 10, ValueError, "infinite value in column 'odd', row 3"),
        (pd.Series([1, None, -np.inf, 0] * 10, dtype="Float64"), ValueError, "infinite .* column 'odd', row 2: -inf"),
        ([3, 10**400] * 20, ValueError, "beyond the range of float64 in column 'odd', row 1"),
        ([1j] * M, TypeError, r"complex .* in column 'odd': pass real numbers"),
        ([[1], [2]] * 20, TypeError, r"X has \[1\], of type list, in column 'odd', row 0\. Pass numbers"),
        ([None, uuid.UUID(int=1)] * 20, TypeError, "of type UUID, in column 'odd', row 1"),
        ([datetime.date(2020, 1, 1), "a"] * 20, TypeError, r"dates in column 'odd', but 'a' in row 1\. Pass values of"),
    ],
    ids=repr_of,
)
def test_what_no_column_holds_is_refused_by_its_name_and_row(values, error, message):
    with pytest.raises(error, match=message):
        fitted(pd.DataFrame({"good": range(M), "odd": pd.Series(values)}))
    was = ["a", 1] * 20 if isinstance(values, list) and values[0] == "a" else [0, 1] * 20
    with pytest.raises(error, match=message):
        fitted(pd.DataFrame({"good": range(M), "odd": was})).predict(
            pd.DataFrame({"good": range(M), "odd": pd.Series(values)})
        )


@pytest.mark.parametrize(
    "series",
    [
        pl.Series([[1.0, 2.0]] * M, dtype=pl.Array(pl.Float64, 2)),
        pl.Series([[float(i)] for i in range(M)], dtype=pl.Array(pl.Float64, 1)),
        pl.Series([{"x": i, "y": 2} for i in range(M)]),
        pl.Series([{"x": 1, "y": "a"}, None] * 20),
    ],
    ids=repr_of,
)
def test_several_values_in_a_row_of_a_column_are_refused(series):
    with pytest.raises(TypeError, match=r"several values in each row of column 'odd'\. Pass a column for each"):
        fitted(pl.DataFrame({"good": range(M), "odd": series}))


# ------------------------------------------------------------------------------------------------- names, order, index

FRAME = pd.DataFrame({name: KINDS[name] for name in ("float", "category", "moment")})


@pytest.mark.parametrize("make", [TableRegressor, TableClassifier])
def test_names_that_are_there_twice(make):
    y = Y if make is TableRegressor else Y > 7
    twice = FRAME.set_axis(["a", "b", "a"], axis=1)
    model, expected = fitted(twice, y, make), fitted(FRAME, y, make)
    assert model.feature_names_in_.tolist() == ["a", "b", "a"]
    np.testing.assert_array_equal(model.predict(twice), expected.predict(FRAME))
    arrow = pa.table([pa.array(FRAME[name]) for name in FRAME], names=["a", "b", "a"])
    np.testing.assert_array_equal(fitted(arrow, y, make).predict(arrow), expected.predict(FRAME))
    for other, message in [
        (FRAME.set_axis(["a", "a", "b"], axis=1), "another order"),
        (FRAME.set_axis(["a", "c", "a"], axis=1), "it lacks 'b' and has 'c'"),
        (FRAME.set_axis(["a", "b", "c"], axis=1), "feature names should match"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.predict(other)
    with pytest.raises(ValueError, match="it lacks 'float'"):
        expected.predict(twice)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_columns_are_those_of_fit(make):
    model = fitted(make(FRAME))
    for other, message in [
        (FRAME[["category", "float", "moment"]], "must be in the same order"),
        (FRAME[["float", "category"]], r"now missing:\n- moment"),
        (FRAME.assign(more=1), r"unseen at fit time:\n- more"),
        (FRAME.rename(columns={"float": "Float"}), r"unseen at fit time:\n- Float\n.*now missing:\n- float"),
    ]:
        with pytest.raises(ValueError, match=f"(?s){message}"):
            model.predict(make(other))


def test_arrays_and_frames_stand_for_each_other():
    """Arrays without a warning, by the places of their columns: so who predicts needs no pandas."""
    X = FRAME[["float", "category"]]
    model, without = fitted(X), fitted(X.to_numpy())
    expected = model.predict(X)
    for rows in (X.to_numpy(), X.to_numpy().tolist()):
        np.testing.assert_array_equal(model.predict(rows), expected)
        np.testing.assert_array_equal(without.predict(rows), expected)
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        np.testing.assert_array_equal(without.predict(X), expected)
    with pytest.raises(ValueError, match="X has 1 features, but TableEncoder is expecting 2"):
        without.predict(X.to_numpy()[:, :1])
    with pytest.raises(ValueError, match="X must have 2 dimensions"):
        without.predict(X.to_numpy()[0])


def test_the_index_means_nothing():
    X, y = FRAME, pd.Series(Y)
    expected = fitted(X, Y).predict(X)
    index = np.random.default_rng(0).permutation(M) + 100
    twice = pd.concat([X, X.assign(float=-1.0)]).iloc[:M]
    views = {
        "another": (X.set_axis(index), pd.Series(Y, index=index)),
        "of X alone": (X.set_axis(index), y),
        "all alike": (X.set_axis([7] * M), y.set_axis([3] * M)),
        "dates": (X.set_axis(KINDS["moment"]), y),
        "a slice": (twice, y),
        "every second": (X.loc[X.index.repeat(2)][::2], y),
        "a mask": (pd.concat([X, X])[np.arange(2 * M) >= M], y),
        "backwards twice": (X[::-1][::-1], y[::-1][::-1]),
        "two levels": (X.set_index("float", append=True, drop=False), y),
    }
    for name, (frame, targets) in views.items():
        model = fitted(frame, targets)
        np.testing.assert_array_equal(model.predict(frame), expected, err_msg=name)
        np.testing.assert_array_equal(model.predict(X), expected, err_msg=name)


# ------------------------------------------------------------------------------------------------ another at prediction


def test_categories_are_known_by_value_and_others_are_none():
    X = pd.DataFrame({"town": pd.Categorical(KINDS["category"]), "n": range(M)})
    model = fitted(X)
    expected = model.predict(X)
    for same in (X.astype({"town": str}), X.astype({"town": object}), pl.from_pandas(X), pa.Table.from_pandas(X)):
        np.testing.assert_array_equal(model.predict(same), expected)
    unseen, gone = model.predict(X.assign(town="Bonn")), model.predict(X.assign(town=None))
    np.testing.assert_array_equal(unseen, gone)
    part = X.assign(town=["Bonn", *KINDS["category"][1:]])
    np.testing.assert_array_equal(model.predict(part)[1:], expected[1:])
    np.testing.assert_array_equal(model.predict(part)[0], unseen[0])


AS_OTHERS = {"float": 1.5, "category": "a", "date": DAY, "duration": datetime.timedelta(1)}
NOUNS = {"float": "numbers", "category": "(categories or )?text", "date": "dates", "duration": "time differences"}


@pytest.mark.parametrize("before", NOUNS)
@pytest.mark.parametrize("now", NOUNS)
def test_a_column_that_is_of_another_kind_is_refused(before, now):
    X = pd.DataFrame({"n": range(M), "odd": KINDS[before]})
    model = fitted(X)
    other = X.assign(odd=pd.Series([AS_OTHERS[now]] * M, dtype=object))
    if before == now:
        assert np.isfinite(model.predict(other)).all()
        return
    with pytest.raises(TypeError, match=f"X has {NOUNS[now]}.* in column 'odd', which had {NOUNS[before]} in fit"):
        model.predict(other)
    np.testing.assert_array_equal(model.predict(X), fitted(X).predict(X))


def test_a_moment_is_the_same_in_any_zone():
    X = pd.DataFrame({"at": pd.date_range("2024-03-30", periods=M, freq="h", tz="Europe/Berlin")})
    model = fitted(X)
    expected = model.predict(X)
    for zone in ("UTC", "America/Los_Angeles"):
        np.testing.assert_array_equal(model.predict(X.assign(at=X["at"].dt.tz_convert(zone))), expected)
    np.testing.assert_array_equal(model.predict(pl.from_pandas(X)), expected)


# ------------------------------------------------------------------------------------------------------------ few, many


@pytest.mark.parametrize("m", [1, 2, 3])
def test_few_rows(m):
    X = pd.DataFrame(KINDS)
    model = fitted(X[:m], Y[:m])
    assert (model.predict(X) >= Y[:m].min()).all()
    assert (model.predict(X) <= Y[:m].max()).all()
    if m == 1:
        with pytest.raises(ValueError, match="y has one class, 'a'; a classifier needs two"):
            fitted(X[:1], ["a"], TableClassifier)
    else:
        assert fitted(X[:m], ["a", "b", "a"][:m], TableClassifier).predict_proba(X).shape == (M, 2)
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        fitted(X[:0], Y[:0])


@pytest.mark.parametrize(("n", "columns"), [(1000, 1000), (1500, 1000)])
def test_a_thousand_categories(n, columns):
    X = pd.DataFrame({"id": [f"k{i % n}" for i in range(3000)]})
    model = fitted(X, np.arange(3000.0) % n)
    assert model.encoder_.n_columns == columns
    assert np.isfinite(model.predict(X)).all()


# -------------------------------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("make", "y", "message"),
    [
        (TableClassifier, ["a", None] * 20, r"y contains NaN: None in row 1\. Leave out rows"),
        (TableClassifier, ["a", "b", "a", np.nan] * 10, r"y contains NaN: nan in row 3"),
        (TableClassifier, pd.Series(["a", np.nan] * 20), r"y contains NaN: nan in row 1"),
        (TableClassifier, pl.Series(["a", None] * 20), r"y contains NaN: None in row 1"),
        (TableClassifier, pd.array([True, None] * 20, "boolean"), r"y contains NaN: <NA> in row 1"),
        (TableRegressor, pd.array([1, None] * 20, "Int64"), r"y contains NaN"),
        (TableRegressor, [1.0, None] * 20, r"y contains NaN: None in row 1"),
        (TableRegressor, [1.0, np.nan] * 20, r"y contains NaN"),
        (TableRegressor, ["a"] * M, r"y must hold numbers: .*'a'\. Of classes, TableClassifier learns"),
    ],
    ids=repr_of,
)  # fmt: skip
def test_targets_that_none_learns_are_refused(make, y, message):
    with pytest.raises(ValueError, match=message):
        fitted(FRAME, y, make)


@pytest.mark.parametrize(
    ("X", "y", "weights"),
    [
        (FRAME.rename(columns={"float": "x"}), np.arange(M) % 3, -np.ones(M)),
        (FRAME.assign(float=np.inf), np.arange(M) % 3, None),
        (FRAME.rename(columns={"float": "x"}), np.arange(M - 1) % 3, None),
        (FRAME.to_numpy(), np.zeros(M), None),
    ],
    ids=["weights", "infinite", "length", "one class"],
)
def test_a_fit_that_fails_changes_nothing(X, y, weights):
    model = fitted(FRAME, ["no", "yes"] * 20, TableClassifier)
    before, expected = dict(vars(model)), model.predict(FRAME)
    with pytest.raises(ValueError):  # noqa: PT011 - which one, other tests say
        model.fit(X, y, weights)
    assert vars(model).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(model).items())
    np.testing.assert_array_equal(model.predict(FRAME), expected)


def test_eval_set_is_one_tuple_or_a_list_of_it():
    one = TableRegressor(**QUICK).fit(FRAME, Y, eval_set=(FRAME, Y))
    listed = TableRegressor(**QUICK).fit(FRAME, Y, eval_set=[(FRAME, Y)])
    np.testing.assert_array_equal(listed.predict(FRAME), one.predict(FRAME))
    for wrong in ([(FRAME, Y)] * 2, [FRAME, Y], (FRAME,), FRAME, 3):
        with pytest.raises(ValueError, match=r"eval_set must be \(X, y\) or \(X, y, sample_weight\), or a list of one"):
            TableRegressor(**QUICK).fit(FRAME, Y, eval_set=wrong)


@pytest.mark.parametrize("of", [list, np.asarray, pd.Series, pl.Series, pa.array], ids=lambda of: of.__name__)
def test_targets_of_each_library(of):
    np.testing.assert_array_equal(fitted(FRAME, of(Y)).predict(FRAME), fitted(FRAME).predict(FRAME))
    y = ["no", "yes"] * 20
    model = fitted(FRAME, of(y), TableClassifier)
    assert model.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(
        model.predict_proba(FRAME), fitted(FRAME, np.array(y), TableClassifier).predict_proba(FRAME)
    )


# --------------------------------------------------------------------------------------------------------------- memory

PROGRAM = """
import sys, numpy as np
from fastnet.tables import TableClassifier, TableRegressor
m, n, dtype, classifies, repeats = 1_000_000, 20, sys.argv[1], sys.argv[2] == "classifies", int(sys.argv[3])
def status(name):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(name))
make = TableClassifier if classifies else TableRegressor
settings = dict(n_nets=1, epochs=1, random_state=0)
rng = np.random.default_rng(0)
small = rng.standard_normal((3000, n)).astype(dtype)
make(**settings).fit(small, small[:, 0] > 0)  # loads what it needs
X = np.empty((m, n), dtype)
for start in range(0, m, 10_000):
    X[start : start + 10_000] = rng.standard_normal((10_000, n), np.float32)
X[m // repeats :] = np.resize(X[: m // repeats], (m - m // repeats, n)) if repeats > 1 else X[m // repeats :]
y = (X[:, 0] > 0) if classifies else X[:, 0].copy()
open("/proc/self/clear_refs", "w").write("5")  # of the peak
before = status("VmRSS:")
make(**settings).fit(X, y)
print(status("VmHWM:") - before)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="nobody says how much memory was needed")
@pytest.mark.parametrize(
    "arguments", [("float32", "predicts", "1"), ("float64", "classifies", "1"), ("float32", "predicts", "1000")]
)
def test_memory_is_that_of_the_table_in_float32_and_of_some_columns(arguments):
    """A column of float64 is 7.6 MB, the table 76 MB."""
    run = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 76 + 16 * 7.6


def test_a_row_or_a_column_alone_is_no_table_and_what_helps_is_named():
    numbers = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"])
    model = TableRegressor(**QUICK).fit(numbers, Y)
    for series in (numbers.iloc[0], numbers["a"], pl.Series("a", [1.0, 2.0])):
        for call in (lambda X: model.predict(X), lambda X: model.fit(X, Y)):
            with pytest.raises(ValueError, match=r"but is a Series. Pass frame\[\[name\]\] for a column"):
                call(series)
    with pytest.raises(TypeError, match=r"X holds dictionaries. Pass pandas.DataFrame\(X\)"):
        model.predict([{"a": 1.0, "b": 2.0}])
    with pytest.raises(TypeError, match=r"X must be a table, not a dict. Pass pandas.DataFrame\(X\)"):
        model.predict({"a": [1.0], "b": [2.0]})


def test_quantiles_of_few_errors_are_warned_of():
    X = np.random.default_rng(0).normal(size=(60, 2))
    few = TableRegressor(**QUICK).fit(X, X[:, 0], eval_set=(X[:9], X[:9, 0]))
    with pytest.warns(UserWarning, match=r"Only 9 rows were held out.* needs 19 or more") as found:
        few.predict_quantiles(X)
    assert found[0].filename == __file__
    few.predict_quantiles(X, (0.1, 0.9))
