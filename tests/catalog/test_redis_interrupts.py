"""The catalog in Redis when an exception arrives during a call, in our code or in the driver's."""

from __future__ import annotations

import contextlib
import gc
import os
import threading

import pytest
import records
import redis
from interrupts import Interrupt, TimeLimit, interrupted
from records import NOW

from chuk_artifacts.catalog import new_session
from chuk_artifacts.catalog.redis import RedisCatalog
from chuk_artifacts.catalog.redis.url import open_link

DAY = 86400.0
CONNECTIONS = 2


def record(number, **fields):
    """Return a record; two filenames are shared."""
    usual = {"filename": f"f{number % 2}", "ttl": 60.0, "session_provider": "redis"}
    return records.record(number, **{**usual, **fields})


RECORDS = [record(number) for number in range(5)]
NEW = [record(number, session_id=session_id) for number, session_id in ((20, "alice"), (21, "new"), (22, "new"))]
EVERY_ID = [one.artifact_id for one in (*RECORDS, *NEW)]


def page(catalog, session_id):
    """Return the ids in a session's listing."""
    return [one.artifact_id for one in catalog.page(session_id, prefix="", after=None, limit=100, now=NOW)]


METHODS = {
    "add": lambda catalog: catalog.add(NEW, now=NOW),
    "add exclusive": lambda catalog: catalog.add([NEW[1]], now=NOW, exclusive=True),
    "get": lambda catalog: catalog.get(EVERY_ID),
    "replace": lambda catalog: catalog.replace(record(1, revision=2, filename="other"), expected_revision=1),
    "remove": lambda catalog: catalog.remove(EVERY_ID),
    "page": lambda catalog: page(catalog, "alice"),
    "named": lambda catalog: catalog.named("alice", "f1", NOW),
    "has_named": lambda catalog: catalog.has_named("alice", "f1", NOW),
    "named_each": lambda catalog: catalog.named_each("alice", ["f1", "f2"], NOW),
    "due": lambda catalog: catalog.due(NOW + DAY, 2),
    "create_session": lambda catalog: catalog.create_session(new_session("new", "box", now=NOW, ttl=5.0)),
    "get_session": lambda catalog: catalog.get_session("alice", NOW),
    "update_session": lambda catalog: catalog.update_session("alice", NOW, extend=5.0),
    "remove_session": lambda catalog: catalog.remove_session("alice", NOW, 100),
    "expire_sessions": lambda catalog: catalog.expire_sessions(NOW),
    "stats": lambda catalog: catalog.stats(NOW),
    "identity": lambda catalog: catalog.identity("x"),
    "sample": lambda catalog: catalog.sample(NOW, 2),
    "verify": lambda catalog: catalog.verify(),
    "check": lambda catalog: catalog.check(),
    "close": lambda catalog: catalog.close(),
}


class Rig:
    """Servers that can be reset to their first contents, and catalogs on them."""

    def __init__(self, url, nodes, stack):
        self._url = url
        self._nodes = nodes
        self._stack = stack
        self.watching = self.open()
        self.watching.add(RECORDS, now=NOW)
        self.watching.create_session(new_session("over", "box", now=NOW - 60, ttl=1.0))
        self._first = [{key: node.dump(key) for key in node.scan_iter("*")} for node in nodes]

    def open(self):
        """Return a catalog."""
        link = open_link(self._url, "redis", max_connections=CONNECTIONS, max_retries=1)
        return self._stack.enter_context(contextlib.closing(RedisCatalog(link, "box", DAY)))

    def reset(self):
        """Reset the servers."""
        for node, values in zip(self._nodes, self._first, strict=True):
            with node.pipeline(transaction=False) as pipeline:
                pipeline.flushdb()
                for key, value in values.items():
                    pipeline.restore(key, 0, value)
                pipeline.execute()

    def connections(self):
        """Return how many clients the servers have."""
        return sum(node.info("clients")["connected_clients"] for node in self._nodes)

    def state(self):
        """Return everything that is stored, as a new catalog sees it."""
        catalog = self.watching
        return {
            "records": catalog.get(EVERY_ID),
            "pages": [page(catalog, session_id) for session_id in ("alice", "new")],
            "sessions": [catalog.get_session(session_id, NOW) for session_id in ("alice", "new", "over")],
            "stats": catalog.stats(NOW),
        }


def open_rig(request, kind):
    """Return a rig on one server or a Cluster."""
    stack = request.getfixturevalue("stack")
    url = request.getfixturevalue(f"{kind}_url")
    servers = request.getfixturevalue("redis_server" if kind == "redis" else kind)
    nodes = [stack.enter_context(node.client()) for node in getattr(servers, "nodes", [servers])]
    return Rig(url, nodes, stack)


