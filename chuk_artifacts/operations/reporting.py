"""Reports on a whole store: the health of its backends, its counts, its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chuk_artifacts import grid
from chuk_artifacts.catalog import Catalog
from chuk_artifacts.core import Core
from chuk_artifacts.errors import ArtifactStoreError
from chuk_artifacts.fields import JsonObject
from chuk_artifacts.operations import identity
from chuk_artifacts.operations.calls import operation, operation_of
from chuk_artifacts.operations.scope import Scope

_NO_ARTIFACT = "0" * 32


@operation_of("validate_configuration")
def validate(scope: Scope, *, thorough: bool) -> dict[str, dict[str, str]]:
    """Check storage and catalog; see :meth:`ArtifactStore.validate_configuration`."""
    core = scope.unbound_core("validate_configuration")
    found = {
        "storage": _tried(core.storage.provider, lambda: {**core.storage.check(thorough=thorough), **core.key_facts()}),
        "session": _tried(core.catalog.provider, lambda: _facts(core.catalog, thorough=thorough)),
    }
    if core.storage.persistent != core.catalog.persistent:
        side = "session" if core.storage.persistent else "storage"
        found[side]["warning"] = _with_warning(
            found[side],
            f"{'records' if side == 'session' else 'bytes'} in memory go with the process, and what is stored can't"
            " be found again",
        )
    if thorough and all(side["status"] == "ok" for side in found.values()):
        found["session"] = _tried(core.catalog.provider, lambda: _compared(core, found["session"]))
    return found


@operation
def answers(scope: Scope) -> None:
    """Read from storage and catalog what neither holds; raise the error of the one that does not answer."""
    core = scope.core
    core.catalog.get((_NO_ARTIFACT,))
    core.storage.stat(f"{grid.identity_prefix(core.settings.sandbox_id)}{_NO_ARTIFACT}")


@operation_of("get_stats")
def stats(scope: Scope) -> JsonObject:
    """Return the providers, the sandbox and the counts; see :meth:`ArtifactStore.get_stats`."""
    core = scope.unbound_core("get_stats")
    return {
        "storage_provider": core.storage.provider,
        "session_provider": core.catalog.provider,
        "sandbox_id": core.settings.sandbox_id,
        **core.catalog.stats(core.clock()),
    }


@operation_of("get_sandbox_info")
def sandbox_info(scope: Scope) -> JsonObject:
    """Return the configuration; see :meth:`ArtifactStore.get_sandbox_info`."""
    core = scope.unbound_core("get_sandbox_info")
    ttl = core.settings.session_ttl
    return {
        "sandbox_id": core.settings.sandbox_id,
        "session_prefix_pattern": grid.sandbox_prefix(core.settings.sandbox_id),
        "storage_provider": core.storage.provider,
        "session_provider": core.catalog.provider,
        "location": core.settings.location,
        "session_ttl_hours": None if ttl is None else ttl / 3600,
    }


def _tried(provider: str, check: Callable[[], dict[str, str]]) -> dict[str, str]:
    try:
        facts = check()
    except ArtifactStoreError as error:
        return {"status": "error", "provider": provider, "message": str(error)}
    return {"status": "ok", "provider": provider, **facts}


def _facts(catalog: Catalog, *, thorough: bool) -> dict[str, str]:
    facts = catalog.check()
    damaged = catalog.verify() if thorough else 0
    if damaged:
        facts |= {"damaged": str(damaged)}
        facts["warning"] = _with_warning(facts, f"{damaged} records are damaged")
    return facts


def _compared(core: Core, facts: dict[str, str]) -> dict[str, str]:
    """Return the facts of the catalog, with a warning if it is another one than the storage's."""
    problem = identity.mismatch(core)
    return facts if problem is None else {**facts, "warning": _with_warning(facts, problem)}


def _with_warning(facts: Mapping[str, str], warning: str) -> str:
    return f"{facts['warning']}; {warning}" if "warning" in facts else warning
