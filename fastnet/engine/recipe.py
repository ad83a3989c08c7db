"""What a run or a prediction needs compiled: whether it is there, and how it gets there. The door to the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnet.checks import float_dtype
from fastnet.engine.threads import get_num_threads

if TYPE_CHECKING:
    from fastnet.engine.network import Network
    from fastnet.kernels.link import Recipe
    from fastnet.kernels.plan import Plan

BESIDE = ("backward", "matmul_plus_bias", "input_gradient", "weight_gradient", "narrow_weight_gradient", "gradients")
"""What another process compiles while this one compiles `train`, as far as a network needs it."""


def is_compiled(recipe: Recipe) -> bool:
    """Return whether nothing that a run needs must be compiled, or loaded, any more."""
    from fastnet.kernels import link
    from fastnet.kernels.build.parts import is_loaded

    uses = link.wanted(recipe) + link.in_passing(recipe)
    return is_loaded("train", recipe.dtype) and all(is_loaded(use.part, recipe.dtype, *use.code) for use in uses)


def compiled_train(recipe: Recipe) -> Callable[..., None]:
    """Compile, or load, all that a run needs; return the entry point `train`."""
    from fastnet.kernels import link
    from fastnet.kernels.build import companion
    from fastnet.kernels.build.parts import part

    uses = link.wanted(recipe) + link.in_passing(recipe)
    parts = {use.part for use in uses}
    beside = [name for name in BESIDE if name in parts] if get_num_threads() > 1 else []
    with companion.compiled_beside("train", beside, recipe.dtype) as train:
        for use in uses:
            if use.part not in beside:
                part(use.part, recipe.dtype, *use.code)
    for use in uses:
        part(use.part, recipe.dtype, *use.code)
    return train


def link(plan: Plan, recipe: Recipe, *, alone: bool) -> None:
    """Write the addresses of the parts of a run to its plan; `alone`: for a thread that shares no chunk."""
    from fastnet.kernels import link as linking

    linking.link(plan, linking.wanted(recipe) + (linking.in_passing(recipe) if alone else []), recipe.dtype)
    plan.network["term_rows"] = linking.term_rows(recipe)


def compiled_predict(network: Network, plan: Plan, *, few_rows: bool) -> tuple[Callable[..., bool], int]:
    """Return the entry point `predict`, and the address of the forward pass; link a plan for them."""
    from fastnet.kernels import link as linking
    from fastnet.kernels.build.parts import address_of, part

    linking.link(plan, linking.wanted_to_predict(network.units, network.activations, few_rows=few_rows), network.dtype)
    return part("predict", network.dtype), address_of("forward", network.dtype)


def by_name(records: np.ndarray) -> np.ndarray:
    """Return records as the kernels take them: `layer.units`, in plain Python too, for when the JIT is off."""
    from fastnet.kernels.build.jit import JIT_DISABLED

    return records.view(np.recarray) if JIT_DISABLED else records


def warmup(dtype: Any = "float32") -> None:
    """Compile now all that training and prediction in that dtype can need, and store it on disk; or load it from there.

    From the command line: `python -m fastnet warmup`.

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
    from fastnet.kernels.build.companion import compiled_beside
    from fastnet.kernels.build.parts import part
    from fastnet.kernels.link import every_part

    parts = every_part()
    with compiled_beside("train", BESIDE if get_num_threads() > 1 else (), found):
        for name, code in parts:
            if name not in BESIDE:
                part(name, found, *code)
    for name, code in parts:
        part(name, found, *code)
