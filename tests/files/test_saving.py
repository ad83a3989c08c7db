"""`Model.save` and `fastnet.load`: an equal model, to the bit, whatever its settings; and no code."""

import copy
import io
import json
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hostile import load_bounded, remade, taken_apart

import fastnet
from fastnet import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    CosineDecay,
    Dense,
    Dropout,
    ExponentialDecay,
    FileFormatError,
    Huber,
    LeakyReLU,
    Model,
    Normal,
    OneCycle,
    Quantile,
    ReduceOnPlateau,
    RMSprop,
    StepDecay,
)
from fastnet.activations import ACTIVATIONS
from fastnet.initializers import INITIALIZERS
from fastnet.losses import LOSSES

RNG = np.random.default_rng(0)
X = RNG.standard_normal((65, 7))
Y = (X[:, 0] > 0).astype(float)

OPTIMIZERS = [
    SGD(0.1),
    SGD(0.1, 0.9, True),
    SGD(StepDecay(0.1, step=3)),
    RMSprop(0.01, clip_norm=1.0),
    Adagrad(),
    Adam(OneCycle(0.01, 20)),
    Adam(1e-3, 0.8, 0.9, 1e-7),
    AdamW(ExponentialDecay(0.01, warmup=2), weight_decay=0.1),
    AdamW(CosineDecay(0.1, epochs=7, final=1e-3)),
]
LAYERS = {
    "each activation": [Dense(3, name) for name in ACTIVATIONS if name != "softmax"] + [Dense(2, "softmax")],
    "each initializer": [Dense(3, initializer=name) for name in INITIALIZERS]
    + [Dense(2, initializer=Normal(0.5)), Dense(1, "sigmoid")],
    "the rest": [Dense(5, LeakyReLU(0.2), l2=0.1, l1=0.0), Dropout(0.3), Dense(1, "sigmoid", use_bias=False, l1=1e-30)],
}


def saved(model, path):
    model.save(path)
    return fastnet.load(path)


def settings_of(model):
    return (
        repr(model),
        repr(model.optimizer),
        [vars(layer) for layer in copy.deepcopy(model.layers)],
        model.l1,
        model.l2,
    )


def assert_equal(found, model):
    """Assert that two models have the same settings and parameters, and go on alike."""
    assert {type(found.seed), found.dtype, found.loss} == {type(model.seed), model.dtype, model.loss}
    for one, other in zip(found.layers, model.layers, strict=True):
        for name in one.fixed:
            assert getattr(one, name) == getattr(other, name)
    assert found.optimizer == model.optimizer
    assert type(found.optimizer) is type(model.optimizer)
    assert (found.l1, found.l2, found.epochs_finished) == (model.l1, model.l2, model.epochs_finished)
    np.testing.assert_array_equal(found.parameters, model.parameters)


