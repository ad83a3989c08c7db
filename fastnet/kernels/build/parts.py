"""The table of parts: each compiled and kept on disk by itself, called by its address.

So a network compiles the parts that it needs and no others, once, whatever it combines them with; and training and
prediction share them. An address stands in a record (`plan.py`) and holds for one process, so for no file. One line
of PARTS gives a part's argument types, its caller, and what `link.py` and `warmup` compile. CONTRIBUTING says
how to add one.
"""

from functools import cache
from importlib import import_module
from inspect import Parameter, Signature
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from llvmlite.ir import Constant, Undefined
from numba import from_dtype, types
from numba.extending import intrinsic, overload

from fastnet.kernels.build.jit import JIT_DISABLED, OPTIONS, Function, compiled
from fastnet.kernels.plan import JOB, LAYER, NETWORK, PROGRESS, Epochs, Examples, Team, Vectors

NONE = 0
"""The address of nothing, for which the caller has to look."""


class Part(NamedTuple):
    """A line of the table.

    `arguments` are names, whose types `argument_types` knows. `made_by` is "module:function" in `fastnet.kernels`: the
    part itself or, if that begins with "make_", what makes it from a code.
    """

    arguments: str
    made_by: str
    returns: types.Type = types.void


GATHER = "X order chunk_start first stop S a block ld at panel"
PRODUCT = "layers l first stop m parameters S"
WEIGHT_GRADIENT = "layers l share m S head gradient w add"
UPDATE = "job per_example decay start stop at parameters gradient moments"

PARTS = {
    # Entry points, which Python calls.
    "train": Part("network layers job progress examples vectors scratch epochs chunks thread team", "train:train"),
    "predict": Part("layers forward order X first stop parameters S out", "predict:predict", types.boolean),
    # Passes: loops over the layers.
    "forward": Part("layers first stop m parameters S key example", "passes:forward"),
    "backward": Part("layers first stop parameters S head", "passes:backward"),
    "gradients": Part("network layers m thread threads S head gradient add", "passes:gradients"),
    "steps": Part(
        "network layers job m thread S head per_example parameters gradient moments", "passes:steps", types.boolean
    ),
    # From the user's rows to blocks, and back.
    "gather": Part(GATHER, "gather:gather"),
    "load_rows": Part(GATHER, "gather:load_rows"),
    "load_classes": Part(GATHER, "gather:load_classes"),
    "keep_outputs": Part("layers chunk_start first stop S outputs", "gather:keep_outputs"),
    # Products.
    "matmul_plus_bias": Part(PRODUCT, "products:matmul_plus_bias"),
    "wide_matmul_plus_bias": Part(PRODUCT, "wide_input:wide_matmul_plus_bias"),
    "matmul_plus_bias_of_rows": Part(PRODUCT, "products:matmul_plus_bias_of_rows"),
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
    "weigh": Part("network layers first stop S", "losses:weigh"),
    "update": Part(UPDATE, "updates:make_update", types.boolean),
    "finish": Part(UPDATE, "updates:finish_gradient", types.boolean),
    "penalty_cost": Part("layers parameters", "updates:penalty_cost", types.float64),
    "signs": Part("strength start stop at parameters gradient", "updates:add_signs"),
}


def argument_types(arguments: str, T: types.Float) -> tuple[types.Type, ...]:
    """Return the type of each named argument for numbers of type T: an integer, unless its name is known here."""
    i, real = types.int64, types.float64
    vector, rows, integers, reals = (types.Array(kind, n, "C") for kind, n in ((T, 1), (T, 2), (i, 1), (real, 1)))
    data = [types.Array(T, n, "C", readonly=True) for n in (1, 2)]
    records = {"network": NETWORK, "layers": LAYER, "job": JOB, "progress": PROGRESS}
    known: dict[str, types.Type] = {
        **{name: types.Array(from_dtype(record), 1, "C") for name, record in records.items()},
        **dict.fromkeys(("parameters", "S", "gradient", "moments"), vector),
        **dict.fromkeys(("per_example", "decay", "strength"), real),
        "X": data[1],
        "order": integers,
        **dict.fromkeys(("outputs", "out", "scratch"), rows),
        "add": types.boolean,
        "share": types.UniTuple(i, 4),
        "examples": types.NamedTuple((data[1], integers, data[1], data[0], rows, integers), Examples),
        "vectors": types.NamedTuple((vector, vector, rows, vector, reals), Vectors),
        "epochs": types.NamedUniTuple(reals, 2, Epochs),
        "team": types.NamedTuple((integers, reals), Team),
    }
    return tuple(known.get(name, i) for name in arguments.split())


_made: dict[tuple[str, np.dtype, tuple[int, ...]], Function] = {}


