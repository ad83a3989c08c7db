"""What a run or a prediction needs compiled: whether it is there, and how it gets there. The door to the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnet.checks import float_dtype

if TYPE_CHECKING:
    from fastnet.engine.network import Network
    from fastnet.kernels.link import Recipe
    from fastnet.kernels.plan import Plan


def is_compiled(recipe: Recipe) -> bool:
    """Return whether nothing that a run needs must be compiled, or loaded, any more."""
    from fastnet.kernels import link
    from fastnet.kernels.build.load import is_loaded

    uses = link.wanted(recipe) + link.in_passing(recipe)
    return is_loaded("train", recipe.dtype) and all(is_loaded(use.part, recipe.dtype, *use.code) for use in uses)


def compile_parts(recipe: Recipe) -> None:
    """Compile, or load, all that a run needs."""
    from fastnet.kernels import link
    from fastnet.kernels.build.load import address_of

    address_of("train", recipe.dtype)
    for use in link.wanted(recipe) + link.in_passing(recipe):
        address_of(use.part, recipe.dtype, *use.code)


def link(plan: Plan, recipe: Recipe, *, alone: bool) -> None:
    """Write the addresses of the parts of a run to its plan; `alone`: for a thread that shares no chunk."""
    from fastnet.kernels import link as linking

    linking.link(plan, linking.wanted(recipe) + (linking.in_passing(recipe) if alone else []), recipe.dtype)
    plan.network["term_rows"] = linking.term_rows(recipe)


def call_of_train(recipe: Recipe, plan: Plan, *arguments: Any) -> Callable[[], int]:
    """Return a call of the entry point `train`, for a plan that is linked; `arguments` are those after its layers."""
    from fastnet.kernels.build.load import call_of

    return call_of("train", recipe.dtype, plan.network, plan.layers, *arguments)


def link_for_prediction(network: Network, plan: Plan, *, few_rows: bool) -> None:
    """Compile, or load, what a prediction needs; write the addresses of its parts to its plan."""
    from fastnet.kernels import link as linking
    from fastnet.kernels.build.load import address_of

    linking.link(plan, linking.wanted_to_predict(network.units, network.activations, few_rows=few_rows), network.dtype)
    address_of("predict", network.dtype)


def call_of_predict(dtype: np.dtype, layers: np.ndarray, *arguments: Any) -> Callable[..., int]:
    """Return a call of the entry point `predict`, which takes m, X and out.

    `arguments` are those after the address of the forward pass.
    """
    from fastnet.kernels.build.load import address_of, call_of

    return call_of("predict", dtype, layers, address_of("forward", dtype), *arguments, changing="iaa")


def warmup(dtype: Any = "float32") -> None:
    """Compile now all that training and prediction in that dtype can need, and store it on disk; or load it from there.

    A wheel brings it along, and there is nothing to do. From the command line: `python -m fastnet warmup`.

    Parameters
    ----------
    dtype : str, default "float32"
        Or "float64".

    Raises
    ------
    ValueError
        If it is neither.
    """
    found: np.dtype = float_dtype(dtype)
    from fastnet.kernels.build.load import address_of
    from fastnet.kernels.link import every_part

    for name, code in every_part():
        address_of(name, found, *code)


def origins(dtype: str) -> dict[str, int]:
    """Return how many of all parts there are for each way that their machine code comes about; nothing is compiled."""
    from fastnet.kernels.build import load, store, target
    from fastnet.kernels.link import every_part

    found = [load.stored(name, np.dtype(dtype), *code)[1] for name, code in every_part()]
    ways = {
        "shipped": f"brought by the wheel, for {target.level()}, in {store.shipped()}",
        "cached": f"compiled by this machine before, in {' or '.join(map(str, store.folders()))}",
        "compiled": "to be compiled when a model needs them",
    }
    return {words: found.count(way) for way, words in ways.items() if way in found}
