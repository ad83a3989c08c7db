"""Which parts networks consist of: none is wanted that is not listed, and all that share a place are called alike."""

from itertools import product

import numpy as np
import pytest

from fastnet import SGD, Adam, Dense, Dropout, Model, warmup
from fastnet.activations import ACTIVATIONS
from fastnet.kernels import codes, link
from fastnet.kernels.activations import FROM_VALUE, WITH_SLOPE
from fastnet.kernels.build import load
from fastnet.kernels.build.parts import NONE, PARTS
from fastnet.kernels.link import Recipe, every_part, in_passing, wanted, wanted_for_inputs, wanted_to_predict
from fastnet.kernels.losses import OF_ROW
from fastnet.kernels.plan import (
    DENSE,
    FEW_ROWS,
    FUSE_STEP_FROM,
    LAYER,
    NARROW,
    NARROW_UP_TO,
    NETWORK,
    WIDE,
    WIDE_FROM,
    make_plan,
    parameter_offsets,
    strategies,
)

SHAPES = [
    (1, 1), (NARROW_UP_TO, 7), (7, NARROW_UP_TO), (7, 9, 1), (7, 9, 5), (7, 1, 9), (WIDE_FROM, 1), (WIDE_FROM, 3, 9, 1),
    (WIDE_FROM, 9, 1), (300, 300, 3),
]  # fmt: skip
HIDDEN = [activation.code for name, activation in ACTIVATIONS.items() if name != "softmax"]
MODES = [codes.COST, codes.GRADIENT, *codes.UPDATES]


