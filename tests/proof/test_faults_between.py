"""A bad network between the store and its servers, under 16 threads and 200 tasks."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from urllib.parse import urlsplit

import pytest
from servers.buckets import bare_client, s3_on_served_moto
from servers.http_proxy import HttpProxy
from servers.proxy import Proxy

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore, ArtifactStoreError, aio
from proof import ledger
from proof.worker import Thread

THREADS, TASKS, CHANGES = 16, 200, 6
IN_THE_GATE = 40, 2
PAGES = [
    (503, b"<html>busy</html>"),
    (404, b"<html>not here</html>"),
    (412, b"no"),
    (200, b"<html>log in</html>"),
    (500, b""),
]


class BadNetwork:
    """Treats connections badly in turn, until it is stopped."""

    def __init__(self, tcp, http, seed):
        self.tcp, self.http, self.dice = tcp, http, random.Random(seed)
        self.stopped = threading.Event()
        self.faults = 0
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stopped.set()
        self.thread.join()
        if self.tcp:
            self.calm()
            self.tcp.reset()
        if self.http:
            self.http.failing = self.http.forgetting = 0
            self.http.cut_after = None

    def run(self):
        """Change what is bad, a few times a second."""
        acts = [self.delay, self.black_hole, self.cut, self.refuse, self.reset] if self.tcp else []
        acts += [self.answer_badly, self.answer_badly, self.lose, self.cut_body] if self.http else []
        while not self.stopped.wait(self.dice.random() / 20):
            self.dice.choice(acts)()
            self.faults += 1

    def calm(self):
        self.tcp.delay, self.tcp.silent, self.tcp.refusing, self.tcp.cut_after = 0.0, False, False, None

    def delay(self):
        self.tcp.delay = 0.01
        self.stopped.wait(0.05)
        self.calm()

    def black_hole(self):
        self.tcp.silent = True
        self.stopped.wait(0.05)
        self.calm()
        self.tcp.reset()

    def refuse(self):
        self.tcp.refusing = True
        self.tcp.reset()
        self.stopped.wait(0.05)
        self.calm()

    def reset(self):
        self.tcp.reset()

    def cut(self):
        self.tcp.cut_after = self.dice.randrange(200)

    def answer_badly(self):
        self.http.failure = self.dice.choice(PAGES)
        self.http.failing = self.dice.randrange(1, 4)

    def lose(self):
        self.http.forgetting = 2

    def cut_body(self):
        self.http.cut_after = self.dice.randrange(5)


@pytest.fixture(params=["filesystem-redis", "filesystem-postgres", "bucket-sqlite"])
def place(request, tmp_path):
    """Return options that lead through a proxy, those that lead past it, and the proxies."""
    options = {"fs_root": str(tmp_path / "root"), "sandbox_id": f"box{os.urandom(4).hex()}", "max_connections": 16}
    if request.param != "filesystem-redis" and not request.config.getoption("minutes"):
        pytest.skip("tried with --minutes: it takes a minute")
    if request.param == "bucket-sqlite":
        straight = {**options, **s3_on_served_moto(request), "session_provider": "sqlite"}
        with HttpProxy(straight["endpoint_url"]) as http:
            yield {**straight, "endpoint_url": http.url}, straight, None, http
        bare_client.cache_clear()
        return
    catalog = request.param.partition("-")[2]
    url = request.getfixturevalue(f"{catalog}_url")
    straight = {**options, "storage_provider": "filesystem", "session_provider": catalog, f"{catalog}_url": url}
    port = urlsplit(url).port
    with Proxy(port) as tcp:
        yield {**straight, f"{catalog}_url": url.replace(f":{port}/", f":{tcp.port}/")}, straight, tcp, None


def test_bad_network(place, tmp_path, effort):
    """Each call returns the truth or raises one of our errors; afterwards the same store works, and all agrees."""
    through, straight, tcp, http = place
    logs, faults, calls = [], 0, 0
    with ArtifactStore(**through) as store:
        store.store(b"x", session_id="before")
        count, changes = (TASKS, CHANGES) if effort.minutes else IN_THE_GATE
        for seed in effort.rounds(1):
            logs.append(tmp_path / f"{seed}.log")
            log = os.open(logs[-1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with BadNetwork(tcp, http, seed) as network:
                threads = [Thread(store, log, f"{seed}-{number}", seed, changes) for number in range(THREADS)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(300)
                    assert not thread.is_alive(), "a call hangs"
                wrong = asyncio.run(tasks(through, seed, count))
            os.close(log)
            faults, calls = faults + network.faults, calls + THREADS * changes + count
            assert wrong == []
            assert store.retrieve(store.store(b"after", session_id="after")) == b"after"
    with ArtifactStore(**straight) as store:
        acknowledged = ledger.check(store, ledger.sessions_of(logs))
    failures = sum(log.read_text().count('"error"') for log in logs)
    print(f"{calls} calls, {faults} faults, {failures} failures, {acknowledged} acknowledged, seed {effort.seed}")


async def tasks(options, seed, count):
    """Store and read in many tasks at once; return what was wrong."""
    view = aio.ArtifactStore(**options)

    async def one(number):
        data = f"{seed}-{number}".encode()
        artifact_id = None
        for _ in range(5):
            try:
                artifact_id = artifact_id or await view.store(data, session_id=f"tasks-{seed}-{number % 7}")
                found = await view.retrieve(artifact_id)
            except ArtifactNotFoundError as error:
                return repr(error)
            except ArtifactStoreError:
                await asyncio.sleep(0)
            else:
                return None if found == data else (number, found)
        return None

    try:
        return [wrong for wrong in await asyncio.gather(*map(one, range(count))) if wrong is not None]
    finally:
        await view.close()
