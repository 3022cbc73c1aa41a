"""Proof that a catalog describes a storage: both hold the same random identity, or no orphan is removed.

A missing record proves nothing: the catalog may be empty, new, or the wrong one. So each persistent catalog has an
identity, and writes it to the storage under ``identity/{sandbox}/{identity}`` before its first artifact. Bytes without
a record are orphans only if the storage holds that identity and no other. A second identity means that another catalog
stored here too; ``unknown`` means that the storage already had bytes that the first catalog did not know.
"""

from __future__ import annotations

import os

from chuk_artifacts import grid
from chuk_artifacts.core import Core
from chuk_artifacts.errors import SessionError

_UNKNOWN = "unknown"
_SAMPLE = 20
_ANOTHER = (
    "set SESSION_PROVIDER, SESSION_SQLITE_PATH, SESSION_REDIS_URL or SESSION_POSTGRES_URL to the catalog that stored"
    " these files; if that is lost, run chuk-artifacts reindex"
)


def establish(core: Core) -> None:
    """Make catalog and storage hold the same identity, before the first artifact is stored.

    This costs one request to each, once per process: see ``Core.identified``.

    Raises:
        ProviderError: the storage fails.
        SessionError: the catalog fails.

    """
    identity = core.catalog.identity()
    if identity is None or core.storage.stat(_key(core, identity)) is None:
        _introduce(core, identity or core.catalog.identity(os.urandom(16).hex()))
    core.identified = True


def is_adopted(core: Core) -> bool:
    """Return whether the storage holds the identity of this catalog, and no other: the catalog has never been lost.

    Raises:
        ProviderError: the storage fails.
        SessionError: the catalog fails.

    """
    identity = core.catalog.identity() if core.catalog.persistent else None
    return identity is not None and _known(core) == {identity}


def adopt(core: Core) -> bool:
    """Make the storage hold the identity of this catalog, and no other; return False if the catalog has none.

    The caller has made sure that the catalog describes all bytes. Raises as :func:`is_adopted`.
    """
    identity = core.catalog.identity(os.urandom(16).hex()) if core.catalog.persistent else None
    if identity is None or not core.storage.persistent:
        return False
    _leave(core, identity)
    others = sorted(_known(core) - {identity})
    if others:
        core.storage.delete([_key(core, other) for other in others])
    core.identified = True
    return True


def prove(core: Core) -> None:
    """Prove that bytes without a record are orphans.

    Raises:
        ProviderError: the storage fails.
        SessionError: there is no proof, or the catalog fails.

    """
    if not core.storage.persistent:  # this process stored all its bytes, with this catalog
        return
    if not core.catalog.persistent:
        raise _refused("records in memory can't show which files are garbage", _ANOTHER)
    identity, known = core.catalog.identity(), _known(core)
    if known == {identity}:
        return
    if not known and not _has_bytes(core):
        return
    if known - {identity}:
        raise _refused(*_foreign(core, identity, known))
    if identity is None and _knows_bytes(core):  # both were written by an earlier version without identities
        establish(core)
        return
    side = "catalog and storage have" if identity is None else "the storage has"
    raise _refused(f"{side} no identity, so nothing shows that this catalog describes these files", _ANOTHER)


def mismatch(core: Core) -> str | None:
    """Return why catalog and storage do not belong together, and what to do; None: nothing shows that.

    Raises:
        ProviderError: the storage fails.
        SessionError: the catalog fails.

    """
    if not (core.storage.persistent and core.catalog.persistent):
        return None
    identity, known = core.catalog.identity(), _known(core)
    return "; ".join(_foreign(core, identity, known)) if known - {identity} else None


def doubt(core: Core) -> None:
    """Note in the storage that the catalog may not know all its bytes, before records from elsewhere are added.

    After that, only a catalog that was complete before proves anything: records alone would make an old export look
    like one. :func:`prove` refuses until a complete reindex.

    Raises:
        ProviderError: the storage fails.
        SessionError: the catalog fails.

    """
    if not (core.storage.persistent and core.catalog.persistent) or _known(core) or not _has_bytes(core):
        return
    _leave(core, _UNKNOWN)


def _introduce(core: Core, identity: str | None) -> None:
    """Write the catalog's identity to the storage, and ``unknown`` if that has bytes the catalog does not know."""
    if identity is None:
        raise SessionError("the catalog keeps no identity")
    if not _known(core) and _has_bytes(core) and not _knows_bytes(core):
        # Another process with the same catalog may have come first, and stored these bytes.
        if core.storage.stat(_key(core, identity)) is not None:
            return
        _leave(core, _UNKNOWN)
    _leave(core, identity)


def _leave(core: Core, identity: str) -> None:
    core.storage.put(_key(core, identity), core.catalog.provider.encode())


def _key(core: Core, identity: str) -> str:
    return grid.identity_prefix(core.settings.sandbox_id) + identity


def _known(core: Core) -> set[str]:
    """Return the identities that the storage holds."""
    prefix = grid.identity_prefix(core.settings.sandbox_id)
    return {item.key.removeprefix(prefix) for item in core.storage.list_objects(prefix)}


def _has_bytes(core: Core) -> bool:
    return any(core.storage.list_objects(grid.sandbox_prefix(core.settings.sandbox_id)))


def _knows_bytes(core: Core) -> bool:
    """Return whether a living record of the catalog has its bytes in the storage."""
    return any(core.storage.stat(record.key) is not None for record in core.catalog.sample(core.clock(), limit=_SAMPLE))


def _foreign(core: Core, identity: str | None, known: set[str]) -> tuple[str, str]:
    """Return the problem when the storage holds another identity than the catalog's, and its remedy."""
    others = sorted(known - {identity})
    keys = ", ".join(repr(_key(core, other)) for other in others)
    if identity not in known:
        lacking = "the catalog has no identity" if identity is None else "the storage lacks the catalog's identity"
        return f"{lacking}, and the storage has that of another one ({keys})", _ANOTHER
    return (
        f"the storage also has files that this catalog does not know of ({keys})",
        "remove that key only if you are sure that no catalog needs these files any more",
    )


def _refused(reason: str, remedy: str) -> SessionError:
    return SessionError(f"no orphan was removed: {reason}; {remedy}")
