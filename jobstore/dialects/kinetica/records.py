"""The records that go to and fro, each with its members in the order in which Avro has them."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeAlias

from fastavro import parse_schema

Record: TypeAlias = Mapping[str, Any]


class RequestInvalid(Exception):
    """A request cannot be answered as it stands; the message says what was expected."""


class Kind(Enum):
    """What a member holds, in the words of Avro's schemas."""

    STRING = "string"
    BYTES = "bytes"
    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    STRINGS = {"type": "array", "items": "string"}  # noqa: RUF012 - an enum's members never change
    LONGS = {"type": "array", "items": "long"}  # noqa: RUF012
    MAP = {"type": "map", "values": "string"}  # noqa: RUF012


class Form:
    """What a record looks like.

    Args:
        name: what it is called.
        members: what its members hold, in their order.

    Attributes:
        schema: the same for fastavro.
    """

    def __init__(self, name: str, **members: Kind) -> None:
        self.name = name
        self.members = members
        fields = [{"name": member, "type": kind.value} for member, kind in members.items()]
        self.schema = parse_schema({"type": "record", "name": name, "fields": fields})


# What every answer is wrapped in.
WRAPPER: Final = Form(
    "gpudb_response",
    status=Kind.STRING,
    message=Kind.STRING,
    data_type=Kind.STRING,
    data=Kind.BYTES,
    data_str=Kind.STRING,
)

CREATE_JOB: Final = Form(
    "create_job_request",
    endpoint=Kind.STRING,
    request_encoding=Kind.STRING,
    data=Kind.BYTES,
    data_str=Kind.STRING,
    options=Kind.MAP,
)
JOB_CREATED: Final = Form("create_job_response", job_id=Kind.LONG, info=Kind.MAP)

GET_JOB: Final = Form("get_job_request", job_id=Kind.LONG, options=Kind.MAP)
JOB: Final = Form(
    "get_job_response",
    endpoint=Kind.STRING,
    job_status=Kind.STRING,
    running=Kind.BOOLEAN,
    progress=Kind.INT,
    successful=Kind.BOOLEAN,
    response_encoding=Kind.STRING,
    job_response=Kind.BYTES,
    job_response_str=Kind.STRING,
    status_map=Kind.MAP,
    info=Kind.MAP,
)

ALTER_JOBS: Final = Form(
    "admin_alter_jobs_request", job_ids=Kind.LONGS, action=Kind.STRING, options=Kind.MAP
)
JOBS_ALTERED: Final = Form(
    "admin_alter_jobs_response",
    job_ids=Kind.LONGS,
    action=Kind.STRING,
    status=Kind.STRINGS,
    info=Kind.MAP,
)

SHOW_JOBS: Final = Form("admin_show_jobs_request", options=Kind.MAP)
JOBS: Final = Form(
    "admin_show_jobs_response",
    job_id=Kind.LONGS,
    status=Kind.STRINGS,
    endpoint_name=Kind.STRINGS,
    time_received=Kind.LONGS,
    auth_id=Kind.STRINGS,
    source_ip=Kind.STRINGS,
    query_text=Kind.STRINGS,
    user_data=Kind.STRINGS,
    flags=Kind.STRINGS,
    info=Kind.MAP,
)

SHOW_STATUS: Final = Form("show_system_status_request", options=Kind.MAP)
STATUS: Final = Form("show_system_status_response", status_map=Kind.MAP, info=Kind.MAP)
SHOW_PROPERTIES: Final = Form("show_system_properties_request", options=Kind.MAP)
PROPERTIES: Final = Form("show_system_properties_response", property_map=Kind.MAP, info=Kind.MAP)
