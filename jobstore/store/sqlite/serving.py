"""Which server a file has, for people."""

from pathlib import Path
from socket import gethostname
from typing import Final

from sqlalchemy import func, select

from jobstore.model import clock
from jobstore.store import schema
from jobstore.store.expressions import Statement
from jobstore.store.history import History
from jobstore.store.sqlite.lock import owner
from jobstore.store.starts import Start, StartState

_boot: Final = schema.BOOT.c
_newest: Final = select(func.max(schema.BOOT.alias("start").c.id)).scalar_subquery()
NEWEST: Final = Statement(
    select(_boot.id, _boot.pid, _boot.version, _boot.started_at, _boot.ended_at).where(
        _boot.id == _newest
    )
)


async def running(history: History, path: Path) -> list[Start]:
    """Return the start of the server that owns a file at the moment, if there is one."""
    pid = owner(path)
    for boot, of_boot, version, started_at, ended_at in await history.rows(NEWEST):
        if pid is not None and pid == of_boot and ended_at is None:
            return [
                Start(
                    boot=boot,
                    name="",
                    host=gethostname(),
                    pid=pid,
                    version=version,
                    started_at=started_at,
                    seen_at=clock.now(),
                    ended_at=None,
                    state=StartState.ALIVE,
                )
            ]
    return []
