"""Kinds of input, as tables: what makes each of an array of zeros and ones, and what it is refused with, if it is."""

import fractions
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse

X = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 1, 1], [0, 1, 0, 0]], dtype=np.float64)
Y = np.array([0, 1, 1, 0, 1, 0], dtype=np.float64)
"""Zeros and ones, which every type of numbers holds; they are targets and weights as well."""


class Refused(NamedTuple):
    """What a kind of input is refused with: a type of error, and what its message has, NAME being the argument."""

    error: type[Exception]
    message: str


class Kind(NamedTuple):
    """A kind of input: what makes it of an array of zeros and ones, and why it is refused, or None."""

    make: Callable[[np.ndarray], Any]
    refused: Refused | None = None


def changed(value: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return what puts a value in the last place but one of an array."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(object if value is None or isinstance(value, (str, bytes)) else np.float64)
        array[np.unravel_index(array.size - 2, array.shape)] = value
        return array

    return change


def library(name: str) -> Any:
    return pytest.importorskip(name)


def unaligned(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"x" + array.astype(np.float32).tobytes(), np.float32, offset=1).reshape(array.shape)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.astype(np.float32)
    array.flags.writeable = False
    return array


def mapped(array: np.ndarray) -> np.memmap:
    with tempfile.TemporaryFile() as file:
        memory = np.memmap(file, np.float32, "w+", shape=array.shape)
    memory[...] = array
    return memory


class Failing:
    """Something that says it is an array, and fails by an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, *arguments: Any, **settings: Any) -> np.ndarray:
        raise self.error


class ByDLPack:
    """An array that DLPack alone can read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **settings: Any) -> Any:
        return self.array.__dlpack__(**settings)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def of_pandas(array: np.ndarray, *, nullable: bool = False) -> Any:
    pandas = library("pandas")
    frame = pandas.DataFrame(array) if array.ndim == 2 else pandas.Series(array)
    return frame.convert_dtypes() if nullable else frame


def of_polars(array: np.ndarray) -> Any:
    polars = library("polars")
    return polars.DataFrame(array) if array.ndim == 2 else polars.Series(array)


def of_jax(array: np.ndarray, dtype: str) -> Any:
    library("jax")
    import jax.numpy

    return jax.numpy.asarray(array, dtype)


DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "longdouble", ">f8", ">f4", ">i2", "<u4",
]  # fmt: skip
PLACED = r"the first is NAME\[(5, 2|4)\] = "
NOT_READ = "NAME cannot be made an array of numbers: .*Pass "
NO_NUMBERS = "NAME must hold real numbers, but "
TEXT = f"{NO_NUMBERS}.*: encode it as numbers first"

