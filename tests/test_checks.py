"""Bad input: each a clear error before any kernel runs, by its text."""

import numpy as np
import pytest
import scipy.sparse
from compiled import make_model, random_data

from fastnet import SGD, Dense, LeakyReLU, Model, Normal, NotFittedError
from fastnet.activations import ACTIVATIONS
from fastnet.layers import Encode
from fastnet.losses import LOSSES

X, Y = random_data(6, 4)


def fit(X=X, y=Y[:, 0], dtype="float32", **settings):
    model = Model([Dense(3, "relu"), Dense(1, "sigmoid")], dtype=dtype, seed=0)
    model.build(4)
    before = model.parameters.copy()
    try:
        return model.fit(X, y, **{"epochs": 1, **settings})
    except Exception:
        np.testing.assert_array_equal(model.parameters, before)
        raise


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


BAD_X = [
    (
        X[0],
        ValueError,
        "X must have 2 dimensions (m, n_x), examples in rows, but has shape (4,). Reshape your data: for one "
        "example of 4 features pass X.reshape(1, -1), for 4 examples of one feature X.reshape(-1, 1).",
    ),
    (X[None], ValueError, "X must have 2 dimensions (m, n_x), examples in rows, but has shape (1, 6, 4)."),
    (3.0, ValueError, "X must have 2 dimensions (m, n_x), examples in rows, but has shape ()."),
    (X[:, :3], ValueError, "X has 3 features, but the first layer was built for 4."),
    (
        X[:5, :].T[:, :],
        ValueError,
        "X has 5 features, but the first layer was built for 4. If its examples are columns, as in the course notes, "
        "pass X.T.",
    ),
    (X[:0], ValueError, "X must hold at least one example of at least one feature, but has shape (0, 4)."),
    (X[:, :0], ValueError, "X must hold at least one example of at least one feature, but has shape (6, 0)."),
    (
        changed(changed(X, (5, 2), np.inf), (3, 1), np.nan),
        ValueError,
        "X has 2 non-finite values; the first is X[3, 1] = nan. Impute or drop those rows.",
    ),
    (
        changed(X, (0, 3), -np.inf),
        ValueError,
        "X has 1 non-finite value; the first is X[0, 3] = -inf. Impute or drop those rows.",
    ),
    (
        changed(X, (1, 2), 1e39),
        ValueError,
        "X has 1 value beyond the range of float32, 3.403e+38; the first is X[1, 2] = 1e+39. Scale them, or use "
        "dtype='float64'.",
    ),
    (
        X + 1j,
        TypeError,
        "X must hold real numbers, but holds complex (dtype complex128): pass real numbers, such as X.real and X.imag "
        "side by side.",
    ),
    (
        np.full((6, 4), "2026-01-01", "M8[D]"),
        TypeError,
        "X must hold real numbers, but holds dates (dtype datetime64[D]): pass numbers, such as days since a first "
        "date.",
    ),
    (
        np.full((6, 4), 3, "m8[s]"),
        TypeError,
        "X must hold real numbers, but holds time differences (dtype timedelta64[s]): pass numbers, such as seconds.",
    ),
    (
        X.astype(str).astype("U3"),
        TypeError,
        "X must hold real numbers, but holds text (dtype <U3): encode it as numbers first: digits by "
        ".astype(float), labels by np.unique(y, return_inverse=True)[1], other categories by a column of 0 and 1 for "
        "each.",
    ),
    (
        np.zeros((6, 4), "S2"),
        TypeError,
        "X must hold real numbers, but holds text (dtype |S2): encode it as numbers first: digits by "
        ".astype(float), labels by np.unique(y, return_inverse=True)[1], other categories by a column of 0 and 1 for "
        "each.",
    ),
    (
        changed(X.astype(object), (2, 1), "red"),
        TypeError,
        "X must hold real numbers, but X[2, 1] is 'red', of type str: encode it as numbers first: digits by "
        ".astype(float), labels by np.unique(y, return_inverse=True)[1], other categories by a column of 0 and 1 for "
        "each.",
    ),
    (
        changed(X.astype(object), (4, 0), None),
        TypeError,
        "X must hold real numbers, but X[4, 0] is None, of type NoneType: impute it, or drop that row.",
    ),
    (
        changed(X.astype(object), (4, 0), type("NAType", (), {"__repr__": lambda self: "<NA>"})()),  # as pandas has it
        TypeError,
        "X must hold real numbers, but X[4, 0] is <NA>, of type NAType: impute it, or drop that row.",
    ),
    (
        np.ma.masked_less(X, np.sort(X.ravel())[2]),
        ValueError,
        "X is masked: 2 of its values are missing. Impute them, as by X.filled(value), or drop those rows.",
    ),
    (
        scipy.sparse.csr_array(X),
        TypeError,
        "X is sparse, but fastnet computes with dense arrays. Pass X.toarray().",
    ),
    ([[10**400, 1]], TypeError, "X must hold real numbers, but X[0, 0] is 1000"),
    (
        [[np.datetime64("2026-01-01"), 1.0]],
        TypeError,
        "X must hold real numbers, but X[0, 0] is np.datetime64('2026-01-01'), of type datetime64: pass numbers, such "
        "as days since a first date.",
    ),
    (
        None,
        TypeError,
        "X must hold real numbers, but it is None, of type NoneType: pass X as an array of numbers.",
    ),
    ([[1, 2], [3]], ValueError, "X cannot be made an array of numbers: "),
]


