"""What the README says of a measurement, and where: tables between marks, each with CPU, versions and date."""

import datetime
import platform
import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def write(table: str, text: str, path: Path = README) -> None:
    """Put a text where the README, or another page, has that table."""
    begin, end = f"<!-- {table}: begin -->", f"<!-- {table}: end -->"
    before, rest = path.read_text().split(begin)
    path.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")


def circumstances(of: str) -> str:
    """Return a sentence: the CPU, what else a measurement is of, versions and today's date."""
    return f"{cpu_name()}, {of}; {versions()}; {datetime.date.today()}."


def cpu_name() -> str:
    """Return the CPU's name as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
    return f"{found['model name']} (family {found['cpu family']}, model {found['model']})"


def versions() -> str:
    """Return the versions of all that took part."""
    from importlib.metadata import PackageNotFoundError, version

    names = {
        "NumPy": "numpy",
        "Numba": "numba",
        "scikit-learn": "scikit-learn",
        "PyTorch": "torch",
        "JAX": "jax",
        "ONNX Runtime": "onnxruntime",
        "OpenVINO": "openvino",
        "LightGBM": "lightgbm",
        "CatBoost": "catboost",
        "pytabkit": "pytabkit",
    }
    found = [f"Python {platform.python_version()}"]
    for label, package in names.items():
        try:
            found.append(f"{label} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
