"""Datameer's jobs: what is asked about configurations and executions, and what starts them."""

from jobstore.dialects.datameer.rest import CLAIMS, DatameerJobs, refused

__all__ = ["CLAIMS", "DatameerJobs", "refused"]
