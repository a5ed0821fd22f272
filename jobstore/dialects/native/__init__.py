"""Our own words: jobs as JSON under ``/_jobs``, and the standard's way of asking for one."""

from jobstore.dialects.native.api import CLAIMS, PROBES, NativeApi
from jobstore.dialects.native.problems import refused
from jobstore.dialects.native.respond_async import PreferHeader

__all__ = ["CLAIMS", "PROBES", "NativeApi", "PreferHeader", "refused"]
