"""Read definitions and changes to them, as people write them."""

from collections.abc import Mapping
from dataclasses import asdict

from jobstore.model.definition import Draft, write
from jobstore.model.errors import DefinitionInvalid


def parse(written: object) -> Draft:
    """Read a definition as people write it.

    Args:
        written: what JSON or TOML gave.

    Raises:
        DefinitionInvalid: it is invalid; the message says what was expected.
    """
    # Most servers and commands never read one, and loading pydantic takes a while.
    from jobstore.model.written_definition import draft

    try:
        return draft(written)
    except ValueError as invalid:
        raise DefinitionInvalid(str(invalid)) from None


def change(draft: Draft, changes: object) -> Draft:
    """Apply changes to a definition.

    Args:
        draft: what it says now.
        changes: the members to change; null resets a member to its default. A schedule, too,
            contains only the members to change.

    Raises:
        DefinitionInvalid: the changed definition would be invalid.
    """
    if not isinstance(changes, Mapping):
        raise DefinitionInvalid("expected an object with the members to change")
    merged = {**write(draft), **changes}
    if draft.schedule is not None and isinstance(changes.get("schedule"), Mapping):
        schedule = {**asdict(draft.schedule), **changes["schedule"]}
        merged["schedule"] = {name: each for name, each in schedule.items() if each is not None}
    if "body" in changes and "body_base64" not in changes:
        merged.pop("body_base64", None)
    if "body_base64" in changes and "body" not in changes:
        merged.pop("body", None)
    return parse({name: value for name, value in merged.items() if value is not None})
