"""Which target a request belongs to."""

import re
from collections.abc import Iterable
from dataclasses import field
from typing import Final, Generic, TypeVar

from jobstore.model.errors import NoTarget, PathLeaves
from jobstore.model.frozen import frozen
from jobstore.model.job import Replay
from jobstore.model.message import Headers, without
from jobstore.model.retry import Retry
from jobstore.targets import Target
from jobstore.targets.paths import stays_below

_CREDENTIALS: Final = frozenset({"authorization"})

T = TypeVar("T")


@frozen
class PathClaim:
    """Calls with a handler of their own, whatever the prefixes of the targets.

    Args:
        pattern: matches their paths, with or without a query.
        methods: their methods, or None for all.
    """

    pattern: re.Pattern[str]
    methods: frozenset[str] | None = None

    def covers(self, method: str, path: str) -> bool:
        """Return whether a request is one of these calls."""
        if self.methods is not None and method not in self.methods:
            return False
        return self.pattern.match(path) is not None


class Claims(Generic[T]):
    """Which calls have their own handler; most requests are ruled out by a single match.

    Args:
        owners: the claims, each with its handler; the first that covers a call gets it.
    """

    def __init__(self, owners: Iterable[tuple[PathClaim, T]]) -> None:
        self._owners = tuple(owners)
        patterns = [claim.pattern.pattern for claim, _ in self._owners]
        self._any = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))

    def find(self, method: str, path: str) -> T | None:
        """Return the handler of a request, or None."""
        if not self._owners or self._any.match(path) is None:
            return None
        for claim, owner in self._owners:
            if claim.covers(method, path):
                return owner
        return None


@frozen(kw_only=True)
class TargetRoute:
    """A target, the paths that it owns, and how it may be used.

    Args:
        name: its prefix, such as ``/api``; it owns everything below. ``/`` owns all paths.
        target: answers its requests.
        concurrency: how many of its jobs may run at once.
        timeout: how long an attempt may take, in seconds; None for no limit.
        replay: what may be sent again after an attempt was interrupted.
        retry: when to retry after a temporary failure.
        credentials: whether ``Authorization`` is forwarded.
        claims: the calls that it owns, if a prefix cannot describe them. Such a route comes before
            those with a prefix, and its name is not a path.
        hold: how long its jobs wait while it cannot be reached, in seconds; None means for ever,
            and with 0 they fail at once.
    """

    name: str
    target: Target
    concurrency: int
    timeout: float | None = None
    replay: Replay = Replay.IDEMPOTENT
    credentials: bool = False
    retry: Retry = field(default_factory=Retry)
    claims: tuple[PathClaim, ...] = ()
    hold: float | None = 0.0

    def keeps(self, path: str) -> bool:
        """Return whether a path stays below the route's prefix, however its target reads it."""
        return bool(self.claims) or stays_below(self.name, path)

    def travelling(self, headers: Headers) -> Headers:
        """Return the headers that are passed to the target."""
        return headers if self.credentials else without(headers, _CREDENTIALS)


class Router:
    """Finds the route of a request: one that claims it, or the one with the longest prefix.

    Args:
        routes: all routes, in any order.
    """

    def __init__(self, routes: Iterable[TargetRoute] = ()) -> None:
        self._routes: tuple[TargetRoute, ...] = ()
        self._claims: Claims[TargetRoute] = Claims(())
        self._prefixes: tuple[tuple[re.Pattern[str], TargetRoute], ...] = ()
        self.add(*routes)

    def add(self, *routes: TargetRoute) -> None:
        """Add routes."""
        self._routes = tuple(sorted((*self._routes, *routes), key=_precedence))
        self._claims = Claims((claim, route) for route in self._routes for claim in route.claims)
        self._prefixes = tuple(
            (_below(route.name), route) for route in self._routes if not route.claims
        )

    @property
    def routes(self) -> tuple[TargetRoute, ...]:
        """The routes, in the order in which they are tried."""
        return self._routes

    def resolve(self, method: str, path: str) -> TargetRoute | None:
        """Return the route that owns a request, or None.

        Args:
            method: its method, which matters only to claims.
            path: its path; its query, if any, is ignored.
        """
        route = self._claims.find(method, path)
        if route is not None:
            return route
        for prefix, prefixed in self._prefixes:
            if prefix.match(path):
                return prefixed
        return None

    def owner(self, method: str, path: str) -> TargetRoute:
        """Return the route that owns a request; see `resolve`.

        Raises:
            NoTarget: there is none.
            PathLeaves: there is one, but the path may lead out of its prefix.
        """
        route = self.resolve(method, path)
        if route is None:
            raise NoTarget
        if not route.keeps(path):
            raise PathLeaves
        return route


def _precedence(route: TargetRoute) -> tuple[bool, int]:
    return not route.claims, -len(route.name)


def longest(prefixes: Iterable[str], path: str) -> str | None:
    """Return the longest prefix of a path, or None."""
    owners = [prefix for prefix in prefixes if _below(prefix).match(path)]
    return max(owners, key=len, default=None)


def _below(prefix: str) -> re.Pattern[str]:
    """Return a pattern for paths at or below a prefix: for ``/api``, but not ``/apix``."""
    return re.compile(re.escape(prefix.rstrip("/")) + r"(?:[/?]|$)")
