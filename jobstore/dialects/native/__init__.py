"""jobstore's own API: jobs as JSON under ``/_jobs``, and the standard header to ask for one."""

from jobstore.dialects.native.problems import refused
from jobstore.dialects.native.respond_async import PreferHeader
from jobstore.dialects.native.routes import CLAIMS, PROBES, NativeApi

__all__ = ["CLAIMS", "PROBES", "NativeApi", "PreferHeader", "refused"]
