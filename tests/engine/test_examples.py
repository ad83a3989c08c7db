"""Weights of examples and of classes: a weight of k counts as k copies; and L1."""

import numpy as np
import pytest
import reference
from compiled import make_model, random_classes, random_data, reference_parameters

from fastnet import SGD, Adam, Dense, Model, checks
from fastnet.engine.examples import FitData, with_class_weights
from fastnet.kernels.plan import NARROW_UP_TO, WIDE_FROM

DTYPES = ["float32", "float64"]
NETS = [
    (("tanh",), "sigmoid", None),
    (("relu", "sigmoid"), "softmax", None),
    (("tanh",), "linear", None),
    (("tanh",), "linear", "huber"),
    (("tanh",), "linear", "poisson"),
]


def problem(last, m, n_outputs):
    """Return X, y, the targets as the reference takes them, and weights 0, 1, 2 and 3."""
    X, Y = random_data(m, 4, n_outputs, seed=m)
    y = Y
    if last == "softmax":
        y, Y = random_classes(m, n_outputs, seed=m)
    weights = np.arange(m) % 4
    weights[[0, -1]] = 3
    return X, y, Y, weights


@pytest.mark.parametrize("l1", [0.0, 0.7])
@pytest.mark.parametrize(("hidden", "last", "loss"), NETS)
def test_costs_and_gradients_equal_the_references(hidden, last, loss, l1):
    for m in (1, 7, 65, 600):
        X, y, Y, weights = problem(last, m, 3)
        model = make_model((4, *[5 for _ in hidden], 3), (*hidden, last), loss=loss, l2=0.3, l1=l1, scale=0.5)
        parameters = reference_parameters(model)
        _, caches = reference.forward(X.T, parameters, [*hidden, last])
        cost = reference.compute_cost(caches, Y.T, parameters, model.loss, 0.3, l1, weights)
        np.testing.assert_allclose(model.cost(X, y, weights), cost, rtol=1e-12)
        gradients = reference.backward(caches, Y.T, [*hidden, last], model.loss, 0.3, l1, weights)
        for layer, (dW, db) in enumerate(model.gradients(X, y, sample_weight=weights), start=1):
            np.testing.assert_allclose(dW, gradients[f"dW{layer}"], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(db, gradients[f"db{layer}"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("hidden", "last", "loss"), NETS)
def test_a_weight_counts_as_so_many_copies(hidden, last, loss, dtype):
    X, y, _, weights = problem(last, 65, 3)
    weighted, copied = (
        make_model(
            (4, *[5 for _ in hidden], 3), (*hidden, last), loss=loss, l2=0.3, l1=0.1, dtype=dtype, optimizer=Adam(0.01)
        )
        for _ in range(2)
    )
    costs = weighted.fit(X, y, epochs=30, batch_size=None, sample_weight=weights).cost
    copies = np.repeat(np.arange(65), weights)
    expected = copied.fit(X[copies], y[copies], epochs=30, batch_size=None).cost
    rounding = 1e3 * np.finfo(dtype).eps
    np.testing.assert_allclose(costs, expected, rtol=rounding)
    np.testing.assert_allclose(weighted.parameters, copied.parameters, rtol=rounding, atol=rounding)
    other = make_model((4, *[5 for _ in hidden], 3), (*hidden, last), loss=loss, dtype=dtype)
    assert abs(other.fit(X, y, epochs=30, batch_size=None).cost[-1] / costs[-1] - 1) > 1e-3


def test_mini_batches_are_weighted_means_and_so_is_the_epochs_cost():
    X, y, Y, weights = problem("sigmoid", 65, 1)
    model = make_model((4, 5, 1), ("tanh", "sigmoid"), optimizer=SGD(0.3), l2=0.2)
    parameters = reference_parameters(model)
    cost = model.fit(X, y, epochs=1, batch_size=16, shuffle=False, sample_weight=weights).cost[0]
    total = 0.0
    for start in range(0, 65, 16):
        batch = slice(start, start + 16)
        _, caches = reference.forward(X[batch].T, parameters, ["tanh", "sigmoid"])
        arguments = Y[batch].T, parameters, "binary_crossentropy", 0.2, 0.0, weights[batch]
        total += reference.compute_cost(caches, *arguments) * weights[batch].sum()
        gradients = reference.backward(
            caches, Y[batch].T, ["tanh", "sigmoid"], "binary_crossentropy", 0.2, 0.0, weights[batch]
        )
        for name in parameters:
            parameters[name] -= 0.3 * gradients[f"d{name}"]
    np.testing.assert_allclose(cost, total / weights.sum(), rtol=1e-12)
    np.testing.assert_allclose(model.layers[0].W, parameters["W1"], rtol=1e-10)


def test_a_batch_of_no_weight_changes_nothing():
    X, y, _, _ = problem("sigmoid", 32, 1)
    weights = np.repeat([1.0, 0.0], 16)
    one, other = (make_model((4, 5, 1), ("tanh", "sigmoid"), optimizer=Adam(0.1), l2=0.2) for _ in range(2))
    history = one.fit(X, y, epochs=3, batch_size=16, shuffle=False, sample_weight=weights)
    expected = other.fit(X[:16], y[:16], epochs=3, batch_size=16, shuffle=False)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert history.cost == expected.cost


@pytest.mark.parametrize(
    ("units", "m", "threads"), [((4, 33, 17, 1), 200, 2), ((3, 5, 1), 600, 1), ((WIDE_FROM, NARROW_UP_TO, 1), 33, 1)]
)
def test_weights_of_one_change_not_a_bit(units, m, threads):
    """With the loss fused or not, on any number of threads, and where the input is kept by rows; but not if swept."""
    X, y = random_data(m, units[0])
    for last, loss in (("sigmoid", None), ("sigmoid", "mean_squared_error")):
        with_ones, without = (
            make_model(units, (*["tanh" for _ in units[2:]], last), loss=loss, dtype="float32") for _ in range(2)
        )
        costs = with_ones.fit(X, y, epochs=2, batch_size=50, sample_weight=np.ones(m), threads=threads).cost
        assert costs == without.fit(X, y, epochs=2, batch_size=50, threads=1).cost
        np.testing.assert_array_equal(with_ones.parameters, without.parameters)


def test_balanced_classes_weigh_the_same():
    X, _ = random_data(70, 3)
    for y, last, n in (((np.arange(70) % 10 == 0) * 1, "sigmoid", 1), (np.arange(70) % 7 // 3, "softmax", 3)):
        balanced, weighted, by_class = (make_model((3, n), (last,)) for _ in range(3))
        counts = np.bincount(y)
        of_class = 70 / (len(counts) * counts)
        a = balanced.fit(X, y, epochs=3, class_weight="balanced").cost
        b = weighted.fit(X, y, epochs=3, sample_weight=of_class[y]).cost
        c = by_class.fit(X, np.eye(n)[y] if n > 1 else y, epochs=3, class_weight=dict(enumerate(of_class))).cost
        assert a == b == c
        rare = balanced.fit(X, y, class_weight={int(counts.argmin()): 5.0}, sample_weight=np.full(70, 2.0), epochs=1)
        assert np.isfinite(rare.cost).all()


def test_l1_makes_weights_sparse():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 10))
    y = X[:, 0] - 2 * X[:, 1]
    model, plain = (Model([Dense(1)], optimizer=SGD(0.01), l1=l1, dtype="float64", seed=0) for l1 in (40.0, 0.0))
    for one in (model, plain):
        one.fit(X, y, epochs=500, batch_size=None)
    small = np.abs(model.layers[0].W[0, 2:])
    assert small.max() < 0.01 < np.abs(plain.layers[0].W[0, 0])
    np.testing.assert_allclose(model.layers[0].W[0, :2], [1 - 0.2, -2 + 0.2], atol=0.1)


def test_l1_of_a_layer_overrides_the_models():
    X, y = random_data(33, 3)
    both = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], l1=0.8, dtype="float64", seed=0)
    own = Model([Dense(4, "tanh", l1=0.8), Dense(1, "sigmoid", l1=0.8)], dtype="float64", seed=0)
    none = Model([Dense(4, "tanh", l1=0), Dense(1, "sigmoid", l1=0.0)], l1=0.8, dtype="float64", seed=0)
    free = Model([Dense(4, "tanh"), Dense(1, "sigmoid")], dtype="float64", seed=0)
    costs = [model.fit(X, y, epochs=2).cost for model in (both, own, none, free)]
    assert costs[0] == costs[1] != costs[2] == costs[3]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"sample_weight": [1.0]},
            ValueError,
            r"sample_weight must have shape \(6,\), one for each example, but has \(1",
        ),
        ({"sample_weight": [1, 1, -1, 1, 1, 1]}, ValueError, r"1 negative value; the first is sample_weight\[2\] = -1"),
        ({"sample_weight": [1, 1, np.nan, 1, 1, 1]}, ValueError, "sample_weight has 1 non-finite value"),
        ({"sample_weight": np.zeros(6)}, ValueError, "sample_weight is zero for every example"),
        ({"sample_weight": np.full(6, 1e-44)}, ValueError, "sample_weight has 6 values below 1.2e-38"),
        ({"sample_weight": ["a"] * 6}, TypeError, "sample_weight must hold real numbers, but holds text"),
        ({"class_weight": "equal"}, TypeError, "class_weight must be a dictionary of weights by class, 'balanced' or"),
        ({"class_weight": {2: 1.0}}, ValueError, "class_weight has a class 2, but the classes are 0 to 1"),
        ({"class_weight": {"1": 1.0}}, ValueError, "class_weight has a class '1'"),
        ({"class_weight": {0: -1.0}}, ValueError, r"class_weight\[0\] must be a finite number of at least 0, not -1.0"),
        ({"class_weight": {0: 0, 1: 0}}, ValueError, "class_weight of the examples is zero for every"),
        ({"y": np.full(6, 0.5), "class_weight": {0: 2}}, ValueError, "class_weight needs targets of one class each"),
    ],
)
def test_wrong_weights_are_refused_and_nothing_changes(settings, error, message):
    X, y = random_data(6, 4)
    model = Model([Dense(1, "sigmoid")], seed=0)
    with pytest.raises(error, match=message):
        model.fit(X, **{"y": y, **settings})
    assert model._parameters is None


