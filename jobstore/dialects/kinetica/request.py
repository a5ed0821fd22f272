"""A request of any call, and its answer."""

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from jobstore.dialects.kinetica import encodings
from jobstore.dialects.kinetica.encodings import Encoding
from jobstore.dialects.kinetica.records import Form, Record, RequestInvalid
from jobstore.model.frozen import frozen
from jobstore.model.message import Headers, Response
from jobstore.web import answers
from jobstore.web.edge import reply

# What a tag looks like.
TAG: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_FLAGS: Final[Mapping[str, bool]] = {"true": True, "false": False}


@frozen
class KineticaCall:
    """A decoded call, and how to answer it.

    Args:
        encoding: the encoding of its record.
        asked: the record.
        form: the form of the answer's record.
    """

    encoding: Encoding
    asked: Record
    form: Form

    @property
    def tag(self) -> str | None:
        """The option with a job's tag.

        Raises:
            RequestInvalid: it is not a valid tag.
        """
        tag = self._options.get("job_tag")
        if tag is not None and not TAG.fullmatch(tag):
            raise RequestInvalid("job_tag: expected 1 to 255 letters, digits, _ and -")
        return tag

    def flag(self, name: str) -> bool:
        """Read an option that is true or false; false if missing.

        Raises:
            RequestInvalid: it is something else.
        """
        try:
            return _FLAGS[self._options.get(name, "false")]
        except KeyError:
            raise RequestInvalid(f"{name}: expected true or false") from None

    @property
    def _options(self) -> Mapping[str, str]:
        options: Mapping[str, str] = self.asked["options"]
        return options

    def answer(self, record: Record) -> web.Response:
        """Answer with a record."""
        return reply(200, self.encoding.answer, self._wrapped(record))

    def written(self, record: Record) -> bytes:
        """Write the same answer for a request at the desk."""
        return answers.own(200, self._headers, self._wrapped(record))

    def kept(self, record: Record) -> Response:
        """Return the answer in the form of a stored response, for a delivery."""
        return Response(status=200, headers=self._headers, body=self._wrapped(record))

    @property
    def _headers(self) -> Headers:
        return (("Content-Type", self.encoding.answer),)

    def _wrapped(self, record: Record) -> bytes:
        return encodings.wrapped(self.encoding, self.form, record)


def refusal(
    encoding: Encoding,
    message: str,
    status: int = 400,
    headers: Headers = (),
) -> web.Response:
    """Answer that a request failed.

    Args:
        encoding: the encoding of the request.
        message: what was expected, or what happened.
        status: never 404 or 5xx: clients take these to mean that the whole cluster is down.
        headers: headers to add.
    """
    return reply(status, encoding.answer, encodings.wrapped_error(encoding, message), headers)
