"""A learning rate for each update: against the reference, however an epoch is divided, and what is refused."""

import re

import numpy as np
import pytest
import reference
from compiled import make_model, random_data, raw_run, reference_optimizer, reference_parameters
from conftest import JIT_DISABLED
from ranks_of_threads import run_ranks

import fastnet
from fastnet import (
    SGD,
    Adam,
    ByStep,
    Checkpoint,
    CosineDecay,
    CosLog,
    Dense,
    EarlyStopping,
    ExponentialDecay,
    Model,
    ReduceOnPlateau,
    RMSprop,
    TrainingDivergedError,
)
from fastnet.engine import parts, run
from fastnet.engine.divergence import diverged, take_snapshot
from fastnet.kernels import codes
from fastnet.schedules import SlowedDown
from fastnet.streams import MemmapStream

M = 1101
X, Y = random_data(M, 5)
UNITS, ACTIVATIONS = (5, 7, 1), ("tanh", "sigmoid")
EPOCHS = 3


def formula(t, cycles=4):
    return (1 - np.cos(2 * np.pi * np.log2(1 + (2**cycles - 1) * t))) / 2


def by_hand(model, rates, batch_size, m=M, weights=None):
    """Return the parameters of the reference after an update for each batch of each epoch, with those rates."""
    parameters, optimizer = reference_parameters(model), reference_optimizer(model.optimizer)
    n = -(-m // batch_size)
    for update, rate in enumerate(rates):
        optimizer.learning_rate = rate
        start = update % n * batch_size
        batch = slice(start, min(start + batch_size, m))
        if weights is None or weights[batch].any():
            reference.step(X[batch].T, Y[batch].T, parameters, ACTIVATIONS, model.loss, optimizer)
    return parameters


def assert_parameters(model, parameters, rtol=1e-9):
    for index, layer in enumerate(model.layers, start=1):
        for ours, theirs in ((layer.W, parameters[f"W{index}"]), (layer.b, parameters[f"b{index}"])):
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


# Of the last two, a batch is longer than a chunk; and all examples are one.
@pytest.mark.parametrize("batch_size", [33, 100, 600, None])
@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.jit)])
@pytest.mark.parametrize("optimizer", [SGD, Adam, RMSprop])
def test_training_equals_the_reference_with_a_rate_for_each_update(optimizer, threads, batch_size):
    if JIT_DISABLED and batch_size == 33:
        pytest.skip("minutes in plain Python")
    model = make_model(UNITS, ACTIVATIONS, optimizer=optimizer(ByStep(CosLog(0.05, epochs=EPOCHS))))
    size = batch_size or M
    n = -(-M // size)
    rates = 0.05 * formula((np.arange(EPOCHS * n) + 0.5) / (EPOCHS * n))
    expected = by_hand(model, rates, size)
    with raw_run(
        model, X, Y, epochs=EPOCHS, batch_size=batch_size, threads=threads, cores=threads, batches=n
    ) as training:  # fmt: skip
        while not training.done:
            training.advance()
    assert_parameters(model, expected)
    fitted = make_model(UNITS, ACTIVATIONS, optimizer=model.optimizer)
    fitted.fit(X, Y, epochs=EPOCHS, batch_size=batch_size, shuffle=False, threads=threads)
    np.testing.assert_array_equal(fitted.parameters, model.parameters)


@pytest.mark.parametrize(
    ("schedule", "rate"),
    [
        (CosineDecay(0.1, epochs=4), lambda e: 0.05 * (1 + np.cos(np.pi * e / 4))),
        (ExponentialDecay(0.1, 0.5, warmup=1), lambda e: 0.05 * (e + 1) if e < 1 else 0.1 * 0.5 ** (e - 1)),
        (lambda e: 0.1 / (1 + e), lambda e: 0.1 / (1 + e)),
        (SlowedDown(lambda e: 0.1 / (1 + e), 0.5, 0.02), lambda e: max(0.05 / (1 + e), 0.02)),
    ],
)
def test_any_schedule_is_asked_for_the_place_of_the_update(schedule, rate):
    model = make_model(UNITS, ACTIVATIONS, optimizer=SGD(ByStep(schedule)))
    expected = by_hand(model, [rate(e + i / 3) for e in range(EPOCHS) for i in range(3)], 400)
    model.fit(X, Y, epochs=EPOCHS, batch_size=400, shuffle=False)
    assert_parameters(model, expected)
    np.testing.assert_allclose(model.optimizer.learning_rates(4, 1, batches=3), rate(1 + 1 / 3), rtol=1e-14)


def test_a_batch_without_weight_counts_as_one():
    weights = np.ones(M)
    weights[400:800] = 0
    model = make_model(UNITS, ACTIVATIONS, optimizer=SGD(ByStep(lambda e: 0.1 / (1 + e))))
    expected = by_hand(model, [0.1 / (1 + e + i / 3) for e in range(2) for i in range(3)], 400, weights=weights)
    model.fit(X, Y, epochs=2, batch_size=400, shuffle=False, sample_weight=weights)
    assert_parameters(model, expected)


def test_fits_go_on_from_each_other_and_a_step_is_an_epoch_of_one_update():
    optimizer = Adam(ByStep(CosLog(0.05, epochs=6)))
    whole, pieces = (make_model(UNITS, ACTIVATIONS, optimizer=optimizer) for _ in range(2))
    whole.fit(X, Y, epochs=4, batch_size=100)
    for epochs in (1, 3):
        pieces.fit(X, Y, epochs=epochs, batch_size=100)
    np.testing.assert_array_equal(pieces.parameters, whole.parameters)
    stepped, by_epoch = (make_model(UNITS, ACTIVATIONS, optimizer=SGD(ByStep(CosLog(0.5, 6)))) for _ in range(2))
    by_epoch.optimizer = SGD(CosLog(0.5, 6))
    for _ in range(3):
        stepped.step(X, Y)
    by_epoch.fit(X, Y, epochs=3, batch_size=None)
    np.testing.assert_array_equal(stepped.parameters, by_epoch.parameters)


def test_one_that_does_not_change_is_a_number_to_the_bit():
    """On shuffled examples, of which some are held out, with callbacks."""
    found = []
    for rate in (0.02, ByStep(lambda epoch: 0.02)):
        model = make_model(UNITS, ACTIVATIONS, optimizer=Adam(rate))
        history = model.fit(X, Y, epochs=4, batch_size=17, validation_split=0.3, callbacks=EarlyStopping(patience=3))
        found.append((model.parameters.tobytes(), history.cost, history.val_cost))
    assert found[0] == found[1]


@pytest.mark.parametrize("batch_size", [17, 600])
def test_neither_the_ring_nor_the_pieces_change_a_bit(monkeypatch, batch_size):
    n, results = -(-M // batch_size), set()
    for held in (run.EPOCHS_AT_ONCE, 3, 1):
        monkeypatch.setattr(run, "EPOCHS_AT_ONCE", held)
        for pieces in (1, 4, 10**6):
            model = make_model(UNITS, ACTIVATIONS, optimizer=Adam(ByStep(CosLog(0.05, epochs=4))))
            with raw_run(model, X, Y, epochs=4, batch_size=batch_size, batches=n, key=1, shuffle=True) as training:
                while not training.done:
                    training.work(pieces)
            results.add((model.parameters.tobytes(), training.costs.tobytes() if held > 4 else b""))
            if JIT_DISABLED:
                break
    assert len({parameters for parameters, _ in results}) == 1
    assert len({costs for _, costs in results} - {b""}) == 1


def test_a_plateau_slows_it_down():
    model = make_model(UNITS, ACTIVATIONS, optimizer=SGD(ByStep(lambda e: 0.1 / (1 + e))))
    rates = [0.1 / (1 + e + i / 3) * (1 if e < 2 else 0.5) for e in range(4) for i in range(3)]
    expected = by_hand(model, rates, 400)
    slower = ReduceOnPlateau("cost", factor=0.5, patience=1, min_delta=1e9, cooldown=9)
    model.fit(X, Y, epochs=4, batch_size=400, shuffle=False, callbacks=slower)
    assert_parameters(model, expected)
    assert isinstance(model.optimizer.learning_rate, SlowedDown)
    again = SGD(ByStep(SlowedDown(CosLog(0.1, epochs=9), 0.5, 0.01))).slowed_down(0.5, 0.02)
    assert again.is_by_step
    rates = again.learning_rates(0, 9 * 4, batches=4)
    inner = 0.1 * formula((np.arange(36) + 0.5) / 36)
    slowed = np.maximum(inner / 2, np.minimum(0.01, inner))
    np.testing.assert_allclose(rates, np.maximum(slowed / 2, np.minimum(0.02, slowed)), rtol=1e-10)


@pytest.mark.filterwarnings("ignore:The targets are far from the scale")
@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.jit)])
def test_a_run_that_diverges_is_repeated_with_the_same_rates(threads):
    """The update of a rate that is too high is the first of which the parameters are not those of before."""
    good = 8
    optimizer = SGD(ByStep(lambda e: 1e308 if round(e * 3) >= good else 1e-5 / (1 + e)))
    model, expected = (make_model(UNITS, ("relu", "linear"), optimizer=optimizer) for _ in range(2))
    targets = Y * 1e3
    with raw_run(expected, X, targets, epochs=4, batch_size=400, batches=3) as training:
        training.work(good)
    with raw_run(
        model, X, targets, epochs=4, batch_size=400, batches=3, threads=threads, cores=threads
    ) as training:  # fmt: skip
        snapshot = take_snapshot(training, 0.0)
        training.work(10**6)
        assert training.status == codes.PARAMETERS_NOT_FINITE
        error = diverged(training, snapshot)
    assert (error.epoch, error.batch) == (3, 3)
    np.testing.assert_array_equal(model.parameters, expected.parameters)
    with pytest.raises(TrainingDivergedError, match="epoch 3 of 4, batch 3"):
        make_model(UNITS, ("relu", "linear"), optimizer=optimizer).fit(
            X, targets, epochs=4, batch_size=400, shuffle=False
        )


