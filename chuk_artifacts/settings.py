"""What a store is built from: keyword over environment over default, as one frozen value.

This is the only place that reads the environment.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

import attrs

from chuk_artifacts.arguments import check_count, check_hours, check_text
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.grid import check_sandbox_id

MEMORY, FILESYSTEM, SQLITE = "memory", "filesystem", "sqlite"
_STORAGE_ALIASES = {"fs": FILESYSTEM}
_STORAGE_PROVIDERS = (MEMORY, FILESYSTEM)
_SESSION_PROVIDERS = (MEMORY, SQLITE)
_NOT_YET = {"s3", "ibm_cos", "ibm_cos_iam", "redis"}
_STORAGE_OPTIONS = {MEMORY: frozenset[str](), FILESYSTEM: frozenset({"fsync"})}
_DEFAULT_ROOT = "./artifacts"
_CATALOG_FILE = "catalog.sqlite3"
_RANDOM_SANDBOX = "memory-"
_PASSWORD = re.compile(r"(?<=://)([^/:@]*):[^/]*@")
_QUERY = re.compile(r"\?.*?(?=::|$)")


class _DefaultHours(int):
    """An int that can be told from the same number given by a user."""


DEFAULT_SESSION_TTL_HOURS = _DefaultHours(24)
"""The default of ``session_ttl_hours``, which the environment may override; a number passed in it may not."""


def default_provider_of_commands() -> str:
    """Return the storage provider of the command line: one that the next command finds again."""
    return _environment("ARTIFACT_PROVIDER") or FILESYSTEM


def public_url(url: str) -> str:
    """Return a URL, or a chain of URLs, without passwords and without query, which may hold a signature."""
    return _QUERY.sub("", _PASSWORD.sub(r"\1@", url))


@attrs.frozen(kw_only=True)
class Settings:
    """Everything a store is built from, complete and checked.

    Attributes:
        storage_provider: which backend holds the bytes.
        session_provider: which backend holds records and sessions.
        sandbox_id: the namespace of everything in the store.
        fs_root: the folder of the filesystem provider, absolute and without links; None for others.
        sqlite_path: the database file of the sqlite session provider; None for others.
        session_ttl: how long a session lives by default, in seconds; None for ever.
        storage_options: more, for the backend of the bytes.

    """

    storage_provider: str
    session_provider: str
    sandbox_id: str
    fs_root: str | None
    sqlite_path: str | None
    session_ttl: float | None
    storage_options: Mapping[str, Any] = attrs.field(repr=False)

    def agrees(self, other: Settings) -> bool:
        """Say whether both mean the same store; the random names of two sandboxes in memory do not tell them apart."""
        if self.sandbox_id.startswith(_RANDOM_SANDBOX) and other.sandbox_id.startswith(_RANDOM_SANDBOX):
            return self == attrs.evolve(other, sandbox_id=self.sandbox_id)
        return self == other

    @property
    def fsync(self) -> bool:
        """Whether a write is to be on the disk before it returns."""
        return bool(self.storage_options.get("fsync", False))


def resolve(
    *,
    storage_provider: str | None,
    session_provider: str | None,
    sandbox_id: str | None,
    fs_root: str | os.PathLike[str] | None,
    session_ttl_hours: float | None,
    max_retries: int,
    max_connections: int,
    storage_options: Mapping[str, Any] | None,
    now: float,
) -> Settings:
    """Return complete settings from the arguments of ``ArtifactStore``, the environment and the defaults.

    Raises:
        InvalidInputError: a provider is not known, or a value is none that it can be.

    """
    check_count("max_retries", max_retries, 0)
    check_count("max_connections", max_connections, 1)
    storage = _storage_provider(storage_provider or _environment("ARTIFACT_PROVIDER") or MEMORY)
    default_sessions = SQLITE if storage == FILESYSTEM else MEMORY
    sessions = _session_provider(session_provider or _environment("SESSION_PROVIDER") or default_sessions)
    root = _folder(fs_root or _environment("ARTIFACT_FS_ROOT") or _DEFAULT_ROOT)
    sandbox = sandbox_id if sandbox_id is not None else _environment("ARTIFACT_SANDBOX_ID")
    return Settings(
        storage_provider=storage,
        session_provider=sessions,
        sandbox_id=_derived_sandbox(storage, root) if sandbox is None else check_sandbox_id(sandbox),
        fs_root=root if storage == FILESYSTEM else None,
        sqlite_path=_sqlite_path(root) if sessions == SQLITE else None,
        session_ttl=_session_ttl(session_ttl_hours, now),
        storage_options=_options(storage, storage_options),
    )


def _environment(name: str) -> str | None:
    """Return a variable of the environment; an empty one is as good as none."""
    return os.environ.get(name) or None


def _storage_provider(name: Any) -> str:
    provider = _STORAGE_ALIASES.get(check_text("storage_provider", name), name)
    if provider in _STORAGE_PROVIDERS:
        return str(provider)
    raise _unknown("storage_provider", name, (*_STORAGE_PROVIDERS, *_STORAGE_ALIASES))


def _session_provider(name: Any) -> str:
    if check_text("session_provider", name) in _SESSION_PROVIDERS:
        return str(name)
    raise _unknown("session_provider", name, _SESSION_PROVIDERS)


def _unknown(argument: str, name: str, known: tuple[str, ...]) -> InvalidInputError:
    scheme, is_url, _ = name.partition("://")
    what = "is not there yet" if name in _NOT_YET or is_url else "is not known"
    shown = scheme + is_url  # the rest of a URL may hold a password
    return InvalidInputError(f"{argument} {shown!r} {what}; known are {', '.join(map(repr, known))}")


def _folder(path: Any) -> str:
    try:
        name = os.fspath(path)
    except TypeError:
        raise InvalidInputError(f"fs_root must be a path, not {type(path).__name__}") from None
    if not isinstance(name, str) or "\0" in name:
        raise InvalidInputError("fs_root must be a path of text without NUL")
    return os.path.realpath(os.path.expanduser(name))


def _sqlite_path(root: str) -> str:
    configured = _environment("SESSION_SQLITE_PATH")
    return os.path.realpath(os.path.expanduser(configured) if configured else os.path.join(root, _CATALOG_FILE))


def _derived_sandbox(provider: str, root: str) -> str:
    """Return the same name for the same root folder, and a random one for memory, which nobody shares."""
    if provider == FILESYSTEM:
        return f"fs-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
    return f"{_RANDOM_SANDBOX}{os.urandom(8).hex()}"


def _session_ttl(hours: Any, now: float) -> float | None:
    configured = _environment("ARTIFACT_SESSION_TTL_HOURS")
    if hours is DEFAULT_SESSION_TTL_HOURS and configured is not None:
        try:
            hours = float(configured)
        except ValueError:
            raise InvalidInputError(f"ARTIFACT_SESSION_TTL_HOURS must be a number: {configured!r}") from None
    return check_hours("session_ttl_hours", hours, now)


def _options(provider: str, options: Any) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise InvalidInputError(f"storage_options must be a mapping, not {type(options).__name__}")
    known = _STORAGE_OPTIONS[provider]
    unknown = sorted(str(name) for name in options if name not in known)
    if unknown:
        listed = ", ".join(map(repr, sorted(known))) or "none"
        raise InvalidInputError(f"storage_options of {provider!r} has no {unknown[0]!r}; known: {listed}")
    return dict(options)
