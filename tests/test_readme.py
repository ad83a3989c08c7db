"""The README's examples run and print what the README says; `test_house.py` looks for the files it names."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnet import SGD, Dense, Model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.jit
def test_the_examples_print_what_stands_below_them():
    """The second goes on from the first, the fourth from the third."""
    examples = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", README, re.DOTALL)
    assert len(examples) == 4
    code, printed = ("".join(parts) for parts in zip(*examples, strict=True))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == printed


def messages_of_the_gotchas():
    """Provoke every error that the README explains, and return what each says."""
    X, y = np.ones((40, 4)), np.zeros(40)
    model = Model([Dense(3, "relu"), Dense(1, "sigmoid")], seed=0)
    diverging = Model([Dense(3), Dense(1)], optimizer=SGD(1e20), seed=0)
    attempts = [
        lambda: model.predict(X),
        lambda: model.fit(np.ones(4), y),
        lambda: model.build(4).predict(np.ones((4, 209))),
        lambda: model.predict(np.full((40, 4), np.nan)),
        lambda: model.fit(X, y - 1),
        lambda: Model([Dense(10, "softmax")]).fit(X, np.arange(40) % 11),
        lambda: diverging.fit(X, y + 1),
    ]
    for attempt in attempts:
        with pytest.raises((ValueError, ArithmeticError)) as caught:
            attempt()
        yield re.sub(r"\d+", "N", str(caught.value))


def test_every_error_that_it_explains_is_raised_in_those_words():
    messages = list(messages_of_the_gotchas())
    explained = re.findall(r"^\*\*`(.+?)`\.?\*\*", README, re.MULTILINE)
    assert len(explained) == len(messages)
    for text in explained:
        fragments = re.sub(r"\d+", "N", text).split(" ... ")
        assert any(all(fragment in message for fragment in fragments) for message in messages), text
