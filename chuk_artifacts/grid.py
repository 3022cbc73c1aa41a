"""The grid layout: pure functions on ids and keys.

A key is ``grid/{sandbox}/{session}/{artifact}``. Each later content of an artifact has the key ``…~{number}`` with a
random number, which no other writer can have; a presigned upload goes to ``…~upload``. (Earlier versions of this
library counted: ``…~2`` is the second content.) Facts about a session are at ``grid/{sandbox}/{session}/~session``,
which is not the key of any artifact, so that nothing that reads or writes artifacts reaches it. The identities of
catalogs are outside the grid: see :func:`identity_prefix`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re

import attrs

from chuk_artifacts.errors import GridError, shown
from chuk_artifacts.fields import Fields

ROOT = "grid"
IDENTITY = "identity"
OF_USER = "user:"
"""What the ids of users' own sessions begin with."""
_LEVELS = 4  # of a key
_ID_DIGITS = 32
_FACTS = "~session"  # no name of an artifact begins with a tilde
_MAX_ID_BYTES = 255
_LONGEST_KEY = 1024  # three ids, and the parts around them
_KEPT = 512  # characters of up to 4 bytes; a cache keeps thousands of strings
_REVISIONS = 10**18
_TAG_DIGITS = 8
_FORBIDDEN = r"[/\\\x00-\x1f\x7f-\x9f]"
_ENCODED_PART = r"[%/\\\x00-\x1f\x7f-\x9f]"
_ARTIFACT_ID = re.compile(r"[0-9a-f]{32}").fullmatch
_LATER = re.compile(r"~[1-9][0-9]{0,17}").fullmatch
_LAST_PART = r"(?P<artifact>[^~]+)(~((?P<revision>[1-9][0-9]{0,17})|(?P<upload>upload)))?"


@attrs.frozen(eq=False, kw_only=True, slots=False)
class GridKey(Fields):
    """The parts of a grid key.

    Attributes:
        sandbox_id: the first level under ``grid/``.
        session_id: the second level.
        artifact_id: the third level.
        revision: 1 for the first content, or the number after ``~``; 0 for the key of an upload.

    Example:
        >>> dict(GridKey(sandbox_id="demo", session_id="user_alice", artifact_id="0123"))
        {'sandbox_id': 'demo', 'session_id': 'user_alice', 'artifact_id': '0123', 'revision': 1}

    """

    sandbox_id: str
    session_id: str
    artifact_id: str
    revision: int = 1


def check_part(kind: str, value: object) -> str:
    """Return *value*, one level of a key, or raise :class:`GridError`; *kind* names it in the message.

    The result is a plain str, because a subclass may override any method.
    """
    if type(value) is str:
        return _checked(kind, value)
    if not isinstance(value, str):
        raise GridError(f"{kind} must be a str, not {type(value).__name__}")
    return _checked(kind, str.__str__(value))


