"""Reload the configuration of a running server: what changes at once, what needs a restart."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any, Final, TypeAlias

from jobstore.config import Config
from jobstore.model.errors import ConfigError
from jobstore.service.certificates import Certificates

Reread: TypeAlias = Callable[[], Config]
Place: TypeAlias = tuple[str, str]  # section and key

# What can change at once, by section and key.
_AT_ONCE: Final = frozenset(
    {
        ("log", "level"),
        ("server", "origins"),
        ("server", "hosts"),
        ("server", "trusted_proxies"),
    }
)
_TLS: Final = frozenset({("server", "tls_certificate"), ("server", "tls_key")})
_ACTION: Final = {"action": "reload"}

log = logging.getLogger(__name__)


class Reloading:
    """Apply the changes of the configuration, and name those that need a restart.

    Args:
        config: the configuration that the server was started with.
        reread: reads the configuration again; None if there is nothing to read.
        certificates: those in use, if any.
        trust: applies the trusted origins, hosts and proxies of a configuration.
    """

    def __init__(
        self,
        config: Config,
        reread: Reread | None,
        certificates: Certificates | None,
        trust: Callable[[Config], None],
    ) -> None:
        self._config = config
        self._reread = reread
        self._certificates = certificates
        self._trust = trust

    def __call__(self) -> None:
        """Reload, and log the outcome."""
        try:
            config = self._reread() if self._reread else self._config
        except ConfigError as error:
            lines = "; ".join(str(error).splitlines())
            log.error("the configuration was not reloaded: %s", lines, extra=_ACTION)  # noqa: TRY400 - no traceback
            return
        changed, possible = _changed(self._config, config), self._possible(config)
        waiting, taken = sorted(changed - possible), sorted(changed & possible)
        self._take_over(_with(self._config, config, taken))
        names = ", ".join(map(_written, taken)) or "nothing changed"
        log.info("the configuration was reloaded: %s", names, extra=_ACTION)
        if waiting:
            names = ", ".join(map(_written, waiting))
            log.warning("these changes need a restart: %s", names, extra=_ACTION)

    def _possible(self, config: Config) -> frozenset[Place]:
        """Return what can change at once: TLS files only if TLS is in use and stays so."""
        goes_on = self._certificates is not None and config.server.tls_certificate is not None
        return _AT_ONCE | _TLS if goes_on else _AT_ONCE

    def _take_over(self, config: Config) -> None:
        self._config = config
        logging.getLogger().setLevel(config.log.level.upper())
        self._trust(config)
        if self._certificates is not None:
            assert config.server.tls_certificate is not None
            self._certificates.use(config.server.tls_certificate, config.server.tls_key)


def _changed(before: Config, after: Config) -> set[Place]:
    """Return the keys that differ, by section; targets count as one key."""
    return {
        (section.name, key)
        for section in fields(Config)
        for key in _differing(getattr(before, section.name), getattr(after, section.name))
    }


def _with(before: Config, after: Config, taken: Iterable[Place]) -> Config:
    """Return a configuration with some keys of another one."""
    for section, key in taken:
        value = getattr(getattr(after, section), key)
        before = replace(before, **{section: replace(getattr(before, section), **{key: value})})
    return before


def _differing(before: Any, after: Any) -> list[str]:
    if isinstance(before, tuple):
        return [""] if before != after else []
    return [
        key.name for key in fields(before) if getattr(before, key.name) != getattr(after, key.name)
    ]


def _written(place: Place) -> str:
    section, key = place
    return f"[{section}] {key}" if key else f"[[{section}]]"
