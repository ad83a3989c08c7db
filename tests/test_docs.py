"""The documentation: its code runs and prints what stands below it, links lead somewhere, no public name is missing."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastnet
import fastnet.metrics
import fastnet.sklearn
import fastnet.streams
import fastnet.tables

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text() for path in sorted(DOCS.rglob("*.md"))}

OPTIONAL = {"distributed", "emlearn", "fastapi", "mapie", "mlflow", "optuna", "shap", "skops"}
"""What recipes are about: their blocks run where it is installed."""

PUBLIC = [
    *(name for name in fastnet.__all__ if not name.startswith("_")),
    *(f"metrics.{name}" for name in fastnet.metrics.METRICS),
    "plot.decision_boundary",
    *(f"sklearn.{name}" for name in fastnet.sklearn.__all__),
    *(f"streams.{name}" for name in fastnet.streams.__all__),
    *(f"tables.{name}" for name in fastnet.tables.__all__),
]


def blocks(text: str) -> list[tuple[str, str, str]]:
    """Return head and text of each fenced block of a page, and what it prints: the block "text" right below it."""
    return re.findall(r"^```(.*)\n((?:.*\n)*?)```\n(?:\n```text\n((?:.*\n)*?)```\n)?", text, re.MULTILINE)


def missing(code: str) -> set[str]:
    """Return what a block imports of `OPTIONAL` that is not installed."""
    imported = set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE))
    return {name for name in imported & OPTIONAL if importlib.util.find_spec(name) is None}


def run(code: str, names: dict[str, object], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a block prints; an error or warning that ends it counts, as "ValueError: " and its text."""
    raised = ""
    try:
        exec(compile(code, "<documentation>", "exec"), names)
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
    return capsys.readouterr().out + raised


@pytest.mark.jit
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")  # of each other
@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if "```python" in text])
def test_the_code_of_a_page_prints_what_stands_below_it(page, tmp_path, monkeypatch, capsys):
    """A block goes on from those above it; lines of what is printed may be broken anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, object] = {"__name__": "documentation"}
    for head, code, printed in blocks(PAGES[page]):
        if head != "python":
            continue
        if absent := missing(code):
            pytest.skip(f"needs {', '.join(sorted(absent))}")
        found = run(code, names, capsys)
        assert not (printed or re.search(r"^\w+: ", found)) or found.split() == printed.split(), f"{code}\n{found}"


def test_every_block_says_what_it_is():
    """So that none escapes: Python, what it prints, or by its classes what is not to be run."""
    others = {
        (page, head) for page, text in PAGES.items() for head, *_ in blocks(text) if head not in ("python", "text")
    }
    assert not {each for each in others if ".no-run" not in each[1]}


def test_every_link_leads_somewhere():
    gone = [
        (page, link)
        for page, text in PAGES.items()
        for link in re.findall(r"\]\(([^)\s]+)\)", text)
        if not link.startswith("https://") and not (DOCS / page).parent.joinpath(link.split("#")[0]).is_file()
    ]
    assert not gone


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_reference(name):
    entry = re.compile(rf"^::: fastnet\.{re.escape(name)}$", re.MULTILINE)
    pages = [page for page, text in PAGES.items() if page.startswith("api/") and entry.search(text)]
    assert len(pages) == 1, f"fastnet.{name} needs a line `::: fastnet.{name}` in one page of docs/api, not {pages}"
    page = pages[0].removeprefix("api/")
    assert f"]({page})" in PAGES["api/index.md"], f"docs/api/index.md has no link to {page}"


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs, of the extra docs, is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "api" / "Model" / "index.html").exists()
