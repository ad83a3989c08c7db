"""`save` and `fastnet.sklearn.load`: an equal estimator, to the bit, with classes, names and record; and no code."""

import contextlib
import json
import pickle

import hostile
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import accuracy_score, make_scorer

import fastnet
from fastnet import (
    Adam,
    CosineDecay,
    EarlyStopping,
    FileFormatError,
    Huber,
    LeakyReLU,
    Quantile,
    ReduceOnPlateau,
    TimeLimit,
)
from fastnet.sklearn import MLPClassifier, MLPRegressor, load

pytestmark = [
    pytest.mark.jit,  # not about kernels, and minutes in plain Python
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((66, 3))
FRAME = pd.DataFrame(X, columns=["a", "β", "a longer name"])
THREE = np.arange(66) % 3
TARGETS = {
    "booleans": X[:, 0] > 0,
    "integers": THREE - 7,
    "int8": (THREE + 1).astype(np.int8),
    "floats": THREE.astype(float),
    "text": np.array(["a", "ä\U0001f600", ""])[THREE],
    "objects": np.array(["yes", "no", "no"], object)[THREE],
    "one class": np.zeros(66, int),
    "labels": (X > 0).astype(int),
    "sparse labels": sparse.csr_matrix((X > 0).astype(int)),
}
SETTINGS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive", "momentum": 1.0, "n_iter_no_change": np.inf},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "early_stopping": True},
    "lbfgs": {"solver": "lbfgs"},
    "optimizer": {
        "solver": Adam(CosineDecay(0.01, epochs=9)),
        "activation": ["gelu", LeakyReLU(0.3)],
        "dropout": [0.1, 0.2],
        "hidden_layer_sizes": [4, np.int64(3)],
        "dtype": np.float32,
        "clip_norm": 1.0,
    },
    "random state": {
        "random_state": np.random.RandomState(4),
        "dropout": 0.1,
        "hidden_layer_sizes": (3,),
        "warm_start": True,
    },
    "the rest": {
        "class_weight": "balanced",
        "label_smoothing": 0.1,
        "batch_size": 7,
        "scoring": "accuracy",
        "early_stopping": True,
        "dtype": np.dtype("float64"),
        "hidden_layer_sizes": (),
    },
}


def assert_same(found, expected, name=""):
    """Assert that two values are of one type and equal, arrays and lists entry by entry."""
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, (list, tuple)):
        assert type(found) is type(expected)
        assert len(found) == len(expected), name
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, name)
    elif isinstance(expected, np.random.RandomState):
        assert repr(found.get_state()) == repr(expected.get_state())
    elif isinstance(expected, float) and np.isnan(expected):
        assert np.isnan(found)
    else:
        assert found == expected, name


def assert_equal(found, expected):
    """Assert that two estimators are equal in all that a fit, or a constructor, has left."""
    assert type(found) is type(expected)
    arguments = expected.get_params()
    for name, value in found.get_params().items():
        if name in ("dtype", "hidden_layer_sizes"):
            assert value == (np.dtype(arguments[name]).name if name == "dtype" and arguments[name] else arguments[name])
        else:
            assert_same(value, arguments[name], name)
    left_out = {*arguments, "_training", "_label_binarizer", "_model", "_views", "_moments", "_random_state"}
    assert set(vars(found)) - left_out == set(vars(expected)) - left_out
    for name, value in vars(expected).items():
        if name == "_label_binarizer":
            assert vars(found._label_binarizer).keys() == vars(value).keys()
            for each, entry in vars(value).items():
                assert_same(vars(found._label_binarizer)[each], entry, each)
        elif name not in left_out:
            assert_same(getattr(found, name), value, name)


def saved(estimator, path):
    estimator.save(path)
    return load(path)


@pytest.mark.parametrize("what", TARGETS)
def test_classes_are_what_they_were(tmp_path, what):
    estimator = MLPClassifier((5,), max_iter=3, random_state=0).fit(FRAME, TARGETS[what])
    found = saved(estimator, tmp_path / "file")
    assert_equal(found, estimator)
    one, other = found.predict(FRAME), estimator.predict(FRAME)
    assert type(one) is type(other)
    if sparse.issparse(one):
        one, other = one.toarray(), other.toarray()
    assert_same(one, other)
    np.testing.assert_array_equal(found.predict_proba(FRAME), estimator.predict_proba(FRAME))
    found.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "file").read_bytes()


OF_CLASSES = ("class_weight", "scoring", "label_smoothing")


@pytest.mark.parametrize("what", SETTINGS)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_arguments_record_and_what_training_goes_on_from(tmp_path, what, kind):
    settings = {"max_iter": 4, "hidden_layer_sizes": (5,)} | SETTINGS[what]
    if kind is MLPRegressor:
        settings = {name: value for name, value in settings.items() if name not in OF_CLASSES}
    estimator = kind(**settings).fit(X, TARGETS["integers"])
    found = saved(estimator, tmp_path / "file")
    assert_equal(found, estimator)
    if what in ("adam", "sgd", "optimizer"):
        for each in (found, estimator):
            each.set_params(random_state=5)
            each.partial_fit(X, TARGETS["integers"])
    if what == "random state":
        for each in (found, estimator):
            each.fit(X, TARGETS["integers"])
    assert_same(found.coefs_, estimator.coefs_)
    assert_same(found.predict(X), estimator.predict(X))


