"""Builds what a server and an application with jobs have in common."""

from contextlib import AbstractAsyncContextManager
from typing import Final

from jobstore.apis import Apis
from jobstore.config import Config
from jobstore.config.limits import store_limits
from jobstore.config.sections import TargetLimits
from jobstore.dialects import arango
from jobstore.live import Store, owned_store
from jobstore.live.meters import Meters, Traffic
from jobstore.model import passwords
from jobstore.model.errors import ConfigError
from jobstore.model.job import Dialect
from jobstore.model.retry import Retry
from jobstore.store.optional import with_postgresql
from jobstore.targets import Target
from jobstore.targets.router import Router, TargetRoute
from jobstore.web import prefer
from jobstore.web.access import Access
from jobstore.web.browsers import Browsers
from jobstore.web.gate import Gate
from jobstore.web.origins import Rules
from jobstore.web.proxies import Proxies
from jobstore.web.refusals import Refuse

# The headers that ask for a job, in lower case.
ASKING: Final = frozenset({arango.ASYNC, prefer.HEADER.lower()})


def store_of(config: Config, name: str) -> AbstractAsyncContextManager[Store]:
    """Open the file as the one server that owns it, or join the nodes that share a database.

    Args:
        name: the node's name, unless it is configured.

    Raises:
        ConfigError: it is in a database, and the driver is not installed.
    """
    section, limits = config.store, store_limits(config)
    if not section.url:
        return owned_store(section.path, limits, external=section.external)
    with with_postgresql():
        from jobstore.live.joining import Database, joined_store  # an extra

    database = Database(
        url=section.url,
        schema=section.schema,
        name=section.name or name,
        lease=section.lease,
        patience=section.patience,
    )
    return joined_store(database, limits)


def measured(
    config: Config, store: Store, router: Router, apis: Apis, *, front: bool
) -> Meters | None:
    """Start metrics, unless they are turned off.

    Args:
        router: all targets.
        front: whether all requests arrive at our own front door.
    """
    if not config.metrics.enabled:
        return None
    traffic = {Traffic.SUBMIT, Traffic.RELAY, *(spoken.traffic for spoken in apis)}
    dialects = [each for each in Dialect if Traffic(each) in traffic]
    counted = [each for each in Traffic if each in traffic] if front else []
    store.measure(Meters([route.name for route in router.routes], dialects, counted))
    return store.meters


def traced(config: Config, store: Store) -> None:
    """Start tracing, if it is configured.

    Raises:
        ConfigError: the packages for it are not installed.
    """
    section = config.tracing
    if not section.enabled:
        return
    try:
        from jobstore.live.spans import Spans  # an extra
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise ConfigError(
            "[tracing] enabled needs a package that is not installed: pip install 'jobstore[otel]'"
        ) from error
    spans = Spans(parent=section.relation == "parent", query=section.query)
    store.spans = store.submissions.spans = spans


def access_of(config: Config, store: Store, refuse: Refuse, *, anonymous: bool) -> Access:
    """Create the check of names, passwords and tokens by the store's accounts.

    Args:
        refuse: answers requests of refused senders.
        anonymous: whether everybody has access while there are no accounts.
    """
    if store.accounts.snapshot().accounts:
        passwords.prepare()
    proxies = Proxies(config.server.trusted_proxies)
    return Access(store.accounts, anonymous=anonymous, proxies=proxies, refuse=refuse)


def browsers_of(config: Config, access: Gate, *, public: bool) -> Browsers:
    """Create the check of requests from web pages.

    Args:
        config: names trusted origins and hosts.
        access: knows whether everybody has access.
        public: whether the server may be reached from other machines.
    """
    return Browsers(rules_of(config, public=public), lambda: access.everybody, ASKING)


def rules_of(config: Config, *, public: bool) -> Rules:
    """Return the configured rules about web pages; see `browsers_of`."""
    return Rules.of(config.server.origins, config.server.names, public=public)


def route_of(name: str, target: Target, limits: TargetLimits) -> TargetRoute:
    """Create the route of a target with its settings.

    Args:
        name: its prefix.
        target: answers its requests.
        limits: its configured settings.
    """
    return TargetRoute(
        name=name,
        target=target,
        concurrency=limits.concurrency,
        timeout=limits.timeout,
        replay=limits.replay,
        credentials=limits.forward_credentials,
        retry=Retry(
            retries=limits.retries,
            delay=limits.retry_delay,
            longest=limits.retry_delay_max,
            statuses=frozenset(limits.retry_statuses),
        ),
        hold=limits.hold,
    )
