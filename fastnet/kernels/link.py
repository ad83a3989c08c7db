"""Which parts a network consists of, and their addresses in its plan.

`wanted`, `in_passing`, `wanted_to_predict` and `wanted_for_inputs` are the lists of parts: what they name is compiled
and written to the records. That is all there is to choosing how a layer is computed: the kernels call what stands in
its record.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fastnet.kernels.build.load import address_of
from fastnet.kernels.build.parts import PARTS
from fastnet.kernels.codes import (
    CATEGORICAL_CROSSENTROPY,
    COST,
    COUPLED,
    EXPONENTIAL,
    FROM_Z,
    GRADIENT,
    INCREASING,
    LINEAR,
    LOSSES,
    SGD,
    SLOPE_FROM_VALUE,
    SLOPE_FROM_Z,
    STORED_SLOPE,
    UPDATES,
)
from fastnet.kernels.plan import FUSE_STEP_FROM, WIDE, Plan, chunk_size, parameter_offsets, strategies


class Recipe(NamedTuple):
    """What decides which parts a run consists of: of the network, and of what is done with it."""

    units: tuple[int, ...]  # the input's width first
    use_bias: tuple[bool, ...]
    activations: tuple[int, ...]  # codes, one a layer
    stores_slopes: tuple[bool, ...]
    drops: tuple[bool, ...]
    loss: int
    penalised: bool  # by L2 or L1
    with_l1: bool
    dtype: np.dtype
    mode: int  # COST, GRADIENT or the code of an update
    batch_size: int
    clipped: bool
    weighted: bool
    with_classes: bool  # targets are numbers of classes
    one_target: bool  # of all outputs
    smoothed: bool  # labels are
    with_outputs: bool
    factored: bool = False  # the first W has factors
    encoded: bool = False  # columns of X become inputs when they are loaded
    reduces: bool = False  # gradients are added to those of other ranks before a step


class Use(NamedTuple):
    """Where the address of a part stands: a field of the network, or of a layer; the part's name, and its code."""

    layer: int | None
    field: str
    part: str
    code: tuple[int, ...] = ()


def wanted(recipe: Recipe) -> list[Use]:
    """Return the parts of a run; what takes long to compile comes first."""
    trains = recipe.mode != COST
    fuses = (
        recipe.mode >= SGD and not (recipe.clipped or recipe.reduces or recipe.factored)
        and recipe.batch_size <= chunk_size(recipe.units)
        and parameter_offsets(recipe.units, recipe.use_bias)[1] >= FUSE_STEP_FROM
    )  # fmt: skip
    ways = strategies(recipe.units, encoded=recipe.encoded)
    of_network: dict[str, tuple[bool, str, tuple[int, ...]]] = {
        "forward": (True, "forward", ()),
        "backward": (trains, "backward", ()),
        "steps": (fuses, "steps", ()),
        "gradients": (trains and (recipe.weighted or not fuses), "gradients", ()),  # a batch may weigh nothing
        "update": (trains, "finish", ()) if recipe.mode == GRADIENT else (trains, "update", (recipe.mode,)),
        "finish": (recipe.clipped, "finish", ()),
        "factored_step": (recipe.factored and recipe.mode >= SGD, "factored_step", ()),
        "loss": (True, "loss", (recipe.loss,)),
        "load_targets": (True, "load_classes" if recipe.with_classes else "gather", ()),
        "smooth": (recipe.smoothed, "smooth", ()),
        "weigh": (recipe.weighted, "weigh", ()),
        "penalty_cost": (recipe.penalised, "penalty_cost", ()),
        "signs": (recipe.with_l1 and trains, "signs", ()),
        "keep_outputs": (recipe.with_outputs, "keep_outputs", ()),
    }
    uses = [Use(None, field, part, code) for field, (is_wanted, part, code) in of_network.items() if is_wanted]
    uses.append(Use(0, "load", ways[0].load))
    if recipe.encoded:
        uses.append(Use(0, "encode", "encode"))
    for l, way in enumerate(ways, start=1):
        uses.append(Use(l, "product", way.product))
        if derives(recipe, l):
            uses += of_activation(l, recipe.activations[l - 1], recipe.stores_slopes[l - 1], differentiated=trains)
        if recipe.drops[l - 1]:
            uses.append(Use(l, "drop", "drop"))
        if not trains:
            continue
        uses.append(Use(l, "weight_gradient", way.weight_gradient))
        if recipe.use_bias[l - 1]:
            uses.append(Use(l, "bias_gradient", "bias_gradient"))
        # Before a single unit, the derivative forms the input gradient in passing.
        if l > 1 and not (recipe.units[l] == 1 and derives(recipe, l - 1)):
            uses.append(Use(l, "input_gradient", "input_gradient"))
    return uses


