"""The policy for what a user may pass, as tables: each kind of input at each entry point, each setting and value.

A cell is either right, and gives to the bit what the plain array of floats gives; or it is refused by a TypeError or
ValueError that names the argument and says what to pass instead, before anything of the model has changed.
"""

import fractions
import pickle
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pytest
from compiled import make_model
from kinds import OF_WEIGHTS, OF_X, OF_Y, X, Y, library, read_only

import fastnet

X_FIT, Y_FIT = X, Y  # where X and y are arguments

pytestmark = [
    pytest.mark.jit,  # not about kernels, and minutes in plain Python
    pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning"),
    pytest.mark.filterwarnings("ignore:X has feature names"),
    pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger than sample size"),
]


def classifier() -> fastnet.Model:
    return make_model((4, 3, 1), ("relu", "sigmoid"), dtype="float32", optimizer=fastnet.Adam(0.01))


def after_training(model: fastnet.Model, train: Callable[[], Any]) -> tuple[Any, bytes]:
    result = train()
    return getattr(result, "cost", result), model.parameters.tobytes()


def with_out(model: fastnet.Model, rows: Any) -> np.ndarray:
    return model.forward(rows, out=np.empty((6, 1), np.float32))


ENTRANCES: dict[str, Callable[[fastnet.Model, Any, Any, Any], Any]] = {
    "forward": lambda model, X, y, w: model.forward(X),
    "forward(out=)": lambda model, X, y, w: with_out(model, X),
    "predict": lambda model, X, y, w: model.predict(X),
    "predict_proba": lambda model, X, y, w: model.predict_proba(X),
    "cost": lambda model, X, y, w: model.cost(X, y, w),
    "gradients": lambda model, X, y, w: model.gradients(X, y, w),
    "evaluate": lambda model, X, y, w: model.evaluate(X, y, sample_weight=w),
    "step": lambda model, X, y, w: after_training(model, lambda: model.step(X, y, w)),
    "fit": lambda model, X, y, w: after_training(model, lambda: model.fit(X, y, epochs=1, sample_weight=w)),
    "check_gradients": lambda model, X, y, w: repr(model.check_gradients(X, y, w)),
    "diagnose": lambda model, X, y, w: repr(model.diagnose(X, y)),
    "validation_data": lambda model, X, y, w: model.fit(X_FIT, Y_FIT, epochs=1, validation_data=(X, y, w)).val_cost,
}
"""What takes examples, and what it gives."""

WITHOUT_Y = {"forward", "forward(out=)", "predict", "predict_proba"}
WITHOUT_WEIGHTS = {*WITHOUT_Y, "diagnose"}
NO_CELLS = {("y", "diagnose", "None")}  # y may be left out there
TABLES = {"X": (OF_X, set()), "y": (OF_Y, WITHOUT_Y), "sample_weight": (OF_WEIGHTS, WITHOUT_WEIGHTS)}


def state_of(model: fastnet.Model) -> bytes:
    """Return all that calls may change."""
    return pickle.dumps((model.parameters, model.epochs_finished, model._optimizer_state, model.history, model._key))


def assert_ours(error: BaseException) -> None:
    """Assert that an error is not one of the machinery."""
    assert not isinstance(error, AttributeError)
    assert not re.search(r"numba|nopython|[Tt]yping|lowering", str(error))


def in_bytes(result: Any) -> bytes:
    if isinstance(result, np.ndarray):
        return result.tobytes()
    return b"".join(map(in_bytes, result)) if isinstance(result, (list, tuple)) else repr(result).encode()


def error_of(call: Callable[[], Any]) -> Exception | None:
    """Return what a call raises, which must not be an error of the machinery."""
    try:
        call()
    except Exception as error:
        assert_ours(error)
        return error
    return None


