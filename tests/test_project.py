"""What is said of the project, here and there, is one thing: its name, version, licence, Pythons, and how to report."""

import re
import tomllib
from pathlib import Path

import fastnet
from fastnet.__main__ import main

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def cited(key):
    """Return what CITATION.cff says, in a line."""
    (value,) = re.findall(rf"^{key}: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    return value


def test_a_citation_is_of_this_version_and_licence():
    assert cited("version") == fastnet.__version__
    assert cited("license") == PROJECT["license"]
    assert f"  - name: {PROJECT['authors'][0]['name']}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_oldest_python_is_one_for_all():
    pythons = re.findall(r"Python :: 3\.(\d+)", " ".join(PROJECT["classifiers"]))
    oldest = int(PROJECT["requires-python"].removeprefix(">=3."))
    assert [int(minor) for minor in pythons] == list(range(oldest, oldest + len(pythons)))
    assert f"Python 3.{oldest} or newer" in (ROOT / "README.md").read_text()
    assert f"Python 3.{oldest} or newer" in (ROOT / "CONTRIBUTING.md").read_text()


def test_a_report_of_a_fault_asks_for_what_can_be_had(monkeypatch, capsys):
    form = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text()
    (code,) = re.findall(r'python -c "(.*?)"', form)
    (arguments,) = re.findall(r"python -m fastnet ([a-z]+)", form)
    exec(code, {})
    versions = capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["fastnet", arguments])
    main()
    assert versions.startswith(capsys.readouterr().out)


def test_extras_are_those_of_the_distribution():
    """Whose name is not that of the package: `pip install fastnet` brings what others made."""
    known = {f"{PROJECT['name']}[{extra}]" for extra in PROJECT["optional-dependencies"]}
    files = [ROOT / "README.md", ROOT / "pyproject.toml"]
    files += [path for top in ("fastnet", "scripts", "examples", "benchmarks") for path in ROOT.glob(f"{top}/**/*.py")]
    named = {}
    for path in files:
        for name, extras in re.findall(r"\b(fastnet[\w-]*)\[([a-z][a-z,]*)\]", path.read_text()):
            named |= {f"{name}[{extra}]": path.name for extra in extras.split(",")}
    assert len(named) >= 3
    assert named.keys() <= known, {name: named[name] for name in named.keys() - known}
