"""What was just done, as a word in the query of the next page, never a sentence."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from aiohttp import web

DONE: Final = "done"


class Done(StrEnum):
    """What was done."""

    CANCELLED = "cancelled"
    CANCEL_ASKED = "cancel-asked"
    RETRIED = "retried"
    DELETED = "deleted"
    RESTORED = "restored"
    STOPPED = "stopped"
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    CHANGED = "changed"
    PASSWORD = "password"  # noqa: S105 - a word
    CREATED = "created"


_SENTENCES: Final[Mapping[Done, str]] = {
    Done.CANCELLED: "Cancelled.",
    Done.CANCEL_ASKED: "Asked to stop; this page says so when it has.",
    Done.RETRIED: "This is the new job.",
    Done.DELETED: "Deleted.",
    Done.RESTORED: "Restored: its result can be fetched again.",
    Done.STOPPED: "Stopped; what it had done stays done.",
    Done.STARTED: "Started.",
    Done.PAUSED: "Paused.",
    Done.RESUMED: "Resumed.",
    Done.CHANGED: "Changed.",
    Done.PASSWORD: "Your password is changed, and your other sessions have ended.",
    Done.CREATED: "Created.",
}


def said(request: web.Request) -> str:
    """Return the sentence for what was just done; "" for unknown words."""
    word = request.query.get(DONE, "")
    return _SENTENCES[Done(word)] if word in {*Done} else ""
