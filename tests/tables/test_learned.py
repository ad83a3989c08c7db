"""What an encoder has learned, as data: it goes round, and what is no state of one is refused, whatever it is."""

import copy
import json
import pickle
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet.tables.encoder import TableEncoder

pytestmark = pytest.mark.jit  # not about kernels

ROWS = [
    [
        i * 0.3 % 4,
        "abc"[i % 3],
        i % 2 == 0,
        datetime(2024, 1, 1) + timedelta(hours=50 * i),
        None,
        [None, 3.5, "x"][i % 3],
    ]
    for i in range(40)
]
ENCODER = TableEncoder(bins=4).fit(ROWS)


def state():
    settings, arrays = ENCODER.state()
    return json.loads(json.dumps(settings, allow_nan=False)), arrays


def test_it_goes_round():
    for again in (TableEncoder.of_state(*state()), pickle.loads(pickle.dumps(ENCODER)), copy.deepcopy(ENCODER)):
        np.testing.assert_array_equal(again.transform(ROWS), ENCODER.transform(ROWS))
        assert str(again) == str(ENCODER)
        assert again.state()[0] == ENCODER.state()[0]
    nothing = TableEncoder().fit([[1], [1]])
    assert TableEncoder.of_state(*nothing.state()).transform([[1]]).tolist() == [[0]]


def test_what_is_passed_is_not_kept():
    settings, arrays = state()
    again = TableEncoder.of_state(settings, arrays)
    Z = again.transform(ROWS)
    for array in arrays.values():
        array[:] = 0
    again.state()[1]["medians"][:] = 7
    np.testing.assert_array_equal(again.transform(ROWS), Z)


REMOVED = object()

IN_A_COLUMN = [
    (0, "kind", "nonsense", "the kind 'nonsense'"),
    (0, "kind", ["number"], "kind"),
    (0, "kind", "category", "parts"),
    (0, "parts", ["value", "value"], "parts"),
    (0, "parts", [], "medians and units must be"),
    (0, "parts", "value", "parts"),
    (3, "parts", ["year", "seconds"], "parts"),
    (0, "missing", -0.1, "share"),
    (0, "missing", float("nan"), "share"),
    (0, "missing", True, "share"),
    (0, "missing", None, "share"),
    (0, "name", 3, "texts"),
    (0, "shown", None, "texts"),
    (0, "levels", ["a"], "categories"),
    (1, "levels", ["b", "a", "c"], "no order"),
    (1, "levels", ["a", "a"], "twice"),
    (1, "levels", [["a"], "b"], "texts or finite numbers"),
    (1, "levels", [float("inf")], "texts or finite"),
    (1, "levels", [None], "texts or finite"),
    (1, "levels", {"a": 1}, "texts or finite"),
    (1, "levels", [True], "texts or"),
    (1, "levels", [], "has 0 categories"),
    (1, "n_levels", 2, "has 2 categories, but more"),
    (1, "n_levels", "3", "categories"),
    (1, "sorts", [], "sorts"),
    (1, "sorts", ["numbers"], "sorts"),
    (1, "sorts", ["text", "numbers"], "sorts"),
    (1, "sorts", [1], "sorts"),
    (2, "levels", [0, 2], "neither 0 nor 1"),
    (2, "levels", ["a"], "neither 0 nor 1"),
    (1, "levels", REMOVED, "other entries"),
    (1, "more", 1, "other entries"),
]


