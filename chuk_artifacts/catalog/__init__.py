"""Catalogs: where records and sessions live. :mod:`chuk_artifacts.catalog.contract` says what each backend does."""

from chuk_artifacts.catalog.contract import NO_USERS, Catalog, Due, FilenameTakenError, Sessions
from chuk_artifacts.catalog.query import Query
from chuk_artifacts.catalog.records import DAMAGE, batches, place
from chuk_artifacts.catalog.sessions import later, new_session, owned, prolonged
from chuk_artifacts.errors import SessionError, how_to_install
from chuk_artifacts.settings import MEMORY, POSTGRES, REDIS, Settings

__all__ = [
    "DAMAGE",
    "NO_USERS",
    "Catalog",
    "Due",
    "FilenameTakenError",
    "Query",
    "Sessions",
    "batches",
    "later",
    "new_session",
    "open_catalog",
    "owned",
    "place",
    "prolonged",
]


def open_catalog(settings: Settings) -> Catalog:
    """Return the backend that *settings* name; only this imports its module, and with it the driver."""
    if settings.session_provider == MEMORY:
        from chuk_artifacts.catalog.memory import MemoryCatalog  # noqa: PLC0415

        return MemoryCatalog(settings.session_ttl)
    if settings.session_provider == REDIS:
        from chuk_artifacts.catalog.redis import open_redis  # noqa: PLC0415

        return open_redis(settings)
    if settings.session_provider == POSTGRES:
        try:
            from chuk_artifacts.catalog.postgres import open_postgres  # noqa: PLC0415
        except ImportError as error:
            raise SessionError(
                f"session_provider 'postgres' needs the package psycopg and libpq ({error}):"
                f" {how_to_install('postgres')}"
            ) from error
        return open_postgres(settings)
    from chuk_artifacts.catalog.sqlite import SqliteCatalog  # noqa: PLC0415

    return SqliteCatalog(str(settings.sqlite_path), settings.sandbox_id, settings.session_ttl, durable=settings.fsync)
