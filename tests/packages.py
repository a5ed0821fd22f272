"""Programs of others that a test needs: where they are missing it is skipped, but not in CI."""

import os
import shutil

import pytest


def needs(*programs: str, package: str) -> pytest.MarkDecorator:
    """Mark tests that run programs of one of Debian's packages.

    In CI they have to be there: a test that needs one fails if it is not.
    """
    missing = [each for each in programs if shutil.which(each) is None]
    return pytest.mark.skipif(
        bool(missing) and "CI" not in os.environ,
        reason=f"there is no {' and no '.join(missing)}; on Debian: apt-get install {package}",
    )
