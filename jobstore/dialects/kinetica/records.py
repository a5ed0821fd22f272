"""The records of requests and answers, with their members in Avro's order."""

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jobstore.model.errors import JobstoreError
from jobstore.web import late

if TYPE_CHECKING:
    from fastavro.types import Schema

Record: TypeAlias = Mapping[str, Any]


class RequestInvalid(JobstoreError):
    """A request is invalid; the message says what was expected."""

    status = 400


class AvroType(Enum):
    """The type of a member: an Avro type, or a list or map of one."""

    __hash__ = object.__hash__  # in C: one is looked up for each member

    STRING = "string"
    BYTES = "bytes"
    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    STRINGS = "strings"
    LONGS = "longs"
    MAP = "map"

    @property
    def schema(self) -> "Schema":
        """Return the schema for fastavro."""
        return _COMPOSED.get(self, self.value)


_COMPOSED: "Final[Mapping[AvroType, Schema]]" = {
    AvroType.STRINGS: {"type": "array", "items": "string"},
    AvroType.LONGS: {"type": "array", "items": "long"},
    AvroType.MAP: {"type": "map", "values": "string"},
}


class Form:
    """The form of a record.

    Args:
        name: its name.
        members: the types of its members, in order.
    """

    def __init__(self, name: str, **members: AvroType) -> None:
        self.name = name
        self.members = members

    @cached_property
    def schema(self) -> "Schema":
        """Return the schema for fastavro."""
        late.load("fastavro")
        from fastavro import parse_schema  # `encodings` says why

        fields = [{"name": name, "type": kind.schema} for name, kind in self.members.items()]
        return parse_schema({"type": "record", "name": self.name, "fields": fields})


# What every answer is wrapped in.
WRAPPER: Final = Form(
    "gpudb_response",
    status=AvroType.STRING,
    message=AvroType.STRING,
    data_type=AvroType.STRING,
    data=AvroType.BYTES,
    data_str=AvroType.STRING,
)

CREATE_JOB: Final = Form(
    "create_job_request",
    endpoint=AvroType.STRING,
    request_encoding=AvroType.STRING,
    data=AvroType.BYTES,
    data_str=AvroType.STRING,
    options=AvroType.MAP,
)
JOB_CREATED: Final = Form("create_job_response", job_id=AvroType.LONG, info=AvroType.MAP)

GET_JOB: Final = Form("get_job_request", job_id=AvroType.LONG, options=AvroType.MAP)
JOB: Final = Form(
    "get_job_response",
    endpoint=AvroType.STRING,
    job_status=AvroType.STRING,
    running=AvroType.BOOLEAN,
    progress=AvroType.INT,
    successful=AvroType.BOOLEAN,
    response_encoding=AvroType.STRING,
    job_response=AvroType.BYTES,
    job_response_str=AvroType.STRING,
    status_map=AvroType.MAP,
    info=AvroType.MAP,
)

ALTER_JOBS: Final = Form(
    "admin_alter_jobs_request", job_ids=AvroType.LONGS, action=AvroType.STRING, options=AvroType.MAP
)
JOBS_ALTERED: Final = Form(
    "admin_alter_jobs_response",
    job_ids=AvroType.LONGS,
    action=AvroType.STRING,
    status=AvroType.STRINGS,
    info=AvroType.MAP,
)

SHOW_JOBS: Final = Form("admin_show_jobs_request", options=AvroType.MAP)
JOBS: Final = Form(
    "admin_show_jobs_response",
    job_id=AvroType.LONGS,
    status=AvroType.STRINGS,
    endpoint_name=AvroType.STRINGS,
    time_received=AvroType.LONGS,
    auth_id=AvroType.STRINGS,
    source_ip=AvroType.STRINGS,
    query_text=AvroType.STRINGS,
    user_data=AvroType.STRINGS,
    flags=AvroType.STRINGS,
    info=AvroType.MAP,
)

SHOW_STATUS: Final = Form("show_system_status_request", options=AvroType.MAP)
STATUS: Final = Form("show_system_status_response", status_map=AvroType.MAP, info=AvroType.MAP)
SHOW_PROPERTIES: Final = Form("show_system_properties_request", options=AvroType.MAP)
PROPERTIES: Final = Form(
    "show_system_properties_response", property_map=AvroType.MAP, info=AvroType.MAP
)
