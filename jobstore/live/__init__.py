"""What a running server keeps in memory: running jobs, waiting clients, readers."""

from jobstore.live.attempts import Over
from jobstore.live.delivery import Delivery, Taking
from jobstore.live.limits import Limits
from jobstore.live.opening import owned_store, shared_store
from jobstore.live.owners import OwnerLimits
from jobstore.live.results import Reading
from jobstore.live.store import Store
from jobstore.live.upkeep import Boot, Orphan
from jobstore.store.ending import CapturedResponse

__all__ = [
    "Boot",
    "CapturedResponse",
    "Delivery",
    "Limits",
    "Orphan",
    "Over",
    "OwnerLimits",
    "Reading",
    "Store",
    "Taking",
    "owned_store",
    "shared_store",
]
