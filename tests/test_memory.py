"""Memory for the kernels: zeros, aligned, in huge pages where there are some."""

import os
from pathlib import Path

import numpy as np
import pytest

from fastnet import memory
from fastnet.memory import HUGE_PAGE, LARGE, LINE, aligned_zeros

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
needs_huge_pages = pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="this system has no huge pages to ask for"
)


def unavailable(*args, **kwargs):
    raise OSError("there is no room")


@pytest.mark.parametrize("size", [0, 8, 136, LARGE - 8, LARGE, LARGE + 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_are_aligned_and_may_be_written(size, dtype):
    n = size // dtype.itemsize
    array = aligned_zeros(n, dtype)
    assert array.shape == (n,)
    assert array.dtype == dtype
    assert n == 0 or array.ctypes.data % LINE == 0
    assert not array.any()
    array[:] = 1
    assert array.sum() == n


@needs_huge_pages
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_memory_begins_with_a_huge_page(dtype):
    assert aligned_zeros(LARGE // dtype.itemsize, dtype).ctypes.data % HUGE_PAGE == 0


@pytest.mark.parametrize("size", [136, LARGE])
def test_without_huge_pages_it_is_zeros_all_the_same(size, monkeypatch):
    monkeypatch.setattr(memory.mmap, "mmap", unavailable)
    array = aligned_zeros(size // 8, np.dtype(np.float64))
    assert array.nbytes == size
    assert array.ctypes.data % LINE == 0
    assert not array.any()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_memory_of_its_own():
    array = aligned_zeros(LARGE // 8, np.dtype(np.float64))
    child = os.fork()
    if child == 0:
        array[:] = 1
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not array.any()
