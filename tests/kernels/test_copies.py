"""Copies of rows, and of rows picked and transposed, against NumPy."""

import numpy as np
import pytest
from bounds import DTYPES, Guarded
from compiled import from_python, lanes_of

from fastnet.kernels.build.jit import kernel
from fastnet.kernels.ir import copies
from fastnet.kernels.ir.copies import GATHER_COLUMNS


@kernel
def call_gather_square(X, order, o, examples, n, column, columns, target, a, lda, at, ldt):
    copies.gather_square(X, order, o, examples, n, column, columns, target, a, lda, at, ldt)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("to_at", [True, False])
def test_gather_square(to_at, dtype):
    """Of whole squares and of parts, at the last column too: X ends there, and the memory behind it is not read."""
    side = lanes_of(dtype)
    n, o, lda, ldt = side + 5, 2, side + 3, side + 1
    X = np.arange(9 * n, dtype=dtype).reshape(9, n)
    order = np.array([0, 0, 8, 3, 8, 1, *range(9), *range(9)])
    for examples in {1, 3, side}:
        for columns in {1, side - 1, side}:
            target = Guarded(side * (lda + ldt), dtype)
            a, at = target.offset, target.offset + side * lda if to_at else -1
            column = n - columns
            from_python(call_gather_square)(X, order, o, examples, n, column, columns, target.whole, a, lda, at, ldt)
            target.assert_guards()
            wanted = X[order[o : o + examples], column : column + columns]
            A = target.inside[: side * lda].reshape(side, lda)
            AT = target.inside[side * lda :].reshape(side, ldt)
            np.testing.assert_array_equal(A[:columns, :examples], wanted.T)
            assert np.isnan(A[columns:]).all()
            assert np.isnan(A[:, side:]).all()
            if to_at:
                np.testing.assert_array_equal(AT[:examples, :columns], wanted)
                assert np.isnan(AT[:, side:]).all()
            else:
                assert np.isnan(AT).all()


@kernel
def call_gather_few(X, order, o, examples, n, target, a, lda):
    copies.gather_few(X, order, o, examples, n, target, a, lda)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", range(1, GATHER_COLUMNS + 1))
def test_gather_few(n, dtype):
    """Rows of X up to its last, behind which the memory is not read."""
    side, o = lanes_of(dtype), 2
    lda = side + 3
    X = np.arange(9 * n, dtype=dtype).reshape(9, n)
    order = np.array([0, 0, 8, 3, 8, 1, *range(9), *range(9)])
    for examples in {1, min(3, side), side}:
        target = Guarded(GATHER_COLUMNS * lda, dtype)
        from_python(call_gather_few)(X, order, o, examples, n, target.whole, target.offset, lda)
        target.assert_guards()
        A = target.inside.reshape(GATHER_COLUMNS, lda)
        np.testing.assert_array_equal(A[:n, :examples], X[order[o : o + examples]].T)
        assert np.isnan(A[n:]).all()
        assert np.isnan(A[:, side:]).all()


@kernel
def call_copy_rows(source, s, lds, target, t, ldt, rows, columns, add):
    copies.copy_rows(source, s, lds, target, t, ldt, rows, columns, add)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [False, True])
def test_copy_rows(add, dtype):
    """Any number of columns, up to the end of the source; without `add`, whatever the target held is gone."""
    rng = np.random.default_rng(0)
    for rows in (0, 1, 3):
        for columns in (1, 7, 15, 16, 17, 32, 33):
            source = rng.standard_normal((3, columns)).astype(dtype)
            before = rng.standard_normal((3, columns)).astype(dtype)
            target = Guarded(3 * (columns + 2), dtype)
            window = target.inside.reshape(3, columns + 2)
            if add:
                window[:, :columns] = before
            from_python(call_copy_rows)(
                source.ravel(), 0, columns, target.whole, target.offset, columns + 2, rows, columns, add
            )
            target.assert_guards()
            np.testing.assert_array_equal(window[:rows, :columns], source[:rows] + before[:rows] * add)
            np.testing.assert_array_equal(window[rows:, :columns], before[rows:] if add else np.nan)
            assert np.isnan(window[:, columns:]).all()


@kernel
def call_ask_for(X, first, last):
    copies.prefetch_range(X, first, last)


@pytest.mark.parametrize("dtype", DTYPES)
def test_asking_for_memory_changes_nothing_wherever_it_lies(dtype):
    X = np.arange(33, dtype=dtype).reshape(11, 3)
    for first, last in ((0, 33), (30, 10**6), (-1000, 5), (5, 5)):
        from_python(call_ask_for)(X, first, last)
    np.testing.assert_array_equal(X.ravel(), np.arange(33))


@pytest.mark.jit
def test_intrinsics_refuse_other_arrays():
    """Malformed LLVM code would abort the process, so a wrong argument must be stopped before."""
    with pytest.raises(Exception, match="needs C-contiguous arrays of one floating-point dtype"):
        from_python(call_copy_rows)(np.zeros(16, np.float32), 0, 16, np.zeros(16), 0, 16, 1, 16, False)
    numbers, order = np.zeros((16, 16), np.float32), np.zeros(16, np.int32)
    with pytest.raises(Exception, match="needs an order of int64"):
        from_python(call_gather_square)(numbers, order, 0, 1, 16, 0, 1, numbers, 0, 16, -1, 16)
    with pytest.raises(Exception, match="needs an order of int64"):
        from_python(call_gather_few)(numbers, order, 0, 1, 16, numbers, 0, 16)
