"""What mkdocs asks while it builds the site: the tables of measurements stand in README, and are not copied by hand."""

import re
from pathlib import Path
from typing import Any

README = Path(__file__).parent.parent / "README.md"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with README's text for each `<!-- NAME table -->`; IndexError if there is no such table."""
    return re.sub(r"^<!-- (\S+) table -->$", lambda found: table_of(found[1]), markdown, flags=re.MULTILINE)


def table_of(name: str) -> str:
    """Return what README has between the marks of a table."""
    return README.read_text().split(f"<!-- {name} table: begin -->")[1].split(f"<!-- {name} table: end -->")[0]