@pytest.mark.parametrize(("place", "name"), [(place, name) for place, (kinds, _) in TABLES.items() for name in kinds])
def test_examples(place, name):
    """At every entry point that takes them; nothing of the model changes where they are refused."""
    kinds, without = TABLES[place]
    make, refused = kinds[name]
    plain = {"X": X, "y": Y, "sample_weight": Y if place == "sample_weight" else None}
    for entrance, call in ENTRANCES.items():
        if entrance in without or (place, entrance, name) in NO_CELLS:
            continue
        given = {**plain, place: make(plain[place].copy())}
        model = classifier()
        before = state_of(model)
        if refused is None:
            assert in_bytes(call(model, *given.values())) == in_bytes(call(classifier(), *plain.values())), entrance
            continue
        error = error_of(lambda model=model, call=call, given=given: call(model, *given.values()))
        assert isinstance(error, refused.error), (entrance, error)
        assert re.search(refused.message.replace("NAME", place), str(error)), (entrance, error)
        assert state_of(model) == before, entrance


OUTS = {
    "float64": (lambda: np.empty((6, 1)), TypeError, "out must be an array of float32, not one of float64"),
    "a list": (lambda: [[0.0]] * 6, TypeError, "out must be an array of float32, not"),
    "a tensor": (lambda: library("torch").empty(6, 1), TypeError, "out must be an array of float32, not"),
    "flat": (lambda: np.empty(6, "f4"), ValueError, r"out must have shape \(6, 1\), not \(6,\)"),
    "too long": (lambda: np.empty((7, 1), "f4"), ValueError, r"out must have shape \(6, 1\), not \(7, 1\)"),
    "strided": (lambda: np.empty((12, 1), "f4")[::2], ValueError, r"out must be C-contiguous, .* Pass np.empty_like"),
    "read-only": (lambda: read_only(np.empty((6, 1))), ValueError, "out must be C-contiguous, aligned and writable"),
    "byte order": (lambda: np.empty((6, 1), ">f4"), TypeError, "out must be an array of float32, not one of >f4"),
}


@pytest.mark.parametrize("name", OUTS)
def test_places_for_the_output(name):
    make, error, message = OUTS[name]
    with pytest.raises(error, match=message) as caught:
        classifier().forward(X, out=make())
    assert_ours(caught.value)


# ---------------------------------------------------------------------------------------------------------- estimators


def of_estimator(kind: str, library_of: Any) -> Any:
    return getattr(library_of, kind)(hidden_layer_sizes=3, max_iter=1, random_state=0)


OF_ESTIMATORS = {
    "fit": lambda estimator, X, y: estimator.fit(X, y).coefs_,
    "partial_fit": lambda estimator, X, y: estimator.fit(X_FIT, Y_FIT).partial_fit(X, y).coefs_,
    "predict": lambda estimator, X, y: estimator.fit(X_FIT, Y_FIT).predict(X),
    "predict_proba": lambda estimator, X, y: estimator.fit(X_FIT, Y_FIT).predict_proba(X),
    "score": lambda estimator, X, y: estimator.fit(X_FIT, Y_FIT).score(X, y),
}
REFUSED_HERE_ALONE = {"masked", "rows masked", "records"}
"""What scikit-learn takes: as if nothing were missing, or a field of one record as if it were a column."""
READ_HERE_ALONE = {"bfloat16": np.float32, "float8": np.float32, "DLPack": np.float64}
"""What it does not predict with, and the dtype that it has here."""


@pytest.mark.parametrize("name", OF_X)
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.filterwarnings("ignore:The features of X are far:UserWarning")
def test_estimators_refuse_what_scikit_learn_refuses(kind, name):
    """By the same type of error; what it takes gives what the plain array gives."""
    theirs, ours = library("sklearn.neural_network"), library("fastnet.sklearn")
    for entrance, call in OF_ESTIMATORS.items():
        if entrance == "predict_proba" and kind == "MLPRegressor":
            continue
        value = OF_X[name].make(X.copy())
        found = error_of(lambda call=call, value=value: call(of_estimator(kind, ours), value, Y))
        if name in REFUSED_HERE_ALONE:
            error, message = OF_X[name].refused
            assert isinstance(found, error), entrance
            assert re.search(message.replace("NAME", "X"), str(found)), entrance
            continue
        if name in READ_HERE_ALONE:
            assert found is None, (entrance, found)
            plain = X.astype(READ_HERE_ALONE[name])
        else:
            expected = error_of(lambda call=call, value=value: call(of_estimator(kind, theirs), value, Y))
            assert (found is None) == (expected is None), (entrance, found, expected)
            if found is not None:
                known = ValueError if isinstance(expected, ValueError) else TypeError
                assert isinstance(found, known), (entrance, found)
                continue
            plain = value.toarray() if name == "sparse" else np.asarray(value)
            if plain.dtype != np.float32:  # of which the network is one of float32
                plain = plain.astype(np.float64)
        results = [in_bytes(call(of_estimator(kind, ours), rows, Y)) for rows in (value, plain)]
        assert results[0] == results[1], entrance


