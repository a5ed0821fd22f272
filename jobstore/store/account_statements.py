"""The statements about accounts and their tokens."""

from typing import Final

from sqlalchemy import bindparam, delete, insert, select, update

from jobstore.store import schema
from jobstore.store.sqlite.engine import Statement
from jobstore.store.terms import now

_account, _token = schema.ACCOUNT.c, schema.TOKEN.c
_this: Final = _account.name == bindparam("account")

ADD: Final = Statement(
    insert(schema.ACCOUNT).values(
        name=bindparam("account"),
        role=bindparam("role"),
        password=bindparam("password"),
        created_at=now,
        changed_at=now,
    )
)
SET_PASSWORD: Final = Statement(
    update(schema.ACCOUNT)
    .where(_this)
    .values(password=bindparam("password"), changed_at=now)
    .returning(_account.id)
)
SET_ROLE: Final = Statement(
    update(schema.ACCOUNT)
    .where(_this)
    .values(role=bindparam("role"), changed_at=now)
    .returning(_account.id)
)
REMOVE: Final = Statement(delete(schema.ACCOUNT).where(_this).returning(_account.id))
LIST: Final = Statement(
    select(
        _account.id,
        _account.name,
        _account.role,
        _account.password,
        _account.created_at,
        _account.changed_at,
    ).order_by(_account.name)
)
FIND: Final = Statement(select(_account.id).where(_this))

ADD_TOKEN: Final = Statement(
    insert(schema.TOKEN).values(
        account=bindparam("account"),
        label=bindparam("label"),
        digest=bindparam("digest"),
        created_at=now,
    )
)
REVOKE_TOKEN: Final = Statement(
    delete(schema.TOKEN).where(_token.id == bindparam("token")).returning(_token.id)
)
LIST_TOKENS: Final = Statement(
    select(_token.id, _token.account, _token.label, _token.created_at, _token.digest).order_by(
        _token.id
    )
)
