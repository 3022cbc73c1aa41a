"""The statements that the PostgreSQL catalog sends: one a method, so that a change is atomic and one round trip.

``$schema`` stands for the quoted name of the schema, ``%(name)s`` for a value. The isolation level is *read committed*:
a statement that waits for a row sees it as the other transaction left it, and checks its conditions again. It sees all
other rows as they were when it began. Whatever depends on more than one row therefore locks one first:

- a record is added while its session is locked against removal (``FOR KEY SHARE``, which adders share);
- an exclusive add, a change that must keep a session below a limit, and the removal of a session lock the session
  alone, and look at its records and counters in the next statement.

They use nothing that CockroachDB and YugabyteDB lack: no functions of our own, no triggers, no temporary tables, and no
sequences. A batch is one statement too, with its records in a JSON array. ``COPY`` of 1,000 records takes a third less
of the server's processor time, but it can't depend on what the session is: that would cost more round trips.
"""

from __future__ import annotations

_IN_SESSION = "sandbox_id = %(sandbox_id)s AND session_id = %(session_id)s"
_IN_SANDBOX = "(sandbox_id = %(sandbox_id)s) IS TRUE"
"""The condition on the sandbox where a statement names artifacts by id; no index can serve it.

Before the first ANALYZE of a table the planner assumes that an id has many rows. With a plain condition it would search
all entries of the sandbox in ``artifacts_by_place`` for the id, and a prepared statement would keep that plan.
"""
_INFO = "s.user_id, s.created_at, s.expires_at, s.custom_metadata, s.ttl"
_PART = "ascii(right(artifact_id, 1)) %% 4"
_UNKNOWN = "'\"unknown\"'::jsonb"

FILED = (
    "artifact_id",
    "session_id",
    "sandbox_id",
    "filename",
    "mime",
    "stored_at",
    "bytes",
    "revision",
    "expires_at",
    "due",
    "files",
    "occupied",
    "record",
)
"""The columns of a record, except that which is only searched."""
_FILED = ", ".join(FILED)
_TAKEN = f"""
SELECT 1 FROM $schema.artifacts WHERE {_IN_SESSION} AND filename = ANY(%(filenames)s) AND revision > 0
AND (expires_at IS NULL OR expires_at > %(now)s)
"""
_USED = f"(SELECT coalesce(sum(bytes), 0) FROM $schema.usage WHERE {_IN_SESSION})"
_COUNT_CHANGES = """
ON CONFLICT (sandbox_id, session_id, part)
DO UPDATE SET files = u.files + excluded.files, bytes = u.bytes + excluded.bytes
"""

# How an add makes sure of its session. Each returns a row if it is as the caller knew it, and only then adds the rest.

