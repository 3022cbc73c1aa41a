"""The way to Redis: one server, the master that Sentinels name, or a Cluster; and what happens when the way is cut."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from chuk_artifacts.catalog.redis.scripts import Script
from chuk_artifacts.errors import ErrorMap, InvalidInputError, OutcomeUnknownError, SessionError
from chuk_artifacts.fork import Lockable

T = TypeVar("T")

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_POOL_SECONDS = 5
_PATIENCE_SECONDS = 5.0  # nothing is repeated later than that
_PAUSE_SECONDS = 0.05  # before the first repetition; twice as long before each after it
_NEARLY_FULL = 0.9  # of maxmemory
_PORT, _SENTINEL_PORT = 6379, 26379
_TEMPORARY = (redis.ConnectionError, redis.TimeoutError, ClusterError, RedisClusterException)
_FUTILE = (AuthenticationError, AuthorizationError)
_URL = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?P<user>[^@/?#]*@)?(?P<hosts>[^@/?#]+)(?P<path>/[^?#]*)?(?P<query>\?.*)?"
).fullmatch
_FORMS = (
    "redis://host:port/db, rediss://…, unix:///path?db=0, redis+sentinel://host:port,host:port/service/db,"
    " redis+cluster://host:port,host:port"
)

_NO_ANSWER = object()

_NO_RETRY = Retry(NoBackoff(), 0)
"""Nothing is repeated below :class:`Link`, which knows what may be."""

_inherited: list[Client] = []
"""Clients of a parent process, kept: closing one could wait for a lock of a thread that only the parent has."""


class Answer(NamedTuple):
    """What a server answered.

    Attributes:
        value: the answer.
        repeated: whether the server may have carried out the command before, without its answer reaching us.

    """

    value: Any
    repeated: bool


class Client(Protocol):
    """One server, or several that are one. Its errors are those of redis-py."""

    def execute(self, *command: Any) -> Any:
        """Return the answer to a command; raise :class:`NotSentError` when no server can have seen it."""
        ...

    def servers(self) -> Iterator[redis.Redis]:
        """Iterate over the servers that take writes."""
        ...

    def close(self) -> None:
        """Close the connections that nobody uses."""
        ...


class NotSentError(Exception):
    """There was no connection to send something on; the reason is the cause."""


class _Turns:
    """So many locks, of which a call holds one while it uses a connection.

    A queue says which to take; the locks say which are taken. An exception can come after a lock left the queue, and
    before it is put back. So when the queue is empty, the locks that are not held are put there again.
    """

    def __init__(self, number: int) -> None:
        self._all = [threading.Lock() for _ in range(number)]
        self._free: SimpleQueue[threading.Lock] = SimpleQueue()
        self.put = self._free.put
        """Put a lock back."""

    def take(self) -> threading.Lock:
        """Return a lock for the caller to hold; raise :class:`NotSentError` when all are held for too long."""
        with contextlib.suppress(Empty):
            while (turn := self._free.get_nowait()).locked():
                pass  # it was put there twice
            return turn
        for turn in self._all:
            if not turn.locked():
                self.put(turn)
        try:
            return self._free.get(timeout=_POOL_SECONDS)
        except Empty:
            raise NotSentError("all connections are in use") from None


class Link(Lockable):
    """Commands to Redis, repeated when the way to it is cut and they may be.

    A client is opened at the first command, and after a fork by the child for itself.

    Args:
        connect: opens a client; it may raise what a client raises.
        name: what error messages call the server; no password.
        max_connections: how many commands are under way at most, each on a connection; others wait.
        max_retries: how often a command is repeated at most.
        spread: whether keys lie on different nodes by their hash tags.

    Attributes:
        spread: the same.

    """

    def __init__(
        self,
        connect: Callable[[], Client],
        name: str,
        *,
        max_connections: int = 32,
        max_retries: int = 3,
        spread: bool = False,
    ) -> None:
        """Connect to nothing yet."""
        super().__init__()
        self.spread = spread
        self._connect = connect
        self._max_connections = max_connections
        self._turns = _Turns(max_connections)
        self._name = f"catalog {name}"
        self._max_retries = max_retries
        self._errors = ErrorMap((RedisError, RedisClusterException, OSError), SessionError, self._name)
        self._client: Client | None = None

    @property
    def connected(self) -> bool:
        """Whether there may be connections."""
        return self._client is not None

    def read(self, *command: Any) -> Any:
        """Return the answer to a command that changes nothing.

        Raises:
            SessionError: the server can't be reached, or refuses.

        """
        with self._errors:
            return self._call(command, unanswered=SessionError).value

    def look(self, script: Script, keys: Sequence[str], *arguments: Any) -> Any:
        """Return the answer to a script that changes nothing that anybody can see.

        Raises:
            SessionError: the server can't be reached, or refuses.

        """
        with self._errors:
            return self._call(_evaluated(script, keys, arguments), script, unanswered=SessionError).value

    def run(self, script: Script, keys: Sequence[str], *arguments: Any) -> Answer:
        """Return the answer to a script that tells a repetition from a first call, or does no harm the second time.

        Raises:
            OutcomeUnknownError: the server can't be reached, and may have carried it out before that.
            SessionError: the server can't be reached, or refuses.

        """
        with self._errors:
            return self._call(_evaluated(script, keys, arguments), script)

    def ask_servers(self, ask: Callable[[redis.Redis], T]) -> list[T]:
        """Return what *ask* returns for each server that takes writes.

        Raises:
            SessionError: one can't be reached, or refuses.

        """
        with self._errors:
            try:
                return [ask(server) for server in self._opened().servers()]
            except NotSentError as error:
                reason = error.__cause__ or error
                raise self._given_up(reason) from _shown(reason)

    def unknown(self) -> OutcomeUnknownError:
        """Return the error for an answer that does not tell a repetition's effect from somebody else's."""
        return OutcomeUnknownError(f"{self._name}: the connection broke, and what was asked for may have been done")

    def close(self) -> None:
        """Close what is open; harmless the second time."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def after_fork(self, *, child: bool) -> None:
        """Forget the client in a *child*: its connections are those of the parent."""
        if child:
            if self._client is not None:
                _inherited.append(self._client)
            self._client = None
            self._turns = _Turns(self._max_connections)
        super().after_fork(child=child)

    def _opened(self) -> Client:
        client = self._client
        if client is None:
            # On one line: an exception raised by a trace function where a block ends would leave the lock taken.
            with self._lock: client = self._open()  # fmt: skip # noqa: E701
        return client

    def _open(self) -> Client:
        try:
            self._client = self._client or self._connect()
        except _TEMPORARY as error:
            raise NotSentError(str(error)) from error
        return self._client

    def _call(
        self,
        command: Sequence[Any],
        script: Script | None = None,
        *,
        unanswered: type[SessionError] = OutcomeUnknownError,
    ) -> Answer:
        """Return the answer to a command; raise *unanswered* when it was sent and no answer came."""
        sent = False
        failures = 0
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return Answer(self._execute(command), sent)
            except NoScriptError:  # it was started, or another became the master, since it last saw the script
                if script is None:
                    raise
                command, script = ("EVAL", script.text, *command[2:]), None
                continue
            except NotSentError as error:
                reason = error.__cause__ or error
            except ClusterError as error:  # the Cluster is down, or a slot is on its way to another node
                reason = error
            except _TEMPORARY as error:
                reason, sent = error, True
            failures += 1
            if failures > self._max_retries or isinstance(reason, _FUTILE) or time.monotonic() > give_up:
                raise self._given_up(reason, unanswered if sent else SessionError) from _shown(reason)
            time.sleep(_PAUSE_SECONDS * 2 ** (failures - 1) * random.uniform(0.5, 1))  # noqa: S311 - no secret

    def _execute(self, command: Sequence[Any]) -> Any:
        turns = self._turns
        turn = turns.take()
        try:
            with turn: return self._opened().execute(*command)  # fmt: skip # noqa: E701 - on one line as above
        finally:
            turns.put(turn)

    def _given_up(self, reason: BaseException, kind: type[SessionError] = SessionError) -> SessionError:
        return kind(f"{self._name}: {_shown(reason) or 'no Sentinel names a master'}")


