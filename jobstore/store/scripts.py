"""Where the migrations are: inside the package when installed, beside it in a checkout."""

from pathlib import Path


def scripts(engine: str = "") -> Path:
    """Find the migrations of an engine; those of a file lie at the top."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return (installed if installed.is_dir() else package.parent / "migrations") / engine
