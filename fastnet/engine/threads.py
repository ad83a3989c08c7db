"""How many threads to use, and the threads themselves.

A fit never uses more threads than cores it may run on and that no other fit of this process is using, but always one.
The result does not depend on it.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

from fastnet.checks import positive_integer

ENVIRONMENT = ("FASTNET_NUM_THREADS", "OMP_NUM_THREADS")
"""Limits from outside, the first that is set counts. joblib sets the second in its worker processes."""

_lock = threading.Lock()
_limit: int | None = None
_reserved: dict[object, int] = {}
"""How many cores each running fit or prediction uses."""


def set_num_threads(n: int) -> None:
    """Let fits and predictions use up to n threads from now on; never more than `available_cores()` are used.

    TypeError or ValueError if n is not an integer of at least 1.
    """
    global _limit
    _limit = positive_integer(n, "n")


def get_num_threads() -> int:
    """Return how many threads a large enough fit or prediction uses.

    What `set_num_threads` was given, or else FASTNET_NUM_THREADS or OMP_NUM_THREADS says, or else all there is; but at
    most `available_cores()`.
    """
    limits = _limit_of_environment() if _limit is None else [_limit]
    return min([available_cores(), *limits])


def _limit_of_environment() -> list[int]:
    """Return the first limit set in the environment, if any; ValueError where FASTNET_NUM_THREADS is no number."""
    for name in ENVIRONMENT:
        text = os.environ.get(name, "").split(",")[0].strip()  # OpenMP knows lists, one entry a level of nesting
        if text.isdigit() and int(text) > 0:
            return [int(text)]
        if text and name == "FASTNET_NUM_THREADS":
            raise ValueError(f"FASTNET_NUM_THREADS must be an integer of at least 1, not {text!r}.")
    return []


def available_cores() -> int:
    """Return how many cores this process may use: those of its affinity mask, and no more than its cgroup's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    return max(1, min(cores, _cgroup_quota()))


@cache
def _cgroup_quota() -> int:
    """Return the quota of the control group, in cores, rounded up; where there is none, a large number."""
    none = 10**6
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return none
    quotas = [none]
    for line in groups:
        _, controllers, path = line.split(":", 2)
        root = Path("/sys/fs/cgroup") if not controllers else Path("/sys/fs/cgroup", "cpu")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # The limit may be that of any group above; inside a container, its own is the root that is seen.
        for folder in (root / path.lstrip("/"), *(root / path.lstrip("/")).parents):
            if not folder.is_relative_to(root):
                break
            quotas += _quota_of(folder)
    return min(quotas)


def _quota_of(folder: Path) -> list[int]:
    """Return the quota set in one control group's folder, version 2 or 1, if any."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return [] if quota == "max" or int(quota) <= 0 else [math.ceil(int(quota) / int(period))]
    except (OSError, ValueError):
        return []


@contextmanager
def reserved_cores(wanted: int) -> Iterator[int]:
    """Yield how many threads to use: `wanted`, or as many as there are cores that no other fit uses, but at least 1."""
    reservation = object()
    try:
        with _lock:
            # One assignment, which no Ctrl-C can divide.
            _reserved[reservation] = max(1, min(wanted, available_cores() - sum(_reserved.values())))
        yield _reserved[reservation]
    finally:
        _reserved.pop(reservation, None)


class OneAtATime:
    """Sees to it that one caller alone trains or builds a model; that of a copy, pickled or not, is free.

    `busy` is written, and must be read where it shall stay, under `lock`.
    """

    everyone: ClassVar[WeakSet[OneAtATime]] = WeakSet()

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: int | None = None
        self.everyone.add(self)

    @property
    def busy(self) -> bool:
        """Whether somebody trains or builds the model: `thread`."""
        return self.thread is not None

    @contextmanager
    def __call__(self, method: str) -> Iterator[None]:
        """Let nobody else meanwhile; RuntimeError if somebody does already."""
        with self.lock:
            if self.busy:
                raise RuntimeError(
                    f"{method} was called on a model that is being trained: by a callback, or in another thread. Train "
                    "a copy.copy(model), or wait for the end of fit."
                )
            self.thread = threading.get_ident()
        try:
            yield
        finally:
            self.thread = None

    def __reduce__(self) -> tuple[type[OneAtATime], tuple[()]]:
        return type(self), ()


def _forget_other_threads() -> None:
    """After a fork: whatever other threads were doing, they are not in the child."""
    global _lock
    _lock = threading.Lock()
    _reserved.clear()
    for each in OneAtATime.everyone:
        each.lock = threading.Lock()
        if each.thread != threading.get_ident():
            each.thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


class Helpers:
    """A team of n threads: this one, and those that each run `work(member)`, for members 1, 2, ..., n - 1.

    `start` starts those. `stop` is called when one raises, and by `close`: must make `work` return soon, everywhere.

    gevent, and others that patch `threading`, start what takes turns with this thread, and so would wait for a barrier
    for ever: the system's number of the thread tells.
    """

    def __init__(self, n: int, work: Callable[[int], Any], stop: Callable[[], None]) -> None:
        self.work, self.stop = work, stop
        self.error: BaseException | None = None
        self.starter, self.process = threading.get_native_id(), os.getpid()
        self.threads = [
            threading.Thread(target=self._run, args=(member,), name=f"fastnet-{member}", daemon=True)
            for member in range(1, n)
        ]

    def start(self) -> None:
        """Start them; RuntimeError, and none is left running, if the system refuses, or they are no threads."""
        try:
            for thread in self.threads:
                thread.start()
                if thread.native_id == self.starter:
                    raise RuntimeError("can't start new thread: threading is patched")
        except BaseException:
            self.close()
            raise

    @property
    def are_here(self) -> bool:
        """Whether they can be running: a forked child has none of them."""
        return self.process == os.getpid()

    def _run(self, member: int) -> None:
        try:
            if threading.get_native_id() != self.starter:
                self.work(member)
        except BaseException as error:
            self.error = error
            self.stop()

    def check(self) -> None:
        """Raise here what one of the threads raised."""
        if self.error is not None:
            raise self.error

    def join(self) -> None:
        """Wait until all that have begun have returned."""
        for thread in self.threads:
            if thread.ident is not None:
                thread.join()

    def close(self) -> None:
        """Stop them, and wait until all have returned."""
        self.stop()
        self.join()
