"""`python -m fastnet warmup`: compile the kernels now, so that no process has to wait for it later."""

import argparse
import time
from pathlib import Path

from fastnet.checks import FLOAT_DTYPES
from fastnet.engine.recipe import warmup


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m fastnet", description="fastnet from the command line")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("warmup", help="compile the kernels now, and keep them on disk")
    command.add_argument("--dtype", nargs="+", choices=FLOAT_DTYPES, default=["float32"], help="default: float32")
    for dtype in parser.parse_args().dtype:
        start = time.perf_counter()
        warmup(dtype)
        folder = Path(__file__).parent
        print(f"{dtype}: ready after {time.perf_counter() - start:.1f} s, for the fastnet in {folder}")


if __name__ == "__main__":
    main()
