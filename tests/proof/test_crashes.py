"""Workers that are killed at any moment, and servers that are killed under them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import child
import pytest
from servers import postgres
from servers.redis import RedisServer

from chuk_artifacts import ArtifactStore
from proof import ledger

WORKER = Path(__file__).with_name("worker.py")
KILLS = {"sqlite": 1, "sqlite-fsync": 0, "redis": 1, "postgres": 0}
"""How often the gate kills a worker; the others are tried with ``--minutes``."""


def options_of(name, request, root):
    """Return the options of a store on disk, with its records in a catalog."""
    catalog, _, durable = name.partition("-")
    options = {"storage_provider": "filesystem", "fs_root": str(root), "session_provider": catalog}
    if durable:
        options["storage_options"] = {"fsync": True}
    if catalog != "sqlite":
        options[f"{catalog}_url"] = request.getfixturevalue(f"{catalog}_url")
    return options


def start(options, log, name):
    """Start a worker."""
    command = [sys.executable, str(WORKER), json.dumps(options), str(log), name]
    return subprocess.Popen(command, env=child.unmeasured(), stdin=subprocess.PIPE)


def has_lines(log, number, worker):
    """Wait until a worker has written that many lines."""
    end = time.monotonic() + 120
    while not log.exists() or log.read_bytes().count(b"\n") < number:
        assert worker.poll() is None, "the worker has ended"
        assert time.monotonic() < end, "the worker does not go on"
        time.sleep(0.002)


@pytest.mark.parametrize("name", KILLS)
def test_killed_workers(name, request, tmp_path, effort):
    """What a killed worker acknowledged holds, what was under way is whole or absent, and counters agree."""
    if not (KILLS[name] or effort.minutes):
        pytest.skip("tried with --minutes")
    root, logs = tmp_path / "root", []
    options = options_of(name, request, root)
    for seed in effort.rounds(max(KILLS[name], 1)):
        moment = random.Random(seed)
        logs.append(tmp_path / f"{seed}.log")
        worker = start(options, logs[-1], str(seed))
        has_lines(logs[-1], moment.randrange(1, 150), worker)
        time.sleep(moment.random() / 100)
        worker.kill()
        worker.wait()
        worker.stdin.close()
        with ArtifactStore(**options) as store:
            acknowledged = ledger.check(store, ledger.sessions_of(logs))
    print(f"{name}: {len(logs)} kills, {acknowledged} acknowledged changes, --proof-seed {effort.seed}")


class Restarting:
    """A server that is killed and started again, with all that it acknowledged."""

    def __init__(self, name, folder):
        if name == "redis":
            self.server = RedisServer(folder / "redis", "--appendonly", "yes", "--appendfsync", "always")
            self.begin, self.end, self.remove = self.server.start, self.server.stop, self.server.stop
        else:
            self.server = postgres.PostgresServer()
            self.server.make()
            self.begin, self.end, self.remove = self.server.start, self.server.stop, self.server.remove
        self.begin()


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_killed_servers(name, tmp_path, effort):
    """A server with the records is killed and started again: what was acknowledged holds, a failure changed nothing."""
    if name == "postgres" and not effort.minutes:
        pytest.skip("tried with --minutes")
    server = Restarting(name, tmp_path)
    log, root = tmp_path / "log", tmp_path / "root"
    options = {"storage_provider": "filesystem", "fs_root": str(root), "session_provider": name}
    options[f"{name}_url"] = server.server.url
    worker = start(options, log, "worker")
    lines = kills = 0
    try:
        for seed in effort.rounds(1):
            moment = random.Random(seed)
            lines = (log.read_bytes().count(b"\n") if log.exists() else 0) + moment.randrange(20, 150)
            has_lines(log, lines, worker)
            server.end()
            time.sleep(moment.random() / 10)
            server.begin()
            kills += 1
        has_lines(log, log.read_bytes().count(b"\n") + 50, worker)
        worker.stdin.close()
        assert worker.wait(120) == 0
        with ArtifactStore(**options) as store:
            acknowledged = ledger.check(store, ledger.sessions_of([log]))
    finally:
        worker.kill()
        worker.wait()
        server.remove()
    print(f"{name}: {kills} restarts, {acknowledged} acknowledged changes, --proof-seed {effort.seed}")
