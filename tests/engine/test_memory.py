"""Memory for the kernels: zeros, aligned, in huge pages where there are some."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from fastnet import Dense, Model
from fastnet.engine import fit, memory
from fastnet.engine.memory import HUGE_PAGE, KEPT, LARGE, LINE, SMALL, aligned_zeros, copy_of, give_back, take

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


@pytest.fixture
def nothing_kept(monkeypatch):
    kept = []
    monkeypatch.setattr(memory, "_kept", kept)
    return kept


def test_memory_that_is_given_back_is_taken_again_by_who_asks_for_as_much(nothing_kept):
    first = take(SMALL // 4, np.dtype(np.float32))
    first[:] = 7
    give_back(first.reshape(2, -1))
    other = take(SMALL // 4 + 16, np.dtype(np.float32))
    again = take(SMALL // 8, np.dtype(np.float64))
    assert not np.shares_memory(other, first)
    assert np.shares_memory(again, first)
    assert again.dtype == np.float64
    assert not np.shares_memory(take(SMALL // 8, np.dtype(np.float64)), first)
    np.testing.assert_array_equal(copy_of(again), again)


def test_little_is_not_kept_and_of_much_only_so_much(nothing_kept):
    give_back(take(SMALL // 4 - 1, np.dtype(np.float32)))
    give_back(take(KEPT + 1, np.dtype(np.uint8)))
    assert not nothing_kept
    for quarters, expected in ((1, [1]), (2, [1, 2]), (1, [1, 2, 1]), (3, [1, 3]), (2, [2]), (3, [3])):
        give_back(np.zeros(quarters * KEPT // 4, np.uint8))
        assert [piece.nbytes * 4 // KEPT for piece in nothing_kept] == expected  # what came last


def test_memory_is_not_given_back_twice(nothing_kept):
    piece, other = take(SMALL, np.dtype(np.uint8)), take(SMALL, np.dtype(np.uint8))
    give_back(piece)
    for again in (piece, piece[8:], piece.view(np.int64)):
        with pytest.raises(ValueError, match="given back twice") if again.nbytes >= SMALL else nullcontext():
            give_back(again)
    give_back(other)
    assert not np.shares_memory(take(SMALL, np.dtype(np.uint8)), take(SMALL, np.dtype(np.uint8)))


def test_runs_leave_their_memory_to_the_next(nothing_kept):
    rng = np.random.default_rng(0)
    X, y = rng.random((500, 300)), rng.random(500)
    model = Model([Dense(100, "relu"), Dense(1)], seed=0)
    model.step(X, y)
    before = sorted(piece.ctypes.data for piece in nothing_kept)
    assert len(set(before)) == len(before) >= 3  # the scratch memory; gradient and parameters, and copies of them
    for _ in range(2):
        model.step(X, y)
        model.cost(X, y)
        assert sorted(piece.ctypes.data for piece in nothing_kept) == before


def test_memory_is_given_back_once_when_an_interrupt_comes_with_a_new_snapshot(nothing_kept, monkeypatch):
    rng = np.random.default_rng(0)
    taken, take_snapshot = [], fit.take_snapshot

    def interrupted(run, now):
        taken.append(now)
        if len(taken) == 2:
            raise KeyboardInterrupt
        return take_snapshot(run, now)

    monkeypatch.setattr(fit, "SNAPSHOT_SECONDS", -1.0)
    monkeypatch.setattr(fit, "take_snapshot", interrupted)
    model = Model([Dense(100, "relu"), Dense(1)], seed=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(rng.random((500, 300)), rng.random(500), epochs=10**6, verbose=False)
    places = [piece.ctypes.data for piece in nothing_kept]
    assert len(set(places)) == len(places) >= 3


def test_threads_take_and_give_back_at_once(nothing_kept):
    def work(_):
        for size in (1, 2, 3) * 300:
            piece = take(size * SMALL, np.dtype(np.uint8))
            piece[:8] = np.frombuffer(threading.get_ident().to_bytes(8, "little"), np.uint8)
            time.sleep(0)
            assert piece[:8].tobytes() == threading.get_ident().to_bytes(8, "little")
            give_back(piece)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len({piece.ctypes.data for piece in nothing_kept}) == len(nothing_kept)


def test_a_gradient_that_was_asked_for_is_not_taken_from_the_user(nothing_kept):
    rng = np.random.default_rng(0)
    X, y = rng.random((50, 300)), rng.random(50)
    model = Model([Dense(100, "relu"), Dense(1)], seed=0)
    model.build(300)
    gradients = model.gradients(X, y)
    copies = [dW.copy() for dW, _ in gradients]
    for _ in range(3):
        model.step(X, y)
    for (dW, _), copy in zip(gradients, copies, strict=True):
        np.testing.assert_array_equal(dW, copy)


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
