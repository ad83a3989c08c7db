"""The columns of data frames: known from the first fit on, and refused in another order."""

import copy

import numpy as np
import pytest

import fastnet
from fastnet import Checkpoint, Dense, Model
from fastnet.streams import FrameStream

pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.jit  # not about kernels

FRAME = pd.DataFrame(np.random.default_rng(0).standard_normal((65, 3)), columns=["age", "height", "weight"])
Y = (FRAME["age"] > 0).to_numpy()
TURNED = FRAME[["height", "age", "weight"]]
ORDER = r"^X has its columns in another order than the first fit. Pass X\[list\(model.feature_names\)\]\.$"


def fitted(**settings):
    model = Model([Dense(3, "relu"), Dense(1, "sigmoid")], seed=0)
    model.fit(FRAME, Y, epochs=1, **settings)
    return model


USES = {
    "predict": lambda model, X: model.predict(X),
    "forward": lambda model, X: model.forward(X),
    "predict_proba": lambda model, X: model.predict_proba(X),
    "input_gradients": lambda model, X: model.input_gradients(X),
    "diagnose": lambda model, X: model.diagnose(X),
    "fit": lambda model, X: model.fit(X, Y, epochs=1),
    "step": lambda model, X: model.step(X, Y),
    "cost": lambda model, X: model.cost(X, Y),
    "evaluate": lambda model, X: model.evaluate(X, Y),
    "gradients": lambda model, X: model.gradients(X, Y),
    "check_gradients": lambda model, X: model.check_gradients(X, Y),
    "a stream": lambda model, X: model.evaluate([(X, Y)]),
}


@pytest.mark.parametrize("use", USES)
def test_columns_in_another_order_are_refused_everywhere(use):
    model = fitted()
    before = model.parameters.copy()
    with pytest.raises(ValueError, match=ORDER if use != "a stream" else "another order than the first fit"):
        USES[use](model, TURNED)
    np.testing.assert_array_equal(model.parameters, before)
    USES[use](model, TURNED[list(model.feature_names)])
    USES[use](model, FRAME.to_numpy())  # no names, no check


def test_other_columns_are_named():
    model = fitted()
    with pytest.raises(
        ValueError, match=r"other columns than the first fit: it lacks 'age' and has 'Age'\. Pass a frame with all"
    ):
        model.predict(FRAME.rename(columns={"age": "Age"}))
    with pytest.raises(ValueError, match=r"it has 'more'\. Pass X\[list"):
        model.predict(FRAME.assign(more=1.0))


def test_examples_to_validate_with_have_the_columns_of_those_to_train_with():
    with pytest.raises(ValueError, match=r"^In validation_data: X has its columns in another order"):
        fitted(validation_data=(TURNED, Y))


def test_who_knows_them_and_who_does_not(tmp_path):
    model = fitted()
    assert model.feature_names == ("age", "height", "weight")
    model.save(tmp_path / "model.fastnet")
    for other in (copy.copy(model), fastnet.load(tmp_path / "model.fastnet")):
        assert other.feature_names == model.feature_names
    assert model.build(3).feature_names is None
    assert Model([Dense(1)]).fit(FRAME.to_numpy(), Y, epochs=1).epochs == 1
    numbered = Model([Dense(1)], seed=0)
    numbered.fit(pd.DataFrame(FRAME.to_numpy()), Y, epochs=1)
    assert numbered.feature_names is None
    streamed = Model([Dense(1)], seed=0)
    streamed.fit(FrameStream([FRAME.assign(y=Y)], "y"), epochs=1)
    assert streamed.feature_names == tuple(FRAME.columns)
    fitted(callbacks=Checkpoint(tmp_path / "kept"))
    resumed = Model([Dense(3, "relu"), Dense(1, "sigmoid")], seed=0)
    resumed.fit(FRAME, Y, epochs=2, resume=tmp_path / "kept")
    assert resumed.feature_names == ("age", "height", "weight")


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", 3], "abc", {"a": 1}])
def test_names_in_a_file_that_cannot_be_are_refused(names, tmp_path):
    model = fitted()
    model.feature_names = names
    model.save(tmp_path / "model.fastnet")
    with pytest.raises(
        fastnet.FileFormatError, match="feature_names must be as many texts as it has features, or null"
    ):
        fastnet.load(tmp_path / "model.fastnet")
