"""Checked by mypy and pyright, never run: right use of the async store passes, wrong use has the error named."""

# pyright: strict

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_type

from chuk_artifacts import ArtifactStore as BlockingStore
from chuk_artifacts.aio import (
    ArtifactMetadata,
    ArtifactStore,
    ArtifactVersion,
    CleanupReport,
    GridKey,
    MigrationReport,
    Reader,
    ReindexReport,
    SessionInfo,
    Usage,
    migrate,
)
from chuk_artifacts.listings import Listing
from chuk_artifacts.previews import Preview


async def right(body: AsyncIterator[bytes]) -> None:
    """Call each method, and get its type."""
    async with ArtifactStore(storage_provider="filesystem", fs_root=Path("files"), max_workers=8) as store:
        assert_type(store, ArtifactStore)
        artifact_id = await store.store(b"abc", filename="a.txt", session_id="alice", meta={"a": 1}, ttl=60)
        assert_type(artifact_id, str)
        assert_type(await store.store(data=body), str)
        assert_type(await store.write_file("abc", filename="a.txt", encoding="latin-1"), str)
        assert_type(await store.store_batch([{"data": b"abc"}], session_id="alice"), list[str])
        assert_type(await store.store_batch(items=[{"data": body}]), list[str])
        assert_type(await store.retrieve(artifact_id), bytes)
        assert_type(await store.read_file(artifact_id, as_text=True), str)
        assert_type(await store.read_file(artifact_id, as_text=False), bytes)
        assert_type(await store.retrieve_batch([artifact_id]), list[bytes])
        assert_type(await store.download(artifact_id, Path("a.txt")), Path)
        assert_type(await store.exists(artifact_id), bool)
        assert_type(await store.metadata(artifact_id), ArtifactMetadata)
        assert_type((await store.update_file(artifact_id, data=body)).revision, int)
        assert_type(await store.list_by_session("alice", limit=5), Listing[ArtifactMetadata])
        assert_type(await store.presign_upload("alice", "a.txt"), tuple[str, str])
        assert_type(await store.get_session_info("alice"), SessionInfo | None)
        assert_type(await store.cleanup(orphans=True), CleanupReport)
        assert_type(await store.get_stats(), dict[str, Any])
        assert_type(store.get_canonical_prefix("alice"), str)
        assert_type(store.parse_grid_key("grid/a/b/c"), GridKey | None)
        assert_type(store.session("alice"), ArtifactStore)
        async for chunk in store.stream(artifact_id, start=1, chunk_size=10):
            assert_type(chunk, bytes)
        async with aclosing(store.stream(artifact_id)) as chunks:
            assert_type(await anext(chunks), bytes)
        assert_type(await store.list_directory("alice", "docs"), tuple[list[str], Listing[ArtifactMetadata]])
        assert_type(await store.versions(artifact_id), Listing[ArtifactVersion])
        assert_type(await store.restore(artifact_id, 1, if_revision=2), ArtifactMetadata)
        assert_type(await store.read_file(artifact_id, as_text=False, revision=1), bytes)
        async for part in store.archive("alice", prefix="docs/"):
            assert_type(part, bytes)
        async for record in store.iter_session("alice", page_size=10):
            assert_type(record, ArtifactMetadata)
        async with store.open(artifact_id) as file:
            assert_type(file, Reader)
            assert_type(await file.read(5), bytes)
            assert_type(await file.seek(0), int)
        assert_type(await store.open(artifact_id), Reader)
        assert_type(await store.close(), None)


