"""Builds wheels that carry machine code: hatchling calls this, as `pyproject.toml` says.

Not for an editable install, which compiles when a model first needs it. The code depends on no version of Python, so
the wheel's tag names the platform alone. FASTNET_WHEEL_CODE=0 in the environment leaves the code out.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

STORE = "fastnet/kernels/store"
OLDEST_LINUX = "manylinux_2_17_"
"""The code calls nothing of the system's but what every C library has had for long."""


def platform_tag() -> str:
    """Return the tag of this platform: on Linux, of the oldest system that the wheel is for."""
    tags = [tag.platform for tag in sys_tags()]
    return next((tag for tag in tags if tag.startswith(OLDEST_LINUX)), tags[0])


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Compiles every kernel before a wheel is put together, in a process of its own."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add what that gives."""
        if version == "editable" or os.environ.get("FASTNET_WHEEL_CODE") == "0":
            return
        folder = Path(self.directory) / "machine code"
        shutil.rmtree(folder, ignore_errors=True)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([self.root, os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "fastnet.kernels.ahead", str(folder)]
        subprocess.run(command, env=environment, cwd=self.root, check=True)
        if not folder.exists():  # nobody knows a level of this architecture: the wheel is as any other
            return
        build_data["force_include"] |= {str(path): f"{STORE}/{path.name}" for path in sorted(folder.iterdir())}
        build_data["pure_python"], build_data["tag"] = False, f"py3-none-{platform_tag()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave nothing but the wheel."""
        shutil.rmtree(Path(self.directory) / "machine code", ignore_errors=True)