def test_class_weights_need_classes():
    X, y = random_data(6, 4, 2)
    for last in ("linear", "sigmoid"):
        with pytest.raises(ValueError, match="class_weight needs targets of one class each"):
            make_model((4, 2), (last,)).fit(X, y, class_weight="balanced")


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_a_split_holds_out_a_share_of_every_class(share):
    X, _ = random_data(100, 2)
    y = np.repeat([0, 1, 2], [70, 20, 10])
    data = make_model((2, 3), ("softmax",))._data(X, y, np.arange(1, 101))
    examples = FitData(data, data, share)
    kept, held_out = examples.divided("softmax", key=3)
    assert len(held_out.X) == round(share * 100)
    assert sorted([*kept.weights, *held_out.weights]) == list(range(1, 101))
    for part in (kept, held_out):
        rows = part.weights.astype(int) - 1
        np.testing.assert_array_equal(part.X, X[rows].astype(part.X.dtype))
        np.testing.assert_array_equal(part.y[:, 0], y[rows])
    counts = np.bincount(held_out.y[:, 0].astype(int), minlength=3)
    assert np.abs(counts - share * np.array([70, 20, 10])).max() <= 1
    first, again, other = (examples.divided("softmax", key)[1].X for key in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert share == 0.99 or not np.array_equal(first, other)


def test_a_split_of_values_is_random_and_one_of_a_single_example_refused():
    X, y = random_data(65, 2)
    model = make_model((2, 1), ("linear",))
    data = model._data(X, y + 0.5)
    kept, held_out = FitData(data, data, 0.3).divided("linear", key=0)
    assert (len(kept.X), len(held_out.X)) == (45, 20)
    for settings in ({}, {"sample_weight": [0, 3]}):
        model = Model([Dense(1)], seed=0)
        n = 1 + len(settings)
        with pytest.raises(ValueError, match="validation_split needs at least 2 examples with a weight greater than 0"):
            model.fit(X[:n], y[:n], validation_split=0.5, **settings)
        assert model._parameters is None


@pytest.mark.parametrize("weights", [None, np.repeat([1.0, 0.0, 2.0, 0.0], [30, 10, 20, 5])], ids=["alike", "weighted"])
def test_the_last_rows_are_held_out_in_their_order(weights):
    X, y = random_data(65, 2)
    y = (X[:, 0] > 0).astype(float)
    cut = 52 if weights is None else 50  # a fifth of those that count
    model, other = make_model((2, 1), ("sigmoid",)), make_model((2, 1), ("sigmoid",))
    history = model.fit(X, y, epochs=3, validation_split="last", sample_weight=weights)
    parts = [None, None] if weights is None else [weights[:cut], weights[cut:]]
    expected = other.fit(
        X[:cut], y[:cut], epochs=3, sample_weight=parts[0], validation_data=(X[cut:], y[cut:], *parts[1:])
    )
    assert history.val_cost == expected.val_cost
    np.testing.assert_array_equal(model.parameters, other.parameters)
    with pytest.raises(ValueError, match=r"validation_split must be a number .*, or 'last', not 'first'"):
        model.fit(X, y, epochs=1, validation_split="first")


def test_networks_of_one_seed_are_validated_with_the_same_rows():
    X, y = np.eye(40), np.arange(40.0) / 40
    held_out = []
    for units in (3, 7):
        model = Model([Dense(units, "tanh"), Dense(1)], seed=5).build(40)
        before = model.layers[0].W.copy()
        model.fit(X, y, epochs=1, validation_split=0.2)
        held_out.append(np.flatnonzero((before == model.layers[0].W).all(axis=0)))  # each feature is of one row alone
    assert len(held_out[0]) == 8
    np.testing.assert_array_equal(*held_out)


def test_both_parts_of_a_split_have_weight():
    X, y = random_data(10, 2)
    for weights in (np.arange(10) < 2, np.arange(10) >= 8):
        history = make_model((2, 1), ("sigmoid",)).fit(X, y, epochs=2, validation_split=0.3, sample_weight=weights)
        assert np.isfinite(history.cost + history.val_cost).all()


def test_a_class_may_be_weighed_that_is_not_there():
    X, _ = random_data(10, 2)
    y = np.arange(10) // 3 % 3
    model, same = (make_model((2, 4), ("softmax",)) for _ in range(2))
    settings = {"epochs": 2, "validation_split": 0.5}
    assert model.fit(X, y, class_weight={3: 5.0}, **settings).cost == same.fit(X, y, **settings).cost


def test_weights_beyond_the_range_are_refused():
    X, y = random_data(6, 4)
    data = make_model((4, 1), ("sigmoid",), dtype="float32")._data(X, y)
    with pytest.raises(ValueError, match="beyond the range of float32"):
        with_class_weights(data, {0: 1e300, 1: 1e300}, "sigmoid", 1)


CALLS = ["fit", "step", "cost", "gradients", "evaluate", "check_gradients"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("call", [*CALLS, "validation_data"])
def test_weights_whose_sum_overflows_are_refused(call, dtype):
    """Whatever the sum is computed in: gradients are multiplied by its reciprocal."""
    X, y = random_data(6, 4)
    model = make_model((4, 1), ("sigmoid",), dtype=dtype)
    before, largest = model.parameters.copy(), float(np.finfo(dtype).max)

    def refused(weights, message):
        settings = {"validation_data": (X, y, weights)} if call == "validation_data" else {"sample_weight": weights}
        with pytest.raises(ValueError, match=message):
            getattr(model, "fit" if call == "validation_data" else call)(X, y, **settings)

    refused(np.full(6, largest), r"sample_weight must add up to between .* in float\d\d, not .*\. Scale all")
    refused(np.full(6, largest / 6), "sample_weight must add up to between")
    refused(np.full(6, 1e-37 if dtype == "float32" else 1e-300), "sample_weight must add up to between")
    refused(
        np.full(6, 1e-60 if dtype == "float32" else 1e-320), "sample_weight has 6 values below .* Scale all: ratios"
    )
    np.testing.assert_array_equal(model.parameters, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_and_the_smallest_weights_count(dtype):
    """Powers of two change no bit, up to the ends of the range."""
    X, y = random_data(8, 4)
    tiny, eps = float(np.finfo(dtype).tiny), float(np.finfo(dtype).eps)
    results = set()
    for weight in (tiny / eps, 1.0, 1 / tiny / 8):
        model = make_model((4, 1), ("sigmoid",), dtype=dtype)
        weights = np.full(8, weight)
        results.add((model.cost(X, y, weights), model.gradients(X, y, weights)[0][0].tobytes()))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_by_class_times_those_of_examples_are_checked(dtype):
    X, y = random_data(6, 4)
    model = make_model((4, 1), ("sigmoid",), dtype=dtype)
    before, root = model.parameters.copy(), float(np.sqrt(np.finfo(dtype).max))
    for weight, factor, message in (
        (root, root, "must add up to between"),
        (root, 4 * root, "must add up to between|beyond the range of float32|non-finite"),
        (1 / root, 1 / root, "values below .*Scale all"),
        (1.0, 0.0, "is zero for every example"),
    ):
        with pytest.raises(ValueError, match=f"class_weight times sample_weight .*{message}"):
            model.fit(X, y, sample_weight=np.full(6, weight), class_weight={0: factor, 1: factor})
    np.testing.assert_array_equal(model.parameters, before)


def test_every_array_is_looked_at_once(monkeypatch):
    X, y = random_data(12, 4)
    seen, in_dtype = [], checks.in_dtype

    def note(array, dtype, name, remedy):
        seen.append(name)
        return in_dtype(array, dtype, name, remedy)

    monkeypatch.setattr(checks, "in_dtype", note)
    model = Model([Dense(1, "sigmoid")], seed=0)
    model.fit(X, y, epochs=1, sample_weight=np.ones(12), class_weight="balanced", validation_data=(X, y))
    assert seen == ["X", "y", "sample_weight", "X", "y", "class_weight times sample_weight"]
    for call in (model.cost, model.gradients, model.step, model.evaluate):
        seen.clear()
        call(X, y, sample_weight=np.ones(12))
        assert seen == ["X", "y", "sample_weight"]
