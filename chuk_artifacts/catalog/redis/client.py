"""Connections to one Redis server or to a Cluster, each command sent once: :class:`Link` knows what may be repeated."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import redis
from redis.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ClusterError, RedisClusterException, RedisError

TEMPORARY: tuple[type[Exception], ...] = (
    redis.ConnectionError,
    redis.TimeoutError,
    ClusterError,
    RedisClusterException,
)
"""The errors after which a server or a Cluster may answer again."""

_NO_ANSWER = object()


class Client(Protocol):
    """One server, or several that act as one. It raises the errors of redis-py."""

    def execute(self, *command: object) -> Any:
        """Return the answer to a command; raise :class:`NotSentError` if no server can have seen the command."""
        ...

    def servers(self) -> Iterator[redis.Redis]:
        """Iterate over the servers that accept writes."""
        ...

    def close(self) -> None:
        """Close the idle connections."""
        ...


class NotSentError(Exception):
    """There was no connection to send a command on; the cause says why."""


class PooledClient:
    """One server at a time, through a pool of connections.

    :class:`Link` limits the connections in use; this class holds the idle ones. A connection goes back only after a
    complete answer, on the line that reads the answer, so that no trace function can interrupt between the two.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        """Use *pool* to make connections."""
        self._pool = pool
        self._idle: deque[AbstractConnection] = deque()
        self._closed = False

    def execute(self, *command: object) -> Any:
        """Return the answer to a command."""
        connection, answer = None, _NO_ANSWER
        try:
            connection = self._take()
            _renew(connection)
            connection.send_packed_command([_packed(command)])
            answer = connection.read_response(); self._idle.append(connection)  # fmt: skip # noqa: E702
        except redis.ResponseError:
            if connection is not None:
                self._idle.append(connection)
            raise
        except BaseException:  # half an answer may still be on the connection
            if connection is not None and answer is _NO_ANSWER:
                connection.disconnect()
            raise
        finally:
            if self._closed:
                self.close()
        return answer

    def servers(self) -> Iterator[redis.Redis]:
        """Yield the server, on a connection that closes when the iteration ends."""
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
            return connection  # noqa: TRY300 - an interrupt here still closes the connection
        except BaseException:
            connection.disconnect()
            raise


def _packed(command: Sequence[object]) -> bytes:
    """Return a command as it is sent; redis-py takes five times as long for one of 20 words.

    See https://redis.io/docs/latest/develop/reference/protocol-spec/#sending-commands-to-a-redis-server.
    """
    parts = [b"*%d" % len(command)]
    for word in command:
        value = word if type(word) is bytes else str(word).encode()
        parts += b"$%d" % len(value), value
    return b"\r\n".join([*parts, b""])


def _renew(connection: AbstractConnection) -> None:
    """Reconnect if the server has sent something unasked, such as the end of the connection."""
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

    def __init__(self, connect: Callable[[], redis.RedisCluster]) -> None:
        """Connect."""
        self._connect = connect
        self._cluster: redis.RedisCluster | None = connect()

    def execute(self, *command: object) -> Any:
        """Return the answer to a command."""
        cluster = self._opened()
        try:
            return cluster.execute_command(*command)
        except (RedisError, RedisClusterException, OSError):
            raise
        except BaseException:  # redis-py returns the connection to its pool, perhaps before the answer has arrived
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

    def _opened(self) -> redis.RedisCluster:
        cluster = self._cluster
        if cluster is None:
            try:
                cluster = self._cluster = self._connect()
            except TEMPORARY as error:
                raise NotSentError(str(error)) from error
        return cluster