def test_regression_losses_outputs_and_weights(tmp_path):
    for loss in ("squared_error", "poisson", "huber", Huber(0.3), Quantile(0.8), Quantile([0.1, 0.9])):
        y = X[:, 0] if loss == Quantile([0.1, 0.9]) else X**2
        estimator = MLPRegressor(loss, (5,), max_iter=3).fit(X, y, eval_set=(X, y))
        found = saved(estimator, tmp_path / "file")
        assert_equal(found, estimator)
        np.testing.assert_array_equal(found.predict(X), estimator.predict(X))


def test_an_estimator_that_was_not_fitted(tmp_path):
    estimator = MLPClassifier((3, 2), class_weight={"a": 1, "b": 2.5, 3: np.float64(4)}, alpha=np.float32(0.5))
    found = saved(estimator, tmp_path / "file")
    assert_equal(found, estimator)
    assert_equal(clone(found), clone(estimator))


def test_coefs_that_a_user_has_put_in(tmp_path):
    estimator = MLPClassifier((5,), max_iter=3).fit(X, TARGETS["booleans"])
    estimator.coefs_[0] = estimator.coefs_[0] + 1
    found = saved(estimator, tmp_path / "file")
    assert_same(found.coefs_, estimator.coefs_)


@pytest.mark.parametrize("arguments", [{"early_stopping": True}, {"warm_start": True}])
@pytest.mark.parametrize("scale", [1e20, 1e30, 3e38])
@pytest.mark.filterwarnings("ignore:The features of X are far:UserWarning")
def test_an_estimator_whose_training_diverged(tmp_path, scale, arguments):
    """Of gradients whose squares alone are infinite, the moments are, and not the parameters."""
    estimator = MLPClassifier(4, max_iter=3, random_state=0, dtype="float32", **arguments).fit(X, THREE)
    with contextlib.suppress(ValueError):  # with early stopping there is a best network
        estimator.fit(X / np.abs(X).max() * scale, THREE)
    estimator.save(tmp_path / "net")
    found = load(tmp_path / "net")
    np.testing.assert_array_equal(found.predict_proba(X), estimator.predict_proba(X))
    for each in (estimator, found):
        each.set_params(early_stopping=False).partial_fit(X, THREE)
    np.testing.assert_array_equal(found.predict_proba(X), estimator.predict_proba(X))


def test_functions_are_asked_for_by_name(tmp_path):
    def note(model, epoch, logs):
        pass

    estimator = MLPClassifier(
        (3,), max_iter=2, scoring=make_scorer(accuracy_score), early_stopping=True, callbacks=[note]
    )
    estimator.fit(X, TARGETS["booleans"]).save(tmp_path / "file")
    with pytest.raises(ValueError, match=r"function as (scoring|callbacks).*Pass it as"):
        load(tmp_path / "file")
    found = load(tmp_path / "file", scoring=None, callbacks=None)
    np.testing.assert_array_equal(found.predict(X), estimator.predict(X))
    with pytest.raises(TypeError, match="load takes learning_rate, scoring, callbacks"):
        load(tmp_path / "file", callback=None)


def test_callbacks_of_fastnets_own_are_saved(tmp_path):
    callbacks = [ReduceOnPlateau("cost", patience=3), TimeLimit(60), EarlyStopping("cost", min_delta=0.1)]
    for given in (callbacks, tuple(callbacks), callbacks[0]):
        MLPClassifier((3,), callbacks=given).save(tmp_path / "file")
        assert repr(load(tmp_path / "file").callbacks) == repr(given)


