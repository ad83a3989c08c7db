"""The threads that train several networks: each takes the next one that nobody has, until there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastnet.engine.progress import Progress, duration
from fastnet.engine.threads import Helpers
from fastnet.errors import is_of_a_handler
from fastnet.history import History
from fastnet.report import significant


class CalledOff(BaseException):
    """Ends a fit because another one, or the caller, was interrupted or failed."""


class ManyProgress(Progress):
    """What the fits of all networks report to: a line for all, and where they learn that they are called off."""

    def __init__(self, verbose: Any, networks: int) -> None:
        super().__init__(verbose, networks)
        self.called_off = False
        self.writing, self.loading = threading.Lock(), threading.Lock()

    def call_off(self) -> None:
        """Have all fits end soon."""
        self.called_off = True

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Let one thread compile at a time, and none after the fits are called off: it takes seconds."""
        with self.loading:
            self.update()
            try:
                with super().compiling():
                    yield
            except BaseException:
                self.call_off()
                raise

    def update(self, *_: Any) -> None:
        """End the fit that calls this, if all are called off."""
        if self.called_off:
            raise CalledOff

    def close(self, history: History, seconds: float) -> None:
        """Count a network whose fit has ended by itself."""
        if history.stopped_reason in ("interrupted", "diverged"):
            return
        with self.writing:
            self.finished += 1
            if self.wanted:
                cost = f"  cost {significant(history.cost[-1])}" if history.cost else ""
                line = f"network {self.finished:{len(str(self.epochs))}}/{self.epochs}{cost}  {duration(seconds)}"
                if self.rewrites:
                    self.rewrite(line)
                else:
                    self.write(line + "\n")

    def end_line(self) -> None:
        """Leave the line that was rewritten."""
        if self.wanted and self.rewrites and self.finished:
            self.write("\n")


class Fits:
    """Fits of several networks, each a function; `all` does them by so many threads.

    Before each, `prepare` is called with its number, in their order, by one thread at a time: others train meanwhile.
    """

    def __init__(
        self, fits: Sequence[Callable[[], Any]], prepare: Callable[[int], None], progress: ManyProgress
    ) -> None:  # fmt: skip
        self.fits, self.prepare, self.progress = fits, prepare, progress
        self.left = iter(range(len(fits)))
        self.taking = threading.Lock()
        self.errors: dict[int, BaseException] = {}

    def all(self, threads: int) -> None:
        """Do all; raise the first error, in the order of the fits, once all threads have ended.

        What interrupts this thread comes before any error.
        """
        helpers = Helpers(threads, self.work, self.progress.call_off)
        try:
            if threads > 1:
                helpers.start()  # or this thread does the work alone
            self.work(0)
            helpers.join()
        finally:
            helpers.close()
            self.progress.end_line()
        errors, self.errors = self.errors, {}
        if errors:
            number = min(errors, key=lambda number: (not is_urgent(errors[number]), number))
            error = errors[number]
            if not is_urgent(error):
                error.add_note(f"It is of models[{number}]; the fits of the others were stopped.")
            try:
                raise error
            finally:
                del error, errors  # which refer to the frames they came through
        helpers.check()

    def work(self, member: int) -> None:
        """Do one fit after the other, until none is left or they are called off."""
        while not self.progress.called_off:
            number = None
            try:
                with self.taking:
                    number = next(self.left, None)
                    if number is None:
                        return
                    self.prepare(number)
                self.fits[number]()
            except CalledOff:
                return
            except BaseException as error:
                if number is None:  # a signal's handler has raised it
                    raise
                self.errors[number] = error
                self.progress.call_off()


def is_urgent(error: BaseException) -> bool:
    """Return whether an error is no fault of a fit, but of who wants the program to stop."""
    return not isinstance(error, Exception) or is_of_a_handler(error)
