"""The reference itself: against central differences, its own loops, and what the notes say of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import reference

ACTIVATIONS = [
    "sigmoid", "tanh", "relu", "leaky_relu", "linear", "elu", "selu", "gelu", "silu", "mish", "softplus",
]  # fmt: skip


def small_problem(activations, seed=0):
    rng = np.random.default_rng(seed)
    dims = [4, *(3 for _ in activations)]
    parameters = reference.initialize_parameters(dims, rng, scale=1.0)
    for layer in range(1, len(dims)):
        parameters[f"b{layer}"] = rng.standard_normal((3, 1))  # not zero, or dead ReLU units put others on their kink
    return rng.standard_normal((4, 9)), (rng.random((3, 9)) < 0.5).astype(float), parameters


ONE_QUANTILE, THREE = SimpleNamespace(q=0.8), SimpleNamespace(q=(0.1, 0.5, 0.8))


@pytest.mark.parametrize("l2", [0.0, 0.7])
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(
    "loss", ["binary_crossentropy", "categorical_crossentropy", "mean_squared_error", ONE_QUANTILE, THREE], ids=str
)
def test_backward_is_the_derivative_of_the_cost(loss, name, l2):
    last = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax"}.get(str(loss), name)
    activations = [name, name, "increasing" if loss is THREE else last]
    X, Y, parameters = small_problem(activations)
    if last == "softmax":
        Y = np.random.default_rng(1).dirichlet([0.5] * 3, 9).T
    if loss is THREE:
        Y = np.random.default_rng(1).standard_normal((1, 9))

    def cost():
        _, caches = reference.forward(X, parameters, activations)
        return reference.compute_cost(caches, Y, parameters, loss, l2)

    _, caches = reference.forward(X, parameters, activations)
    gradients = reference.backward(caches, Y, activations, loss, l2)
    h = 1e-6
    for key, value in parameters.items():
        for index in np.ndindex(value.shape):
            kept = value[index]
            value[index] = kept + h
            above = cost()
            value[index] = kept - h
            below = cost()
            value[index] = kept
            assert abs((above - below) / (2 * h) - gradients[f"d{key}"][index]) < 1e-7


@pytest.mark.parametrize("last", ["linear", "sigmoid", "softmax", "exponential", "increasing"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_input_gradients_are_the_derivatives_of_the_outputs(name, last):
    activations, h = [name, name, last], 1e-6
    X, _, parameters = small_problem(activations)
    _, caches = reference.forward(X, parameters, activations)
    for j in range(4):
        shift = np.zeros_like(X)
        shift[j] = h
        above, below = (reference.forward(x, parameters, activations)[0] for x in (X + shift, X - shift))
        for k in range(3):
            found = reference.input_gradients(caches, activations, k)
            np.testing.assert_allclose(found[j], (above - below)[k] / (2 * h), rtol=1e-6, atol=1e-7)


def test_loops_equal_the_vectorised_logistic_regression():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((5, 33)), (rng.random((1, 33)) < 0.5).astype(float)
    parameters = {"W1": rng.standard_normal((1, 5)), "b1": rng.standard_normal((1, 1))}
    J, dw, db = reference.logistic_gradients_with_loops(X, Y, parameters["W1"][0], parameters["b1"][0, 0])
    _, caches = reference.forward(X, parameters, ["sigmoid"])
    gradients = reference.backward(caches, Y, ["sigmoid"], "binary_crossentropy")
    np.testing.assert_allclose(J, reference.compute_cost(caches, Y, parameters, "binary_crossentropy"), rtol=1e-13)
    np.testing.assert_allclose(dw, gradients["dW1"][0], rtol=1e-12)
    np.testing.assert_allclose(db, gradients["db1"][0, 0], rtol=1e-12)


def test_a_step_lowers_the_cost_and_an_epoch_is_its_steps():
    activations = ["tanh", "sigmoid"]
    X, Y, parameters = small_problem(activations)
    twin = {key: value.copy() for key, value in parameters.items()}
    arguments = activations, "binary_crossentropy", reference.SGD(0.1)
    first = reference.step(X, Y, parameters, *arguments)
    assert reference.step(X, Y, parameters, *arguments) < first
    costs = [reference.train_epoch(X, Y, twin, *arguments, batch_size=9) for _ in range(2)]
    assert costs[0] == first
    for key, value in parameters.items():
        np.testing.assert_array_equal(twin[key], value)


def test_order_selects_the_batches():
    activations = ["sigmoid"]
    X, Y, parameters = small_problem(activations)
    order = np.random.default_rng(1).permutation(9)
    twin = {key: value.copy() for key, value in parameters.items()}
    arguments = activations, "mean_squared_error", reference.SGD(0.1)
    reference.train_epoch(X, Y, parameters, *arguments, batch_size=4, order=order)
    for batch in (order[:4], order[4:8], order[8:]):
        reference.step(X[:, batch], Y[:, batch], twin, *arguments)
    for key, value in parameters.items():
        np.testing.assert_array_equal(twin[key], value)


def test_predict_thresholds_at_one_half():
    parameters = {"W1": np.array([[1.0]]), "b1": np.zeros((1, 1))}
    prediction = reference.predict(np.array([[-1.0, 0.0, 1e-9]]), parameters, ["sigmoid"])
    np.testing.assert_array_equal(prediction, [[0, 0, 1]])


def test_categorical_cross_entropy_is_that_of_the_softmax():
    rng = np.random.default_rng(0)
    Z, Y = rng.standard_normal((5, 33)) * 3, rng.dirichlet([0.5] * 5, 33).T
    A = reference.softmax(Z)
    np.testing.assert_allclose(A.sum(axis=0), 1, rtol=1e-14)
    np.testing.assert_allclose(A, np.exp(Z) / np.exp(Z).sum(axis=0), rtol=1e-13)
    exact = -(Y * np.log(A)).sum(axis=0)
    np.testing.assert_allclose(reference.categorical_cross_entropy(Z, Y)[0], exact, rtol=1e-13)


def test_the_first_steps_of_adam():
    """By hand: the first step is alpha, whatever the gradient; the second is of gradients 1 and 3."""
    adam, p = reference.Adam(0.1, 0.9, 0.99, 1e-300), {"W1": np.array([[5.0]])}
    adam.update(p, {"dW1": np.array([[1.0]])})
    np.testing.assert_allclose(p["W1"], 4.9, rtol=1e-15)
    adam.update(p, {"dW1": np.array([[3.0]])})
    mean, square = (0.09 + 0.3) / 0.19, (0.0099 + 0.09) / (1 - 0.99**2)
    np.testing.assert_allclose(p["W1"], 4.9 - 0.1 * mean / np.sqrt(square), rtol=1e-13)


def test_the_pinball_loss_is_least_at_the_quantile():
    y = np.random.default_rng(0).exponential(size=1001)
    for q in (0.1, 0.5, 0.93):
        candidates = np.quantile(y, [q - 0.02, q, q + 0.02])[:, None]
        costs = reference.pinball(candidates, y[None], np.array([[q]])).mean(axis=1)
        assert costs.argmin() == 1
    np.testing.assert_allclose(reference.pinball(candidates, y[None], 0.5), abs(candidates - y) / 2)