# ------------------------------------------------------------------------------------------------------------ settings

VALUES: dict[str, Any] = {
    "text": "x", "text of a number": "1", "NumPy's text": np.str_("1"), "bytes": b"1", "None": None, "list": [1],
    "dictionary": {}, "set": {1}, "iterator": iter(()), "class": int, "object": object(),
    "True": True, "False": False, "np.True_": np.True_,
    "0": 0, "-1": -1, "1": 1, "2": 2, "2**70": 2**70, "10**400": 10**400,
    "0.0": 0.0, "-0.5": -0.5, "0.5": 0.5, "2.5": 2.5, "nan": np.nan, "inf": np.inf, "-inf": -np.inf,
    "1e39": 1e39, "1e-50": 1e-50,
    "int8": np.int8(2), "uint16": np.uint16(2), "uint64": np.uint64(2), "float16": np.float16(0.5),
    "float32": np.float32(0.5), "longdouble": np.longdouble(0.5), "float16 inf": np.float16(np.inf),
    "0-d int": np.array(2), "0-d float": np.array(0.5), "0-d bool": np.array(True),
    "0-d object": np.array(None, object),
    "array of one": np.ones(1), "array of two": np.ones(2), "masked": np.ma.masked,
    "complex": 1j, "complex64": np.complex64(1), "date": np.datetime64("2026-01-01"), "time": np.timedelta64(1, "s"),
    "void": np.void(b"1"), "Fraction": fractions.Fraction(1, 2), "Decimal": Decimal("0.5"),
    "Decimal nan": Decimal("nan"),
}  # fmt: skip

HALVES = {"0.5", "float16", "float32", "longdouble", "0-d float", "Fraction", "Decimal"}
TWOS = {"2", "int8", "uint16", "uint64", "0-d int"}
POSITIVE = {*HALVES, *TWOS, "1", "2.5", "2**70", "1e39", "1e-50"}
RANGE_OF_FLOAT32 = {"1e39", "1e-50"}
TAKES = {
    "positive": POSITIVE,
    "positive, in float32": POSITIVE - RANGE_OF_FLOAT32,
    "not negative": {*POSITIVE, "0", "0.0"},
    "not negative, in float32": {*POSITIVE, "0", "0.0"} - RANGE_OF_FLOAT32,
    "below one": {*HALVES, "0", "0.0", "1e-50"},
    "below one, in float32": {*HALVES, "0", "0.0"},
    "between 0 and 1": {*HALVES, "1e-50"},
    "count": {*TWOS, "1"},
    "count or zero": {*TWOS, "1", "0"},
    "count of two": TWOS,
    "flag": {"True", "False", "np.True_"},
    "seed": {*TWOS, "1", "0", "None", "2**70", "10**400", "list"} - {"0-d int"},
    "nothing": set(),
}
"""What each kind of setting takes, of those values; the others are refused by a TypeError or ValueError."""


class Setting(NamedTuple):
    """Where a setting is given, what it takes, and what else; `name` is how messages call it, if not by its own."""

    use: Callable[[Any], Any]
    takes: str
    also: tuple[str, ...] = ()
    name: str = ""


def model_of(**settings: Any) -> fastnet.Model:
    model = fastnet.Model([fastnet.Dense(3, "relu"), fastnet.Dense(1, "sigmoid")], **{"seed": 0, **settings})
    model.build(4)
    return model


