"""Learning rates as functions of the epoch: against the formulas, against PyTorch, and in training."""

import math
import re

import numpy as np
import pytest
from compiled import make_model, random_data

from fastnet import SGD, Adam, CosineDecay, CosLog, ExponentialDecay, OneCycle, StepDecay, schedules
from fastnet.schedules import cos_of_pi

X, Y = random_data(40, 4)
FORMULAS = [
    (ExponentialDecay(0.5, 0.9), lambda e: 0.5 * 0.9**e),
    (StepDecay(0.5, 7, 0.3), lambda e: 0.5 * 0.3 ** (e // 7)),
    (CosineDecay(0.5, 20, 0.1), lambda e: 0.1 + 0.4 * (1 + math.cos(math.pi * min(e, 20) / 20)) / 2),
]


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS)
def test_formulas(schedule, formula):
    for epoch in range(40):
        np.testing.assert_allclose(schedule(epoch), formula(epoch), rtol=1e-14)


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS)
def test_warmup_rises_to_the_rate_and_then_the_schedule_begins(schedule, formula):
    warm = type(schedule)(**{**vars(schedule), "warmup": 4})
    np.testing.assert_allclose([warm(e) for e in range(5)], [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-14)
    np.testing.assert_allclose([warm(4 + e) for e in range(20)], [formula(e) for e in range(20)], rtol=1e-14)


def test_cosine():
    for x in np.linspace(0, 1, 1001):
        assert abs(cos_of_pi(float(x)) - math.cos(math.pi * x)) < 5e-16


@pytest.mark.parametrize("epochs", [2, 3, 10, 101])
def test_one_cycle_rises_and_falls(epochs):
    rates = [OneCycle(1.0, epochs)(e) for e in range(epochs + 3)]
    top = int(np.argmax(rates))
    assert max(rates) <= 1.0
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:epochs]) < 0).all()
    np.testing.assert_allclose(rates[epochs - 1 :], 1 / 25 / 1e4, rtol=1e-9)
    if epochs > 3:
        assert rates[0] == pytest.approx(1 / 25)


def test_pytorch_has_the_same():
    torch = pytest.importorskip("torch")
    kinds = torch.optim.lr_scheduler
    pairs = [
        (ExponentialDecay(0.3, 0.8), kinds.ExponentialLR, {"gamma": 0.8}),
        (StepDecay(0.3, 5, 0.4), kinds.StepLR, {"step_size": 5, "gamma": 0.4}),
        (CosineDecay(0.3, 25, 0.01), kinds.CosineAnnealingLR, {"T_max": 25, "eta_min": 0.01}),
        (OneCycle(0.3, 25), kinds.OneCycleLR, {"max_lr": 0.3, "total_steps": 25}),
    ]
    for ours, kind, settings in pairs:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
        theirs = kind(optimizer, **settings)
        rates = []
        for _ in range(25):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            theirs.step() if len(rates) < 25 else None
        np.testing.assert_allclose([ours(e) for e in range(25)], rates, rtol=1e-9)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_training_takes_the_rate_of_each_epoch(kind):
    """In one fit, in several, and with a function of one's own."""
    for schedule in (CosineDecay(0.1, 5), lambda epoch: 0.1 / (1 + epoch)):
        whole, parts, by_hand = (make_model((4, 7, 1), ("tanh", "sigmoid"), optimizer=kind(schedule)) for _ in range(3))
        whole.fit(X, Y, epochs=4, batch_size=16)
        parts.fit(X, Y, epochs=1, batch_size=16)
        parts.fit(X, Y, epochs=3, batch_size=16)
        for epoch in range(4):
            by_hand.optimizer = kind(schedule(epoch))
            by_hand.fit(X, Y, epochs=1, batch_size=16)
        np.testing.assert_array_equal(parts.parameters, whole.parameters)
        np.testing.assert_array_equal(by_hand.parameters, whole.parameters)


POSITIVE = "must be a finite number greater than 0"
BAD = [
    (lambda: ExponentialDecay(0), ValueError, f"learning_rate {POSITIVE}, not 0."),
    (lambda: ExponentialDecay(0.1, gamma=-1), ValueError, f"gamma {POSITIVE}, not -1."),
    (lambda: StepDecay(0.1, 0), ValueError, "step must be at least 1, not 0."),
    (lambda: StepDecay(0.1, gamma="x"), TypeError, f"gamma {POSITIVE}, not 'x'."),
    (lambda: CosineDecay(0.1, 1.5), TypeError, "epochs must be an integer of at least 1, not 1.5."),
    (lambda: CosineDecay(0.1, 5, -1), ValueError, "final must be a finite number of at least 0, not -1."),
    (lambda: CosineDecay(0.1, 5, warmup=-1), ValueError, "warmup must be at least 0, not -1."),
    (lambda: OneCycle(0.1, 1), ValueError, "epochs must be at least 2 for a cycle, not 1."),
    (lambda: OneCycle(0.1, 5, rising=1), ValueError, "rising must be a number of at least 0 and less than 1, not 1."),
]


