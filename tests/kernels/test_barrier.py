"""The barrier by itself; `tests/engine/test_threads.py` has teams that train."""

import threading

import numpy as np
import pytest
from compiled import from_python

from fastnet.kernels.blocks import BOUNDS_CHECKED
from fastnet.kernels.ir.barrier import ARRIVED, OPENED, STOPPED, TEAM, meet


def test_one_alone_need_not_wait():
    team = np.zeros(TEAM, np.int64)
    assert from_python(meet)(team, 1)
    assert not team.any()


@pytest.mark.parametrize("threads", [2, 3])
def test_it_opens_when_all_have_come_and_again(threads):
    team, results = np.zeros(TEAM, np.int64), []
    call = from_python(meet)
    call(np.ones(TEAM, np.int64), 1)  # compiled before

    def come():
        results.extend(call(team, threads) for _ in range(5))

    others = [threading.Thread(target=come) for _ in range(threads)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert results == [True] * 5 * threads
    assert team[OPENED] == 5
    assert team[ARRIVED] == 0


def test_nobody_waits_for_a_run_that_is_called_off():
    team = np.zeros(TEAM, np.int64)
    team[STOPPED] = 1
    assert not from_python(meet)(team, 2)


@pytest.mark.skipif(not BOUNDS_CHECKED, reason="bounds are checked with NUMBA_BOUNDSCHECK=1, and with the JIT off")
@pytest.mark.parametrize("size", [0, STOPPED])
def test_an_array_that_is_too_short_is_refused(size):
    with pytest.raises(IndexError):
        from_python(meet)(np.zeros(size, np.int64), 2)
