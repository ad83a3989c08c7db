"""Classification by a softmax output, through the public API."""

import numpy as np
import pytest
import reference
from bounds import DTYPES
from compiled import make_model, random_classes, random_data, reference_parameters
from conftest import JIT_DISABLED

from fastnet import SGD, Adam, Dense, Model

N_CLASSES = 3
X, _ = random_data(65, 4)
CLASSES, ONE_HOT = random_classes(65, N_CLASSES)


def softmax_model(**settings):
    return make_model((4, 7, N_CLASSES), ("tanh", "softmax"), **settings)


def test_its_loss_is_chosen_by_it():
    model = Model([Dense(3, "softmax")])
    assert model.loss == "categorical_crossentropy"
    assert Model([Dense(3, "softmax")], loss="categorical_crossentropy").loss == model.loss
    assert "loss categorical_crossentropy" in model.summary()


@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_are_class_numbers_and_probabilities(dtype):
    model = softmax_model(dtype=dtype, scale=1)
    A = model.forward(X)
    assert A.shape == (65, N_CLASSES)
    assert A.dtype == dtype
    np.testing.assert_array_equal(model.predict_proba(X), A)
    assert (np.abs(A.sum(axis=1, dtype=np.float64) - 1) <= N_CLASSES * np.finfo(dtype).eps).all()
    predicted = model.predict(X)
    assert predicted.shape == (65,)
    assert np.issubdtype(predicted.dtype, np.integer)
    np.testing.assert_array_equal(predicted, A.argmax(axis=1))
    assert set(predicted) == set(range(N_CLASSES))


