"""What `fit` shows while it goes on: a line that is rewritten, or a line for each epoch."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.errors import is_of_a_handler
from fastnet.history import History
from fastnet.report import significant

REWRITE_SECONDS = 0.1


def _is_asked_for(verbose: Any) -> bool:
    if isinstance(verbose, (bool, np.bool_)):
        return bool(verbose)
    try:
        return checks.integer_from(0, verbose, "verbose") > 0
    except (TypeError, ValueError):
        raise ValueError(f"verbose must be 'auto', True or False, or an integer from 0, not {verbose!r}.") from None


class Progress:
    """Epoch, cost, cost of validation, metrics, examples per second and remaining time, on standard output.

    On a terminal, one line that is rewritten; in a notebook, tqdm's bar if it and ipywidgets are installed, else that
    line. Elsewhere a line for each of the `epochs`, if it is asked for. `verbose` is a bool, or a number, 0 for
    nothing; or "auto": on a terminal and in a notebook. ValueError for anything else. What cannot be shown is not, from
    then on, and ends no fit.
    """

    def __init__(self, verbose: Any, epochs: int) -> None:
        if not (isinstance(verbose, str) and verbose == "auto"):
            verbose = _is_asked_for(verbose)
        self.stream: Any = getattr(sys, "stdout", None)
        self.in_notebook = in_notebook()
        self.rewrites = self.in_notebook or is_terminal(self.stream)
        self.wanted = self.rewrites if verbose == "auto" else verbose and self.stream is not None
        self.bar: Any = None
        self.bar_is_due = self.in_notebook
        self.epochs = epochs
        self.finished = 0
        self.written_at = -REWRITE_SECONDS
        self.speed, self.width = "", 0

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Say why nothing moves yet, on a terminal, and take it back."""
        shown = self.wanted and self.rewrites
        if shown:
            self.rewrite("compiling kernels, once on this machine: some seconds ...")
        try:
            yield
        finally:
            if shown:
                self.rewrite("")

    def go_on(self, epoch: int, path: Any) -> None:
        """Say that a fit goes on from a checkpoint, after so many epochs, which are not shown again."""
        self.finished = epoch
        if self.wanted:
            self.write(f"going on after epoch {epoch}/{self.epochs}, from {os.fspath(path)}\n")

    def update(self, history: History, example: int, examples: int | None, seconds: float) -> None:
        """Show the epochs finished since the last call, and how far the next has come.

        That has done `example` of so many examples, None if that is not known yet, `seconds` after the start.
        """
        if not self.wanted:
            return
        if self.bar_is_due:
            self.bar_is_due = False
            with self.until_it_fails():
                self.bar = bar_of_epochs(self.epochs)
                if self.bar is not None:
                    self.bar.update(self.finished)
        new, self.finished = range(self.finished, history.epochs), history.epochs
        if self.bar is not None:
            with self.until_it_fails():
                if new:
                    self.bar.set_postfix(costs_of(history, new[-1]), refresh=False)
                    self.bar.update(len(new))
            return
        if not self.rewrites:
            self.write("".join(f"{self.described(history, epoch)}  {seconds:.1f} s\n" for epoch in new))
        elif seconds - self.written_at >= REWRITE_SECONDS or self.finished == self.epochs:
            self.written_at = seconds
            line = self.described(history, self.finished - 1)
            if examples is None:  # in the first epoch
                self.speed = f"  {significant(example / seconds)} rows/s"
                self.rewrite(f"{line}  ({example} rows of the next){self.speed}")
                return
            done = self.finished + example / examples
            rate, left = done * examples / seconds, (self.epochs - done) / done * seconds
            if example:
                line += f"  ({example / examples:.0%} of the next)"
            self.speed = f"  {significant(rate)} rows/s"
            self.rewrite(f"{line}{self.speed}  {duration(left)} left")

    def described(self, history: History, epoch: int) -> str:
        """Return the number and the costs of an epoch finished, -1 for none."""
        width = len(str(self.epochs))
        values = costs_of(history, epoch) if epoch >= 0 else {}
        costs = "".join(f"  {name} {value}" for name, value in values.items())
        return f"epoch {epoch + 1:{width}}/{self.epochs}{costs}"

    def rewrite(self, line: str, end: str = "") -> None:
        """Put a line in the place of the last, as much of it as fits on a terminal: two could not be taken back."""
        if self.in_notebook:  # which has room, and does not know the sign to erase
            self.write(f"\r{line.ljust(self.width)}{end}")
            self.width = len(line)
            return
        self.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}{end}")

    def write(self, text: str) -> None:
        """Write to the stream, at once; what programs put in its place may know no `flush`."""
        with self.until_it_fails():
            self.stream.write(text)
            getattr(self.stream, "flush", lambda: None)()

    @contextmanager
    def until_it_fails(self) -> Iterator[None]:
        """Show something, and nothing any more once that has failed."""
        try:
            yield
        except Exception as error:
            self.wanted = False
            if is_of_a_handler(error):
                raise

    def close(self, history: History, seconds: float) -> None:
        """Leave the line of the last epoch, the time in all at its end."""
        if self.bar is not None:
            with self.until_it_fails():
                self.bar.close()
        elif self.wanted and self.rewrites and self.speed:
            self.rewrite(f"{self.described(history, history.epochs - 1)}{self.speed}  {duration(seconds)}", end="\n")


def costs_of(history: History, epoch: int) -> dict[str, str]:
    """Return what is shown of an epoch: its cost, that of validation, and the metrics asked for."""
    series = {"cost": history.cost, "val_cost": history.val_cost, **history.metrics}
    # Ctrl-C may have come before all of an epoch was recorded.
    return {name: significant(values[epoch]) for name, values in series.items() if epoch < len(values)}


def duration(seconds: float) -> str:
    """Return a time as h:mm:ss, or in seconds if it is less than a minute."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def in_notebook() -> bool:
    """Return whether this runs in a notebook's kernel; without loading IPython where it is not."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal: one that is closed, or no stream, is not."""
    try:
        return bool(stream.isatty())
    except Exception as error:
        if is_of_a_handler(error):
            raise
        return False


def bar_of_epochs(epochs: int) -> Any:
    """Return tqdm's bar for a notebook, or None if tqdm or ipywidgets, which draws it, is not installed."""
    try:
        import ipywidgets  # noqa: F401
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=epochs, unit="epoch")
