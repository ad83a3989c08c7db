"""What becomes of each kind of column: the formulas against a plain reference, and what must hold for any table."""

import doctest
import os
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from fastnet import NotFittedError
from fastnet.tables import encoder as module
from fastnet.tables.encoder import ROWS, TableEncoder

pytestmark = pytest.mark.jit  # not about kernels


def numbers(m=300, n=4, missing=0.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n)) * 10.0 ** np.arange(n) + 3
    X[rng.random((m, n)) < missing] = np.nan
    return X


def as_objects(*columns):
    """Return columns side by side, as an array of objects."""
    X = np.empty((len(columns[0]), len(columns)), object)
    for k, column in enumerate(columns):
        X[:, k] = column
    return X


def same_state(a, b):
    """Raise AssertionError unless two encoders have learned the same, to the bit."""
    (settings, arrays), (others, other_arrays) = a.state(), b.state()
    assert settings == others
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, other_arrays[name])


def encoded(X, **settings):
    return TableEncoder(**settings).fit(X).transform(X)


# ---------------------------------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.97])
@pytest.mark.parametrize("settings", [{}, {"bins": 0}, {"bins": 1}, {"bins": 4, "clip": 0.5}])
def test_it_is_the_reference(missing, settings):
    X = numbers(missing=missing)
    X[:, 1] = np.where(np.isnan(X[:, 1]), np.nan, np.floor(X[:, 1] / 10))  # few values
    X[:, 2] = np.where(np.isnan(X[:, 2]), np.nan, X[:, 2] > 250)  # equal quartiles
    rng = np.random.default_rng(1)
    texts = [[None, *"abc"][i] for i in rng.integers(0, 4, len(X))]
    pair = [[None, "no", "yes"][i] for i in rng.integers(0, 3, len(X))]
    alone = [[None, 7][i] if i else None for i in rng.integers(0, 2, len(X))]
    mixed = [[10, 9, "9", "é"][i] for i in rng.integers(0, 4, len(X))]
    categories = [texts, pair, mixed]
    table = as_objects(*X.T, *categories)
    encoder = TableEncoder(**settings).fit(table)
    expected = reference.table_encoder(list(X.T), categories, **settings)(list(X.T), categories)
    Z = encoder.transform(table)
    np.testing.assert_array_max_ulp(Z, expected.astype(np.float32), maxulp=1)
    assert Z.shape == (len(X), encoder.n_columns)
    assert Z.dtype == np.float32
    assert Z.flags.c_contiguous
    new = as_objects(*numbers(20, seed=5).T, ["z"] * 20, [None] * 20, [9] * 20)
    expected = reference.table_encoder(list(X.T), categories, **settings)(
        list(numbers(20, seed=5).T), [["z"] * 20, [None] * 20, [9] * 20]
    )
    np.testing.assert_array_max_ulp(encoder.transform(new), expected.astype(np.float32), maxulp=1)
    lonely = TableEncoder(**settings).fit(as_objects(alone))
    assert lonely.columns[0].kind == "number"
    assert lonely.transform(as_objects(alone)).ravel().tolist() == [float(v is None) for v in alone]


def test_numbers_of_other_libraries():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    X = np.array([[1.0], [2.5], [4.0]])
    np.testing.assert_array_equal(encoded(X.astype(bfloat16)), encoded(X))


def test_equal_quartiles_have_half_the_range_for_a_unit():
    X = np.array([[0.0]] * 9 + [[8.0]])
    z = encoded(X, bins=0)
    assert z[0, 0] == 0
    assert z[9, 0] == np.float32(2 / np.sqrt(1 + (2 / 3) ** 2))


def test_a_number_of_each_type_is_the_same():
    column = [3, 1, 2, 5, 8, 1]
    expected = encoded(np.array([column], float).T)
    for kind in (np.int8, np.uint64, np.float16, np.float32, ">i4", object):
        np.testing.assert_array_equal(encoded(np.array([column], kind).T), expected)
    for make in (Decimal, Fraction, np.float32, np.int16):
        np.testing.assert_array_equal(encoded([[make(v)] for v in column]), expected)
    fields = np.array([(v,) for v in column], [("a", "i4")])
    np.testing.assert_array_equal(encoded(fields), expected)
    assert TableEncoder().fit(fields).feature_names_in_ == ("a",)


