"""What runs here: versions of fastnet and of what it works with, the machine, and where the machine code comes from."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastnet.checks import FLOAT_DTYPES
from fastnet.engine.recipe import origins
from fastnet.engine.threads import get_num_threads

NEEDED = ("numpy", "llvmlite", "numba")
EXTRAS = ("scikit-learn", "scipy", "pandas", "matplotlib", "tqdm", "onnx")


def show_info(fastnet_version: str) -> None:
    """Print what fastnet runs with, and where its machine code comes from."""
    print(f"fastnet {fastnet_version}, in {Path(__file__).parent}")
    print(", ".join([f"Python {platform.python_version()}", *map(version_of, NEEDED)]))
    print(f"threads: {get_num_threads()}")
    for dtype in FLOAT_DTYPES:
        for way, parts in origins(dtype).items():
            print(f"{dtype}: {parts} parts {way}")


def show_machine() -> None:
    """Print what else a report of a fault should say: the system, its cores, and optional packages."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, {platform.processor() or platform.machine()}")
    print(", ".join(map(version_of, EXTRAS)))


def version_of(package: str) -> str:
    """Return a package's name and version."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"
