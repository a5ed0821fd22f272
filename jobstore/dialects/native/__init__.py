"""Our own words: jobs as JSON under ``/_jobs``, and the standard's way of asking for one."""

from jobstore.dialects.native.api import OWN_PATHS, PROBES, NativeApi
from jobstore.dialects.native.prefer import PreferHeader

__all__ = ["OWN_PATHS", "PROBES", "NativeApi", "PreferHeader"]
