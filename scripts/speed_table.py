"""Measure the speed table of the README, and print it or put it there.

taskset -c 0 env OPENBLAS_NUM_THREADS=1 python scripts/speed_table.py [--write]
"""

import datetime
import platform
import re
import sys
from pathlib import Path

import numba
import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.bench_kernels import tile_rates  # noqa: E402
from benchmarks.bench_start import cold_compile_seconds, import_seconds, warm_process_seconds  # noqa: E402
from benchmarks.workloads import WORKLOADS, compare  # noqa: E402

BEGIN, END = "<!-- speed table: begin -->", "<!-- speed table: end -->"


def cpu_name() -> str:
    """Return the CPU's name as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
    return f"{found['model name']} (family {found['cpu family']}, model {found['model']})"


def table() -> str:
    """Measure everything and return the table in Markdown."""
    rows = ["| workload, float32 | batch | NumPy reference | fastnet | times as fast |", "|---|---|---|---|---|"]
    for name, workload in WORKLOADS.items():
        result = compare(name)
        batch = f"{workload.batch_size or 'all'} of {workload.examples}"
        ours, theirs = (f"{seconds * 1e6:,.0f} us" for seconds in result)
        rows.append(f"| {name} | {batch} | {theirs} | {ours} | {1 / result.ratio:.1f} |")
    rates = tile_rates()
    cold, (warm, _) = cold_compile_seconds(), warm_process_seconds()
    return "\n".join(
        [
            *rows,
            "",
            f"Time of an epoch. The register tile alone, 168 x 256 x 192: {rates['tile'] / 1e9:.0f} GFLOP/s, "
            f"{rates['tile'] / rates['peak']:.0%} of this core's FMA peak; `numpy.dot` {rates['numpy'] / 1e9:.0f}. "
            f"First `fit` with an empty cache: {cold:.1f} s of compilation. A whole process with a warm cache "
            f"that fits breast cancer for 20 epochs: {warm:.1f} s. "
            f"`import fastnet`: {import_seconds() * 1000:.0f} ms beyond `import numpy`.",
            "",
            f"{cpu_name()}, one core, one BLAS thread; Python {platform.python_version()}, NumPy {np.__version__}, "
            f"Numba {numba.__version__}; {datetime.date.today()}.",
        ]
    )


def main() -> None:
    """Print the table; with --write, replace the README's."""
    text = table()
    print(text)
    if "--write" in sys.argv[1:]:
        readme = ROOT / "README.md"
        before, rest = readme.read_text().split(BEGIN)
        after = rest.split(END)[1]
        readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
