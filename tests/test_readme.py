"""The README's example runs and prints what the README says; `test_house.py` looks for the files it names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.jit
def test_the_example_prints_what_stands_below_it():
    examples = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", README, re.DOTALL)
    assert len(examples) == 1
    code, printed = ("".join(parts) for parts in zip(*examples, strict=True))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == printed
