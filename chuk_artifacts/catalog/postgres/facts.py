"""What a PostgreSQL server reports about itself, and which of its settings may lose records."""

from __future__ import annotations

from chuk_artifacts.catalog.postgres.link import Link
from chuk_artifacts.catalog.postgres.schema import TABLES, VERSION
from chuk_artifacts.catalog.postgres.statements import HAS_SEARCH_INDEX
from chuk_artifacts.errors import SessionError

_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
_PROBE = 8192  # bytes that a check writes
_FACTS = """
SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'),
    current_setting('full_page_writes'), pg_is_in_recovery(), current_user,
    ({has_search_index}),
    (SELECT string_agg(privilege || ' on ' || name, ', ' ORDER BY name, privilege)
        FROM unnest(%(tables)s::text[]) AS name, unnest(%(privileges)s::text[]) AS privilege
        WHERE name <> 'version' AND NOT has_table_privilege('$schema.' || name, privilege))
""".replace("{has_search_index}", HAS_SEARCH_INDEX)
_WRITE = """
INSERT INTO $schema.sessions (sandbox_id, session_id, created_at, custom_metadata)
VALUES (%(sandbox_id)s, %(session_id)s, '', %(text)s)
ON CONFLICT (sandbox_id, session_id) DO UPDATE SET custom_metadata = excluded.custom_metadata
"""
_ERASE = "DELETE FROM $schema.sessions WHERE sandbox_id = %(sandbox_id)s AND session_id = %(session_id)s"


def server_facts(link: Link, sandbox_id: str) -> dict[str, str]:
    """Write a few KiB and remove them; return facts, and in ``warning`` which settings may lose records.

    Raises:
        SessionError: the user lacks a privilege, or the server takes no writes.

    """
    values = {"tables": list(TABLES), "privileges": list(_PRIVILEGES)}
    ((version, fsync, commit, pages, is_standby, user, is_indexed, missing),) = link.look(_FACTS, values)
    if missing:
        raise SessionError(f"the PostgreSQL user {user!r} lacks {missing}: grant it on the tables of the schema")
    if is_standby:
        raise SessionError("the PostgreSQL server is a standby: add target_session_attrs=read-write to the URL")
    probe = {"sandbox_id": sandbox_id, "session_id": "\t", "text": "x" * _PROBE}  # no session has a control character
    link.change_all([(_WRITE, probe), (_ERASE, probe)])
    warnings = []
    if fsync == "off" or pages == "off":
        warnings.append("a power cut may damage all records in PostgreSQL: set fsync and full_page_writes to on")
    if commit == "off":
        warnings.append("PostgreSQL may lose the last records in a crash: set synchronous_commit to on")
    return {
        "server": f"postgresql {version}",
        "schema": f"version {VERSION}",
        "synchronous_commit": commit,
        "search_index": "gin" if is_indexed else "none",
        **({"warning": "; ".join(warnings)} if warnings else {}),
    }
