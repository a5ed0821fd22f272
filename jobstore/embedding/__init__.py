"""Durable jobs inside another aiohttp application, without a separate server."""

from jobstore.embedding.jobs import Jobs, setup

__all__ = ["Jobs", "setup"]
