"""How many threads to use, and the threads themselves.

A fit never uses more threads than cores it may run on and that no other fit of this process is using, but always one.
The result does not depend on it.
"""

from __future__ import annotations

import math
import os
import threading
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any, ClassVar
from weakref import finalize, ref

from fastnet.checks import positive_integer
from fastnet.errors import is_of_a_handler

ENVIRONMENT = ("FASTNET_NUM_THREADS", "OMP_NUM_THREADS")
"""Limits from outside, the first that is set counts. joblib sets the second in its worker processes."""

THREADS_ARE_REAL = isinstance(start_new_thread, BuiltinFunctionType)
"""gevent, and others that put a function of their own there, start what takes turns with the thread that starts it, and
so would wait for a barrier for ever."""

_lock = threading.Lock()
_limit: int | None = None
_reserved: dict[object, int] = {}
"""How many cores each running fit or prediction uses."""


def set_num_threads(n: int) -> None:
    """Let fits and predictions use up to n threads from now on, but never more than cores that this process may use.

    TypeError or ValueError if n is not an integer of at least 1.

    Examples
    --------
    >>> fastnet.set_num_threads(1)
    >>> fastnet.get_num_threads()
    1
    """
    global _limit
    _limit = positive_integer(n, "n")


def get_num_threads() -> int:
    """Return how many threads a large enough fit or prediction uses.

    What `set_num_threads` was given, or else FASTNET_NUM_THREADS or OMP_NUM_THREADS says, or else all there is; but at
    most the cores that this process may use: those of its affinity mask, and of its cgroup's quota.

    Examples
    --------
    >>> fastnet.set_num_threads(1)
    >>> fastnet.get_num_threads()
    1
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

    everyone: ClassVar[set[ref[OneAtATime]]] = set()
    """Those that there are. Of a WeakSet, what a signal's handler raises when one goes would be lost."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: int | None = None
        self.everyone.add(ref(self, self.everyone.discard))

    @property
    def busy(self) -> bool:
        """Whether somebody trains or builds the model: `thread`."""
        return self.thread is not None

    @contextmanager
    def __call__(self, method: str) -> Iterator[None]:
        """Let nobody else meanwhile; RuntimeError if somebody does already."""
        mine, thread = False, threading.get_ident()
        try:
            with self.lock:
                if self.busy:
                    raise RuntimeError(
                        f"{method} was called on a model that is being trained: by a callback, or in another thread. "
                        "Train a copy.copy(model), or wait for the end of fit."
                    )
                self.thread, mine = thread, True  # at once, whenever a signal comes
            yield
        finally:
            if mine:
                self.thread = None

    def __reduce__(self) -> tuple[type[OneAtATime], tuple[()]]:
        return type(self), ()


def _forget_other_threads() -> None:
    """After a fork: whatever other threads were doing, they are not in the child."""
    global _lock
    _lock = threading.Lock()
    _reserved.clear()
    for each in filter(None, [found() for found in list(OneAtATime.everyone)]):
        each.lock = threading.Lock()
        if each.thread != threading.get_ident():
            each.thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


class Helpers:
    """A team of n threads: this one, and those that each run `work(member)`, for members 1, 2, ..., n - 1.

    `stop` must make `work` return soon, everywhere. It is called when one raises, by `close`, and when nobody holds the
    helpers any more, as where a signal's handler raises just before they would be closed: so neither function may
    refer to who holds them.

    They are no `threading.Thread`s, whose `start` loses what a handler raises meanwhile, or raises something else.
    """

    def __init__(self, n: int, work: Callable[[int], Any], stop: Callable[[], None]) -> None:
        self.n, self.work, self.stop = n, work, stop
        self.team, self.process = Team(), os.getpid()
        self.unless_closed = finalize(self, _call_off, self.team, stop)
        self.unless_closed.atexit = False

    def start(self) -> bool:
        """Start them; False, and none is left running, if the system refuses, or they would be no threads."""
        if not THREADS_ARE_REAL:
            return False
        try:
            for member in range(1, self.n):
                start_new_thread(_help, (member, self.work, self.stop, self.team))
        except BaseException as error:
            self.close()
            if isinstance(error, RuntimeError) and not is_of_a_handler(error):
                return False
            raise
        return True

    @property
    def are_here(self) -> bool:
        """Whether they can be running: a forked child has none of them."""
        return self.process == os.getpid()

    def check(self) -> None:
        """Raise here what one of the threads raised."""
        if self.team.error is not None:
            raise self.team.error

    def join(self) -> None:
        """Wait until all that have begun have returned."""
        for running in list(self.team.running) if self.are_here else ():
            with running:
                pass

    def close(self) -> None:
        """Stop them, and wait until all have returned."""
        _call_off(self.team, self.stop)
        self.join()
        self.unless_closed.detach()


class Team:
    """What the helpers of a team know of each other."""

    def __init__(self) -> None:
        self.running: list[Any] = []  # a lock for each that has begun, held until it ends
        self.closed = False
        self.error: BaseException | None = None


def _call_off(team: Team, stop: Callable[[], None]) -> None:
    team.closed = True
    stop()


def _help(member: int, work: Callable[[int], Any], stop: Callable[[], None], team: Team) -> None:
    running = allocate_lock()
    with running:
        team.running.append(running)
        if team.closed:  # looked at after it can be waited for
            return
        try:
            work(member)
        except BaseException as error:
            team.error = error
            stop()
