import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.depth import DEEP
from trials.bench.__main__ import main

ROOT: Final = Path(__file__).parents[2]
# As little as gives a figure for everything.
SIZE: Final = (
    *("--rounds", "1", "--seconds", "0.05", "--scale", "0.001"),
    *("--connections", "2", "--growth", "0", "100000"),
)
# What is chosen, and the rows that it gives.
RATES: Final = {
    "bare": ["bare 202, 2 connections, " + size for size in ("no body", "1 KiB", "64 KiB")],
    "submit": ["durable submit, 2 connections, " + size for size in ("no body", "1 KiB", "64 KiB")],
    "cycle": ["full cycle, polling, 2 connections, 1 KiB"],
    "longpoll": ["full cycle, long-polling, 2 connections, 1 KiB"],
    "metrics": [
        f"{what} {how} metrics, 2 connections, 1 KiB"
        for what in ("durable submit", "full cycle")
        for how in ("without", "with")
    ],
}
LOOKING: Final = {
    "dashboards": [
        "cycle, nobody looks, 2 connections, 1 KiB",
        "cycle, 50 pages open, 2 connections, 1 KiB",
    ]
}
WAYS: Final = {
    "upstream": ["cycle through an upstream, polling, 2 connections, 1 KiB"],
    "upstream-longpoll": ["cycle through an upstream, long-polling, 2 connections, 1 KiB"],
    "kinetica": ["cycle in Kinetica's dialect, 2 connections, 1 KiB"],
    "password": ["cycle with a password, 2 connections, 1 KiB"],
    "token": ["cycle with a token, 2 connections, 1 KiB"],
    "definitions": ["cycle beside 10 definitions, 2 connections, 1 KiB"],
    "passthrough": [
        f"{what}, {connections}, {size}"
        for connections in ("1 connection", "2 connections")
        for size in ("1 KiB", "64 KiB")
        for what in ("the upstream itself", "pass-through")
    ],
}
FILES: Final = {
    "growth": [f"full cycle after {jobs} jobs, 2 connections, 1 KiB" for jobs in (0, 100)],
    "drain": ["drain of 100 jobs, while 2 clients submit"],
    "restart": [
        "start to first job, empty file",
        "start to first job, 1,000 queued, 100 running",
        "memory after a start, 1,000 queued, 100 running",
    ],
    "purge": ["purge of 100 payloads"],
    "forget": ["removal of 100 jobs"],
    "expire": ["expiry of 100 results"],
    "bulk": ["retry of 100 jobs"],
}
SIZES: Final = {
    "body": ["plain file of 268,435 bytes, synced", "body of 268,435 bytes"],
    "start": ["start of the bare server", "start of jobstore"],
    "memory": [
        "memory of the bare server at rest",
        "memory of jobstore at rest",
        "memory of the bare server under load, 2 connections",
        "memory of jobstore under load, 2 connections",
    ],
    "inprocess": ["call of a handler over loopback", "call of a handler in process"],
    "upgrade": [
        f"frames of {size} KiB through {what}"
        for size in (64, 1)
        for what in ("a bare relay", "jobstore")
    ],
}
_NODES: Final = ("1 node", "2 nodes", "3 nodes")
NODES: Final = {
    "nodes-store": [
        f"the store alone: cycles, 2 clients, {where}" for where in ("a file", *_NODES)
    ],
    "nodes": [
        f"full cycle, long-polling, {where}, 2 connections, 1 KiB" for where in ("a file", *_NODES)
    ],
    "nodes-slots": [f"jobs of 100 ms, 16 slots and 24 clients a node, {nodes}" for nodes in _NODES],
    "nodes-wakeup": [
        f"from the end of a job of 100 ms to who waits at {where}"
        for where in ("its node", "another node")
    ],
}
PEERS: Final = {
    "huey": "the peer huey, SQLite with fsync, 2 connections, 1 KiB",
    "saq": "the peer SAQ, Redis with fsync, 2 connections, 1 KiB",
    "arq": "the peer arq, Redis with fsync, 2 connections, 1 KiB",
    "procrastinate": "the peer procrastinate, PostgreSQL, 2 connections, 1 KiB",
}


