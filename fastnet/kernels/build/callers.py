"""Parts as numba sees them: the types of their arguments, how they are compiled, and what calls one from another."""

from inspect import Parameter, Signature
from typing import Any

import numba
import numpy as np
from llvmlite.ir import Constant, Undefined
from numba import from_dtype, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload

from fastnet.kernels.build.jit import OPTIONS, Function, object_code
from fastnet.kernels.build.parts import PARTS, WITHOUT_JIT, function_of
from fastnet.kernels.build.store import Code
from fastnet.kernels.build.target import JIT_DISABLED
from fastnet.kernels.plan import JOB, LAYER, NETWORK, PROGRESS, Epochs, Examples, Team, Vectors

FACTORED = ("factored", "factored_gradient", "factored_moments")
RETURNS = {"nothing": types.void, "boolean": types.boolean, "float64": types.float64}


def compiled(name: str, dtype: np.dtype, *code: int) -> Code:
    """Compile a part for one dtype, for this machine, as numba is set."""
    kinds = argument_types(PARTS[name].arguments, from_dtype(dtype))
    passed = cpu_target.target_context.call_conv.get_function_type(RETURNS[PARTS[name].returns], kinds).args
    if len(passed) != 2 + sum(map(words, kinds)):
        raise ImportError(
            f"fastnet does not know how numba {numba.__version__} passes arrays. Install another version."
        )
    return object_code(function_of(name, *code), kinds)


def words(kind: types.Type) -> int:
    """Return how many words `machine.words_of` yields for an argument of that type."""
    if isinstance(kind, types.BaseTuple):
        return sum(map(words, kind))
    return 5 + 2 * kind.ndim if isinstance(kind, types.Array) else 1


def argument_types(arguments: str, T: types.Float) -> tuple[types.Type, ...]:
    """Return the type of each named argument for numbers of type T: an integer, unless its name is known here."""
    i, real = types.int64, types.float64
    vector, matrix, integers, reals = (types.Array(kind, n, "C") for kind, n in ((T, 1), (T, 2), (i, 1), (real, 1)))
    data = [types.Array(T, n, "C", readonly=True) for n in (1, 2)]
    records = {"network": NETWORK, "layers": LAYER, "job": JOB, "progress": PROGRESS}
    known: dict[str, types.Type] = {
        **{name: types.Array(from_dtype(record), 1, "C") for name, record in records.items()},
        **dict.fromkeys(("parameters", "S", "gradient", "moments", *FACTORED), vector),
        **dict.fromkeys(("rate", "per_example", "decay", "penalty", "strength"), real),
        "X": data[1],
        **dict.fromkeys(("order", "sources"), integers),
        **dict.fromkeys(("medians", "units"), reals),
        **dict.fromkeys(("outputs", "scratch"), matrix),
        "add": types.boolean,
        "share": types.UniTuple(i, 4),
        "examples": types.NamedTuple((data[1], integers, data[1], data[0], matrix, integers, integers), Examples),
        "vectors": types.NamedTuple((vector, vector, matrix, vector, reals, vector, vector, vector), Vectors),
        "epochs": types.NamedUniTuple(reals, 2, Epochs),
        "team": types.NamedTuple((integers, reals), Team),
    }
    return tuple(known.get(name, i) for name in arguments.split())


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
        return WITHOUT_JIT[address](*rest)

    if JIT_DISABLED:
        return call

    def typed(typingctx: Any, *given: Any) -> Any:
        dtypes = [kind.dtype for kind, name in zip(given[1:], names, strict=True) if name in ("S", "parameters")]
        if not dtypes:
            raise TypeError(f"the part {line.made_by!r} needs S or parameters among its arguments, for their dtype")
        return RETURNS[line.returns](types.int64, *argument_types(line.arguments, dtypes[0])), _call

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
call_load, call_encode, call_keep_outputs = caller("gather"), caller("encode"), caller("keep_outputs")
call_product, call_input_gradient = caller("matmul_plus_bias"), caller("input_gradient")
call_weight_gradient, call_wide_gradient = caller("weight_gradient"), caller("wide_gradient")
call_bias_gradient = caller("bias_gradient")
call_activation, call_derivative, call_dropout = caller("activate"), caller("differentiate"), caller("drop")
call_smoothing, call_loss, call_weighting = caller("smooth"), caller("loss"), caller("weigh")
call_update, call_penalty_cost, call_signs = caller("update"), caller("penalty_cost"), caller("signs")
call_factored_step = caller("factored_step")
