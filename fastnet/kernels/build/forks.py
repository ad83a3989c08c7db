"""What no fork may come in between: the import of the kernels; a part that is loaded or compiled.

Of all threads a child has the one that forked it. What the others held it would wait for in vain, of the locks of
Python's imports, of numba and of LLVM, and what they were at stays as it was. So who forks waits for the end of it.
"""

import os
from contextlib import suppress
from threading import RLock

lock = RLock()
"""Held meanwhile. A child has another: `forks.lock`, each time."""


def _release() -> None:
    with suppress(RuntimeError):  # hooks were added while this fork waited
        lock.release()


def _make_new() -> None:
    global lock
    lock = RLock()


def _add_hooks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lambda: lock.acquire(), after_in_parent=_release, after_in_child=_make_new)


_add_hooks()
_comes_before_logging = False


def come_before_logging() -> None:
    """Make whoever forks come here first, and then to logging's lock, which compiling takes. Needs `lock`.

    The latest hooks are called first. logging takes long to import, and is needed where something is compiled only.
    """
    global _comes_before_logging
    if not _comes_before_logging:
        import logging  # noqa: F401

        _add_hooks()
        _comes_before_logging = True
