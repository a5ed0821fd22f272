"""Kinetica's jobs: any call runs in the background, and is found by its id or its tag.

The facts are from Kinetica's documentation of ``/create/job``, ``/get/job``, ``/admin/alter/jobs``
and ``/admin/show/jobs``, and from what its clients of version 7.2 send and read.
"""

from jobstore.dialects.kinetica.endpoints import OWN_PATHS, KineticaJobs
from jobstore.dialects.kinetica.error_messages import no_such_endpoint, refused

__all__ = ["OWN_PATHS", "KineticaJobs", "no_such_endpoint", "refused"]