@pytest.fixture
def stack():
    """Return an exit stack for the test's resources."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def rig(request):
    """Return a rig on one server."""
    return open_rig(request, "redis")


def assert_used(catalog, place):
    """Assert that a catalog works in this thread, and in as many others at once as it has connections."""
    assert catalog.get_session("alice", NOW + 9 * DAY) is None, place
    answers = []
    together = threading.Barrier(CONNECTIONS)

    def work(number):
        together.wait()
        one = record(90 + number, session_id="bob")
        catalog.add([one], now=NOW)
        answers.extend(catalog.get([one.artifact_id]))

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(one.artifact_id for one in answers) == [
        record(90 + number, session_id="bob").artifact_id for number in range(CONNECTIONS)
    ], place


@pytest.mark.parametrize(
    ("method", "kind"),
    [*((method, Interrupt) for method in METHODS), *((method, TimeLimit) for method in ("add", "get", "remove"))],
)
def test_interrupted_at_every_line(rig, method, kind):
    """A call interrupted at any line is lost or done, and the catalog works in all threads."""
    before = rig.state()
    METHODS[method](rig.open())
    allowed = [before, rig.state()]
    catalog = rig.open()

    def call():
        rig.reset()
        METHODS[method](catalog)

    for place in interrupted(call, kind=kind):
        assert rig.state() in allowed, place
        assert_used(catalog, place)
    gc.collect()


@pytest.mark.parametrize("method", ["get", "add", "remove", "page"])
def test_first_call_interrupted_at_every_line(rig, method):
    """A catalog works after its first call is interrupted while it connects, and no connection leaks."""
    catalogs = [rig.open() for _ in range(800)]
    called = iter(catalogs)
    clients = rig.connections()
    for number, place in enumerate(interrupted(lambda: METHODS[method](next(called)))):
        catalogs[number].get(EVERY_ID)
        catalogs[number].close()
        assert rig.connections() == clients, place


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("kind", "package"), [("redis", redis), ("redis_cluster", redis._parsers)])
def test_interrupted_in_the_driver(request, kind, package):
    """After an exception in the driver's code no call gets the response to an earlier one."""
    rig = open_rig(request, kind)
    catalog = rig.open()
    asked = iter(RECORDS * 500)
    for place in interrupted(lambda: catalog.get([next(asked).artifact_id]), package):
        one = next(asked)
        assert catalog.get([one.artifact_id]) == [one], place
        assert catalog.get_session("alice", NOW) is not None, place
    gc.collect()  # what the driver left open is closed here


def test_removal_interrupted_at_every_line(rig):
    """When the removal of a session is interrupted, the next call returns the removed records."""
    catalog = rig.open()

    def call():
        rig.reset()
        catalog._removals.clear()
        catalog.remove_session("alice", NOW, 3)

    lost = []
    for place in interrupted(call):
        removed = []
        while (portion := catalog.remove_session("alice", NOW, 3)) is not None:
            removed += portion
        if sorted(one.artifact_id for one in removed) != EVERY_ID[:5]:
            lost.append(place)
    assert len(lost) <= 1  # the last line: it had returned, and the caller was interrupted


def test_many_interrupts_take_no_connection(rig):
    """After any number of interrupts all connections can still be used, and no more."""
    catalog = rig.open()
    catalog.get(EVERY_ID)
    clients = rig.connections()
    for _ in range(5):
        kept = list(interrupted(lambda: catalog.get(EVERY_ID)))
        assert kept
    assert_used(catalog, "after all")
    assert rig.connections() <= clients - 1 + CONNECTIONS


def test_interrupted_add_to_a_cluster(request):
    """An interrupted add to sessions on several nodes leaves all of its records or none."""
    rig = open_rig(request, "redis_cluster")
    catalog = rig.open()
    many = [record(number, session_id=f"s{number}") for number in range(4)]
    names = [one.artifact_id for one in many]

    def call():
        rig.reset()
        catalog.add(many, now=NOW)

    for place in interrupted(call):
        assert len({one is None for one in rig.watching.get(names)}) == 1, place


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_child_after_interrupts(rig):
    """A child forked after interrupted calls can use all its connections."""
    catalog = rig.open()
    for _ in interrupted(lambda: catalog.get(EVERY_ID)):
        pass
    child = os.fork()
    if not child:
        try:
            assert_used(catalog, "in the child")
        except BaseException:  # noqa: BLE001 - a child must not go on with the tests
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert_used(catalog, "in the parent")
