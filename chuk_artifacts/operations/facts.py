"""What the storage keeps of a session, beside the bytes of its artifacts: user, times, ttl and custom metadata.

Artifacts describe themselves: a session that has only what every session has needs nothing more. The others have an
object of their own, which is written when a session is created, and when its facts change. It is a copy for the case
that the catalog is lost: a storage that fails here fails no call.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from chuk_artifacts import grid
from chuk_artifacts.catalog.records import DAMAGE
from chuk_artifacts.core import Core
from chuk_artifacts.errors import ProviderError
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import SessionInfo
from chuk_artifacts.operations import identity
from chuk_artifacts.storage import ObjectMissingError, StoredObject

_LONGEST = 4 * 1024 * 1024


def keep_each(core: Core, infos: Iterable[SessionInfo]) -> None:
    """Store the facts of many sessions, of those that have their own, as the catalog has them now; raises as above."""
    if core.storage.persistent:
        core.each(partial(_keep, core), [info.session_id for info in infos if has_own(core, info)], lambda _: 0)


def _keep(core: Core, session_id: str) -> None:
    """Store the facts of a session as the catalog has them now; raise ``SessionError`` if that fails."""
    info = core.catalog.get_session(session_id, core.clock())
    if info is not None:
        keep_info(core, info)


def keep_info(core: Core, info: SessionInfo) -> None:
    """Store the facts of a session.

    Raises:
        SessionError: the catalog fails.

    """
    if not core.storage.persistent:
        return
    try:
        if not core.identified:
            identity.establish(core)  # or these facts would look like files of another catalog
        core.storage.put(grid.facts_key(info.sandbox_id, info.session_id), info.to_json().encode())
    except ProviderError as error:
        _log.warning("facts about session %s would be lost with the catalog: %s", info.session_id, error)


def has_own(core: Core, info: SessionInfo) -> bool:
    """Return whether a session has facts that no artifact of it describes."""
    is_usual = info.ttl == core.settings.session_ttl or grid.user_of(info.session_id) is not None
    return bool(info.custom_metadata) or info.user_id is not None or not is_usual


def read(core: Core, item: StoredObject) -> SessionInfo | None:
    """Return the session whose facts an object holds; None if it does not exist any more.

    Raises:
        ProviderError: the storage fails.
        ValueError: they are invalid, or those of another session.

    """
    session_id = grid.session_of_facts(item.key, core.settings.sandbox_id)
    if item.bytes > _LONGEST:
        raise ValueError(f"it has {item.bytes} bytes")
    try:
        data = core.storage.get(item.key)
    except ObjectMissingError:
        return None
    try:
        info = SessionInfo.from_json(data.decode())
    except DAMAGE as error:
        raise ValueError(f"it does not describe a session: {error}") from None
    if (info.session_id, info.sandbox_id) != (session_id, core.settings.sandbox_id):
        raise ValueError("it describes another session than its key names")
    return info