@functools.lru_cache(maxsize=4096)
def _checked(kind: str, value: str) -> str:
    if value in {"", ".", ".."}:
        raise GridError(f"{kind} must not be {shown(value)}")
    if re.search(_FORBIDDEN, value):
        raise GridError(f"{kind} must not hold '/', a backslash or a control character: {shown(value)}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise GridError(f"{kind} is not valid Unicode: {shown(value)}") from None
    if size > _MAX_ID_BYTES:
        raise GridError(f"{kind} is longer than {_MAX_ID_BYTES} bytes of UTF-8: {size}")
    return value


def check_session_id(session_id: object) -> str:
    """Return *session_id*, or raise :class:`GridError` if it is invalid."""
    return check_part("session_id", session_id)


def check_sandbox_id(sandbox_id: object) -> str:
    """Return *sandbox_id*, or raise :class:`GridError` if it is invalid."""
    return check_part("sandbox_id", sandbox_id)


def canonical_prefix(sandbox_id: str, session_id: str) -> str:
    """Return the prefix of all keys of a session, with a trailing slash.

    Args:
        sandbox_id: the namespace.
        session_id: the session in it.

    Returns:
        ``grid/{sandbox_id}/{session_id}/``

    Raises:
        GridError: an id is empty, ``.`` or ``..``, longer than 255 bytes of UTF-8, or contains ``/``, a backslash
            or a control character.

    Example:
        >>> canonical_prefix("demo", "user_alice")
        'grid/demo/user_alice/'

    """
    return _prefix(check_sandbox_id(sandbox_id), check_session_id(session_id))


@functools.lru_cache(maxsize=4096)
def _prefix(sandbox_id: str, session_id: str) -> str:
    return f"{ROOT}/{sandbox_id}/{session_id}/"


def sandbox_prefix(sandbox_id: str) -> str:
    """Return the prefix of a sandbox's keys, ``grid/{sandbox_id}/``; raise :class:`GridError` for an invalid id."""
    return f"{ROOT}/{check_sandbox_id(sandbox_id)}/"


def artifact_key(sandbox_id: str, session_id: str, artifact_id: str, revision: int = 1) -> str:
    """Return the key of an artifact's bytes.

    Args:
        sandbox_id: the namespace.
        session_id: the session in it.
        artifact_id: the artifact in the session.
        revision: 1 for the first content of the artifact, another number for a later one.

    Returns:
        ``grid/{sandbox_id}/{session_id}/{artifact_id}``, followed by ``~{revision}`` for a later content.

    Raises:
        GridError: :func:`canonical_prefix` refuses an id, *artifact_id* contains ``~``, or *revision* is below 1.

    Example:
        >>> artifact_key("demo", "user_alice", "0123")
        'grid/demo/user_alice/0123'

    """
    prefix = canonical_prefix(sandbox_id, session_id)
    artifact_id = check_part("artifact_id", artifact_id)
    if "~" in artifact_id:
        raise GridError(f"artifact_id must not hold '~': {shown(artifact_id)}")
    if type(revision) is not int:
        raise GridError(f"revision must be an int, not {type(revision).__name__}")
    if revision == 1:
        return prefix + artifact_id
    if not 1 < revision < _REVISIONS:
        raise GridError(f"revision must be at least 1, and of 18 digits at most: {shown(revision)}")
    return f"{prefix}{artifact_id}~{revision}"


def later_key(sandbox_id: str, session_id: str, artifact_id: str) -> str:
    """Return a new key for a later content of an artifact, which no other writer can have.

    Its number is random, one of 8 * 10^17. Raises as :func:`artifact_key`.
    """
    number = 10**17 + int.from_bytes(os.urandom(16)) % (8 * 10**17)
    return artifact_key(sandbox_id, session_id, artifact_id, number)


def identity_prefix(sandbox_id: str) -> str:
    """Return the prefix of the keys at which catalog identities are stored, ``identity/{sandbox_id}/``."""
    return f"{IDENTITY}/{check_sandbox_id(sandbox_id)}/"


def upload_key(sandbox_id: str, session_id: str, artifact_id: str) -> str:
    """Return the key that a presigned upload writes to; raises as :func:`artifact_key`."""
    return f"{artifact_key(sandbox_id, session_id, artifact_id)}~upload"


def facts_key(sandbox_id: str, session_id: str) -> str:
    """Return the key at which facts about a session are stored; raises as :func:`canonical_prefix`."""
    return canonical_prefix(sandbox_id, session_id) + _FACTS


def session_of_facts(key: str, sandbox_id: str) -> str | None:
    """Return the session in a sandbox that has its facts at *key*, or None for any other key."""
    if not key.endswith(_FACTS):
        return None
    parts = key.split("/")
    if len(parts) != _LEVELS or parts[:2] != [ROOT, sandbox_id] or parts[3] != _FACTS:
        return None
    try:
        return check_session_id(parts[2])
    except GridError:
        return None


def facts_in(folder: str, sandbox_id: str) -> str | None:
    """Return the key of the facts of a session, given its prefix without the last slash; None for any other text."""
    session_id = _session_of(folder[:_LONGEST_KEY], sandbox_id)
    return None if session_id is None else f"{folder}/{_FACTS}"


def parse(key: str) -> GridKey | None:
    """Return the parts of *key*, or None if it is not a grid key.

    Example:
        >>> parse("grid/demo/user_alice/0123").session_id
        'user_alice'
        >>> parse("elsewhere/0123") is None
        True

    """
    try:
        return validate_grid_key(key)
    except GridError:
        return None


def belongs(key: str, sandbox_id: str, session_id: str, artifact_id: str) -> bool:
    """Return whether *key* is a grid key of that artifact, of any revision."""
    parts = parse(key)
    return parts is not None and (parts.sandbox_id, parts.session_id, parts.artifact_id) == (
        sandbox_id,
        session_id,
        artifact_id,
    )


def is_later(rest: str) -> bool:
    """Return whether *rest* is the suffix of the key of a later content."""
    return _LATER(rest) is not None


def is_content(key: str, sandbox_id: str) -> bool:
    """Return whether *key* is a key for bytes of artifacts in a sandbox. Cleanup must not delete any other key."""
    parts = parse(key)
    return parts is not None and parts.sandbox_id == sandbox_id and is_artifact_id(parts.artifact_id)


def content_at(key: str, sandbox_id: str) -> tuple[str, str] | None:
    """Return the session and the artifact of a key for bytes of an artifact in a sandbox, or None for any other key."""
    folder, _, name = key.rpartition("/")
    if not is_artifact_id(name[:_ID_DIGITS]) or (len(name) > _ID_DIGITS and not is_later(name[_ID_DIGITS:])):
        return None
    session_id = _session_of(folder[:_LONGEST_KEY], sandbox_id)
    return None if session_id is None else (session_id, name[:_ID_DIGITS])


@functools.lru_cache(maxsize=64)  # of many keys in one folder
def _session_of(folder: str, sandbox_id: str) -> str | None:
    found = session_of_facts(f"{folder}/{_FACTS}", sandbox_id)
    return found if found is not None and canonical_prefix(sandbox_id, found) == f"{folder}/" else None


def is_valid_grid_key(key: str) -> bool:
    """Return whether *key* is a grid key.

    Example:
        >>> is_valid_grid_key("grid/demo/user_alice/0123"), is_valid_grid_key("grid/demo/../0123")
        (True, False)

    """
    return parse(key) is not None


def validate_grid_key(key: str) -> GridKey:
    """Return the parts of *key*.

    Args:
        key: a key of the form ``grid/{sandbox_id}/{session_id}/{artifact_id}``.

    Returns:
        the sandbox, session, artifact and revision (0 for the key of an upload).

    Raises:
        GridError: *key* is not a str, has another number of levels, does not begin with ``grid/``, or contains an
            invalid id.

    Example:
        >>> validate_grid_key("grid/demo/user_alice/0123").artifact_id
        '0123'

    """
    if not isinstance(key, str):
        raise GridError(f"a grid key must be a str, not {type(key).__name__}")
    key = str.__str__(key)
    if len(key) > _LONGEST_KEY:
        raise GridError(f"a grid key has at most {_LONGEST_KEY} characters: {shown(key)}")
    parts = key.split("/")
    last = re.fullmatch(_LAST_PART, parts[-1])
    if len(parts) != _LEVELS or parts[0] != ROOT or last is None:
        raise GridError(f"not of the form grid/{{sandbox}}/{{session}}/{{artifact}}: {shown(key)}")
    return GridKey(
        sandbox_id=check_sandbox_id(parts[1]),
        session_id=check_session_id(parts[2]),
        artifact_id=check_part("artifact_id", last["artifact"]),
        revision=0 if last["upload"] else int(last["revision"] or 1),
    )


@functools.lru_cache(maxsize=4096)
def beginnings(sandbox_id: str, session_id: str) -> tuple[str, str]:
    """Return the prefixes of the ids and of the keys of a session's artifacts; raises as :func:`canonical_prefix`."""
    prefix = canonical_prefix(sandbox_id, session_id)
    return slot_tag(sandbox_id, session_id), prefix


def new_artifact(sandbox_id: str, session_id: str) -> tuple[str, str]:
    """Return a new artifact id, and the key of its first content; raises as :func:`canonical_prefix`.

    The id consists of 8 digits of a digest of the session and 24 random ones.
    """
    tag, prefix = beginnings(sandbox_id, session_id)
    artifact_id = tag + os.urandom(12).hex()
    return artifact_id, prefix + artifact_id


def slot_tag(sandbox_id: str, session_id: str) -> str:
    """Return the first 8 hexadecimal digits of the ids of a session's artifacts."""
    is_short = len(sandbox_id) <= _KEPT and len(session_id) <= _KEPT
    return _slot_tag_again(sandbox_id, session_id) if is_short else _slot_tag(sandbox_id, session_id)


def _slot_tag(sandbox_id: str, session_id: str) -> str:
    return hashlib.sha256(f"{sandbox_id}/{session_id}".encode()).hexdigest()[:_TAG_DIGITS]


_slot_tag_again = functools.lru_cache(maxsize=4096)(_slot_tag)


def user_session_id(user_id: str) -> str:
    """Return the id of a user's own session: ``user:`` and the user id.

    Percent signs, and characters that no session id may contain, are percent-encoded (RFC 3986 section 2.1).

    Raises:
        GridError: *user_id* is empty, or longer than 250 bytes when it is encoded.

    """
    if not user_id:
        raise GridError("user_id must not be empty")
    encoded = re.sub(_ENCODED_PART, lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), user_id)
    if len(encoded.encode()) > _MAX_ID_BYTES - len(OF_USER):
        raise GridError(f"user_id is longer than {_MAX_ID_BYTES - len(OF_USER)} bytes in the id of a session")
    return check_session_id(OF_USER + encoded)