_KEEP = f"""
SELECT 1 FROM $schema.sessions WHERE {_IN_SESSION}
AND (expires_at IS NULL OR (expires_at > %(now)s AND expires_at >= %(needed)s))
AND (ttl IS NOT DISTINCT FROM %(ttl)s OR NOT %(inherits)s) AND (user_id IS NOT NULL OR %(user_id)s::text IS NULL)
{{}}
FOR KEY SHARE
"""
_BEGIN = """
INSERT INTO $schema.sessions AS s (sandbox_id, session_id, user_id, created_at, expires_at, custom_metadata, ttl)
SELECT %(sandbox_id)s, %(session_id)s, %(user_id)s, %(created_at)s, %(expires_at)s, %(custom_metadata)s,
    %(ttl)s::double precision
{}
ON CONFLICT (sandbox_id, session_id) DO UPDATE SET user_id = excluded.user_id, created_at = excluded.created_at,
    expires_at = excluded.expires_at, custom_metadata = excluded.custom_metadata, ttl = excluded.ttl
WHERE s.expires_at <= %(now)s
RETURNING 1
"""
_PROLONG = f"""
UPDATE $schema.sessions SET user_id = %(user_id)s, expires_at = %(expires_at)s, ttl = %(ttl)s
WHERE {_IN_SESSION} AND created_at = %(created_at)s AND ttl IS NOT DISTINCT FROM %(known_ttl)s
AND user_id IS NOT DISTINCT FROM %(known_user_id)s AND expires_at IS NOT DISTINCT FROM %(known_expires_at)s
{{}}
RETURNING 1
"""
_ADD = f"""
WITH known AS ({{session}}), added AS (
    INSERT INTO $schema.artifacts ({_FILED}, meta)
    SELECT r.artifact_id, %(session_id)s, %(sandbox_id)s, r.filename, r.mime, r.stored_at, r.bytes, r.revision,
        r.expires_at, r.due, r.files, r.occupied, r.record, r.meta
    FROM known, json_to_recordset(%(rows)s) AS r(artifact_id text, filename text, mime text, stored_at text,
        bytes bigint, revision bigint, expires_at text, due text, files bigint, occupied bigint, record text,
        meta jsonb)
    {{conflict}}RETURNING artifact_id, files, occupied
), counted AS (
    INSERT INTO $schema.usage AS u (sandbox_id, session_id, part, files, bytes)
    SELECT %(sandbox_id)s, %(session_id)s, {_PART}, sum(files), sum(occupied)
    FROM added WHERE files > 0 OR occupied > 0 GROUP BY 3 ORDER BY 3
    {_COUNT_CHANGES}
)
SELECT (SELECT count(*) FROM known), {{taken}}, {{full}}, {_INFO} FROM (SELECT 1) AS one LEFT JOIN $schema.sessions AS s
ON {_IN_SESSION} AND NOT EXISTS (SELECT 1 FROM known)
"""


_FULL = f"(%(more)s::bigint > 0 AND {_USED} + %(more)s::bigint > %(most)s::bigint)"


MERGING = None
"""The kind of an add that leaves records that exist as they are, and returns the ids of the others."""


def _add(session: str, glue: str) -> dict[tuple[bool, bool] | None, str]:
    """Return the statements of an add by whether it is exclusive, and by whether the session has a limit."""
    merging = _ADD.replace("{session}", session.replace("{}", "")).replace("{full}", "false")
    merging = merging.replace("{taken}", "(SELECT string_agg(artifact_id, ',') FROM added)")
    added: dict[tuple[bool, bool] | None, str] = {
        MERGING: merging.replace("{conflict}", "ON CONFLICT (artifact_id, session_id) DO NOTHING ")
    }
    for is_exclusive in (False, True):
        for is_limited in (False, True):
            taken = f"EXISTS ({_TAKEN})" if is_exclusive else "false"
            full = _FULL if is_limited else "false"
            conditions = f"{glue} NOT {taken} AND NOT {full}" if is_exclusive or is_limited else ""
            text = _ADD.replace("{session}", session.replace("{}", conditions))
            text = text.replace("{taken}", taken).replace("{full}", full)
            added[is_exclusive, is_limited] = text.replace("{conflict}", "")
    return added


ADD_TO_SESSION = _add(_KEEP, "AND")
"""Add records to a session that need not change."""
ADD_WITH_SESSION = _add(_BEGIN, "WHERE")
"""Add records and the session, which is missing or has ended."""
ADD_AND_PROLONG = _add(_PROLONG, "AND")
"""Add records to a session, and give it another end, ttl or user."""

ROLL_BACK_UNLESS_ADDED = """
SELECT 1 / CASE WHEN count(*) = %(count)s::bigint THEN 1 ELSE 0 END FROM $schema.artifacts
WHERE artifact_id = ANY(%(artifact_ids)s)
"""
"""End a transaction whose adds to several sessions have not all happened, without a round trip to decide it."""

LOCK_SESSION = f"SELECT 1 FROM $schema.sessions WHERE {_IN_SESSION} FOR NO KEY UPDATE"
"""Wait for others that need the session alone."""

GET = f"SELECT record FROM $schema.artifacts WHERE artifact_id = %(artifact_id)s AND {_IN_SANDBOX}"

