"""Fill a store, serve it, and take pictures of the dashboard for the documentation.

Names of pages choose some of them. All pictures go to docs/_static, or to a folder that is given.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiohttp import ClientSession, encode_basic_auth

from jobstore.model import clock
from trials.screenshots import past, present
from trials.screenshots.pictures import Shot, take
from trials.screenshots.present import PASSWORD
from trials.serving import jobstore, serving

_STATIC: Final = Path(__file__).parents[3] / "docs" / "_static"
_ADMIN: Final = "alice"
_USERS: Final = ("billing", "dashboards", "etl", "ops", "shop")
_CONFIG: Final = """\
[store]
path = "sales.db"
"""
_TARGETS: Final = {"/": 8, "/v1": 8, "/exports": 1, "/reports": 4}
_BOTH: Final = ("light", "dark")
_ALL: Final = ("light", "dark", "narrow")


async def main() -> None:
    """Take the pictures that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*")
    parser.add_argument("--folder", type=Path, default=_STATIC)
    options = parser.parse_args()
    await asyncio.to_thread(options.folder.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        await _take(Path(folder), options.pages, options.folder)


async def _take(folder: Path, names: Sequence[str], into: Path) -> None:
    (folder / "jobstore.toml").write_text(_config())
    _accounts(folder)
    arguments = jobstore("sales.db", "--config", "jobstore.toml")
    with serving(*arguments, folder=folder) as server:
        async with _http() as http:
            definitions = await present.define(http, server.url)
        server.stop()
    lines = past.lines(definitions[:3], clock.now())
    (folder / "past.jsonl").write_text("\n".join(lines) + "\n")
    _run(folder, "import", "past.jsonl")
    with serving(*arguments, folder=folder) as server:
        async with _http() as http:
            await present.live(http, server.url)
            shots = [
                shot for shot in await _shots(http, server.url) if not names or shot.name in names
            ]
        await take(f"{server.url}/_jobs/ui/", shots, into, _ADMIN, PASSWORD)


def _http() -> ClientSession:
    return ClientSession(headers={"Authorization": encode_basic_auth(_ADMIN, PASSWORD)})


def _config() -> str:
    app = 'app = "trials.screenshots.app:create_app"'
    targets = (
        f'\n[[target]]\nprefix = "{prefix}"\n{app}\nconcurrency = {slots}\nretry_delay = "5m"\n'
        for prefix, slots in _TARGETS.items()
    )
    return _CONFIG + "".join(targets)


def _accounts(folder: Path) -> None:
    for name in (_ADMIN, *_USERS):
        role = ("--role", "admin") if name == _ADMIN else ()
        _run(folder, "user", "add", name, "--password-stdin", *role, said=PASSWORD)


def _run(folder: Path, *arguments: str, said: str | None = None) -> None:
    command = [sys.executable, "-m", "jobstore", *arguments, "--config", "jobstore.toml"]
    subprocess.run(command, cwd=folder, input=said, text=True, check=True, stdout=subprocess.PIPE)


async def _shots(http: ClientSession, url: str) -> Sequence[Shot]:
    """Choose what pictures to take; which job and definition is shown is looked up."""
    async with http.get(f"{url}/_jobs?state=failed&limit=1") as answer:
        failed = (await answer.json())["jobs"][0]["id"]
    return (
        Shot(name="jobs", path="", looks=_ALL),
        Shot(name="job", path=str(failed), looks=_ALL),
        Shot(name="activity", path="activity", looks=_BOTH),
        Shot(name="statistics", path="statistics", looks=_BOTH),
        Shot(name="definitions", path="definitions", looks=_BOTH),
        Shot(name="definition", path="definitions/1"),
        Shot(name="targets", path="targets"),
        Shot(name="store", path="store"),
    )


if __name__ == "__main__":
    asyncio.run(main())