@pytest.mark.parametrize(("make", "kind", "message"), BAD)
def test_bad_settings(make, kind, message):
    with pytest.raises(kind) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize(("rate", "kind"), [(0.0, ValueError), (float("nan"), ValueError), ("fast", TypeError)])
def test_a_function_that_returns_no_rate_is_refused_before_anything_happens(rate, kind):
    model = make_model((4, 1), ("sigmoid",), optimizer=SGD(lambda epoch: 0.1 if epoch < 2 else rate))
    before = model.parameters.copy()
    with pytest.raises(kind, match=r"learning_rate\(2\) must be a finite number greater than 0"):
        model.fit(X, Y, epochs=3)
    np.testing.assert_array_equal(model.parameters, before)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (ExponentialDecay(1e-50), "learning_rate must be in the range of float32, but 1e-50 is 0.0 there."),
        (CosineDecay(1e39, 5), "learning_rate must be in the range of float32, but 1e+39 is inf there."),
        (ExponentialDecay(1.0, 1e-50), "learning_rate(1) must be in the range of float32, but 1e-50 is 0.0 there."),
        (OneCycle(0.1, 5, start_factor=1e-60), "learning_rate(0) must be in the range of float32"),
        (CosineDecay(0.1, 2, 1e-60), "learning_rate(2) must be in the range of float32, but 1e-60 is 0.0 there."),
        (lambda epoch: 1e-60, "learning_rate(0) must be in the range of float32, but 1e-60 is 0.0 there."),
    ],
)
def test_rates_must_be_in_the_range_of_the_models_dtype(schedule, message):
    """As an optimizer's numbers must: before anything changes, and in float64 there is more room."""

    def train(model, call, *arguments, **settings):
        model.optimizer = SGD(schedule)
        getattr(model, call)(*arguments, **settings)

    for call, settings in [("fit", {"epochs": 3})] + [("step", {})] * ("(0)" in message):
        model = make_model((4, 1), ("sigmoid",), dtype="float32")
        before = model.parameters.copy()
        with pytest.raises(ValueError, match=re.escape(message)):
            train(model, call, X, Y, **settings)
        np.testing.assert_array_equal(model.parameters, before)
    assert SGD(schedule).learning_rates(0, 3, np.dtype("float64")).shape == (3,)


def test_cos_log_is_its_formula():
    e = np.arange(64)
    expected = (1 - np.cos(2 * np.pi * np.log2(1 + 15 * (e + 0.5) / 64))) / 2
    np.testing.assert_allclose([CosLog(1.0, epochs=64)(epoch) for epoch in e], expected, atol=1e-14)
    assert CosLog(1.0, epochs=64)(1000) == CosLog(1.0, epochs=64)(63)
    assert min(CosLog(3.0, epochs=1000).during(0, b, 10**6) for b in range(10)) >= 3e-6
    by_step = [CosLog(1.0, epochs=2).during(e, b, 5) for e in range(2) for b in range(5)]
    np.testing.assert_array_equal(by_step, [CosLog(1.0, epochs=10)(epoch) for epoch in range(10)])
    with pytest.raises(ValueError, match="cycles must be at most 32"):
        CosLog(1.0, epochs=2, cycles=33)


def test_logarithms_powers_and_cosines_are_those_of_a_libm():
    x = np.concatenate([np.geomspace(1e-300, 1e300, 1001), 1 + np.linspace(-1e-3, 1e-3, 101)])
    np.testing.assert_allclose([schedules.log2(float(v)) for v in x], np.log2(x), rtol=1e-14, atol=1e-16)
    x = np.linspace(-300, 300, 1001)
    np.testing.assert_allclose([schedules.exp2(float(v)) for v in x], np.exp2(x), rtol=1e-14)
    x = np.linspace(0, 9, 1001)
    np.testing.assert_allclose([schedules.cos_of_pi(float(v)) for v in x], np.cos(np.pi * x), atol=1e-14)
    np.testing.assert_allclose(schedules.power(0.9, 7.25), 0.9**7.25, rtol=1e-14)
