"""The register tiles, with examples or units in their lanes, against NumPy; their machine code."""

import platform
import re

import numpy as np
import pytest
from bounds import DTYPES, Guarded, assert_within
from compiled import Chunk, from_python, lanes_of, part
from numba import njit, types

from fastnet.kernels import products
from fastnet.kernels.blocks import TALL
from fastnet.kernels.build.jit import OPTIONS, VECTOR_BYTES, kernel
from fastnet.kernels.ir import tiles
from fastnet.kernels.ir.tiles import FOUR, HALF, ONE, ONE_AND_HALF, REGISTERS, TWO, TWO_AND_HALF
from fastnet.kernels.plan import GRAIN, LANES

OF_ROWS = {TALL: products.tile_tall, 4: products.tile_4, 2: products.tile_2, 1: products.tile_1}
TILES = {(rows, width): tile for rows, tile in OF_ROWS.items() for width in (HALF, ONE, TWO)}
TILES[1, FOUR] = products.tile_1_wide
TILES |= {(TALL, width): products.tile_tall for width in (ONE_AND_HALF, TWO_AND_HALF)}
SHAPES = list(TILES)


def make_call(tile):
    @kernel
    def call(width, C, c, ldc, A, a, ra, ka, jump, B, b, kb, ahead, K, start, bias, o):
        tile(width, C, c, ldc, A, a, ra, ka, jump, B, b, kb, ahead, K, start, bias, o)

    return call


CALLS = {shape: make_call(tile) for shape, tile in TILES.items()}