def recipes():
    """Yield what a run may be made of, over all that enters."""
    for units, g, loss, mode in product(SHAPES, HIDDEN, codes.LOSSES, MODES):
        depth = len(units) - 1
        for at, (dropped, clipped, weighted) in enumerate(product((False, True), repeat=3)):
            drops = (dropped,) * (depth - 1) + (False,)
            last = {codes.CATEGORICAL_CROSSENTROPY: codes.SOFTMAX, codes.POISSON: codes.EXPONENTIAL}.get(loss, g)
            several = loss == codes.QUANTILE and weighted
            activations = (g,) * (depth - 1) + (codes.INCREASING if several else last,)
            stores_slopes = tuple(
                code in (*codes.SLOPE_FROM_Z, codes.INCREASING) or drop
                for code, drop in zip(activations, drops, strict=True)
            )
            yield Recipe(
                units=units, use_bias=(at % 2 == 0,) * depth, activations=activations, stores_slopes=stores_slopes,
                drops=drops, loss=loss, penalised=at % 3 > 0, with_l1=at % 3 == 2, dtype=np.dtype("float32"),
                mode=mode, batch_size=(1, 10_000)[at // 4], clipped=clipped and mode >= codes.SGD, weighted=weighted,
                with_classes=loss == codes.CATEGORICAL_CROSSENTROPY and weighted, one_target=several,
                smoothed=dropped and loss == codes.CATEGORICAL_CROSSENTROPY, with_outputs=at % 5 == 0,
                factored=at % 7 == 3, encoded=at % 5 == 1,
            )  # fmt: skip


@pytest.fixture(scope="module")
def uses():
    """Return every use of a part, by any network."""
    found = {(use.layer, use.field, use.part, use.code) for recipe in recipes() for use in wanted(recipe)}
    found |= {(use.layer, use.field, use.part, use.code) for recipe in recipes() for use in in_passing(recipe)}
    for units, g, few_rows in product(SHAPES, [*HIDDEN, *codes.COUPLED, codes.EXPONENTIAL], (False, True)):
        activations = (g,) * (len(units) - 1)
        of_any = wanted_to_predict(units, activations, few_rows=few_rows)
        turned = (few_rows,) * (len(units) - 1)  # of tables alone
        for use in of_any + wanted_to_predict(units, activations, few_rows=few_rows, encoded=True, turned=turned):
            found.add((use.layer, use.field, use.part, use.code))
    for units, g, last in product(SHAPES, HIDDEN, [*HIDDEN, *codes.COUPLED, codes.EXPONENTIAL]):
        activations = (g,) * (len(units) - 2) + (last,)
        stores_slopes = tuple(code in (*codes.SLOPE_FROM_Z, codes.INCREASING) for code in activations)
        for use in wanted_for_inputs(units, activations, stores_slopes):
            found.add((use.layer, use.field, use.part, use.code))
    return found


ENTRY_POINTS = {"train", "predict", "predict_mean", "input_gradients"}


def test_every_part_that_is_wanted_is_listed_and_every_other_is_not(uses):
    """So `warmup` compiles all that any fit or prediction needs, and nothing else."""
    assert {(name, code) for _, _, name, code in uses} | {(name, ()) for name in ENTRY_POINTS} == set(every_part())
    assert len(every_part()) == len(set(every_part()))
    assert {name for name, _ in every_part()} == set(PARTS)


def test_parts_that_may_stand_in_one_place_are_called_alike(uses):
    callers = {}
    for layer, field, name, _ in uses:
        record = NETWORK if layer is None else LAYER
        assert field in record.names, field
        callers.setdefault((layer is None, field), set()).add((PARTS[name].arguments, PARTS[name].returns))
    assert all(len(signatures) == 1 for signatures in callers.values())
    assert len(callers) > 15


def test_a_place_is_taken_once():
    for recipe in recipes():
        places = [(use.layer, use.field) for use in wanted(recipe)]
        assert len(places) == len(set(places))


def used(recipe):
    return {(use.layer, use.field): (use.part, *use.code) for use in wanted(recipe)}


def recipe_of(**changes):
    settings = {
        "units": (7, 9, 5), "use_bias": (True, True), "activations": (codes.TANH, codes.SIGMOID),
        "stores_slopes": (False, False), "drops": (False, False), "loss": codes.BINARY_CROSSENTROPY,
        "penalised": False, "with_l1": False, "dtype": np.dtype("float32"), "mode": codes.SGD, "batch_size": 32,
        "clipped": False, "weighted": False, "with_classes": False, "one_target": False,
        "smoothed": False, "with_outputs": False,
    }  # fmt: skip
    return Recipe(**settings | changes)


def test_a_dense_network_in_training():
    assert used(recipe_of()) == {
        (None, "forward"): ("forward",), (None, "backward"): ("backward",), (None, "gradients"): ("gradients",),
        (None, "update"): ("update", codes.SGD), (None, "loss"): ("loss", codes.BINARY_CROSSENTROPY),
        (None, "load_targets"): ("gather",), (0, "load"): ("gather",),
        (1, "product"): ("matmul_plus_bias",), (1, "activate"): ("activate", codes.TANH),
        (1, "weight_gradient"): ("weight_gradient",), (1, "differentiate"): ("differentiate", codes.TANH),
        (1, "bias_gradient"): ("bias_gradient",),
        (2, "product"): ("matmul_plus_bias",), (2, "weight_gradient"): ("weight_gradient",),
        (2, "bias_gradient"): ("bias_gradient",), (2, "input_gradient"): ("input_gradient",),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "here", "gone"),
    [
        ({"mode": codes.COST}, {}, {(None, "backward"), (1, "weight_gradient"), (1, "differentiate")}),
        ({"mode": codes.GRADIENT}, {(None, "update"): ("finish",)}, {(None, "steps")}),
        ({"clipped": True}, {(None, "finish"): ("finish",), (None, "update"): ("update", codes.SGD)}, set()),
        ({"factored": True}, {(None, "factored_step"): ("factored_step",)}, set()),
        ({"factored": True, "mode": codes.GRADIENT}, {}, {(None, "factored_step")}),
        ({"weighted": True}, {(None, "weigh"): ("weigh",), (None, "gradients"): ("gradients",)}, set()),
        ({"smoothed": True}, {(None, "smooth"): ("smooth",)}, set()),
        ({"with_classes": True}, {(None, "load_targets"): ("load_classes",)}, set()),
        ({"penalised": True}, {(None, "penalty_cost"): ("penalty_cost",)}, {(None, "signs")}),
        ({"penalised": True, "with_l1": True}, {(None, "signs"): ("signs",)}, set()),
        ({"with_outputs": True}, {(None, "keep_outputs"): ("keep_outputs",)}, set()),
        ({"use_bias": (False, True)}, {(2, "bias_gradient"): ("bias_gradient",)}, {(1, "bias_gradient")}),
        ({"activations": (codes.LINEAR, codes.SIGMOID)}, {}, {(1, "activate"), (1, "differentiate")}),
        ({"drops": (True, False), "stores_slopes": (True, False)}, {
            (1, "drop"): ("drop",), (1, "activate"): ("activate_storing_slopes", codes.TANH),
            (1, "differentiate"): ("differentiate", codes.STORED_SLOPE),
        }, set()),
        ({"loss": codes.MEAN_SQUARED_ERROR}, {
            (2, "activate"): ("activate", codes.SIGMOID), (2, "differentiate"): ("differentiate", codes.SIGMOID),
        }, set()),
        ({"loss": codes.QUANTILE, "activations": (codes.TANH, codes.INCREASING), "stores_slopes": (False, True)}, {
            (2, "activate"): ("activate_storing_slopes", codes.INCREASING),
            (2, "differentiate"): ("differentiate", codes.INCREASING),
        }, set()),
        ({"units": (7, 9, 1)}, {(2, "weight_gradient"): ("narrow_weight_gradient",)}, {(2, "input_gradient")}),
        ({"units": (WIDE_FROM, 3, 9)}, {
            (0, "load"): ("load_rows",), (1, "product"): ("wide_matmul_plus_bias",),
            (1, "weight_gradient"): ("wide_weight_gradient",),
        }, set()),
        ({"units": (300, 300, 5)}, {(None, "steps"): ("steps",)}, {(None, "gradients")}),
        ({"units": (300, 300, 5), "weighted": True}, {
            (None, "steps"): ("steps",), (None, "gradients"): ("gradients",),
        }, set()),
        ({"units": (300, 300, 5), "batch_size": 10_000}, {(None, "gradients"): ("gradients",)}, {(None, "steps")}),
        ({"units": (300, 300, 5), "reduces": True}, {(None, "gradients"): ("gradients",)}, {(None, "steps")}),
        ({"units": (300, 300, 5), "clipped": True}, {(None, "gradients"): ("gradients",)}, {(None, "steps")}),
    ],
)  # fmt: skip
def test_what_a_setting_adds_or_takes_away(changes, here, gone):
    found = used(recipe_of(**changes))
    assert here.items() <= found.items()
    assert not gone & found.keys()