@pytest.mark.parametrize("what", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_model_is_equal(tmp_path, what, dtype):
    model = Model(
        copy.deepcopy(LAYERS[what]),
        l2=0.01,
        l1=0.0 if dtype == "float32" else 1e-300,
        dtype="float64" if what == "the rest" else dtype,
        seed=3,
    )
    model.build(7)
    found = saved(model, tmp_path / "model")
    assert_equal(found, model)
    assert found.layers[0].W.base is not None
    np.testing.assert_array_equal(found.forward(X), model.forward(X))
    assert found._parameters.vector.ctypes.data % 64 == 0
    found.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_loaded_model_goes_on_to_the_bit(tmp_path, optimizer):
    def made():
        return Model([Dense(5, "tanh"), Dropout(0.2), Dense(1, "sigmoid")], optimizer=optimizer, seed=0)

    model, whole = made(), made()
    model.fit(X, Y, epochs=2)
    found = saved(model, tmp_path / "model")
    assert_equal(found, model)
    found.fit(X, Y, epochs=2)
    whole.fit(X, Y, epochs=2)
    whole.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(found.parameters, whole.parameters)
    assert found.epochs_finished == 4


@pytest.mark.parametrize("loss", [*LOSSES, Huber(0.3), Quantile(0.9), Quantile([0.1, 0.9])], ids=str)
def test_each_loss(tmp_path, loss):
    outputs = {"binary_crossentropy": "sigmoid", "categorical_crossentropy": "softmax"}
    model = Model([Dense(2, outputs.get(loss if isinstance(loss, str) else "", "linear"))], loss=loss, seed=1)
    model.build(3)
    assert_equal(saved(model, tmp_path / "model"), model)


@pytest.mark.parametrize(
    "seed",
    [
        None,
        5,
        2**100,
        np.int64(3),
        [1, 2],
        *(
            np.random.Generator(kind(1))
            for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
        ),
    ],
    ids=str,
)
def test_seeds_and_generators(tmp_path, seed):
    if isinstance(seed, np.random.Generator):
        seed.integers(9, size=3, dtype=np.uint32)  # an odd number: half of 64 bits is left over
    model = Model([Dense(1)], seed=copy.deepcopy(seed))
    found = saved(model, tmp_path / "model")
    found.build(3)
    model.build(3)
    if seed is not None:
        np.testing.assert_array_equal(found.parameters, model.parameters)


def test_an_unbuilt_model(tmp_path):
    found = saved(Model([Dense(1, "sigmoid")], seed=4), tmp_path / "model")
    found.fit(X, Y, epochs=1)
    model = Model([Dense(1, "sigmoid")], seed=4)
    model.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(found.parameters, model.parameters)


def test_what_a_callback_saves_copies_or_pickles_knows_how_far_it_is(tmp_path):
    def made():
        return Model(
            [Dense(3, "tanh"), Dropout(0.2), Dense(1, "sigmoid")], optimizer=Adam(StepDecay(0.1, step=1)), seed=0
        )

    kept = []

    def keep(model, epoch, logs):
        if epoch == 1:
            kept.extend([saved(model, tmp_path / "model"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))])

    whole = made()
    whole.fit(X, Y, epochs=2, callbacks=keep)
    assert [model.epochs_finished for model in kept] == [2, 2, 2]
    whole.fit(X, Y, epochs=3)
    for model in kept:
        model.fit(X, Y, epochs=3)
        np.testing.assert_array_equal(model.parameters, whole.parameters)


def test_what_a_file_says_commands_no_terminal(tmp_path):
    Model([Dense(1)]).save(tmp_path / "model")
    header, buffer = taken_apart((tmp_path / "model").read_bytes())
    for changes in ({"format": "fastnet model \x1b[2J"}, {"network": '{"\\u001b]0;x\\u0007": 1}'}):
        changed = header | {"__metadata__": header["__metadata__"] | changes}
        (tmp_path / "changed").write_bytes(remade(changed, buffer))
        with pytest.raises(FileFormatError) as caught:
            fastnet.load(tmp_path / "changed")
        assert str(caught.value).isprintable()


def test_a_function_is_asked_for(tmp_path):
    def my_rate(epoch):
        return 0.1 / (1 + epoch)

    model = Model([Dense(1, "sigmoid")], optimizer=Adam(my_rate), seed=0)
    model.fit(X, Y, epochs=1)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"function as learning_rate, '.*my_rate', which no file holds"):
        fastnet.load(tmp_path / "model")
    assert fastnet.load(tmp_path / "model", learning_rate=my_rate).optimizer == model.optimizer
    assert fastnet.load(tmp_path / "model", learning_rate=0.5).optimizer.learning_rate == 0.5
    for wrong in (-1.0, "adam"):
        with pytest.raises((ValueError, TypeError), match=r"^learning_rate must be a finite number greater than 0"):
            fastnet.load(tmp_path / "model", learning_rate=wrong)
    Model([Dense(1)], optimizer=Adam(0.5)).save(tmp_path / "another")
    with pytest.raises(ValueError, match=r"learning_rate is for files that were saved with a function; .* has Adam"):
        fastnet.load(tmp_path / "another", learning_rate=0.1)
    model.fit(X, Y, epochs=6, validation_split=0.3, callbacks=ReduceOnPlateau(patience=1, min_delta=9.0))
    slowed = saved_with(model, tmp_path / "slowed", my_rate)
    assert slowed.optimizer == model.optimizer
    assert slowed.optimizer.learning_rate.schedule is my_rate


