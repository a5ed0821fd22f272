"""The optional packages for PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from jobstore.model.errors import ConfigError

_EXTRA: Final = frozenset({"psycopg", "greenlet"})


@contextmanager
def with_postgresql() -> Iterator[None]:
    """Name the missing package if an import for PostgreSQL fails.

    Raises:
        ConfigError: the driver is not installed, or cannot load its library.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "psycopg").partition(".")[0] not in _EXTRA:
            raise
        raise ConfigError(
            "a store on PostgreSQL needs a package that is not installed: pip install "
            "'jobstore[postgresql]'"
        ) from error
