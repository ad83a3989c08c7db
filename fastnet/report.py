"""What is returned to be read: text, and numbers by name, that print well on a terminal and in a notebook."""


class Text(str):
    """A text that shows itself as it is printed, and not as a literal of Python."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self)}</pre>"


class Scores(dict[str, float]):
    """Numbers by name, which print a line each."""

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:{width}}  {significant(value)}" for name, value in self.items())

    def _repr_html_(self) -> str:
        return html_table([list(self), [significant(value) for value in self.values()]])


def significant(value: float) -> str:
    """Return a number with 4 digits."""
    return f"{value:.4g}"


def html_table(rows: list[list[str]]) -> str:
    """Return a table of texts in HTML; the first row is its head."""
    from html import escape

    head, *body = (
        "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)
        for tag, row in zip(["th"] + ["td"] * (len(rows) - 1), rows, strict=True)
    )
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"
