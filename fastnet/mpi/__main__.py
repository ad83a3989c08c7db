"""`mpiexec -n 4 python -m fastnet.mpi script.py arguments`: run a script whose every `fit` trains on all ranks.

An error that one rank alone knows of, outside of a fit say, ends all of them: they would wait for it for ever. One that
is killed is ended so by mpiexec, which may name no more than its process; so a line on standard error says at first
which ranks are which processes.
"""

import os
import platform
import runpy
import sys
import traceback
from typing import Any

from fastnet.engine.ranks import is_known_to_all, use_by_default


def main() -> None:
    """Read the command line, run the script, and see to it that all ranks end."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        raise SystemExit("usage: mpiexec -n RANKS python -m fastnet.mpi script.py [argument ...]")
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise SystemExit(f"fastnet.mpi needs mpi4py: pip install 'fastnet-mlp[mpi]'. ({error})") from None
    world: Any = MPI.COMM_WORLD
    use_by_default(world)
    places = world.gather(f"{world.Get_rank()}: {os.getpid()} on {platform.node()}")
    if world.Get_size() > 1 and places:
        print(f"fastnet.mpi: the processes of the ranks are {', '.join(places)}", file=sys.stderr, flush=True)
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


def abort(world: Any, error: BaseException) -> None:
    """End all ranks with the error of this one."""
    if world.Get_size() > 1:
        traceback.print_exception(error)
        print(f"Rank {world.Get_rank()} of {world.Get_size()} has failed, and ends all.", file=sys.stderr, flush=True)
        world.Abort(1)


if __name__ == "__main__":
    main()