@pytest.mark.parametrize(
    "column",
    [
        [1e308, -1e308, 1e307, 0.0, 5.0],
        [1.7e308, 1.6e308, np.nan, -1.7e308],
        [5e-324, 0.0, 0.0, 0.0, 0.0],
        [5e-324, 0.0, 1e-323],
        [0.0, 1e-300, 1e300],
        np.array([2**63 - 1, 2**62, -(2**63), 2**53 + 1]),
        np.array([2**64 - 1, 0, 2**63], np.uint64),
    ],
)
def test_numbers_of_any_size_are_finite(column):
    X = np.asarray(column)[:, None]
    with np.errstate(all="raise"):
        encoder = TableEncoder().fit(X)
        Z = encoder.transform(X)
        far = encoder.transform(np.array([[1.7e308], [-1.7e308], [1e-320]]))
    for each in (Z, far):
        assert np.isfinite(each).all()
        assert np.abs(each).max() <= 3
    order = np.argsort(X[:, 0])
    assert (np.diff(Z[order, 0][~np.isnan(X[order, 0].astype(float))]) >= 0).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_number_is_refused_where_it_is(value):
    X = numbers(2 * ROWS)
    encoder = TableEncoder().fit(X)
    X[ROWS + 5, 2] = value
    for use in (TableEncoder().fit, encoder.transform):
        with pytest.raises(ValueError, match=rf"^X has an infinite value in column 2, row {ROWS + 5}: -?inf\. Clip it"):
            use(X)
    with pytest.raises(ValueError, match="infinite value in column 0, row 1"):
        TableEncoder().fit([["a"], [value]])
    with pytest.raises(ValueError, match="beyond the range of float64 in column 0, row 1"):
        TableEncoder().fit([[1], [10**400]])


def test_truth_values_are_a_signed_column():
    expected = [[-1], [1], [0], [1]]
    for missing in (None, np.nan):
        X = as_objects([False, True, missing, True])
        assert encoded(X).tolist() == expected
    encoder = TableEncoder().fit(np.array([[False], [True]]))
    assert encoder.columns[0].kind == "boolean"
    for X in ([[0], [1], [None], [1]], np.array([[0, 1, np.nan, 1]]).T, as_objects([False, True, None, True])):
        assert encoder.transform(X).tolist() == expected
    with pytest.raises(TypeError, match="X has numbers, 2 in row 1, in column 0, which had truth values in fit"):
        encoder.transform([[0], [2]])
    np.testing.assert_array_equal(
        TableEncoder().fit(np.array([[0.0], [1.0], [3.0]])).transform([[True], [False]]),
        TableEncoder().fit(np.array([[0.0], [1.0], [3.0]])).transform([[1], [0]]),
    )


@pytest.mark.parametrize("seed", range(60))
def test_nothing_depends_on_the_order_of_rows_whatever_they_weigh(seed):
    """0.1 + 0.2 + 0.3 is another number than 0.3 + 0.2 + 0.1."""
    rng = np.random.default_rng(seed)
    numbers, weights, order = rng.integers(0, 12, 60).astype(float), rng.integers(1, 10, 60) / 10, rng.permutation(60)
    X = as_objects(np.where(rng.random(60) < 0.1, np.nan, numbers), rng.choice(list("abcdefgh"), 60))
    one, two = TableEncoder(4, max_categories=4), TableEncoder(4, max_categories=4)
    (settings, arrays), (others, found) = one.fit(X, weights).state(), two.fit(X[order], weights[order]).state()
    assert settings == others
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_categories_do_not_depend_on_the_order_of_rows():
    column = ["b", "a", "é", "Z", 10, 9, 1.5, "10", b"b", None]
    expected = [9, 10, "10", "Z", "a", "b", "é"]
    for order in (slice(None), slice(None, None, -1)):
        encoder = TableEncoder().fit(as_objects(column[order]))
        assert list(encoder.columns[0].levels) == sorted([1.5, 9, 10]) + expected[2:]
    hot = encoder.transform(as_objects(["10", 10.0, np.int8(10), b"10", "unseen", None]))
    assert hot.argmax(axis=1)[:4].tolist() == [3, 2, 2, 3]
    assert hot.sum(axis=1).tolist() == [1, 1, 1, 1, 0, 0]


def test_of_many_categories_the_most_frequent_are_kept():
    column = [f"{i:04}" for i in range(1000)]
    X = as_objects([*column, *column[500:], *column[900:]])
    assert TableEncoder().fit(X).n_columns == 1000
    encoder = TableEncoder(max_categories=150).fit(X)
    assert list(encoder.columns[0].levels) == column[500:550] + column[900:]
    assert encoder.columns[0].n_levels == 1000
    assert "150 of 1000: 0500, 0501" in str(encoder)
    Z = encoder.transform(X)
    assert Z.sum() == 2 * 50 + 3 * 100
    assert not Z[:500].any()
    rare = TableEncoder(max_categories=1).fit(as_objects([1, 1, "n/a"]))
    assert rare.transform(as_objects([1, 1, "n/a"])).tolist() == [[1], [1], [0]]