def saved_with(model, path, learning_rate):
    model.save(path)
    return fastnet.load(path, learning_rate=learning_rate)


def test_classes_of_ones_own_are_refused_by_name(tmp_path):
    class Mine(SGD):
        """Not in any table."""

    model = Model([Dense(1)], optimizer=Mine(0.1))
    with pytest.raises(TypeError, match=r"optimizer is Mine.*which no file can hold"):
        model.save(tmp_path / "model")
    with pytest.raises(TypeError, match="seed is SeedSequence"):
        Model([Dense(1)], seed=np.random.SeedSequence(1)).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_not_finite_are_refused_unless_asked_for(tmp_path):
    model = Model([Dense(3), Dense(1)], seed=0)
    model.build(2)
    model.layers[0].W[2, 1] = np.nan
    model.save(tmp_path / "model")
    with pytest.raises(FileFormatError, match=r"array 'W1' has a number that is not finite, at \(2, 1\)"):
        fastnet.load(tmp_path / "model")
    found = fastnet.load(tmp_path / "model", check_finite=False)
    np.testing.assert_array_equal(found.parameters, model.parameters)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": [{"type": "Dense", "units": 4}]}, r"array 'W1' must be float32 of shape \(4, 3\), but is float32"),
        ({"dtype": "float64"}, "array 'W1' must be float64"),
        ({"n_features": 4}, r"shape \(2, 4\)"),
        ({"n_features": -1}, "its n_features of at least 1"),
        ({"n_features": 0}, "its n_features of at least 1"),
        ({"key": 1.5}, "must be integers of at least 0"),
        ({"optimizer": {"type": "Adam", "beta1": 2}}, "its optimizer is refused: beta1 must be"),
        ({"optimizer": {"type": "Adam", "beta3": 0}}, "its optimizer is refused: .*beta3"),
        ({"optimizer": {"type": "Dense", "units": 3}}, "its network is refused: optimizer must be"),
        ({"optimizer": {"type": "os.system"}}, "its optimizer has the type 'os.system', which is none of Dense"),
        (
            {
                "optimizer": {
                    "type": "SGD",
                    "learning_rate": {"type": "SlowedDown", "schedule": 1, "factor": 1, "least": 0},
                }
            },
            "schedule must be a function",
        ),
        ({"layers": {"type": "function", "name": "f"}}, "its layers has the type 'function'"),
        ({"layers": []}, "its layers have no parameters"),
        ({"loss": "poison"}, "its network is refused: loss must be one of"),
        (
            {"seed": {"type": "Generator", "state": {"bit_generator": "PCG64", "state": {}}}},
            "its seed is refused",
        ),
        ({"seed": {"type": "Generator", "state": 3}}, "its seed is refused"),
        ({"seed": [[[[[[[[[[1]]]]]]]]]]}, "its seed has more than 8 levels"),
        ({"more": 1}, "its network has 'more', which this version does not know"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, changes, message):
    model = Model([Dense(2)], seed=0)
    model.build(3)
    model.save(tmp_path / "model")
    header, buffer = taken_apart((tmp_path / "model").read_bytes())
    network = json.loads(header["__metadata__"]["network"]) | changes
    header["__metadata__"]["network"] = json.dumps(network)
    (tmp_path / "model").write_bytes(remade(header, buffer))
    with pytest.raises(FileFormatError, match=message):
        fastnet.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("changes", "arrays"),
    [
        ({"n_features": None, "layers": [{"type": "Dense", "units": 10**8}]}, {}),
        ({"n_features": None, "layers": [{"type": "Dense", "units": 2**62}]}, {}),
        (
            {"n_features": 0, "layers": [{"type": "Dense", "units": 10**8, "use_bias": False}]},
            {"W1": {"dtype": "F32", "shape": [10**8, 0], "data_offsets": [0, 0]}},
        ),
        ({"n_features": None, "seed": [7] * 150_000}, {}),
    ],
    ids=["units", "units beyond memory", "no features", "seeds"],
)
def test_sizes_that_no_array_bears_out_take_no_memory(tmp_path, changes, arrays):
    Model([Dense(2)], seed=0).save(tmp_path / "model")
    metadata = taken_apart((tmp_path / "model").read_bytes())[0]["__metadata__"]
    metadata["network"] = json.dumps(json.loads(metadata["network"]) | changes)
    (tmp_path / "model").write_bytes(remade({"__metadata__": metadata, **arrays}))
    tracemalloc.start()
    try:
        load_bounded(tmp_path / "model")
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("name", "position"), [("MT19937", "pos"), ("Philox", "buffer_pos"), ("PCG64", "has_uint32")])
def test_no_generator_is_told_to_read_outside_its_numbers(tmp_path, name, position):
    model = Model([Dense(1)], seed=np.random.Generator(getattr(np.random, name)(1)))
    model.save(tmp_path / "model")
    header, buffer = taken_apart((tmp_path / "model").read_bytes())
    for value in (10**6, -1, 0.5, None):
        text = json.loads(header["__metadata__"]["network"])
        state = text["seed"]["state"]
        (state if position in state else state["state"])[position] = value
        (tmp_path / "model").write_bytes(
            remade({**header, "__metadata__": {**header["__metadata__"], "network": json.dumps(text)}}, buffer)
        )
        with pytest.raises(FileFormatError, match=f"{value!r} is no integer from 0 to"):
            fastnet.load(tmp_path / "model")


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.PCG64DXSM])
def test_no_generator_stands_still(tmp_path, kind):
    """From a state of its choice, each number would be the same, which normal numbers are never made of."""
    bit_generator = kind(0)
    state = bit_generator.state["state"] | {"inc": 2}
    bit_generator.state = bit_generator.state | {"state": state}
    Model([Dense(1)], seed=np.random.Generator(bit_generator)).save(tmp_path / "model")
    with pytest.raises(FileFormatError, match="its seed is refused: inc must be odd"):
        fastnet.load(tmp_path / "model")