@pytest.mark.parametrize(("k", "key", "value", "message"), IN_A_COLUMN)
def test_a_column_that_cannot_be_is_refused(k, key, value, message):
    settings, arrays = state()
    settings["columns"][k][key] = value
    if value is REMOVED:
        del settings["columns"][k][key]
    with pytest.raises(ValueError, match=rf"^This is no state of a TableEncoder: .*({message})"):
        TableEncoder.of_state(settings, arrays)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bins", -1, "bins must be"),
        ("bins", 10**9, "bins must be"),
        ("bins", 2, "not those of 2 bins"),
        ("clip", None, "clip must be"),
        ("clip", float("inf"), "clip must be"),
        ("max_categories", 1, "more than 1 categories"),
        ("columns", [], "its columns are no list"),
        ("columns", {}, "its columns are no list"),
        ("columns", [3], "entries"),
        ("columns", REMOVED, "columns"),
        ("names", ["a"] * 6, "names"),
        ("names", "abcdef", "names"),
        ("names", {}, "names"),
    ],
)
def test_settings_that_cannot_be_are_refused(key, value, message):
    settings, arrays = state()
    settings[key] = value
    if value is REMOVED:
        del settings[key]
    with pytest.raises(ValueError, match=rf"^This is no state of a TableEncoder: .*{message}"):
        TableEncoder.of_state(settings, arrays)


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("medians", lambda a: a[:-1], "medians and units must be"),
        ("units", lambda a: a[:-1], "medians and units must be"),
        ("medians", lambda a: changed(a, 0, np.nan), "medians are not all within"),
        ("medians", lambda a: changed(a, 0, -np.inf), "medians are not all within"),
        ("units", lambda a: changed(a, 0, 0), "units are not all"),
        ("units", lambda a: changed(a, 0, -1), "units"),
        ("units", lambda a: changed(a, 0, np.inf), "units"),
        ("units", lambda a: changed(a, 0, np.nan), "units"),
        ("edges", lambda a: changed(a, 1, np.nan), "edges are not all within"),
        ("edges", lambda a: changed(a, 1, a[0]), "edges do not increase"),
        ("edges", lambda a: a[:-1], "none of its edges"),
        ("edges", lambda a: a.astype(np.float32), "edges must be a flat array of float64"),
        ("edges", lambda a: a.astype(object), "edges must be a flat array of float64"),
        ("edges", lambda a: a[:, None], "edges must be a flat array"),
        ("edges", lambda a: a.tolist(), "edges must be a flat"),
        ("edge_offsets", lambda a: changed(a, 0, 1), "none of its edges"),
        ("edge_offsets", lambda a: changed(a, 1, 2), "not those of 4 bins"),
        ("edge_offsets", lambda a: changed(a, 1, 10**12), "none of its edges"),
        ("edge_offsets", lambda a: changed(a, 1, -5), "none of its edges"),
        ("edge_offsets", lambda a: changed(a, 1, -(2**63)), "none of its edges"),
        ("edge_offsets", lambda a: a.astype(float), "flat array of int64"),
        ("edge_offsets", lambda a: a[:0], "none of its"),
    ],
)
def test_arrays_that_cannot_be_are_refused(name, change, message):
    settings, arrays = state()
    arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=rf"^This is no state of a TableEncoder: .*{message}"):
        TableEncoder.of_state(settings, arrays)
    del arrays[name]
    with pytest.raises(ValueError, match=rf"^This is no state of a TableEncoder: .*{name}"):
        TableEncoder.of_state(settings, arrays)


@pytest.mark.parametrize("value", [None, 3, "state", [], {}, [1, 2]])
def test_what_is_no_state_at_all_is_refused(value):
    settings, arrays = state()
    for pair in ((value, arrays), (settings, value)):
        with pytest.raises(ValueError, match=r"^This is no state of a TableEncoder: "):
            TableEncoder.of_state(*pair)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_a_state_with_anything_in_it_is_refused_or_encodes(data):
    settings, arrays = state()
    where = settings
    if data.draw(st.booleans()):
        where = settings["columns"][data.draw(st.integers(0, 5))]
    where[data.draw(st.sampled_from(sorted(where)))] = data.draw(JUNK)
    try:
        encoder = TableEncoder.of_state(settings, arrays)
    except ValueError as error:
        assert str(error).startswith("This is no state")  # noqa: PT017
        return
    assert str(encoder)
    Z = encoder.transform([[None] * 6])
    assert Z.shape == (1, encoder.n_columns)
    assert np.isfinite(Z).all()
