"""When memory is given back, in an interpreter of its own, since it counts for all of one."""

import subprocess
import sys
from typing import Final

import pytest

# Something refers to itself, has lived for a while, and is left; then shorter lives begin and end.
LEFT: Final = """
import gc
import weakref
from jobstore.service import memory

class Connection:
    def __init__(self):
        self.received = self.receive

    def receive(self):
        pass

memory.while_loading()
loaded = Connection()
memory.while_serving()
old = Connection()
gc.collect(0)
gc.collect(1)
old_one, loaded_one = weakref.ref(old), weakref.ref(loaded)
del old, loaded
for _ in range(2_000_000):
    Connection()
    if old_one() is None:
        break
print(old_one(), loaded_one() is not None)
"""


def said_by(code: str) -> str:
    """Run a program, and return what it says."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_what_became_garbage_after_a_long_life_is_freed_while_a_server_works() -> None:
    assert said_by(LEFT) == "None True\n"


# A large block comes and goes; then many do, with something smaller behind each of them that stays.
LARGE: Final = """
from pathlib import Path
from jobstore.service import heap

def taken():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

heap.prepare()
large = b"x" * (20 << 20)
del large
before = taken()
blocks = [(b"x" * (1 << 20), b"y" * 100_000) for _ in range(32)]
during = taken()
small = [each for _, each in blocks]
del blocks
print(during - before >= 32 << 20, taken() - before < 8 << 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has taken so")
def test_large_blocks_go_back_to_the_system_as_soon_as_they_are_free() -> None:
    assert said_by(LARGE) == "True True\n"


# Many blocks that are not large are freed, and something small between them stays.
HOLES: Final = """
import asyncio
from pathlib import Path
from jobstore.service import heap

def taken():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

async def given_back(least):
    async with heap.kept_small(seconds=0):
        while taken() > least:
            await asyncio.sleep(0)

heap.prepare()
before = taken()
blocks = [(b"x" * 100_000, b"y" * 1000) for _ in range(500)]
print(taken() - before > 40 << 20)
small = [each for _, each in blocks]
del blocks  # of which some versions of glibc give back more by themselves
asyncio.run(given_back(before + (8 << 20)))
print(len(small))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has taken so")
def test_holes_between_blocks_go_back_to_the_system() -> None:
    assert said_by(HOLES) == "True\n500\n"