async def written(store: ArtifactStore, artifact_id: str) -> None:
    """Store and change files."""
    assert_type(
        await store.store(b"abc", filename="a.txt", session_id="alice", meta={"a": 1}, ttl=60, exclusive=True), str
    )
    assert_type(await store.store_batch([{"data": b"abc", "filename": "a.txt"}], session_id="alice", ttl=60), list[str])
    assert_type(await store.write_file("abc", filename="a.txt", encoding="latin-1", max_bytes=10), str)
    assert_type(await store.update_file(artifact_id, data=b"abc", if_revision=1, keep_versions=3), ArtifactMetadata)
    assert_type(await store.update_metadata(artifact_id, summary="A", meta={"a": 2}, merge=False), ArtifactMetadata)
    assert_type(await store.restore(artifact_id, 1, if_revision=2), ArtifactMetadata)
    assert_type(await store.move_file(artifact_id, new_filename="b.txt", new_session_id="bob"), ArtifactMetadata)
    assert_type(await store.copy_file(artifact_id, new_filename="c.txt", target_session_id="bob", new_meta={}), str)
    assert_type(await store.extend_ttl(artifact_id, 3600), ArtifactMetadata)
    assert_type(await store.delete(artifact_id), bool)
    assert_type(await store.delete_batch([artifact_id]), int)


async def read(store: ArtifactStore, artifact_id: str) -> None:
    """Read files, in each way."""
    assert_type(await store.retrieve(artifact_id, revision=1), bytes)
    assert_type(
        await store.retrieve_batch([artifact_id, (artifact_id, 1), await store.metadata(artifact_id)]), list[bytes]
    )
    assert_type(await store.read_file(await store.metadata(artifact_id), encoding="latin-1"), str)
    assert_type(store.stream(artifact_id, start=1, end=5, chunk_size=2), AsyncGenerator[bytes, None])
    assert_type(store.open(artifact_id), Reader)
    assert_type(await store.download(artifact_id, Path("a.txt"), overwrite=True), Path)
    assert_type(store.archive("alice", prefix="docs/", chunk_size=1024), AsyncGenerator[bytes, None])
    assert_type(await store.display(artifact_id, revision=1), Preview)
    assert_type(await store.exists(artifact_id), bool)
    assert_type(await store.metadata(artifact_id), ArtifactMetadata)
    assert_type(await store.versions(artifact_id), Listing[ArtifactVersion])


async def listed(store: ArtifactStore) -> None:
    """List and find files."""
    files = await store.list_by_session("alice", limit=5)
    assert_type(await store.list_by_session("alice", limit=5), Listing[ArtifactMetadata])
    assert_type(files[0], ArtifactMetadata)
    assert_type(files[:2], Listing[ArtifactMetadata])
    assert_type(await store.list_files("alice", prefix="docs/", limit=5), Listing[ArtifactMetadata])
    assert_type(await store.get_directory_contents("alice", "docs/", limit=5), Listing[ArtifactMetadata])
    assert_type(await store.list_directory("alice", "docs"), tuple[list[str], Listing[ArtifactMetadata]])
    assert_type(await store.lookup("a.txt", "alice"), ArtifactMetadata | None)
    assert_type(
        store.iter_session("alice", prefix="docs/", start="docs/b", page_size=10),
        AsyncGenerator[ArtifactMetadata, None],
    )
    assert_type(
        store.search(mime="text/plain", meta={"a": 1}, stored_after=datetime.now(UTC), stored_before="2030-01-01"),
        AsyncGenerator[ArtifactMetadata, None],
    )


async def shared(store: ArtifactStore, artifact_id: str) -> None:
    """Make links for downloads and uploads."""
    assert_type(await store.presign(artifact_id, 60, revision=1), str)
    assert_type(await store.presign_short(artifact_id), str)
    assert_type(await store.presign_medium(artifact_id), str)
    assert_type(await store.presign_long(artifact_id), str)
    assert_type(await store.presign_archive("alice", prefix="docs/", expires=60), str)
    assert_type(await store.presign_upload("alice", "a.txt", "text/plain", 60, max_bytes=10), tuple[str, str])
    assert_type(await store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="", ttl=60), bool)
    assert_type(await store.presign_upload_and_register(mime="text/plain", summary="", max_bytes=10), tuple[str, str])


