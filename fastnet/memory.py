"""Memory for the kernels to work in: aligned, and in huge pages where it is large."""

import mmap

import numpy as np

LINE = 64
HUGE_PAGE = 2**21
LARGE = 2 * HUGE_PAGE
"""From so many bytes on, huge pages are asked for. With pages of 4096 bytes, of which a processor knows few addresses
at a time, a step of the workload cats took 1.35 times as long, and one of logistic 1.5 times (`benchmarks/peers.py
--only cats logistic`, with MAP_SHARED below, which gets no huge pages). NumPy asks for them too; but memory that malloc
hands out again keeps the pages it had."""


def aligned_zeros(n: int, dtype: np.dtype) -> np.ndarray:
    """Return n zeros that begin at a multiple of 64 bytes, so that vector loads do not straddle cache lines."""
    size = n * dtype.itemsize
    if size >= LARGE and hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            return in_huge_pages(size).view(dtype)
        except OSError:  # no room, or the system knows no huge pages
            pass
    memory = np.zeros(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype)


def in_huge_pages(size: int) -> np.ndarray:
    """Return so many bytes, all zero, that begin where a huge page does."""
    area = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(area, np.uint8)  # keeps the area until the array is gone
    start = -memory.ctypes.data % HUGE_PAGE
    return memory[start : start + size]