@pytest.mark.parametrize(("bad", "kind", "message"), BAD_X)
def test_bad_x(bad, kind, message):
    with pytest.raises(kind) as caught:
        fit(bad)
    assert str(caught.value).startswith(message)
    assert message.endswith((": ", "is 1000")) or str(caught.value) == message


@pytest.mark.parametrize(
    "call", ["forward", "predict", "predict_proba", "cost", "gradients", "step", "fit", "evaluate", "check_gradients"]
)
def test_every_entrance_checks_before_a_kernel_runs(call, monkeypatch):
    def no_kernel(*arguments):
        raise AssertionError("a kernel was asked for")

    model = make_model((4, 3, 1), ("relu", "sigmoid"))
    for name in (
        "fastnet.engine.run.compile_parts",
        "fastnet.engine.predict.link_for_prediction",
    ):
        monkeypatch.setattr(name, no_kernel)
    with_y = call not in ("forward", "predict", "predict_proba")
    for bad, message in (
        (X[:, :3], "X has 3 features"),
        (changed(X, (1, 1), np.nan), "non-finite"),
        (X[0], "2 dimens"),
    ):
        with pytest.raises(ValueError, match=message):
            getattr(model, call)(bad, Y) if with_y else getattr(model, call)(bad)
    if with_y:
        with pytest.raises(ValueError, match="same length"):
            getattr(model, call)(X, Y[:3])


BAD_Y = [
    (Y[:5, 0], ValueError, "X and y must have the same length, but X has 6 examples and y has 5."),
    (Y[:0], ValueError, "X and y must have the same length, but X has 6 examples and y has 0."),
    (
        Y.T,
        ValueError,
        "y must have shape (m,) or (m, 1), but has (1, 6). If examples are columns, as in the course notes, pass y.T.",
    ),
    (
        np.zeros((6, 2)),
        ValueError,
        "y must have shape (m,) or (m, 1), as the last layer has 1 unit, but has (6, 2).",
    ),
    (
        np.zeros((6, 0)),
        ValueError,
        "y must have shape (m,) or (m, 1), as the last layer has 1 unit, but has (6, 0).",
    ),
    (1.0, ValueError, "y must have shape (m,) or (m, 1), as the last layer has 1 unit, but has ()."),
    (
        [0, 1, 2, 1, 0, -1],
        ValueError,
        "y has 2 values outside [0, 1]; the first is y[2] = 2.0. binary_crossentropy takes labels 0 and 1, or "
        "probabilities; for -1 and 1 pass (y + 1) / 2. For more than two classes, let the last layer be a 'softmax' "
        "with a unit for each.",
    ),
    (
        changed(Y, (4, 0), np.nan),
        ValueError,
        "y has 1 non-finite value; the first is y[4, 0] = nan. Drop those examples.",
    ),
    (
        ["yes", "no"] * 3,
        TypeError,
        "y must hold real numbers, but holds text (dtype <U3): encode it as numbers first: digits by "
        ".astype(float), labels by np.unique(y, return_inverse=True)[1], other categories by a column of 0 and 1 for "
        "each.",
    ),
]


