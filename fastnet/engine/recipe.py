"""What a run or a prediction needs compiled: whether it is there, and how it gets there. The door to the kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnet.checks import float_dtype
from fastnet.engine.network import Network, import_kernels

if TYPE_CHECKING:
    from fastnet.kernels.link import Recipe
    from fastnet.kernels.plan import Plan


TO_BE_COMPILED = "to be compiled when a model needs them"


def is_loaded(recipe: Recipe) -> bool:
    """Return whether nothing that a run needs must be compiled, or loaded, any more."""
    from fastnet.kernels.build import load

    return all(load.is_loaded(name, recipe.dtype, *code) for name, code in _parts_of(recipe))


def load_stored(recipe: Recipe) -> bool:
    """Load what a run needs, up to the first part that is not stored; return whether that was everything."""
    from fastnet.kernels.build import load

    return all(load.load_stored(name, recipe.dtype, *code) for name, code in _parts_of(recipe))


def compile_parts(recipe: Recipe) -> None:
    """Load or compile all that a run needs."""
    from fastnet.kernels.build.load import address_of

    for name, code in _parts_of(recipe):
        address_of(name, recipe.dtype, *code)


def _parts_of(recipe: Recipe) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and code of the parts of a run."""
    from fastnet.kernels import link

    return [("train", ()), *((use.part, use.code) for use in link.wanted(recipe) + link.in_passing(recipe))]


def link_for_training(plan: Plan, recipe: Recipe, *, alone: bool) -> None:
    """Write the addresses of the parts of a run to its plan; `alone`: for a thread that shares no chunk."""
    from fastnet.kernels import link

    link.link(plan, link.wanted(recipe) + (link.in_passing(recipe) if alone else []), recipe.dtype)
    plan.network["term_rows"] = link.term_rows(recipe)
    if recipe.one_target:
        plan.network["ld_Y"] = 0


def call_of_train(recipe: Recipe, plan: Plan, *arguments: Any) -> Callable[[], int]:
    """Return a call of the entry point `train`, for a plan that is linked; `arguments` are those after its layers."""
    from fastnet.kernels.build.load import call_of

    return call_of("train", recipe.dtype, plan.network, plan.layers, *arguments)


def link_for_prediction(network: Network, plan: Plan, *, few_rows: bool, turned: Sequence[bool] = ()) -> None:
    """Compile, or load, what a prediction needs; write the addresses of its parts to its plan.

    `turned`: in which layers W^T is in the place of W.
    """
    import_kernels()
    from fastnet.kernels import link
    from fastnet.kernels.build.load import address_of

    is_encoded = network.encoded is not None
    uses = link.wanted_to_predict(
        network.units, network.activations, few_rows=few_rows, encoded=is_encoded, turned=turned
    )
    link.link(plan, uses, network.dtype)
    address_of("predict", network.dtype)


def call_of_predict(dtype: np.dtype, layers: np.ndarray, *arguments: Any) -> Callable[..., int]:
    """Return a call of the entry point `predict`, which takes m, X and out.

    `arguments` are those after the address of the forward pass.
    """
    from fastnet.kernels.build.load import address_of, call_of

    return call_of("predict", dtype, layers, address_of("forward", dtype), *arguments, changing="iaa")


def call_of_predict_mean(dtype: np.dtype, columns: tuple[Any, ...], layers: np.ndarray, *arguments: Any) -> Any:
    """Return a call of the entry point `predict_mean`, which takes m, X and out.

    `arguments` are those after the address of the forward pass.
    """
    from fastnet.kernels.build.load import address_of, call_of

    return call_of("predict_mean", dtype, *columns, layers, address_of("forward", dtype), *arguments, changing="iaa")


def link_for_inputs(network: Network, plan: Plan) -> None:
    """Compile, or load, what the gradients with respect to the input need; write the addresses to a plan."""
    from fastnet.kernels import link
    from fastnet.kernels.build.load import address_of

    uses = link.wanted_for_inputs(network.units, network.activations, network.stores_slopes)
    link.link(plan, uses, network.dtype)
    address_of("input_gradients", network.dtype)


def call_of_input_gradients(dtype: np.dtype, layers: np.ndarray, *arguments: Any) -> Callable[..., int]:
    """Return a call of the entry point `input_gradients`, which takes m, X, out, and first and number of the outputs.

    `arguments` are those after the addresses of the passes.
    """
    from fastnet.kernels.build.load import address_of, call_of

    passes = address_of("forward", dtype), address_of("backward", dtype)
    return call_of("input_gradients", dtype, layers, *passes, *arguments, changing="iaaii")


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

    Examples
    --------
    >>> fastnet.warmup()  # some twenty seconds, where nothing is stored yet
    """
    found: np.dtype = float_dtype(dtype)
    import_kernels()
    from fastnet.kernels.build.load import address_of
    from fastnet.kernels.link import every_part

    for name, code in every_part():
        address_of(name, found, *code)


def origins(dtype: str) -> dict[str, int]:
    """Return in words how the machine code of all parts comes about, and of how many; nothing is compiled."""
    import_kernels()
    from fastnet.kernels.build import load, target
    from fastnet.kernels.link import every_part

    def words(name: str, code: tuple[int, ...]) -> str:
        if target.JIT_DISABLED:
            return "run as plain Python, since NUMBA_DISABLE_JIT is set"
        found = load.stored(name, np.dtype(dtype), *code)
        if found is None:
            return TO_BE_COMPILED
        how = (
            f"brought by a wheel, for {target.level()}" if found.origin == load.SHIPPED else "compiled by this machine"
        )
        return f"{how}, in {found.folder}"

    return dict(Counter(words(*part) for part in every_part()))