def test_dates_are_numbers_in_utc():
    dates = np.array(["1969-12-31T23:30", "2024-02-29T06:00", "NaT", "2023-01-01T12:45"], "M8[m]")
    parts = [
        [-1800, 1709186400, np.nan, 1672577100], [1969, 2024, np.nan, 2023], [12, 2, np.nan, 1],
        [31, 29, np.nan, 1], [2, 3, np.nan, 6], [23.5, 6, np.nan, 12.75],
    ]  # fmt: skip
    parts = np.array(parts)
    for unit in ("m", "s", "ms", "us", "ns"):
        X = dates.astype(f"M8[{unit}]")[:, None]
        encoder = TableEncoder().fit(X)
        assert encoder.columns[0].parts == ("seconds", "year", "month", "day", "weekday", "hour")
        np.testing.assert_array_equal(encoder.transform(X)[:, :6], encoded(parts.T)[:, :6])
        assert encoder.transform(X)[:, 6].tolist() == [0, 0, 1, 0]
        np.testing.assert_array_equal(encoder.transform(X)[:, 7:], encoded(parts.T)[:, 12:])
    fine = np.array([[1], [2 * 10**18], [10**18]], "M8[as]")
    np.testing.assert_array_equal(encoded(fine), encoded(fine.astype("M8[ns]")))
    days = np.array([["2024-01-01"], ["2024-01-09"], ["2024-01-16"]], "M8[D]")
    assert TableEncoder().fit(days).columns[0].parts == ("seconds", "day", "weekday")
    years = np.array([["2020"], ["2021"]], "M8[Y]")
    assert TableEncoder().fit(years).columns[0].parts == ("seconds", "year", "weekday")


def test_time_differences_are_seconds():
    column = np.array([1500, -250, "NaT", 86_400_000], "m8[ms]")
    seconds = np.array([1.5, -0.25, np.nan, 86400])
    for unit in ("ms", "us", "ns"):
        np.testing.assert_array_equal(encoded(column.astype(f"m8[{unit}]")[:, None]), encoded(seconds[:, None]))
    np.testing.assert_array_equal(encoded(as_objects(column.astype(object))), encoded(seconds[:, None]))
    assert "-0.25 to 8.64e+04 s" in str(TableEncoder().fit(column[:, None]))


def test_what_is_constant_or_missing_makes_no_column():
    nothing = [None] * 4
    table = as_objects([7] * 4, nothing, ["a"] * 4, [np.nan] * 4, [True] * 4, [1.0, 2.0, 3.0, 4.0])
    encoder = TableEncoder(bins=0).fit(table)
    assert encoder.n_columns == 1
    assert [column.kind for column in encoder.columns] == ["number", "empty", "category", "empty", "boolean", "number"]
    assert str(encoder).count("constant: ") == 3
    table[:, 1] = "anything"
    np.testing.assert_array_equal(encoder.transform(table), encoded(np.arange(4.0)[:, None], bins=0))
    left = TableEncoder().fit(table[:, :2])
    assert left.n_columns == 1
    assert not left.transform(table[:, :2]).any()
    gaps = as_objects([7, None, 7], ["a", "a", None])
    assert encoded(gaps).tolist() == [[0, 1], [1, 1], [0, 0]]


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 1])
def test_missing_values_of_any_share(share):
    X = numbers(200, 3)
    X[: int(200 * share), 1] = np.nan
    encoder = TableEncoder().fit(X)
    Z = encoder.transform(X)
    assert np.isfinite(Z).all()
    assert encoder.columns[1].missing == share
    if 0 < share < 1:
        np.testing.assert_array_equal(Z[:, 3], np.isnan(X[:, 1]))
    all_gone = encoder.transform(np.full((2, 3), np.nan))
    assert not all_gone[:, :2].any()


# --------------------------------------------------------------------------------------------------- of any table

CELLS = st.one_of(st.none(), st.sampled_from(["a", "b", "1", ""]), st.integers(-3, 3), st.floats(allow_infinity=False))


