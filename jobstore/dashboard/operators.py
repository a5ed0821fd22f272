"""Who an operator is, for the audit log."""

from aiohttp import web

from jobstore.model.errors import Forbidden
from jobstore.web import standing


def operator(request: web.Request) -> str:
    """Return the name of an admin who asks for something.

    Raises:
        Forbidden: they are not an admin.
    """
    identity = standing.changing(request)
    if not identity.administers:
        raise Forbidden("only an admin may do this")
    return identity.name or f"somebody at {standing.source(request) or 'this machine'}"
