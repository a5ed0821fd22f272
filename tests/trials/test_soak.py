"""The soak's decisions, which are pure, and a short soak that finds nothing broken."""

import asyncio
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.loop import turns
from trials.soak.chart import smooth, spread
from trials.soak.load import MOST_AT_ONCE, Load
from trials.soak.sampling import Sample
from trials.soak.tally import Broken, Latency, Tally, latency
from trials.soak.verdict import MIB, Finding, judge, trend
from trials.soak.visitor import Work, see

ROOT: Final = Path(__file__).parents[2]
INTERVAL: Final = 5.0
FLAT: Final = Sample(
    seconds=0,
    memory=100 * MIB,
    file=300 * MIB,
    wal=16 * MIB,
    descriptors=60,
    server_cpu=0.6,
    client_cpu=0.3,
    client_memory=90 * MIB,
    dialects={"ArangoDB": Latency(500, 2.0, 12.0), "Kinetica": Latency(100, 3.0, 15.0)},
    calls={},
)
# Fifty minutes, with a little up and down.
STEADY: Final = [
    replace(FLAT, seconds=at * INTERVAL, memory=FLAT.memory + at % 7 * MIB // 4)
    for at in range(600)
]


def not_flat(samples: list[Sample]) -> list[str]:
    return [finding.name for finding in judge(samples) if not finding.flat]


# --- the verdict --------------------------------------------------------------------------------


def test_what_goes_up_and_down_is_flat() -> None:
    assert not_flat(STEADY) == []
    assert len(judge(STEADY)) == 7


def test_a_leak_is_told() -> None:
    leak = 10 * MIB / 3600  # bytes in a second
    leaking = [replace(each, memory=each.memory + int(leak * each.seconds)) for each in STEADY]
    assert not_flat(leaking) == ["memory, rise in an hour"]
    assert judge(leaking)[0].value == pytest.approx(10, rel=0.05)


def test_a_leak_that_comes_in_steps_is_told() -> None:
    steps = [
        replace(each, memory=each.memory + at // 150 * 8 * MIB) for at, each in enumerate(STEADY)
    ]
    assert not_flat(steps) == ["memory, rise in an hour"]


def test_a_few_peaks_are_no_leak() -> None:
    peaks = [
        replace(each, memory=each.memory + (200 * MIB if at % 97 == 96 else 0))
        for at, each in enumerate(STEADY)
    ]
    assert not_flat(peaks) == []


def test_what_is_in_use_for_a_moment_hides_no_leak_and_is_none() -> None:
    used = [replace(each, memory=each.memory + at % 60 * MIB) for at, each in enumerate(STEADY)]
    more = [
        replace(each, memory=each.memory + at % 60 * at * MIB // 600)
        for at, each in enumerate(STEADY)
    ]
    leaking = [replace(each, memory=each.memory + at * MIB // 60) for at, each in enumerate(used)]
    assert not_flat(used) == not_flat(more) == []
    assert not_flat(leaking) == ["memory, rise in an hour"]


def test_a_file_and_a_wal_that_grow_are_told() -> None:
    growing = [
        replace(each, file=each.file + at * MIB // 6, wal=each.wal + at * MIB // 6)
        for at, each in enumerate(STEADY)
    ]
    assert not_flat(growing) == ["file, rise in an hour", "WAL, rise in an hour"]


def test_a_wal_that_was_ever_too_large_is_told() -> None:
    once = [*STEADY[:-1], replace(STEADY[-1], wal=129 * MIB)]
    assert not_flat(once) == ["WAL, largest"]


def test_descriptors_that_are_left_open_are_told() -> None:
    left = [replace(each, descriptors=60 + at // 50) for at, each in enumerate(STEADY)]
    assert not_flat(left) == ["descriptors, rise in an hour"]


def test_a_busy_while_in_which_clients_open_more_is_no_leak() -> None:
    busy = [
        replace(each, descriptors=120 if 400 < at < 430 else 60) for at, each in enumerate(STEADY)
    ]
    assert not_flat(busy) == []


def test_a_dialect_that_becomes_slower_is_told() -> None:
    slow = {**FLAT.dialects, "Kinetica": Latency(100, 3.0, 23.0)}
    slower = [*STEADY[:400], *(replace(each, dialects=slow) for each in STEADY[400:])]
    assert not_flat(slower) == ["Kinetica, p99 of the last third"]


def test_a_dialect_that_is_still_fast_is_not_called_slow() -> None:
    quick, slower = ({"native": Latency(9, 0.5, p99)} for p99 in (1.0, 4.0))
    samples = [replace(each, dialects=quick) for each in STEADY[:400]]
    samples += [replace(each, dialects=slower) for each in STEADY[400:]]
    assert not_flat(samples) == []


def test_a_trend_of_next_to_nothing_is_none() -> None:
    assert trend([]) == trend([(5.0, 1.0)]) == 0
    assert trend([(0.0, 1.0), (60.0, 2.0)]) == 60


def test_a_bound_may_just_be_reached() -> None:
    assert Finding("memory", 8.0, 8.0, "MiB").flat
    assert not Finding("memory", 8.1, 8.0, "MiB").flat


# --- the tally ----------------------------------------------------------------------------------


def test_latencies_are_summed_up_by_dialect_and_by_call() -> None:
    tally = Tally()
    for milliseconds in range(1, 101):
        tally.took("native", "submit", milliseconds / 1000)
    tally.took("native", "take", 1.0)
    dialects, calls = tally.interval()
    assert dialects == {"native": Latency(101, 51.0, 100.0)}
    assert calls == {"native submit": Latency(100, 51.0, 100.0), "native take": latency([1.0])}
    assert tally.interval() == ({}, {})


async def test_what_breaks_is_counted_and_shown_and_the_rest_goes_on() -> None:
    tally, begun = Tally(), asyncio.Semaphore(0)

    async def break_off() -> None:
        begun.release()
        see(what=False, message="it was given twice")

    async def stumble() -> None:
        begun.release()
        raise KeyError("job_id")

    async def succeed() -> None:
        begun.release()

    load = Load(tally, rate=100)
    load.begin([Work("native", "break", break_off, 0.01)])
    load.begin([Work("native", "stumble", stumble, 0.01)])
    load.begin([Work("native", "succeed", succeed, 0.01)])
    for _ in range(3):
        await begun.acquire()
    await load.end()
    assert tally.broken == {"native: break": 1, "native: stumble": 1}
    assert tally.done == {"native: succeed": 1}
    assert tally.complaints == [
        "native: break: Broken it was given twice",
        "native: stumble: KeyError 'job_id'",
    ]


async def test_what_cannot_be_begun_in_time_is_left_out_and_counted() -> None:
    tally, begun, go_on = Tally(), asyncio.Semaphore(0), asyncio.Event()

    async def hang() -> None:
        begun.release()
        await go_on.wait()

    load = Load(tally)
    load.begin([Work("native", "hang", hang, 1e6)])
    for _ in range(MOST_AT_ONCE):
        await begun.acquire()
    await turns(MOST_AT_ONCE)
    go_on.set()
    await load.end()
    assert tally.left_out["native: hang"] > 0
    assert begun.locked()


def test_the_first_complaints_are_kept_and_all_are_counted() -> None:
    tally = Tally()
    for number in range(1000):
        tally.broke("native: take", str(number))
    assert tally.broken == {"native: take": 1000}
    assert tally.complaints[:2] == ["native: take: 0", "native: take: 1"]
    assert len(tally.complaints) == 50
    with pytest.raises(Broken, match=r"^x{300}$"):
        see(what=False, message="x" * 1000)


# --- the chart ----------------------------------------------------------------------------------


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    assert spread([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]
    assert spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread([0.0, 0.01, 0.02], 0.1) == pytest.approx([0.0, 0.1, 0.2])
    assert spread([], 0.1) == []


def test_a_line_is_drawn_through_the_medians_of_its_surroundings() -> None:
    assert smooth([1.0] * 6 + [99.0] + [1.0] * 6) == [1.0] * 13
    assert smooth([]) == []


# --- the whole ----------------------------------------------------------------------------------


def test_a_short_soak_finds_nothing_broken_and_writes_all_down(tmp_path: Path) -> None:
    command: list[str | Path] = [
        ROOT / "scripts" / "soak",
        "--minutes",
        "0.25",
        "--rate",
        "0.5",
        "--output",
        tmp_path,
    ]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    soak = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    document = json.loads((tmp_path / "soak.json").read_text())
    assert document["broken"] == {}, document["complaints"]
    assert soak.returncode in {0, 2}, soak.stderr
    assert len(document["done"]) == 40, sorted(document["done"])
    assert len(document["samples"]) == 30
    table = (tmp_path / "soak.md").read_text()
    assert "| memory, MiB |" in table
    assert soak.stdout.startswith(table)
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG\r\n")