@pytest.mark.jit
def test_a_fit_goes_on_within_an_epoch(tmp_path):
    def made():
        return make_model(UNITS, ACTIVATIONS, optimizer=Adam(ByStep(lambda e: 0.05 / (1 + e))))

    whole = made()
    whole.fit(X, Y, epochs=2, batch_size=100, callbacks=Checkpoint(tmp_path, batches=5, most_time=1.0, keep=99))
    names = sorted(tmp_path.iterdir())
    assert len(names) == 6
    for name in names:
        resumed = made()
        resumed.fit(X, Y, epochs=2, batch_size=100, resume=name)
        np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    with pytest.raises(ValueError, match="resume: the fit that would go on had the optimizer"):
        make_model(UNITS, ACTIVATIONS, optimizer=Adam(lambda e: 0.05 / (1 + e))).fit(
            X, Y, epochs=2, batch_size=100, resume=names[0]
        )


# ------------------------------------------------------------------------------------------------- streams and ranks


class Blocks:
    """A stream that knows its length, or not, or wrongly."""

    def __init__(self, n_examples=None):
        if n_examples is not None:
            self.n_examples = n_examples

    def __iter__(self):
        for start in range(0, M, 77):
            yield X[start : start + 77], Y[start : start + 77]


@pytest.mark.jit
@pytest.mark.parametrize("batch_size", [33, 700, None])
def test_a_stream_of_known_length(monkeypatch, batch_size):
    """Batches straddle its parts, of 512 rows or fewer."""
    monkeypatch.setattr(parts, "PART_BYTES", 5 * 8 * 512)
    monkeypatch.setattr(parts, "SLAB", 64)
    found = []
    for data in ((X, Y), (Blocks(M),), (MemmapStream(X, Y, block_rows=50),), *[(Blocks(),)] * (batch_size is None)):
        model = make_model(UNITS, ACTIVATIONS, optimizer=Adam(ByStep(CosLog(0.05, epochs=EPOCHS))))
        model.fit(*data, epochs=EPOCHS, batch_size=batch_size, shuffle=False)
        found.append(model.parameters.tobytes())
    assert len(set(found)) == 1