GET_MANY = f"""
SELECT artifact_id, record FROM $schema.artifacts WHERE artifact_id = ANY(%(artifact_ids)s) AND {_IN_SANDBOX}
"""

_REPLACE = f"""
WITH stored AS MATERIALIZED (
    SELECT artifact_id, files, occupied FROM $schema.artifacts
    WHERE artifact_id = %(artifact_id)s AND session_id = %(session_id)s AND {_IN_SANDBOX}
    AND revision = %(expected_revision)s::bigint
    FOR NO KEY UPDATE
), old AS (
    SELECT * FROM stored{{room}}
), changed AS (
    UPDATE $schema.artifacts AS a SET filename = %(filename)s, mime = %(mime)s, stored_at = %(stored_at)s,
        bytes = %(bytes)s::bigint,
        revision = %(revision)s::bigint, expires_at = %(expires_at)s, due = %(due)s, files = %(files)s::bigint,
        occupied = %(occupied)s::bigint, record = %(record)s, meta = %(meta)s::jsonb
    FROM old WHERE a.artifact_id = old.artifact_id AND a.session_id = %(session_id)s
), counted AS (
    INSERT INTO $schema.usage AS u (sandbox_id, session_id, part, files, bytes)
    SELECT %(sandbox_id)s, %(session_id)s, {_PART}, %(files)s::bigint - files, %(occupied)s::bigint - occupied FROM old
    WHERE files <> %(files)s::bigint OR occupied <> %(occupied)s::bigint
    {_COUNT_CHANGES}
), prolonged AS (
    UPDATE $schema.sessions AS s SET expires_at = %(expires_at)s FROM old
    WHERE s.sandbox_id = %(sandbox_id)s AND s.session_id = %(session_id)s
    AND (s.expires_at < %(expires_at)s OR (%(expires_at)s::text IS NULL AND s.expires_at IS NOT NULL))
)
SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM stored)
"""
REPLACE = _REPLACE.replace("{room}", "")
REPLACE_OLDER = REPLACE.replace("revision = %(expected_revision)s", "revision < %(revision)s")
"""Replace a record of any lower revision."""
_MORE = "(%(occupied)s::bigint - occupied)"
REPLACE_WITHIN = _REPLACE.replace("{room}", f" WHERE {_MORE} <= 0 OR {_USED} + {_MORE} <= %(most)s::bigint")
"""Replace a record unless its session would grow beyond a limit."""

_REMOVE = f"""
WITH doomed AS MATERIALIZED (
    {{doomed}}
), gone AS (
    DELETE FROM $schema.artifacts AS a USING doomed AS d
    WHERE a.artifact_id = d.artifact_id AND a.session_id = d.session_id
    RETURNING a.artifact_id, a.session_id, a.filename, a.bytes, a.revision, a.expires_at, a.record, a.files, a.occupied
), counted AS (
    UPDATE $schema.usage AS u SET files = u.files - g.files, bytes = u.bytes - g.occupied
    FROM (SELECT session_id, {_PART} AS part, sum(files)::bigint AS files, sum(occupied)::bigint AS occupied FROM gone
        GROUP BY 1, 2) AS g
    WHERE u.sandbox_id = %(sandbox_id)s AND u.session_id = g.session_id AND u.part = g.part
    AND (g.files <> 0 OR g.occupied <> 0)
)
SELECT artifact_id, session_id, filename, bytes, revision, expires_at, record FROM gone
"""
_DOOMED = f"""
SELECT artifact_id, session_id FROM $schema.artifacts
WHERE artifact_id = ANY(%(artifact_ids)s) AND {_IN_SANDBOX}
AND (%(session_id)s::text IS NULL OR session_id = %(session_id)s){{}}
ORDER BY left(artifact_id, 8), {_PART}, artifact_id FOR UPDATE
"""
"""In the order of the counters, which other changes lock one by one: two transactions rarely wait for each other."""
REMOVE = _REMOVE.replace("{doomed}", _DOOMED.replace("{}", ""))
REMOVE_EXPIRED = _REMOVE.replace(
    "{doomed}", _DOOMED.replace("{}", " AND expires_at <= %(moment)s").rstrip() + " SKIP LOCKED"
)
"""Remove expired records, except those that another cleaner is removing now."""

