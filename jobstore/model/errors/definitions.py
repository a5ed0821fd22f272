"""What was asked for of a definition is not possible."""

from collections.abc import Sequence
from typing import Final

from jobstore.model.errors.base import JobstoreError

# How many of several things a message names.
_SHOWN: Final = 5


class DefinitionNotFound(JobstoreError):
    """No such definition, or the account may not see it.

    Args:
        reference: its id, uuid or path, as given.
    """

    status = 404

    def __init__(self, reference: object) -> None:
        super().__init__(f"no definition {reference}")
        self.reference = reference


class DefinitionExists(JobstoreError):
    """Another definition has the same path."""

    status = 409

    def __init__(self, path: str) -> None:
        super().__init__(f"a definition with the path {path} already exists")
        self.path = path


class DefinitionAmbiguous(JobstoreError):
    """Several owners have a definition at a path.

    Args:
        found: the id and the owner of each.
    """

    status = 409

    def __init__(self, path: str, found: Sequence[tuple[int, str]]) -> None:
        shown = ", ".join(f"{number} of {owner or 'nobody'}" for number, owner in found[:_SHOWN])
        more = ", ..." if len(found) > _SHOWN else ""
        super().__init__(
            f"several definitions have the path {path}; name one by its id: {shown}{more}"
        )
        self.path = path


class DefinitionInvalid(JobstoreError):
    """The definition is invalid; each line of the message is one problem."""

    status = 400
