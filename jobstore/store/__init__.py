"""Jobs in one SQLite file: the only SQL."""

from jobstore.store.delivery import Delivery, Taking
from jobstore.store.opening import owned_store, shared_store
from jobstore.store.owners import OwnerLimits
from jobstore.store.results import Reading
from jobstore.store.store import SECRET_HEADERS, Limits, Store
from jobstore.store.transitions import Capture
from jobstore.store.upkeep import Boot, Orphan

__all__ = [
    "SECRET_HEADERS",
    "Boot",
    "Capture",
    "Delivery",
    "Limits",
    "Orphan",
    "OwnerLimits",
    "Reading",
    "Store",
    "Taking",
    "owned_store",
    "shared_store",
]
