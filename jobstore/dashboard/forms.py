"""Forms as browsers send them: https://url.spec.whatwg.org/#urlencoded-parsing."""

from collections.abc import Mapping
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

from aiohttp import web

from jobstore.model.errors import JobstoreError
from jobstore.web import room
from jobstore.web.parameters import id_of

# The values of fields, by their names; of several with one name, the last one counts.
Fields: TypeAlias = Mapping[str, str]

_LARGEST: Final = 64 * 2**10
_MOST: Final = 100
_TYPE: Final = "application/x-www-form-urlencoded"


class FormInvalid(JobstoreError):
    """A form is invalid; the message says what was expected."""

    status = 400


async def filled_in(request: web.Request) -> Fields:
    """Read the fields of a submitted form.

    Raises:
        FormInvalid: it is invalid.
        BodyTooLarge: it is too large.
    """
    if request.content_type != _TYPE:
        raise FormInvalid("expected a form as a browser sends it")
    async with room.whole(request, _LARGEST) as body:
        return fields_of(body)


def fields_of(body: bytes) -> Fields:
    """Read the fields of a form.

    Raises:
        FormInvalid: they are not encoded as a browser encodes them.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=_MOST,
            errors="strict",
        )
    except ValueError:
        raise FormInvalid("expected a form as a browser sends it") from None
    return dict(pairs)


def id_in(fields: Fields, what: str) -> int:
    """Read the id of something.

    Args:
        what: what it is of, for the message.

    Raises:
        FormInvalid: it is invalid.
    """
    number = id_of(fields.get("id", ""))
    if number is None:
        raise FormInvalid(f"{what}: expected its id")
    return number
