"""The catalog in PostgreSQL when an exception arrives during a call, at any line of our code."""

from __future__ import annotations

import contextlib

import pytest
import records
from interrupts import Interrupt, TimeLimit, interrupted
from records import NOW
from servers.postgres import wait_until

from chuk_artifacts.catalog import new_session
from chuk_artifacts.settings import PostgresUrl

pytest.importorskip("psycopg", reason="no driver here: pip install '.[postgres]'")

from chuk_artifacts.catalog.postgres import PostgresCatalog, open_link

DAY = 86400.0
CONNECTIONS = 2
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chuk-artifacts'"
BUSY = f"{OPEN} AND state <> 'idle'"
IN_TRANSACTION = "SELECT 1 FROM pg_stat_activity WHERE state ~ 'transaction'"


def record(number, **fields):
    """Return a record; two filenames are shared."""
    return records.record(number, **{"filename": f"f{number % 2}", "ttl": 60.0, **fields})


RECORDS = [record(number) for number in range(5)]
NEW = [record(number, session_id=session_id) for number, session_id in ((20, "alice"), (21, "new"), (22, "new"))]
EVERY_ID = [one.artifact_id for one in (*RECORDS, *NEW)]
METHODS = {
    "add": lambda catalog: catalog.add(NEW, now=NOW),
    "add exclusive": lambda catalog: catalog.add([NEW[1]], now=NOW, exclusive=True),
    "get": lambda catalog: catalog.get(EVERY_ID),
    "replace": lambda catalog: catalog.replace(record(1, revision=2, filename="other"), expected_revision=1),
    "replace_each": lambda catalog: catalog.replace_each([(record(one, revision=2), 1) for one in (1, 2)]),
    "remove": lambda catalog: catalog.remove(EVERY_ID),
    "page": lambda catalog: catalog.page("alice", prefix="", after=None, limit=100, now=NOW),
    "due": lambda catalog: catalog.due(NOW + DAY, 2),
    "create_session": lambda catalog: catalog.create_session(new_session("new", "box", now=NOW, ttl=5.0)),
    "update_session": lambda catalog: catalog.update_session("alice", NOW, extend=5.0),
    "remove_session": lambda catalog: catalog.remove_session("alice", NOW, 100),
    "expire_sessions": lambda catalog: catalog.expire_sessions(NOW),
    "identity": lambda catalog: catalog.identity("x"),
    "check": lambda catalog: catalog.check(),
    "close": lambda catalog: catalog.close(),
}


@pytest.fixture
def open_catalog(postgres_url):
    """Return a function that opens a catalog."""
    with contextlib.ExitStack() as ending:

        def open_one():
            link = open_link(PostgresUrl(postgres_url), "chuk_artifacts", max_connections=CONNECTIONS, max_retries=1)
            return ending.enter_context(contextlib.closing(PostgresCatalog(link, "box", DAY)))

        yield open_one


def state(catalog):
    """Return everything that is stored."""
    return [
        [one and one.to_json() for one in catalog.get(EVERY_ID)],
        [catalog.get_session(session_id, NOW) for session_id in ("alice", "new", "over")],
        catalog.stats(NOW),
    ]


def reset(catalog):
    """Store the first contents again."""
    for session_id in ("alice", "new", "over"):
        catalog.remove_session(session_id, 0, 100)
    catalog.remove(EVERY_ID)
    catalog.add(RECORDS, now=NOW)
    catalog.create_session(new_session("over", "box", now=NOW - 60, ttl=1.0))


@pytest.mark.parametrize("kind", [Interrupt, TimeLimit])
@pytest.mark.parametrize("name", METHODS)
def test_interrupt_anywhere(open_catalog, postgres_server, name, kind):
    """A call that an exception ends has done all or nothing, holds no connection, and the next calls work."""
    watching, catalog = open_catalog(), open_catalog()
    method = METHODS[name]
    reset(watching)
    before = state(watching)
    method(open_catalog() if name == "close" else catalog)
    after = state(watching)
    counted = (
        "SELECT (SELECT coalesce(sum(files), 0) FROM chuk_artifacts.usage),"
        " (SELECT coalesce(sum(files), 0) FROM chuk_artifacts.artifacts)"
    )

    reset(watching)
    with postgres_server.connect() as server:
        for place in interrupted(lambda: method(catalog), kind=kind):
            wait_until(lambda: server.execute(BUSY).fetchone() == (0,))  # a closed connection's work goes on
            wait_until(
                lambda: server.execute(OPEN).fetchone()[0] <= len(catalog._link._idle) + len(watching._link._idle)
            )
            assert state(watching) in (before, after), place
            free = [turn for turn in catalog._link._turns._all if not turn.locked()]
            assert len(free) == CONNECTIONS, place
            assert len(catalog.get(EVERY_ID)) == len(EVERY_ID), place
            assert len(catalog._link._idle) <= CONNECTIONS, place
            assert server.execute(IN_TRANSACTION).fetchone() is None, place
            usage, full = server.execute(counted).fetchone()
            assert usage == full, place
            reset(watching)