def test_strategies():
    assert parameter_offsets((300, 300, 5), (True, True))[1] >= FUSE_STEP_FROM
    assert strategies((NARROW_UP_TO + 1, NARROW_UP_TO + 1)) == [DENSE]
    assert strategies((NARROW_UP_TO, NARROW_UP_TO + 1, NARROW_UP_TO)) == [NARROW, NARROW]
    assert strategies((WIDE_FROM, NARROW_UP_TO, 9, 9)) == [WIDE, NARROW, DENSE]
    assert strategies((WIDE_FROM - 1, NARROW_UP_TO)) == [NARROW]
    assert strategies((WIDE_FROM, NARROW_UP_TO + 1)) == [DENSE]
    assert strategies((9, 9, WIDE_FROM, 1)) == [DENSE, DENSE, NARROW]
    assert strategies((9, 9), few_rows=True) == [FEW_ROWS]
    assert strategies((WIDE_FROM, 1, 9), few_rows=True) == [WIDE, FEW_ROWS]


def test_a_gradient_is_summed_in_passing_only_of_a_single_layer():
    for units, expected in (((WIDE_FROM, 1), True), ((WIDE_FROM, 1, 1), False), ((7, 1), False)):
        assert bool(in_passing(recipe_of(units=units))) == expected
    assert not in_passing(recipe_of(units=(WIDE_FROM, 1), mode=codes.COST))


def test_addresses_are_written_to_their_records_and_to_no_others():
    plan = make_plan((7, 9, 5), (True, True), examples=32, backward=True)
    recipe = recipe_of()
    link.link(plan, wanted(recipe), recipe.dtype)
    for (layer, field), name in used(recipe).items():
        record = plan.network[0] if layer is None else plan.layers[layer]
        assert record[field] == load.address_of(name[0], recipe.dtype, *name[1:]) != NONE
    for field in ("steps", "finish", "weigh", "penalty_cost", "signs", "keep_outputs", "wide_gradient"):
        assert plan.network[field][0] == NONE
    assert (plan.layers["drop"] == NONE).all()
    assert (plan.layers["product"] != NONE).tolist() == [False, True, True]


def test_activations_that_store_slopes_are_those_of_the_codes():
    assert set(WITH_SLOPE) == set(codes.SLOPE_FROM_Z)
    assert set(FROM_VALUE) == set(codes.SLOPE_FROM_VALUE)


def test_the_losses_are_those_of_the_codes():
    assert {*OF_ROW, codes.CATEGORICAL_CROSSENTROPY} == set(codes.LOSSES)


@pytest.mark.jit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_after_a_warmup_nothing_is_compiled(dtype, monkeypatch):
    monkeypatch.setattr(load, "_addresses", {})
    warmup(dtype)
    made = dict(load._addresses)
    assert {(name, code) for name, _, code in made} == set(every_part())
    X, y = np.random.default_rng(0).standard_normal((20, 7)), [0, 1] * 10
    for optimizer, wide in product((SGD(clip_norm=1.0), Adam()), (False, True)):
        data = np.zeros((20, WIDE_FROM)) if wide else X
        model = Model([Dense(3, "gelu"), Dropout(0.2), Dense(1, "sigmoid")], optimizer=optimizer, dtype=dtype, l1=0.1)
        assert model.fit(data, y, epochs=1, verbose=False).compile_seconds == 0
        model.predict(data)
        model.predict(data[:3])
        model.gradients(data, y)
        model.input_gradients(data)
    assert load._addresses == made
