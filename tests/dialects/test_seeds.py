"""What ArangoDB's documentation prints, pasted into a shell line by line."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import ClientSession

from tests.client import Client
from tests.conftest import Serve

pytestmark = pytest.mark.file  # what the documentation says is no affair of the engine

FILES = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
DOCUMENTED_URL = "http://localhost:8529"
# The demo says that it is the newer of the two.
VERSIONS = {"1.4.3": "2.1.0"}
# Newer versions of curl do not take the beginning of an option's name for the whole of it.
OPTIONS = {"--dump ": "--dump-header "}


@dataclass(frozen=True, slots=True)
class Printed:
    """What is printed of a response; of its headers, those that the documentation ever prints."""

    status: str
    headers: dict[str, str]
    body: Any

    @classmethod
    def read(cls, text: str) -> Self:
        """Read it from the output of ``curl --dump -``."""
        head, _, body = text.replace("\r", "").partition("\n\n")
        status, *fields = head.split("\n")
        headers = dict(field.lower().split(": ", 1) for field in fields)
        names = {"content-type", "x-arango-async-id"}.intersection(headers)
        return cls(
            status=status.rstrip(),  # its reason may be empty
            headers={name: headers[name] for name in names},
            body=json.loads(body) if body else None,
        )


@dataclass(frozen=True, slots=True)
class Exchange:
    """One command and its answer, as they were documented.

    Args:
        command: the command line.
        stdin: what is typed after it.
        answer: what curl prints then.
        ends: whether the job that it submits has to end before the next exchange.
    """

    command: str
    stdin: str
    answer: str
    ends: bool

    @classmethod
    def read(cls, text: str) -> Self:
        """Read it from a transcript, where it follows a prompt."""
        typed, head, *rest = text.strip().split("\n\n")
        command, _, stdin = typed.partition("\n")
        body = "".join(part for part in rest if not part.startswith("#"))
        ends = "# once it has ended" in rest
        return cls(command=command, stdin=stdin, answer=f"{head}\n\n{body}", ends=ends)


def transcripts() -> list[Any]:
    """Read all transcripts; each is a list of exchanges."""
    return [
        pytest.param(
            [Exchange.read(exchange) for exchange in exchanges], id=f"{file.stem}: {name.strip()}"
        )
        for file in FILES
        for transcript in file.read_text().split("\n## ")[1:]
        for name, *exchanges in [transcript.split("unix> ")]
    ]


async def shell(command: str, stdin: str) -> str:
    """Run a command line, and return what it prints."""
    process = await asyncio.create_subprocess_shell(
        command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # curl's progress meter
        env={"PATH": os.environ["PATH"]},  # without what may lead curl to a proxy
    )
    printed, _ = await process.communicate(f"{stdin}\n".encode())
    return printed.decode()


@pytest.mark.parametrize("transcript", transcripts())
async def test_the_documentation_tells_the_truth(
    transcript: list[Exchange], serve: Serve, http: ClientSession
) -> None:
    server = await serve()
    here = {DOCUMENTED_URL: server.url, **VERSIONS, **OPTIONS}

    def translated(text: str) -> str:
        for documented, real in here.items():
            text = text.replace(documented, real)
        return text

    for exchange in transcript:
        answer = Printed.read(await shell(translated(exchange.command), exchange.stdin))
        if answer.status == "HTTP/1.1 202 Accepted":
            job_id = answer.headers["x-arango-async-id"]
            here[Printed.read(exchange.answer).headers["x-arango-async-id"]] = job_id
        assert answer == Printed.read(translated(exchange.answer))
        if exchange.ends:
            await Client(http, server.url).ended(int(job_id))


def test_no_documented_exchange_is_left_out() -> None:
    prompts = sum(file.read_text().count("unix>") for file in FILES)
    assert prompts == 42
    assert sum(len(transcript.values[0]) for transcript in transcripts()) == prompts
