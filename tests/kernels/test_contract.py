"""The numerical contract across instruction sets: the same bits, whatever the CPU."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
TARGETS = {
    "native": {},
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
    "SSE2, no FMA": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
}


@pytest.mark.jit
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 CPUs")
def test_training_gives_the_same_bits_on_every_instruction_set():
    processes = {}
    for name, settings in TARGETS.items():
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_CPU")}
        environment |= settings | {"PYTHONPATH": str(HERE.parent)}
        command = [sys.executable, str(HERE / "train_digests.py")]
        processes[name] = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    digests = {name: process.communicate()[0] for name, process in processes.items()}
    assert all(process.returncode == 0 for process in processes.values())
    assert digests["native"].count("\n") == 2
    assert digests["AVX2"] == digests["native"]
    assert digests["SSE2, no FMA"] == digests["native"]
