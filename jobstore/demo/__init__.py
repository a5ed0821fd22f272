"""The built-in demo: an ordinary aiohttp application, to try the examples of the API at once."""

from jobstore.demo.app import create_app

__all__ = ["create_app"]