def bench(*arguments: str | Path) -> list[str]:
    """Run the benchmark, and return the lines that it prints."""
    command = [ROOT / "scripts" / "bench", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()


def measured(keys: Sequence[str], output: Path) -> tuple[list[str], list[str]]:
    """Measure rows, and write them into a file; return their names, and the printed lines."""
    lines = bench("--rows", *keys, *SIZE, "--json", output)
    rows = json.loads(output.read_text())["rows"]
    values = {row["name"]: row["value"]["median"] for row in rows}
    # A short round on a busy machine may see no job end; anything else takes some time, or room.
    assert all(value > 0 for name, value in values.items() if not name.startswith("drain of"))
    assert all((row["ratio"] is None) == (row["to"] is None) for row in rows)
    return [row["name"] for row in rows], lines


@pytest.mark.parametrize("group", [RATES, LOOKING, WAYS, FILES, SIZES], ids="-".join)
def test_every_row_is_measured(group: dict[str, list[str]], tmp_path: Path) -> None:
    names, lines = measured([*group], tmp_path / "rows.json")
    assert sorted(names) == sorted(name for part in group.values() for name in part)
    assert all(any(line.startswith(name) for line in lines) for name in names)


def test_pages_are_measured_with_a_full_store_behind_them(tmp_path: Path) -> None:
    names, _ = measured(["pages"], tmp_path / "pages.json")
    assert {"page: jobs", "page: job that went wrong", "page: statistics, 30 days"} <= {*names}


def test_nodes_are_measured_where_there_is_a_postgresql(tmp_path: Path) -> None:
    keys = [*NODES] if DEEP else ["nodes-slots", "nodes-wakeup"]  # each starts many processes
    names, lines = measured(keys, tmp_path / "nodes.json")
    if not names:
        assert any("no PostgreSQL found" in line for line in lines)
    else:
        assert sorted(names) == sorted(name for key in keys for name in NODES[key])


def test_peers_are_measured_or_it_is_said_what_they_lack(tmp_path: Path) -> None:
    names, lines = measured([*PEERS], tmp_path / "peers.json")
    for key, name in PEERS.items():
        assert name in names or any(line.startswith(f"{key} is left out, ") for line in lines)


def test_what_a_run_has_found_is_kept_if_it_is_broken_off(tmp_path: Path) -> None:
    output = tmp_path / "rows.json"
    rows = ("--rows", "bare", "inprocess", *SIZE)
    command: list[str | Path] = [ROOT / "scripts" / "bench", *rows]
    command += ["--json", output, "--folder", tmp_path]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        os.killpg(run.pid, signal.SIGKILL)  # with all that it has started
    kept = json.loads(output.read_text())["rows"]
    assert first.startswith(kept[0]["name"])


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[str]:
    """Call the benchmark in this process, and return the lines that it prints."""
    main([str(each) for each in arguments])
    return capsys.readouterr().out.splitlines()


def test_two_runs_are_compared_and_one_becomes_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = tmp_path / "rows.json", tmp_path / "other.json"
    measured(["inprocess"], run)
    slower = json.loads(run.read_text())
    (row,) = [row for row in slower["rows"] if row["ratio"]]
    row["ratio"] = {name: 2 * value for name, value in row["ratio"].items()}
    other.write_text(json.dumps(slower))
    *_, same = told(capsys, "compare", run, run)
    *_, compared = told(capsys, "compare", run, other)
    assert same.startswith(row["name"])
    assert same.endswith("+0.0%")
    assert compared.split()[-2:] == ["+100.0%", "differs"]
    machine, empty, *table = told(capsys, "table", run)
    assert slower["command"] in machine
    assert not empty
    assert table[-1].startswith(f"| {row['name']} | ")
    assert len({line.count("|") for line in table}) == 1
