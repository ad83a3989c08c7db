"""A network as a C99 file of its own: the templates in `c/`, filled in; the kernels' mathematics, line by line.

`c/program.c` is the file; `c/functions.c` has the functions it may need, each after a line `//// name: what it needs`;
`c/float32.c` and `c/float64.c`, what differs between the two. Coefficients come from `kernels/constants.py`.
"""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.exchange.layers import AnyModel, Layer, layers_of, scales_in
from fastnet.files.durable import write_whole
from fastnet.kernels import codes
from fastnet.kernels.constants import NUMBERS, POLYNOMIALS
from fastnet.kernels.plan import WIDE, strategies
from fastnet.scaling import Scales

C_TYPES = {"float32": "float", "float64": "double"}

ACTIVATIONS: dict[int, tuple[str, str]] = {
    codes.LINEAR: ("linear", ""),
    codes.SIGMOID: ("sigmoid", "sigmoid"),
    codes.TANH: ("tanh", "tanh_of"),
    codes.RELU: ("relu", "relu"),
    codes.LEAKY_RELU: ("leaky_relu", "leaky_relu"),
    codes.SOFTMAX: ("softmax", "softmax"),
    codes.EXPONENTIAL: ("exp", "exp_of"),
    codes.ELU: ("elu", "elu"),
    codes.SELU: ("selu", "selu"),
    codes.SOFTPLUS: ("softplus", "softplus"),
    codes.GELU: ("gelu", "gelu"),
    codes.SILU: ("silu", "silu"),
    codes.MISH: ("mish", "mish"),
}
"""By code: how an activation is called in the comments, and the C function."""

MEANINGS = {
    codes.SIGMOID: "the probability of class 1, for each output",
    codes.SOFTMAX: "the probability of each class",
}
MEANING = "the predicted values"
"""What the head of the file says of A_L, by the code of the last activation; and of those of all others."""

NUMBERS_A_LINE = 6


def write_c(model: AnyModel, path: str | os.PathLike[str], prefix: str) -> None:
    """Write a model as a C file; see `Model.to_c`."""
    if not isinstance(prefix, str) or not re.fullmatch(r"(?:[A-Za-z_][A-Za-z_0-9]*)?", prefix):
        raise ValueError(f"prefix must be what a name in C can begin with, such as 'tumour_', not {prefix!r}.")
    file = os.path.basename(os.fsdecode(path))
    text = source(layers_of(model), scales_in(model), checks.float_dtype(model.dtype), prefix, file)
    write_whole(path, [text.encode(errors="surrogateescape")])  # the path may hold bytes that are no text


def source(
    layers: Sequence[Layer], scales: tuple[Scales | None, Scales | None], dtype: np.dtype, prefix: str, file: str
) -> str:  # fmt: skip
    """Return the C file of a network; `scales` are those of X and y."""
    X_scales, y_scales = scales
    units = [layers[0].W.shape[1], *(len(layer.W) for layer in layers)]
    shown, parameters, used, steps = [str(units[0])], [], [], []
    if X_scales is not None:
        parameters += _scales("X", X_scales, units[0])
        steps.append(f"for (size_t i = 0; i < {units[0]}; i++) A0[i] = (real)((X[i] - X_mean[i]) / X_spread[i]);")
    for l, (layer, way) in enumerate(zip(layers, strategies(units), strict=True), start=1):
        n, n_prev = layer.W.shape
        A_prev = "X" if l == 1 and X_scales is None else f"A{l - 1}"
        A = "out" if l == len(layers) else f"A{l}"
        activation, function = ACTIVATIONS[layer.code]
        shown.append(f"{n} {activation}")
        if way is WIDE:
            product, W, comment = "wide", layer.W, f"W{l} ({n}, {n_prev})"
        else:
            product, W, comment = "dense", layer.W.T, f"W{l} transposed, ({n_prev}, {n})"
        parameters.append(_array(f"W{l}", W, f"Layer {l}: {comment}."))
        if layer.b is not None:
            parameters.append(_array(f"b{l}", layer.b[np.newaxis], f"Layer {l}: b{l} ({n},)."))
        used += [product, function]
        steps.append(f"{product}({n_prev}, {n}, W{l}, {'NULL' if layer.b is None else f'b{l}'}, {A_prev}, {A});")
        if layer.code == codes.SOFTMAX:
            steps.append(f"softmax({n}, {A});")
        elif function:
            slope = f", {_literal(dtype.type(layer.setting))}" if layer.code == codes.LEAKY_RELU else ""
            steps.append(f"for (size_t i = 0; i < {n}; i++) {A}[i] = {function}({A}[i]{slope});")
    if y_scales is not None:
        parameters += _scales("y", y_scales, units[-1])
        steps.append(f"for (size_t i = 0; i < {units[-1]}; i++) out[i] = (real)(out[i] * y_spread[i] + y_mean[i]);")
    first = 1 if X_scales is None else 0
    hidden = ", ".join(f"A{l}[{n}]" for l, n in enumerate(units[first:-1], start=first))
    return Template(_template("program.c")).substitute(
        summary=f"A network in {dtype}: {' - '.join(shown)}.",
        file=shlex.quote(file),
        real=C_TYPES[dtype.name],
        prefix=prefix,
        PREFIX=prefix.upper(),
        n_features=units[0],
        n_outputs=units[-1],
        meaning=MEANINGS.get(layers[-1].code, MEANING),
        stack=sum(units[first:-1]) * dtype.itemsize + 256,
        type=_template(f"{dtype}.c").strip(),
        functions=_functions(filter(None, used), dtype),
        parameters="\n\n".join(parameters),
        buffers=f"\n    real {hidden};" if hidden else "",
        layers="\n".join(f"        {step}" for step in steps),
    )


