"""Fixtures of all tests: a clock that tests move, and an environment without configuration."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import interrupts
import pytest
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.server import ThreadedMotoServer
from servers import ftp, iam, rgw, sftp
from servers.postgres import postgres_server, postgres_url  # noqa: F401 - fixtures
from servers.redis import (  # noqa: F401 - fixtures
    redis_cluster,
    redis_cluster_url,
    redis_sentinel,
    redis_sentinel_url,
    redis_server,
    redis_url,
)

from chuk_artifacts import core
from chuk_artifacts.gateway import server

server._POLL_SECONDS = 0.005  # how long the end of a store with a gateway takes

CONFIGURATION = ("ARTIFACT_", "SESSION_", "AWS_", "IBM_", "S3_", "PG")


class Clock:
    """The current time in seconds since the epoch, which only the test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        """Return the current time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options: for the second and third interpreter, and for long runs of what tries to break the library."""
    parser.addoption(
        "--fewer-servers",
        action="store_true",
        help="skip what runs on Ceph, moto, Redis Cluster, Redis Sentinel, FTP, SFTP or in a browser: it tries drivers"
        " and protocols, and a run of all tests on another interpreter does that",
    )
    parser.addoption(
        "--minutes",
        type=float,
        default=0,
        help="how long each test in tests/proof tries; 0: the slice of the gate. With it,"
        " tests of interrupts try every line, not one in three",
    )
    parser.addoption("--proof-seed", type=int, help="the seed of the tests in tests/proof, which they print")


def pytest_configure(config: pytest.Config) -> None:
    """Interrupt every line where there is time, and let Ctrl-C reach the children of a run in the background.

    A shell without job control starts what runs in the background with SIGINT ignored, and children inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("minutes"):
        interrupts.one_in = 1


def pytest_collection_finish(session: pytest.Session) -> None:
    """Freeze imported objects for the garbage collector: many tests call it, and it would visit them all."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def every_server(request: pytest.FixtureRequest) -> None:
    """Skip where fewer servers are wanted."""
    if request.config.getoption("fewer_servers"):
        pytest.skip("left to a run without --fewer-servers")


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the configuration and the files of the user out of the tests.

    The folder comes first: it is removed last, when nothing is patched any more.
    """
    for name in list(os.environ):
        if name.startswith(CONFIGURATION):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(core, "_OPENTELEMETRY", "opentelemetry.of_another_test")  # it stays imported in this process
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # or who has no credentials asks the network for some


@pytest.fixture(scope="session")
def rgw_server(every_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rgw.Rgw]:
    """Return a running Ceph RGW."""
    missing = rgw.missing_programs()
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with rgw.running(tmp_path_factory.mktemp("rgw")) as server:
        yield server


@pytest.fixture(scope="session")
def moto_server(every_server: None) -> Iterator[str]:
    """Return the URL of a running moto."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def moto_aws(every_server: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let moto answer requests to AWS in this process, one after the other, because it is not thread-safe."""
    answer, one_at_a_time = BotocoreStubber.__call__, threading.RLock()

    def answer_alone(self: BotocoreStubber, *arguments: Any, **options: Any) -> Any:
        with one_at_a_time:
            return answer(self, *arguments, **options)

    monkeypatch.setattr(BotocoreStubber, "__call__", answer_alone)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield


@pytest.fixture
def ibm_iam() -> Iterator[iam.Iam]:
    """Return a running token endpoint."""
    with iam.running() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def ftp_host(every_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return host and port of a running FTP server."""
    with ftp.ftp_server(tmp_path_factory.mktemp("ftp")) as host:
        yield host


@pytest.fixture(scope="session")
def sftp_host(every_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return host and port of a running SFTP server."""
    with sftp.sftp_server(tmp_path_factory.mktemp("sftp")) as host:
        yield host
