"""Says where machine code is stored meanwhile, and in which of the three modes the suite runs."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Not beside the sources: a run of the tests leaves nothing there. The store itself tells modes and versions apart.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / "fastnet-tests"))

os.environ.setdefault("NUMBA_NRT_STATS", "1")  # lets a test count allocations

JIT_DISABLED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


# The same examples each time, and no clock, which would time what else the machine does.
settings.register_profile("tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_report_header() -> str:
    mode = "no JIT" if JIT_DISABLED else "bounds-checked" if os.environ.get("NUMBA_BOUNDSCHECK") else "JIT"
    return f"fastnet: {mode}, machine code in {os.environ['NUMBA_CACHE_DIR']}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is about machine code, or takes minutes in plain Python, when the JIT is off."""
    if JIT_DISABLED:
        for item in items:
            if item.get_closest_marker("jit"):
                item.add_marker(pytest.mark.skip(reason="needs the JIT"))


@pytest.fixture(autouse=True)
def plain_python_arithmetic():
    """Compiled code overflows silently; let kernels in plain Python do so too, since warnings are errors."""
    if not JIT_DISABLED:
        yield
        return
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        yield


@pytest.fixture
def store_without_updates(tmp_path: Path) -> str:
    """A folder with all machine code of float32, but for the parts that update parameters: a fit has to compile one."""
    import fastnet
    from fastnet.kernels.build import load, store
    from fastnet.kernels.link import every_part

    fastnet.warmup()
    for name, code in every_part():
        found = load.stored(name, np.dtype("float32"), *code)
        if found is not None and name != "update":
            for origin, _, key in load._places(load.label(name, np.dtype("float32"), *code)):
                if origin == load.CACHED:
                    store.write(tmp_path / Path(store.folders()[0]).name, key, found.code)
    return str(tmp_path)


@contextmanager
def locked(path: Path, *, shared: bool) -> Iterator[None]:
    """Hold a lock on a file that all processes of this run of the tests know."""
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def room_for_who_wants_to_be_alone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Let no test run in another process beside one marked `alone`, which waits until those that run have ended."""
    if "PYTEST_XDIST_WORKER" not in os.environ or os.name == "nt":
        yield
        return
    folder = tmp_path_factory.getbasetemp().parent  # that of all workers
    with ExitStack() as stack:
        with locked(folder / "door", shared=False):  # kept shut by who waits to be alone, for those that come later
            stack.enter_context(locked(folder / "room", shared=request.node.get_closest_marker("alone") is None))
        yield
