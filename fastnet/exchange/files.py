"""How a file is written: whole, or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Write a file by `write(file)`; whoever reads at `path` finds the old one, or the new one, never a part.

    It is written beside, in the same folder, and takes the place of the old one at the end. OSError as of `open`.
    """
    target = Path(os.path.realpath(os.fsdecode(path)))  # what a link points to, not the link
    beside = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
    try:
        with beside.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException as error:
        with suppress(FileNotFoundError):
            beside.unlink()
        if isinstance(error, OSError) and error.filename == str(beside):
            error.filename = str(target)
        raise
