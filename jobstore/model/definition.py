"""Definitions: named requests that can be run again and again."""

import re
import unicodedata
from base64 import b64encode
from dataclasses import asdict
from enum import StrEnum
from typing import Any, Final

from jobstore.model.account import NOBODY
from jobstore.model.clock import iso
from jobstore.model.frozen import frozen
from jobstore.model.job import OF_TARGET, Dialect, Policy, Submission, Trigger
from jobstore.model.message import REDACTED, Request
from jobstore.model.schedule import Schedule

_LONGEST_PATH: Final = 1024


class DefinitionKey(StrEnum):
    """What a definition can be found by."""

    ID = "id"
    FILE_ID = "file_id"
    UUID = "uuid"
    PATH = "path"


def key_of(reference: str) -> tuple[DefinitionKey, int | str]:
    """Return by which key a definition is looked up: its id or its uuid."""
    if re.fullmatch("[1-9][0-9]{0,18}", reference):
        return DefinitionKey.ID, int(reference)
    return DefinitionKey.UUID, reference.lower()


@frozen(kw_only=True)
class Draft:
    """What a definition says.

    Args:
        name: its display name.
        path: its place in the tree of definitions, such as ``/Imports/daily``.
        request: what a run of it sends.
        policy: timeout, replay and retries of its runs.
        schedule: when it runs automatically, or None.
    """

    name: str
    path: str
    request: Request
    policy: Policy = OF_TARGET
    schedule: Schedule | None = None


@frozen(kw_only=True)
class Definition:
    """A definition as it stands in the store; times are in microseconds since 1970.

    Args:
        id: its number among the definitions.
        file_id: its file id in Datameer's dialect, which is a different number.
        uuid: its globally unique id.
        owner: whose it is.
        account: to which it belongs; the owner's name is for people.
        draft: what it says.
        fires_at: when its schedule fires next, or since when it has been due; None means never.
    """

    id: int
    file_id: int
    uuid: str
    owner: str
    created_at: int
    changed_at: int
    draft: Draft
    fires_at: int | None = None
    account: int = NOBODY

    def run(
        self,
        target: str,
        dialect: Dialect,
        owner: str,
        trigger: Trigger,
        account: int = NOBODY,
    ) -> Submission:
        """Return what to submit for a run.

        Args:
            target: the name of the target that owns the request's path.
            dialect: the API in which the run was asked for.
            owner: who asked for it.
            trigger: what started it.
            account: that of the owner.
        """
        return Submission(
            request=self.draft.request,
            target=target,
            dialect=dialect,
            owner=owner,
            account=account,
            definition=self.id,
            trigger=trigger,
            policy=self.draft.policy,
        )


def normal_path(value: str) -> str:
    """Return a definition's path in its normal form, in which paths are compared.

    Raises:
        ValueError: it is invalid.
    """
    path = unicodedata.normalize("NFC", value)
    parts = path.split("/")[1:]
    if not path.startswith("/") or not path.isprintable() or len(path) > _LONGEST_PATH:
        raise ValueError
    if any(part.strip() in {"", ".", ".."} for part in parts):
        raise ValueError
    return path


def write(draft: Draft, secret: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Write a definition as `parse` reads it.

    Args:
        draft: what it says.
        secret: lower-case names of headers whose values are not shown.
    """
    request = draft.request
    assert isinstance(request.body, bytes)
    headers: dict[str, str | list[str]] = {}
    for name, value in request.headers:
        shown = REDACTED if name.lower() in secret else value
        known = headers.get(name)
        if known is None:
            headers[name] = shown
        else:
            headers[name] = [*([known] if isinstance(known, str) else known), shown]
    return {
        "name": draft.name,
        "path": draft.path,
        "method": request.method,
        "target": request.path,
        "headers": headers,
        **_written_body(request.body),
        **asdict(draft.policy),
        "schedule": asdict(draft.schedule) if draft.schedule else None,
    }


def described(definition: Definition, secret: frozenset[str]) -> dict[str, Any]:
    """Return everything about a definition, for people and programs.

    Args:
        secret: lower-case names of headers whose values are not shown.
    """
    fires_at = definition.fires_at
    return {
        "id": definition.id,
        "file_id": definition.file_id,
        "uuid": definition.uuid,
        **write(definition.draft, secret),
        "owner": definition.owner,
        "created_at": iso(definition.created_at),
        "changed_at": iso(definition.changed_at),
        "fires_at": None if fires_at is None else iso(fires_at),
    }


def _written_body(body: bytes) -> dict[str, str | None]:
    try:
        return {"body": body.decode() if body else None}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(body).decode()}
