"""The URL of a database: its parts, and what of it may be shown."""

from typing import Final
from urllib.parse import quote, urlencode

import psycopg
from psycopg import conninfo

from jobstore.model.errors import ConfigError

_SECRETS: Final = ("password", "sslpassword")


def name_of(url: str) -> str:
    """Return the name of a database for people, without its password."""
    parts = parts_of(url)
    host, database = parts.get("host") or "localhost", parts.get("dbname") or parts.get("user")
    port = f":{parts['port']}" if "port" in parts else ""
    return f"postgresql://{host}{port}/{database or ''}"


def parts_of(url: str) -> dict[str, str]:
    """Read the URL of a database.

    Raises:
        ConfigError: it is invalid; libpq's message is not used, since it may contain the password.
    """
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.Error as error:
        said = str(error).partition('"')[0].rstrip(": ")
        raise ConfigError(f"the URL of the database is invalid ({said})") from None
    return {name: str(value) for name, value in parts.items()}


def has_secrets(url: str) -> bool:
    """Return whether the URL of a database contains anything secret."""
    return not parts_of(url).keys().isdisjoint(_SECRETS)


def without_secrets(url: str) -> str:
    """Return the URL of a database without secrets."""
    parts = {name: value for name, value in parts_of(url).items() if name not in _SECRETS}
    user, host, port = (parts.pop(name, "") for name in ("user", "host", "port"))
    name = quote(parts.pop("dbname", ""), safe="")
    if "/" in host or "," in host:  # a folder of sockets, or several hosts
        parts |= {"host": host, **({"port": port} if port else {})}
        host = port = ""
    at = f"{quote(user, safe='')}@" if user else ""
    query = f"?{urlencode(parts, quote_via=quote, safe='/,:')}" if parts else ""
    return f"postgresql://{at}{host}{f':{port}' if port else ''}/{name}{query}"
