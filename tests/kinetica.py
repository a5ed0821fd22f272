"""What a client of the Kinetica dialect does, in JSON as in the documentation's examples."""

import json
from dataclasses import dataclass
from typing import Any

from tests.client import Client
from trials.clients import Answer

TYPES = {
    "/create/job": "create_job_response",
    "/get/job": "get_job_response",
    "/admin/alter/jobs": "admin_alter_jobs_response",
    "/admin/show/jobs": "admin_show_jobs_response",
    "/show/system/status": "show_system_status_response",
    "/show/system/properties": "show_system_properties_response",
}


@dataclass(frozen=True, slots=True)
class Kinetica:
    """A client of one server; calling it sends a record and gives the record of the answer.

    Args:
        client: what it sends requests with, and what knows the other dialect.
    """

    client: Client

    async def __call__(self, path: str, **members: Any) -> Any:
        """Make a call that has to succeed."""
        return answered(path, await self.client("POST", path, json=members))

    async def refused(self, path: str, **members: Any) -> str:
        """Make a call that has to be refused, and return the message."""
        return refusal(await self.client("POST", path, json=members))

    async def create(self, endpoint: str, data_str: str = "", **options: str) -> int:
        """Submit a job whose request is in JSON."""
        members = {"request_encoding": "json", "data_str": data_str, "options": options}
        job_id: int = (await self("/create/job", endpoint=endpoint, **members))["job_id"]
        return job_id

    async def create_binary(self, endpoint: str, data: bytes, encoding: str = "binary") -> int:
        """Submit a job whose request is bytes."""
        text = data.decode("latin-1")
        made = await self("/create/job", endpoint=endpoint, request_encoding=encoding, data=text)
        job_id: int = made["job_id"]
        return job_id

    async def get(self, job_id: int | str = 0, **options: str) -> Any:
        """Look at a job."""
        return await self("/get/job", job_id=job_id, options=options)

    async def ended(self, job_id: int) -> Any:
        """Look at a job until it has ended."""
        while (job := await self.get(job_id))["job_status"] == "RUNNING":
            pass
        return job

    async def cancel(self, *job_ids: int, **options: str) -> list[str]:
        """Ask for the end of jobs, and return what is said of each."""
        altered = await self(
            "/admin/alter/jobs", job_ids=list(job_ids), action="cancel", options=options
        )
        status: list[str] = altered["status"]
        assert len(status) == len(altered["job_ids"])
        return status

    async def shown(self, **options: str) -> list[tuple[int, str]]:
        """List jobs, each with its status."""
        shown = await self("/admin/show/jobs", options=options)
        return list(zip(shown["job_id"], shown["status"], strict=True))


def answered(path: str, answer: Answer) -> Any:
    """Return the record of an answer in JSON, which has to be one to a call that succeeded."""
    wrapper = json.loads(answer.body)
    assert (answer.status, wrapper["status"]) == (200, "OK"), wrapper
    assert answer.headers["Content-Type"] == "application/json"
    assert list(wrapper) == ["status", "message", "data_type", "data", "data_str"]
    assert (wrapper["message"], wrapper["data_type"], wrapper["data"]) == ("", TYPES[path], "")
    return json.loads(wrapper["data_str"])


def refusal(answer: Answer) -> str:
    """Return the message of an answer in JSON, which has to be one to a call that failed."""
    wrapper = json.loads(answer.body)
    message: str = wrapper.pop("message")
    assert answer.status == 400
    assert message
    assert answer.headers["Content-Type"] == "application/json"
    assert wrapper == {"status": "ERROR", "data_type": "none", "data": "", "data_str": ""}
    return message