@given(st.lists(st.tuples(st.floats(allow_infinity=False), CELLS, st.booleans()), min_size=1, max_size=20), st.data())
def test_rows_stand_for_themselves(rows, data):
    order = data.draw(st.permutations(range(len(rows))))
    X, shuffled = as_objects(*zip(*rows, strict=True)), as_objects(*zip(*(rows[i] for i in order), strict=True))
    encoder = TableEncoder(bins=4).fit(X)
    same_state(TableEncoder(bins=4).fit(shuffled), encoder)
    Z = encoder.transform(X)
    assert np.isfinite(Z).all()
    np.testing.assert_array_equal(encoder.transform(shuffled), Z[order])
    a, b = sorted(data.draw(st.tuples(st.integers(0, len(rows)), st.integers(0, len(rows)))))
    np.testing.assert_array_equal(encoder.transform(X[a:b]), Z[a:b])
    same_state(TableEncoder.of_state(*encoder.state()), encoder)


def test_slabs_leave_no_seams():
    X = as_objects(
        *numbers(2 * ROWS + 1, 2, missing=0.1).T,
        np.arange(2 * ROWS + 1) % 7 > 3,
        ["ab"[i % 2] for i in range(2 * ROWS + 1)],
    )
    encoder = TableEncoder().fit(X)
    Z = encoder.transform(X)
    for rows in (slice(ROWS - 1, ROWS + 1), slice(2 * ROWS, None), slice(0, 1)):
        np.testing.assert_array_equal(encoder.transform(X[rows]), Z[rows])
    assert encoder.transform(X[:0]).shape == (0, encoder.n_columns)


DIGEST = "716eea928392ade29a0e491353a947c1cd2388b6e2e44a2f22f31fc7fe86cfd9"
DIGESTED = """
import hashlib
import numpy as np
from fastnet.tables.encoder import TableEncoder

n = np.arange(1000)
table = np.empty((1000, 3), object)
table[:, 0], table[:, 1], table[:, 2] = (n * 7919 % 1009) / 7, (n * n % 101).astype(float), [f"{i % 13}" for i in n]
dates = (n * 86_399_123).astype("M8[ms]")[:, None]
Z = np.hstack([TableEncoder().fit(X).transform(X) for X in (table, dates)])
print(hashlib.sha256(Z.astype("<f4").tobytes()).hexdigest())
"""


