"""Looking up records: one call of the catalog, then the check of the scope."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from chuk_artifacts import arguments, grid
from chuk_artifacts.catalog import batches
from chuk_artifacts.core import Core
from chuk_artifacts.errors import ArtifactNotFoundError, InvalidInputError, no_artifact
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations import uploads
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.scope import Scope

_NAMED_AT_ONCE = 500


@operation
def metadata(scope: Scope, artifact_id: str) -> ArtifactMetadata:
    """Return a copy of an artifact's record."""
    return public(scope.core, find(scope, artifact_id))


@operation
def exists(scope: Scope, artifact_id: str) -> bool:
    """Return whether an artifact exists and has not expired."""
    try:
        find(scope, artifact_id)
    except ArtifactNotFoundError:
        return False
    return True


@operation
def named(scope: Scope, session_id: str, name: str) -> list[ArtifactMetadata]:
    """Return the artifacts of a session that a path with this name leads to: see :func:`find_named`."""
    return find_named(scope, session_id, name)


@operation
def named_each(scope: Scope, session_id: str, names: Sequence[str]) -> list[list[ArtifactMetadata]]:
    """Do what :func:`named` does for many names, with one call of the catalog for every 500."""
    core = scope.core
    filenames = list(filter(_is_text, names))
    try:
        session_id = scope.session(session_id)
    except InvalidInputError:  # there can be no such session
        filenames = []
    found: dict[str, list[ArtifactMetadata]] = {}
    for some in batches(filenames, _NAMED_AT_ONCE):
        records = core.catalog.named_each(session_id, some, core.clock())
        for name, same in zip(some, records, strict=True):
            found[name] = sorted(artifacts(scope, same), key=age, reverse=True)
            if not same and grid.is_artifact_id(name):
                found[name] = _nameless(scope, session_id, name)
    return [found.get(name, []) for name in names]


def _is_text(name: str) -> bool:
    try:
        arguments.check_text("filename", name)
    except InvalidInputError:
        return False
    return True


@operation
def is_named(scope: Scope, session_id: str, name: str) -> bool:
    """Return whether a path with this name leads to an artifact: see :func:`find_named`."""
    core = scope.core
    try:
        session_id, filename = scope.session(session_id), arguments.check_text("filename", name)
    except InvalidInputError:  # nothing can be called that
        return False
    found = core.catalog.has_named(session_id, filename, core.clock())
    if found is None:  # the bytes of an upload may have arrived
        return bool(find_named(scope, session_id, name))
    return found or (grid.is_artifact_id(name) and bool(_nameless(scope, session_id, name)))


def find_named(scope: Scope, session_id: str, name: str) -> list[ArtifactMetadata]:
    """Return the artifacts of a session that a path with this name leads to, the newest first.

    These are the artifacts with that filename, or else the one without a filename whose id it is.

    Raises:
        AccessDeniedError: *session_id* is not the bound session.

    """
    core = scope.core
    try:
        session_id, filename = scope.session(session_id), arguments.check_text("filename", name)
    except InvalidInputError:  # nothing can be called that
        return []
    found = artifacts(scope, core.catalog.named(session_id, filename, core.clock()))
    if len(found) > 1:
        found.sort(key=age, reverse=True)
    return found or (_nameless(scope, session_id, name) if grid.is_artifact_id(name) else [])


def _nameless(scope: Scope, session_id: str, artifact_id: str) -> list[ArtifactMetadata]:
    """Return the artifact with this id if it is of the session and has no filename."""
    try:
        found = find(scope, artifact_id)
    except ArtifactNotFoundError:
        return []
    return [found] if found.filename is None and found.session_id == session_id else []


def age(record: ArtifactMetadata) -> tuple[str, str]:
    """Return the sort key of artifacts with the same filename: if two were stored at the same time, the id decides."""
    return record.stored_at, record.artifact_id


def find(scope: Scope, artifact_id: str) -> ArtifactMetadata:
    """Return the record of an artifact; turn a complete pending record into an artifact.

    Raises:
        ArtifactNotFoundError: the artifact does not exist, or is not visible in this scope.
        ArtifactExpiredError: the artifact has expired.

    """
    core = scope.core
    plain_id = grid.plain_artifact_id(artifact_id)
    if plain_id is None:
        raise no_artifact(artifact_id)
    (record,) = core.catalog.get((plain_id,))
    record = scope.check(plain_id, record, core.clock())
    return record if record.pending is None else uploads.complete(core, record)


def find_all(scope: Scope, artifact_ids: Iterable[str]) -> list[ArtifactMetadata]:
    """Return the records of several artifacts with one call of the catalog; raises like :func:`find`."""
    core = scope.core
    ids = []
    for artifact_id in artifact_ids:
        plain_id = grid.plain_artifact_id(artifact_id)
        if plain_id is None:
            raise no_artifact(artifact_id)
        ids.append(plain_id)
    records = core.catalog.get(ids)
    now = core.clock()
    found = [scope.check(plain_id, record, now) for plain_id, record in zip(ids, records, strict=True)]
    return [record if record.pending is None else uploads.complete(core, record) for record in found]


def artifacts(scope: Scope, records: list[ArtifactMetadata]) -> list[ArtifactMetadata]:
    """Return the artifacts among *records* of a listing; turn complete pending records into artifacts."""
    for record in records:
        if record.pending is not None:
            found = scope.core.each(partial(if_artifact, scope), records)
            return [artifact for artifact in found if artifact is not None]
    return records


def if_artifact(scope: Scope, record: ArtifactMetadata) -> ArtifactMetadata | None:
    """Return *record* if it is an artifact, the artifact that a complete upload becomes, or else None."""
    if record.pending is None:
        return record
    try:
        scope.check(record.artifact_id, record, scope.core.clock())
        return uploads.complete(scope.core, record)
    except ArtifactNotFoundError:
        return None


def public(core: Core, record: ArtifactMetadata) -> ArtifactMetadata:
    """Return a record that the caller may modify without modifying the catalog's."""
    return record.changed(meta=arguments.copy_json(record.meta)) if core.catalog.returns_live_objects else record
