"""Memory for the kernels to work in: aligned, in huge pages where it is large, and kept for the next run."""

import mmap
import os
import threading

import numpy as np

from fastnet.errors import is_of_a_handler

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
        except OSError as error:  # no room, or the system knows no huge pages
            if is_of_a_handler(error):
                raise
    memory = np.zeros(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype)


SMALL, KEPT = 2**16, 2**26
"""Memory of fewer bytes is not worth keeping; and of all that is given back, so much is kept at the most."""

_kept: list[np.ndarray] = []
"""What was given back, as bytes, the latest last."""

_lock = threading.Lock()


def take(n: int, dtype: np.dtype) -> np.ndarray:
    """Return n numbers, of any value, aligned as those above: memory that was given back, if some is of that size.

    The system hands out pages one by one, and clears them first: that was half of the time of a single step of
    784-256-128-10 (`scripts/bench --bench Step`).
    """
    size = n * dtype.itemsize
    with _lock:
        for i in reversed(range(len(_kept))):
            if _kept[i].nbytes == size:
                return _kept.pop(i).view(dtype)
    return aligned_zeros(n, dtype)


def copy_of(array: np.ndarray) -> np.ndarray:
    """Return a copy of a flat array, in memory that `take` gives."""
    copy = take(array.size, array.dtype)
    copy[:] = array
    return copy


def give_back(memory: np.ndarray) -> None:
    """Keep memory of `take`, which nobody may use any more, for the next that asks for as much.

    ValueError if it was given back before and not taken since: two runs would work in it at once.
    """
    if not SMALL <= memory.nbytes <= KEPT:
        return
    with _lock:
        if any(np.may_share_memory(memory, piece) for piece in _kept):
            raise ValueError(f"memory of {memory.nbytes} bytes was given back twice. Give it back once.")
        _kept.append(memory.reshape(-1).view(np.uint8))
        while sum(piece.nbytes for piece in _kept) > KEPT:
            del _kept[0]


def _forget() -> None:
    """Keep nothing, with a lock of its own: in a forked process, where the thread that held the lock is gone."""
    global _lock
    _lock = threading.Lock()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def in_huge_pages(size: int) -> np.ndarray:
    """Return so many bytes, all zero, that begin where a huge page does."""
    area = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(area, np.uint8)  # keeps the area until the array is gone
    start = -memory.ctypes.data % HUGE_PAGE
    return memory[start : start + size]
