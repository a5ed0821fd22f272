"""A persistent job store for HTTP: any request becomes a durable job."""

__version__ = "0.1.0"