def test_other_files_of_fastnet_and_of_later_versions(tmp_path):
    Model([Dense(1)]).save(tmp_path / "model")
    header, buffer = taken_apart((tmp_path / "model").read_bytes())
    for text, message in [
        ("fastnet estimator 1", "it is a 'fastnet estimator', .* Read it by fastnet.sklearn.load"),
        ("fastnet model 2", "of version 2; this fastnet reads 1. Upgrade fastnet"),
        ("keras 1", "there is no format of fastnet's"),
        ("", "there is no format of fastnet's"),
    ]:
        changed = {**header, "__metadata__": {**header["__metadata__"], "format": text}}
        (tmp_path / "model").write_bytes(remade(changed, buffer))
        with pytest.raises(FileFormatError, match=message):
            fastnet.load(tmp_path / "model")
    extra = {**header, "__metadata__": {**header["__metadata__"], "more": ""}}
    (tmp_path / "model").write_bytes(remade(extra, buffer))
    with pytest.raises(FileFormatError, match="it has 'more', which no model has"):
        fastnet.load(tmp_path / "model")


def test_loading_imports_nothing_and_unpickles_nothing(tmp_path):
    model = Model([Dense(3, LeakyReLU(0.1)), Dense(1)], optimizer=Adam(CosineDecay(0.1, epochs=3)), seed=0)
    model.fit(X, Y, epochs=1)
    model.save(tmp_path / "model")
    script = f"""
import sys
sys.path[:0] = {sys.path!r}
import fastnet, fastnet.files.network, numpy.random
before, seen = set(sys.modules), []
sys.addaudithook(lambda event, args: seen.append(event))
fastnet.load({str(tmp_path / "model")!r})
wrong = {{"import", "exec", "compile", "pickle.find_class", "os.system"}}
print(sorted(set(sys.modules) - before), sorted(set(seen) & wrong))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[] []\n", done.stdout + done.stderr


def test_a_path_must_be_one():
    with pytest.raises(TypeError):
        fastnet.load(io.BytesIO(b""))
    with pytest.raises(TypeError):
        Model([Dense(1)]).save(3.5)