@pytest.mark.jit
def test_a_stream_that_does_not_know_or_is_wrong(tmp_path):
    model = make_model(UNITS, ACTIVATIONS, optimizer=Adam(ByStep(CosLog(0.05, epochs=EPOCHS))))
    before = model.parameters.copy()
    message = "X is a stream that does not say how many examples it has. Give it the attribute n_examples"
    with pytest.raises(ValueError, match=message):
        model.fit(Blocks(), callbacks=Checkpoint(tmp_path / "folder"))
    assert not (tmp_path / "folder").exists()
    for wrong in (1000, 1102):
        with pytest.raises(ValueError, match=f"X has n_examples={wrong}, but gave 1101"):
            model.fit(Blocks(wrong))
    with pytest.raises(TypeError, match="n_examples of X must be an integer of at least 0, not 'many'"):
        model.fit(Blocks("many"))
    np.testing.assert_array_equal(model.parameters, before)
    model.fit(Blocks(), epochs=1, batch_size=None)  # one update, whatever it has


@pytest.mark.jit
@pytest.mark.parametrize("shares", [(50, 50), (30, 70), (100, 0)])
def test_ranks_have_the_rate_of_their_common_update(shares):
    """Each has so many rows of each batch of 100."""
    optimizer = Adam(ByStep(CosLog(0.05, epochs=EPOCHS)))
    alone = make_model(UNITS, ACTIVATIONS, optimizer=optimizer)
    alone.fit(X, Y, epochs=EPOCHS, batch_size=100, shuffle=False)
    place = np.arange(M) % 100

    def work(communicator):
        first = sum(shares[: communicator.rank])
        share = shares[communicator.rank]
        rows = np.flatnonzero((first <= place) & (place < first + share))
        model = make_model(UNITS, ACTIVATIONS, optimizer=optimizer)
        model.fit(
            X[rows], Y[rows], epochs=EPOCHS, batch_size=share or 7, shuffle=False, communicator=communicator
        )  # fmt: skip
        return model.parameters.copy()

    for parameters in run_ranks(2, work):
        np.testing.assert_allclose(parameters, alone.parameters, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------ refused


def test_what_is_no_schedule():
    for wrong in (0.1, "coslog", None, CosLog):
        with pytest.raises(TypeError, match=re.escape(f"a function of the epoch, not {wrong!r}.")):
            ByStep(wrong)
    for wrong in (ByStep(CosLog(0.1, 3)), SlowedDown(ByStep(CosLog(0.1, 3)), 0.5, 0.0)):
        with pytest.raises(ValueError, match=r"schedule must give a rate for each epoch, but .* each update already"):
            ByStep(wrong)


@pytest.mark.parametrize("rate", [0.0, np.nan, 1e-60])
def test_a_rate_of_one_update_is_refused_before_anything_changes(rate):
    """That of update 2 of the 4 in epoch 1."""
    model = make_model(
        UNITS, ACTIVATIONS, dtype="float32", optimizer=SGD(ByStep(lambda e: rate if 1.4 < e < 1.6 else 0.1))
    )  # fmt: skip
    before = model.parameters.copy()
    with pytest.raises(ValueError, match=r"learning_rate\(1\.5\) must be"):
        model.fit(X, Y, epochs=2, batch_size=200, validation_split=0.3)
    np.testing.assert_array_equal(model.parameters, before)
    model.fit(X, Y, epochs=1, batch_size=200, validation_split=0.3)


def test_a_callback_changes_neither_to_it_nor_back():
    schedule = CosLog(0.1, epochs=9)
    for one, other in ((ByStep(schedule), schedule), (0.1, ByStep(schedule))):
        model = make_model(UNITS, ACTIVATIONS, optimizer=SGD(one))

        def change(model, epoch, logs, other=other):
            model.optimizer = SGD(other)

        with pytest.raises(ValueError, match=r"Within a fit, only numbers .* a ByStep stays one"):
            model.fit(X, Y, epochs=2, batch_size=400, callbacks=change)


def test_a_function_by_step_is_asked_for_when_a_file_is_loaded(tmp_path):
    def my_rate(epoch):
        return 0.1 / (1 + epoch)

    model = Model([Dense(1, "sigmoid")], optimizer=Adam(ByStep(my_rate)), seed=0)
    model.fit(X, Y, epochs=1)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"function as learning_rate, '.*my_rate', which no file holds"):
        fastnet.load(tmp_path / "model")
    assert fastnet.load(tmp_path / "model", learning_rate=my_rate).optimizer == model.optimizer
    for wrong in (0.1, ByStep(my_rate), CosLog):
        message = rf"a function of the epoch, as the file's ByStep .*my_rate', not {re.escape(repr(wrong))}"
        with pytest.raises(ValueError, match=message):
            fastnet.load(tmp_path / "model", learning_rate=wrong)