LOCK_LIVING_SESSION = f"""
SELECT 1 FROM $schema.sessions WHERE {_IN_SESSION} AND (expires_at IS NULL OR expires_at > %(now)s) FOR UPDATE
"""
"""Wait for all that add to the session, and let others wait."""

REMOVE_OF_SESSION = _REMOVE.replace(
    "{doomed}",
    f"""
SELECT artifact_id, session_id FROM $schema.artifacts WHERE {_IN_SESSION}
AND EXISTS (SELECT 1 FROM $schema.sessions WHERE {_IN_SESSION} AND (expires_at IS NULL OR expires_at > %(now)s))
ORDER BY filename, artifact_id LIMIT %(limit)s FOR UPDATE
""",
)

REMOVE_EMPTY_SESSION = f"""
WITH gone AS (
    DELETE FROM $schema.sessions WHERE {_IN_SESSION} AND (expires_at IS NULL OR expires_at > %(now)s)
    AND NOT EXISTS (SELECT 1 FROM $schema.artifacts WHERE {_IN_SESSION})
    RETURNING session_id
), emptied AS (
    DELETE FROM $schema.usage AS u USING gone
    WHERE u.sandbox_id = %(sandbox_id)s AND u.session_id = gone.session_id AND u.files = 0 AND u.bytes = 0
)
SELECT count(*) FROM gone
"""

_LISTED = f"""
SELECT artifact_id, record FROM $schema.artifacts WHERE {_IN_SESSION}
AND (expires_at IS NULL OR expires_at > %(now)s) AND {{}} LIMIT %(limit)s
"""


def _listed(start: str, end: str) -> str:
    return _LISTED.replace("{}", f"{start}{end} ORDER BY filename, artifact_id")


_STARTS = {False: "filename >= %(prefix)s", True: "(filename, artifact_id) > (%(filename)s, %(artifact_id)s)"}
_ENDS = {False: "", True: " AND filename < %(end)s"}
PAGES = {
    (is_behind, has_end): _listed(start, end) for is_behind, start in _STARTS.items() for has_end, end in _ENDS.items()
}
"""A page of a listing, by whether it begins behind a place, and whether it has an end."""

_MATCHES = """
(%(mime)s::text IS NULL OR left(lower(mime), length(%(mime)s)) = %(mime)s)
AND (%(stored_after)s::text IS NULL OR stored_at >= %(stored_after)s)
AND (%(stored_before)s::text IS NULL OR stored_at < %(stored_before)s)
"""
# jsonb_exists_all is the operator ?&, which some drivers take for a placeholder.
_HAS_META = f"""
(meta @> {_UNKNOWN} OR (meta @> %(meta)s::jsonb AND jsonb_exists_all(meta, %(keys)s::text[])))
"""
_LIVING = "revision > 0 AND (expires_at IS NULL OR expires_at > %(now)s)"
_SEARCHED = f"""
SELECT artifact_id, filename, CASE WHEN {_LIVING} AND {_MATCHES} AND {_HAS_META} THEN record END
FROM $schema.artifacts WHERE {_IN_SESSION} AND {{}} LIMIT %(limit)s
"""
_SEARCHED_BY_META = f"""
SELECT artifact_id, filename, record FROM $schema.artifacts
WHERE {_IN_SESSION} AND {_LIVING} AND {_MATCHES} AND {_HAS_META} AND {{}} LIMIT %(limit)s
"""


def _searches(text: str) -> dict[tuple[bool, bool], str]:
    return {
        (is_behind, has_end): text.replace("{}", f"{start}{end} ORDER BY filename, artifact_id")
        for is_behind, start in _STARTS.items()
        for has_end, end in _ENDS.items()
    }