def user_of(session_id: str) -> str | None:
    """Return the user whose own session this is, or None for any other session."""
    return _user_of(session_id) if session_id.startswith(OF_USER) else None


@functools.lru_cache(maxsize=4096)
def _user_of(session_id: str) -> str | None:
    try:
        user_id = re.sub("(%[0-9A-F]{2})+", _decoded, session_id[len(OF_USER) :])
        return user_id if user_session_id(user_id) == session_id else None
    except ValueError:  # no id that user_session_id() returns
        return None


def _decoded(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("%", "")).decode()


def artifact_id_in(sandbox_id: str, session_id: str, artifact_id: str) -> str:
    """Return the id that an artifact gets when it is migrated to another sandbox.

    The first 8 digits of an id are a digest of sandbox and session, the other 24 stay.

    Args:
        sandbox_id: the new sandbox.
        session_id: the session of the artifact, which stays.
        artifact_id: the artifact's id.

    Returns:
        32 hexadecimal digits.

    Raises:
        GridError: an id is malformed.

    Example:
        >>> artifact_id_in("new", "alice", "0a1b2c3d4e5f60718293a4b5c6d7e8f9")
        '653b7b2b4e5f60718293a4b5c6d7e8f9'

    """
    if plain_artifact_id(artifact_id) is None:
        raise GridError(f"artifact_id is not one of an artifact: {shown(artifact_id)}")
    return beginnings(sandbox_id, session_id)[0] + artifact_id[_TAG_DIGITS:]


def key_in(sandbox_id: str, session_id: str, key: str) -> str:
    """Return the key that bytes get when their artifact is migrated to another sandbox; raises :class:`GridError`."""
    parts = validate_grid_key(key)
    artifact_id = artifact_id_in(sandbox_id, session_id, parts.artifact_id)
    return canonical_prefix(sandbox_id, session_id) + artifact_id + key.rpartition("/")[2][len(parts.artifact_id) :]


def new_session_id() -> str:
    """Return a new session id."""
    return f"session-{os.urandom(16).hex()}"


def plain_artifact_id(artifact_id: object) -> str | None:
    """Return *artifact_id* as a plain str if it has the form of an id from :func:`new_artifact`, else None."""
    if type(artifact_id) is not str:
        if not isinstance(artifact_id, str):
            return None
        artifact_id = str.__str__(artifact_id)
    return artifact_id if _ARTIFACT_ID(artifact_id) is not None else None


def is_artifact_id(artifact_id: object) -> bool:
    """Return whether *artifact_id* has the form of an id from :func:`new_artifact`."""
    return plain_artifact_id(artifact_id) is not None
