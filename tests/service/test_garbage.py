"""When garbage is looked for, in an interpreter of its own, since it counts for all of one."""

import subprocess
import sys
from typing import Final

# Something refers to itself, has lived for a while, and is left; then shorter lives begin and end.
LEFT: Final = """
import gc
import weakref
from jobstore.service import garbage

class Connection:
    def __init__(self):
        self.received = self.receive

    def receive(self):
        pass

garbage.load()
loaded = Connection()
garbage.serve()
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


def test_what_became_garbage_after_a_long_life_is_freed_while_a_server_works() -> None:
    run = subprocess.run(
        [sys.executable, "-c", LEFT], check=True, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout == "None True\n"
