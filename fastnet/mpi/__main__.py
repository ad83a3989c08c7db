"""`mpiexec -n 4 python -m fastnet.mpi script.py arguments`: run a script whose every `fit` trains on all ranks.

An error that one rank alone knows of, outside of a fit say, ends all of them: they would wait for it for ever. So does
a rank that is killed, by the system for want of memory say: mpiexec sees to that. But not every mpiexec says which it
was, so the script runs in a child of each process, which waits for it. (Not on a terminal, which mpiexec gives nobody.)
"""

import ctypes
import os
import runpy
import signal
import sys
import time
import traceback
import warnings
from typing import Any

from fastnet.engine.ranks import is_known_to_all, use_by_default

HANDED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")

PR_SET_PDEATHSIG = 1
"""Of <linux/prctl.h>."""


def main() -> None:
    """Read the command line, run the script, and see to it that all ranks end."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        raise SystemExit("usage: mpiexec -n RANKS python -m fastnet.mpi script.py [argument ...]")
    name = in_child() if sys.platform == "linux" and not os.isatty(0) else None
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise SystemExit(f"fastnet.mpi needs mpi4py: pip install 'fastnet-mlp[mpi]'. ({error})") from None
    world: Any = MPI.COMM_WORLD
    if name is not None:
        os.write(name, f"Rank {world.Get_rank()} of {world.Get_size()}".encode())
        os.close(name)
    use_by_default(world)
    sys.argv[:1] = []
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as error:
        if error.code not in (None, 0):
            abort(world, error)
        raise
    except BaseException as error:
        if not is_known_to_all(error):
            abort(world, error)
        raise


def in_child() -> int:
    """Go on in a child, and return there what takes the name of this rank; the parent waits, says if it was killed.

    The child is a group of its own: what mpiexec sends to that of the parent comes once, handed on. The system ends it
    with its parent: a thread of Python's could not while MPI begins or ends, or anything else holds Python's lock.
    """
    named, name = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():  # NumPy has threads, which do nothing yet
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)
        return name
    os.close(name)
    for each in HANDED_ON:
        signal.signal(getattr(signal, each), lambda number, frame: os.kill(child, number))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        rank = os.read(named, 100).decode() or "A rank that had not begun"
        print(f"{rank} was killed by {signal.Signals(-code).name}. That ends all.", file=sys.stderr, flush=True)
        code = 128 - code
    os._exit(code)


def abort(world: Any, error: BaseException) -> None:
    """End all ranks with the error of this one."""
    if world.Get_size() > 1:
        traceback.print_exception(error)
        print(f"Rank {world.Get_rank()} of {world.Get_size()} has failed, and ends all.", file=sys.stderr, flush=True)
        time.sleep(0.5)  # mpiexec of MPICH ends without what it has not read by then
        world.Abort(1)


if __name__ == "__main__":
    main()