SEARCHES = _searches(_SEARCHED)
"""The next places of a listing, with the records there that may match, so that a statement looks at so many records."""
SEARCHES_BY_META = _searches(_SEARCHED_BY_META)
"""The next records that may match, found through an index of their meta."""
HAS_SEARCH_INDEX = """
SELECT EXISTS (SELECT 1 FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS a ON a.oid = c.relam
    WHERE i.indrelid = '$schema.artifacts'::regclass AND i.indisvalid AND a.amname = 'gin')
"""

NAMED = _LISTED.replace("{}", "filename = %(filename)s ORDER BY artifact_id")

NAMED_ANY = _LISTED.replace("{}", "filename = ANY(%(filenames)s) ORDER BY filename, artifact_id")

HAS_NAMED = f"""
SELECT max(revision) FROM $schema.artifacts WHERE {_IN_SESSION} AND filename = %(filename)s
AND (expires_at IS NULL OR expires_at > %(now)s)
"""
"""The latest revision among the records with a filename; that of a pending one is 0."""

_DUE = """
SELECT artifact_id, due, record FROM $schema.artifacts WHERE sandbox_id = %(sandbox_id)s AND due <= %(now)s{}
ORDER BY due, artifact_id LIMIT %(limit)s
"""
DUE = {
    False: _DUE.replace("{}", ""),
    True: _DUE.replace("{}", " AND (due, artifact_id) > (%(due)s, %(artifact_id)s)"),
}
"""A page of the records that cleanup must look at, by whether it begins behind a place."""

CREATE_SESSION = _BEGIN.replace("{}", "").strip()
"""Add a session, unless there is a living one."""

_SESSIONS = f"""
SELECT s.session_id, {_INFO} FROM $schema.sessions AS s WHERE sandbox_id = %(sandbox_id)s{{}}
AND session_id > %(after)s AND (expires_at IS NULL OR expires_at > %(now)s) ORDER BY session_id LIMIT %(limit)s
"""
SESSIONS = {
    False: _SESSIONS.replace("{}", ""),
    True: _SESSIONS.replace("{}", " AND left(user_id, 255) = left(%(user_id)s, 255) AND user_id = %(user_id)s"),
}
"""A page of sessions, by whether they are those of a user."""

GET_SESSION = f"SELECT {_INFO} FROM $schema.sessions AS s WHERE {_IN_SESSION}"

UPDATE_SESSION = f"""
WITH changed AS (
    UPDATE $schema.sessions SET expires_at = %(expires_at)s, custom_metadata = %(custom_metadata)s, ttl = %(ttl)s
    WHERE {_IN_SESSION} AND created_at = %(created_at)s AND user_id IS NOT DISTINCT FROM %(user_id)s
    AND expires_at IS NOT DISTINCT FROM %(known_expires_at)s AND custom_metadata = %(known_custom_metadata)s
    AND ttl IS NOT DISTINCT FROM %(known_ttl)s
    RETURNING 1
)
SELECT (SELECT count(*) FROM changed), {_INFO} FROM (SELECT 1) AS one LEFT JOIN $schema.sessions AS s
ON {_IN_SESSION} AND NOT EXISTS (SELECT 1 FROM changed)
"""

SESSIONS_NAMED = f"""
SELECT s.session_id, {_INFO} FROM $schema.sessions AS s
WHERE sandbox_id = %(sandbox_id)s AND session_id = ANY(%(session_ids)s)
"""

MERGE_SESSION = f"""
UPDATE $schema.sessions SET user_id = %(user_id)s, created_at = %(created_at)s, expires_at = %(expires_at)s,
    custom_metadata = %(custom_metadata)s, ttl = %(ttl)s
WHERE {_IN_SESSION} AND created_at = %(known_created_at)s AND user_id IS NOT DISTINCT FROM %(known_user_id)s
AND expires_at IS NOT DISTINCT FROM %(known_expires_at)s AND custom_metadata = %(known_custom_metadata)s
AND ttl IS NOT DISTINCT FROM %(known_ttl)s
RETURNING 1
"""
"""Change any fact of a session if it is as the caller knows it."""

COUNT_EXPIRED_SESSIONS = (
    "SELECT count(*) FROM $schema.sessions WHERE sandbox_id = %(sandbox_id)s AND expires_at <= %(now)s"
)

