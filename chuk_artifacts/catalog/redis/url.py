"""From a Redis URL to a link: one server, the master that Sentinels name, or a Cluster."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from chuk_artifacts.catalog.redis.client import Client, ClusterClient, PooledClient
from chuk_artifacts.catalog.redis.link import Link
from chuk_artifacts.errors import InvalidInputError

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_PORT, _SENTINEL_PORT = 6379, 26379
_URL = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?P<user>[^@/?#]*@)?(?P<hosts>[^@/?#]+)(?P<path>/[^?#]*)?(?P<query>\?.*)?"
).fullmatch
_FORMS = (
    "redis://host:port/db, rediss://…, unix:///path?db=0, redis+sentinel://host:port,host:port/service/db,"
    " redis+cluster://host:port,host:port"
)

_NO_RETRY = Retry(NoBackoff(), 0)
"""redis-py retries nothing: :class:`Link` knows which commands may be repeated."""


def open_link(url: str, name: str, *, max_connections: int, max_retries: int) -> Link:
    """Return a link to the server of a URL; it connects at the first command.

    Args:
        url: a URL of redis-py's, with its options in the query, or for Sentinel and Cluster
            ``redis+sentinel://user:password@host:port,host:port/service/db`` and ``redis+cluster://host:port,host:port``;
            ``rediss`` stands for TLS.
        name: the same without passwords.
        max_connections: how many connections to a server may be open; further calls wait for a free one.
        max_retries: how often a command is repeated at most.

    Raises:
        InvalidInputError: the URL has none of these forms.

    """
    match = _URL(url)
    try:
        if match is None:
            connect = _server(url)
        elif match["kind"] == "cluster":
            connect = _cluster(match)
        else:
            connect = _sentinel(match)
    except (ValueError, TypeError):  # not chained: the reason may show part of a password
        raise InvalidInputError(f"redis_url is not understood; it must be one of: {_FORMS}") from None
    return Link(
        connect,
        name,
        max_connections=max_connections,
        max_retries=max_retries,
        spread=match is not None and match["kind"] == "cluster",
    )


def _server(url: str) -> Callable[[], Client]:
    kind, options = _options(url)
    return lambda: PooledClient(ConnectionPool(connection_class=kind, retry=_NO_RETRY, **options))


def _sentinel(match: re.Match[str]) -> Callable[[], Client]:
    service, _, database = (match["path"] or "").strip("/").partition("/")
    if not service:
        raise ValueError("no service")
    own, query = _split_query(match["query"] or "", "sentinel_")
    kind, options = _options(f"{match['scheme']}://{match['user'] or ''}master/{database}{query}")
    is_tls = kind is SSLConnection
    del options["host"]
    shared = {name: value for name, value in options.items() if name.startswith(("socket_", "ssl_", "protocol"))}
    hosts = _hosts(match, _SENTINEL_PORT)

    def connect() -> Client:
        pool = SentinelConnectionPool(
            unquote(service),
            Sentinel(hosts, sentinel_kwargs={**shared, **own, "ssl": is_tls, "retry": _NO_RETRY}),
            connection_class=SentinelManagedSSLConnection if is_tls else SentinelManagedConnection,
            retry=_NO_RETRY,
            **options,
        )
        return PooledClient(pool)

    return connect


def _cluster(match: re.Match[str]) -> Callable[[], Client]:
    if (match["path"] or "").strip("/") not in {"", "0"}:
        raise ValueError("a cluster has no databases")
    kind, options = _options(f"{match['scheme']}://{match['user'] or ''}node{match['query'] or ''}")
    del options["host"]
    hosts = _hosts(match, _PORT)

    def connect() -> RedisCluster:
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in hosts],
            retry=_NO_RETRY,
            ssl=kind is SSLConnection,
            **options,
        )

    return lambda: ClusterClient(connect)


def _options(url: str) -> tuple[type[Any], dict[str, Any]]:
    """Return the class of connections to the server of a URL, and their arguments."""
    given = parse_url(url)
    kind = given.pop("connection_class", Connection)
    options = {"socket_timeout": _ANSWER_SECONDS, "protocol": 2, **given}
    if kind is not UnixDomainSocketConnection:
        options = {"socket_connect_timeout": _CONNECT_SECONDS, "socket_keepalive": True, **options}
    kind(**options)  # connects to nothing, and raises TypeError for an unknown option
    return kind, options


def _split_query(query: str, prefix: str) -> tuple[dict[str, str], str]:
    """Return the options whose names begin with *prefix*, without the prefix, and a query of the other options."""
    options = parse_qsl(query.removeprefix("?"))
    own = {name.removeprefix(prefix): value for name, value in options if name.startswith(prefix)}
    return own, f"?{urlencode([option for option in options if not option[0].startswith(prefix)])}"


def _hosts(match: re.Match[str], default_port: int) -> list[tuple[str, int]]:
    addresses = [urlsplit(f"//{host}") for host in match["hosts"].split(",")]
    if not all(address.hostname for address in addresses):
        raise ValueError("no host")
    return [(str(address.hostname), address.port or default_port) for address in addresses]
