"""Configuration as one frozen value, checked before anything starts."""

from jobstore.config.loading import load, store_key
from jobstore.config.sections import DEMO, Config, TargetSection

__all__ = ["DEMO", "Config", "TargetSection", "load", "store_key"]