def is_loaded(name: str, dtype: np.dtype, *code: int) -> bool:
    """Return whether nothing of a part need be compiled, or loaded, any more."""
    return (name, dtype, code) in _made


def part(name: str, dtype: np.dtype, *code: int) -> Function:
    """Compile, or load from the cache on disk, a part for one dtype and, if its maker takes one, a code; once."""
    found = _made.get((name, dtype, code))
    if found is not None:
        return found
    line = PARTS[name]
    module, attribute = line.made_by.split(":")
    function = getattr(import_module(f"fastnet.kernels.{module}"), attribute)
    if attribute.startswith("make_"):
        function = function(*code)
    T = types.float32 if dtype == np.float32 else types.float64
    label = "_".join((name, dtype.name, *map(str, code)))
    made = compiled(function, label, argument_types(line.arguments, T), from_python=name in ("train", "predict"))
    return _made.setdefault((name, dtype, code), made)


_without_jit: dict[int, Function] = {}
_numbers = count(1)
"""What an address stands for when the JIT is off: a number."""


@cache
def address_of(name: str, dtype: np.dtype, *code: int) -> int:
    """Return the address of a part."""
    made = part(name, dtype, *code)
    if JIT_DISABLED:
        number = next(_numbers)
        _without_jit[number] = made
        return number
    (overload_of_part,) = made.overloads.values()  # type: ignore[attr-defined]
    address: int = overload_of_part.library.get_pointer_to_function(overload_of_part.fndesc.llvm_func_name)
    return address


def _call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Generate the call: as numba calls its own functions, errors included."""
    address, *rest = arguments
    argument_types = signature.args[1:]
    for index, (given, argument_type) in enumerate(zip(rest, argument_types, strict=True)):
        if isinstance(argument_type, types.Array):
            array = context.make_array(argument_type)(context, builder, given)
            # Nothing counts references here: two words fewer of each array that a call has to pass.
            array.meminfo = Constant(array.meminfo.type, Undefined)
            array.parent = Constant(array.parent.type, Undefined)
            rest[index] = array._getvalue()
    kind = context.call_conv.get_function_type(signature.return_type, argument_types)
    function = builder.inttoptr(address, kind.as_pointer())
    status, result = context.call_conv.call_function(builder, function, signature.return_type, argument_types, rest)
    with builder.if_then(status.is_error, likely=False):
        context.call_conv.return_status_propagate(builder, status)
    return result


def caller(name: str) -> Function:
    """Make what calls a part, or any other of the same arguments: f(address, *arguments)."""
    line = PARTS[name]
    names = line.arguments.split()

    def call(*arguments: Any) -> Any:
        address, *rest = arguments
        return _without_jit[address](*rest)

    if JIT_DISABLED:
        return call

    def typed(typingctx: Any, *given: Any) -> Any:
        dtypes = [kind.dtype for kind, name in zip(given[1:], names, strict=True) if name in ("S", "parameters")]
        if not dtypes:
            raise TypeError(f"the part {line.made_by!r} needs S or parameters among its arguments, for their dtype")
        return line.returns(types.int64, *argument_types(line.arguments, dtypes[0])), _call

    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("typingctx", "address", *names)]
    typed.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    typed.__name__ = f"call_{name}"
    made: Function = intrinsic(typed)
    return made


def chosen_from(table: dict[int, Function]) -> Function:
    """Make `choose(code, ...)`: table[code](...), for a code that is known when it is compiled; no other is."""

    def choose(code: int, *arguments: Any) -> Any:
        return table[code](*arguments)

    def typed(code: Any, *arguments: Any) -> Function | None:
        if not isinstance(code, types.IntegerLiteral):
            return None
        function = table[code.literal_value]

        def call(code: Any, *arguments: Any) -> Any:
            return function(*arguments)

        return call

    if not JIT_DISABLED:
        overload(choose, jit_options=OPTIONS | {"forceinline": True}, prefer_literal=True)(typed)
    return choose


call_forward, call_backward, call_gradients, call_steps = map(caller, ("forward", "backward", "gradients", "steps"))
call_load, call_keep_outputs = caller("gather"), caller("keep_outputs")
call_product, call_input_gradient = caller("matmul_plus_bias"), caller("input_gradient")
call_weight_gradient, call_wide_gradient = caller("weight_gradient"), caller("wide_gradient")
call_bias_gradient = caller("bias_gradient")
call_activation, call_derivative, call_dropout = caller("activate"), caller("differentiate"), caller("drop")
call_loss, call_weighting = caller("loss"), caller("weigh")
call_update, call_penalty_cost, call_signs = caller("update"), caller("penalty_cost"), caller("signs")
