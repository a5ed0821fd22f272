"""Work in Kinetica's dialect, in JSON: create, get, cancel, and look around; jobs have tags."""

import json
from functools import partial
from itertools import count
from typing import Any, Final

from trials.clients import Answer
from trials.soak.visitor import Visitor, Work, see, until

_JSON: Final = {"Content-Type": "application/json"}


class Kinetica:
    """A client of Kinetica.

    Args:
        visitor: what it asks with.
    """

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._numbers = count(1)

    def works(self) -> list[Work]:
        """List what it does, and how often in a second."""
        work = self._visitor.work
        return [
            work("create, get", self.echo, 18),
            work("remove it once complete", self.remove, 2),
            work("cancel", self.cancel, 2),
            work("look at the system", self.look, 2),
        ]

    async def echo(self) -> None:
        """Create a job, and get it by its tag until it is done."""
        sent = json.dumps({"x": next(self._numbers)})
        tag, _ = await self._create("/echo", sent)
        record = await self._ended(tag)
        see(record["job_status"] == "DONE", record)
        see(record["job_response_str"] == sent, record)

    async def remove(self) -> None:
        """Create a job whose first complete answer is the only one."""
        tag, _ = await self._create("/echo", "{}", remove_job_on_complete="true")
        record = await self._ended(tag)
        see(record["successful"], record)
        answer = await self._ask("get", "/get/job", 400, job_id=0, options={"job_tag": tag})
        see(answer.json()["status"] == "ERROR", answer)

    async def cancel(self) -> None:
        """Cancel a job that sleeps."""
        tag, job_id = await self._create("/_admin/sleep?duration=30", "{}")
        asked: dict[str, Any] = {"action": "cancel", "options": {}}
        answer = await self._ask("cancel", "/admin/alter/jobs", job_ids=[job_id], **asked)
        altered = _record(answer)
        see(altered["status"] == ["cancel requested"], altered)
        record = await self._ended(tag)
        see(record["job_status"] == "CANCELLED", record)

    async def look(self) -> None:
        """Ask what a client asks a server first, and which jobs there are."""
        status = _record(await self._ask("status", "/show/system/status", options={}))
        see("running" in status["status_map"]["system"], status)
        await self._ask("status", "/show/system/properties", options={})
        jobs = _record(await self._ask("show", "/admin/show/jobs", options={}))
        see(set(jobs["status"]) <= {"RUNNING", "CANCELLED"}, jobs["status"])

    async def _create(self, endpoint: str, sent: str, **options: str) -> tuple[str, int]:
        tag = f"soak-{next(self._numbers)}"
        asked: dict[str, Any] = {"endpoint": endpoint, "request_encoding": "json", "data_str": sent}
        options["job_tag"] = tag
        answer = await self._ask("create", "/create/job", **asked, options=options)
        return tag, _record(answer)["job_id"]

    async def _ended(self, tag: str) -> Any:
        get = partial(self._ask, "get", "/get/job", job_id=0, options={"job_tag": tag})
        return _record(await until(get, lambda answer: _record(answer)["job_status"] != "RUNNING"))

    async def _ask(self, call: str, path: str, status: int = 200, **asked: Any) -> Answer:
        data = json.dumps(asked)
        return await self._visitor.ask(call, "POST", path, status, data=data, headers=_JSON)


def _record(answer: Answer) -> Any:
    """Take an answer's record out of its wrapper."""
    return json.loads(answer.json()["data_str"])
