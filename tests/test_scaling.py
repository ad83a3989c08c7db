"""Standardize() and standardize_y: the scale that networks learn on, learned from the rows that train."""

import copy
import pickle
from contextlib import suppress

import numpy as np
import pytest
import reference
from bounds import DTYPES

import fastnet
from fastnet import Adam, Checkpoint, Dense, Dropout, Huber, Model, NotFittedError, Quantile, Standardize
from fastnet.engine.diagnostics import Diagnosis, LayerDiagnosis, likely_cause
from fastnet.scaling import scales_of

pytestmark = pytest.mark.jit  # not about kernels, and minutes in plain Python

RNG = np.random.default_rng(3)
CENTRES, SPREADS = np.array([1900.0, -3e5, 0.02, 7.0, 5.0]), np.array([20.0, 7e4, 1e-4, 1.0, 0.0])
X = CENTRES + SPREADS * RNG.standard_normal((65, 5))
Y = 1000 + 30 * np.column_stack([X[:, 0] / 20 - X[:, 3], np.tanh(X[:, 1] / 7e4)])
WEIGHTS = RNG.integers(0, 4, 65).astype(float)


def network(dtype="float32", **settings):
    layers = [Standardize(), Dense(7, "tanh"), Dense(2)]
    return Model(layers, **{"standardize_y": True, "optimizer": Adam(0.01), "dtype": dtype, "seed": 0, **settings})


def by_hand(dtype="float32", **settings):
    return network(dtype, **settings, standardize_y=False)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("m", [1, 2, 7, 17, 65])
def test_mean_and_spread_equal_the_reference(m, weights):
    w = None if weights is None else weights[:m] + (m < 3)
    mean, spread = reference.scales(X[:m], w)
    found = scales_of(X[:m], w, "X")
    bound = 8 * np.finfo(float).eps
    np.testing.assert_allclose(found.mean, mean, rtol=bound * np.log2(m + 1))
    np.testing.assert_allclose(found.spread, spread, rtol=bound * np.max(np.abs(mean) / spread))
    assert found.spread[4] == 1  # a constant


def test_sums_are_in_an_order_that_the_number_of_rows_decides(monkeypatch):
    expected = scales_of(X, WEIGHTS, "X")
    for same in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], np.repeat(X, 2, axis=1)[:, ::2]):
        assert np.array_equal(scales_of(same, WEIGHTS, "X"), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "settings",
    [{}, {"batch_size": 7}, {"sample_weight": WEIGHTS}, {"validation_split": 0.25, "metrics": ["r2"]}],
    ids=str,
)
def test_a_fit_is_that_of_standardized_examples_to_the_bit(settings, dtype):
    model = network(dtype)
    history = model.fit(X, Y, epochs=3, verbose=False, **settings)
    x, y = model.layers[0].scales, model.y_scales
    other = Model([Dense(7, "tanh"), Dense(2)], optimizer=Adam(0.01), dtype=dtype, seed=0)
    of_y = {}
    if "validation_split" not in settings:
        mean, spread = reference.scales(X, settings.get("sample_weight"))
        np.testing.assert_allclose(x.spread, spread, rtol=1e-10)
        np.testing.assert_allclose(x.mean, mean, rtol=1e-12)
    else:
        of_y = {"metrics": []}
    given = reference.standardized(X, *x).astype(dtype), reference.standardized(Y, *y).astype(dtype)
    expected = other.fit(*given, epochs=3, verbose=False, **{**settings, **of_y})
    assert np.array_equal(model.parameters, other.parameters)
    assert history.cost == expected.cost
    assert history.val_cost == expected.val_cost
    outputs = other.forward(given[0])
    in_units = (outputs.astype(float) * y.spread + y.mean).astype(dtype)
    assert np.array_equal(model.forward(X), in_units)
    assert np.array_equal(model.predict(X[:1]), in_units[:1])
    assert model.cost(X, Y) == other.cost(*given)
    assert model.evaluate(X, Y, ["r2", "mse"])["mse"] == pytest.approx(np.mean((in_units - Y) ** 2), rel=1e-4)
    if "validation_split" in settings:
        assert history.val_r2[-1] != 0


def test_examples_held_out_are_not_learned_from():
    model = network()
    far = X + 1e6
    model.fit(X, Y, epochs=1, validation_data=(far, Y), verbose=False)
    assert np.array_equal(model.layers[0].scales, scales_of(X, None, "X"))


