"""Every check of what a user passes, and every message about it, before any kernel runs.

The kernels take one kind of array: native floats of the model's dtype, C-contiguous, aligned and marked read-only.
`examples` and `targets` make that of whatever came, without a copy where it already is one.
"""

import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from fastnet import words
from fastnet.errors import is_of_a_handler

FLOAT_DTYPES = ("float32", "float64")
TEXT = (
    "text",
    "encode it as numbers first: digits by .astype(float), labels by np.unique(y, return_inverse=True)[1], other "
    "categories by a column of 0 and 1 for each",
)
REFUSED_KINDS = {
    "c": ("complex", "pass real numbers, such as X.real and X.imag side by side"),
    "M": ("dates", "pass numbers, such as days since a first date"),
    "m": ("time differences", "pass numbers, such as seconds"),
    "U": TEXT,
    "S": TEXT,
    "T": TEXT,
    "V": ("records", "pass a plain 2-D array of numbers"),
}
NO_REAL_NUMBERS: dict[type, str] = {
    str: "U", bytes: "S", np.datetime64: "M", np.timedelta64: "m", complex: "c", np.complexfloating: "c", np.void: "V",
}  # fmt: skip
"""Types of objects, of some of which NumPy would make numbers, and the kinds of their arrays."""

MOST_SEEDS = 1000
"""In a sequence of them, of which NumPy takes 200 bytes for each."""


# --------------------------------------------------------------------------------------------------------- settings


class FixedSettings(metaclass=words.Helpful):
    """Refuses to change the attributes named in `fixed` once they are set: nothing would heed the change."""

    fixed: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        self._refuse_if_fixed(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._refuse_if_fixed(name)
        super().__delattr__(name)

    def _refuse_if_fixed(self, name: str) -> None:
        if name in self.fixed and name in self.__dict__:
            kind = type(self).__name__
            article = "an" if kind[0] in "AEIOU" else "a"
            raise AttributeError(
                f"{name} of {article} {kind} is fixed when it is made. Make a new {kind} with the other value."
            )


Checks = Mapping[str, Callable[[Any, str], Any]]
"""Settings by name, and what makes of a value, and its name, what is kept; or raises."""


class CheckedSettings(metaclass=words.Helpful):
    """A base of frozen dataclasses: each setting named in `checked` is what the function there makes of it."""

    checked: ClassVar[Checks] = {}

    def __post_init__(self) -> None:
        for name, check in self.checked.items():
            if hasattr(self, name):
                object.__setattr__(self, name, check(getattr(self, name), name))


def float_dtype(dtype: Any) -> np.dtype:
    """Return float32 or float64 as a NumPy dtype; ValueError for anything else."""
    try:
        is_value = isinstance(dtype, np.generic) and not isinstance(dtype, np.str_)
        found: np.dtype | None = None if dtype is None or is_value else np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in FLOAT_DTYPES or not found.isnative:
        raise ValueError(f"dtype must be 'float32' or 'float64', not {dtype!r}.")
    return found


def positive_integer(value: Any, name: str) -> int:
    """Return `value` as an int of at least 1; TypeError for anything but an integer, ValueError below 1."""
    return integer_from(1, value, name)


def non_negative_integer(value: Any, name: str) -> int:
    """Return `value` as an int of at least 0; TypeError for anything but an integer, ValueError below 0."""
    return integer_from(0, value, name)


def integer_from(least: int, value: Any, name: str) -> int:
    """Return `value` as an int of at least `least`, that 64 bits can hold; TypeError or ValueError otherwise."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer of at least {least}, not {value!r}.")
    if abs(number) >= 2**63:
        raise ValueError(f"{name} must be an integer of at least {least} and less than 2**63.")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}.")
    return number


def path(value: Any, name: str) -> str:
    """Return `value`, a text or an os.PathLike, as the name of a file; TypeError or ValueError if it is none."""
    try:
        found = os.fsdecode(value)
    except TypeError:
        raise TypeError(f"{name} must be a text or an os.PathLike, such as 'model.fastnet', not {value!r}.") from None
    if not found:
        raise ValueError(f"{name} must not be empty. Pass '.' for the working directory.")
    return found


def flag(value: Any, name: str) -> bool:
    """Return `value` as a bool; TypeError unless it is True or False, of Python or of NumPy."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {value!r}.")
    return bool(value)


