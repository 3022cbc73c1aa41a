"""Looking up records: one call of the catalog, then the check of the scope."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from chuk_artifacts import arguments, grid
from chuk_artifacts.core import Core
from chuk_artifacts.errors import ArtifactNotFoundError, no_artifact
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations import uploads
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.scope import Scope


@operation
def metadata(scope: Scope, artifact_id: str) -> ArtifactMetadata:
    """Return a copy of an artifact's record."""
    _log.debug("metadata %s", artifact_id)
    return public(scope.core, find(scope, artifact_id))


@operation
def exists(scope: Scope, artifact_id: str) -> bool:
    """Return whether an artifact exists and has not expired."""
    _log.debug("exists %s", artifact_id)
    try:
        find(scope, artifact_id)
    except ArtifactNotFoundError:
        return False
    return True


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
