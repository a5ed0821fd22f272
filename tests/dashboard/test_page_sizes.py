"""How many bytes a page takes, with its style sheet, script and icon."""

from pathlib import Path
from typing import Final

from aiohttp import ClientSession

from jobstore.dashboard.assets import assets
from jobstore.model.account import Role
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.dashboard.every_page import PAGES, TARGETS, fill, furnish
from tests.dashboard.visitors import Visitor, account, visitor

# As they are: neither we nor the proxies that most people have in front compress them. There are
# no fonts and no pictures but the icon. What a page shows of the bodies of a job comes on top.
MOST: Final = 120 * 1024
FILES: Final = sum(len(each) for each in assets().contents.values())


async def whole(alice: Visitor, path: str) -> int:
    """Return the size of a page, once there was the time to count all of its jobs."""
    while b"are missing" in (answer := await alice.get(path)).body:
        pass
    assert answer.headers["Content-Type"].startswith("text/html"), answer
    assert "Content-Encoding" not in answer.headers
    return len(answer.body)


async def test_a_page_takes_less_than_120_kib_with_its_files(
    serve: Serve, http: ClientSession, store_path: Path, tmp_path: Path
) -> None:
    await fill(store_path, tmp_path, http, share=0.6, definitions=60)
    server = await serve(target=TARGETS)
    job_id = await furnish(server, Client(http, server.url))
    await account(server, "ute", Role.USER)
    alice = await visitor(server, http, "alice", Role.ADMIN)
    sizes = {path: FILES + await whole(alice, path.format(job=job_id)) for path in PAGES}
    assert {path: size for path, size in sizes.items() if size >= MOST} == {}
    assert max(sizes.values()) > MOST // 2  # the store is full enough to tell


async def test_a_list_shows_the_beginning_of_a_long_path(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    for _ in range(50):
        job_id = await client.done(f"/greet/you?{'long' * 1000}")
    page = await client("GET", "/_jobs/ui/")
    assert FILES + len(page.body) < MOST
    assert b"long" * 1000 in (await client("GET", f"/_jobs/ui/{job_id}")).body
