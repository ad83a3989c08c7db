"""`fit(label_smoothing=)`: targets between what they are and all classes alike, in training and nowhere else."""

import re

import numpy as np
import pytest
import reference
from bounds import DTYPES
from compiled import make_model, random_classes, random_data, reference_parameters

from fastnet import Adam, Dense, Model
from fastnet.sklearn import MLPClassifier

OUTPUTS = ["sigmoid", "several sigmoids", "softmax", "softmax, one-hot", "softmax, probabilities"]


def problem(output, m=130):
    """Return X, y and the same targets (m, n_L), and how many classes share what is spread."""
    X, Y = random_data(m, 4, 3)
    if output == "sigmoid":
        return X, Y[:, 0], Y[:, :1], 2
    if output == "several sigmoids":
        return X, Y, Y, 2
    classes, Y = random_classes(m, 3)
    if output == "softmax, probabilities":
        Y = np.random.default_rng(0).dirichlet([0.5] * 3, m)
    return X, classes if output == "softmax" else Y, Y, 3


def model_of(output, dtype="float64", **settings):
    units, last = (1 if output == "sigmoid" else 3), "softmax" if output.startswith("softmax") else "sigmoid"
    return make_model((4, 7, units), ("tanh", last), dtype=dtype, optimizer=Adam(0.02), **settings)


@pytest.mark.parametrize("batch_size", [32, None])
@pytest.mark.parametrize("output", OUTPUTS)
def test_it_is_to_train_with_smoothed_targets(output, batch_size):
    """To the bit; also where a batch is loaded once, for all epochs."""
    X, y, Y, classes = problem(output)
    found, expected = model_of(output, l2=0.1), model_of(output, l2=0.1)
    history = found.fit(
        X, y, epochs=5, batch_size=batch_size, label_smoothing=0.2, sample_weight=1 + np.arange(130) % 3
    )
    of_smoothed = expected.fit(
        X, reference.smoothed(Y, 0.2, classes), epochs=5, batch_size=batch_size, sample_weight=1 + np.arange(130) % 3
    )
    np.testing.assert_array_equal(found.parameters, expected.parameters)
    assert history.cost == of_smoothed.cost
    plain = model_of(output, l2=0.1)
    assert plain.fit(X, y, epochs=5, batch_size=batch_size, sample_weight=1 + np.arange(130) % 3).cost != history.cost


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", OUTPUTS)
def test_costs_are_the_references(output, dtype):
    X, y, Y, classes = problem(output)
    model = model_of(output, dtype)
    loss = model.loss
    _, caches = reference.forward(X.T, reference_parameters(model), [layer.activation for layer in model.layers])
    exact = reference.compute_cost(caches, reference.smoothed(Y, 0.1, classes).T, {}, loss)
    cost = model.fit(X, y, epochs=1, batch_size=None, label_smoothing=0.1).cost[0]
    np.testing.assert_allclose(cost, exact, rtol=1e3 * np.finfo(dtype).eps)


