"""ArangoDB's jobs: ``x-arango-async`` on any request, and ``/_api/job`` to ask for the result.

The facts are from ArangoDB's documentation, "Managing Async Results via HTTP", and from the tests
and sources that its versions 1.4 to 3.12 share; error numbers are those of ArangoDB's errors.dat.
"""

from jobstore.dialects.arango.async_header import ASYNC, ArangoHeader
from jobstore.dialects.arango.job_manager import CLAIMS, ArangoJobs
from jobstore.dialects.arango.login import ArangoLogin
from jobstore.dialects.arango.replies import refused

__all__ = ["ASYNC", "CLAIMS", "ArangoHeader", "ArangoJobs", "ArangoLogin", "refused"]
