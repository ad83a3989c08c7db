"""Few rows of numbers are predicted by one call, with the bits of many; any others take the long way."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from fastnet.tables import TableClassifier, TableRegressor

QUICK = {"epochs": 2, "hidden_layer_sizes": (24, 5, 64), "random_state": 0}


def table(m=120, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, 7)) * [1, 1e6, 1e-6, 1, 1, 1, 0]
    X[:, 3] = rng.integers(0, 4, m)
    X[rng.random(m) < 0.3, 4] = np.nan
    X[::2, 5] = 0
    return X, X[:, 0] + X[:, 3]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_nets", [1, 4])
@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_few_rows_have_the_bits_of_many(kind, n_nets, dtype):
    X, y = table()
    model = kind(**QUICK, n_nets=n_nets, dtype=dtype).fit(X, y > 1 if kind is TableClassifier else y)
    ask = model.predict_proba if kind is TableClassifier else model.predict
    other = table(100, seed=1)[0]
    other[3, 0], other[4, 1], other[5, 6] = 1e308, -1e300, np.nan
    many = ask(other)
    for m in (1, 2, 7, 8):
        np.testing.assert_array_equal(ask(other[:m]), many[:m])
        np.testing.assert_array_equal(ask(other[3 : 3 + m]), many[3 : 3 + m])
    np.testing.assert_array_equal(ask(other[2:3].tolist()), many[2:3])
    np.testing.assert_array_equal(ask(np.asfortranarray(other)[:5]), many[:5])
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        found = copied.predict_proba(other[:1]) if kind is TableClassifier else copied.predict(other[:1])
        np.testing.assert_array_equal(found, many[:1])


def test_frames_are_taken_by_their_names():
    X, y = table()
    frame = pd.DataFrame(X, columns=list("abcdefg")).assign(d=X[:, 3].astype(int))
    model = TableRegressor(**QUICK).fit(frame, y)
    many = model.predict(frame)
    for i in (0, 50):
        np.testing.assert_array_equal(model.predict(frame.iloc[i : i + 1]), many[i : i + 1])
        np.testing.assert_array_equal(model.predict(X[i : i + 1]), many[i : i + 1])
        np.testing.assert_array_equal(model.predict(frame.iloc[i : i + 1].astype(object)), many[i : i + 1])
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.iloc[:1].rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.iloc[:1, ::-1])


def test_what_is_wrong_with_a_row_is_said():
    X, y = table()
    model = TableRegressor(**QUICK).fit(X, y)
    row = X[:1].copy()
    row[0, 2] = np.inf
    with pytest.raises(ValueError, match="column 2, row 0"):
        model.predict(row)
    with pytest.raises(ValueError, match="6 features"):
        model.predict(X[:1, 1:])


def test_the_networks_are_read_only_and_their_copies_are_not():
    X, y = table()
    model = TableRegressor(**QUICK).fit(X, y)
    network = model.model_[0]
    C = model.encoder_.compact(X)
    with pytest.raises(ValueError, match="read-only"):
        network.parameters[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        network.layers[-1].b = [[1.0]]
    with pytest.raises(ValueError, match=r"read-only\. Train a copy: copy\.deepcopy"):
        network.fit(C, y, epochs=1)
    before = network.forward(C)
    copied = copy.deepcopy(network)
    copied.fit(C, y, epochs=1)
    assert (copied.forward(C) != before).any()
    np.testing.assert_array_equal(network.forward(C), before)


def test_other_columns_go_the_long_way():
    X, y = table()
    mixed = [[*row, each] for row, each in zip(X.tolist(), ["a", "b"] * 60, strict=True)]
    model = TableRegressor(**QUICK).fit(mixed, y)
    np.testing.assert_array_equal(model.predict(mixed[:1]), model.predict(mixed)[:1])
