"""`python -m fastnet info`: what is used here. `python -m fastnet warmup`: compile what is not compiled yet."""

import argparse
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastnet import __version__
from fastnet.checks import FLOAT_DTYPES
from fastnet.engine.recipe import TO_BE_COMPILED, origins, warmup
from fastnet.engine.threads import get_num_threads


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m fastnet", description="fastnet from the command line")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="show versions, threads, and where the machine code comes from")
    command = commands.add_parser("warmup", help="compile the kernels now, and store them on disk")
    command.add_argument("--dtype", nargs="+", choices=FLOAT_DTYPES, default=["float32"], help="default: float32")
    arguments = parser.parse_args()
    try:
        if arguments.command == "info":
            show_info()
        else:
            for dtype in arguments.dtype:
                warm_up(dtype)
    except ValueError as error:  # of an environment variable
        raise SystemExit(str(error)) from None


def show_info() -> None:
    """Print what fastnet runs with, and where its machine code comes from."""
    print(f"fastnet {__version__}, in {Path(__file__).parent}")
    print(", ".join([f"Python {platform.python_version()}", *map(_version_of, ("numpy", "llvmlite", "numba"))]))
    print(f"threads: {get_num_threads()}")
    for dtype in FLOAT_DTYPES:
        for way, parts in origins(dtype).items():
            print(f"{dtype}: {parts} parts {way}")


def _version_of(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


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
