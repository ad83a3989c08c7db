"""Rows that are made dense some at a time, as those of a sparse matrix: the whole might not fit in memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np

DENSE_BYTES = 2**23


def rows_at_once(n_features: int, dtype: np.dtype) -> int:
    """Return how many dense rows fit in DENSE_BYTES; at least one."""
    return max(1, DENSE_BYTES // (n_features * dtype.itemsize))


class Rows:
    """Rows (m, n_x) of finite values that are made dense some at a time, as a `Run` takes them in place of an array."""

    shape: tuple[int, int]
    dtype: np.dtype
    """That of a network."""

    def __len__(self) -> int:
        return self.shape[0]

    def fill(self, indices: np.ndarray, dense: np.ndarray) -> None:
        """Write the rows of those indices to `dense` (len(indices), n_x)."""
        raise NotImplementedError


class SparseRows(Rows):
    """The rows of a SciPy CSR matrix or array."""

    def __init__(self, matrix: Any, dtype: np.dtype) -> None:
        with np.errstate(all="ignore"):
            self.matrix = matrix.astype(dtype, copy=False)
        self.dtype = dtype
        self.shape = matrix.shape

    def __getitem__(self, indices: np.ndarray) -> "SparseRows":
        """Return some of the rows, sparse still."""
        return SparseRows(self.matrix[indices], self.dtype)

    def astype(self, dtype: np.dtype) -> "SparseRows":
        """Return the rows in another dtype."""
        return SparseRows(self.matrix, dtype)

    def fill(self, indices: np.ndarray, dense: np.ndarray) -> None:
        """Write the rows of those indices to `dense` (len(indices), n_x)."""
        self.matrix[indices].toarray(out=dense)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield all rows in order, some at a time: which, and their dense values."""
        n = rows_at_once(self.shape[1], self.dtype)
        for start in range(0, len(self), n):
            rows = slice(start, min(len(self), start + n))
            yield rows, self.matrix[rows].toarray(order="C")


class DenseWindow:
    """Dense rows, in place of others: of those of m examples alone that the next call of a kernel comes to.

    A chunk has `longest_chunk` examples at the most; `most_chunks` of them have room, one at least.
    """

    def __init__(self, X: Rows, m: int, longest_chunk: int) -> None:
        self.source, self.longest_chunk = X, longest_chunk
        self.most_chunks = max(1, rows_at_once(X.shape[1], X.dtype) // longest_chunk)
        self.dense = np.empty((min(m, self.most_chunks * longest_chunk), X.shape[1]), X.dtype)
        self.rows = np.zeros(m, dtype=np.int64)
        """rows[i] is the row of `dense` with example order[i], for the i that `fill` was told of last."""
        self.X = self.dense.view()
        """`dense` again, read-only."""
        self.X.flags.writeable = False

    def fill(self, order: np.ndarray, start: int, chunks: int) -> None:
        """Make dense the examples of that many chunks, from order[start] on."""
        stop = min(len(order), start + chunks * self.longest_chunk)
        self.source.fill(order[start:stop], self.dense[: stop - start])
        self.rows[start:stop] = np.arange(stop - start)
