"""The requests that the rows are made of."""

import json
import os
from dataclasses import replace
from typing import Final

from trials.bench.scripts import JSON_TYPE, Load, message

_STORE: Final = "x-arango-async: store\r\n"
KIB: Final = 1024
# Of hexadecimal digits, so that it is a body in JSON as well.
_BLOCK: Final = os.urandom(32 * KIB).hex().encode()


def body(size: int) -> bytes:
    """Give a body of so many bytes."""
    return (_BLOCK * (size // len(_BLOCK) + 1))[:size]


def bare(size: int = KIB) -> Load:
    """Ask a bare server, which answers 202."""
    return Load(script="once", request=message("POST", "/bare", body(size)))


def submit(size: int = KIB) -> Load:
    """Submit jobs, and leave it at that."""
    return Load(script="once", request=message("POST", "/echo", body(size), _STORE))


def direct(size: int = KIB) -> Load:
    """Ask for an answer without a job."""
    return Load(script="direct", request=message("POST", "/echo", body(size)), size=size)


def cycle(headers: str = "") -> Load:
    """Submit jobs and ask for their results until they are there; all with further headers."""
    request = message("POST", "/echo", body(KIB), _STORE + headers)
    return Load(script="cycle", request=request, headers=headers, size=KIB)


def waiting_cycle() -> Load:
    """Submit jobs and ask for their results once, which are answered when they are there."""
    return replace(cycle(), script="wait", headers="Prefer: wait=30\r\n")


def sleeping_cycle(milliseconds: int, size: int) -> Load:
    """Submit jobs that take their time, and ask for their results once; they are of that size."""
    path = f"/_admin/sleep?duration={milliseconds / 1000}"
    request = message("POST", path, body(0), _STORE)
    return replace(waiting_cycle(), request=request, size=size)


def held() -> Load:
    """Submit jobs and wait for their ends, but leave their results where they are."""
    return replace(cycle(), script="hold")


def kinetica() -> Load:
    """Submit jobs and ask for their results, in Kinetica's dialect."""
    record = {"endpoint": "/echo", "request_encoding": "json", "data_str": body(KIB).decode()}
    request = message("POST", "/create/job", json.dumps(record).encode(), JSON_TYPE)
    return Load(script="kinetica", request=request, size=KIB)


def sleeper(method: str) -> Load:
    """Submit jobs that take a slot for good."""
    path = "/_admin/sleep?duration=86400"
    return Load(script="once", request=message(method, path, body(KIB), _STORE))
