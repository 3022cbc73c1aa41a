"""The tables in PostgreSQL: created, upgraded, and refused if a later version of this library made them.

``1.sql`` creates the first version of the schema; each later file upgrades the version before it.
"""

from __future__ import annotations

from importlib.resources import files

import psycopg
from psycopg import errors, sql

from chuk_artifacts.catalog.postgres.client import Row
from chuk_artifacts.catalog.postgres.errors import message_of
from chuk_artifacts.errors import SessionError

VERSION = 1
"""The version of the schema that this library works with."""

TABLES = ("artifacts", "identities", "sessions", "usage", "version")
"""The tables of the schema."""

_FOLDER = files(__name__)  # the wheel may be a zip file: no paths
# Two integers are a key space of their own: no other program's lock of one bigint is in it.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('chuk_artifacts'), hashtext(%s))"


def quoted(name: str) -> str:
    """Return the name of a schema as SQL holds it."""
    return sql.Identifier(name).as_string()


def prepare(connection: psycopg.Connection[Row], schema: str, subject: str) -> None:
    """Create or upgrade the tables if they need it.

    Args:
        connection: a connection in autocommit mode.
        schema: the quoted name of the schema.
        subject: the start of an error's message.

    Raises:
        SessionError: a later version of this library made the tables, or this user may not create them.

    """
    if _version(connection, schema, subject) == VERSION:
        return
    try:
        with connection.transaction():
            connection.execute(_LOCK, (schema,))
            _upgrade(connection, schema, subject)
    except errors.InsufficientPrivilege as error:
        raise SessionError(
            f"{subject}: this user may not make the schema {schema} and its tables: let an owner use the store once,"
            f" or grant CREATE on the database ({message_of(error)})"
        ) from error


def _version(connection: psycopg.Connection[Row], schema: str, subject: str) -> int:
    """Return the version of the tables; 0 without any."""
    table = connection.execute("SELECT to_regclass(%s)::text", (f"{schema}.version",)).fetchone()
    return 0 if table is None or table[0] is None else _known_version(connection, schema, subject)


def _known_version(connection: psycopg.Connection[Row], schema: str, subject: str) -> int:
    row = connection.execute(f"SELECT max(version) FROM {schema}.version".encode()).fetchone()
    version = row[0] if row is not None and isinstance(row[0], int) else 0
    if version > VERSION:
        raise SessionError(
            f"{subject}: the schema {schema} has version {version}; this chuk-artifacts knows {VERSION}:"
            " install a newer one"
        )
    return version


def _upgrade(connection: psycopg.Connection[Row], schema: str, subject: str) -> None:
    # CREATE SCHEMA needs a privilege even if the schema exists.
    if connection.execute("SELECT to_regnamespace(%s)::text", (schema,)).fetchone() == (None,):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
    # Not to_regclass again: it may return what the session has cached before it had the lock.
    connection.execute(f"CREATE TABLE IF NOT EXISTS {schema}.version (version integer PRIMARY KEY)".encode())
    for number in range(_known_version(connection, schema, subject) + 1, VERSION + 1):
        text = _FOLDER.joinpath(f"{number}.sql").read_text("utf-8")
        connection.execute(text.replace("$schema", schema).encode())
        connection.execute(f"INSERT INTO {schema}.version VALUES ({number})".encode())
