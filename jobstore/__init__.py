"""A persistent job store for HTTP: any request becomes a durable job."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobstore.embedding import setup
    from jobstore.model.account import Identity, Role
    from jobstore.targets.inprocess import current

__version__ = "0.1.0"
__all__ = ["Identity", "Role", "current", "setup"]


def __getattr__(name: str) -> Any:
    """Import what applications use only when they do: it loads the web server, and takes long."""
    match name:
        case "Identity" | "Role":
            from jobstore.model import account  # noqa: PLC0415

            return getattr(account, name)
        case "setup":
            from jobstore.embedding import setup  # noqa: PLC0415

            return setup
        case "current":
            from jobstore.targets.inprocess import current  # noqa: PLC0415

            return current
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
