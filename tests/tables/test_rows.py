"""Which rows networks train with: rows that are alike are one, or in a discrete table as many as there are."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from fastnet.tables import TableClassifier, TableRegressor
from fastnet.tables.rows import DISCRETE_FROM, MOST_REPEATS, distinct_rows, folds, is_discrete, repeated

KINDS = np.array([[a, b, c, d] for a in range(4) for b in range(2) for c in range(2) for d in range(2)])
SETTINGS = {"random_state": 0, "hidden_layer_sizes": (16, 16)}


def table(m, n, seed=0):
    """Return numbers (m, n), all different, as the networks get them, and targets of two classes."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, n)).astype(np.float32), rng.integers(0, 2, m)


def discrete(m, seed=0):
    """Return rows (m, 4) of few kinds, and for each the number of its kind."""
    kinds = np.random.default_rng(seed).integers(0, len(KINDS), m)
    return KINDS[kinds], kinds


@pytest.mark.jit
@pytest.mark.parametrize("weights", [None, np.full(2000, 0.5)], ids=["alike", "halves"])
@pytest.mark.parametrize("n_nets", [1, 4])
def test_of_few_kinds_of_rows_the_shares_are_learned(n_nets, weights):
    """A network that has never seen a kind, since all its rows are in one fold, would have to guess."""
    X, kinds = discrete(2000)
    p = np.random.default_rng(1).uniform(0.1, 0.9, len(KINDS))
    y = np.random.default_rng(2).random(2000) < p[kinds]
    shares = np.array([y[kinds == kind].mean() for kind in range(len(KINDS))])
    model = TableClassifier(n_nets, **SETTINGS).fit(X.astype(str), y, weights)
    found = model.predict_proba(KINDS.astype(str))[:, 1]
    assert np.abs(found - shares).mean() < 0.06
    assert np.abs(model.oof_prediction_[:, 1] - found[kinds])[~np.isnan(model.oof_prediction_[:, 1])].mean() < 0.06


@pytest.mark.jit
@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_a_rule_for_few_kinds_of_rows_is_learned_though_nothing_says_what_others_are(kind):
    X, kinds = discrete(600)
    rule = np.random.default_rng(1).integers(0, 2, len(KINDS))
    model = kind(1, **SETTINGS).fit(X.astype(str), rule[kinds])
    np.testing.assert_array_equal(np.rint(model.predict(KINDS.astype(str))), rule)


@pytest.mark.jit
@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_a_whole_weight_is_so_many_rows_of_a_discrete_table_too(kind):
    X, kinds = discrete(400)
    y = (kinds + np.random.default_rng(1).integers(0, 2, 400)) % 2
    weights = np.random.default_rng(2).integers(0, 4, 400)
    one = kind(2, **SETTINGS, epochs=3).fit(X, y, sample_weight=weights)
    two = kind(2, **SETTINGS, epochs=3).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    for model, other in zip(one.model_, two.model_, strict=True):
        np.testing.assert_array_equal(model.parameters, other.parameters)
    np.testing.assert_array_equal(np.repeat(one.oof_prediction_, weights, axis=0), two.oof_prediction_)


def rows_of(C, y, weights=None):
    distinct = distinct_rows(C, y, weights)
    return (distinct.rows, distinct.weights, *repeated(C, distinct))


@pytest.mark.parametrize("times", [1, 2, np.arange(65) % 4])
def test_copies_of_measurements_are_one_row(times):
    """As where rare classes were copied: a copy that is held out would measure nothing."""
    C, y = table(65, 3)
    C, y = np.repeat(C, times, axis=0), np.repeat(y, times)
    rows, weights, found, weights_found = rows_of(C, y)
    np.testing.assert_array_equal(found, rows)
    assert weights_found is weights


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("weights", [np.full(300, 10**6), np.where(np.arange(300) < 5, 59, 1)], ids=["huge", "rare"])
def test_measurements_of_any_weight_are_in_one_fold_alone(weights, n):
    """Or each network would validate with copies of what it trains with."""
    C, y = table(300, n)
    found = rows_of(C, y, weights.astype(float))[2]
    assert len(np.unique(found)) == len(found) == 300


def test_weights_add_up_to_the_same_bits_in_any_order_of_the_rows():
    C, y = (np.repeat(each, 5, axis=0) for each in table(60, 3))
    weights, order = np.random.default_rng(0).random(300), np.random.default_rng(1).permutation(300)
    one, two = distinct_rows(C, y, weights), distinct_rows(C[order], y[order], weights[order])
    np.testing.assert_array_equal(two.weights[two.rows], one.weights[one.rows])


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_measurements_in_few_columns_are_not_discrete_whatever_they_weigh(columns):
    C, y = table(300, columns)
    rows, _, weights = distinct_rows(C, y, np.full(300, 50.0))
    assert not is_discrete(C, rows, weights[rows])


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("weights", [None, 1, 3])
def test_rows_of_a_discrete_table_are_there_as_often_as_they_weigh(weights, classes):
    C = discrete(300)[0].astype(np.float32)
    y = np.random.default_rng(1).integers(0, classes, 300)
    distinct = distinct_rows(C, y, None if weights is None else np.full(300, float(weights)))
    found, weights_found = repeated(C, distinct)
    assert weights_found is None
    expected = np.bincount(distinct.of, minlength=300) * (weights or 1)
    np.testing.assert_array_equal(np.bincount(found, minlength=300), expected)


def test_of_weights_that_are_not_whole_each_row_is_there_with_its_share():
    C, weights = discrete(300)[0].astype(np.float32), np.linspace(-0.5, 7, 300).clip(0)
    distinct = distinct_rows(C, np.zeros(300), weights)
    found, weights_found = repeated(C, distinct)
    counts = np.bincount(found, minlength=300)
    np.testing.assert_array_equal(counts, np.bincount(distinct.of[weights > 0], minlength=300))
    np.testing.assert_allclose(counts * weights_found, distinct.weights, rtol=1e-12)


def test_large_weights_repeat_a_table_so_often_and_no_more():
    C = KINDS.astype(np.float32)
    weights = np.random.default_rng(0).integers(1, 10**6, len(C)).astype(float)
    _, _, found, weights_found = rows_of(C, np.arange(len(C)) % 2, weights)
    assert 0.9 * MOST_REPEATS < len(found) < 1.1 * MOST_REPEATS
    totals = np.bincount(found, minlength=len(C)) * weights_found
    np.testing.assert_allclose(totals, weights, rtol=1e-12)


@pytest.mark.parametrize(
    ("differs", "expected"),
    [(0.9 * DISCRETE_FROM, False), (1.1 * DISCRETE_FROM, True)],
)
def test_a_table_in_which_many_rows_differ_in_the_target_alone_is_discrete(differs, expected):
    C, _ = table(1000, 3)
    n = round(differs * 1000 / 2)
    C[-n:] = C[:n]
    assert is_discrete(C, np.arange(1000), np.ones(1000)) is expected


def test_folds_hold_each_place_once_and_as_many_of_every_class():
    rows = np.repeat(np.arange(17), 1 + np.arange(17) % 3)
    classes = np.arange(17) % 2
    found = folds(rows, classes, 5, seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(len(rows)))
    for label in (0, 1):
        counts = [int((classes[rows[fold]] == label).sum()) for fold in found]
        assert max(counts) - min(counts) <= 1
