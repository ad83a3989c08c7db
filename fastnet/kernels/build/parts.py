"""The table of parts: each compiled and stored by itself, called by its address.

So a network compiles the parts that it needs and no others, once, whatever it combines them with; and training and
prediction share them. An address stands in a record (`plan.py`) and holds for one process, so for no file. One line
of PARTS gives a part's argument types, its caller, and what `link.py` and `warmup` compile. CONTRIBUTING says
how to add one. This file knows no numba.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

NONE = 0
"""The address of nothing, for which the caller has to look."""


class Part(NamedTuple):
    """A line of the table.

    `arguments` are names, whose types `callers.py` knows. `made_by` is "module:function" in `fastnet.kernels`: the
    part itself or, if that begins with "make_", what makes it from a code. It `returns` "nothing", a "boolean" or a
    "float64".
    """

    arguments: str
    made_by: str
    returns: str = "nothing"


GATHER = "X order chunk_start first stop S a block ld at panel"
PRODUCT = "layers l first stop m parameters S"
WEIGHT_GRADIENT = "layers l share m S head gradient w add"
UPDATE = "job rate per_example decay start stop at parameters gradient moments"

PARTS = {
    # Entry points, which Python calls.
    "train": Part("network layers job progress examples vectors scratch epochs thread team", "train:train"),
    "predict": Part("m X_at out_at layers forward order parameters S", "predict:predict", "boolean"),
    "predict_mean": Part(
        "m X_at out_at columns sources medians units layers forward parameters networks S",
        "predict:predict_mean",
        "boolean",
    ),
    "input_gradients": Part(
        "m X_at out_at first_output n_outputs layers forward backward order parameters S",
        "predict:input_gradients",
        "boolean",
    ),
    # Passes: loops over the layers.
    "forward": Part("layers first stop m parameters S key example", "passes:forward"),
    "backward": Part("layers first stop parameters S head", "passes:backward"),
    "gradients": Part("network layers m thread threads S head gradient add", "passes:gradients"),
    "steps": Part(
        "network layers job m thread S head per_example parameters gradient moments", "passes:steps", "boolean"
    ),
    # From the user's rows to blocks, and back.
    "gather": Part(GATHER, "gather:gather"),
    "load_rows": Part(GATHER, "gather:load_rows"),
    "load_classes": Part(GATHER, "gather:load_classes"),
    "encode": Part("layers first stop S", "encode:encode"),
    "keep_outputs": Part("layers chunk_start first stop S outputs", "gather:keep_outputs"),
    # Products.
    "matmul_plus_bias": Part(PRODUCT, "products:matmul_plus_bias"),
    "wide_matmul_plus_bias": Part(PRODUCT, "wide_input:wide_matmul_plus_bias"),
    "matmul_plus_bias_of_rows": Part(PRODUCT, "products:matmul_plus_bias_of_rows"),
    "turned_matmul_plus_bias_of_rows": Part(PRODUCT, "products:turned_matmul_plus_bias_of_rows"),
    "input_gradient": Part("layers l first stop parameters S head", "products:input_gradient"),
    "weight_gradient": Part(WEIGHT_GRADIENT, "products:weight_gradient"),
    "narrow_weight_gradient": Part(WEIGHT_GRADIENT, "products:narrow_weight_gradient"),
    "wide_weight_gradient": Part(WEIGHT_GRADIENT, "wide_input:wide_weight_gradient"),
    "wide_gradient": Part("layers first stop first_column stop_column S", "wide_input:wide_gradient"),
    "take_wide_gradient": Part(WEIGHT_GRADIENT, "wide_input:take_wide_gradient"),
    "bias_gradient": Part("layers l share m S gradient b add", "products:bias_gradient"),
    # Element by element; each is made for a code, which the network names.
    "activate": Part("layers l first stop S", "activations:make_activation"),
    "activate_storing_slopes": Part("layers l first stop S", "activations:make_activation_storing_slopes"),
    "differentiate": Part("layers l first stop parameters S", "activations:make_derivative"),
    "drop": Part("layers l first stop S key example", "dropout:drop"),
    "loss": Part("network layers first stop S", "losses:make_loss"),
    "smooth": Part("network layers first stop S", "losses:smooth"),
    "weigh": Part("network layers first stop S", "losses:weigh"),
    "update": Part(UPDATE, "updates:make_update", "boolean"),
    "finish": Part(UPDATE, "updates:finish_gradient", "boolean"),
    "factored_step": Part(
        "network layers job per_example penalty parameters gradient factored factored_gradient factored_moments",
        "factored:factored_step",
        "boolean",
    ),
    "penalty_cost": Part("layers parameters", "updates:penalty_cost", "float64"),
    "signs": Part("strength start stop at parameters gradient", "updates:add_signs"),
}


def function_of(name: str, *code: int) -> Callable[..., Any]:
    """Return the Python function that a part is compiled from."""
    module, attribute = PARTS[name].made_by.split(":")
    function: Callable[..., Any] = getattr(import_module(f"fastnet.kernels.{module}"), attribute)
    return function(*code) if attribute.startswith("make_") else function


WITHOUT_JIT: dict[int, Callable[..., Any]] = {}
"""What stands at an address when the JIT is off: an address is then a number."""