def test_a_later_fit_changes_no_scale_and_a_new_build_forgets_them():
    model = network()
    model.fit(X, Y, epochs=1, verbose=False)
    scales = model.layers[0].scales
    model.fit(X * 2, Y * 2, epochs=1, verbose=False)
    model.step(X * 2, Y * 2)
    assert model.layers[0].scales is scales
    model.build(5)
    assert model.layers[0].scales is None
    assert model.y_scales is None


def test_step_learns_from_its_examples_and_adapt_before():
    model = network()
    model.step(X, Y)
    assert np.array_equal(model.layers[0].scales, scales_of(X, None, "X"))
    model = network()
    model.layers[0].adapt(X)
    model.step(X[:7], Y[:7])
    assert np.array_equal(model.layers[0].mean, scales_of(X, None, "X").mean)


def test_features_close_together_around_a_large_number_keep_their_digits():
    years = 1e7 + RNG.standard_normal((65, 1))
    target = np.sin(2 * (years[:, 0] - 1e7))
    models = [Model([Standardize(), Dense(16, "tanh"), Dense(1)], optimizer=Adam(0.03), seed=0) for _ in range(2)]
    for model, given in zip(models, (years, years - 1e7), strict=True):
        model.fit(given, target, epochs=300, verbose=False)
    far, near = (
        model.evaluate(given, target, "r2")["r2"] for model, given in zip(models, (years, years - 1e7), strict=True)
    )
    assert near > 0.9
    assert far == pytest.approx(near, abs=0.01)


@pytest.mark.parametrize("standardize_y", [False, True])
@pytest.mark.parametrize("standardizes", [False, True])
def test_input_gradients_are_of_y_by_x(standardizes, standardize_y):
    layers = [Dense(7, "tanh"), Dense(2)]
    model = Model(
        [Standardize(), *layers] if standardizes else layers, dtype="float64", seed=0, standardize_y=standardize_y
    )
    given, targets = (
        a if exact else reference.standardized(a, *reference.scales(a))
        for a, exact in ((X, standardizes), (Y, standardize_y))
    )
    model.fit(given, targets, epochs=2, verbose=False)
    gradients = model.input_gradients(given[:7])
    assert np.array_equal(model.input_gradients(given[:7], 1), gradients[:, 1])
    for j in range(4):
        h = 1e-5 * given[:, j].std()
        shift = np.zeros(5)
        shift[j] = h
        slope = (model.forward(given[:7] + shift) - model.forward(given[:7] - shift)) / (2 * h)
        np.testing.assert_allclose(gradients[:, :, j], slope, rtol=1e-5, atol=1e-7 * np.abs(gradients).max())


def test_back_propagation_agrees_with_central_differences():
    model = network("float64")
    model.fit(X, Y, epochs=1, verbose=False)
    assert model.check_gradients(X, Y).ok
    assert "tanh" in repr(model.diagnose(X, Y))


def test_quantiles_have_one_scale_and_keep_their_order():
    model = Model(
        [Standardize(), Dense(8, "relu"), Dense(3)],
        loss=Quantile([0.1, 0.5, 0.9]),
        optimizer=Adam(0.01),
        seed=0,
        standardize_y=True,
    )
    model.fit(X, Y[:, 0], epochs=20, verbose=False)
    assert model.y_scales.mean.shape == (1,)
    assert (np.diff(model.predict(X), axis=1) >= 0).all()
    assert np.abs(np.median(model.predict(X)[:, 1] - Y[:, 0])) < 30


def copies(model, folder):
    model.save(folder / "model")
    return [fastnet.load(folder / "model"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_and_files_go_on_to_the_bit(dtype, tmp_path):
    model = network(dtype)
    model.fit(X, Y, epochs=2, verbose=False)
    others = copies(model, tmp_path)
    model.fit(X, Y, epochs=2, verbose=False)
    for other in others:
        other.fit(X, Y, epochs=2, verbose=False)
        assert np.array_equal(other.forward(X), model.forward(X))
        assert other.layers[0] is not model.layers[0]


def test_a_model_that_is_not_built_keeps_what_it_was_adapted_to(tmp_path):
    model = network()
    model.layers[0].adapt(X)
    for other in copies(model, tmp_path):
        assert np.array_equal(other.layers[0].scales, model.layers[0].scales)


def test_a_fit_goes_on_from_a_checkpoint(tmp_path):
    whole, first, second = network(), network(), network()
    whole.fit(X, Y, epochs=6, verbose=False)
    first.fit(X, Y, epochs=3, callbacks=Checkpoint(tmp_path), verbose=False)
    second.fit(X, Y, epochs=6, resume=tmp_path, verbose=False)
    assert np.array_equal(second.forward(X), whole.forward(X))
    with pytest.raises(ValueError, match="standardize_y=True, but this has False"):
        by_hand().fit(X, Y, epochs=6, resume=tmp_path, verbose=False)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X_spread": np.zeros(5)}, "'X_spread' has a number that is not greater than 0"),
        ({"X_mean": np.full(5, np.nan)}, "not finite"),
        ({"X_mean": np.zeros(4), "X_spread": np.ones(4)}, "'X_mean' has 4 numbers, not 5"),
        ({"y_mean": np.zeros(3), "y_spread": np.ones(3)}, "'y_mean' has 3 numbers, not 2"),
        ({"y_spread": np.ones(3)}, "'y_spread' must be float64"),
    ],
    ids=str,
)
def test_scales_of_a_file_that_fit_nothing_are_refused(arrays, message, tmp_path):
    from fastnet.files import tensors

    model = network()
    model.fit(X, Y, epochs=1, verbose=False)
    model.save(tmp_path / "model")
    contents = tensors.read(tmp_path / "model")
    tensors.write(tmp_path / "model", {**contents.arrays, **arrays}, contents.texts)
    with pytest.raises(fastnet.FileFormatError, match=message):
        fastnet.load(tmp_path / "model")


