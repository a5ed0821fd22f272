"""Jobs in one SQLite file: the only SQL."""

from jobstore.store.delivery import Delivery
from jobstore.store.opening import owned_store, shared_store
from jobstore.store.store import Boot, Limits, Orphan, Store

__all__ = ["Boot", "Delivery", "Limits", "Orphan", "Store", "owned_store", "shared_store"]
