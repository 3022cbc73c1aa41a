"""Sessions: create, look up, change."""

from __future__ import annotations

from collections.abc import Mapping

from chuk_artifacts import arguments, grid
from chuk_artifacts.catalog import new_session
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.models import SessionInfo
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.scope import Scope


@operation
def create(
    scope: Scope, user_id: str | None, ttl_hours: float | None, custom_metadata: Mapping[str, object] | None
) -> str:
    """Create a session, and return its id; see :meth:`ArtifactStore.create_session`."""
    core = scope.unbound_core("create_session")
    limits, now = core.settings.limits, core.clock()
    ttl = arguments.check_hours("ttl_hours", ttl_hours, now)
    info = new_session(
        grid.new_session_id(),
        core.settings.sandbox_id,
        now=now,
        ttl=core.settings.session_ttl if ttl is None else ttl,
        user_id=limits.check_user_id(user_id),
        custom_metadata=limits.check_meta("custom_metadata", custom_metadata),
    )
    core.catalog.create_session(info)
    return info.session_id


@operation
def info(scope: Scope, session_id: str | None) -> SessionInfo | None:
    """Return a copy of a session's description, or None."""
    core = scope.core
    found = core.catalog.get_session(scope.session(session_id), core.clock())
    if found is None:
        return None
    return found.changed(custom_metadata=arguments.copy_json(found.custom_metadata))


@operation
def merge_metadata(scope: Scope, session_id: str | None, metadata: Mapping[str, object] | None) -> bool:
    """Merge metadata into a session's own; return False if the session does not exist."""
    core, session_id = scope.core, scope.session(session_id)
    if metadata is None:
        raise InvalidInputError("metadata must be given")
    limits = core.settings.limits
    addition = limits.check_meta("metadata", metadata)
    return core.catalog.update_session(session_id, core.clock(), custom_metadata=addition, limits=limits)


@operation
def extend(scope: Scope, session_id: str | None, hours: float | None) -> bool:
    """Extend the time to live of a session; return False if it does not exist."""
    core, session_id = scope.core, scope.session(session_id)
    now = core.clock()
    seconds = arguments.check_hours("additional_hours", hours, now)
    if seconds is None:
        raise InvalidInputError("additional_hours must be given")
    return core.catalog.update_session(session_id, now, extend=seconds)