def test_what_has_no_place_in_a_file(tmp_path):
    class Mine(MLPClassifier):
        """A subclass, which no file can name."""

    with pytest.raises(TypeError, match=r"not for .*Mine\. Use joblib\.dump"):
        Mine().save(tmp_path / "file")
    with pytest.raises(TypeError, match="which no file can hold"):
        MLPClassifier(class_weight={(1, 2): object()}).save(tmp_path / "file")
    estimator = MLPClassifier((3,), max_iter=1).fit(X, THREE)
    days = np.array(["2020-01-01", "2021-01-01"], "M8[D]")[(X[:, 0] > 0).astype(int)]
    with pytest.raises(TypeError, match="classes_ has the dtype datetime64"):
        MLPClassifier((3,), max_iter=1).fit(X, days).save(tmp_path / "file")
    estimator.classes_ = np.array(["a\0", "b", "c"], object)  # NumPy's own texts lose the zero
    with pytest.raises(TypeError, match="classes_ has values that no file can hold"):
        estimator.save(tmp_path / "file")
    estimator.classes_ = np.array([1, 2, 3], "m8[s]")
    with pytest.raises(TypeError, match=r"classes_ has the dtype timedelta64\[s\], which no file can hold"):
        estimator.save(tmp_path / "file")
    with pytest.raises(TypeError, match="random_state has a PCG64, which no file can hold"):
        MLPClassifier(random_state=np.random.RandomState(np.random.PCG64(0))).save(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_each_kind_of_file_has_its_reader(tmp_path):
    estimator = MLPClassifier((3,), max_iter=2).fit(X, TARGETS["booleans"])
    estimator.save(tmp_path / "estimator")
    estimator.model_.save(tmp_path / "model")
    with pytest.raises(FileFormatError, match=r"it is a 'fastnet estimator', .* Read it by fastnet.sklearn.load"):
        fastnet.load(tmp_path / "estimator")
    with pytest.raises(FileFormatError, match=r"it is a 'fastnet model', .* Read it by fastnet.load"):
        load(tmp_path / "model")
    np.testing.assert_array_equal(fastnet.load(tmp_path / "model").forward(X), estimator.model_.forward(X))
    assert_equal(pickle.loads(pickle.dumps(load(tmp_path / "estimator"))), estimator)


CHANGES = [
    ({"class": "Pipeline"}, "its class must be one of MLPClassifier, MLPRegressor"),
    ({"class": None}, "its class must be one of"),
    ({"class": "MLPRegressor"}, "its estimator is refused: .*class_weight"),
    ({"arguments": {"alpha": -1}}, "its estimator is refused: The 'alpha' parameter"),
    ({"arguments": {"alpha": {"type": "os.system"}}}, "has the type 'os.system', which is none of"),
    ({"arguments": {"self": 1}}, "its estimator is refused"),
    ({"arguments": {"random_state": {"type": "RandomState", "state": {}}}}, "its random_state is refused"),
    ({"fitted": {}}, "its estimator is refused: 'n_features_in_'"),
    ({"fitted": {"n_outputs_": 3}}, "its attributes are not those of its network"),
    ({"fitted": {"t_": "1"}}, "its record of training has other than numbers"),
    ({"fitted": {"_dropout_key": 2**63}}, "its record of training has other than numbers"),
    ({"fitted": {"best_loss_": [1.0]}}, "its record of training has other than numbers"),
    ({"fitted": {"_schedule": ["constant", 0.1]}}, "its record of training has other than numbers"),
    ({"fitted": {"_schedule": 3}}, "its estimator is refused"),
    ({"fitted": {"__class__": 3}}, "its attributes are not those of its network"),
    ({"fitted": {"out_activation_": "identity"}}, "its out_activation_ or loss are not those of its network"),
    ({"loss": "poisson"}, "its estimator is refused"),
    ({"kinds": {"_model": "numbers"}}, "it has no _model"),
    ({"kinds": {"classes_": "U"}}, "classes_ is neither numbers nor text"),
    ({"kinds": {}}, "its estimator is refused: 'classes_'"),
    ({"targets": ["multiclass", False]}, "its 2 classes do not fit 1 outputs"),
    ({"targets": ["continuous", False]}, "its targets are of no kind"),
    ({"targets": 3}, "its estimator is refused"),
    ({"none": ["loss_curve_", 3]}, ""),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES, ids=str)
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
    MLPClassifier((3,), max_iter=2).fit(X, TARGETS["booleans"]).save(tmp_path / "file")
    header, buffer = hostile.taken_apart((tmp_path / "file").read_bytes())
    text = json.loads(header["__metadata__"]["estimator"])
    for name, value in changes.items():
        text[name] = {**text[name], **value} if isinstance(value, dict) and value and name != "kinds" else value
    header["__metadata__"]["estimator"] = json.dumps(text)
    (tmp_path / "file").write_bytes(hostile.remade(header, buffer))
    if message:
        with pytest.raises(FileFormatError, match=message):
            load(tmp_path / "file")
    else:
        load(tmp_path / "file")


def test_text_of_numbers_that_are_no_characters(tmp_path):
    MLPClassifier((3,), max_iter=2).fit(X, TARGETS["text"]).save(tmp_path / "file")
    header, buffer = hostile.taken_apart((tmp_path / "file").read_bytes())
    start = header["classes_"]["data_offsets"][0]
    buffer = buffer[:start] + b"\xff\xff\xff\xff" + buffer[start + 4 :]
    (tmp_path / "file").write_bytes(hostile.remade(header, buffer))
    with pytest.raises(FileFormatError, match="classes_ has numbers that are no characters"):
        load(tmp_path / "file")


def test_mutations_are_refused(tmp_path):
    MLPClassifier((3,), max_iter=2, random_state=np.random.RandomState(3)).fit(FRAME, TARGETS["objects"]).save(
        tmp_path / "good"
    )
    good, rng = (tmp_path / "good").read_bytes(), np.random.default_rng(0)
    for _ in range(400):
        content, made_right = hostile.mutated(good, rng, "estimator")
        (tmp_path / "file").write_bytes(content)
        found = hostile.load_bounded(tmp_path / "file", load)
        assert made_right or content == good or isinstance(found, FileFormatError), content
