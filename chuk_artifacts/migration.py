"""``migrate``: copy artifacts from one store to another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from chuk_artifacts import arguments, grid
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.models import MigrationReport
from chuk_artifacts.operations import migrating
from chuk_artifacts.operations.migrating import Terms
from chuk_artifacts.store import ArtifactStore

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

DEFAULT_WORKERS = 8


def migrate(
    source: ArtifactStore,
    target: ArtifactStore,
    *,
    sessions: Iterable[str] | None = None,
    max_workers: int = DEFAULT_WORKERS,
    callback: Callback | None = None,
    dry_run: bool = False,
) -> MigrationReport:
    """Copy artifacts from one store to another: any storage, any catalog, the same sandbox or another one.

    Ids, revisions, kept versions, metadata, expiry and sessions stay as they are, and the bytes are verified against
    their SHA-256. The source is only read. In another sandbox the first 8 digits of each id change, as they are a
    digest of the sandbox: see :func:`chuk_artifacts.grid.artifact_id_in`. Running it again copies what is missing or
    has changed since; artifacts that were changed in the target stay as they are there. Artifacts that were deleted in
    the source meanwhile are not deleted in the target.

    Args:
        source: the store to read, as a whole.
        target: the store to copy to, as a whole.
        sessions: the sessions to copy; None: all.
        max_workers: how many files are copied side by side, at least 1.
        callback: an fsspec ``Callback``, which receives the number of bytes of all artifacts, then those of each one
            that is done.
        dry_run: copy nothing, and only count what would be copied.

    Returns:
        what was copied and what was not. The failure of a single artifact is in the report, with its id and reason.

    Raises:
        InvalidInputError: source and target are the same store, or an argument is invalid.
        AccessDeniedError: one of them is bound to a session.
        ProviderError: a storage does not answer, or refuses everything.
        SessionError: a catalog fails.

    Example:
        >>> with ArtifactStore(sandbox_id="files") as old, ArtifactStore(sandbox_id="files") as new:
        ...     artifact_id = old.store(b"Hello, world!", filename="hello.txt", session_id="alice")
        ...     report = migrate(old, new)
        ...     report.artifacts, report.failed, new.retrieve(artifact_id)
        (1, 0, b'Hello, world!')

    """
    for name, store in (("source", source), ("target", target)):
        if not isinstance(store, ArtifactStore):
            raise InvalidInputError(f"{name} must be a chuk_artifacts.ArtifactStore, not {type(store).__name__}")
    ids = None
    if sessions is not None:
        ids = [*dict.fromkeys(map(grid.check_session_id, arguments.check_items("sessions", sessions)))]
    workers = arguments.check_count("max_workers", max_workers, 1, arguments.MAX_AT_ONCE)
    return migrating.migrate(source.scope, target.scope, Terms(ids, workers, dry_run), callback)
