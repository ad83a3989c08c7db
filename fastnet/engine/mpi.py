"""Ranks connected by MPI, through mpi4py."""

from __future__ import annotations

from typing import Any

import numpy as np


class OverMPI:
    """A `Communicator` over one of mpi4py.

    The standard leaves the order of the additions of MPI_Allreduce to the library, which may choose it by the length
    of the message or where the ranks are. So each rank adds up a slice of the vector itself, in the order of the ranks,
    and all slices are then gathered: as many bytes as a ring moves, and the same bits for a number of ranks, whatever
    the library. The one addition of two ranks has no other order.
    """

    def __init__(self, communicator: Any) -> None:
        self.communicator = communicator
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()
        self.received = np.empty((0, 0))

    def allreduce(self, array: np.ndarray) -> None:
        """Put the sum over all ranks, added in their order, in the place of an array."""
        if self.size == 2:
            from mpi4py import MPI

            self.communicator.Allreduce(MPI.IN_PLACE, array)
            return
        ends = np.arange(1, self.size + 1) * len(array) // self.size
        starts = np.concatenate([[0], ends[:-1]])
        counts = ends - starts
        mine = int(counts[self.rank])
        if self.received.shape != (self.size, mine) or self.received.dtype != array.dtype:
            self.received = np.empty((self.size, mine), array.dtype)
        rows = np.full(self.size, mine), np.arange(self.size) * mine
        self.communicator.Alltoallv([array, (counts, starts)], [self.received, rows])
        total = self.received[0]
        with np.errstate(all="ignore"):  # a sum that is not finite is seen later
            for row in self.received[1:]:
                total += row
        self.communicator.Allgatherv(total, [array, (counts, starts)])

    def bcast(self, array: np.ndarray, root: int) -> None:
        """Put the array of one rank in the place of those of the others."""
        self.communicator.Bcast(array, root)