def test_it_is_what_pytorch_and_keras_say_it_is():
    """(1 - s) of the loss, and s of the mean over all classes: torch.nn.CrossEntropyLoss(label_smoothing=s)."""
    X, y, Y, _ = problem("softmax")
    model = model_of("softmax")
    minus_log = -np.log(model.forward(X))
    expected = 0.7 * (Y * minus_log).sum(axis=1).mean() + 0.3 * minus_log.mean(axis=1).mean()
    np.testing.assert_allclose(model.fit(X, y, epochs=1, batch_size=None, label_smoothing=0.3).cost[0], expected)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_only_the_cost_of_training_is_of_smoothed_targets(output):
    X, y, _, _ = problem(output)
    model = model_of(output)
    history = model.fit(
        X, y, epochs=3, label_smoothing=0.2, validation_data=(X, y), metrics=("accuracy", "log_loss"), shuffle=False
    )
    assert history.val_cost[-1] == model.cost(X, y) == model.evaluate(X, y)["cost"]
    np.testing.assert_allclose(history.val_log_loss[-1], model.cost(X, y), rtol=1e-6)
    assert abs(history.cost[-1] - history.log_loss[-1]) > 1e-3  # of the same outputs, but of y
    assert history.val_accuracy[-1] == model.evaluate(X, y)["accuracy"]
    before = model.cost(X, y)
    assert model.step(X, y) == before


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_it_keeps_a_network_from_being_certain(output):
    """At the least cost, the probability of the right class is what is left to it."""
    X = np.repeat(np.eye(4), 10, axis=0)
    y = np.repeat([0, 1, 2, 1] if output == "softmax" else [0, 1, 0, 1], 10)
    model = make_model((4, 3 if output == "softmax" else 1), (output,), dtype="float64", optimizer=Adam(0.05))
    model.fit(X, y, epochs=600, batch_size=None, label_smoothing=0.3)
    right = model.predict_proba(X)[np.arange(40), y]
    np.testing.assert_allclose(right, 0.8 if output == "softmax" else 0.85, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_by_any_number_of_threads(dtype):
    X, y, _, _ = problem("softmax", 2600)
    found = []
    for threads in (1, 2, 3):
        model = model_of("softmax", dtype)
        cost = model.fit(
            X, y, epochs=2, batch_size=None, label_smoothing=0.1, threads=threads, class_weight="balanced"
        ).cost
        found.append((model.parameters.tobytes(), np.array(cost).tobytes()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("smoothing", "loss", "kind", "message"),
    [
        (1.0, None, ValueError, "label_smoothing must be a number of at least 0 and less than 1, not 1.0."),
        (-0.1, None, ValueError, "label_smoothing must be a number of at least 0 and less than 1, not -0.1."),
        ("0.1", None, TypeError, "label_smoothing must be a number of at least 0 and less than 1, not '0.1'."),
        (
            0.1, "mean_squared_error", ValueError,
            "label_smoothing is for the losses 'binary_crossentropy' and 'categorical_crossentropy', but the model has "
            "'mean_squared_error'. Leave it out.",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_changes_nothing(smoothing, loss, kind, message):
    X, y, _, _ = problem("sigmoid")
    model = Model([Dense(1, "sigmoid")], loss)
    with pytest.raises(kind, match=re.escape(message)):
        model.fit(X, y, label_smoothing=smoothing)
    assert model._parameters is None
    model.fit(X, y, epochs=1, label_smoothing=0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("output", ["sigmoid", "several sigmoids", "softmax"])
def test_the_drop_in_class_has_it_too(output, solver):
    """Its loss is of smoothed targets; that of the examples held out of those that are."""
    X, y, Y, classes = problem(output)
    settings = {"hidden_layer_sizes": (5,), "alpha": 0.0, "random_state": 0, "max_iter": 4, "solver": solver}
    given = {"eval_set": (X, y)} if solver == "adam" else {}
    estimator = MLPClassifier(**settings, label_smoothing=0.2).fit(X, y, **given)
    plain = MLPClassifier(**settings).fit(X, y)
    assert (estimator.coefs_[0] != plain.coefs_[0]).any()

    def cost(targets):
        A = estimator.model_.forward(X)
        terms = targets * np.log(A) + (0 if classes == 3 else (1 - targets) * np.log(1 - A))
        return -terms.sum(axis=1).mean()

    if solver == "lbfgs":
        np.testing.assert_allclose(estimator.loss_, cost(reference.smoothed(Y, 0.2, classes)), rtol=1e-6)
        return
    np.testing.assert_allclose(estimator.validation_loss_curve_[-1], cost(Y), rtol=1e-12)
    expected = cost(reference.smoothed(Y, 0.2, classes))
    estimator.set_params(batch_size=130).partial_fit(X, y)  # whose loss is that before its one update
    np.testing.assert_allclose(estimator.loss_, expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"has no label_smoothing, which is 0\.2.*set_params\(label_smoothing=0\.0\)"):
        estimator.to_sklearn()
    estimator.set_params(label_smoothing=0.0).to_sklearn()