async def of_sessions(store: ArtifactStore) -> None:
    """Make sessions, and work with one or with a user's."""
    assert_type(store.session("alice"), ArtifactStore)
    assert_type(store.user("alice"), ArtifactStore)
    assert_type(await store.create_session("alice", ttl_hours=1, custom_metadata={"a": 1}), str)
    assert_type(store.iter_sessions(user_id="alice", page_size=10), AsyncGenerator[SessionInfo, None])
    assert_type(await store.validate_session("alice"), bool)
    assert_type(await store.get_session_info("alice"), SessionInfo | None)
    assert_type(await store.update_session_metadata("alice", {"a": 1}), bool)
    assert_type(await store.extend_session_ttl("alice", 1), bool)
    assert_type(await store.usage("alice"), Usage)
    assert_type(await store.delete_session("alice"), bool)
    assert_type(await store.delete_user("alice"), int)


async def operated(store: ArtifactStore, other: ArtifactStore) -> None:
    """Run a store: clean it up, back it up, look at it, move it, close it."""
    assert_type(await store.cleanup(orphans=True, dry_run=True, force=False, older_than=3600), CleanupReport)
    assert_type(await store.cleanup_expired_sessions(), int)
    assert_type(await store.export_catalog("backup.jsonl.gz"), int)
    assert_type(await store.import_catalog(io.BytesIO(), dry_run=True), int)
    assert_type(await store.reindex(dry_run=True), ReindexReport)
    assert_type(await store.validate_configuration(thorough=True), dict[str, dict[str, str]])
    assert_type(await store.get_stats(), dict[str, Any])
    assert_type(await store.get_sandbox_info(), dict[str, Any])
    assert_type(await migrate(store, other), MigrationReport)
    assert_type(await store.close(timeout=5), None)


async def named(store: ArtifactStore, artifact_id: str) -> None:
    """Ask a store for its settings and keys."""
    assert_type(store.sandbox_id, str)
    assert_type(store.storage_provider, str)
    assert_type(store.session_provider, str)
    assert_type(store.bucket, str | None)
    assert_type(store.get_canonical_prefix("alice"), str)
    assert_type(store.get_session_prefix_pattern(), str)
    assert_type(store.generate_artifact_key("alice", artifact_id), str)
    assert_type(store.parse_grid_key("grid/a/b/c"), GridKey | None)


async def right_from_the_blocking_store(blocking: BlockingStore) -> None:
    """Get an async view of a blocking store, by either way."""
    async with blocking as store:
        assert_type(store, ArtifactStore)
        assert_type(await store.retrieve("id"), bytes)
    assert_type(ArtifactStore.wrap(blocking, max_workers=2), ArtifactStore)


async def misspelt(store: ArtifactStore) -> None:
    """Misspell, omit and confuse arguments."""
    await store.store(b"abc", filname="a.txt")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await store.store()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await store.store("abc")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.store(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.store(["a"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await store.update_file("id", data=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.update_file("id", data="abc")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.store_batch([{"data": b"", "mine": 5}])  # type: ignore[typeddict-unknown-key]  # pyright: ignore[reportArgumentType]
    await store.store_batch([{"data": "abc"}])  # type: ignore[typeddict-item]  # pyright: ignore[reportArgumentType]
    await store.store_batch([{"mime": "a/b"}])  # type: ignore[typeddict-item]  # pyright: ignore[reportArgumentType]
    await store.retrieve(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await store.write_file("abc", "a.txt")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await store.extend_ttl("id", "60")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.stream("id", chunk=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    store.retreive("id")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    _: bytes = await store.read_file("id")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    ArtifactStore(session_provider="mysql")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ArtifactStore(storage="memory")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ArtifactStore(bucket=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ArtifactStore(max_workers="8")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def forgotten(store: ArtifactStore) -> bytes:
    """Forget to await."""
    store.delete("id")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    store.close()  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    artifact_id: str = store.store(b"abc")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    _ = store.metadata(artifact_id).bytes  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
    for _ in store.stream(artifact_id):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        pass
    with store.open(artifact_id):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    return store.retrieve(artifact_id)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
