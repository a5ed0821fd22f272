"""What the generated pages are written with."""

from collections.abc import Iterable, Iterator, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write a table; nothing if it has no row."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    if not cells:
        return
    yield _row(heads)
    yield _row(["---"] * len(heads))
    yield from map(_row, cells)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    """Write something as it is typed."""
    return f"`{text}`" if text else ""
