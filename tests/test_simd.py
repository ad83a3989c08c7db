"""The register tile, the transpose and the lane sum against NumPy; the tile's machine code."""

import platform
import re

import numpy as np
import pytest
from bounds import DTYPES, Guarded, assert_within
from compiled import from_python
from numba import njit, types

from fastnet.kernels import dense, simd
from fastnet.kernels.jit import OPTIONS, VECTOR_BYTES, kernel

SHAPES = [(rows, vectors) for rows in dense.ROWS_OF_TILES for vectors in (1, 2)]
TILES = {shape: getattr(dense, f"tile_{'tall' if shape[0] == dense.TALL else shape[0]}_{shape[1]}") for shape in SHAPES}


def make_call(tile):
    @kernel
    def call(C, c, ldc, A, a, ra, ka, jump, B, b, kb, K, start, bias, o):
        tile(C, c, ldc, A, a, ra, ka, jump, B, b, kb, K, start, bias, o)

    return call


CALLS = {shape: make_call(tile) for shape, tile in TILES.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", [simd.START_ZERO, simd.START_BIAS, simd.START_TARGET, simd.ADD_TO_TARGET])
@pytest.mark.parametrize(("rows", "vectors"), SHAPES)
def test_tile(rows, vectors, start, dtype):
    rng = np.random.default_rng(0)
    columns = vectors * VECTOR_BYTES // np.dtype(dtype).itemsize
    ldc, kb = columns + 3, columns + 5
    for K in (1, 2, 7, 63, 64, 65, 130):
        A, B = rng.standard_normal((rows, K)).astype(dtype), rng.standard_normal((K, kb)).astype(dtype)
        bias = rng.standard_normal(rows).astype(dtype)
        before = rng.standard_normal((rows, columns)).astype(dtype)
        C = Guarded(rows * ldc, dtype)
        window = C.inside.reshape(rows, ldc)[:, :columns]
        if start in (simd.START_TARGET, simd.ADD_TO_TARGET):
            window[:] = before
        call = from_python(CALLS[rows, vectors])
        call(C.whole, C.offset, ldc, A.ravel(), 0, K, 1, 1, B.ravel(), 0, kb, K, start, bias, 0)
        begin = {simd.START_ZERO: np.zeros(1), simd.START_BIAS: bias[:, None].astype(float)}.get(start, before)
        A, B = A.astype(float), B[:, :columns].astype(float)
        assert_within(window, begin + A @ B, np.abs(begin) + np.abs(A) @ np.abs(B), K + 1)
        assert np.isnan(C.inside.reshape(rows, ldc)[:, columns:]).all()
        C.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tile_jumps_after_a_block_of_k(dtype):
    rng = np.random.default_rng(0)
    rows, columns, K = 2, VECTOR_BYTES // np.dtype(dtype).itemsize, 2 * simd.LANES + 9
    blocks = rng.standard_normal((3, rows, simd.LANES)).astype(dtype)
    B = rng.standard_normal((K, columns)).astype(dtype)
    C = Guarded(rows * columns, dtype)
    jump = rows * simd.LANES - simd.LANES + 1
    call = from_python(CALLS[2, 1])
    call(
        C.whole, C.offset, columns, blocks.ravel(), 0, simd.LANES, 1, jump, B.ravel(), 0, columns, K,
        simd.START_ZERO, B.ravel(), 0,
    )  # fmt: skip
    A = blocks.transpose(1, 0, 2).reshape(rows, -1)[:, :K].astype(float)
    exact = A @ B.astype(float)
    assert_within(C.inside.reshape(rows, columns), exact, np.abs(A) @ np.abs(B.astype(float)), K)
    C.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_element_of_a_tile_does_not_depend_on_its_shape(dtype):
    """One chain of fmas per element, in the order of k: what the numerical contract rests on."""
    rng = np.random.default_rng(0)
    K, columns = 100, 2 * VECTOR_BYTES // np.dtype(dtype).itemsize
    A = rng.standard_normal((dense.TALL, K)).astype(dtype)
    B = rng.standard_normal((K, columns)).astype(dtype)
    results = []
    for shape in SHAPES:
        C = np.full((dense.TALL, columns), np.nan, dtype)
        call = from_python(CALLS[shape])
        call(C.ravel(), 0, columns, A.ravel(), 0, K, 1, 1, B.ravel(), 0, columns, K, simd.START_ZERO, B.ravel(), 0)
        results.append(C[0, : columns // 2].copy())
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.jit
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_tile_spills_in_its_k_loop(shape, dtype):
    if VECTOR_BYTES == 16 or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("reads x86 code with vector fmas; without AVX, a tile is a row of calls")
    tile = TILES[shape]

    def call(C, c, ldc, A, a, ra, ka, jump, B, b, kb, K, start, bias, o):
        tile(C, c, ldc, A, a, ra, ka, jump, B, b, kb, K, start, bias, o)

    T = types.float32 if dtype == "float32" else types.float64
    flat, i = types.Array(T, 1, "C"), types.intp
    dispatcher = njit((flat, i, i, flat, i, i, i, i, flat, i, i, i, i, flat, i), **OPTIONS)(call)
    (assembly,) = dispatcher.inspect_asm().values()
    loops = inner_loops_with_fma(assembly)
    assert loops, "no loop with vector fmas was found in the machine code"
    for loop in loops:
        assert len(re.findall(r"fn?madd\d+p", loop)) == shape[0] * shape[1], "the loop was unrolled, or not whole"
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (16, 48), (64, 32), (80, 16)])
def test_transpose(rows, columns, dtype):
    source = np.arange(rows * columns, dtype=dtype).reshape(rows, columns)
    ldt = rows + 5
    S = Guarded(rows * columns + columns * ldt, dtype)
    S.inside[: rows * columns] = source.ravel()
    from_python(dense.transpose)(S.whole, S.offset, columns, S.offset + rows * columns, ldt, rows, columns)
    target = S.inside[rows * columns :].reshape(columns, ldt)
    np.testing.assert_array_equal(target[:, :rows], source.T)
    assert np.isnan(target[:, rows:]).all()
    S.assert_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("squared", [False, True])
def test_ordered_sum(squared, dtype):
    rng = np.random.default_rng(0)
    for n in (0, 1, 15, 16, 17, 63, 64, 65, 209, 1000):
        x = rng.standard_normal(n + 2).astype(dtype)
        total = from_python(dense.ordered_sum)(x, 1, n, squared)
        terms = x[1 : n + 1].astype(float) ** (2 if squared else 1)
        assert_within(np.float64(total), np.float64(terms.sum()), np.abs(terms).sum(), max(n, 1))


@pytest.mark.jit
def test_order_of_a_lane_sum():
    """Sixteen partial sums, then halves added to halves: with numbers that show any other order."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(160) * 10.0 ** rng.integers(-12, 12, 160)
    lanes = np.zeros(16)
    for row in x.reshape(10, 16):
        lanes = lanes + row
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    assert from_python(dense.ordered_sum)(x, 0, 160, False) == lanes[0]


@pytest.mark.jit
def test_intrinsics_refuse_other_arrays():
    """Malformed LLVM code would abort the process, so a wrong argument must be stopped before."""
    wrong = np.zeros((4, 4), np.float32), np.zeros(16, np.int64), np.zeros(32, np.float32)[::2]
    for array in wrong:
        with pytest.raises(Exception, match="needs flat C-contiguous arrays"):
            from_python(dense.ordered_sum)(array, 0, 16, False)
