"""What the server logs, for people or for machines."""

import json
import logging
from typing import Any, Final

from jobstore.cli.plain import printable
from jobstore.config.sections import LogSection
from jobstore.model.clock import SECOND, iso
from jobstore.model.message import loggable

_LONGEST: Final = 2000  # characters of a message
# What every record has; anything else was given by `extra`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def start_logging(section: LogSection) -> None:
    """Log to the standard error as the configuration says."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines() if section.format == "text" else _Objects())
    logging.basicConfig(level=section.level.upper(), handlers=[handler])
    # It tells of each of its plugins; of a migration, the server's own words are enough.
    logging.getLogger("alembic").setLevel(logging.WARNING)


class Lines(logging.Formatter):
    """A line for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the message on one line, whoever's words it repeats."""
        record.message = loggable(record.message, _LONGEST)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Write a traceback, whose last line may say what a stranger has sent."""
        return printable(super().formatException(ei), keep="\n")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Write the time as everywhere else."""
        del datefmt
        return iso(int(record.created * SECOND))


class _Objects(logging.Formatter):
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
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)
