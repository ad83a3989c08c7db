"""The units of several quantiles: A_1 = Z_1, A_k = A_{k-1} + log(1 + e^Z_k), its slopes and its derivative."""

import numpy as np
import pytest
import reference
from bounds import DTYPES, assert_within
from compiled import Chunk, part

from fastnet.kernels import codes
from fastnet.kernels.blocks import BOUNDS_CHECKED

SOME = [(9, 0, 9), (9, 0, 16), (70, 16, 70), (130, 64, 128)]
"""Of so many examples, the first and the last: part of a block, parts of two, a whole one."""

UNITS = (1, 2, 5, 17)
NO_PARAMETERS = {dtype: np.empty(0, dtype) for dtype in DTYPES}


def problem(n, m, dtype, **settings):
    """Return a chunk whose layer 1 has Z (n, m) where A will be, and dA (n, m), and those two."""
    chunk, rng = Chunk((1, n), m, dtype, **settings), np.random.default_rng(n)
    Z, dA = (rng.standard_normal((2, n, m)) * 4).astype(dtype)
    chunk.put(1, "A", Z)
    return chunk, Z, dA


def call(name, chunk, first, stop):
    parameters = (NO_PARAMETERS[chunk.dtype.name],) if name == "differentiate" else ()
    part(name, codes.INCREASING)(chunk.layers, 1, first, stop, *parameters, chunk.S.inside)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", UNITS)
@pytest.mark.parametrize(("m", "first", "stop"), SOME)
def test_some_examples(m, first, stop, n, dtype):
    """Those and no others; A has the same bits where no slope is stored."""
    chunk, Z, dA = problem(n, m, dtype, stores_slopes=[True])
    chunk.put(1, "dZ", dA)
    last = min(stop, m)
    which = {"first": first, "m": last}
    call("activate_storing_slopes", chunk, first, stop)
    z, da = Z[:, first:last].astype(float), dA[:, first:last].astype(float)
    A, slopes, exact = chunk.get(1, "A", **which), chunk.get(1, "slopes", **which), reference.increasing_slopes(z)
    assert_within(A, reference.increasing(z), np.cumsum(np.abs(reference.increasing(z)), axis=0) + np.abs(z[0]), 2)
    assert_within(slopes, exact, exact, 2)
    assert (np.diff(A, axis=0) >= 0).all()
    call("differentiate", chunk, first, stop)
    sums, size = (np.cumsum(each[::-1], axis=0)[::-1] for each in (da, np.abs(da)))
    assert_within(chunk.get(1, "dZ", **which), sums * exact, exact * size, n + 2)
    chunk.assert_untouched(*(chunk.place(1, field, first=first, m=stop) for field in ("A", "slopes", "dZ")))
    alone, _, _ = problem(n, m, dtype)
    call("activate", alone, first, stop)
    np.testing.assert_array_equal(alone.get(1, "A", **which), A)
    alone.assert_untouched(alone.place(1, "A", first=first, m=stop))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", UNITS)
def test_few_rows(n, dtype):
    """One example a block, in the bits that it has beside others."""
    found = []
    for few_rows in (True, False):
        chunk, _, _ = problem(n, 3, dtype, backward=False, few_rows=few_rows)
        call("activate", chunk, 0, 3)
        chunk.assert_untouched(chunk.place(1, "A"))
        found.append(chunk.get(1, "A"))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("dtype", DTYPES)
def test_units_are_in_order_however_far_out_they_are(dtype):
    values = np.array([0.0, 1e-30, 1.0, 80.0, 1e10, 1e30])
    Z = np.stack(np.meshgrid(*[[*values, *-values]] * 3)).reshape(3, -1).astype(dtype)
    for start in range(0, Z.shape[1], 500):
        some = Z[:, start : start + 500]
        chunk = Chunk((1, 3), some.shape[1], dtype)
        chunk.put(1, "A", some)
        call("activate", chunk, 0, some.shape[1])
        A = chunk.get(1, "A")
        assert np.isfinite(A).all()
        assert (np.diff(A, axis=0) >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_pass_through(dtype):
    Z = np.array([[0, np.nan, 0, 0, -np.inf], [1, 1, np.nan, np.inf, 1], [1, 1, 1, 1, -np.inf]], dtype)
    chunk = Chunk((1, 3), 5, dtype, stores_slopes=[True])
    chunk.put(1, "A", Z)
    call("activate_storing_slopes", chunk, 0, 5)
    A, slopes = chunk.get(1, "A"), chunk.get(1, "slopes")
    np.testing.assert_array_equal(np.isnan(A), [[0, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0]])
    np.testing.assert_array_equal(A[:, 3:], [[0, -np.inf], [np.inf, -np.inf], [np.inf, -np.inf]])
    assert np.isnan(slopes[1, 2])
    assert (slopes[0] == 1).all()


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("activate", "A"), ("activate_storing_slopes", "A"), ("activate_storing_slopes", "slopes"),
        ("differentiate", "slopes"), ("differentiate", "dZ"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("bad", [-1, "end", 2**40])
def test_what_lies_outside_is_refused(bad, name, field):
    chunk, _, _ = problem(5, 17, "float32", stores_slopes=[True])
    call(name, chunk, 0, 17)
    chunk.layers[field][1] = chunk.S.inside.size - 4 if bad == "end" else bad
    with pytest.raises(IndexError):
        call(name, chunk, 0, 17)
