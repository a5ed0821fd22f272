"""The statements about large bodies."""

from typing import Final

from sqlalchemy import bindparam, delete, insert, literal_column, select, update

from jobstore.store import schema
from jobstore.store.sqlite.engine import Statement, listed
from jobstore.store.terms import ZERO, limit

_job, _request, _response = schema.JOB.c, schema.REQUEST.c, schema.RESPONSE.c
_body, _chunk, _event = schema.BODY.c, schema.CHUNK.c, schema.EVENT.c

OPEN_BODY: Final = Statement(
    insert(schema.BODY).values(side=bindparam("side"), size=literal_column("0"))
)
PUT_CHUNK: Final = Statement(
    insert(schema.CHUNK).values(
        body_id=bindparam("body_id"), seq=bindparam("seq"), data=bindparam("data")
    )
)
ADOPT_BODY: Final = Statement(
    update(schema.BODY)
    .where(_body.id == bindparam("body_id"))
    .values(job_id=bindparam("of_job"), size=bindparam("whole_size"))
)
FIND_BODY: Final = Statement(
    select(_body.id, _body.size).where(
        _body.job_id == bindparam("job_id"), _body.side == bindparam("side")
    )
)
GET_CHUNK: Final = Statement(
    select(_chunk.data).where(
        _chunk.body_id == bindparam("body_id"), _chunk.seq == bindparam("seq")
    )
)
# A body whose chunks are gone, or have never come, is there once, without a number of a chunk.
LOOSE_CHUNKS: Final = Statement(
    select(_body.id, _chunk.seq)
    .select_from(schema.BODY)
    .outerjoin(schema.CHUNK, _chunk.body_id == _body.id)
    .where(_body.job_id.is_(None), _body.id.not_in(listed("open")))
    .order_by(_body.id, _chunk.seq)
    .limit(limit)
    .offset(ZERO)
)
SWEEP_CHUNKS: Final = Statement(
    delete(schema.CHUNK).where(
        _chunk.body_id == bindparam("body_id"), _chunk.seq <= bindparam("last")
    )
)
SWEEP_BODIES: Final = Statement(delete(schema.BODY).where(_body.id.in_(listed("ids"))))
