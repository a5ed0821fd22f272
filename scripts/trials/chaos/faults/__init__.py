"""What can happen to a server: each fault is a context around the quiet end of its round."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from trials.chaos.faults.breaking import cuts, lies
from trials.chaos.faults.failing import failures
from trials.chaos.faults.filling import fillings
from trials.chaos.faults.killing import commits, deliveries, kills, recoveries, upkeep
from trials.chaos.faults.losing import losses
from trials.chaos.faults.migrating import migrations
from trials.chaos.faults.powering import power_cuts
from trials.chaos.faults.restarting import restarts
from trials.chaos.faults.stepping import steps
from trials.chaos.faults.stopping import stops
from trials.chaos.stage import Stage

Fault = Callable[[Stage], AbstractAsyncContextManager[None]]

FAULTS: Final[Mapping[str, Fault]] = {
    "kill": kills,
    "commit": commits,
    "delivery": deliveries,
    "recovery": recoveries,
    "upkeep": upkeep,
    "migration": migrations,
    "sigterm": stops,
    "cut": cuts,
    "upstream": lies,
    "restart": restarts,
    "full": fillings,
    "sync": failures,
    "lost": losses,
    "clock": steps,
    "power": power_cuts,
}
