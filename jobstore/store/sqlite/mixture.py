"""Detect a store beside the log of another one, before SQLite mixes the two.

After a crash, the latest commits are only in ``jobs.db-wal``, and SQLite applies that log
to whatever file is called ``jobs.db``: its frames name pages, but not their file. Put
an older copy there, and the result is neither the copy nor the store, with pages of both. So the
store carries two marks of its own, and `check` compares them while nobody owns the store.

**A copy that has never been in use has no log.** `jobstore backup` leaves it in SQLite's
rollback mode (bytes 18 and 19 of its header are 1), and so does ``VACUUM INTO``. A store that is in
use is in WAL mode before it has its first log. So a log beside a file in rollback mode, or beside
an empty one, belongs to another file.

**Every log names the state of the store that it continues.** A row of the table ``counter`` holds
two tokens, `now` and `before`. The table is one page, and each commit after which more or fewer
jobs are in some state writes that page, so nearly every log carries the row. `renew` writes a new
`now`, with the old one as `before`, and in a second commit `now` as `before`. A server does that
when it starts and, while anything is written, in every round of the janitor.

Let a log begin when the row in the file was V. Then the file of an honest crash shows V, or what
some frame of the log shows, if a checkpoint had come that far. The first frame that shows the row
shows V as its `now`, or as its `before` if it is a renewal's first commit. So the file's `now` is
one of those that frames show, or the first one's `before`, at whatever moment the server was
killed, the power was cut, or both files were copied while nobody wrote. Any other `now` is a copy
from before the last renewal that preceded this log, or another store. A copy from later than that
is noticed only by its rollback mode. Whatever cannot be read says nothing, and is SQLite's affair.

Where the tokens disagree, the checksums of the log decide which of its frames count: those that a
power cut has torn do not. Reading them takes a while, which only a refusal costs.
https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import os
import re
import sqlite3
import struct
import sys
from array import array
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from typing import Final
from urllib.parse import quote
from zlib import crc32

from jobstore.model.errors import StoreMixed
from jobstore.model.frozen import frozen
from jobstore.store.sqlite.lock import beginning, owner
from jobstore.store.sqlite.names import beside

_HEADER: Final = 32
_FRAME: Final = 24
_NONE: Final = "0" * 32
_BIG_ENDIAN_SUMS: Final = 1  # the lowest bit of the log's first word
_UNUSED: Final = b"\1\1"
_SQLITE: Final = b"SQLite format 3\0"
_ROW: Final = re.compile(rb"mark([0-9a-f]{32})([0-9a-f]{32})")

_FIND: Final = "SELECT substr(state, 1, 32) FROM counter WHERE machine = 'mark'"
_PAGE: Final = "SELECT rootpage FROM sqlite_schema WHERE name = 'counter'"
_PUT: Final = "INSERT INTO counter (machine, state, count) VALUES ('mark', ?, 0)"
_SET: Final = "UPDATE counter SET state = ? WHERE machine = 'mark'"


@frozen
class _Mark:
    now: str
    before: str


def renew(connection: sqlite3.Connection) -> None:
    """Give the store a new token; `settle` has to follow, in another transaction."""
    now = _token()
    if connection.execute(_SET, [now + (_found(connection) or _NONE)]).rowcount == 0:
        connection.execute(_PUT, [now + _NONE])


def settle(connection: sqlite3.Connection) -> None:
    """Forget the token before this one."""
    now = _found(connection)
    if now is not None:
        connection.execute(_SET, [now + now])


def check(path: Path) -> None:
    """Ensure that the log beside a store is its own; that of a store in use always is.

    Raises:
        StoreMixed: it belongs to another file, or to another state of this one.
    """
    log = beside(path, "-wal")
    # Twice, since a server of this store may start meanwhile, and renew the token between looks.
    if all(_is_mixed(path, log) for _ in range(2)):
        raise StoreMixed(path, log.name)


def _is_mixed(path: Path, log: Path) -> bool:
    try:
        if log.stat().st_size <= _HEADER or owner(path) not in {None, os.getpid()}:
            return False
        return _is_unused(path) or _disagree(path, log)
    except FileNotFoundError:
        return False


def _is_unused(path: Path) -> bool:
    header = beginning(path, 20)
    return not header or (header.startswith(_SQLITE) and header[18:20] == _UNUSED)


def _disagree(path: Path, log: Path) -> bool:
    found = _look(path)
    if found is None:
        return False
    now, page = found
    with log.open("rb", buffering=0) as file:
        frames = _Frames(file.fileno())
        return not _continues(now, frames.marks(page)) and not _continues(
            now, frames.marks(page, frames.committed())
        )


def _continues(now: str, marks: list[_Mark]) -> bool:
    return not marks or now in {marks[0].before, *(mark.now for mark in marks)}


def _look(path: Path) -> tuple[str, int] | None:
    """Read a file's token and its page without its log, which SQLite ignores here."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            now = _found(connection) or _NONE
            ((page,),) = connection.execute(_PAGE).fetchall()
    except (sqlite3.Error, ValueError, UnicodeError):
        return None
    return (now, page) if _is_token(now) else None


def _found(connection: sqlite3.Connection) -> str | None:
    row = connection.execute(_FIND).fetchone()
    return None if row is None else str(row[0])


def _token() -> str:
    random = token_hex(12)
    return random + _sum(random)


def _sum(text: str) -> str:
    return f"{crc32(text.encode()):08x}"


def _is_token(text: str) -> bool:
    """Return whether a value is a token, and not the content of a torn page."""
    return text == _NONE or _sum(text[:24]) == text[24:]


# --- the log ------------------------------------------------------------------------------------


class _Frames:
    """The frames of a log, which may be cut while they are read.

    Args:
        log: a descriptor of it.
    """

    def __init__(self, log: int) -> None:
        self._log = log
        self._header = os.pread(log, _HEADER, 0)
        self._size = int.from_bytes(self._header[8:12])

    def marks(self, page: int, end: int = sys.maxsize) -> list[_Mark]:
        """Return the values that the frames of a page show, up to an offset in the log."""
        return [
            _Mark(now.decode(), before.decode())
            for at, head in self._each()
            if at < end and int.from_bytes(head[:4]) == page
            for now, before in _ROW.findall(self._page(at))
            if _is_token(now.decode()) and _is_token(before.decode())
        ]

    def committed(self) -> int:
        """Return where the last commit ends, up to which SQLite applies the log."""
        order = "big" if self._header[3] & _BIG_ENDIAN_SUMS else "little"
        end, sums = 0, _summed(self._header[:24], order, (0, 0))
        if sums != struct.unpack(">II", self._header[24:]):
            return end
        for at, head in self._each():
            sums = _summed(self._page(at), order, _summed(head[:8], order, sums))
            if sums != struct.unpack(">II", head[16:]):
                break
            if int.from_bytes(head[4:8]):
                end = at + _FRAME + self._size
        return end

    def _each(self) -> Iterator[tuple[int, bytes]]:
        """Yield the offset and header of each frame that may count: its salts are the log's."""
        at = _HEADER
        while len(head := os.pread(self._log, _FRAME, at)) == _FRAME:
            if head[8:16] != self._header[16:24]:
                return
            yield at, head
            at += _FRAME + self._size

    def _page(self, at: int) -> bytes:
        return os.pread(self._log, self._size, at + _FRAME).ljust(self._size, b"\0")


def _summed(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    words = array("I", data)
    if order != sys.byteorder:
        words.byteswap()
    one, two = sums
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
