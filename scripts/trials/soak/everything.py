"""All kinds of work together."""

from pathlib import Path
from typing import Final

from aiohttp import ClientSession

from trials.soak import datameer, native
from trials.soak.arango import Arango
from trials.soak.datameer import Datameer
from trials.soak.kinetica import Kinetica
from trials.soak.native import Native
from trials.soak.passing import Passing
from trials.soak.plan import Plan
from trials.soak.readers import Readers
from trials.soak.tally import Tally
from trials.soak.visitor import Visitor, Work

_DIALECTS: Final = ("ArangoDB", "Kinetica", "Datameer", "native", "passed on", "large bodies")
_IMPORT: Final = "/import?records=100&seconds=0.2&warnings=1"
_SLEEP: Final = "/_admin/sleep?duration=30"


async def everything(
    http: ClientSession, url: str, store: Path, plan: Plan, tally: Tally
) -> list[Work]:
    """List what is done by clients of all dialects, and beside them.

    Args:
        http: what clients send requests with.
        url: the server's.
        store: the server's file.
        plan: how long things take.
        tally: where it is put down what clients see.
    """
    named = {name: Visitor(name, http, url, tally) for name in _DIALECTS}
    ours, large = named["native"], named["large bodies"]
    definitions = {
        datameer.QUICK: await native.define(ours, datameer.QUICK, _IMPORT),
        datameer.SLOW: await native.define(ours, datameer.SLOW, _SLEEP),
    }
    return [
        *Arango(named["ArangoDB"], large, plan.unfetched).works(),
        *Kinetica(named["Kinetica"]).works(),
        *Datameer(named["Datameer"], definitions).works(),
        *Native(ours, await native.schedule(ours)).works(),
        *Passing(named["passed on"], large).works(),
        *Readers(store, plan.backups).works(),
    ]
