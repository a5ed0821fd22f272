"""Loads an application that is given by its name."""

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from jobstore.model.errors import ConfigError


async def application_named(name: str) -> web.Application:
    """Import an application's factory and call it.

    Args:
        name: ``MODULE:FACTORY``; the current folder is searched as well.

    Raises:
        ConfigError: there is no such factory, or its result is not an application.
    """
    module_name, _, factory_name = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        app: Any = importlib.import_module(module_name)
        for part in factory_name.split("."):
            app = getattr(app, part)
        if callable(app):
            app = app()
        if inspect.isawaitable(app):
            app = await app
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise ConfigError(f"cannot load the application {name}: {problem}") from error
    if not isinstance(app, web.Application):
        raise ConfigError(f"{name} returns {type(app).__name__}; expected an aiohttp Application")
    return app
