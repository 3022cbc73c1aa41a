"""DuckDB queries artifacts by URL."""

from __future__ import annotations

import pytest

duckdb = pytest.importorskip("duckdb")


@pytest.fixture
def connection(fs):
    """Return a connection that knows the filesystem."""
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        yield connection


def test_queries(connection, fs):
    """Files are written and read by their URLs, one by one and by a pattern."""
    for number in (1, 2):
        connection.sql(f"COPY (SELECT {number} AS n, * FROM range(10) t(i)) TO 'artifact://alice/t{number}.parquet'")
    connection.sql("COPY (SELECT * FROM range(10) t(i)) TO 'artifact://alice/t.csv'")
    assert connection.sql("SELECT sum(i) FROM 'artifact://alice/t1.parquet'").fetchall() == [(45,)]
    assert connection.sql("SELECT sum(n), sum(i) FROM 'artifact://alice/*.parquet'").fetchall() == [(30, 90)]
    assert connection.sql("SELECT max(i) FROM 'artifact://alice/t.csv'").fetchall() == [(9,)]
    assert fs.find("alice") == ["alice/t.csv", "alice/t1.parquet", "alice/t2.parquet"]


def test_partitions(connection, fs):
    """A partitioned table goes into folders, and comes back with them."""
    connection.sql(
        "COPY (SELECT i, i % 2 AS p FROM range(10) t(i)) TO 'artifact://alice/parts'"
        " (FORMAT parquet, PARTITION_BY p, OVERWRITE_OR_IGNORE)"
    )
    assert len(fs.find("alice/parts")) == 2
    rows = connection.sql(
        "SELECT p, sum(i)::INT FROM read_parquet('artifact://alice/parts/*/*.parquet', hive_partitioning = true)"
        " GROUP BY p ORDER BY p"
    )
    assert rows.fetchall() == [(0, 20), (1, 25)]


@pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")  # two of the three files
@pytest.mark.parametrize("tables", [[], ["numbers"]])
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_export(connection, fs, form, tables):
    """A database is exported with all its files, and imported again."""
    for name in tables:
        connection.sql(f"CREATE TABLE {name} AS SELECT * FROM range(10) t(i)")
    for _ in range(2):
        connection.sql(f"EXPORT DATABASE 'artifact://alice/export' (FORMAT {form})")
    data = [f"alice/export/{name}.{form}" for name in tables]
    assert fs.find("alice") == sorted(["alice/export/load.sql", "alice/export/schema.sql", *data])
    with duckdb.connect() as other:
        other.register_filesystem(fs)
        other.sql("IMPORT DATABASE 'artifact://alice/export'")
        for name in tables:
            assert other.sql(f"SELECT sum(i)::INT FROM {name}").fetchall() == [(45,)]
