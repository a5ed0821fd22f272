"""Datameer's jobs: what is asked about configurations and executions, and what starts them."""

from jobstore.dialects.datameer.api import OWN_PATHS, DatameerJobs

__all__ = ["OWN_PATHS", "DatameerJobs"]
