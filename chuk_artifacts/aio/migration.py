"""``migrate``, awaited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from chuk_artifacts import migration
from chuk_artifacts.aio.store import ArtifactStore, inside
from chuk_artifacts.migration import DEFAULT_WORKERS
from chuk_artifacts.models import MigrationReport

if TYPE_CHECKING:
    from fsspec.callbacks import Callback


async def migrate(
    source: ArtifactStore,
    target: ArtifactStore,
    *,
    sessions: Iterable[str] | None = None,
    max_workers: int = DEFAULT_WORKERS,
    callback: Callback | None = None,
    dry_run: bool = False,
) -> MigrationReport:
    """Copy artifacts from one async store to another: see :func:`chuk_artifacts.migrate`.

    Cancelling stops the wait; the copying goes on until one of the stores is closed.

    Example:
        >>> from chuk_artifacts.aio import ArtifactStore
        >>> source, store = ArtifactStore(sandbox_id="demo"), ArtifactStore(sandbox_id="demo")
        >>> artifact_id = await source.store(b"Hello, world!")
        >>> (await migrate(source, store)).artifacts
        1

    """
    (reads, calls), (writes, _) = inside(source), inside(target)
    return await calls.run(
        migration.migrate,
        reads,
        writes,
        sessions=sessions,
        max_workers=max_workers,
        callback=callback,
        dry_run=dry_run,
    )