def columns_of(width, dtype):
    """Return how many numbers a tile of that width holds in a row; skip where there is no such tile."""
    whole, half = REGISTERS[width]
    if half and lanes_of(dtype) <= GRAIN:
        pytest.skip("registers of this dtype hold no more than half of the widest one")
    return whole * lanes_of(dtype) + half * GRAIN


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", [tiles.START_ZERO, tiles.START_BIAS, tiles.START_TARGET, tiles.ADD_TO_TARGET])
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_tile(rows, width, start, dtype):
    rng = np.random.default_rng(0)
    columns = columns_of(width, dtype)
    ldc, kb = columns + 3, columns + 5
    for K in (1, 2, 7, 63, 64, 65, 130):
        A, B = rng.standard_normal((rows, K)).astype(dtype), rng.standard_normal((K, kb)).astype(dtype)
        bias = rng.standard_normal(rows).astype(dtype)
        before = rng.standard_normal((rows, columns)).astype(dtype)
        C = Guarded(rows * ldc, dtype)
        window = C.inside.reshape(rows, ldc)[:, :columns]
        if start in (tiles.START_TARGET, tiles.ADD_TO_TARGET):
            window[:] = before
        call = from_python(CALLS[rows, width])
        call(width, C.whole, C.offset, ldc, A.ravel(), 0, K, 1, 1, B.ravel(), 0, kb, 10**6, K, start, bias, 0)
        begin = {tiles.START_ZERO: np.zeros(1), tiles.START_BIAS: bias[:, None].astype(float)}.get(start, before)
        A, B = A.astype(float), B[:, :columns].astype(float)
        assert_within(window, begin + A @ B, np.abs(begin) + np.abs(A) @ np.abs(B), K + 1)
        assert np.isnan(C.inside.reshape(rows, ldc)[:, columns:]).all()
        C.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tile_jumps_after_a_block_of_k(dtype):
    rng = np.random.default_rng(0)
    rows, columns, K = 2, columns_of(ONE, dtype), 2 * LANES + 9
    blocks = rng.standard_normal((3, rows, LANES)).astype(dtype)
    B = rng.standard_normal((K, columns)).astype(dtype)
    C = Guarded(rows * columns, dtype)
    jump = rows * LANES - LANES + 1
    call = from_python(CALLS[2, ONE])
    call(
        ONE, C.whole, C.offset, columns, blocks.ravel(), 0, LANES, 1, jump, B.ravel(), 0, columns, 0, K,
        tiles.START_ZERO, B.ravel(), 0,
    )  # fmt: skip
    A = blocks.transpose(1, 0, 2).reshape(rows, -1)[:, :K].astype(float)
    exact = A @ B.astype(float)
    assert_within(C.inside.reshape(rows, columns), exact, np.abs(A) @ np.abs(B.astype(float)), K)
    C.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_element_of_a_tile_does_not_depend_on_its_shape(dtype):
    """One chain of fmas per element, in the order of k: what the numerical contract rests on."""
    rng = np.random.default_rng(0)
    K, columns = 100, 4 * VECTOR_BYTES // np.dtype(dtype).itemsize
    A = rng.standard_normal((TALL, K)).astype(dtype)
    B = rng.standard_normal((K, columns)).astype(dtype)
    results = []
    for rows, width in SHAPES:
        if REGISTERS[width][1] and lanes_of(dtype) <= GRAIN:
            continue
        C = np.full((TALL, columns), np.nan, dtype)
        from_python(CALLS[rows, width])(
            width, C.ravel(), 0, columns, A.ravel(), 0, K, 1, 1, B.ravel(), 0, columns, 0, K, tiles.START_ZERO,
            B.ravel(), 0,
        )  # fmt: skip
        results.append(C[0, : columns // 8].copy())
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_no_tile_spills_in_its_k_loop(rows, width, dtype):
    if VECTOR_BYTES == 16 or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("reads x86 code with vector fmas; without AVX, a tile is a row of calls")
    columns_of(width, dtype)
    tile = TILES[rows, width]

    def call(C, c, ldc, A, a, ra, ka, jump, B, b, kb, ahead, K, start, bias, o):
        tile(width, C, c, ldc, A, a, ra, ka, jump, B, b, kb, ahead, K, start, bias, o)

    T = types.float32 if dtype == "float32" else types.float64
    flat, i = types.Array(T, 1, "C"), types.intp
    dispatcher = njit((flat, i, i, flat, i, i, i, i, flat, i, i, i, i, i, flat, i), **OPTIONS)(call)
    (assembly,) = dispatcher.inspect_asm().values()
    loops = inner_loops_with_fma(assembly)
    assert loops, "no loop with vector fmas was found in the machine code"
    for loop in loops:
        assert len(re.findall(r"fn?madd\d+p", loop)) == rows * sum(REGISTERS[width]), (
            "the loop was unrolled, or not whole"
        )
        spilled = re.findall(r".*[xyz]mm\d+.*\(%rsp\).*|.*\(%rsp\), %[xyz]mm.*|.*, -?\d*\(%rsp\)$", loop, re.MULTILINE)
        assert not spilled, "\n".join(spilled)


def inner_loops_with_fma(assembly):
    """Return every stretch of code from a label to a jump back to it that holds vector fmas."""
    blocks = re.split(r"^(\.?\w+):", assembly, flags=re.MULTILINE)
    loops = []
    for label, body in zip(blocks[1::2], blocks[2::2], strict=True):
        jump_back = re.search(rf"\sj\w+\s.*{re.escape(label)}\b", body)
        if jump_back and re.search(r"fn?madd\d+p", body[: jump_back.end()]):
            loops.append(body[: jump_back.end()])
    return loops


def make_call_of_units(tile):
    @kernel
    def call(Z, z, ldz, parameters, w, b, n, n_prev, unit, A, a, lda):
        tile(Z, z, ldz, parameters, w, b, n, n_prev, unit, A, a, lda)

    return call


UNITS_TILES = {1: make_call_of_units(products.units_tile_1), 4: make_call_of_units(products.units_tile_4)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("rows", UNITS_TILES)
def test_units_tile(rows, with_bias, dtype):
    """Against NumPy, and to the bit against the tile with examples in its lanes."""
    rng = np.random.default_rng(0)
    lanes = lanes_of(dtype)
    for n in (1, lanes - 1, lanes, lanes + 3):
        for n_prev in (1, lanes - 1, lanes, 2 * lanes + 5):
            for unit in {0, max(n - lanes, 0)}:
                parameters = rng.standard_normal(n * n_prev + n).astype(dtype)
                A = rng.standard_normal((rows, n_prev + 2)).astype(dtype)
                ldz, b = n + lanes + 1, n * n_prev if with_bias else -1
                Z = Guarded(rows * ldz, dtype)
                from_python(UNITS_TILES[rows])(
                    Z.whole, Z.offset, ldz, parameters, 0, b, n, n_prev, unit, A.ravel(), 0, n_prev + 2
                )
                Z.assert_guards()
                units = np.arange(unit, min(unit + lanes, n))  # in the lanes past the last, any number
                W = parameters[: n * n_prev].reshape(n, n_prev)[units].astype(float)
                bias, inputs = parameters[n * n_prev :][units] * with_bias, A[:, :n_prev].astype(float)
                window = Z.inside.reshape(rows, ldz)
                found, magnitude = window[:, units], np.abs(inputs) @ np.abs(W.T) + np.abs(bias)
                assert_within(found, inputs @ W.T + bias, magnitude, n_prev + 1)
                assert np.isnan(window[:, :unit]).all()
                assert np.isnan(window[:, unit + lanes :]).all()
                chunk = Chunk((n_prev, n), rows, dtype, use_bias=with_bias, backward=False)
                chunk.put(0, "A", A[:, :n_prev].T)
                part("matmul_plus_bias")(chunk.layers, 1, 0, 16, rows, parameters, chunk.S.inside)
                np.testing.assert_array_equal(found, chunk.get(1, "A")[units].T)
