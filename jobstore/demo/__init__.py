"""The built-in demo: an ordinary aiohttp application, to try the API's examples at once."""

from jobstore.demo.app import create_app

__all__ = ["create_app"]
