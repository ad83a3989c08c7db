"""The three products of a dense layer, and the bias gradient, against NumPy over odd shapes."""

import numpy as np
import pytest
from bounds import DTYPES, SEVEN_UNITS, TEN_BATCHES, Guarded, assert_within
from compiled import from_python
from conftest import JIT_DISABLED

from fastnet.kernels import dense
from fastnet.kernels.plan import LANES, padded, padded_transpose

UNITS = (1, 7, 17) if JIT_DISABLED else SEVEN_UNITS
BATCHES = (1, 16, 65) if JIT_DISABLED else TEN_BATCHES
WIDE = 300  # more than one K_BLOCK


def columns_in_block(m):
    return min(LANES, padded(m))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", [*UNITS, WIDE])
@pytest.mark.parametrize("n", UNITS)
def test_matmul_plus_bias(n, n_prev, dtype):
    rng = np.random.default_rng(n)
    for m in BATCHES:
        for with_bias in (True, False):
            columns, ld = columns_in_block(m), LANES
            parameters = rng.standard_normal(n * n_prev + n).astype(dtype)
            A_prev = rng.standard_normal((n_prev, ld)).astype(dtype)
            S = Guarded(n_prev * ld + n * ld, dtype)
            S.inside[: n_prev * ld] = A_prev.ravel()
            b_at = n * n_prev if with_bias else -1
            from_python(dense.matmul_plus_bias)(
                n, n_prev, columns, parameters, 0, b_at, S.whole, S.offset, S.offset + n_prev * ld, ld
            )
            W, b = (
                parameters[: n * n_prev].reshape(n, n_prev).astype(float),
                parameters[n * n_prev :, None].astype(float),
            )
            b = b if with_bias else np.zeros_like(b)
            A = A_prev[:, :columns].astype(float)
            Z = S.inside[n_prev * ld :].reshape(n, ld)
            assert_within(Z[:, :columns], W @ A + b, np.abs(W) @ np.abs(A) + np.abs(b), n_prev + 1)
            assert np.isnan(Z[:, columns:]).all()
            S.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", UNITS)
@pytest.mark.parametrize("n", [*UNITS, WIDE])
def test_input_gradient(n, n_prev, dtype):
    rng = np.random.default_rng(n)
    for m in BATCHES:
        columns, ld = columns_in_block(m), LANES
        W = rng.standard_normal((n, n_prev)).astype(dtype)
        dZ = rng.standard_normal((n, ld)).astype(dtype)
        S = Guarded(n * ld + n_prev * ld, dtype)
        S.inside[: n * ld] = dZ.ravel()
        from_python(dense.input_gradient)(n, n_prev, columns, W.ravel(), 0, S.whole, S.offset, S.offset + n * ld, ld)
        W, dZ = W.astype(float), dZ[:, :columns].astype(float)
        dA_prev = S.inside[n * ld :].reshape(n_prev, ld)
        assert_within(dA_prev[:, :columns], W.T @ dZ, np.abs(W.T) @ np.abs(dZ), n)
        assert np.isnan(dA_prev[:, columns:]).all()
        S.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_prev", UNITS)
@pytest.mark.parametrize("n", UNITS)
def test_weight_and_bias_gradient(n, n_prev, dtype):
    rng = np.random.default_rng(n)
    for m in (m for m in BATCHES if m <= 512):
        ld = columns_in_block(m)
        blocks, ldt = -(-m // ld), padded_transpose(n_prev)
        dZ = rng.standard_normal((n, m)).astype(dtype)
        A_prev = rng.standard_normal((n_prev, m)).astype(dtype)
        # What lies in the padding must not matter, so it is NaN; so is the head of S, where overhanging tiles are made.
        in_blocks = np.full((blocks, padded(n), ld), np.nan, dtype)
        for q in range(blocks):
            here = dZ[:, q * ld : (q + 1) * ld]
            in_blocks[q, :n, : here.shape[1]] = here
        transposed = np.full((m, ldt), np.nan, dtype)
        transposed[:, :n_prev] = A_prev.T
        S = np.concatenate([np.full(256, np.nan, dtype), in_blocks.ravel(), transposed.ravel()])
        at = 256 + in_blocks.size
        before = rng.standard_normal(n * n_prev + n).astype(dtype)
        for add in (False, True):
            gradient = Guarded(n * n_prev + n, dtype)
            if add:
                gradient.inside[:] = before
            w, b = gradient.offset, gradient.offset + n * n_prev
            block = padded(n) * ld
            from_python(dense.weight_gradient)(n, n_prev, m, S, 256, block, ld, at, ldt, gradient.whole, w, add)
            from_python(dense.bias_gradient)(n, m, S, 256, block, ld, gradient.whole, b, add)
            old = before.astype(float) * add
            D, A = dZ.astype(float), A_prev.astype(float)
            exact = np.concatenate([(D @ A.T).ravel(), D.sum(axis=1)]) + old
            magnitude = np.concatenate([(np.abs(D) @ np.abs(A.T)).ravel(), np.abs(D).sum(axis=1)]) + np.abs(old)
            assert_within(gradient.inside, exact, magnitude, m + 1)
            gradient.assert_guards()


def test_reaching_outside_an_array_is_an_error_in_the_checked_modes():
    if not dense.BOUNDS_CHECKED:
        pytest.skip("bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
    W, S = np.zeros(6, np.float32), np.zeros(3 * 16, np.float32)
    with pytest.raises(IndexError, match="outside"):
        from_python(dense.matmul_plus_bias)(3, 2, 16, W, 0, -1, S, 0, 16, 16)