@pytest.mark.parametrize(("bad", "kind", "message"), BAD_Y)
def test_bad_y(bad, kind, message):
    with pytest.raises(kind) as caught:
        fit(y=bad)
    assert str(caught.value) == message


def test_examples_in_columns_are_recognised():
    model = Model([Dense(1, "sigmoid")])
    with pytest.raises(ValueError, match=r"but has \(1, 6\)\. If examples are columns.*, pass X\.T and y\.T\."):
        model.fit(X.T, Y.T)
    with pytest.raises(
        ValueError, match=r"X has 4 examples and y has 6\. If the examples of X are columns.*pass X\.T\."
    ):
        model.fit(X.T, Y[:, 0])


def test_settings_are_fixed():
    model = make_model((4, 1), ("sigmoid",))
    with pytest.raises(AttributeError, match=r"l2 of a Model is fixed when it is made. Make a new Model"):
        model.l2 = 3
    with pytest.raises(AttributeError, match="activation of a Dense is fixed"):
        model.layers[0].activation = "tanh"
    with pytest.raises(AttributeError, match=r"columns of an Encode is fixed when it is made. Make a new Encode"):
        Encode([("value",)]).columns = ()
    with pytest.raises(TypeError, match="optimizer must be one of fastnet's"):
        model.optimizer = 0.1
    assert model.optimizer == SGD(0.1)
    assert model.layers[0].activation == "sigmoid"


def test_parameters_that_were_made_nan_are_refused_before_training():
    model = make_model((4, 1), ("sigmoid",))
    model.layers[0].W[0, 2] = np.nan
    with pytest.raises(ValueError, match=r"parameters has 1 non-finite value; the first is parameters\[2\] = nan"):
        model.fit(X, Y)


def test_bad_y_of_several_outputs():
    model = make_model((4, 3), ("linear",))
    with pytest.raises(ValueError, match=r"y must have shape \(m, 3\), as the last layer has 3 units, but has \(6,\)"):
        model.fit(X, Y[:, 0])


@pytest.mark.filterwarnings("ignore:The features of X are far from the scale")
def test_values_of_float64_that_float32_cannot_hold_are_fine_in_float64():
    assert fit(changed(X, (1, 2), 1e39), dtype="float64").epochs == 1


def test_what_is_unusual_but_right():
    for good in (X.tolist(), X.astype(object), np.ma.masked_array(X), X.astype(np.float16), X > 0):
        assert np.isfinite(fit(good).cost).all()
    for good in (Y, Y.astype(bool), Y[:, 0].astype(int), Y.tolist(), [0.5] * 6):
        assert np.isfinite(fit(y=good).cost).all()


SETTINGS = [
    ({"epochs": 0}, ValueError, "epochs must be at least 1, not 0."),
    ({"epochs": 2.5}, TypeError, "epochs must be an integer of at least 1, not 2.5."),
    ({"epochs": True}, TypeError, "epochs must be an integer of at least 1, not True."),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0."),
    ({"batch_size": -3}, ValueError, "batch_size must be at least 1, not -3."),
    ({"batch_size": "all"}, TypeError, "batch_size must be an integer of at least 1, not 'all'."),
    ({"verbose": "loud"}, ValueError, "verbose must be 'auto', True or False, or an integer from 0, not 'loud'."),
]


@pytest.mark.parametrize(("settings", "kind", "message"), SETTINGS)
def test_bad_settings_of_fit(settings, kind, message):
    with pytest.raises(kind) as caught:
        fit(**settings)
    assert str(caught.value) == message


