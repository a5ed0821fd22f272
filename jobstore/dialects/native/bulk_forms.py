"""Operations on many jobs as clients describe them; imported when first needed."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

from jobstore.model.bulk import BulkAction
from jobstore.model.errors import QueryInvalid
from jobstore.model.nearest import nearest
from jobstore.store.bulk import selects
from jobstore.store.search import Search
from jobstore.web.filters import FILTERS, search_of

MOST_IDS: Final = 1000
# The member of a filter that says that all jobs are meant.
_ALL: Final = "all"
_FLAG: Final = "true or false"


class WrittenOperation(BaseModel):
    """An operation and its jobs; the description of each field says what is expected."""

    model_config = ConfigDict(extra="forbid")

    action: Annotated[
        BulkAction, Field(description='one of "cancel", "retry", "delete" and "restore"')
    ]
    filter: Annotated[
        dict[str, Any] | None,
        Field(description='an object of filters of GET /_jobs such as {"state": "failed"}'),
    ] = None
    ids: Annotated[
        list[Annotated[StrictInt, Field(gt=0, lt=2**63)]] | None,
        Field(min_length=1, max_length=MOST_IDS, description=f"a list of 1 to {MOST_IDS} ids"),
    ] = None
    dry_run: Annotated[StrictBool, Field(description=_FLAG)] = False
    expect: Annotated[StrictInt | None, Field(ge=0, description="a whole number, or null")] = None
    without_secrets: Annotated[StrictBool, Field(description=_FLAG)] = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.filter is None) == (self.ids is None):
            raise ValueError("expected either filter or ids")
        if self.without_secrets and self.action is not BulkAction.RETRY:
            raise ValueError("without_secrets: expected only with the action retry")
        return self

    @property
    def filter_as_json(self) -> str | None:
        """Return the filter as the client wrote it."""
        return None if self.filter is None else json.dumps(self.filter)

    def search(self, scope: int | None) -> Search:
        """Return the search of the filter.

        Args:
            scope: whose jobs the caller may see, or None for everybody's.

        Raises:
            QueryInvalid: it is invalid, or matches every job without saying ``all``.
        """
        assert self.filter is not None
        given = dict(self.filter)
        everything = _ALL in given
        if everything and (given.pop(_ALL) is not True or given):
            raise QueryInvalid(f"filter.{_ALL}: expected true, and no other filter beside it")
        try:
            search = search_of({name: _text(name, value) for name, value in given.items()}, scope)
        except QueryInvalid as invalid:
            raise QueryInvalid(f"filter.{invalid}") from None
        if not everything and not selects(search):
            raise QueryInvalid(
                f'filter: this matches every job; say {{"{_ALL}": true}} if you mean all jobs'
            )
        return search


def _text(name: str, value: object) -> str:
    """Return the value of a filter as in a query."""
    if name not in FILTERS:
        raise QueryInvalid(
            f"{name[:100]}: no such filter; did you mean {nearest(name, (*FILTERS, _ALL))}?"
        )
    if isinstance(value, list) and value and name in {"state", "result"}:
        return ",".join(_text(name, each) for each in value)
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise QueryInvalid(f"{name}: expected text" + _OR.get(name, ""))


_OR: Final[Mapping[str, str]] = {
    "state": " or a list of texts",
    "result": " or a list of texts",
    "definition": " or a number",
    "status": " or a number",
}
