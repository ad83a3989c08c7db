"""Parts: the passes, activations, losses, updates and more, each compiled and cached on its own, called by its address.

So a network compiles those that it needs and no others, once, whatever it combines them with; and training and
prediction share them. An address stands in the plan or among the arguments of an entry point; it holds for one process,
and so for no file.
"""

from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from fastnet.kernels.build.jit import JIT_DISABLED, OPTIONS, Function, compiled_part

NONE = 0
"""The address of nothing, for which the caller has to look."""

_without_jit: dict[int, Function] = {}
_numbers = count(1)
"""What an address stands for when the JIT is off: a number."""


@cache
def address_of(factory: Callable[..., Function], dtype: np.dtype, *code: int) -> int:
    """Compile, or load, the part `factory(source_digest(), *code)`, and return its address."""
    part = compiled_part(factory, dtype, *code)
    if JIT_DISABLED:
        number = next(_numbers)
        _without_jit[number] = part
        return number
    (compiled,) = part.overloads.values()  # type: ignore[attr-defined]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address


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


def _call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Generate the call: as numba calls its own functions, errors included."""
    address, *rest = arguments
    argument_types = signature.args[1:]
    kind = context.call_conv.get_function_type(signature.return_type, argument_types)
    part = builder.inttoptr(address, kind.as_pointer())
    status, result = context.call_conv.call_function(builder, part, signature.return_type, argument_types, rest)
    with builder.if_then(status.is_error, likely=False):
        context.call_conv.return_status_propagate(builder, status)
    return result


def _by_address(implementation: Function) -> Function:
    if not JIT_DISABLED:
        made: Function = intrinsic(implementation)
        return made

    def twin(address: int, *arguments: Any) -> Any:
        return _without_jit[address](*arguments)

    return twin


i = types.int64


def forward_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of the way forward: plan, first, last, m, parameters, S, key, example."""
    vector = types.Array(T, 1, "C")
    return types.Array(i, 2, "C"), i, i, i, vector, vector, i, i


def backward_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of the way back: plan, first, last, parameters, S, head."""
    vector = types.Array(T, 1, "C")
    return types.Array(i, 2, "C"), i, i, vector, vector, i


def gradients_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of the gradients: plan, first, last, member, members, S, head, gradient, add, stage."""
    vector, yes = types.Array(T, 1, "C"), types.boolean
    return types.Array(i, 2, "C"), i, i, i, i, vector, i, vector, yes, i


def steps_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of gradients with a step: plan, m, member, members, S, head, stage, update, and so on.

    That is, per_example, penalty, penalties, settings, power1, power2, parameters, gradient, moments.
    """
    real, vector, numbers = types.float64, types.Array(T, 1, "C"), types.Array(types.float64, 1, "C")
    step = i, real, real, types.Array(real, 2, "C"), numbers, real, real, vector, vector, vector
    return types.Array(i, 2, "C"), i, i, i, vector, i, i, *step


def load_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of what loads an input by rows, or swept: plan, X, order, chunk, first, last, S."""
    X, order = types.Array(T, 2, "C", readonly=True), types.Array(i, 1, "C")
    return types.Array(i, 2, "C"), X, order, i, i, i, types.Array(T, 1, "C")


def from_input_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of the way from an input by rows, or swept: n to last, parameters, w, b, S to ld."""
    vector = types.Array(T, 1, "C")
    return i, i, i, i, vector, i, i, vector, i, i, i, i, i


def gradient_by_rows_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of the weights' gradient there: n, columns and examples, S, dz to dw."""
    return i, i, i, i, i, types.Array(T, 1, "C"), i, i, i, i, i, i


def gradient_of_few_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of the gradient behind few inputs: first_row to m, S to head, gradient to add."""
    vector = types.Array(T, 1, "C")
    return i, i, i, i, vector, i, i, i, i, i, i, vector, i, types.boolean


def activation_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of an activation: n, columns, S, z, kept, ld, setting."""
    return i, i, types.Array(T, 1, "C"), i, i, i, types.float64


def derivative_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of a derivative: n, columns, S, kept, dz, ld, setting, parameters, w, dz_next."""
    vector = types.Array(T, 1, "C")
    return i, i, vector, i, i, i, types.float64, vector, i, i


def dropout_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of dropout: n, columns, S, a, slopes, ld, rate, key, layer, example."""
    return i, i, types.Array(T, 1, "C"), i, i, i, types.float64, i, i, i


def loss_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of a loss: n, columns, S, z, y, dz, terms, ld, settings."""
    return i, i, types.Array(T, 1, "C"), i, i, i, i, i, types.Array(types.float64, 1, "C")


def weighting_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of a weighting: n, term_rows, columns, S, dz, terms, weights, ld."""
    return i, i, i, types.Array(T, 1, "C"), i, i, i, i


def update_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of an update: per_example, decay, settings, 2 powers, start, stop, at, vectors."""
    real, vector = types.float64, types.Array(T, 1, "C")
    return real, real, types.Array(real, 1, "C"), real, real, i, i, i, vector, vector, vector


def penalty_cost_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of the cost of penalties: plan, penalties, parameters."""
    return types.Array(i, 2, "C"), types.Array(types.float64, 2, "C"), types.Array(T, 1, "C")