def of_activation(l: int, code: int, stores_slopes: bool, *, differentiated: bool) -> list[Use]:
    """Return what computes the activation of layer l, and its derivative."""
    uses = [Use(l, "activate", "activate_storing_slopes" if stores_slopes else "activate", (code,))]
    if differentiated:
        code = STORED_SLOPE if stores_slopes and code != INCREASING else code
        uses.append(Use(l, "differentiate", "differentiate", (code,)))
    return uses


def derives(recipe: Recipe, l: int) -> bool:
    """Return whether layer l has an activation to compute, and differentiate, that is not the loss's own."""
    if l == len(recipe.units) - 1 and recipe.loss in FROM_Z:
        return False
    return recipe.stores_slopes[l - 1] or recipe.activations[l - 1] != LINEAR


def in_passing(recipe: Recipe) -> list[Use]:
    """Return what sums the gradient behind a wide input while its examples are near, for a thread by itself.

    Empty where that does not pay: deeper layers would suffer from so few examples at a time.
    """
    if strategies(recipe.units, encoded=recipe.encoded) != [WIDE] or recipe.mode == COST:
        return []
    return [Use(None, "wide_gradient", "wide_gradient"), Use(1, "weight_gradient", "take_wide_gradient")]


def wanted_to_predict(
    units: tuple[int, ...], activations: tuple[int, ...], *, few_rows: bool, encoded: bool = False,
    turned: Sequence[bool] = (),
) -> list[Use]:  # fmt: skip
    """Return the parts of a prediction, but for the forward pass; `turned`: in which layers W^T is in place of W."""
    ways = strategies(units, few_rows=few_rows, encoded=encoded)
    uses = [Use(0, "load", ways[0].load), *[Use(0, "encode", "encode")] * encoded]
    for l, (way, code) in enumerate(zip(ways, activations, strict=True), start=1):
        uses.append(Use(l, "product", f"turned_{way.product}" if turned and turned[l - 1] else way.product))
        if code != LINEAR:
            uses += of_activation(l, code, stores_slopes=False, differentiated=False)
    return uses


def wanted_for_inputs(
    units: tuple[int, ...], activations: tuple[int, ...], stores_slopes: tuple[bool, ...]
) -> list[Use]:
    """Return the parts of the gradients of outputs with respect to the input, but for the passes."""
    ways = strategies(units)
    uses = [Use(0, "load", ways[0].load)]
    for l, (way, code) in enumerate(zip(ways, activations, strict=True), start=1):
        uses.append(Use(l, "product", way.product))
        if code != LINEAR:
            uses += of_activation(l, code, stores_slopes[l - 1], differentiated=True)
        if not (l > 1 and units[l] == 1 and activations[l - 2] != LINEAR):  # as above
            uses.append(Use(l, "input_gradient", "input_gradient"))
    return uses


def link(plan: Plan, uses: Iterable[Use], dtype: np.dtype) -> None:
    """Write the addresses of parts to the records of a plan."""
    for use in uses:
        record = plan.network[0] if use.layer is None else plan.layers[use.layer]
        record[use.field] = address_of(use.part, dtype, *use.code)


def term_rows(recipe: Recipe) -> int:
    """Return how many rows of terms the loss of an example is the sum of."""
    return 1 if recipe.loss == CATEGORICAL_CROSSENTROPY else recipe.units[-1]


def every_part() -> list[tuple[str, tuple[int, ...]]]:
    """Return name and code of all parts that any network can need."""
    elementwise = [*SLOPE_FROM_VALUE, *SLOPE_FROM_Z]
    codes = {
        "activate": [*(code for code in elementwise if code != LINEAR), *COUPLED],
        # The exponential stands in the last layer alone, before a loss that goes from Z to dZ.
        "activate_storing_slopes": [*(code for code in elementwise if code != EXPONENTIAL), INCREASING],
        "differentiate": [*(code for code in SLOPE_FROM_VALUE if code != LINEAR), *COUPLED, STORED_SLOPE],
        "loss": LOSSES,
        "update": UPDATES,
    }
    return [(name, code) for name in PARTS for code in ([(code,) for code in codes[name]] if name in codes else [()])]