def test_forward_gives_the_bits_that_training_sees():
    """The loss turns Z into A in one pass, a prediction in another."""
    model = softmax_model(dtype="float32", scale=1)
    A = model.forward(X).astype(np.float64)
    db = model.gradients(X, CLASSES)[1][1]
    exact = (A - ONE_HOT).mean(axis=0)
    np.testing.assert_allclose(db[:, 0], exact, atol=65 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_the_targets_gives_the_same_bits(dtype):
    forms = [
        CLASSES, CLASSES.tolist(), CLASSES[:, None], CLASSES.astype(float), CLASSES.astype(np.uint8),
        CLASSES.astype(object), ONE_HOT, ONE_HOT.astype(bool), ONE_HOT.astype(int), np.asfortranarray(ONE_HOT),
    ]  # fmt: skip
    results = []
    for y in forms:
        model = softmax_model(dtype=dtype, optimizer=Adam(0.01))
        costs = model.fit(X, y, epochs=2, batch_size=16).cost
        step, cost, evaluation = model.step(X, y), model.cost(X, y), model.evaluate(X, y)
        gradients = [part.tobytes() for pair in model.gradients(X, y) for part in pair]
        results.append((costs, step, cost, evaluation, gradients, model.parameters.tobytes()))
    assert all(result == results[0] for result in results)


def test_two_classes_may_be_booleans():
    first, second = (make_model((4, 2), ("softmax",), optimizer=Adam(0.01)) for _ in range(2))
    assert first.fit(X, X[:, 0] > 0, epochs=2).cost == second.fit(X, (X[:, 0] > 0).astype(int), epochs=2).cost
    np.testing.assert_array_equal(first.parameters, second.parameters)


def test_cost_gradients_and_evaluate_against_the_reference():
    model = softmax_model(scale=1, l2=0.5)
    for y, targets in ((CLASSES, ONE_HOT), (np.full((65, 3), [0.25, 0.25, 0.5]), np.full((65, 3), [0.25, 0.25, 0.5]))):
        parameters = reference_parameters(model)
        A, caches = reference.forward(X.T, parameters, ["tanh", "softmax"])
        exact = reference.backward(caches, targets.T, ["tanh", "softmax"], model.loss, 0.5)
        for layer, (dW, db) in enumerate(model.gradients(X, y), start=1):
            np.testing.assert_allclose(dW, exact[f"dW{layer}"], rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(db, exact[f"db{layer}"], rtol=1e-11, atol=1e-13)
        cost = reference.compute_cost(caches, targets.T, parameters, model.loss, 0.5)
        np.testing.assert_allclose(model.cost(X, y), cost, rtol=1e-12)
        results = model.evaluate(X, y)
        assert results["cost"] == model.cost(X, y)
        assert results["accuracy"] == np.mean(A.argmax(axis=0) == targets.argmax(axis=1))
        assert model.evaluate(X, y, metrics=()) == {"cost": results["cost"]}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [(), ("relu", "tanh")])
def test_back_propagation_agrees_with_central_differences(hidden, dtype):
    units = (3, *(5 for _ in hidden), N_CLASSES)
    model = make_model(units, (*hidden, "softmax"), l2=0.7, dtype=dtype)
    m = 9 if JIT_DISABLED else 33
    classes, one_hot = random_classes(m, N_CLASSES)
    for y in (classes, one_hot, np.full((m, 3), [0.5, 0.25, 0.25])):
        report = model.check_gradients(random_data(m, 3)[0], y)
        assert report.ok, report


def test_probabilities_as_targets_are_learned():
    """The same example, three times of one class and once of another: the output goes to those shares."""
    model = Model([Dense(3, "softmax")], optimizer=SGD(0.5), dtype="float64", seed=0)
    soft = np.tile([0.75, 0.25, 0.0], (4, 1))
    model.fit(np.ones((4, 2)), soft, epochs=200 if JIT_DISABLED else 2000, batch_size=None)
    np.testing.assert_allclose(model.predict_proba([[1.0, 1.0]]), soft[:1], atol=1e-2)
    by_class = Model([Dense(3, "softmax")], optimizer=SGD(0.5), dtype="float64", seed=0)
    by_class.fit(np.ones((4, 2)), [0, 0, 1, 0], epochs=200 if JIT_DISABLED else 2000, batch_size=None)
    np.testing.assert_allclose(by_class.parameters, model.parameters, rtol=1e-9, atol=1e-12)


@pytest.mark.jit
@pytest.mark.parametrize("optimizer", [SGD(0.5), Adam(0.02)])
def test_it_learns_three_spirals(optimizer):
    rng = np.random.default_rng(0)
    classes = np.arange(300) % 3
    radius = np.linspace(0.1, 1, 300)
    angle = classes * 2 * np.pi / 3 + 4 * radius + 0.05 * rng.standard_normal(300)
    points = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    model = Model([Dense(32, "tanh"), Dense(32, "tanh"), Dense(3, "softmax")], optimizer=optimizer, seed=0)
    before = model.build(2).evaluate(points, classes)["accuracy"]
    model.fit(points, classes, epochs=300)
    assert before < 0.6
    assert model.evaluate(points, classes)["accuracy"] > 0.97
    assert np.mean(model.predict(points) == classes) > 0.97


REFUSED = [
    (
        lambda: Model([Dense(3, "softmax"), Dense(1, "sigmoid")]),
        "layers[0] has activation 'softmax', which only the last layer may have.",
    ),
    (
        lambda: Model([Dense(3, "tanh"), Dense(1, "softmax")]),
        "A softmax over 1 unit is always 1. Use as many units as classes, or 'sigmoid' for two.",
    ),
    (
        lambda: Model([Dense(3, "softmax")], loss="mean_squared_error"),
        "A last activation of 'softmax' needs loss 'categorical_crossentropy', not 'mean_squared_error'. Change the "
        "loss, or that layer's activation.",
    ),
    (
        lambda: Model([Dense(3, "softmax")], loss="binary_crossentropy"),
        "A last activation of 'softmax' needs loss 'categorical_crossentropy', not 'binary_crossentropy'. Change the "
        "loss, or that layer's activation.",
    ),
    (
        lambda: Model([Dense(3, "sigmoid")], loss="categorical_crossentropy"),
        "loss 'categorical_crossentropy' needs a last activation of 'softmax', but the last layer has 'sigmoid'. "
        "Change that layer's activation, or use another loss, such as 'mean_squared_error'.",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_where_a_softmax_cannot_stand(make, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        make()
    assert str(caught.value) == message


def with_value(array, index, value):
    array = np.array(array, float)
    array[index] = value
    return array


NO_CLASS = (
    "that {verb} no class from 0 to 2; the first is {first}. The last layer has 3 units, one for each class: number "
)
SHAPE = "y must have shape (m,), class indices, or (m, 3)"
BAD_TARGETS = [
    (with_value(CLASSES, 7, 3), "y has 1 value other than the classes 0 to 2; the first is y[7] = 3.0."),
    (with_value(CLASSES, (7, ), -1), "y has 1 value other than the classes 0 to 2; the first is y[7] = -1.0."),
    (with_value(CLASSES[:, None], (7, 0), 0.5), "y has 1 value other than the classes 0 to 2; the first is y[7, 0] = "),
    (CLASSES + 1, f"y has {np.sum(CLASSES == 2)} values other than the classes 0 to 2; the first is y["),
    (with_value(CLASSES, 3, np.nan), "y has 1 non-finite value; the first is y[3] = nan. Drop those examples."),
    (with_value(ONE_HOT, (4, 1), np.inf), "y has 1 non-finite value; the first is y[4, 1] = inf. Drop those examples."),
    (
        ONE_HOT - 0.5,
        f"y has {np.sum(ONE_HOT == 0)} negative values; the first is y[0, ",
    ),
    (with_value(ONE_HOT, 5, [1, 1, 0]), "y.sum(axis=1) has 1 value other than 1; the first is y.sum(axis=1)[5] = 2.0."),
    (with_value(ONE_HOT, 5, 0), "y.sum(axis=1) has 1 value other than 1; the first is y.sum(axis=1)[5] = 0.0."),
    (np.zeros((65, 2)), f"{SHAPE}, as the last layer has 3 units, but has (65, 2)."),
    (np.zeros((65, 4)), f"{SHAPE}, as the last layer has 3 units, but has (65, 4)."),
    (np.zeros((65, 3, 1)), f"{SHAPE}, as the last layer has 3 units, but has (65, 3, 1)."),
    (1, f"{SHAPE}, as the last layer has 3 units, but has ()."),
    (CLASSES[:7], "X and y must have the same length, but X has 65 examples and y has 7."),
    (ONE_HOT[:7], "X and y must have the same length, but X has 65 examples and y has 7."),
    (ONE_HOT.T, f"{SHAPE}, but has (3, 65). If examples are columns, as in the course notes, pass y.T."),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("bad", "message"), BAD_TARGETS)
def test_bad_targets_are_refused_before_anything_changes(bad, message, dtype):
    model = softmax_model(dtype=dtype)
    before = model.parameters.copy()
    for call in (model.fit, model.step, model.cost, model.gradients, model.evaluate, model.check_gradients):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
            call(X, bad)
        assert str(caught.value).startswith(message)
    np.testing.assert_array_equal(model.parameters, before)


def test_names_of_classes_are_refused():
    with pytest.raises(TypeError, match=r"y must hold real numbers, but holds text .*: encode it as numbers first"):
        softmax_model().fit(X, np.array(["cat", "dog", "cow"])[CLASSES])


def test_classes_beyond_what_a_float_holds_exactly_are_not_mistaken_for_others():
    """2^24 + 1 is 2^24 in float32: to be refused by the number that came, and the number of a class kept whole."""
    with pytest.raises(ValueError, match=r"y\[0\] = 16777217"):
        softmax_model(dtype="float32").fit(X, np.where(np.arange(65) == 0, 2**24 + 1, CLASSES))


def test_class_numbers_in_a_row_as_in_the_notes_are_told_to_be_transposed():
    with pytest.raises(ValueError, match=r"examples are columns, as in the course notes, pass y\.T"):
        Model([Dense(3, "softmax")]).fit(np.ones((50, 4)), np.zeros((1, 50)))
