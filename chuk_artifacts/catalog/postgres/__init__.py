"""Records and sessions in PostgreSQL, shared by any number of processes and machines."""

from __future__ import annotations

from typing import Any

from psycopg import Error, conninfo

from chuk_artifacts.catalog.postgres.catalog import PostgresCatalog
from chuk_artifacts.catalog.postgres.link import Link
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.settings import PostgresUrl, Settings

__all__ = ["PostgresCatalog", "open_link", "open_postgres"]


def open_postgres(settings: Settings) -> PostgresCatalog:
    """Return the catalog in the PostgreSQL server of *settings*; it connects when it is first used.

    Raises:
        InvalidInputError: libpq does not understand the URL.

    """
    link = open_link(
        settings.postgres_url or PostgresUrl("postgresql://"),
        settings.postgres_schema,
        max_connections=settings.max_connections,
        max_retries=settings.max_retries,
    )
    return PostgresCatalog(link, settings.sandbox_id, settings.session_ttl)


def open_link(url: PostgresUrl, schema: str, *, max_connections: int, max_retries: int) -> Link:
    """Return a link to the server of a URL; raises as :func:`open_postgres`."""
    try:
        parameters: dict[str, Any] = conninfo.conninfo_to_dict(url.text)
    except Error:  # not chained: the reason may show part of a password
        raise InvalidInputError(
            "postgres_url is not understood; it must be like postgresql://user@host:5432/database?sslmode=require, and"
            " special characters in it percent-encoded"
        ) from None
    return Link(parameters, str(url), schema, max_connections=max_connections, max_retries=max_retries)
