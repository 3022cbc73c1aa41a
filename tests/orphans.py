"""Bytes that a store left without a record, however young; a sweep would wait for a day."""

from __future__ import annotations

from typing import Any

from chuk_artifacts import ArtifactStore, grid
from chuk_artifacts.core import Core


def core_of(store: Any) -> Core:
    """Return the core of a blocking store, of an async one, or of a wrapper of one."""
    store = getattr(store, "_store", store)
    blocking: ArtifactStore = getattr(store, "_blocking", store)
    return blocking.scope.core


def orphans(store: Any) -> list[str]:
    """Return the keys of all bytes that no record points to, and of unfinished writes."""
    core = core_of(store)
    sandbox_id = core.settings.sandbox_id
    prefix = grid.sandbox_prefix(sandbox_id)
    keys = {item.key for item in core.storage.list_objects(prefix)}
    facts = {key: session_id for key in keys if (session_id := grid.session_of_facts(key, sandbox_id)) is not None}
    keys -= {key for key, session_id in facts.items() if core.catalog.get_session(session_id, 0) is not None}
    ids = sorted({key.rpartition("/")[2].partition("~")[0] for key in keys})
    used = {key for record in core.catalog.get(ids) if record is not None for key in record.all_bytes} if ids else set()
    unfinished = [item.key for item in core.storage.sweep(prefix, float("inf"), dry_run=True)]
    return sorted(keys - used) + unfinished