ANYWHERE: dict[str, Kind] = {
    **{dtype: Kind(lambda array, dtype=dtype: array.astype(dtype)) for dtype in DTYPES},
    "strided": Kind(lambda array: np.repeat(array, 2, axis=0)[::2]),
    "backwards": Kind(lambda array: array[::-1].copy()[::-1]),
    "Fortran": Kind(np.asfortranarray),
    "read-only": Kind(read_only),
    "unaligned": Kind(unaligned),
    "mapped": Kind(mapped),
    "list": Kind(lambda array: array.tolist()),
    "tuple": Kind(lambda array: tuple(map(tuple, array)) if array.ndim == 2 else tuple(array)),
    "objects": Kind(lambda array: array.astype(object)),
    "fractions": Kind(lambda array: np.vectorize(fractions.Fraction, otypes=[object])(array.astype(int))),
    "nothing masked": Kind(np.ma.masked_array),
    "memoryview": Kind(memoryview),
    "pandas": Kind(of_pandas),
    "pandas, nullable": Kind(lambda array: of_pandas(array, nullable=True)),
    "polars": Kind(of_polars),
    "PyTorch": Kind(lambda array: library("torch").tensor(array)),
    "JAX": Kind(lambda array: of_jax(array, "float32")),
    "bfloat16": Kind(lambda array: array.astype(library("ml_dtypes").bfloat16)),
    "float8": Kind(lambda array: array.astype(library("ml_dtypes").float8_e4m3fn)),
    "DLPack": Kind(ByDLPack),
    "nan": Kind(changed(np.nan), Refused(ValueError, f"NAME has 1 non-finite value; {PLACED}nan. (Impute|Drop|Give)")),
    "inf": Kind(changed(np.inf), Refused(ValueError, f"NAME has 1 non-finite value; {PLACED}inf. (Impute|Drop|Give)")),
    "-inf": Kind(changed(-np.inf), Refused(ValueError, f"NAME has 1 non-finite value; {PLACED}-inf. ")),
    "beyond float32": Kind(
        changed(1e39),
        Refused(ValueError, rf"NAME has 1 value beyond the range of float32, .*{PLACED}1e\+39. Scale them"),
    ),
    "masked": Kind(
        lambda array: np.ma.masked_equal(array, 1),
        Refused(ValueError, r"NAME is masked: \d+ of its values are missing. Impute them, as by NAME.filled\(value\)"),
    ),
    "rows masked": Kind(
        lambda array: [*np.ma.masked_equal(array, 1)],
        Refused(ValueError, r"NAME is masked: \d+ of its values are missing. Impute them, as by np.ma.stack\(NAME\)"),
    ),
    "sparse": Kind(scipy.sparse.coo_array, Refused(TypeError, r"NAME is sparse, .* Pass NAME.toarray\(\)")),
    "complex": Kind(lambda array: array + 1j, Refused(TypeError, f"{NO_NUMBERS}.*: pass real numbers")),
    "text": Kind(lambda array: array.astype(str), Refused(TypeError, TEXT)),
    "bytes": Kind(lambda array: array.astype("S"), Refused(TypeError, TEXT)),
    "a text among objects": Kind(changed("red"), Refused(TypeError, TEXT)),
    "None among objects": Kind(changed(None), Refused(TypeError, f"{NO_NUMBERS}NAME.* is None, .*impute it, or drop")),
    "dates": Kind(lambda array: array.astype("M8[D]"), Refused(TypeError, f"{NO_NUMBERS}holds dates .*: pass numbers")),
    "times": Kind(lambda array: array.astype("m8[s]"), Refused(TypeError, f"{NO_NUMBERS}holds time .*: pass numbers")),
    "records": Kind(
        lambda array: array.astype([("a", float)]),
        Refused(TypeError, f"{NO_NUMBERS}holds records .*: pass a plain 2-D"),
    ),
    "a string": Kind(lambda array: "numbers", Refused(TypeError, TEXT)),
    "None": Kind(lambda array: None, Refused(TypeError, f"{NO_NUMBERS}it is None, .*: pass NAME as an array")),
    "a generator": Kind(
        lambda array: (row for row in array), Refused(TypeError, f"{NO_NUMBERS}it is <gen.*: pass NAME as an array")
    ),
    "a set": Kind(lambda array: {0.0, 1.0}, Refused(TypeError, f"{NO_NUMBERS}it is {{0.*: pass NAME as an array")),
    "a dictionary": Kind(
        lambda array: {"a": 1}, Refused(TypeError, f"{NO_NUMBERS}it is {{'a.*: pass NAME as an array")
    ),
    "a function": Kind(lambda array: len, Refused(TypeError, f"{NO_NUMBERS}it is <built-in.*: pass NAME as an array")),
    "gradients of PyTorch": Kind(
        lambda array: library("torch").tensor(array, requires_grad=True),
        Refused(TypeError, rf"{NOT_READ}NAME.detach\("),
    ),
    "what fails": Kind(
        lambda array: Failing(RuntimeError("gone")), Refused(TypeError, f"{NOT_READ}NAME as a NumPy array")
    ),
}
"""At every place where an array is asked for."""

