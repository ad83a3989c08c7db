"""What no fork may come in between: the import of the kernels; a part that is loaded or compiled.

Of all threads a child has the one that forked it. What the others held it would wait for in vain, of the locks of
Python's imports, of numba and of LLVM, and what they were at stays as it was. So who forks waits for the end of it.
"""

import logging  # noqa: F401 - numba logs: hooks run from the latest, and who forks must not come here with logging's lock
import os
from threading import RLock

lock = RLock()
"""Held meanwhile. A child has another: `forks.lock`, each time."""


def _make_new() -> None:
    global lock
    lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: lock.acquire(), after_in_parent=lambda: lock.release(), after_in_child=_make_new)
