"""Which headers are secret."""

from typing import Final

# In lower case. Never stored in clear beyond need, whatever a configuration adds to them.
SECRET_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
