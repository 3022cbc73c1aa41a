"""Real PostgreSQL servers: one, and a primary with a standby, each in a folder of its own on a free port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .ports import free_port

try:
    import psycopg
except ImportError:  # an interpreter without it runs the other tests
    psycopg = None  # type: ignore[assignment]

_PATIENCE_SECONDS = 30.0
_USERS = ("postgres", "nobody")


def programs() -> Path | None:
    """Return the folder of the newest server's programs: Debian's, else that of ``initdb`` on the path."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if folders:
        return folders[-1].parent
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


class PostgresServer:
    """A server process on a free port, which trusts all clients of this machine.

    PostgreSQL refuses to run as root; then it runs as another user, who owns its folder.
    """

    def __init__(self) -> None:
        found = programs()
        if found is None:
            pytest.skip("no PostgreSQL here: install postgresql")
        if psycopg is None:
            pytest.skip("no driver here: pip install '.[postgres]'")
        self._programs = found
        self._user = None if os.geteuid() else next(filter(_exists, _USERS), None)
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # the path of a socket is short
        self.folder.chmod(0o700)
        if self._user is not None:
            shutil.chown(self.folder, self._user, pwd.getpwnam(self._user).pw_gid)
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL of its first database, over TCP."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def make(self, source: PostgresServer | None = None) -> None:
        """Make the files of an empty server, or those of a standby of *source*."""
        data = str(self.folder / "data")
        if source is None:
            self.run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            with (self.folder / "data" / "postgresql.conf").open("a") as file:
                file.write("listen_addresses = '127.0.0.1'\nmax_connections = 200\n")
                file.write(f"unix_socket_directories = '{self.folder}'\n")
        else:
            self.run("pg_basebackup", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-D", data, "-d", source.url)

    def start(self, *settings: str) -> None:
        """Start it with *settings*, such as ``fsync=off``, and return when it answers."""
        options = " ".join(f"-c {setting}" for setting in (f"port={self.port}", *settings))
        log = str(self.folder / "log")
        self.run("pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", log, "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; without effect if it is not running."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.run("pg_ctl", "stop", "-w", "-m", mode, "-D", str(self.folder / "data"))

    def promote(self) -> None:
        """Make a standby the primary."""
        self.run("pg_ctl", "promote", "-w", "-D", str(self.folder / "data"))

    def remove(self) -> None:
        """Stop it and remove its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as the server's user."""
        command = [str(self._programs / program), *arguments]
        with (self.folder / f"{program}.out").open("ab") as output:
            subprocess.run(
                command,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **self.as_user(),
            )

    def as_user(self) -> dict[str, Any]:
        """Return the options of a process that runs as the server's user."""
        if self._user is None:
            return {"cwd": "/"}
        return {"cwd": "/", "user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}

    def connect(self, url: str | None = None) -> psycopg.Connection:
        """Return a connection to it, in autocommit mode."""
        return psycopg.connect(url or self.url, autocommit=True)

    def flush(self) -> None:
        """Empty the tables of the catalog if it has them, and drop all other schemas."""
        with self.connect() as connection:
            schemas = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_)'")
            for (name,) in schemas.fetchall():
                if name == "chuk_artifacts":
                    tables = "sessions, artifacts, usage, identities"
                    for table in tables.split(", "):
                        connection.execute(f"DELETE FROM chuk_artifacts.{table}".encode())
                elif name != "public":
                    connection.execute(f'DROP SCHEMA "{name}" CASCADE'.encode())


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def wait_until(holds: Callable[[], bool]) -> None:
    """Return when something holds; errors of connections are a no."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(psycopg.Error, OSError):
            if holds():
                return
        time.sleep(0.02)
    raise TimeoutError("a server does not come up")


@contextlib.contextmanager
def running(*settings: str) -> Iterator[PostgresServer]:
    """Yield a running server of its own."""
    server = PostgresServer()
    try:
        server.make()
        server.start(*settings)
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Return a server that all tests share: each empties it first."""
    with running("fsync=off", "synchronous_commit=off", "full_page_writes=off") as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """Return the URL of a server whose catalog is empty."""
    postgres_server.flush()
    return postgres_server.url


@contextlib.contextmanager
def pooling(server: PostgresServer, *settings: str) -> Iterator[str]:
    """Yield the URL of a PgBouncer before a server, which pools transactions on two connections."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("no PgBouncer here: install pgbouncer")
    port = free_port()
    lines = [
        "[databases]",
        f"postgres = host=127.0.0.1 port={server.port} user=postgres",
        "[pgbouncer]",
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 200",
        *settings,
    ]
    configuration = server.folder / f"pgbouncer-{port}.ini"
    configuration.write_text("\n".join(lines))
    configuration.chmod(0o644)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    log = configuration.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen([program, str(configuration)], stdout=output, stderr=output, **server.as_user())
    try:
        wait_until(lambda: process.poll() is not None or _answers(url))
        if process.poll() is not None:
            raise RuntimeError(f"PgBouncer does not start: {log.read_text()}")
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=2, prepare_threshold=None) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)
