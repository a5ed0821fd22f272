"""A persistent job store for HTTP: any request becomes a durable job.

The names in ``__all__`` are public and follow Semantic Versioning; everything else may change in
any release.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jobstore.embedding import Jobs, setup
    from jobstore.model.account import Identity, Role
    from jobstore.model.errors import (
        BeingDelivered,
        ConfigError,
        JobNotFound,
        JobstoreError,
        NotAccepting,
        StoreError,
        SubmissionInvalid,
    )
    from jobstore.model.handle import JobHandle
    from jobstore.model.job import Job
    from jobstore.model.lifecycle import State
    from jobstore.model.message import Response
    from jobstore.targets.inprocess import current

__version__ = "0.2.0"
__all__ = [
    "BeingDelivered",
    "ConfigError",
    "Identity",
    "Job",
    "JobHandle",
    "JobNotFound",
    "Jobs",
    "JobstoreError",
    "NotAccepting",
    "Response",
    "Role",
    "State",
    "StoreError",
    "SubmissionInvalid",
    "current",
    "setup",
]

_ERRORS: Final = "jobstore.model.errors"
_MODULES: Final = {
    "BeingDelivered": _ERRORS,
    "ConfigError": _ERRORS,
    "Identity": "jobstore.model.account",
    "Job": "jobstore.model.job",
    "JobHandle": "jobstore.model.handle",
    "JobNotFound": _ERRORS,
    "Jobs": "jobstore.embedding",
    "JobstoreError": _ERRORS,
    "NotAccepting": _ERRORS,
    "Response": "jobstore.model.message",
    "Role": "jobstore.model.account",
    "State": "jobstore.model.lifecycle",
    "StoreError": _ERRORS,
    "SubmissionInvalid": _ERRORS,
    "current": "jobstore.targets.inprocess",
    "setup": "jobstore.embedding",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: that loads the web server, which takes long."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, before they are imported."""
    return [*__all__, "__version__"]
