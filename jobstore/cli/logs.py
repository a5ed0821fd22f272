"""What the server logs, for people or for machines."""

import json
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TextIO

from jobstore.cli import discard_output
from jobstore.cli.plain import printable
from jobstore.config.sections import LogSection
from jobstore.model.clock import SECOND, iso
from jobstore.model.message import loggable

_LONGEST: Final = 2000  # characters of a message
# Whose lines are cut when they come in floods; how many kinds of lines are told apart, and how many
# of each are written at once.
_LIMITED: Final = frozenset({"jobstore", "aiohttp", "asyncio"})
_KINDS: Final = 1000
_AT_ONCE: Final = 20
# What every record has; anything else was given by `extra`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def start_logging(section: LogSection) -> None:
    """Log to the standard error as the configuration says."""
    handler = Floodgate()
    handler.setFormatter(Lines() if section.format == "text" else Objects())
    logging.basicConfig(level=section.level.upper(), handlers=[handler])
    # It tells of each of its plugins; of a migration, the server's own words are enough.
    logging.getLogger("alembic").setLevel(logging.WARNING)


class Floodgate(logging.StreamHandler[TextIO]):
    """Write lines, but after a flood of similar ones, no more than one of them a second.

    Whoever can cause a line with a request could fill the disk with it. What was left out is
    counted, and said with the next line of its kind, or at the end. An application's own lines are
    its own affair.

    If whoever reads the log through a pipe goes away, further lines are discarded.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(stream)
        self._clock = clock
        self._kinds: OrderedDict[tuple[object, ...], _Flood] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count that it was left out."""
        if record.name.partition(".")[0] in _LIMITED:
            flood = self._flood(record)
            if not flood.lets_through(self._clock()):
                return
            record.left_out, flood.left_out = flood.left_out, 0
        super().emit(record)

    def _flood(self, record: logging.LogRecord) -> "_Flood":
        kind = record.name, record.levelno, str(record.msg)
        flood = self._kinds.setdefault(kind, _Flood(record, self._clock()))
        flood.last = record
        self._kinds.move_to_end(kind)
        if len(self._kinds) > _KINDS:
            self._tell(self._kinds.popitem(last=False)[1])
        return flood

    def close(self) -> None:
        """Say what was left out last."""
        for flood in self._kinds.values():
            self._tell(flood)
        self._kinds.clear()
        super().close()

    def _tell(self, flood: "_Flood") -> None:
        if flood.left_out:
            flood.last.left_out = flood.left_out - 1  # without the one that is written now
            super().emit(flood.last)

    def handleError(self, record: logging.LogRecord) -> None:
        """Discard everything once the reader is gone."""
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            discard_output(self.stream)
        else:
            super().handleError(record)


class _Flood:
    """How many lines of a kind may be written: some at once, and then one a second.

    Attributes:
        last: the line that came last.
        left_out: how many were not written since the last one that was.
    """

    __slots__ = ("_left", "_since", "last", "left_out")

    def __init__(self, record: logging.LogRecord, now: float) -> None:
        self._left = float(_AT_ONCE)
        self._since = now
        self.last = record
        self.left_out = 0

    def lets_through(self, now: float) -> bool:
        """Return whether a line may be written now; count it if not."""
        self._left = min(_AT_ONCE, self._left + max(0.0, now - self._since))
        self._since = now
        if self._left < 1:
            self.left_out += 1
            return False
        self._left -= 1
        return True


class Lines(logging.Formatter):
    """A line for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write the message on one line, even if it repeats a client's words."""
        record.message = loggable(record.message, _LONGEST)
        if left_out := getattr(record, "left_out", 0):
            record.message += f" ({left_out} similar lines were left out)"
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """Write a traceback, whose last line may say what a stranger has sent."""
        return printable(super().formatException(ei), keep="\n")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Write the time as everywhere else."""
        del datefmt
        return iso(int(record.created * SECOND))


class Objects(logging.Formatter):
    """A line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Write what the record says and what it was given besides."""
        fields: dict[str, Any] = {
            "time": iso(int(record.created * SECOND)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": loggable(record.getMessage(), _LONGEST),
        }
        fields |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if not fields.get("left_out"):
            fields.pop("left_out", None)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)
