"""Searches in PostgreSQL: with an index of ``meta`` and without, they find the same."""

from __future__ import annotations

import json
import random

import pytest

from chuk_artifacts.catalog import Query, new_session

pytest.importorskip("psycopg", reason="no driver here: pip install '.[postgres]'")

from records import NOW, record

from chuk_artifacts.catalog.postgres import PostgresCatalog, open_link, statements
from chuk_artifacts.catalog.postgres.searching import search_values
from chuk_artifacts.settings import PostgresUrl

VALUES = ["a", "b", 1, 1.0, 0.1, 2**60, 1e300, True, None, [1], {"x": 1}, "\0", -0.0]


@pytest.fixture
def open_catalog(postgres_url):
    """Return a function that opens a catalog."""
    opened = []

    def open_one():
        link = open_link(PostgresUrl(postgres_url), "chuk_artifacts", max_connections=4, max_retries=1)
        opened.append(PostgresCatalog(link, "box", None))
        return opened[-1]

    yield open_one
    for catalog in opened:
        catalog.close()


@pytest.fixture
def _index(postgres_server, open_catalog):
    """Make an index of meta for a test."""
    open_catalog().create_session(new_session("any", "box", now=NOW, ttl=None))
    with postgres_server.connect() as connection:
        connection.execute("CREATE INDEX searched ON chuk_artifacts.artifacts USING gin (meta jsonb_path_ops)")
        yield
        connection.execute("DROP INDEX chuk_artifacts.searched")


def everything(catalog, query, limit=7):
    """Return the ids that a search finds, page by page."""
    found, after = [], None
    while True:
        page = catalog.search(["alice", "bob", "none"], query, after=after, limit=limit, now=NOW)
        found += [one.artifact_id for one in page.records]
        after = page.after
        if after is None:
            return found


@pytest.mark.usefixtures("_index")
def test_an_index_changes_no_result(open_catalog):
    """With the index each search finds exactly what the conditions say, in order, in pages of any length."""
    catalog = open_catalog()
    chance = random.Random(5)
    records = [
        record(
            number,
            chance.choice(["alice", "bob"]),
            filename=f"{chance.choice('ab')}/{number}",
            mime=chance.choice(["image/png", "text/plain"]),
            meta={key: chance.choice(VALUES) for key in "kl" if chance.random() < 0.8},
        )
        for number in range(300)
    ]
    catalog.add(records, now=NOW)
    for value in VALUES:
        for more in ({}, {"prefix": "a/"}, {"mime": "image/*"}):
            query = Query(meta={"k": value}, **more)
            expected = [one for one in records if query.matches(one, NOW)]
            expected.sort(key=lambda one: (one.session_id, one.filename, one.artifact_id))
            assert everything(catalog, query) == [one.artifact_id for one in expected], (value, more)
    assert catalog._is_indexed


@pytest.mark.usefixtures("_index")
def test_the_index_is_used(open_catalog, postgres_server):
    """A search for a rare value in a large session goes through the index."""
    catalog = open_catalog()
    for start in range(0, 20_000, 2000):
        catalog.add([record(number, meta={"k": number}) for number in range(start, start + 2000)], now=NOW)
    values = {**search_values(Query(meta={"k": 77}), NOW), "sandbox_id": "box", "session_id": "alice", "limit": 10}
    text = statements.SEARCHES_BY_META[False, False].replace("$schema", "chuk_artifacts")
    with postgres_server.connect() as connection:
        connection.execute("ANALYZE chuk_artifacts.artifacts")
        plan = connection.execute(f"EXPLAIN {text}".encode(), values).fetchall()
    assert "searched" in json.dumps(plan)
    assert len(everything(catalog, Query(meta={"k": 77}))) == 1