def signs_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of what L1 adds: strength, start, stop, at, parameters, gradient."""
    return types.float64, i, i, i, types.Array(T, 1, "C"), types.Array(T, 1, "C")


def outputs_signature(T: types.Float) -> tuple[types.Type, ...]:
    """Return the argument types of what keeps outputs: plan, chunk, first, last, S, outputs."""
    return types.Array(i, 2, "C"), i, i, i, types.Array(T, 1, "C"), types.Array(T, 2, "C")


@_by_address
def call_forward(  # type: ignore[no-untyped-def]
    typingctx, address, plan, first, last, m, parameters, S, key, example
):
    """Call the way forward."""
    return types.void(i, *forward_signature(S.dtype)), _call


@_by_address
def call_backward(typingctx, address, plan, first, last, parameters, S, head):  # type: ignore[no-untyped-def]
    """Call the way back."""
    return types.void(i, *backward_signature(S.dtype)), _call


@_by_address
def call_gradients(  # type: ignore[no-untyped-def]
    typingctx, address, plan, first, last, member, members, S, head, gradient, add, stage
):
    """Call the gradients of a chunk."""
    return types.void(i, *gradients_signature(S.dtype)), _call


@_by_address
def call_steps(  # type: ignore[no-untyped-def]
    typingctx, address, plan, m, member, members, S, head, stage, update, per_example, penalty, penalties, settings,
    power1, power2, parameters, gradient, moments,
):  # fmt: skip
    """Call the gradients with a step; return whether all stayed finite."""
    return types.boolean(i, *steps_signature(S.dtype)), _call


@_by_address
def call_load(typingctx, address, plan, X, order, chunk, first, last, S):  # type: ignore[no-untyped-def]
    """Call what loads an input that is kept by rows or swept."""
    return types.void(i, *load_signature(S.dtype)), _call


@_by_address
def call_from_input(  # type: ignore[no-untyped-def]
    typingctx, address, n, n_prev, first, last, parameters, w, b, S, a_prev, lda, z, block, ld
):
    """Call the way forward from an input that is kept by rows or swept."""
    return types.void(i, *from_input_signature(S.dtype)), _call


@_by_address
def call_gradient_by_rows(  # type: ignore[no-untyped-def]
    typingctx, address, n, first_column, last_column, first, last, S, dz, block, ld, a_prev, ldw, dw
):
    """Call the gradient of the weights behind an input that is kept by rows."""
    return types.void(i, *gradient_by_rows_signature(S.dtype)), _call


@_by_address
def call_gradient_of_few(  # type: ignore[no-untyped-def]
    typingctx, address, first_row, last_row, n_prev, m, S, dz, block, ld, a_prev, block_prev, head, gradient, w, add
):
    """Call the gradient of the weights behind few inputs."""
    return types.void(i, *gradient_of_few_signature(S.dtype)), _call


@_by_address
def call_activation(typingctx, address, n, columns, S, z, kept, ld, setting):  # type: ignore[no-untyped-def]
    """Call an activation."""
    return types.void(i, *activation_signature(S.dtype)), _call


@_by_address
def call_derivative(  # type: ignore[no-untyped-def]
    typingctx, address, n, columns, S, kept, dz, ld, setting, parameters, w, dz_next
):
    """Call the derivative of an activation."""
    return types.void(i, *derivative_signature(S.dtype)), _call


@_by_address
def call_dropout(  # type: ignore[no-untyped-def]
    typingctx, address, n, columns, S, a, slopes, ld, rate, key, layer, example
):
    """Call dropout."""
    return types.void(i, *dropout_signature(S.dtype)), _call


@_by_address
def call_loss(typingctx, address, n, columns, S, z, y, dz, terms, ld, settings):  # type: ignore[no-untyped-def]
    """Call a loss."""
    return types.void(i, *loss_signature(S.dtype)), _call


@_by_address
def call_weighting(typingctx, address, n, term_rows, columns, S, dz, terms, weights, ld):  # type: ignore[no-untyped-def]
    """Call what multiplies by the weights of examples."""
    return types.void(i, *weighting_signature(S.dtype)), _call


@_by_address
def call_update(  # type: ignore[no-untyped-def]
    typingctx, address, per_example, decay, settings, power1, power2, start, stop, at, parameters, gradient, moments
):
    """Call an update; return whether all stayed finite."""
    return types.boolean(i, *update_signature(parameters.dtype)), _call


@_by_address
def call_penalty_cost(typingctx, address, plan, penalties, parameters):  # type: ignore[no-untyped-def]
    """Call the cost of penalties; return it."""
    return types.float64(i, *penalty_cost_signature(parameters.dtype)), _call


@_by_address
def call_signs(typingctx, address, strength, start, stop, at, parameters, gradient):  # type: ignore[no-untyped-def]
    """Call what L1 adds to the gradient."""
    return types.void(i, *signs_signature(parameters.dtype)), _call


@_by_address
def call_outputs(typingctx, address, plan, chunk, first, last, S, outputs):  # type: ignore[no-untyped-def]
    """Call what keeps outputs."""
    return types.void(i, *outputs_signature(S.dtype)), _call
