"""The README's example runs and prints what the README says; its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.jit
def test_the_example_prints_what_stands_below_it():
    code, printed = re.search(r"```python\n(.*?)```\n+```text\n(.*?)```", README, re.DOTALL).groups()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == printed


def test_every_file_that_it_names_exists():
    names = set(re.findall(r"(?:scripts|tests|fastnet)/[\w/]+(?:\.py)?", README)) - {"fastnet/kernels/__pycache__"}
    assert {"scripts/test", "scripts/train_breast_cancer.py", "tests/reference.py"} <= names
    for name in names:
        assert (ROOT / name).exists(), name
