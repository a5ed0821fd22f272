"""How Sphinx makes the site; `scripts/docs` runs it."""

import sys
from pathlib import Path
from typing import Final

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT: Final = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from jobstore import __version__  # noqa: E402  # found on the path that was just made
from pages import PAGES  # noqa: E402

project = "jobstore"
release = version = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 4  # a link to any heading works, as on a repository's page
html_theme = "furo"
html_title = f"jobstore {__version__}"
html_copy_source = False
html_show_copyright = False
nitpicky = True
smartquotes = False  # what is quoted is often to be typed


def fill_in(_: Sphinx, page: str, source: list[str]) -> None:
    """Add what is generated to a page that only introduces it."""
    if page in PAGES:
        source[0] += "\n" + PAGES[page]()


def setup(app: Sphinx) -> None:
    """Connect what is generated; state diagrams are shown as their text."""
    app.connect("source-read", fill_in)
    app.add_lexer("mermaid", TextLexer)