def fit(**settings: Any) -> Any:
    return model_of().fit(X, Y, **{"epochs": 1, **settings})


def scheduled(schedule: Callable[..., Any], **settings: Any) -> Any:
    """Make a model with a schedule; if it is to learn, rates that are out of its range are refused too."""
    return model_of(optimizer=fastnet.SGD(schedule(**{"learning_rate": 0.1, **settings})))


def with_callback(kind: Callable[..., Any], **settings: Any) -> Any:
    return fit(callbacks=kind(**{"monitor": "cost", **settings}))


SETTINGS: dict[str, Setting] = {
    "Dense.units": Setting(fastnet.Dense, "count"),
    "Dense.activation": Setting(lambda value: fastnet.Dense(2, value), "nothing", ("None",)),
    "Dense.initializer": Setting(lambda value: fastnet.Dense(2, initializer=value), "nothing", ("None",)),
    "Dense.use_bias": Setting(lambda value: fastnet.Dense(2, use_bias=value), "flag"),
    "Dense.l2": Setting(
        lambda value: fastnet.Model([fastnet.Dense(2, l2=value)]), "not negative, in float32", ("None",)
    ),
    "Dense.l1": Setting(
        lambda value: fastnet.Model([fastnet.Dense(2, l1=value)]), "not negative, in float32", ("None",)
    ),
    "Dropout.rate": Setting(fastnet.Dropout, "below one"),
    "LeakyReLU.slope": Setting(
        lambda value: fastnet.Model([fastnet.Dense(2, fastnet.LeakyReLU(value)), fastnet.Dense(1)]),
        "not negative, in float32",
    ),
    "Normal.scale": Setting(
        lambda value: fastnet.Model([fastnet.Dense(2, initializer=fastnet.Normal(value))]), "positive, in float32"
    ),
    "Huber.delta": Setting(
        lambda value: fastnet.Model([fastnet.Dense(2)], loss=fastnet.Huber(value)), "positive, in float32"
    ),
    "Model.layers": Setting(fastnet.Model, "nothing"),
    "Model.layers[0]": Setting(lambda value: fastnet.Model([value]), "nothing", name="layers"),
    "Model.loss": Setting(lambda value: model_of(loss=value), "nothing", ("None",)),
    "Model.optimizer": Setting(lambda value: model_of(optimizer=value), "nothing", ("None",)),
    "Model.l2": Setting(lambda value: model_of(l2=value), "not negative, in float32"),
    "Model.l1": Setting(lambda value: model_of(l1=value), "not negative, in float32"),
    "Model.dtype": Setting(lambda value: model_of(dtype=value), "nothing"),
    "Model.seed": Setting(lambda value: model_of(seed=value), "seed"),
    "Model.build": Setting(lambda value: model_of().build(value), "count", name="n_features"),
    "SGD.learning_rate": Setting(
        lambda value: model_of(optimizer=fastnet.SGD(value)),
        "positive, in float32",
        ("class",),  # a function of the epoch
    ),
    "SGD.momentum": Setting(lambda value: model_of(optimizer=fastnet.SGD(0.1, value)), "below one, in float32"),
    "SGD.nesterov": Setting(lambda value: fastnet.SGD(0.1, 0.9, value), "flag"),
    "SGD.clip_norm": Setting(
        lambda value: model_of(optimizer=fastnet.SGD(clip_norm=value)), "positive, in float32", ("None",)
    ),
    "RMSprop.rho": Setting(lambda value: model_of(optimizer=fastnet.RMSprop(rho=value)), "below one, in float32"),
    "RMSprop.epsilon": Setting(
        lambda value: model_of(optimizer=fastnet.RMSprop(epsilon=value)), "positive, in float32"
    ),
    "Adagrad.epsilon": Setting(
        lambda value: model_of(optimizer=fastnet.Adagrad(epsilon=value)), "positive, in float32"
    ),
    "Adam.beta1": Setting(lambda value: model_of(optimizer=fastnet.Adam(beta1=value)), "below one, in float32"),
    "Adam.beta2": Setting(lambda value: model_of(optimizer=fastnet.Adam(beta2=value)), "below one, in float32"),
    "Adam.epsilon": Setting(lambda value: model_of(optimizer=fastnet.Adam(epsilon=value)), "positive, in float32"),
    "AdamW.weight_decay": Setting(
        lambda value: model_of(optimizer=fastnet.AdamW(weight_decay=value)), "not negative, in float32"
    ),
    **{
        f"{schedule.__name__}.{name}": Setting(
            lambda value, schedule=schedule, name=name, rest=rest: scheduled(schedule, **{**rest, name: value}), takes
        )
        for schedule, rest, names in (
            (fastnet.ExponentialDecay, {}, {"gamma": "positive"}),
            (fastnet.StepDecay, {}, {"step": "count", "gamma": "positive"}),
            (fastnet.CosineDecay, {"epochs": 5}, {"epochs": "count", "final": "not negative"}),
            (
                fastnet.OneCycle,
                {"epochs": 5},
                {"epochs": "count of two", "rising": "below one", "start_factor": "positive", "end_factor": "positive"},
            ),
        )
        for name, takes in {**names, "learning_rate": "positive, in float32", "warmup": "count or zero"}.items()
    },
    **{
        f"{kind.__name__}.{name}": Setting(
            lambda value, kind=kind, name=name: with_callback(kind, **{name: value}), takes
        )
        for kind, names in (
            (fastnet.EarlyStopping, {"restore_best": "flag"}),
            (
                fastnet.ReduceOnPlateau,
                {"factor": "between 0 and 1", "cooldown": "count or zero", "min_learning_rate": "not negative"},
            ),
        )
        for name, takes in {**names, "monitor": "nothing", "patience": "count", "min_delta": "not negative"}.items()
    },
    "fit.epochs": Setting(lambda value: fit(epochs=value), "count"),
    "fit.batch_size": Setting(lambda value: fit(batch_size=value), "count", ("None",)),
    "fit.shuffle": Setting(lambda value: fit(shuffle=value), "flag"),
    "fit.class_weight": Setting(lambda value: fit(class_weight=value), "nothing", ("None", "dictionary")),
    "fit.class_weight[0]": Setting(
        lambda value: fit(class_weight={0: value}), "not negative, in float32", ("1e-50",), "class_weight"
    ),
    "fit.validation_data": Setting(lambda value: fit(validation_data=value), "nothing", ("None",)),
    "fit.validation_split": Setting(lambda value: fit(validation_split=value), "below one"),
    "fit.metrics": Setting(lambda value: fit(metrics=value), "nothing", ("dictionary", "iterator", "void")),
    "fit.callbacks": Setting(lambda value: fit(callbacks=value), "nothing", ("dictionary", "iterator", "void")),
    "fit.verbose": Setting(lambda value: fit(verbose=value), "count or zero", ("True", "False", "np.True_")),
    "fit.communicator": Setting(lambda value: fit(communicator=value), "nothing", ("None",)),
    "fit.threads": Setting(lambda value: fit(threads=value), "count", ("None",)),
    "evaluate.metrics": Setting(
        lambda value: model_of().evaluate(X, Y, value), "nothing", ("dictionary", "iterator", "void")
    ),
    "input_gradients.logits": Setting(lambda value: model_of().input_gradients(X, logits=value), "flag"),
    "set_num_threads": Setting(fastnet.set_num_threads, "count", name=""),
    "warmup.dtype": Setting(fastnet.warmup, "nothing"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings(setting, capsys):
    use, takes, also, name = SETTINGS[setting]
    name = name or setting.partition(".")[2]
    threads = fastnet.get_num_threads()
    for kind, value in VALUES.items():
        error = error_of(lambda value=value: use(value))
        if kind in TAKES[takes] or kind in also:
            assert error is None, f"{kind}: {error}"
        else:
            assert isinstance(error, (TypeError, ValueError)), f"{kind}: {error}"
            assert name in str(error), f"{kind}: {error}"
            assert re.search("must|logs only|Pass|needs|Scale", str(error)), f"{kind}: {error}"
    fastnet.set_num_threads(threads)
