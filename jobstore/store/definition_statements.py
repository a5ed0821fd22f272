"""The statements about definitions."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import (
    Integer,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    update,
)

from jobstore.model.definition import Key
from jobstore.store import schema
from jobstore.store.sqlite.engine import Statement, constant, next_id
from jobstore.store.terms import ONE, ZERO, limit, now

_definition, _job = schema.DEFINITION.c, schema.JOB.c

COLUMNS: Final = tuple(
    column for column in schema.DEFINITION.columns if column.name != "deleted_at"
)
_WRITTEN: Final = (
    "name",
    "path",
    "method",
    "request_target",
    "headers",
    "secrets",
    "content",
    "timeout",
    "replay",
    "retries",
    "cron",
    "time_zone",
    "catch_up",
    "overlap",
    "paused",
    "fires_at",
)


_current: Final = _definition.deleted_at.is_(None)
_in_scope: Final = or_(bindparam("scope").is_(None), _definition.account == bindparam("scope"))
_this: Final = and_(_definition.id == bindparam("definition"), _current)

# So far apart that taking one of the two numbers for the other is noticed.
_file_id: Final = next_id("definition") + literal_column("1000000", Integer)

CREATE: Final = Statement(
    insert(schema.DEFINITION).values(
        {name: bindparam(name) for name in (*_WRITTEN, "uuid", "owner", "account")}
        | {"file_id": _file_id, "created_at": now, "changed_at": now}
    )
)
FIND: Final[Mapping[Key, Statement]] = {
    key: Statement(
        select(*COLUMNS).where(_definition[key] == bindparam("value"), _current, _in_scope)
    )
    for key in Key
}
AT: Final = Statement(
    select(*COLUMNS).where(
        _definition.path == bindparam("path"),
        _definition.account == bindparam("of_account"),
        _current,
    )
)
# Deleted ones too: the history still names them.
NAME: Final = Statement(select(_definition.name).where(_definition.id == bindparam("definition")))
CHANGE: Final = Statement(
    update(schema.DEFINITION)
    .where(_this)
    .values({name: bindparam(name) for name in _WRITTEN} | {"changed_at": now})
)
DELETE: Final = Statement(
    update(schema.DEFINITION)
    .where(_this, _in_scope)
    .values(
        deleted_at=now,
        headers=constant("[]"),
        secrets=null(),
        content=literal_column("x''"),
        fires_at=null(),
    )
    .returning(_definition.id)
)
LIST: Final = Statement(
    select(*COLUMNS)
    .where(_definition.id > bindparam("after"), _current, _in_scope)
    .order_by(_definition.id)
    .limit(limit)
    .offset(ZERO)
)
DROP: Final = Statement(
    delete(schema.DEFINITION).where(
        _definition.deleted_at.is_not(None), ~exists().where(_job.definition == _definition.id)
    )
)

# --- schedules ----------------------------------------------------------------------------------

# In order of time, so that what has to wait is passed over.
FIRING: Final = Statement(
    select(*COLUMNS)
    .where(
        _definition.fires_at <= now,
        tuple_(_definition.fires_at, _definition.id)
        > tuple_(bindparam("after_at"), bindparam("after_id")),
    )
    .order_by(_definition.fires_at, _definition.id)
    .limit(limit)
    .offset(ZERO)
)
NEXT_FIRING: Final = Statement(
    select(_definition.fires_at)
    .where(_definition.fires_at > now)
    .order_by(_definition.fires_at)
    .limit(ONE)
    .offset(ZERO)
)
# Whoever has worked a fire time off moves on from it, and nobody else does.
FIRE: Final = Statement(
    update(schema.DEFINITION)
    .where(_this, _definition.fires_at == bindparam("due"))
    .values(fires_at=bindparam("next_at"))
    .returning(_definition.id)
)
# The schedules of an account run no more.
PAUSE_ALL: Final = Statement(
    update(schema.DEFINITION)
    .where(_definition.fires_at.is_not(None), _definition.account == bindparam("of_account"))
    .values(paused=ONE, fires_at=null(), changed_at=now)
    .returning(_definition.id)
)
# What will never fire again is paused, so that people see it, and may mend it.
PAUSE: Final = Statement(update(schema.DEFINITION).where(_this).values(paused=ONE, fires_at=null()))
# Schedules by the id of their definition, so that none is left out whose time changes meanwhile.
SCHEDULED: Final = Statement(
    select(*COLUMNS)
    .where(_definition.fires_at > now, _definition.id > bindparam("after"))
    .order_by(_definition.id)
    .limit(limit)
    .offset(ZERO)
)
OLDEST_UNENDED: Final = Statement(
    select(_job.id, _job.submitted_at)
    .where(_job.definition == bindparam("definition"), _job.finished_at.is_(None))
    .order_by(_job.id)
    .limit(ONE)
    .offset(ZERO)
)
