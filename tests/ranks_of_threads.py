"""A transport of a few lines, as the guide shows one: the ranks are threads of this process."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np


class RankOfThreads:
    """One of the ranks that meet at a barrier, and lay what they say on a table: a place for each."""

    def __init__(self, rank: int, barrier: threading.Barrier, table: list[Any]) -> None:
        self.rank, self.size, self.barrier, self.table = rank, barrier.parties, barrier, table

    def say(self, array: np.ndarray) -> None:
        """Lay an array on the table; all must be flat, of one length and dtype, which MPI takes for granted."""
        self.table[self.rank] = array.copy()
        self.barrier.wait()
        forms = {(each.shape, each.dtype) for each in self.table}
        assert len(forms) == 1, forms

    def allreduce(self, array: np.ndarray) -> None:
        self.say(array)
        total = np.zeros_like(array)
        for each in self.table:
            total += each  # in the order of the ranks, so all find the same
        self.barrier.wait()  # all have heard it
        array[:] = total

    def bcast(self, array: np.ndarray, root: int) -> None:
        self.say(array)
        heard = self.table[root]
        self.barrier.wait()
        array[:] = heard


def run_ranks(
    size: int, work: Callable[[RankOfThreads], Any], *, kind: type[RankOfThreads] = RankOfThreads
) -> list[Any]:
    """Return what `work` returns, or raises, on each of so many ranks; one that would wait for ever has an error."""
    barrier, table, found = threading.Barrier(size, timeout=60), [None] * size, [None] * size

    def run(rank: int) -> None:
        try:
            found[rank] = work(kind(rank, barrier, table))
        except BaseException as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