@pytest.mark.parametrize("features", ["", "X86_V3 X86_V4 AVX512_ICL AVX512F AVX512_SKX AVX2 FMA3"])
def test_it_has_the_same_bits_everywhere(features):
    """A digest that all machines have; also without the vector instructions that NumPy may do without on this one."""
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": features}
    command = [sys.executable, "-W", "ignore", "-c", DIGESTED]  # NumPy warns of features that it cannot disable
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert run.stdout.strip() == DIGEST


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros(3), ValueError, r"2 dimensions .* shape \(3,\)\. Reshape your data: .* X\.reshape\(1"),
        (["a", "b"], ValueError, r"2 dimensions"),
        (np.zeros((2, 2, 2)), ValueError, r"2 dimensions"),
        (None, ValueError, r"2 dimensions"),
        (np.zeros((0, 3)), ValueError, r"X has 0 sample"),
        (np.zeros((3, 0)), ValueError, r"X has 0 feature"),
        ([[1, [2]], [[3, 4]]], ValueError, r"X has rows of 1 and of 2 values"),
        ([[1, 2], [3]], ValueError, r"X has rows of 1 and of 2 values\. Pass rows of one length"),
        (np.ma.masked_equal([[1, 2]], 2), ValueError, "X is masked"),
        (np.ones((2, 2)) * 1j, TypeError, r"X has complex \(dtype complex128\) in column 0: pass real numbers"),
        ([[1], [1j]], TypeError, r"X has 1j, of type complex, in column 0, row 1\. Pass numbers, text"),
        ([["a"], [{}]], TypeError, r"X has \{\}, of type dict, in column 0, row 1"),
        ([[np.datetime64("2020-01-01")], [5]], TypeError, r"X has dates in column 0, but 5 in row 1\. Pass"),
        ([["x"], [np.timedelta64(1, "s")]], TypeError, r"X has categories or text in column 0, but .* in row 1"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(X, error, message):
    encoder = TableEncoder()
    with pytest.raises(error, match=message):
        encoder.fit(X)
    assert not hasattr(encoder, "columns")


def test_sparse_matrices_are_refused():
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(np.eye(3))
    for use in (TableEncoder().fit, TableEncoder().fit(np.eye(3)).transform):
        with pytest.raises(TypeError, match=r"X is sparse, .* Pass X.toarray\(\)"):
            use(sparse)


def test_a_column_stays_what_it_was():
    table = as_objects([1.5, 2, 3], ["a", "b", "c"], np.array(["2020", "2021", "2022"], "M8[D]").astype(object))
    encoder = TableEncoder().fit(table)
    for k, value, message in [
        (0, "2", r"X has text, '2' in row 1, in column 0, which had numbers in fit\. Convert it \(.astype\(float\)"),
        (1, 2, r"X has numbers, 2 in row 1, in column 1, which had text in fit\. Convert it \(.astype\(str\)"),
        (2, "2020-01-01", r"X has dates in column 2, but '2020-01-01' in row 1"),
    ]:
        other = table.copy()
        other[1, k] = value
        with pytest.raises(TypeError, match=message):
            encoder.transform(other)
        if k == 2:
            other[:, k] = value
            with pytest.raises(TypeError, match=r"X has categories or text, in column 2, which had dates in fit"):
                encoder.transform(other)
    with pytest.raises(
        TypeError, match=r"X has text, 'a' in row 0, in column 0, which had categories that are numbers"
    ):
        TableEncoder.of_state(*numbers_only().state()).transform([["a"]])
    with pytest.raises(ValueError, match=r"X has 2 features, but TableEncoder is expecting 3"):
        encoder.transform(table[:, :2])
    with pytest.raises(NotFittedError, match=r"call fit\(X\) first"):
        TableEncoder().transform(table)


def numbers_only():
    """Return an encoder of a column of categories that are numbers."""
    settings, arrays = TableEncoder().fit([["a"], ["b"], ["c"]]).state()
    settings["columns"][0] |= {"levels": [1, 2, 3], "sorts": ["numbers"]}
    return TableEncoder.of_state(settings, arrays)


def test_a_fit_that_fails_changes_nothing():
    X = numbers()
    encoder = TableEncoder().fit(X)
    with pytest.raises(ValueError, match="infinite"):
        encoder.fit(np.full((3, 2), np.inf))
    same_state(encoder, TableEncoder().fit(X))


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"bins": -1}, ValueError), ({"bins": 1001}, ValueError), ({"bins": 2.5}, TypeError),
        ({"bins": True}, TypeError),
        ({"clip": 0}, ValueError), ({"clip": 1e9}, ValueError), ({"clip": np.nan}, ValueError),
        ({"clip": "3"}, TypeError),
        ({"max_categories": 0}, ValueError), ({"max_categories": None}, TypeError), ({"n_bins": 3}, TypeError),
    ],
)  # fmt: skip
def test_settings_are_checked(settings, error):
    with pytest.raises(error, match=next(iter(settings))):
        TableEncoder(**settings)


def test_settings_are_fixed():
    with pytest.raises(AttributeError, match="bins of a TableEncoder is fixed"):
        TableEncoder().bins = 3


# ------------------------------------------------------------------------------------------------- printing and memory


def test_it_prints_a_line_for_each_column():
    X = as_objects([1.0, 2.5, None, 4.0], ["a\x1b[2J", "b", "b", "x" * 99])
    lines = str(TableEncoder(bins=2).fit(X)).splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["column", "kind", "values", "missing", "columns"],
        ["0", "number", "1", "to", "4", "25", "%", "4"],
    ]
    assert lines[-1] == "2 columns become 7."
    assert "\x1b" not in "".join(lines)
    assert max(map(len, lines)) < 100
    assert str(TableEncoder()) == "TableEncoder(bins=8, clip=3.0, max_categories=1000)"


def test_its_example_runs():
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 2


def test_memory_is_that_of_the_result_and_of_a_few_columns():
    m, n = 200_000, 20
    X = np.random.default_rng(0).standard_normal((m, n), np.float32)
    tracemalloc.start()
    try:
        encoder = TableEncoder().fit(X)
        _, peak = tracemalloc.get_traced_memory()
        assert peak < 7 * m * 8  # a table of float64 has 20 columns
        tracemalloc.reset_peak()
        Z = encoder.transform(X)
        _, peak = tracemalloc.get_traced_memory()
        assert peak < Z.nbytes + 2 * m * 8
    finally:
        tracemalloc.stop()


def test_it_imports_no_library():
    code = (
        "import sys, numpy as np; from fastnet.tables.encoder import TableEncoder;"
        "X = np.array([[1, 'a', None], [2, 'b', 3]], object); TableEncoder().fit(X).transform(X);"
        "print([m for m in ('numba', 'sklearn', 'pandas', 'polars', 'pyarrow', 'scipy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
