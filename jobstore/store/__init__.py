"""Jobs in one SQLite file: the only SQL."""

from jobstore.store.delivery import Delivery
from jobstore.store.opening import owned_store, shared_store
from jobstore.store.store import SECRET_HEADERS, Boot, Limits, Orphan, Store
from jobstore.store.transitions import Capture

__all__ = [
    "SECRET_HEADERS",
    "Boot",
    "Capture",
    "Delivery",
    "Limits",
    "Orphan",
    "Store",
    "owned_store",
    "shared_store",
]
