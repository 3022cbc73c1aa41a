"""Stores on disk, and servers on free ports of this machine, which end with their test."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import artifact_urls
import child
import pytest
import uvicorn

from chuk_artifacts import ArtifactStore, aio

collect_ignore = ["adk_artifacts.py", "mcp_server.py"]  # or doctest would import them where their package is missing

options, fs = artifact_urls.options, artifact_urls.fs

SECONDS = 60  # after which waiting for another process or thread counts as hanging


@pytest.fixture
def store(options: dict[str, Any]) -> Iterator[ArtifactStore]:
    """Return that store."""
    with ArtifactStore(**options) as store:
        yield store


@pytest.fixture
def anyio_backend() -> str:
    """Return the event loop that async tests run on."""
    return "asyncio"


@pytest.fixture
async def files(anyio_backend: str, options: dict[str, Any]) -> AsyncIterator[aio.ArtifactStore]:
    """Return that store, awaited."""
    async with aio.ArtifactStore(**options) as store:
        yield store


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of another process that opens the same store without arguments."""
    return child.environment(
        ARTIFACT_PROVIDER="filesystem", ARTIFACT_FS_ROOT=str(tmp_path / "store"), PYTHONUNBUFFERED="1"
    )


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Return a function that serves an ASGI application by uvicorn, in a thread, and returns the port."""
    with ExitStack() as stack:
        yield lambda app, **config: stack.enter_context(_by_uvicorn(app, config))


@contextmanager
def _by_uvicorn(app: Any, config: dict[str, Any]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        server = uvicorn.Server(
            uvicorn.Config(app, **{"log_level": "warning", "timeout_graceful_shutdown": 10, **config})
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(SECONDS)


class Process:
    """Another process, and what it prints, line by line.

    Attributes:
        popen: the process.
        seen: the lines that were read so far.

    """

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.seen: list[str] = []
        self._ending = False
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._pump = threading.Thread(target=self._read)
        self._pump.start()

    def _read(self) -> None:
        for line in self.popen.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put("")

    def terminate(self) -> None:
        """Ask the process to end, by SIGTERM."""
        self._ending = True
        self.popen.terminate()

    def until(self, text: str) -> str:
        """Return the next line that contains *text*; fail when the process ends or is silent for a minute."""
        while text not in (line := self._lines.get(timeout=SECONDS)):
            self.seen.append(line)
            assert line or self._pump.is_alive(), f"the process ended without {text!r}: {self.seen}"
        self.seen.append(line)
        return line

    def end(self) -> int:
        """Ask the process to end if it does not do so already, and return its exit status."""
        if not self._ending:
            self.terminate()
        try:
            self.popen.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait(SECONDS)
        self._pump.join(SECONDS)
        self.popen.stdout.close()
        return self.popen.returncode


@pytest.fixture
def spawn(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Return a function that starts a command; what it started ends with the test."""
    with ExitStack() as stack:

        def start(*command: object, **variables: str) -> Process:
            popen = subprocess.Popen(
                [str(part) for part in command],
                env={**environment, **variables},
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=1,
                text=True,
                start_new_session=True,
            )
            process = Process(popen)
            stack.callback(process.end)
            return process

        yield start


@pytest.fixture
def python(spawn: Callable[..., Process]) -> Callable[..., Process]:
    """Return a function that starts a module of Python with arguments."""
    return lambda *arguments, **variables: spawn(sys.executable, "-m", *arguments, **variables)


@pytest.fixture
def free_port() -> int:
    """Return a port that nothing listens on, for programs that can't choose one and say which."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def to_thread() -> Callable[..., Any]:
    """Return a function that calls a blocking client in a thread, while the event loop goes on."""
    return asyncio.to_thread
