"""What a program sets for its own numbers, by np.seterr or in a context of decimal, changes nothing here."""

import copy
import decimal
import warnings

import numpy as np
import pytest
from bounds import DTYPES

from fastnet import SGD, Adam, CosineDecay, Dense, Dropout, EarlyStopping, Model, Normal, ReduceOnPlateau
from fastnet import TrainingDivergedError as Diverged

pytestmark = pytest.mark.jit  # not about kernels, and minutes in plain Python

rng = np.random.default_rng(0)
PLAIN = rng.standard_normal((60, 4))
DATA = {
    "plain": PLAIN,
    "some subnormal": PLAIN * [1, 1, 1e-40, 1e-310],
    "all subnormal in float32": PLAIN * 1e-42,
    "small": PLAIN * 1e-300,
    "large": PLAIN * 1e37,
}
STATES = [{kind: "raise"} for kind in ("all", "over", "invalid", "under", "divide")]


def data_of(name, dtype):
    with np.errstate(all="ignore"):
        return np.clip(DATA[name], -3e38, 3e38), (PLAIN[:, 0] > 0).astype(int), (DATA[name][:, 0] ** 2).clip(0, 3e38)


def same_in_all_contexts(call):
    """Assert that a call gives the same, or the same error, whatever np.seterr says; no warning either."""

    def outcome(**state):
        with np.errstate(**state):
            try:
                return call()
            except (Diverged, ValueError, FloatingPointError) as error:  # of ours, if it is the same in all
                return repr(error)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* are far from the scale")
        expected = outcome(all="ignore")
        for state in [*STATES, {"all": "warn"}]:
            assert outcome(**state) == expected, state


def model_of(last, dtype, optimizer=None):
    layers = [Dense(6, "gelu"), Dropout(0.2), Dense(4, "relu"), Dense(3 if last == "softmax" else 1, last)]
    return Model(layers, optimizer=optimizer or Adam(0.01), l2=0.1, l1=0.01, dtype=dtype, seed=0)


@pytest.mark.jit
@pytest.mark.parametrize("last", ["sigmoid", "softmax", "linear"])
@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_call_of_a_model_raises_what_numpy_is_told_to_raise(dtype, name, last):
    X, classes, values = data_of(name, dtype)
    y = values if last == "linear" else classes
    metrics = ["mse", "mae", "r2"] + ["accuracy", "auc", "log_loss", "f1"] * (last != "linear")
    model = model_of(last, dtype)
    model.build(4)

    def fit(optimizer=None, **settings):
        trained = model_of(last, dtype, optimizer)
        history = trained.fit(X, y, epochs=3, **settings)
        return repr([history.cost, history.val_cost, history.metrics]), trained.parameters.tobytes()

    plateau = [EarlyStopping(patience=1), ReduceOnPlateau(patience=1)]
    calls = [
        lambda: fit(validation_split=0.2, metrics=metrics, callbacks=plateau),
        lambda: fit(SGD(CosineDecay(0.001, epochs=2), momentum=0.9, clip_norm=1.0), sample_weight=[1e-37] * 60),
        lambda: fit(SGD(1e30), batch_size=None),
        lambda: fit(class_weight=None if last == "linear" else {0: 1e-30, 1: 1e30}, sample_weight=[1e-37] * 60),
        lambda: repr(model.forward(X)),
        lambda: repr(model.predict(X)),
        lambda: repr(model.predict(X.astype(object))),
        lambda: last == "linear" or repr(model.predict_proba(X)),
        lambda: repr(model.evaluate(X, y, metrics)),
        lambda: repr(model.gradients(X, y)),
        lambda: repr(model.check_gradients(X[:5], y[:5])),
        lambda: repr(model.diagnose(X, y)),
        lambda: copy.copy(model).step(X, y),
    ]
    for call in calls:
        same_in_all_contexts(call)


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
def test_nor_does_a_parameter_too_small_for_its_dtype(dtype):
    def build():
        model = Model([Dense(3, initializer=Normal(1e-300)), Dense(1)], dtype=dtype, seed=0)
        model.build(2)
        model.layers[1].W = [[1e-300, np.longdouble("1e-4000"), 1e-42]]
        return model.parameters.tobytes()

    same_in_all_contexts(build)


