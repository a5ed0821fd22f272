"""Kinetica's jobs: any call is run in the background, and asked for by its id or its tag.

The facts stand in Kinetica's documentation of ``/create/job``, ``/get/job``, ``/admin/alter/jobs``
and ``/admin/show/jobs``, and in what its clients of version 7.2 send and read.
"""

from jobstore.dialects.kinetica.endpoints import OWN_PATHS, KineticaJobs
from jobstore.dialects.kinetica.error_messages import no_such_endpoint, refused

__all__ = ["OWN_PATHS", "KineticaJobs", "no_such_endpoint", "refused"]
