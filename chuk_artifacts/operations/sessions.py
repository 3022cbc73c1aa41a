"""Sessions: create, look up, change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chuk_artifacts import arguments, grid
from chuk_artifacts.catalog import new_session, owned
from chuk_artifacts.errors import ConflictError, InvalidInputError, shown
from chuk_artifacts.models import SessionInfo, Usage
from chuk_artifacts.operations import facts
from chuk_artifacts.operations.calls import operation, operation_of
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.operations.walking import all_sessions


@operation_of("create_session")
def create(
    scope: Scope,
    user_id: str | None,
    ttl_hours: float | None,
    custom_metadata: Mapping[str, object] | None,
    session_id: str | None,
) -> str:
    """Create a session, and return its id; see :meth:`ArtifactStore.create_session`."""
    core = scope.unbound_core("create_session")
    limits, now = core.settings.limits, core.clock()
    ttl = arguments.check_hours("ttl_hours", ttl_hours, now)
    info = new_session(
        grid.new_session_id() if session_id is None else grid.check_session_id(session_id),
        core.settings.sandbox_id,
        now=now,
        ttl=core.settings.session_ttl if ttl is None else ttl,
        user_id=limits.check_user_id(user_id),
        custom_metadata=limits.check_meta("custom_metadata", custom_metadata),
    )
    owner = grid.user_of(info.session_id)
    if owner is not None and (ttl is not None or info.user_id not in {None, owner}):
        raise InvalidInputError(f"session {shown(info.session_id)} is a user's own: it has that user and no ttl")
    info = owned(info)
    if not core.catalog.create_session(info):
        raise ConflictError(f"session {shown(info.session_id)} exists")
    if facts.has_own(core, info):
        facts.keep_info(core, info)
    return info.session_id


@operation_of("iter_sessions")
def listed(scope: Scope, user_id: object, page_size: object) -> Iterator[SessionInfo]:
    """Iterate over the sessions of a user, or all for None; see :meth:`ArtifactStore.iter_sessions`."""
    core = scope.unbound_core("iter_sessions")
    user = core.settings.limits.check_user_id(user_id)
    size = arguments.check_count("page_size", page_size, 1, arguments.MAX_PAGE)
    return map(_copy, all_sessions(scope, user, size))


def _copy(info: SessionInfo) -> SessionInfo:
    """Return a session whose metadata the caller may change."""
    return info.changed(custom_metadata=arguments.copy_json(info.custom_metadata))


def own_id(scope: Scope, user_id: object) -> str:
    """Return the id of a user's own session.

    Raises:
        InvalidInputError: *user_id* is not a str, empty, or too long.
        AccessDeniedError: the scope is bound to another session.

    """
    if user_id is None:
        raise InvalidInputError("user_id must be given")
    checked = scope.core.settings.limits.check_user_id(user_id)
    return scope.session(grid.user_session_id(checked or ""))


@operation_of("get_session_info")
def info(scope: Scope, session_id: str | None) -> SessionInfo | None:
    """Return a copy of a session's description, or None."""
    core = scope.core
    found = core.catalog.get_session(scope.session(session_id), core.clock())
    if found is None:
        return None
    return _copy(found)


@operation_of("update_session_metadata")
def merge_metadata(scope: Scope, session_id: str | None, metadata: Mapping[str, object] | None) -> bool:
    """Merge metadata into a session's own; return False if the session does not exist."""
    core, session_id = scope.core, scope.session(session_id)
    if metadata is None:
        raise InvalidInputError("metadata must be given")
    limits = core.settings.limits
    addition = limits.check_meta("metadata", metadata)
    changed = core.catalog.update_session(session_id, core.clock(), custom_metadata=addition, limits=limits)
    if changed is not None:
        facts.keep_info(core, changed)
    return changed is not None


@operation_of("extend_session_ttl")
def extend(scope: Scope, session_id: str | None, hours: float | None) -> bool:
    """Extend the time to live of a session; return False if it does not exist."""
    core, session_id = scope.core, scope.session(session_id)
    now = core.clock()
    seconds = arguments.check_hours("additional_hours", hours, now)
    if seconds is None:
        raise InvalidInputError("additional_hours must be given")
    changed = core.catalog.update_session(session_id, now, extend=seconds)
    if changed is not None:
        facts.keep_info(core, changed)
    return changed is not None


@operation
def usage(scope: Scope, session_id: str | None) -> Usage:
    """Return the usage of a session; of all sessions for None, unless the scope is bound to one."""
    whole = session_id is None and scope.session_id is None
    return scope.core.catalog.usage(None if whole else scope.session(session_id))
