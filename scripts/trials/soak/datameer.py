"""Work in Datameer's dialect: run definitions, ask how they stand, stop and delete their runs."""

from functools import partial
from typing import Final

from aiohttp import encode_basic_auth

from trials.clients import Answer
from trials.soak.visitor import Visitor, Work, see, until

QUICK: Final = "/Soak/quick"
SLOW: Final = "/Soak/slow"
_ANALYST: Final = {"Authorization": encode_basic_auth("analyst", "any")}
_GOING_ON: Final = {"QUEUED", "RUNNING", "WAITING_FOR_OTHER_JOB"}
_WARNED: Final = "COMPLETED_WITH_Warnings"


class Datameer:
    """A client of Datameer.

    Args:
        visitor: what it asks with.
        definitions: the ids of the definitions that it runs, by path.
    """

    def __init__(self, visitor: Visitor, definitions: dict[str, int]) -> None:
        self._visitor = visitor
        self._quick = definitions[QUICK]
        self._slow = definitions[SLOW]

    def works(self) -> list[Work]:
        """List what it does, and how often in a second."""
        work = self._visitor.work
        return [
            work("run", self.run, 5),
            work("run a sequence", self.run_sequence, 0.5),
            work("stop", self.stop, 2),
            work("list what runs", self.list_running, 2),
        ]

    async def run(self) -> None:
        """Run a definition, look at it until it has ended, and delete what is left of it."""
        triggered = await self._ask("trigger", "POST", _trigger(self._quick))
        run = triggered.json()["job-execution-id"]
        await self._status()
        see(await self._ended(run) == _WARNED, f"execution {run} has not gone well")
        await self._history(run)
        await self._ask("delete", "DELETE", f"/rest/data/{run}")
        await self._ask("details", "GET", f"/rest/job-execution/job-details/{run}", 404)

    async def run_sequence(self) -> None:
        """Run a definition twice, the second time only when the first one has succeeded."""
        path = f"/rest/job-execution/sequential?configuration={self._quick}"
        answer = await self._ask("trigger", "POST", f"{path}&configuration={self._quick}")
        ended = [await self._ended(run) for run in answer.json()["job-execution-ids"]]
        see(ended == [_WARNED] * 2, f"a sequence ended as {ended}")

    async def stop(self) -> None:
        """Stop a run."""
        triggered = await self._ask("trigger", "POST", _trigger(self._slow))
        run = triggered.json()["job-execution-id"]
        await self._ask("stop", "POST", f"/rest/job-execution/job-kill/{run}")
        see(await self._ended(run) == "CANCELED", f"execution {run} was not stopped")

    async def list_running(self) -> None:
        """List what runs."""
        answer = await self._ask("list", "GET", "/rest/jobs/list-running")
        words = {each["jobStatus"] for each in answer.json()}
        see(words <= _GOING_ON, words)

    async def _status(self) -> None:
        """Ask in both generations' words how a definition stands."""
        path = f"/rest/job-configuration/job-status/{self._quick}"
        see("jobStatus" in (await self._ask("status", "GET", path)).json(), path)
        answer = await self._ask("status", "GET", f"/api/job-execution{QUICK}/status")
        see(answer.json()["status"] == "success", answer)

    async def _history(self, run: int) -> None:
        path = f"/rest/job-configuration/job-history/{self._quick}?start=0&length=100"
        runs = [each["id"] for each in (await self._ask("history", "GET", path)).json()]
        see(run in runs and runs == sorted(runs, reverse=True), f"no {run} in {runs}")

    async def _ended(self, run: int) -> str:
        path = f"/rest/job-execution/job-details/{run}"
        details = partial(self._ask, "details", "GET", path)
        answer = await until(details, lambda answer: _word(answer) not in _GOING_ON)
        return _word(answer)

    async def _ask(self, call: str, method: str, path: str, status: int = 200) -> Answer:
        return await self._visitor.ask(call, method, path, status, headers=_ANALYST)


def _trigger(definition: int) -> str:
    return f"/rest/job-execution?configuration={definition}"


def _word(answer: Answer) -> str:
    return str(answer.json()["jobStatus"])
