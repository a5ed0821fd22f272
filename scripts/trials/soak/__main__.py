"""Let a server do everything at once for an hour, and see whether it stays as it is."""

import argparse
import asyncio
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from aiohttp import ClientTimeout, TCPConnector

from trials import serving
from trials.clients import client
from trials.serving import Server
from trials.soak import chart, report
from trials.soak.everything import everything
from trials.soak.load import Load
from trials.soak.plan import Plan
from trials.soak.readers import jobstore
from trials.soak.report import Report
from trials.soak.sampling import Observer, Sample
from trials.soak.tally import Broken, Tally
from trials.soak.visitor import PATIENCE

_BROKEN: Final = 1
_NOT_FLAT: Final = 2


def main() -> int:
    """Run a soak; return 1 if anything was broken, else 2 if anything was not flat, else 0."""
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    plan, tally = Plan(60 * options.minutes), Tally()
    date = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        store = Path(folder, "jobs.db")
        with _server(store, plan) as server:
            samples = asyncio.run(_soak(server, store, plan, tally, options.rate))
            _stop(server, tally)
    soaked = Report(
        machine=report.machine(),
        date=date,
        command=shlex.join(["scripts/soak", *sys.argv[1:]]),
        warm_up=plan.warm_up,
        samples=samples,
        tally=tally,
    )
    _write(soaked, options.output)
    return _exit_code(soaked)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long; %(default)s")
    parser.add_argument("--rate", type=float, default=1.0, help="so many times as much work")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/soak"),
        help="the folder for soak.png, soak.json and soak.md; %(default)s",
    )
    return parser.parse_args()


@contextmanager
def _server(store: Path, plan: Plan) -> Iterator[Server]:
    """Run a server, and the service behind it, while the context lasts."""
    here = Path.cwd()
    with serving.serving("-m", "trials.soak.service", folder=here) as service:
        config = store.with_name("soak.toml")
        config.write_text(plan.config(service.url))
        arguments = serving.jobstore(store, "--config", str(config))
        with serving.serving(*arguments, folder=here) as server:
            yield server


async def _soak(server: Server, store: Path, plan: Plan, tally: Tally, rate: float) -> list[Sample]:
    # A bound would let requests wait for each other, and that is no latency of the server.
    unbound = TCPConnector(limit=0)
    async with client(connector=unbound, timeout=ClientTimeout(total=2 * PATIENCE)) as http:
        works = await everything(http, server.url, store, plan, tally)
        load, observer = Load(tally, rate), Observer(server.pid, store, tally)
        load.begin(works)
        samples = await _observe(observer, server, plan)
        await load.end()
    try:
        await jobstore(store, "check")
    except Broken as error:
        tally.broke("check at the end", str(error))
    return samples


async def _observe(observer: Observer, server: Server, plan: Plan) -> list[Sample]:
    samples: list[Sample] = []
    while server.process.poll() is None and len(samples) < plan.samples:
        samples.append(await observer.sample(plan.interval))
    return samples


def _stop(server: Server, tally: Tally) -> None:
    try:
        code = server.stop()
    except subprocess.TimeoutExpired:
        tally.broke("server", "did not stop")
    else:
        if code:
            tally.broke("server", f"ended with {code}")


def _write(soaked: Report, output: Path) -> None:
    report.write_json(soaked, output / "soak.json")
    report.write_table(soaked, output / "soak.md")
    chart.draw(soaked, output / "soak.png")
    print((output / "soak.md").read_text())


def _exit_code(soaked: Report) -> int:
    if soaked.tally.broken:
        return _BROKEN
    return 0 if all(each.flat for each in soaked.findings) else _NOT_FLAT


if __name__ == "__main__":
    sys.exit(main())