ACTIVATION_NAMES = ", ".join(map(repr, ACTIVATIONS)) + ", or a LeakyReLU(slope)"
LOSS_NAMES = ", ".join(map(repr, LOSSES))
CONSTRUCTORS = [
    (lambda: Dense(0), ValueError, "units must be at least 1, not 0."),
    (lambda: Dense(-2), ValueError, "units must be at least 1, not -2."),
    (lambda: Dense(2.0), TypeError, "units must be an integer of at least 1, not 2.0."),
    (
        lambda: Dense(1, "rleu"),
        ValueError,
        f"activation must be one of {ACTIVATION_NAMES}, not 'rleu'. Did you mean 'relu'?",
    ),
    (lambda: Dense(1, 3), ValueError, f"activation must be one of {ACTIVATION_NAMES}, not 3."),
    (lambda: LeakyReLU(-0.1), ValueError, "slope must be a finite number of at least 0, not -0.1."),
    (lambda: LeakyReLU(np.inf), ValueError, "slope must be a finite number of at least 0, not inf."),
    (lambda: LeakyReLU("steep"), TypeError, "slope must be a finite number of at least 0, not 'steep'."),
    (
        lambda: Model([Dense(1, LeakyReLU(1e-60)), Dense(1)]),
        ValueError,
        "slope must be in the range of float32, but 1e-60 is 0.0 there.",
    ),
    (
        lambda: Model([Dense(1, LeakyReLU(0.2))]),
        ValueError,
        "loss=None cannot choose a loss for a last activation of LeakyReLU(slope=0.2): it does so for 'sigmoid', "
        "'softmax', 'linear'. Pass loss='mean_squared_error', or change the activation.",
    ),
    (
        lambda: Model([Dense(1, LeakyReLU(0.2))], loss="poisson"),
        ValueError,
        "loss 'poisson' needs a last activation of 'linear', but the last layer has LeakyReLU(slope=0.2). Change that "
        "layer's activation, or use another loss, such as 'mean_squared_error'.",
    ),
    (
        lambda: Dense(1, initializer="he"),
        ValueError,
        "initializer must be one of 'zeros', 'he_normal', 'he_uniform', 'glorot_normal', 'glorot_uniform', "
        "'lecun_normal', a Normal(scale) or None, not 'he'.",
    ),
    (lambda: Dense(1, use_bias="no"), TypeError, "use_bias must be True or False, not 'no'."),
    (lambda: Dense(1, l2=-1), ValueError, "l2 must be a finite number of at least 0, not -1."),
    (lambda: Normal(0), ValueError, "scale must be a finite number greater than 0, not 0."),
    (lambda: SGD(0.0), ValueError, "learning_rate must be a finite number greater than 0, not 0.0."),
    (lambda: SGD(np.nan), ValueError, "learning_rate must be a finite number greater than 0, not nan."),
    (lambda: SGD("fast"), TypeError, "learning_rate must be a finite number greater than 0, not 'fast'."),
    (lambda: SGD(np.ones(2)), TypeError, "learning_rate must be a finite number greater than 0, not array([1., 1.])."),
    (
        lambda: Model([]),
        ValueError,
        "layers must hold at least one layer, such as [Dense(1, 'sigmoid')], but is empty.",
    ),
    (
        lambda: Model(Dense(1)),
        TypeError,
        "layers must be a list of layers, such as [Dense(1, 'sigmoid')], not Dense(1, 'linear').",
    ),
    (
        lambda: Model([Dense(1), 3]),
        TypeError,
        "layers must hold Dense, Dropout, Standardize, Scale and Encode, but layers[1] is 3. Pass such as "
        "[Dense(8, 'relu'), Dense(1, 'sigmoid')].",
    ),
    (
        lambda: Model([Dense(1)] * 2),
        ValueError,
        "layers[1] stands in the list twice. Make a new Dense for each place.",
    ),
    (
        lambda: Model([Dense(1, "tanh")]),
        ValueError,
        "loss=None cannot choose a loss for a last activation of 'tanh': it does so for 'sigmoid', 'softmax', "
        "'linear'. Pass loss='mean_squared_error', or change the activation.",
    ),
    (
        lambda: Model([Dense(1)], loss="binary_crossentropy"),
        ValueError,
        "loss 'binary_crossentropy' needs a last activation of 'sigmoid', but the last layer has 'linear'. Change that "
        "layer's activation, or use another loss, such as 'mean_squared_error'.",
    ),
    (
        lambda: Model([Dense(1)], loss="hinge"),
        ValueError,
        f"loss must be one of {LOSS_NAMES}, a Huber(delta), a Quantile(q) or None, not 'hinge'.",
    ),
    (
        lambda: Model([Dense(1)], optimizer=0.1),
        TypeError,
        "optimizer must be one of fastnet's, such as SGD(0.1) or Adam(), not 0.1.",
    ),
    (lambda: Model([Dense(1)], l2=-0.1), ValueError, "l2 must be a finite number of at least 0, not -0.1."),
    (lambda: Model([Dense(1)], dtype="float16"), ValueError, "dtype must be 'float32' or 'float64', not 'float16'."),
    (lambda: Model([Dense(1)], dtype=None), ValueError, "dtype must be 'float32' or 'float64', not None."),
    (
        lambda: Model([Dense(1)], loss=["x"]),
        ValueError,
        f"loss must be one of {LOSS_NAMES}, a Huber(delta), a Quantile(q) or None, not ['x'].",
    ),
    (
        lambda: Model([Dense(1)], optimizer=SGD(1e-50)),
        ValueError,
        "learning_rate must be in the range of float32, but 1e-50 is 0.0 there.",
    ),
    (lambda: Model([Dense(1, l2=1e39)]), ValueError, "l2 must be in the range of float32, but 1e+39 is inf there."),
    (lambda: Model([Dense(1)], dtype="floaty"), ValueError, "dtype must be 'float32' or 'float64', not 'floaty'."),
    (
        lambda: Model([Dense(1)], seed=-1),
        ValueError,
        "seed must be a non-negative integer, a numpy.random.Generator or None, not -1.",
    ),
    (
        lambda: Model([Dense(1)], seed="x"),
        TypeError,
        "seed must be a non-negative integer, a numpy.random.Generator or None, not 'x'.",
    ),
    (lambda: Model([Dense(1)]).build(0), ValueError, "n_features must be at least 1, not 0."),
]


