"""What only operators do: who they are, for the trail."""

from aiohttp import web

from jobstore.model.errors import Forbidden
from jobstore.web import standing


def operator(request: web.Request) -> str:
    """Name who asks for something that only an admin may do.

    Raises:
        Forbidden: they may not.
    """
    identity = standing.changing(request)
    if not identity.administers:
        raise Forbidden("only an admin may do this")
    return identity.name or f"somebody at {standing.source(request) or 'this machine'}"
