"""Memory for the kernels: zeros, aligned, in huge pages where there are some."""

import mmap

import numpy as np
import pytest

from fastnet import memory
from fastnet.memory import HUGE_PAGE, LARGE, LINE, aligned_zeros

FLOAT64 = np.dtype(np.float64)


def unavailable(*args, **kwargs):
    raise OSError("there is no room")


@pytest.mark.parametrize("n", [0, 1, 17, LARGE // 8 - 1, LARGE // 8, LARGE // 8 + 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_are_aligned_and_may_be_written(n, dtype):
    array = aligned_zeros(n, np.dtype(dtype))
    assert array.shape == (n,)
    assert array.dtype == dtype
    assert array.ctypes.data % LINE == 0
    assert not array.any()
    array[:] = 1
    assert array.sum() == n


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no huge pages to ask for")
def test_large_memory_begins_with_a_huge_page():
    assert aligned_zeros(LARGE // 8, FLOAT64).ctypes.data % HUGE_PAGE == 0


@pytest.mark.parametrize("n", [17, LARGE // 8])
def test_without_huge_pages_it_is_zeros_all_the_same(n, monkeypatch):
    monkeypatch.setattr(memory.mmap, "mmap", unavailable)
    array = aligned_zeros(n, FLOAT64)
    assert array.shape == (n,)
    assert array.ctypes.data % LINE == 0
    assert not array.any()
