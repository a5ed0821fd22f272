"""How Sphinx makes the site; `scripts/docs` runs it."""

import sys
from pathlib import Path
from typing import Final

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from jobstore import __version__  # noqa: E402  # found on the path that was just made

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


def setup(app: Sphinx) -> None:
    """Show state diagrams as their text."""
    app.add_lexer("mermaid", TextLexer)