def _template(name: str) -> str:
    return (files("fastnet.exchange") / "c" / name).read_text(encoding="utf-8")


def _functions(names: Iterable[str], dtype: np.dtype) -> str:
    """Return the C functions of these names and what they need, each after all that it calls."""
    found = re.findall(r"^//// (\w+):(.*)\n((?:(?!////).*\n)*)", _template("functions.c"), re.MULTILINE)
    sections = {name: (needs.split(), text.strip()) for name, needs, text in found}
    sections |= {name: ([], _polynomial(name, dtype)) for name in POLYNOMIALS}
    ordered: dict[str, str] = {}

    def add(name: str) -> None:
        needs, text = sections[name]
        for needed in needs:
            add(needed)
        ordered.setdefault(name, text)

    for name in names:
        add(name)
    text = "\n\n".join(ordered.values())
    defined = [
        f"#define {name.upper()} {_literal(dtype.type(_in_dtype(pair, dtype)))}"
        for name, pair in NUMBERS.items()
        if re.search(rf"\b{name.upper()}\b", text)
    ]
    return "\n".join([*defined, "", text] if defined else [text])


def _polynomial(name: str, dtype: np.dtype) -> str:
    """Return the C function of a polynomial, by Horner's scheme."""
    first, *rest = (_literal(dtype.type(c)) for c in _in_dtype(POLYNOMIALS[name], dtype))
    steps = "".join(f"    p = FMA(p, x, {c});\n" for c in rest)
    return f"static real {name}(real x)\n{{\n    real p = {first};\n{steps}    return p;\n}}"


def _in_dtype(pair: tuple[Any, Any], dtype: np.dtype) -> Any:
    return pair[dtype == np.float64]


def _scales(name: str, scales: Scales, n: int) -> list[str]:
    """Return mean and spread of n columns as arrays in C."""
    of_columns = ((each, np.broadcast_to(values, (1, n))) for each, values in scales._asdict().items())
    return [_array(f"{name}_{each}", values, f"The {each} of {name} ({n},).", "double") for each, values in of_columns]


def _array(name: str, rows: np.ndarray, comment: str, kind: str = "real") -> str:
    """Return a matrix, row by row, as an array in C."""
    lines = []
    for row in rows:
        literals = list(map(_literal, row))
        lines += [", ".join(literals[i : i + NUMBERS_A_LINE]) for i in range(0, len(literals), NUMBERS_A_LINE)]
    body = ",\n    ".join(lines)
    return f"/* {comment} */\nstatic const {kind} {name}[{rows.size}] = {{\n    {body}\n}};"


def _literal(number: np.floating) -> str:
    """Return a number as C99 writes it in hexadecimal: exactly, with an f if it is a float."""
    digits, exponent = float(number).hex().split("p")
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}{'f' * (number.dtype == np.float32)}"
