"""What Kinetica's clients are told where none of the calls can answer them."""

from typing import Final

from aiohttp import web

from jobstore.dialects.kinetica.encodings import Encoding, encoding_of, media_type
from jobstore.dialects.kinetica.records import RequestInvalid
from jobstore.dialects.kinetica.request import refusal
from jobstore.model.errors import JobstoreError, Unauthorized

# How the user agent of Kinetica's own clients begins, if they have one.
_USER_AGENT: Final = "kinetica-api"
_BINARY: Final = frozenset({Encoding.AVRO, Encoding.SNAPPY})


def refused(request: web.BaseRequest, error: JobstoreError) -> web.Response:
    """Answer that who sends a request is not let in: clients look at the status code only."""
    status = 401 if isinstance(error, Unauthorized) else 400
    return refusal(_encoding(request), str(error), status)


def no_such_endpoint(request: web.BaseRequest) -> web.Response | None:
    """Refuse a call that nobody answers; None if it is not one of Kinetica's clients that asks.

    To 404, a client would look for another cluster.
    """
    if not _is_client(request):
        return None
    return refusal(_encoding(request), f"unknown endpoint {request.path[:200]}")


def _is_client(request: web.BaseRequest) -> bool:
    """Tell whether a client of Kinetica asks: it says so, or sends and awaits the same bytes."""
    if request.method != "POST":
        return False
    if _USER_AGENT in request.headers.get("User-Agent", "").lower():
        return True
    sent = media_type(request.headers.get("Content-Type"))
    return sent in _BINARY and media_type(request.headers.get("Accept")) == sent


def _encoding(request: web.BaseRequest) -> Encoding:
    try:
        return encoding_of(request.headers.get("Content-Type"))
    except RequestInvalid:
        return Encoding.JSON
