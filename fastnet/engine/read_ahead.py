"""The next item of an iterator, got by a thread while another works on the one before."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Generator
from typing import Any

from fastnet.engine.threads import Helpers


class Ahead:
    """Items of a generator, each got by a thread while the caller works on the one before; to be closed.

    Where no thread can be had, the caller gets each when it asks for it. What the generator raises is raised by `next`.
    """

    def __init__(self, items: Generator[Any, None, None]) -> None:
        self.items = items
        self.found: list[Any] = []
        self.helpers: Helpers | None = None
        self.busy = allocate_lock()

    def next(self) -> Any:
        """Return the next item, and have the one after it got; RuntimeError in a forked child."""
        if self.helpers is None:
            item = next(self.items)
        elif not self.helpers.are_here:
            raise RuntimeError(
                "A fit on a stream cannot go on in a forked process, where no thread reads the stream. Fit there anew."
            )
        else:
            with self.busy:  # until it is there
                self.helpers.check()
                item = self.found.pop()
        self._begin()
        return item

    def _begin(self) -> None:
        """Let a thread get the next item, if there is one to be had."""
        items, found, busy = self.items, self.found, allocate_lock()
        busy.acquire()

        def get(_: int) -> None:
            try:
                found.append(next(items))
            finally:
                busy.release()

        # Known before it starts, so that `close` ends it whenever a signal comes.
        self.busy, self.helpers = busy, Helpers(2, get, lambda: None)
        if not self.helpers.start():
            self.helpers = None

    def close(self) -> None:
        """Wait for the thread, and close the generator; a forked child has neither."""
        if self.helpers is not None:
            self.helpers.close()
            if not self.helpers.are_here:
                return
        self.items.close()