@pytest.mark.jit
def test_features_near_the_end_of_the_range_of_float32_are_warned_of():
    X = np.array([[3e38, 1e36], [1e38, 2e36]], np.float32)
    with np.errstate(all="raise"):
        Model([Dense(1)], seed=0).build(2)
        with pytest.raises(Diverged), pytest.warns(UserWarning, match="mean 2e.38 and spread 1e.38"):
            Model([Dense(1)], seed=0).fit(X, [0, 1], epochs=1)


SOLVERS = [
    {},
    {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 1e9, "learning_rate_init": 0.1},
    {"solver": "lbfgs"},
    {"early_stopping": True, "clip_norm": 1.0, "dropout": 0.1},
    {"early_stopping": True, "scoring": "loss"},
]


@pytest.mark.jit
@pytest.mark.filterwarnings(
    "ignore:Stochastic Optimizer", "ignore:lbfgs failed to converge", "ignore:Training diverged"
)
@pytest.mark.parametrize("settings", SOLVERS)
@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nor_does_one_of_an_estimator(dtype, name, settings):
    sklearn = pytest.importorskip("fastnet.sklearn")
    X, classes, values = data_of(name, dtype)
    with np.errstate(all="ignore"):
        X, values = X.astype(dtype), values.astype(dtype)

    def fit(kind, y, *calls, weights=None, **more):
        estimator = kind(hidden_layer_sizes=(6,), max_iter=4, random_state=0, **settings, **more)
        estimator.fit(X, y, weights)
        results = [repr(getattr(estimator, call)(X)) for call in calls]
        return estimator.coefs_[0].tobytes(), repr(estimator.__dict__.get("loss_curve_")), results

    of_classes = "predict", "predict_proba", "predict_log_proba"
    same_in_all_contexts(lambda: fit(sklearn.MLPClassifier, classes, *of_classes, class_weight={0: 1e-30, 1: 1}))
    for loss in ("squared_error", "poisson", "huber"):
        same_in_all_contexts(lambda loss=loss: fit(sklearn.MLPRegressor, values, "predict", loss=loss))


@pytest.mark.jit
def test_nor_do_sparse_rows(monkeypatch):
    sparse, sklearn = pytest.importorskip("scipy.sparse"), pytest.importorskip("fastnet.sklearn")
    monkeypatch.setattr("fastnet.sklearn.rules.DENSE_BYTES", 100)
    X = sparse.csr_array(PLAIN * 1e-310)

    def fit():
        estimator = sklearn.MLPRegressor(hidden_layer_sizes=(6,), max_iter=2, random_state=0, dtype="float32", tol=0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Stochastic Optimizer")
            estimator.fit(X, PLAIN[:, 0])
        return estimator.predict(X).tobytes()

    same_in_all_contexts(fit)


# ------------------------------------------------------------------------------------------------------------- decimal


def contexts():
    """Yield contexts of decimal: coarse, narrow, and with every trap."""
    yield decimal.Context(prec=6)
    yield decimal.Context(prec=1, rounding=decimal.ROUND_UP)
    yield decimal.Context(prec=50, Emax=1, Emin=-1)
    yield decimal.Context(traps=list(decimal.Context().flags))
    yield decimal.Context(prec=3, clamp=1, capitals=0, traps=list(decimal.Context().flags))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_inverse_scaling_gives_the_same_bits_in_every_context_of_decimal(monkeypatch):
    rules = pytest.importorskip("fastnet.sklearn.rules")
    estimators = pytest.importorskip("fastnet.sklearn")

    def rates():
        return [
            rules.inverse_scaling(rate, t, power) for rate in (0.1, 1e-3) for t in (0, 7, 10**9) for power in (0.5, 0)
        ]

    def network():
        settings = {"solver": "sgd", "learning_rate": "invscaling", "random_state": 0, "max_iter": 3}
        return estimators.MLPRegressor(hidden_layer_sizes=(3,), **settings).fit(PLAIN, PLAIN[:, 0]).coefs_[0].tobytes()

    expected = rates(), network()
    assert expected[0] == pytest.approx(
        [rate / (t + 1) ** power for rate in (0.1, 1e-3) for t in (0, 7, 10**9) for power in (0.5, 0)], rel=1e-15
    )
    for context in contexts():
        with decimal.localcontext(context):
            assert (rates(), network()) == expected
            assert not any(decimal.getcontext().flags.values())
    for name, value in (("prec", 3), ("Emax", 1), ("traps", dict.fromkeys(decimal.Context().flags, True))):
        monkeypatch.setattr(decimal.DefaultContext, name, value)
    assert (rates(), network()) == expected
