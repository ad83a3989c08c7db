"""Arrays in files of NumPy, read some rows at a time."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fastnet import checks

BLOCK_BYTES = 2**22
"""Of a block of X, where nobody says how many rows it has."""


class Shard(NamedTuple):
    """An array in memory, or mapped, of `array`; or one in C order in a file."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    array: np.ndarray | None = None

    @classmethod
    def of(cls, source: Any, name: str) -> Shard:
        """Return a shard of an array, or of the name of a file; ValueError if that is none, or cut short."""
        if isinstance(source, np.ndarray):
            return cls(name, source.shape, source.dtype, array=source)
        path = checks.path(source, name)
        with open(path, "rb") as file:
            shape, in_columns, dtype = header_of(file, path)
            begin, size = file.tell(), os.fstat(file.fileno()).st_size
        if dtype.hasobject or (in_columns and len(shape) > 1):
            raise ValueError(
                f"{path!r} must hold numbers in C order. Save it so: np.save(path, np.array(X, 'float32', order='C'))."
            )
        needed = begin + math.prod(shape) * dtype.itemsize
        if size < needed:
            raise ValueError(f"{path!r} is cut short: it has {size} bytes, but an array {shape} takes {needed}.")
        return cls(path, shape, dtype)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return rows from start to stop; OSError if the file has become another, or shorter."""
        if self.array is not None:
            return self.array[start:stop]
        size = math.prod(self.shape[1:])
        with open(self.name, "rb") as file:
            shape, _, dtype = header_of(file, self.name)
            if (shape, dtype) != (self.shape, self.dtype):
                raise OSError(
                    f"{self.name!r} has changed since the stream was made: from {self.dtype} {self.shape} to {dtype} "
                    f"{shape}. Make the stream anew."
                )
            found: np.ndarray = np.fromfile(
                file, self.dtype, (stop - start) * size, offset=start * size * self.dtype.itemsize
            )
        if found.size < (stop - start) * size:
            raise OSError(f"{self.name!r} ends in row {start + found.size // max(size, 1)}, before row {stop}.")
        return found.reshape(stop - start, *self.shape[1:])


def header_of(file: BinaryIO, path: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of a file of NumPy, up to its numbers: the shape, whether in columns, and the dtype."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(file)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(file)
        raise ValueError(f"version {version[0]}.{version[1]} of the format is not one of a plain array of numbers")
    except ValueError as error:
        raise ValueError(f"{path!r} is no array in a file of NumPy (.npy): {error}.") from None


class MemmapStream(Sequence[Any]):
    """A stream of one or several arrays, in files of NumPy (`.npy`) or mapped, one after the other.

    Files are read a block at a time, and never mapped: they may be larger than memory.

    Parameters
    ----------
    X, y : str, os.PathLike, numpy.ndarray, or a list of them
        Features (m, n_x) and targets (m,) or (m, n_L); of as many rows in each file, or array, of a list.
    sample_weight : the same, optional
        Weights (m,).
    block_rows : int, optional
        Rows of a block, which is the least that is shuffled; None: of some 4 MB.

    Raises
    ------
    ValueError, TypeError, OSError
        If a file cannot be read, is cut short, or has other features or rows than it should.

    Examples
    --------
    >>> from fastnet.streams import MemmapStream
    >>> np.save("X.npy", X), np.save("y.npy", y)
    (None, None)
    >>> stream = MemmapStream("X.npy", "y.npy")
    >>> history = Model([Dense(1, "sigmoid")], seed=0).fit(stream, epochs=3)
    >>> history.cost == Model([Dense(1, "sigmoid")], seed=0).fit(X, y, epochs=3).cost
    False
    >>> Model([Dense(1, "sigmoid")], seed=0).fit(stream, epochs=3, shuffle=False).cost == Model(
    ...     [Dense(1, "sigmoid")], seed=0
    ... ).fit(X, y, epochs=3, shuffle=False).cost
    True
    """

    def __init__(self, X: Any, y: Any, sample_weight: Any = None, *, block_rows: int | None = None) -> None:
        given = {"X": X, "y": y, "sample_weight": sample_weight}
        lists = {
            name: list(each) if isinstance(each, (list, tuple)) else [each]
            for name, each in given.items()
            if each is not None
        }
        self.shards = [
            [Shard.of(source, f"{name}[{i}]" if len(lists[name]) > 1 else name) for i, source in enumerate(lists[name])]
            for name in lists
        ]
        of_X = self.shards[0]
        if not of_X:
            raise ValueError("X must be at least one file or array, not an empty list.")
        for name, shards in zip(lists, self.shards, strict=True):
            if len(shards) != len(of_X):
                raise ValueError(f"X and {name} must be as many files or arrays, not {len(of_X)} and {len(shards)}.")
            for shard, other in zip(shards, of_X, strict=True):
                if shard.shape[:1] != other.shape[:1]:
                    raise ValueError(
                        f"{other.name!r} and {shard.name!r} must have as many rows, but have shapes {other.shape} and "
                        f"{shard.shape}."
                    )
                if name == "X" and (len(shard.shape) != 2 or shard.shape[1] != of_X[0].shape[-1]):
                    raise ValueError(
                        f"{shard.name!r} must have shape (m, n_x), with as many features as the first, but has "
                        f"{shard.shape}, and {of_X[0].name!r} {of_X[0].shape}."
                    )
        if block_rows is None:
            block_rows = max(1, BLOCK_BYTES // max(1, of_X[0].shape[1] * of_X[0].dtype.itemsize))
        self.block_rows = checks.positive_integer(block_rows, "block_rows")
        blocks = [-(-shard.shape[0] // self.block_rows) for shard in of_X]
        self.ends = list(accumulate(blocks))
        self.n_examples = sum(shard.shape[0] for shard in of_X)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return self.ends[-1]

    def __getitem__(self, number: Any) -> tuple[np.ndarray, ...]:
        """Return a block, (X, y) or (X, y, sample_weight)."""
        which, start = self._place(range(len(self))[number])
        return tuple(
            shards[which].rows(start, min(start + self.block_rows, shards[which].shape[0])) for shards in self.shards
        )

    def _place(self, number: int) -> tuple[int, int]:
        """Return in which file, or array, a block is, and its first row there."""
        which = bisect_right(self.ends, number)
        before = self.ends[which - 1] if which else 0
        return which, (number - before) * self.block_rows

    def place_of(self, number: int, row: int | None, column: int | None) -> str:
        """Return where a block lies, or a row of it, and a column."""
        which, start = self._place(number)
        name = os.path.basename(self.shards[0][which].name)
        where = f"{name!r}, " + (f"from row {start} on" if row is None else f"row {start + row}")
        return where if column is None else f"{where}, column {column}"
