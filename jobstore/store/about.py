"""What nodes that share a store notify each other about."""

from enum import StrEnum


class About(StrEnum):
    """What a notice is about."""

    CHANGED = "changed"  # jobs, by their ids
    READY = "ready"  # jobs wait for a slot
    CANCEL = "cancel"  # jobs shall be stopped, by their ids
    ACCOUNTS = "accounts"
    SCHEDULES = "schedules"
    TARGETS = "targets"
    HERE = "here"  # a node that has come
