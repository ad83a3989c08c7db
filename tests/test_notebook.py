"""The notebook of the first day runs, and what it shows is short, has no warnings, and is what stands in the file.

`python tests/test_notebook.py` runs it and stores what it shows.
"""

import os
import re
from pathlib import Path

import pytest

PATH = Path(__file__).parent.parent / "examples" / "first_day.ipynb"
MOST_LINES = 15
NEEDED = ("nbclient", "nbformat", "ipykernel", "sklearn", "pandas", "matplotlib.font_manager")
"""The last, if it has to look for fonts, does it here, and says so, before the kernel would."""

pytestmark = pytest.mark.jit


def stored():
    """Return the notebook as it is in the file."""
    import nbformat

    return nbformat.read(PATH, as_version=4)


def executed():
    """Return the notebook with what it shows now; an error if a cell ends with one."""
    from nbclient import NotebookClient

    notebook = stored()
    NotebookClient(notebook, timeout=300, kernel_name="python3", coalesce_streams=True, record_timing=False).execute()
    return notebook


def outputs_of(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def results_of(notebook):
    """Return the texts of all results, times apart."""
    texts = [output.data["text/plain"] for output in outputs_of(notebook) if output.output_type == "execute_result"]
    return [re.sub(r"seconds=[^,]+", "", text) for text in texts]


def test_it_runs_and_what_it_shows_is_short_and_stands_in_the_file(monkeypatch):
    """In one test, since a kernel takes seconds to start."""
    for name in NEEDED:
        pytest.importorskip(name, reason=f"the notebook needs {name}, of the extra test")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PATH.parent.parent), os.environ.get("PYTHONPATH", "")]))
    notebook = executed()
    outputs = outputs_of(notebook)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]

    assert len(results_of(notebook)) >= 7
    for output in outputs:
        data = {"text/plain": output.text} if output.output_type == "stream" else output.data
        assert len(data["text/plain"].split("\n")) < MOST_LINES, data["text/plain"]
        html = data.get("text/html", "")
        assert html.count("<tr") + html.partition("<pre>")[2].count("\n") < MOST_LINES, html

    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert pictures
    assert all(len(picture) > 10_000 for picture in pictures)

    assert results_of(stored()) == results_of(notebook), "run `python tests/test_notebook.py`, and look at the change"
    assert any("image/png" in output.get("data", {}) for output in outputs_of(stored()))


def store():
    """Run the notebook and store its results and pictures; bars of progress need what is not in a file."""
    import nbformat

    notebook = executed()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if output.output_type == "execute_result" or "image/png" in output.get("data", {})
            ]
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, PATH)


if __name__ == "__main__":
    store()