def test_the_drop_in_classes_take_it():
    pytest.importorskip("sklearn")
    from fastnet.sklearn import MLPClassifier

    coefficients = []
    for rate in (ByStep(CosLog(0.05, epochs=3)), CosLog(0.05, epochs=3)):
        estimator = MLPClassifier(
            (4,), solver=SGD(rate), batch_size=100, max_iter=3, shuffle=False, random_state=0, tol=0.0, alpha=0.0
        )  # fmt: skip
        with pytest.warns(UserWarning, match="Maximum iterations"):
            estimator.fit(X, Y[:, 0])
        coefficients.append(estimator)
    assert not np.array_equal(coefficients[0].coefs_[0], coefficients[1].coefs_[0])
    twin = MLPClassifier((4,), solver=SGD(1e-30), batch_size=100, max_iter=1, shuffle=False, random_state=0, alpha=0.0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        twin.fit(X, Y[:, 0])
    parameters = {}
    for index, (W, b) in enumerate(zip(twin.coefs_, twin.intercepts_, strict=True), start=1):
        parameters[f"W{index}"], parameters[f"b{index}"] = W.T.copy(), b[:, None].copy()
    optimizer = reference.SGD(0.05)
    for update, t in enumerate((np.arange(36) + 0.5) / 36):
        optimizer.learning_rate = 0.05 * formula(t)
        batch = slice(update % 12 * 100, min(M, update % 12 * 100 + 100))
        reference.step(
            X[batch].T, Y[batch].T, parameters, ("relu", "sigmoid"), "binary_crossentropy", optimizer
        )  # fmt: skip
    np.testing.assert_allclose(coefficients[0].coefs_[0].T, parameters["W1"], rtol=1e-9, atol=1e-12)