DIMENSIONS = r"X must have 2 dimensions \(m, n_x\), examples in rows, but has shape "
OF_X: dict[str, Kind] = {
    **ANYWHERE,
    "one row": Kind(lambda array: array[0], Refused(ValueError, rf"{DIMENSIONS}\(4,\). Reshape .* pass X.reshape\(1")),
    "three dimensions": Kind(lambda array: array[None], Refused(ValueError, rf"{DIMENSIONS}\(1, 6, 4\)")),
    "a number": Kind(lambda array: 1.0, Refused(ValueError, rf"{DIMENSIONS}\(\)")),
    "no rows": Kind(lambda array: array[:0], Refused(ValueError, r"X must hold at least one example .* \(0, 4\)")),
    "no features": Kind(
        lambda array: array[:, :0], Refused(ValueError, r"X must hold at least one example .* \(6, 0\)")
    ),
    "one feature": Kind(lambda array: array[:, :1], Refused(ValueError, "X has 1 feature, but .* was built for 4")),
    "columns": Kind(
        lambda array: array[:5].repeat(2, 1)[:4].T[:8, :4].T[:, :5], Refused(ValueError, "X has 5 features")
    ),
    "transposed": Kind(
        lambda array: array[:, :].T, Refused(ValueError, r"X has 6 features.* examples are columns.* X\.T")
    ),
    "ragged": Kind(lambda array: [[1.0], [0.0, 1.0]], Refused(ValueError, f"{NOT_READ}rows of one length")),
}
WANTED_Y = r"y must have shape \(m,\) or \(m, 1\)"
OF_Y: dict[str, Kind] = {
    **ANYWHERE,
    "a column": Kind(lambda array: array[:, None]),
    "beyond float32": ANYWHERE["beyond float32"],
    "a row": Kind(lambda array: array[None], Refused(ValueError, rf"{WANTED_Y}, .* examples are columns.* pass y\.T")),
    "two columns": Kind(
        lambda array: np.stack([array] * 2, 1), Refused(ValueError, rf"{WANTED_Y}, as the last layer has")
    ),
    "a number": Kind(
        lambda array: 1.0, Refused(ValueError, rf"{WANTED_Y}, as the last layer has 1 unit, but has \(\)")
    ),
    "too short": Kind(lambda array: array[:5], Refused(ValueError, "X and y must have the same length, .* y has 5")),
    "none": Kind(lambda array: array[:0], Refused(ValueError, "X and y must have the same length, .* y has 0")),
    "-1 and 1": Kind(
        lambda array: 2 * array - 1, Refused(ValueError, r"y has 3 values outside \[0, 1\]; .* pass \(y \+ 1")
    ),
    "three classes": Kind(
        changed(2.0), Refused(ValueError, rf"y has 1 value outside \[0, 1\]; {PLACED}2.0. .*'softmax'")
    ),
    "ragged": Kind(lambda array: [[1.0], [0.0, 1.0]], Refused(ValueError, f"{NOT_READ}rows of one length")),
}
WEIGHTS = r"sample_weight must have shape \(6,\), one for each example, but has "
OF_WEIGHTS: dict[str, Kind] = {
    **{name: kind for name, kind in ANYWHERE.items() if name != "None"},  # is no weights
    "a column": Kind(lambda array: array[:, None], Refused(ValueError, rf"{WEIGHTS}\(6, 1\)")),
    "a number": Kind(lambda array: 1.0, Refused(ValueError, rf"{WEIGHTS}\(\)")),
    "too short": Kind(lambda array: array[:5], Refused(ValueError, rf"{WEIGHTS}\(5,\)")),
    "negative": Kind(
        changed(-1.0), Refused(ValueError, f"sample_weight has 1 negative value; {PLACED}-1.0. .* at least 0")
    ),
    "all zero": Kind(np.zeros_like, Refused(ValueError, "sample_weight is zero for every example. At least one must")),
    "subnormal": Kind(changed(1e-40), Refused(ValueError, "sample_weight has 1 value below 1.2e-38; .* Scale all")),
    "too much": Kind(
        lambda array: array * 1e38, Refused(ValueError, "sample_weight must add up to between .* Scale all")
    ),
    "too little": Kind(lambda array: array * 1e-36, Refused(ValueError, "sample_weight must add up to .* Scale all")),
    "ragged": Kind(lambda array: [[1.0], [0.0, 1.0]], Refused(ValueError, f"{NOT_READ}rows of one length")),
}
