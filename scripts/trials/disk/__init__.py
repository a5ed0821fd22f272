"""A disk that can be made to fail, for servers that are started with it preloaded."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).with_name("disk.c")
# Names the folder in which a server looks for what has to fail.
PLANS: Final = "DISK_FAULTS"
MISSING: Final = "there is no C compiler; Debian's packages gcc and libc6-dev have one"


def library(folder: Path) -> Path | None:
    """Build what has to be preloaded; None if there is no C compiler.

    Args:
        folder: where to put it.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    built = folder / "disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, _SOURCE, "-ldl"], check=True)
    return built


class Plans:
    """What has to fail, and what has failed.

    Args:
        folder: the one that `PLANS` names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def fail_syncs(self, spared: int, failing: int) -> None:
        """Let so many syncs of the WAL succeed, and so many fail after these."""
        self._plan("syncs", f"{spared} {failing}")

    def fail_reads(self) -> None:
        """Let no read succeed of what is not in memory."""
        self._plan("reads", "")

    def heal(self) -> None:
        """Let nothing fail any more."""
        for fault in ("syncs", "reads"):
            (self.folder / fault).unlink(missing_ok=True)

    def failed(self, fault: str) -> int:
        """Count what has failed."""
        failures = self.folder / f"failed-{fault}"
        return failures.stat().st_size if failures.exists() else 0

    def _plan(self, fault: str, plan: str) -> None:
        (self.folder / f"failed-{fault}").unlink(missing_ok=True)
        new = self.folder / "new"
        new.write_text(plan)
        new.replace(self.folder / fault)