def real_number(value: Any, name: str, requirement: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return `value` as a finite float of at least `low` and less than `high`; the errors state the requirement."""
    refused = isinstance(value, (bool, np.bool_, str, bytes, np.void, np.complexfloating))
    if isinstance(value, np.ndarray):  # of no dimensions, and no mask: the number that it holds
        refused = type(value) is not np.ndarray or value.ndim > 0 or value.dtype.kind not in "iuf"
    if refused or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be {requirement}, not {value!r}.")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be {requirement}, and in the range of float64.") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be {requirement}, not {value!r}.") from None
    if not math.isfinite(number) or not low <= number < high:
        raise ValueError(f"{name} must be {requirement}, not {value!r}.")
    return number


def positive_number(value: Any, name: str) -> float:
    """Return `value` as a float greater than zero; TypeError or ValueError otherwise."""
    return real_number(value, name, "a finite number greater than 0", low=math.ulp(0.0))


def non_negative_number(value: Any, name: str) -> float:
    """Return `value` as a float of at least zero; TypeError or ValueError otherwise."""
    return real_number(value, name, "a finite number of at least 0", low=0)


def quantiles(value: Any, name: str) -> float | tuple[float, ...]:
    """Return a quantile's q as a float, or several as a tuple; TypeError or ValueError unless they increase in (0, 1).

    Not so near to 0 or 1 that float32 could not tell them.
    """
    requirement, low = "a number between 0 and 1, at least 1e-7 from both", 1e-7
    if not isinstance(value, (list, tuple)) and np.ndim(value) == 0:
        return real_number(value, name, f"{requirement}, or a sequence of such", low, 1 - low)
    numbers = tuple(real_number(each, f"{name}[{i}]", requirement, low, 1 - low) for i, each in enumerate(value))
    if not numbers or any(after <= before for before, after in pairwise(numbers)):
        raise ValueError(f"{name} must hold increasing numbers, and at least one, not {value!r}.")
    return numbers


def number_below_one(value: Any, name: str) -> float:
    """Return `value` as a float of at least zero and less than one; TypeError or ValueError otherwise."""
    return real_number(value, name, "a number of at least 0 and less than 1", low=0, high=1)


def seed(value: Any) -> Any:
    """Return what a generator can be made of; TypeError or ValueError for anything else."""
    try:
        if isinstance(value, (bool, np.bool_)) or np.size(value) > MOST_SEEDS:
            raise TypeError
        np.random.default_rng(value)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"seed must be a non-negative integer, a numpy.random.Generator or None, not {value!r}."
        ) from None
    return value


def in_range_of(dtype: np.dtype, value: float, name: str) -> None:
    """Raise ValueError if a number other than zero is infinite in `dtype`, or zero, as kernels take subnormals."""
    with np.errstate(all="ignore"):
        rounded = dtype.type(value)
    is_subnormal = 0 < abs(rounded) < np.finfo(dtype).tiny
    if not np.isfinite(rounded) or (rounded == 0 and value != 0) or is_subnormal:
        there = "subnormal" if is_subnormal else rounded
        raise ValueError(f"{name} must be in the range of {dtype}, but {value!r} is {there} there.")


def label_smoothing(value: Any, loss: str) -> float:
    """Return how much labels are smoothed as a float; TypeError or ValueError if it is no share, or the loss no fit."""
    share = number_below_one(value, "label_smoothing")
    if share and loss not in ("binary_crossentropy", "categorical_crossentropy"):
        raise ValueError(
            "label_smoothing is for the losses 'binary_crossentropy' and 'categorical_crossentropy', but the model has "
            f"{loss!r}. Leave it out."
        )
    return share


def output_number(value: Any, n_outputs: int) -> int:
    """Return the number of an output, from 0, as an int; TypeError or ValueError if there is none of that number."""
    number = integer_from(0, value, "output")
    if number >= n_outputs:
        raise ValueError(f"output must be from 0 to {n_outputs - 1}, as the last layer has them, not {number}.")
    return number


# ------------------------------------------------------------------------------------------------------------- data


def examples(X: Any, dtype: np.dtype, n_features: int | None = None, *, may_be_none: bool = False) -> np.ndarray:
    """Return X (m, n_x) as the kernels take it; of `n_features`, if it is known how many the first layer takes.

    TypeError if X is sparse, or its values are not real numbers; ValueError if it has the wrong shape, is empty, unless
    there `may_be_none`, or masked, or holds a value that is not finite in `dtype`.
    """
    return in_dtype(example_array(X, n_features, may_be_none=may_be_none), dtype, "X", IMPUTE)


IMPUTE = "Impute or drop those rows."


def example_array(X: Any, n_features: int | None = None, *, may_be_none: bool = False) -> np.ndarray:
    """Return X (m, n_x) as an array of real numbers, the values of which are not looked at; errors as `examples`."""
    array = real_array(X, "X")
    two_dimensional(array)
    if array.size == 0 and not (may_be_none and array.shape[1] > 0):
        raise ValueError(f"X must hold at least one example of at least one feature, but has shape {array.shape}.")
    if n_features is not None:
        width(array.shape, n_features)
    return array


def two_dimensional(array: np.ndarray) -> None:
    """Raise ValueError unless X has two dimensions."""
    if array.ndim != 2:
        remedy = (
            f" Reshape your data: for one example of {array.size} features pass X.reshape(1, -1), for {array.size} "
            "examples of one feature X.reshape(-1, 1)."
        )
        remedy = remedy if array.ndim == 1 and array.size else ""
        raise ValueError(f"X must have 2 dimensions (m, n_x), examples in rows, but has shape {array.shape}.{remedy}")


def column_names(X: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a data frame, if all are texts; None for anything else."""
    if not hasattr(X, "shape"):
        return None
    is_of_pyarrow = hasattr(X, "num_columns") and not hasattr(X, "iloc")
    names = X.column_names if is_of_pyarrow else getattr(X, "columns", None)
    if names is None:
        return None
    names = tuple(names)
    return names if all(isinstance(name, str) for name in names) else None


def columns(X: Any, names: tuple[str, ...] | None) -> None:
    """Raise ValueError if X is a data frame whose columns are others than those of some names, or in another order."""
    same_columns(None if names is None else column_names(X), names, "model.feature_names")


def same_columns(found: tuple[str, ...] | None, names: tuple[str, ...] | None, attribute: str) -> None:
    """Raise ValueError if X has other names than the first fit, which an attribute keeps; if both have some."""
    if names is None or found is None or found == names:
        return
    if sorted(found) == sorted(names):
        raise ValueError(f"X has its columns in another order than the first fit. Pass X[list({attribute})].")
    missing = [name for name in names if name not in found]
    more = [name for name in found if name not in names]
    what = [f"lacks {', '.join(map(repr, missing[:5]))}"] if missing else []
    what += [f"has {', '.join(map(repr, more[:5]))}"] if more else []
    what = what or ["has one of a name more, or less, often"]
    remedy = f"a frame with all of {attribute}" if missing or not more else f"X[list({attribute})]"
    raise ValueError(f"X has other columns than the first fit: it {' and '.join(what)}. Pass {remedy}.")


def width(X_shape: tuple[int, ...], n_features: int) -> None:
    """Raise ValueError unless X (m, n_x) has as many features as the first layer was built for."""
    m, n_x = X_shape
    if n_x != n_features:
        remedy = " If its examples are columns, as in the course notes, pass X.T." if m == n_features else ""
        found = f"{n_x} feature{'s' * (n_x != 1)}"
        raise ValueError(f"X has {found}, but the first layer was built for {n_features}.{remedy}")


def targets(y: Any, dtype: np.dtype, X_shape: tuple[int, ...], n_outputs: int, loss: str) -> np.ndarray:
    """Return y as an array that the kernels take: (m, n_L), or (m, 1): the numbers of classes, or all outputs' target.

    y is (m, n_L), or (m,) if n_L is 1, or y holds classes, or the outputs are quantiles of one target: for binary
    cross-entropy 0/1 or probabilities; for categorical cross-entropy class indices, or a row for each example with a 1
    for its class, or probabilities that sum to 1. TypeError if the values are not real numbers; ValueError if y has the
    wrong shape or length, or a value that is not finite or not allowed by the loss.
    """
    array = real_array(y, "y")
    m, n_x = X_shape
    indices = loss == "categorical_crossentropy" and (array.ndim == 1 or array.shape[1:] == (1,))
    columns = 1 if indices or loss == "quantiles" else n_outputs
    if loss == "categorical_crossentropy":
        wanted, units = f"(m,), class indices, or (m, {n_outputs})", "units"
    else:
        wanted, units = ("(m,) or (m, 1)", "unit") if columns == 1 else (f"(m, {columns})", "units")
    reason = f"as the last layer has {n_outputs} {units}"
    if loss == "quantiles":
        reason = "a single target, of which the outputs are quantiles"
    rows_in_columns = (columns, 1) if loss == "categorical_crossentropy" else (columns,)
    in_columns = [(rows, examples) for rows in rows_in_columns for examples in (m, n_x)]
    if array.ndim == 2 and array.shape[1] != columns and array.shape in in_columns:
        transposed = "y.T" if array.shape[1] == m else "X.T and y.T"
        raise ValueError(
            f"y must have shape {wanted}, but has {array.shape}. If examples are columns, as in the course notes, pass "
            f"{transposed}."
        )
    outputs = {1: 1, 2: array.shape[-1] if array.ndim else 0}.get(array.ndim)
    if outputs != columns:
        raise ValueError(f"y must have shape {wanted}, {reason}, but has {array.shape}.")
    if len(array) != m:
        remedy = " If the examples of X are columns, as in the course notes, pass X.T." if len(array) == n_x else ""
        raise ValueError(f"X and y must have the same length, but X has {m} examples and y has {len(array)}.{remedy}")
    checked = in_dtype(array, dtype, "y", "Drop those examples.")
    if loss == "binary_crossentropy":
        refuse(
            checked,
            (checked < 0) | (checked > 1),
            "y",
            "{} outside [0, 1]",
            "binary_crossentropy takes labels 0 and 1, or probabilities; for -1 and 1 pass (y + 1) / 2. For more than "
            "two classes, let the last layer be a 'softmax' with a unit for each.",
        )
    elif loss == "poisson":
        refuse(
            checked, checked < 0, "y", "negative {}", "Poisson's distribution is one of counts: they are at least 0."
        )
    elif indices:
        refuse(
            array,
            (checked.reshape(array.shape) < 0) | (array >= n_outputs) | (array != np.floor(array)),
            "y",
            f"{{}} other than the classes 0 to {n_outputs - 1}",
            f"The last layer has {n_outputs} units, one for each class: number the classes from 0.",
        )
    elif loss == "categorical_crossentropy":
        sums = checked.sum(axis=1, dtype=np.float64)
        refuse(checked, checked < 0, "y", "negative {}", "Its rows must be probabilities, or a 1 among zeros.")
        refuse(
            sums,
            np.abs(sums - 1) > 1e-3,
            "y.sum(axis=1)",
            "{} other than 1",
            "Rows must be probabilities that sum to 1, or a 1 among zeros.",
        )
    return (own(checked, array) if columns == 1 else checked).reshape(m, columns)


def parameters(vector: np.ndarray, what: str = "non-finite {}") -> None:
    """Raise ValueError if a parameter is infinite or NaN; `what` takes the noun at {}."""
    refuse_not_finite(vector, "parameters", what, "Set W and b anew, or call build(n_features).")


def parameter(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """Return an array of numbers in `dtype`, as a copy; ValueError if a value is not finite there."""
    with np.errstate(all="ignore"):
        converted = array.astype(dtype)
    refuse_not_finite(converted, name, f"{{}} not finite in {dtype}", "Parameters must be finite.", shown=array)
    return converted


def output(out: Any, shape: tuple[int, int], dtype: np.dtype) -> None:
    """Raise TypeError or ValueError unless `out` is an array that a kernel can write a result of that shape to."""
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        came = f"one of {out.dtype}" if isinstance(out, np.ndarray) else repr(out)
        raise TypeError(f"out must be an array of {dtype}, not {came}.")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, not {out.shape}.")
    if not out.flags.carray:
        raise ValueError("out must be C-contiguous, aligned and writable. Pass np.empty_like(out, order='C').")


def real_array(values: Any, name: str) -> np.ndarray:
    """Return values as an array of booleans, integers or floats; TypeError or ValueError if they are none.

    What NumPy reads, such as arrays of other libraries, and what DLPack does; of a dtype that float32 holds, such as
    bfloat16, in float32.
    """
    refuse_sparse(values, name)
    refuse_masked(values, name)
    array = read(values, name)
    if array.dtype.isbuiltin == 2 and np.can_cast(array.dtype, np.float32):  # 2: another library's own
        return array.astype(np.float32)
    if array.dtype.kind == "O":
        return numbers_from_objects(array, name)
    if array.dtype.kind not in "biuf":
        what, remedy = REFUSED_KINDS.get(array.dtype.kind, REFUSED_KINDS["V"])
        raise TypeError(f"{name} must hold real numbers, but holds {what} (dtype {array.dtype}): {remedy}.")
    return array


def refuse_sparse(values: Any, name: str) -> None:
    """Raise TypeError if values are a sparse matrix."""
    if hasattr(values, "toarray") and hasattr(values, "nnz"):
        raise TypeError(f"{name} is sparse, but fastnet computes with dense arrays. Pass {name}.toarray().")


def refuse_masked(values: Any, name: str) -> None:
    """Raise ValueError if values are an array, or a list of arrays, with masked entries."""
    rows = values if isinstance(values, (list, tuple)) else (values,)
    # What is no subclass of arrays has no mask: asking imports numpy.ma, which takes a tenth of what NumPy does.
    masked = [
        row for row in rows if isinstance(row, np.ndarray) and type(row) is not np.ndarray and np.ma.is_masked(row)
    ]
    if masked:
        missing = sum(int(np.ma.getmaskarray(row).sum()) for row in masked)
        filled = f"{name}.filled(value)" if rows is not values else f"np.ma.stack({name}).filled(value)"
        raise ValueError(
            f"{name} is masked: {missing} of its values are missing. Impute them, as by {filled}, or drop those rows."
        )


def numbers_of_frame(values: Any) -> np.ndarray | None:
    """Return a data frame of pandas, or a series, of numbers and booleans of several kinds, or nullable, as float64.

    None for anything else. NumPy would make an array of objects of it, to be read value by value.
    """
    dtypes = getattr(values, "dtypes", None)
    if dtypes is None or not hasattr(values, "to_numpy") or not hasattr(values, "iloc"):
        return None
    kinds = set(dtypes) if hasattr(dtypes, "iloc") else {dtypes}
    is_plain = len(kinds) == 1 and isinstance(next(iter(kinds)), np.dtype)
    if is_plain or not all(getattr(kind, "kind", "") in tuple("biuf") for kind in kinds):
        return None
    numbers: np.ndarray = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers


def read(values: Any, name: str) -> np.ndarray:
    """Return values as an array, of any dtype; TypeError or ValueError, with the cause and a remedy, if that fails."""
    try:
        of_frame = numbers_of_frame(values)
        array = np.asarray(values) if of_frame is None else of_frame
        if array.dtype.kind == "O" and hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
            array = np.from_dlpack(values)
    except Exception as error:
        if isinstance(error, MemoryError) or is_of_a_handler(error):
            raise
        remedy = f"Pass {name} as a NumPy array."
        if isinstance(values, (list, tuple)):
            remedy = "Pass rows of one length, of numbers."
        elif hasattr(values, "detach"):  # a tensor of PyTorch
            remedy = (
                f"Pass {name}.detach().cpu().float().numpy(); first {name}.to_dense() of it if it is sparse, or "
                f"{name}.dequantize() if it is quantized."
            )
        raise (ValueError if isinstance(error, ValueError) else TypeError)(
            f"{name} cannot be made an array of numbers: {type(error).__name__}, {str(error).rstrip('.')}. {remedy}"
        ) from error
    return array


@np.errstate(all="ignore")
def numbers_from_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Return an object array as float64; TypeError that shows the first value that is no real number."""
    flat = array.ravel()
    numbers, refused = np.empty(flat.shape), tuple(NO_REAL_NUMBERS)
    for i, value in enumerate(flat):
        try:
            if value is None or isinstance(value, refused):
                raise TypeError
            numbers[i] = value
        except Exception as error:  # whatever a type may raise that is no number
            if is_of_a_handler(error):
                raise
            index = format_index(np.unravel_index(i, array.shape))
            where = f"{name}[{index}]" if index else "it"
            what, remedy = type(value).__name__, f"pass {name} as an array of numbers"
            if index and what in ("NoneType", "NAType"):
                remedy = "impute it, or drop that row"
            for kind in (kind for of, kind in NO_REAL_NUMBERS.items() if isinstance(value, of)):
                remedy = REFUSED_KINDS[kind][1]
            raise TypeError(
                f"{name} must hold real numbers, but {where} is {value!r}, of type {what}: {remedy}."
            ) from None
    return numbers.reshape(array.shape)


def in_dtype(array: np.ndarray, dtype: np.dtype, name: str, remedy: str) -> np.ndarray:
    """Return the array in `dtype`, contiguous, aligned and marked read-only; ValueError if it is not finite."""
    if array.dtype.kind == "f":
        refuse_not_finite(array, name, "non-finite {}", remedy)
    converted = as_kernels_take_it(array, dtype)
    refuse_beyond(converted, array, dtype, name)
    view = converted.view()
    view.flags.writeable = False
    return view


def refuse_beyond(converted: Any, array: np.ndarray, dtype: np.dtype, name: str) -> None:
    """Raise ValueError if a float is infinite in a dtype in which it has been converted."""
    if array.dtype.kind == "f" and array.dtype.itemsize > dtype.itemsize:
        limit = f"{{}} beyond the range of {dtype}, {np.finfo(dtype).max:.4g}"
        refuse_not_finite(converted, name, limit, "Scale them, or use dtype='float64'.", shown=array)


def own(checked: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return what was checked, read-only, in memory of its own: nobody changes it in the course of a fit.

    So for what is an index, or divided by. X, and targets of several outputs, may be too large to be copied; numbers
    that are not finite are noticed there, by the cost.
    """
    if np.may_share_memory(checked, given):
        checked = checked.copy()
        checked.flags.writeable = False
    return checked


@np.errstate(all="ignore")
def as_kernels_take_it(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the array in `dtype`, contiguous and aligned: itself, or a copy, made by slabs: Ctrl-C is heeded."""
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return array
    copy = np.empty(array.shape, dtype)
    for rows in slabs(array):
        copy[rows] = array[rows]
    return copy


def refuse_not_finite(array: Any, name: str, what: str, remedy: str, shown: Any = None) -> None:
    """Raise if a value is infinite or NaN; looks at slabs of rows, so as to need little memory beside a large array."""
    count, first, value = 0, "", None
    for rows in slabs(array):
        finite = np.isfinite(array[rows])
        if not finite.all():
            if not count:
                row, *rest = np.unravel_index(int(np.argmin(finite)), finite.shape)
                first = format_index((row + rows.start, *rest))
                value = (array if shown is None else shown)[rows][(row, *rest)]
            count += int(np.count_nonzero(~finite))
    refuse_some(count, f"{name}[{first}] = {value}", name, what, remedy)


def slabs(array: Any) -> Iterator[slice]:
    """Yield slices of rows that together cover the array, about a million values each."""
    rows = max(1, 1_000_000 * len(array) // max(array.size, 1))
    for start in range(0, len(array), rows):
        yield slice(start, start + rows)


def refuse(array: np.ndarray, bad: np.ndarray, name: str, what: str, remedy: str) -> None:
    """Raise a ValueError with the number of bad values and the first of them, if any; `what` takes the noun at {}."""
    if bad.any():
        first = np.unravel_index(int(np.argmax(bad)), bad.shape)
        refuse_some(int(np.count_nonzero(bad)), f"{name}[{format_index(first)}] = {array[first]}", name, what, remedy)


def refuse_some(count: int, first: str, name: str, what: str, remedy: str) -> None:
    """Raise a ValueError if there is a bad value, with their number and the first."""
    if count:
        found = f"{count} {what.format('value' if count == 1 else 'values')}"
        raise ValueError(f"{name} has {found}; the first is {first}. {remedy}")


def format_index(index: tuple[Any, ...]) -> str:
    """Return an index as it stands between brackets."""
    return ", ".join(str(int(i)) for i in index)
