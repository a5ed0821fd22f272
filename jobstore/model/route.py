"""Routes: paths that differ only in what identifies a single thing."""

import re
from functools import lru_cache
from typing import Final

# What stands for a segment that names a single thing.
ANY: Final = "{}"
# Of a route; what is longer is cut.
_LONGEST: Final = 200
CUT: Final = "..."

# A segment that is a number, a UUID, a digest, or a random word as tokens and ids are written in
# Base64: one of some length with digits and capitals, as words that people choose seldom are.
_OF_A_THING: Final = re.compile(
    r"""(?<=/)(?:
        [0-9]+
        | [0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}
        | (?=[^/]*[0-9])[0-9a-fA-F]{16,}
        | (?=[^/]*[0-9])(?=[^/]*[A-Z])[A-Za-z0-9_+~-]{20,}={0,2}
    )(?=/|$)""",
    re.VERBOSE,
)


@lru_cache(maxsize=4096)
def route_of(path: str) -> str:
    """Return the route of a path: ``/thumbs/17?size=2`` has the route ``/thumbs/{}``.

    Args:
        path: with or without its query.
    """
    route = _OF_A_THING.sub(ANY, path.partition("?")[0])
    return route if len(route) <= _LONGEST else route[:_LONGEST] + CUT