@pytest.mark.parametrize(("make", "kind", "message"), CONSTRUCTORS)
def test_bad_constructor_arguments(make, kind, message):
    with pytest.raises(kind) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize("call", ["forward", "predict", "predict_proba", "cost", "gradients", "evaluate"])
def test_unfitted(call):
    model = Model([Dense(1, "sigmoid")])
    arguments = (X,) if call in ("forward", "predict", "predict_proba") else (X, Y)
    with pytest.raises(NotFittedError, match=r"no parameters yet: call build\(n_features\) or fit\(X, y\) first"):
        getattr(model, call)(*arguments)
    with pytest.raises(AttributeError, match="no parameters yet"):
        model.layers[0].W
    with pytest.raises(NotFittedError):
        model.layers[0].b
    with pytest.raises(NotFittedError):
        model.layers[0].b = 0
    with pytest.raises(NotFittedError):
        model.parameters[0] = 0


def test_assigning_parameters():
    model = make_model((4, 3, 1), ("relu", "sigmoid"), dtype="float32")
    layer = model.layers[0]
    before = model.parameters.copy()
    with pytest.raises(ValueError, match=r"W must have shape \(3, 4\), not \(4, 3\)\."):
        layer.W = np.zeros((4, 3))
    with pytest.raises(ValueError, match=r"b must have shape \(3, 1\), not \(3,\)\."):
        layer.b = np.zeros(3)
    with pytest.raises(ValueError, match=r"W has 1 value not finite in float32; the first is W\[1, 2\] = 1e\+39"):
        layer.W = changed(np.zeros((3, 4)), (1, 2), 1e39)
    with pytest.raises(TypeError, match="b must hold real numbers"):
        layer.b = [["a"], ["b"], ["c"]]
    np.testing.assert_array_equal(model.parameters, before)
    unbiased = Model([Dense(1, use_bias=False)])
    unbiased.build(2)
    with pytest.raises(ValueError, match="made with use_bias=False"):
        unbiased.layers[0].b = np.zeros((1, 1))


def test_evaluate_and_predict_proba_need_a_sigmoid():
    model = make_model((4, 1), ("linear",))
    with pytest.raises(ValueError, match=r"predict_proba needs a last activation of 'sigmoid'.*'linear'.*Use predict"):
        model.predict_proba(X)
    with pytest.raises(ValueError, match="The metric 'accuracy' needs a last activation of 'sigmoid'"):
        model.evaluate(X, Y, metrics=["accuracy"])
    with pytest.raises(TypeError, match="metrics must be a list of names, not None"):
        model.evaluate(X, Y, metrics=None)
    with pytest.raises(ValueError, match=r"metrics must be from 'accuracy', .*, not 'gini'"):
        model.evaluate(X, Y, metrics=["gini"])
