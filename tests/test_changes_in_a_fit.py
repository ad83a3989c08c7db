"""What a callback changes in the course of a fit has no effect, or is an error: it never ends the process."""

import numpy as np
import pytest
from compiled import make_model, random_classes, random_data

from fastnet import SGD, Dense
from fastnet.engine.progress import Progress

pytestmark = pytest.mark.jit  # not about kernels, and minutes in plain Python

ROWS = 130
FAR = 3_000_000  # as an index, outside of all memory


def data(n_classes=3):
    """Return X, y and weights that need no conversion."""
    X = random_data(ROWS, 4)[0].astype(np.float32)
    return X, random_classes(ROWS, n_classes)[0].astype(np.float32), np.ones(ROWS, np.float32)


def classifier(**settings):
    return make_model((4, 5, 3), ("relu", "softmax"), dtype="float32", **settings)


@pytest.mark.parametrize("value", [3, 7, FAR, -1, -FAR, np.nan, np.inf])
@pytest.mark.parametrize("which", ["y", "sample_weight", "y of validation_data"])
def test_labels_and_weights_may_be_written_to(which, value):
    X, y, weights = data()
    held_out = y.copy()
    written = {"y": y, "sample_weight": weights, "y of validation_data": held_out}[which]

    def write(model, epoch, logs):
        written[:] = value

    model, twin = classifier(), classifier()
    settings = {"epochs": 3, "batch_size": 32, "metrics": ["accuracy", "f1", "auc", "log_loss"]}
    expected = twin.fit(X, y.copy(), sample_weight=weights.copy(), validation_data=(X, y.copy()), **settings)
    found = model.fit(X, y, sample_weight=weights, validation_data=(X, held_out), callbacks=write, **settings)
    assert (found.cost, found.val_cost, found.metrics) == (expected.cost, expected.val_cost, expected.metrics)
    np.testing.assert_array_equal(model.parameters, twin.parameters)


def test_what_is_not_finite_in_x_or_y_is_named():
    X, _, _ = data()
    y = np.zeros((ROWS, 2), np.float32)
    for name, written in (("X", X), ("y", y)):
        model = make_model((4, 5, 2), ("relu", "linear"), dtype="float32")

        def write(model, epoch, logs, written=written):
            if epoch == 1:
                written[7, 1] = np.nan

        message = (
            rf"{name} has 1 non-finite value, written there during the fit; the first is {name}\[7, 1\] = nan\. Let"
        )
        with pytest.raises(ValueError, match=message):
            model.fit(X, y, epochs=5, batch_size=32, callbacks=write)
        assert np.isfinite(model.parameters).all()
        assert model.history.epochs == 2
        written[7, 1] = 0


def test_x_that_another_thread_spoils_leaves_finite_parameters(monkeypatch):
    """Infinities that tanh makes finite: the cost is so, too, and the parameters are the first that are not."""
    X, _, _ = data()
    y = np.zeros((ROWS, 2), np.float32)
    update = Progress.update

    def spoil(progress, history, *arguments):
        X[:, 0] = np.inf
        return update(progress, history, *arguments)

    monkeypatch.setattr(Progress, "update", spoil)
    monkeypatch.setattr("fastnet.engine.run.CALL_SECONDS", 1e-9)  # a call is a chunk
    model = make_model((4, 5, 2), ("tanh", "linear"), dtype="float32")
    with pytest.raises(ValueError, match="X has 130 non-finite values, written there during the fit"):
        model.fit(X, y, epochs=5, batch_size=32)
    assert np.isfinite(model.parameters).all()


def test_parameters_that_a_callback_makes_nan_are_laid_to_it():
    X, y, _ = data()

    def spoil(model, epoch, logs):
        model.layers[1].W[1, 2] = np.nan

    with pytest.raises(ValueError, match=r"1 non-finite value left by a callback; the first is parameters\[32\] = nan"):
        classifier().fit(X, y, epochs=3, callbacks=spoil)


REPLACED = {
    "output_layer": lambda model: setattr(model, "output_layer", Dense(FAR, "softmax")),
    "output_layer, deleted": lambda model: delattr(model, "output_layer"),
    "layers": lambda model: setattr(model, "layers", [Dense(3)]),
    "units": lambda model: setattr(model.layers[0], "units", FAR),
    "dtype": lambda model: setattr(model, "dtype", np.dtype("float64")),
}


@pytest.mark.parametrize("what", REPLACED)
def test_what_a_model_consists_of_is_not_replaced(what):
    X, y, _ = data()
    model = classifier()
    with pytest.raises(AttributeError, match=f"{what.split(',')[0]} of a .* is fixed when it is made. Make a new"):
        model.fit(X, y, epochs=3, callbacks=lambda model, epoch, logs: REPLACED[what](model))
    assert model.evaluate(X, y)["cost"] > 0
    with pytest.raises(ValueError, match="other than the classes 0 to 2"):
        model.cost(X, y * 0 + FAR)


RESHAPED = {
    "shape of W": lambda model: setattr(model.layers[0].W, "shape", (4, 5)),
    "shape of b": lambda model: setattr(model.layers[0].b, "shape", (5,)),
    "shape of parameters": lambda model: setattr(model.parameters, "shape", (1, -1)),
    "dtype of W": lambda model: setattr(model.layers[0].W, "dtype", np.int32),
    "dtype of parameters": lambda model: setattr(model.parameters, "dtype", np.int8),
    "flags of parameters": lambda model: model.parameters.setflags(write=False),
    "flags of W": lambda model: model.layers[0].W.setflags(write=False),
}


@pytest.mark.filterwarnings("ignore:Setting the .* on a NumPy array has been deprecated:DeprecationWarning")
@pytest.mark.parametrize("what", RESHAPED)
def test_views_of_parameters_are_the_callers(what):
    X, y, _ = data()
    model, twin = classifier(optimizer=SGD(0.1)), classifier(optimizer=SGD(0.1))
    found = model.fit(X, y, epochs=3, callbacks=lambda model, epoch, logs: RESHAPED[what](model))
    assert found.cost == twin.fit(X, y, epochs=3).cost
    np.testing.assert_array_equal(model.forward(X), twin.forward(X))
    assert model.layers[0].W.shape == (5, 4)
    model.layers[0].W[:] = 0
    assert not model.parameters[:20].any()
