-- Texts are compared byte by byte (collation "C"): listings are in the order of code points on every server, and an
-- upgrade of the operating system's collations can't corrupt an index. Times are ISO 8601 texts in UTC of one length,
-- which sort as text in the order of time. "$schema" is the quoted name of the schema.

CREATE TABLE $schema.sessions (
    sandbox_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C",
    created_at text COLLATE "C" NOT NULL,
    expires_at text COLLATE "C",
    custom_metadata text COLLATE "C" NOT NULL,
    ttl double precision,
    PRIMARY KEY (sandbox_id, session_id)
);

CREATE INDEX sessions_by_expiry ON $schema.sessions (sandbox_id, expires_at) WHERE expires_at IS NOT NULL;

-- An index entry has at most some 2,700 bytes, and a user id may be longer.
CREATE INDEX sessions_by_user ON $schema.sessions (sandbox_id, left(user_id, 255), session_id)
    WHERE user_id IS NOT NULL;

-- "record" is the record as the library wrote it; the other columns repeat what statements need of it. "meta" is a
-- string where jsonb can't hold it (it has no U+0000). "files" and "occupied" are what the record adds to the usage of its
-- session. The session is part of the key so that the table can be distributed by it.
CREATE TABLE $schema.artifacts (
    artifact_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    sandbox_id text COLLATE "C" NOT NULL,
    filename text COLLATE "C" NOT NULL,
    mime text COLLATE "C" NOT NULL,
    stored_at text COLLATE "C" NOT NULL,
    bytes bigint NOT NULL,
    revision bigint NOT NULL,
    expires_at text COLLATE "C",
    due text COLLATE "C",
    files bigint NOT NULL,
    occupied bigint NOT NULL,
    record text COLLATE "C" NOT NULL,
    meta jsonb NOT NULL,
    PRIMARY KEY (artifact_id, session_id)
) WITH (fillfactor = 90);

CREATE INDEX artifacts_by_place ON $schema.artifacts (sandbox_id, session_id, filename, artifact_id);

CREATE INDEX artifacts_by_due ON $schema.artifacts (sandbox_id, due, artifact_id) WHERE due IS NOT NULL;

-- A session's usage is the sum of its parts: writers of one session would wait for each other at a single row. The
-- artifact decides the part, so that each part returns to zero.
CREATE TABLE $schema.usage (
    sandbox_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    part smallint NOT NULL,
    files bigint NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (sandbox_id, session_id, part)
) WITH (fillfactor = 50);

CREATE TABLE $schema.identities (
    sandbox_id text COLLATE "C" PRIMARY KEY,
    identity text COLLATE "C" NOT NULL
);
