"""What the server logs: fields for machines, and no floods."""

import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from aiohttp import ClientSession

from jobstore.cli.logs import Floodgate, Lines, start_logging
from jobstore.config.sections import LogSection
from tests.client import Client
from tests.conftest import Start

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SECRET = "a secret of the request"


@contextmanager
def gate() -> Iterator[tuple[Floodgate, logging.Logger, io.StringIO, list[float]]]:
    """Give a gate with a logger before it, what it has written, and its clock, which stands."""
    written, now = io.StringIO(), [0.0]
    handler = Floodgate(written, clock=lambda: now[0])
    handler.setFormatter(logging.Formatter("%(message)s %(left_out)d"))
    logger = logging.getLogger("jobstore.flood")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield handler, logger, written, now
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def test_of_lines_that_are_alike_one_a_second_is_written_once_many_have_come() -> None:
    with gate() as (_, logger, written, now):
        for number in range(100):
            logger.warning("job %d", number)
        lines = written.getvalue().splitlines()
        assert lines == [f"job {number} 0" for number in range(20)]
        now[0] = 1.0
        for number in range(100, 110):
            logger.warning("job %d", number)
        assert written.getvalue().splitlines()[20:] == ["job 100 80"]
        logger.warning("another %d", 1)
        assert written.getvalue().splitlines()[21:] == ["another 1 0"]


def test_what_was_left_out_last_is_told_at_the_end() -> None:
    with gate() as (handler, logger, written, _):
        for number in range(25):
            logger.warning("job %d", number)
        handler.close()
        assert written.getvalue().splitlines()[20:] == ["job 24 4"]


def test_an_application_may_log_as_much_as_it_likes() -> None:
    with gate() as (handler, _, written, _):
        handler.setFormatter(Lines())
        logger = logging.getLogger("app")
        logger.addHandler(handler)
        logger.propagate = False
        for number in range(100):
            logger.warning("line %d", number)
        logger.removeHandler(handler)
        assert len(written.getvalue().splitlines()) == 100


def test_nobody_minds_when_the_reader_of_the_log_is_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    handler = Floodgate(stream)
    for _ in range(3):
        handler.emit(logging.makeLogRecord({"name": "app", "msg": "gone"}))
    stream.close()  # which writes what is left, as the interpreter does at its end
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_says_how_many_like_it_were_left_out(
    form: Literal["text", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        start_logging(LogSection(format=form))
        (handler,) = root.handlers
        record = logging.makeLogRecord({"name": "app", "msg": "again", "left_out": 7})
        handler.handle(record)
    finally:
        root.handlers = before
    line = capsys.readouterr().err
    if form == "json":
        assert json.loads(line)["left_out"] == 7
    else:
        assert line.endswith("again (7 similar lines were left out)\n")


def lines_about(server: Any, job_id: int) -> list[dict[str, Any]]:
    """Read the lines of a log that are about a job."""
    found = [json.loads(line) for line in server.output if line.startswith("{")]
    return [line for line in found if line.get("job_id") == job_id]


async def test_a_job_that_goes_wrong_is_a_warning_with_all_that_is_known_of_it(
    server_process: Start, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBSTORE_LOG__FORMAT", "json")
    monkeypatch.setenv("JOBSTORE_EXECUTOR__TIMEOUT", "200ms")
    server = await server_process("--app", "tests.webapp:create_app")
    client = Client(http, server.url)
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Secret": SECRET}
    broken = await client.done("/status/500", "POST", headers=headers, data=SECRET.encode())
    slow = await client.done("/slow", headers={"Authorization": "Basic YW5hOg=="})
    await server.logged(f'"job_id": {slow}')
    (first,), (second,) = lines_about(server, broken), lines_about(server, slow)
    about = ("level", "action", "attempt", "target", "owner", "status", "trace_id")
    assert [first.get(name) for name in about] == ["warning", "finish", 1, "/", None, 500, TRACE]
    assert [second.get(name) for name in about] == ["warning", "fail", 1, "/", "ana", 504, None]
    assert first["message"] == f"job {broken}: status 500 from target /"
    assert not [line for line in server.output if SECRET in line]
