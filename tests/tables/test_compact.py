"""Compact rows and the input layer made for them: what `transform` makes, a number for each column of the table."""

import numpy as np
import pandas as pd
import pytest

from fastnet import Dense, Model
from fastnet.tables import TableEncoder


def table(m=300, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "number": rng.normal(size=m) * 1e4,
            "huge": np.where(rng.random(m) < 0.1, 1e9, rng.normal(size=m)),
            "gaps": np.where(rng.random(m) < 0.3, np.nan, rng.exponential(size=m)),
            "gaps and a constant": np.where(rng.random(m) < 0.3, np.nan, 3.0),
            "sparse": np.where(rng.random(m) < 0.9, 0.0, rng.exponential(size=m)),
            "whole": rng.integers(0, 5, m),
            "two": rng.integers(0, 2, m),
            "flag": rng.random(m) < 0.5,
            "kind": pd.Categorical(rng.choice(["a", "b", "c"], m)),
            "text": rng.choice(["red", "green"], m),
            "day": pd.Timestamp("2024-02-27") + pd.to_timedelta(rng.integers(0, 500, m), unit="D"),
            "constant": 7.0,
            "empty": np.nan,
        }
    )


def inputs(encoder, X):
    """Return what a network behind the encoder's layer sees."""
    layer = encoder.layer()
    model = Model([layer, Dense(layer.n_inputs)], seed=0).build(len(layer.columns))
    model.layers[1].W = np.eye(layer.n_inputs)
    return model.forward(encoder.compact(X))


@pytest.mark.parametrize("bins", [0, 2, 8])
def test_they_are_the_columns_of_transform_in_another_order(bins):
    X, other = table(), table(100, seed=1)
    encoder = TableEncoder(bins=bins).fit(X)
    found, expected = inputs(encoder, other), encoder.transform(other)
    assert found.shape == expected.shape == (100, encoder.n_columns)
    distance = np.abs(found[:, :, np.newaxis] - expected[:, np.newaxis, :]).max(axis=0)
    matched = distance.argmin(axis=1)
    assert sorted(matched.tolist()) == list(range(encoder.n_columns))
    assert distance.min(axis=1).max() < 1e-5  # z is float32, from which the kernel goes on


def test_a_column_has_the_places_that_are_made_of_it():
    X = table()
    encoder = TableEncoder().fit(X)
    before = encoder.compact(X)
    assert sum(map(len, encoder.places)) == before.shape[1] == len(encoder.layer().columns)
    for k, name in enumerate(X.columns):
        changed = encoder.compact(X.assign(**{name: X[name].to_numpy()[::-1]}))
        differ = np.flatnonzero((changed != before).any(axis=0))
        assert set(differ) <= set(encoder.places[k].tolist())


def test_a_table_of_constants_is_one_column_of_zeros():
    encoder = TableEncoder().fit([[1.0], [1.0]])
    np.testing.assert_array_equal(encoder.compact([[1.0], [5.0]]), np.zeros((2, 1)))
    assert encoder.layer().columns == (("value",),)


def test_a_weight_is_so_many_rows():
    X = table(60)
    weights = np.arange(60) % 4
    repeated = TableEncoder().fit(X.iloc[np.repeat(np.arange(60), weights)])
    weighted = TableEncoder().fit(X, weights.astype(float))
    (settings, arrays), (others, other_arrays) = repeated.state(), weighted.state()
    assert settings == others
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, other_arrays[name])


def test_a_value_that_most_rows_have_is_an_edge_and_the_others_are_divided():
    x = np.concatenate([np.zeros(900), np.arange(1.0, 101.0)])
    encoder = TableEncoder(bins=8).fit(x[:, np.newaxis])
    assert encoder.edges.tolist() == [0, 1, 15, 29, 43, 58, 72, 86, 100]
