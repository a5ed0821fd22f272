"""Datameer's jobs: calls about configurations and executions, and calls that start them."""

from jobstore.dialects.datameer.rest import CLAIMS, DatameerJobs, refused

__all__ = ["CLAIMS", "DatameerJobs", "refused"]
