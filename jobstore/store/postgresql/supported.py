"""Which database servers a store may be in."""

import re
from typing import Final

from jobstore.model.errors import StoreUnsupported

# The oldest PostgreSQL that a store is tried on.
OLDEST: Final = 14
# Who speaks PostgreSQL's protocol and is none, by what it says of its version.
_OTHERS: Final = {"CockroachDB": "CockroachDB", "-YB-": "YugabyteDB", "Redshift": "Redshift"}


def refuse_others(name: str, said: str) -> None:
    """Refuse a server that only speaks the protocol of PostgreSQL, or is too old.

    Args:
        name: the name of the database.
        said: the result of ``SELECT version()``.

    Raises:
        StoreUnsupported: stores are not tested on this server.
    """
    expected = f"a store needs PostgreSQL {OLDEST} or newer"
    for word, product in _OTHERS.items():
        if word in said:
            raise StoreUnsupported(name, f"this is {product}, and not PostgreSQL; {expected}")
    found = re.match(r"(?:PostgreSQL|EnterpriseDB) (\d+)", said)
    if found is None:
        raise StoreUnsupported(name, f"this is {said[:60]!r}, and not PostgreSQL; {expected}")
    if int(found[1]) < OLDEST:
        raise StoreUnsupported(name, f"this is PostgreSQL {found[1]}; {expected}")