USES = {
    "forward": lambda model: model.forward(X),
    "predict": lambda model: model.predict(X),
    "cost": lambda model: model.cost(X, Y),
    "evaluate": lambda model: model.evaluate(X, Y),
    "gradients": lambda model: model.gradients(X, Y),
    "diagnose": lambda model: model.diagnose(X),
    "input_gradients": lambda model: model.input_gradients(X),
    "check_gradients": lambda model: model.check_gradients(X, Y),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("standardizes", [False, True])
def test_nothing_is_computed_on_a_scale_that_is_not_known(standardizes, use):
    layers = [Dense(7, "tanh"), Dense(2)]
    model = Model([Standardize(), *layers] if standardizes else layers, standardize_y=not standardizes)
    model.build(5)
    if use is USES["diagnose"] and not standardizes:
        return  # knows no y
    with pytest.raises(NotFittedError, match="first"):
        use(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Model([Standardize()]), "must be the first of several"),
        (lambda: Model([Dense(2), Standardize()]), r"layers\[1\] is Standardize\(\), which must be the first"),
        (lambda: Model([Standardize(), Dropout(0.5), Dense(1)]), "must stand after a hidden Dense"),
        (lambda: Model([Standardize(), Standardize(), Dense(1)]), r"layers\[1\] is Standardize"),
        (lambda: Model([Dense(1, "sigmoid")], standardize_y=True), "needs a linear last layer"),
        (lambda: Model([Dense(1)], loss="poisson", standardize_y=True), "another loss than 'poisson'"),
    ],
    ids=range(6),
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_rows_that_are_too_far_are_named():
    model = network()
    model.fit(X, Y, epochs=1, verbose=False)
    far = X.copy()
    far[3, 2] = 1e300
    with pytest.raises(ValueError, match=r"so far from the examples that trained.*X\[3, 2\]"):
        model.predict(far)
    model.layers[0].adapt(X[:, :4])
    with pytest.raises(ValueError, match="its scale was learned from 4"):
        model.predict(X)


def test_hubers_delta_counts_in_spreads_of_y():
    model = network(loss=Huber(0.5))
    model.fit(X, Y, epochs=1, verbose=False)
    other = Model([Dense(7, "tanh"), Dense(2)], optimizer=Adam(0.01), seed=0, loss=Huber(0.5))
    other.fit(
        *(reference.standardized(a, *s) for a, s in ((X, model.layers[0].scales), (Y, model.y_scales))),
        epochs=1,
        verbose=False,
    )
    assert np.array_equal(model.parameters, other.parameters)


# ----------------------------------------------------------------------------------------------------------- warnings

FEATURES = RNG.standard_normal((500, 4))
TARGETS = FEATURES @ [1.0, -2.0, 0.5, 0.0] + np.sin(2 * FEATURES[:, 1]) + 0.3 * RNG.standard_normal(500)
OPTIMIZERS = [fastnet.SGD(), fastnet.SGD(momentum=0.9), fastnet.RMSprop(), fastnet.Adagrad(), Adam(), fastnet.AdamW()]
BAD_SCALES = {
    "X + 100": (FEATURES + 100, TARGETS, r"X are far .* has mean (99|1e\+02|100)"),
    "X * 100": (FEATURES * 100, TARGETS, r"X are far .* and spread \d+.*Standardize\(\) first"),
    "y * 100": (FEATURES, TARGETS * 100, r"targets are far .* Pass standardize_y=True"),
    "y + 1000": (FEATURES, TARGETS + 1000, r"targets are far .* has mean 1e\+03"),
}