EXPIRE_SESSIONS = """
WITH doomed AS MATERIALIZED (
    SELECT session_id FROM $schema.sessions WHERE sandbox_id = %(sandbox_id)s AND expires_at <= %(now)s
    ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM $schema.sessions AS s USING doomed
    WHERE s.sandbox_id = %(sandbox_id)s AND s.session_id = doomed.session_id
    RETURNING s.session_id
), emptied AS (
    DELETE FROM $schema.usage AS u USING gone
    WHERE u.sandbox_id = %(sandbox_id)s AND u.session_id = gone.session_id AND u.files = 0 AND u.bytes = 0
)
SELECT session_id FROM gone
"""

STATS = """
SELECT (SELECT count(*) FROM $schema.sessions WHERE sandbox_id = %(sandbox_id)s
    AND (expires_at IS NULL OR expires_at > %(now)s)), count(*), coalesce(sum(bytes), 0)::bigint
FROM $schema.artifacts WHERE sandbox_id = %(sandbox_id)s AND revision > 0
AND (expires_at IS NULL OR expires_at > %(now)s)
"""

USAGE = {
    False: "SELECT coalesce(sum(files), 0)::bigint, coalesce(sum(bytes), 0)::bigint FROM $schema.usage"
    " WHERE sandbox_id = %(sandbox_id)s",
    True: "SELECT coalesce(sum(files), 0)::bigint, coalesce(sum(bytes), 0)::bigint FROM $schema.usage"
    f" WHERE {_IN_SESSION}",
}
"""The usage of all sessions, or of one."""

RECOUNT = f"""
WITH stored AS (
    SELECT session_id, ({_PART})::smallint AS part, sum(files)::bigint AS files, sum(occupied)::bigint AS bytes
    FROM $schema.artifacts WHERE sandbox_id = %(sandbox_id)s GROUP BY 1, 2
), kept AS (
    SELECT session_id, part, files, bytes FROM $schema.usage WHERE sandbox_id = %(sandbox_id)s
), missing AS MATERIALIZED (
    SELECT coalesce(s.session_id, k.session_id) AS session_id, coalesce(s.part, k.part) AS part,
        coalesce(s.files, 0) - coalesce(k.files, 0) AS files, coalesce(s.bytes, 0) - coalesce(k.bytes, 0) AS bytes
    FROM stored AS s FULL JOIN kept AS k ON s.session_id = k.session_id AND s.part = k.part
)
INSERT INTO $schema.usage AS u (sandbox_id, session_id, part, files, bytes)
SELECT %(sandbox_id)s, session_id, part, files, bytes FROM missing WHERE files <> 0 OR bytes <> 0
ORDER BY session_id, part
{_COUNT_CHANGES}
"""
"""Add to each counter what it lacks. Records and counters change in one transaction, so the difference stays right
though others change both meanwhile."""

GET_IDENTITY = "SELECT identity FROM $schema.identities WHERE sandbox_id = %(sandbox_id)s"

MAKE_IDENTITY = """
WITH made AS (
    INSERT INTO $schema.identities (sandbox_id, identity) VALUES (%(sandbox_id)s, %(identity)s)
    ON CONFLICT (sandbox_id) DO NOTHING RETURNING identity
)
SELECT identity FROM made UNION ALL SELECT identity FROM $schema.identities WHERE sandbox_id = %(sandbox_id)s
"""

SAMPLE = """
SELECT artifact_id, record FROM $schema.artifacts WHERE sandbox_id = %(sandbox_id)s AND revision > 0
AND (expires_at IS NULL OR expires_at > %(now)s) LIMIT %(limit)s
"""

VERIFY = f"""
SELECT {_FILED} FROM $schema.artifacts
WHERE sandbox_id = %(sandbox_id)s
AND (session_id, filename, artifact_id) > (%(session_id)s, %(filename)s, %(artifact_id)s)
ORDER BY session_id, filename, artifact_id LIMIT %(limit)s
"""
