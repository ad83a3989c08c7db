"""Which parts a network consists of, and their addresses in its plan."""

from itertools import pairwise

import numpy as np

from fastnet.kernels.activations import (
    make_activation,
    make_activation_keeping_slope,
    make_derivative,
)
from fastnet.kernels.build.jit import Function
from fastnet.kernels.build.parts import NONE, address_of
from fastnet.kernels.codes import CATEGORICAL_CROSSENTROPY, COST, FROM_Z, GRADIENT, KEPT_SLOPE, LINEAR
from fastnet.kernels.dropout import make_dropout
from fastnet.kernels.gather import make_load_by_rows, make_load_squares, make_outputs
from fastnet.kernels.losses import make_loss, make_weighting
from fastnet.kernels.passes import make_backward_pass, make_forward_pass, make_gradients
from fastnet.kernels.penalties import make_penalty_cost, make_signs
from fastnet.kernels.plan import (
    ACTIVATE,
    BACKWARD,
    BY_ROWS,
    DIFFERENTIATE,
    DROP,
    DROPOUT,
    FORWARD,
    FROM_INPUT,
    GRADIENT_BY_ROWS,
    GRADIENT_OF_FEW,
    GRADIENTS,
    KEPT,
    LOAD,
    LOSS,
    OUTPUTS,
    PENALTIES,
    SIGNS,
    STEPS,
    SWEPT,
    TERM_ROWS,
    UNITS,
    WEIGH,
    A,
    has_few_inputs,
)
from fastnet.kernels.products import make_gradient_of_few
from fastnet.kernels.steps import make_steps
from fastnet.kernels.sweep import make_sum_of_slabs, make_sweep
from fastnet.kernels.updates import make_update
from fastnet.kernels.wide_input import make_forward_by_rows, make_gradient_by_rows


def link_activations(plan: np.ndarray, activations: tuple[int, ...], dtype: np.dtype) -> None:
    """Write the addresses of the way forward and of the activations, one code a layer, to a plan."""
    plan[0, FORWARD] = address_of(make_forward_pass, dtype)
    if plan[0, BY_ROWS]:
        plan[0, LOAD] = address_of(make_load_by_rows, dtype)
        plan[0, FROM_INPUT] = address_of(make_forward_by_rows, dtype)
    for row, code in zip(plan[1:], activations, strict=True):
        row[ACTIVATE] = NONE if code == LINEAR else address_of(make_activation, dtype, code)


def passes(*, steps: bool, swept: bool) -> dict[int, Function]:
    """Return what makes the passes of training, which take long to compile, by the columns of a plan.

    With `steps`, gradients with a step are among them. Where the input is swept, the sweep takes their place.
    """
    made: dict[int, Function] = {FORWARD: make_forward_pass, BACKWARD: make_backward_pass}
    if not swept:
        made[GRADIENTS] = make_gradients
    if steps:
        made[STEPS] = make_steps
    return made


def link_passes(plan: np.ndarray, mode: int, dtype: np.dtype, *, steps: bool) -> None:
    """Write the addresses of the passes to a plan, and of what inputs need that are few, kept by rows or swept."""
    swept = bool(plan[0, SWEPT])
    wanted = passes(steps=steps, swept=swept)
    if plan[0, BY_ROWS]:
        wanted |= {LOAD: make_load_by_rows, FROM_INPUT: make_forward_by_rows, GRADIENT_BY_ROWS: make_gradient_by_rows}
    if swept:
        wanted |= {LOAD: make_load_squares, FROM_INPUT: make_sum_of_slabs}
        plan[0, STEPS] = address_of(make_sweep, dtype, mode)
    if any(has_few_inputs(*units) for units in pairwise(plan[:, UNITS])):
        wanted[GRADIENT_OF_FEW] = make_gradient_of_few
    for column, factory in wanted.items():
        plan[0, column] = address_of(factory, dtype)


def link_training(
    plan: np.ndarray, activations: tuple[int, ...], loss: int, dtype: np.dtype,
    *, weighted: bool, penalised: bool, with_l1: bool, with_outputs: bool,
) -> None:  # fmt: skip
    """Write the addresses of activations, derivatives, dropout and loss to a plan; and of what is wanted.

    That is what multiplies by the weights of examples, the cost of penalties, what L1 adds, and what keeps the outputs.
    """
    first = plan[0]
    first[PENALTIES] = address_of(make_penalty_cost, dtype) if penalised else NONE
    first[SIGNS] = address_of(make_signs, dtype) if with_l1 else NONE
    first[OUTPUTS] = address_of(make_outputs, dtype) if with_outputs else NONE
    output = plan[-1]
    output[LOSS] = address_of(make_loss, dtype, loss)
    output[WEIGH] = address_of(make_weighting, dtype) if weighted else NONE
    output[TERM_ROWS] = 1 if loss == CATEGORICAL_CROSSENTROPY else output[UNITS]
    layers = list(zip(plan[1:], activations, strict=True))
    for row, code in layers[:-1] if loss in FROM_Z else layers:
        if row[KEPT] != row[A]:
            row[ACTIVATE] = address_of(make_activation_keeping_slope, dtype, code)
            row[DIFFERENTIATE] = address_of(make_derivative, dtype, KEPT_SLOPE)
            row[DROP] = address_of(make_dropout, dtype) if row[DROPOUT] else NONE  # a rate of 0.0 has no bits set
        elif code != LINEAR:
            row[ACTIVATE] = address_of(make_activation, dtype, code)
            row[DIFFERENTIATE] = address_of(make_derivative, dtype, code)


def update_addresses(mode: int, clipped: bool, swept: bool, dtype: np.dtype) -> tuple[int, int]:
    """Return the addresses of the update that a mode of `train` names, and of what finishes the gradient before it.

    A sweep has its update within.
    """
    finish = address_of(make_update, dtype, GRADIENT) if clipped else NONE
    return NONE if mode == COST or swept else address_of(make_update, dtype, mode), finish
