"""`python -m fastnet info`: what is used here. `python -m fastnet warmup`: compile what is not compiled yet."""

import argparse
import time
from pathlib import Path

from fastnet import __version__
from fastnet.checks import FLOAT_DTYPES
from fastnet.engine.recipe import TO_BE_COMPILED, origins, warmup
from fastnet.versions import show_info


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m fastnet", description="fastnet from the command line")
    parser.add_argument("--version", action="version", version=f"fastnet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="show versions, threads, and where the machine code comes from")
    command = commands.add_parser("warmup", help="compile the kernels now, and store them on disk")
    command.add_argument("--dtype", nargs="+", choices=FLOAT_DTYPES, default=["float32"], help="default: float32")
    arguments = parser.parse_args()
    try:
        if arguments.command == "info":
            show_info(__version__)
        else:
            for dtype in arguments.dtype:
                warm_up(dtype)
    except ValueError as error:  # of an environment variable
        raise SystemExit(str(error)) from None


def warm_up(dtype: str) -> None:
    """Compile what is missing for a dtype, and say how long that took, or that nothing was."""
    missing = origins(dtype).get(TO_BE_COMPILED, 0)
    start = time.perf_counter()
    warmup(dtype)
    what = f"{missing} parts compiled in {time.perf_counter() - start:.1f} s" if missing else "nothing to do"
    print(f"{dtype}: {what}, for the fastnet in {Path(__file__).parent}")
    if TO_BE_COMPILED in origins(dtype):
        raise SystemExit("Nothing was stored: no folder can be written to. Set NUMBA_CACHE_DIR to one that can.")


if __name__ == "__main__":
    main()
