"""Writing a file so that a crash leaves the old one or the new one, whole, and nothing else that stays."""

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastnet import checks
from fastnet.errors import refusals_ignored

try:
    import fcntl
except ImportError:  # on Windows, where a file that is open cannot be deleted: that is lock enough
    fcntl = None  # type: ignore[assignment]

ENDING = ".fastnet-part"
"""Of the names of temporary files, which begin with a dot."""

WRITE = os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


def write_whole(path: Any, pieces: Iterable[bytes | memoryview]) -> None:
    """Replace the file at a path, or make it, with the bytes of some pieces; they are on the disk when this returns.

    They go to a temporary file beside it, whose permissions follow the umask, which then takes its place. A link stays,
    and the file that it leads to is replaced. What writers that were killed have left in that folder is deleted.

    Raises
    ------
    OSError
        If it cannot be written, whatever the reason: then the path is as it was. `IsADirectoryError` if it is a folder.
    ValueError
        If it is neither file nor folder: a device, say, which would be gone.
    """
    target = Path(os.path.realpath(checks.path(path, "path")))
    with suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "a folder stands where the file is to be", str(path))
        if not stat.S_ISREG(mode):
            raise ValueError(f"path must be that of a file, but {str(path)!r} is a device or a pipe. Pass another.")
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no folder for the file", str(path))
    sweep(target.parent)
    beside, descriptor = temporary(target.parent)
    try:
        try:
            for piece in pieces:
                left = memoryview(piece).cast("B")
                while left:
                    left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
            if fcntl is None:
                os.close(descriptor)
            os.replace(beside, target)
        finally:
            with refusals_ignored():
                os.close(descriptor)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def temporary(folder: Path) -> tuple[Path, int]:
    """Make a file in a folder that nobody else knows, and lock it; return its path and its descriptor."""
    while True:
        path = folder / f".{os.urandom(8).hex()}{ENDING}"
        descriptor = os.open(path, WRITE | os.O_CREAT | os.O_EXCL, 0o666)
        is_ours = True
        with refusals_ignored():  # where no lock is to be had, none is deleted either
            try:
                lock(descriptor)
            except BlockingIOError:
                is_ours = False
        if is_ours and path.exists():
            return path, descriptor
        os.close(descriptor)  # another process sweeps it away, or has, before it was locked


def sweep(folder: Path) -> None:
    """Delete the temporary files in a folder that nobody writes any more."""
    with refusals_ignored():
        for name in os.listdir(folder):
            if name.startswith(".") and name.endswith(ENDING):
                with refusals_ignored():
                    descriptor = os.open(
                        folder / name, WRITE | getattr(os, "O_NONBLOCK", 0)
                    )  # a pipe is not waited for
                    try:
                        lock(descriptor)
                        (folder / name).unlink()
                    finally:
                        os.close(descriptor)


def lock(descriptor: int) -> None:
    """Hold a file until it is closed or the process ends; OSError if another process does, or it cannot be."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk, where that can be asked for."""
    with refusals_ignored():
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
