"""Every program of scripts/ and examples/ runs, says what it is there to say, and draws its picture."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STORIES = {
    "diabetes": "linear regression ",
    "digits": "(360 digits)",
    "flower": "0.6731    47.0%",
    "many_machines": ", of the rows of all ranks",
    "loops": "iterations of logistic regression",
    "out_of_core": "the table does not fit",
    "parity": "tree, 3 layers ",
    "raw_table": "R2 of cars that it has not seen: 0.9",
    "search": "test accuracy 0.9",
}
"""What is in examples/: a story takes --quick, and exits with an error unless its claim holds; and what it prints."""

OTHERS = {"fit_polynomials": "EXPM1_FLOAT32 = (", "train_breast_cancer": "test accuracy  0.9"}
CALLED_BY_OTHERS = {"hatch_build", "site_hooks"}
PICTURES = ["digits", "flower", "out_of_core", "search"]
PATHS = {path.stem: path for folder in ("examples", "scripts") for path in sorted((ROOT / folder).glob("*.py"))}

pytestmark = pytest.mark.jit


def run(name, *arguments):
    """Run a program as a reader does, but with warnings as errors; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PATHS[name].relative_to(ROOT)), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("name", sorted(PATHS.keys() - CALLED_BY_OTHERS))
def test_it_runs_and_says_what_it_should(name, tmp_path):
    """The names are those of the folders: a program that stands in neither list fails here."""
    quick = ["--quick"] if name in STORIES else []
    picture = ["--picture", str(tmp_path / "drawn.png")] if name in PICTURES else []
    printed = run(name, *quick, *picture)
    assert {**STORIES, **OTHERS}[name] in printed
    assert [path.name for path in tmp_path.iterdir()] == ["drawn.png"] * bool(picture)
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("missing", "name", "extra"),
    [
        ("sklearn", "diabetes", "sklearn"),
        ("sklearn", "digits", "sklearn"),
        ("sklearn", "search", "sklearn"),
        ("sklearn", "raw_table", "tables"),
    ]
    + [("matplotlib", name, "plot") for name in PICTURES],
)
def test_what_is_missing_is_named_before_any_work(missing, name, extra, tmp_path):
    (tmp_path / missing).mkdir()
    (tmp_path / missing / "__init__.py").write_text("raise ImportError('not installed')")
    done = subprocess.run(
        [sys.executable, f"examples/{name}.py", *(["--picture", "x.png"] if extra == "plot" else [])],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"(the extra fastnet-mlp[{extra}])" in done.stderr
    assert "Traceback" not in done.stderr