def r2_of(X, y, optimizer, *, dtype="float32", **settings):
    layers = [Standardize(), Dense(32, "relu"), Dense(1)] if settings else [Dense(32, "relu"), Dense(1)]
    model = Model(layers, optimizer=optimizer, dtype=dtype, seed=0, **settings)
    model.fit(X, y, epochs=50, verbose=False)
    return model.evaluate(X, y, "r2")["r2"]


@pytest.mark.filterwarnings("ignore:The cost has not fallen")
@pytest.mark.parametrize("case", BAD_SCALES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_bad_scale_is_warned_of_and_standardizing_mends_it(optimizer, case):
    X, y, message = BAD_SCALES[case]
    with pytest.warns(UserWarning, match=message), suppress(fastnet.TrainingDivergedError):
        r2_of(X, y, optimizer)
    well_scaled = r2_of(
        *(reference.standardized(a, a.mean(axis=0), a.std(axis=0)) for a in (FEATURES, TARGETS)), optimizer
    )
    assert abs(r2_of(X, y, optimizer, standardize_y=True) - well_scaled) < 0.01


@pytest.mark.parametrize(
    "data",
    [
        np.eye(200)[:, :3],  # rare categories
        1 - np.eye(200)[:, :3],
        np.abs(RNG.standard_normal((200, 3))) * [0.05, 1, 10],
        np.full((200, 2), 1e6),  # constants
        RNG.integers(0, 256, (200, 5)) / 255,
    ],
    ids=range(5),
)
def test_what_networks_learn_on_is_not_warned_of(data, recwarn):
    Model([Dense(1)], optimizer=fastnet.SGD(1e-20), seed=0).fit(data, data[:, 0] % 7, epochs=1, verbose=False)
    assert not recwarn.list


def test_features_of_which_float32_keeps_few_digits_are_to_come_as_float64():
    years = (2e6 + RNG.standard_normal((65, 1))).astype(np.float32)
    with pytest.warns(UserWarning, match="In float32 few of its digits are left"):
        Model([Dense(1)], optimizer=fastnet.SGD(1e-20), seed=0).fit(years, years[:, 0] % 1, epochs=1, verbose=False)


# ------------------------------------------------------------------------------------------- a cost that has not fallen

CAUSES = {
    "dead": (lambda: [Dense(8, "relu")], r"100% of the units of layer 1 are 0 for every example"),
    "saturated": (
        lambda: [Dense(8, "tanh"), Dense(8, "sigmoid")],
        r"100% of the units of layer 1 are at a limit of 'tanh'",
    ),
    "zeros": (lambda: [Dense(8, "tanh", initializer="zeros")], "Layer 1 gives the same for every example"),
    "low rate": (lambda: [Dense(8, "tanh")], "may be too low"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cost_that_has_not_fallen_is_said_with_its_cause(cause):
    layers, message = CAUSES[cause]
    model = Model([*layers(), Dense(1)], optimizer=fastnet.SGD(1e-9), seed=0).build(4)
    if cause == "dead":
        model.layers[0].W, model.layers[0].b = -np.ones((8, 4)), np.full((8, 1), -100)
    if cause == "saturated":
        model.layers[0].b = np.full((8, 1), 100)
    with pytest.warns(UserWarning, match=rf"The cost has not fallen: [\d.]+ in the first epoch.*{message}") as caught:
        history = model.fit(FEATURES, TARGETS, epochs=10, verbose=False)
    assert caught[0].filename == __file__
    assert history.stopped_reason == "not_fallen"
    assert model.fit(FEATURES, TARGETS, epochs=10, verbose=False).stopped_reason == "epochs"


def test_a_cost_that_has_risen_is_a_rate_that_is_too_high():
    learns = LayerDiagnosis("tanh", None, 0.1, 0.0, 0.5, None, None)
    assert "too high: lower it" in likely_cause([1.0, 2.0], Diagnosis((learns, learns)))
    assert "too low, or the scale" in likely_cause([1.0, 1.0], Diagnosis((learns, learns)))


def test_of_a_cost_that_falls_or_of_few_epochs_nothing_is_said(recwarn):
    for rate, epochs in ((0.01, 10), (1e-9, 9)):
        model = Model([Dense(8, "tanh"), Dense(1)], optimizer=fastnet.SGD(rate), seed=0)
        assert model.fit(FEATURES, TARGETS, epochs=epochs).stopped_reason == "epochs"
    assert not recwarn.list
