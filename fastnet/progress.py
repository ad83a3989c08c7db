"""The line that `fit` prints for each epoch."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import numpy as np


class Progress:
    """A line per epoch on standard output; on a terminal, the running epoch's line is rewritten as it goes on.

    Parameters
    ----------
    verbose : "auto" or bool
        "auto": print when standard output is a terminal.
    epochs : int
        How many there will be.

    Raises
    ------
    ValueError
        If `verbose` is neither.
    """

    def __init__(self, verbose: Any, epochs: int) -> None:
        if verbose != "auto" and verbose not in (True, False):
            raise ValueError(f"verbose must be 'auto', True or False, not {verbose!r}.")
        self.stream: TextIO = sys.stdout
        self.on_terminal = self.stream is not None and self.stream.isatty()
        self.wanted = self.on_terminal if verbose == "auto" else bool(verbose)
        self.epochs = epochs
        self.finished = 0

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Say why nothing moves yet, on a terminal, and take it back."""
        shown = self.wanted and self.on_terminal
        if shown:
            self.stream.write("preparing the kernels; the first time on a machine, that takes some seconds ...")
            self.stream.flush()
        try:
            yield
        finally:
            if shown:
                self.stream.write("\r\x1b[K")
                self.stream.flush()

    def update(self, costs: np.ndarray, finished: int, share: float, seconds: float) -> None:
        """Print the epochs finished since the last call, and how far the next has come.

        The first `finished` entries of `costs` are those of epochs done; `share` is the part of the next that is
        done (0 to 1), `seconds` the time since the start.
        """
        if not self.wanted:
            return
        width = len(str(self.epochs))
        start = "\r\x1b[K" if self.on_terminal else ""
        for epoch in range(self.finished, finished):
            self.stream.write(
                f"{start}epoch {epoch + 1:{width}}/{self.epochs}  cost {costs[epoch]:.6g}  {seconds:.1f} s\n"
            )
        self.finished = finished
        if self.on_terminal and self.finished < self.epochs:
            self.stream.write(f"{start}epoch {self.finished + 1:{width}}/{self.epochs}  {share:4.0%}  {seconds:.1f} s")
        self.stream.flush()

    def close(self) -> None:
        """End the line of an epoch that was left unfinished."""
        if self.wanted and self.on_terminal and self.finished < self.epochs:
            self.stream.write("\n")
            self.stream.flush()