def _evaluated(script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> tuple[Any, ...]:
    return "EVALSHA", script.sha, len(keys), *keys, *arguments


def _shown(reason: BaseException) -> BaseException | None:
    """Return what may be shown of a reason: some versions of redis-py tell the passwords of Sentinels in theirs."""
    return None if isinstance(reason, MasterNotFoundError) else reason


class PooledClient:
    """One server at a time, through connections of its own.

    Those in use are limited by :class:`Link`; idle ones are kept here. A connection goes back only after a whole
    answer, on the line that reads it, where no trace function can come between.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        """Keep the *pool*, which makes the connections."""
        self._pool = pool
        self._idle: deque[AbstractConnection] = deque()
        self._closed = False

    def execute(self, *command: Any) -> Any:
        """Return the answer to a command."""
        connection, answer = None, _NO_ANSWER
        try:
            connection = self._take()
            _renew(connection)
            connection.send_command(*command)
            answer = connection.read_response(); self._idle.append(connection)  # fmt: skip # noqa: E702
        except redis.ResponseError:
            if connection is not None:
                self._idle.append(connection)
            raise
        except BaseException:  # half an answer may be left in it
            if connection is not None and answer is _NO_ANSWER:
                connection.disconnect()
            raise
        finally:
            if self._closed:
                self.close()
        return answer

    def servers(self) -> Iterator[redis.Redis]:
        """Iterate over the server, with a connection of its own that ends with this."""
        pool = ConnectionPool(connection_class=self._pool.connection_class, **self._pool.connection_kwargs)
        try:
            yield redis.Redis(connection_pool=pool)
        finally:
            pool.disconnect()

    def close(self) -> None:
        """Close the idle connections; those in use close when they come back."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().disconnect()

    def _take(self) -> AbstractConnection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._made()

    def _made(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.connection_class(**self._pool.connection_kwargs)
        try:
            with _nothing_sent():
                connection.connect()
            return connection  # noqa: TRY300 - here an interrupt still closes it
        except BaseException:
            connection.disconnect()
            raise


def _renew(connection: AbstractConnection) -> None:
    """Connect again when the other side has said something unasked, such as farewell."""
    try:
        if not connection.can_read():
            return
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        pass
    connection.disconnect()
    with _nothing_sent():
        connection.connect()


@contextlib.contextmanager
def _nothing_sent() -> Iterator[None]:
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise NotSentError(str(error)) from error


class ClusterClient:
    """A Redis Cluster; redis-py follows it when slots move and nodes fail.

    Args:
        connect: makes redis-py's client.

    """

    def __init__(self, connect: Callable[[], RedisCluster]) -> None:
        """Connect."""
        self._connect = connect
        self._cluster: RedisCluster | None = connect()

    def execute(self, *command: Any) -> Any:
        """Return the answer to a command."""
        cluster = self._opened()
        try:
            return cluster.execute_command(*command)
        except (RedisError, RedisClusterException, OSError):
            raise
        except BaseException:  # redis-py puts the connection back, perhaps with an answer that is still to come
            self._cluster = None
            raise

    def servers(self) -> Iterator[redis.Redis]:
        """Iterate over the primaries."""
        cluster = self._opened()
        return map(cluster.get_redis_connection, cluster.get_primaries())

    def close(self) -> None:
        """Close the connections."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()

    def _opened(self) -> RedisCluster:
        cluster = self._cluster
        if cluster is None:
            try:
                cluster = self._cluster = self._connect()
            except _TEMPORARY as error:
                raise NotSentError(str(error)) from error
        return cluster


def open_link(url: str, name: str, *, max_connections: int, max_retries: int) -> Link:
    """Return the way to the server of a URL, which is not taken yet.

    Args:
        url: one of redis-py's (its options in the query too), or for Sentinel and Cluster
            ``redis+sentinel://user:password@host:port,host:port/service/db`` and ``redis+cluster://host:port,host:port``,
            with ``rediss`` over TLS.
        name: the same without passwords.
        max_connections: how many connections to a server are open at most. A call waits for a free one.
        max_retries: how often something is repeated at most.

    Raises:
        InvalidInputError: the URL is none of these.

    """
    match = _URL(url)
    try:
        if match is None:
            connect = _server(url)
        elif match["kind"] == "cluster":
            connect = _cluster(match)
        else:
            connect = _sentinel(match)
    except (ValueError, TypeError):  # the reason may show a piece of a password
        raise InvalidInputError(f"redis_url is not understood; it must be one of: {_FORMS}") from None
    return Link(
        connect,
        name,
        max_connections=max_connections,
        max_retries=max_retries,
        spread=match is not None and match["kind"] == "cluster",
    )


def server_facts(server: redis.Redis) -> dict[str, str]:
    """Return what a server tells of itself, and in ``warning`` what may lose records."""
    try:
        info: dict[str, Any] = server.info()
    except ResponseError:  # not everybody may ask
        return {"server": "does not tell"}
    warnings = []
    persistence = "+".join(_persistence(server, info)) or "off"
    if persistence == "off":
        warnings.append("records do not survive a restart of the Redis server: turn on AOF, or RDB snapshots")
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy not in {"noeviction", "unknown"}:
        warnings.append(f"records may go when Redis is full: set its maxmemory-policy to noeviction, not {policy}")
    used, limit = info.get("used_memory", 0), info.get("maxmemory", 0)
    if used > limit * _NEARLY_FULL > 0:
        warnings.append(f"Redis is nearly full, and refuses to store more then: {used:,} of {limit:,} bytes are used")
    return {
        "server": f"{info.get('server_name', 'redis')} {info.get('valkey_version', info.get('redis_version'))}",
        "mode": str(info.get("server_mode", info.get("redis_mode"))),
        "persistence": persistence,
        "eviction": policy,
        **({"warning": "; ".join(warnings)} if warnings else {}),
    }


def _persistence(server: redis.Redis, info: Mapping[str, Any]) -> Iterator[str]:
    if info.get("aof_enabled"):
        yield "aof"
    try:
        if server.config_get("save").get("save"):
            yield "rdb"
    except ResponseError:
        yield "unknown"


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
    kind(**options)  # it connects to nothing, and complains of options that are none
    return kind, options


def _split_query(query: str, prefix: str) -> tuple[dict[str, str], str]:
    """Return the options of a query whose names begin with *prefix*, without it, and a query with the others."""
    options = parse_qsl(query.removeprefix("?"))
    own = {name.removeprefix(prefix): value for name, value in options if name.startswith(prefix)}
    return own, f"?{urlencode([option for option in options if not option[0].startswith(prefix)])}"


def _hosts(match: re.Match[str], default_port: int) -> list[tuple[str, int]]:
    addresses = [urlsplit(f"//{host}") for host in match["hosts"].split(",")]
    if not all(address.hostname for address in addresses):
        raise ValueError("no host")
    return [(str(address.hostname), address.port or default_port) for address in addresses]
