"""Checked by mypy and pyright, never run: right use of the blocking store passes, wrong use has the error named."""

# pyright: strict

from __future__ import annotations

import array
import io
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, assert_type

from chuk_artifacts import (
    ArtifactMetadata,
    ArtifactStore,
    ArtifactVersion,
    CleanupReport,
    GridKey,
    MigrationReport,
    ReindexReport,
    SessionInfo,
    Usage,
    migrate,
)
from chuk_artifacts.listings import Listing
from chuk_artifacts.previews import Preview


def right(body: Iterator[bytes], file: BinaryIO) -> None:
    """Store each kind of data, and read it back."""
    with ArtifactStore(storage_provider="filesystem", session_provider="sqlite", fs_root="files") as store:
        artifact_id = store.store(b"abc", filename="a.txt")
        for data in (bytearray(b"abc"), memoryview(b"abc"), array.array("i", [1]), Path("a.txt"), io.BytesIO(b"abc")):
            store.store(data)
        store.store(body)
        store.store(file)
        store.store([b"a", b"b"])
        assert_type(store.store_batch([{"data": body, "filename": "a"}, {"data": b"abc", "meta": {"a": 1}}]), list[str])
        assert_type(store.read_file(artifact_id), str)
        assert_type(store.read_file(artifact_id, as_text=True), str)
        assert_type(store.read_file(artifact_id, as_text=False), bytes)
        assert_type(store.update_file(artifact_id, data=Path("a.txt")).revision, int)
        assert_type(store.versions(artifact_id)[0].current, bool)
        assert_type(store.read_file(artifact_id, revision=1), str)
        assert_type(store.archive("alice"), Iterator[bytes])
        metadata = store.update_file(artifact_id, data=file)
        assert_type(metadata, ArtifactMetadata)
        assert_type(metadata["bytes"], int)
        assert_type(metadata["mime"], str)
        assert_type(metadata["filename"], str | None)
        assert_type(metadata["ttl"], float | None)


def written(store: ArtifactStore, artifact_id: str) -> None:
    """Store and change files."""
    assert_type(store.store(b"abc", filename="a.txt", session_id="alice", meta={"a": 1}, ttl=60, exclusive=True), str)
    assert_type(store.store_batch([{"data": b"abc", "filename": "a.txt"}], session_id="alice", ttl=60), list[str])
    assert_type(store.write_file("abc", filename="a.txt", encoding="latin-1", max_bytes=10), str)
    assert_type(store.update_file(artifact_id, data=b"abc", if_revision=1, keep_versions=3), ArtifactMetadata)
    assert_type(store.update_metadata(artifact_id, summary="A file", meta={"a": 2}, merge=False), ArtifactMetadata)
    assert_type(store.restore(artifact_id, 1, if_revision=2), ArtifactMetadata)
    assert_type(store.move_file(artifact_id, new_filename="b.txt", new_session_id="bob"), ArtifactMetadata)
    assert_type(store.copy_file(artifact_id, new_filename="c.txt", target_session_id="bob", new_meta={}), str)
    assert_type(store.extend_ttl(artifact_id, 3600), ArtifactMetadata)
    assert_type(store.delete(artifact_id), bool)
    assert_type(store.delete_batch([artifact_id]), int)


def read(store: ArtifactStore, artifact_id: str) -> None:
    """Read files, in each way."""
    assert_type(store.retrieve(artifact_id, revision=1), bytes)
    assert_type(store.retrieve_batch([artifact_id, (artifact_id, 1), store.metadata(artifact_id)]), list[bytes])
    assert_type(store.read_file(store.metadata(artifact_id), encoding="latin-1"), str)
    assert_type(store.stream(artifact_id, start=1, end=5, chunk_size=2), Iterator[bytes])
    assert_type(store.open(artifact_id), BinaryIO)
    assert_type(store.download(artifact_id, Path("a.txt"), overwrite=True), Path)
    assert_type(store.archive("alice", prefix="docs/", chunk_size=1024), Iterator[bytes])
    assert_type(store.display(artifact_id, revision=1), Preview)
    assert_type(store.exists(artifact_id), bool)
    assert_type(store.metadata(artifact_id), ArtifactMetadata)
    assert_type(store.versions(artifact_id), Listing[ArtifactVersion])


def listed(store: ArtifactStore) -> None:
    """List and find files."""
    files = store.list_by_session("alice", limit=5)
    assert_type(store.list_by_session("alice", limit=5), Listing[ArtifactMetadata])
    assert_type(files[0], ArtifactMetadata)
    assert_type(files[:2], Listing[ArtifactMetadata])
    assert_type(store.list_files("alice", prefix="docs/", limit=5), Listing[ArtifactMetadata])
    assert_type(store.get_directory_contents("alice", "docs/", limit=5), Listing[ArtifactMetadata])
    assert_type(store.list_directory("alice", "docs"), tuple[list[str], Listing[ArtifactMetadata]])
    assert_type(store.lookup("a.txt", "alice"), ArtifactMetadata | None)
    assert_type(store.iter_session("alice", prefix="docs/", start="docs/b", page_size=10), Iterator[ArtifactMetadata])
    assert_type(
        store.search(mime="text/plain", meta={"a": 1}, stored_after=datetime.now(UTC), stored_before="2030-01-01"),
        Iterator[ArtifactMetadata],
    )


def shared(store: ArtifactStore, artifact_id: str) -> None:
    """Make links for downloads and uploads."""
    assert_type(store.presign(artifact_id, 60, revision=1), str)
    assert_type(store.presign_short(artifact_id), str)
    assert_type(store.presign_medium(artifact_id), str)
    assert_type(store.presign_long(artifact_id), str)
    assert_type(store.presign_archive("alice", prefix="docs/", expires=60), str)
    assert_type(store.presign_upload("alice", "a.txt", "text/plain", 60, max_bytes=10), tuple[str, str])
    assert_type(store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="", ttl=60), bool)
    assert_type(store.presign_upload_and_register(mime="text/plain", summary="", max_bytes=10), tuple[str, str])


def of_sessions(store: ArtifactStore) -> None:
    """Make sessions, and work with one or with a user's."""
    assert_type(store.session("alice"), ArtifactStore)
    assert_type(store.user("alice"), ArtifactStore)
    assert_type(store.create_session("alice", ttl_hours=1, custom_metadata={"a": 1}), str)
    assert_type(store.iter_sessions(user_id="alice", page_size=10), Iterator[SessionInfo])
    assert_type(store.validate_session("alice"), bool)
    assert_type(store.get_session_info("alice"), SessionInfo | None)
    assert_type(store.update_session_metadata("alice", {"a": 1}), bool)
    assert_type(store.extend_session_ttl("alice", 1), bool)
    assert_type(store.usage("alice"), Usage)
    assert_type(store.delete_session("alice"), bool)
    assert_type(store.delete_user("alice"), int)


def operated(store: ArtifactStore, other: ArtifactStore) -> None:
    """Run a store: clean it up, back it up, look at it, move it, close it."""
    assert_type(store.cleanup(orphans=True, dry_run=True, force=False, older_than=3600), CleanupReport)
    assert_type(store.cleanup_expired_sessions(), int)
    assert_type(store.export_catalog("backup.jsonl.gz"), int)
    assert_type(store.import_catalog(io.BytesIO(), dry_run=True), int)
    assert_type(store.reindex(dry_run=True), ReindexReport)
    assert_type(store.validate_configuration(thorough=True), dict[str, dict[str, str]])
    assert_type(store.get_stats(), dict[str, Any])
    assert_type(store.get_sandbox_info(), dict[str, Any])
    assert_type(migrate(store, other), MigrationReport)
    assert_type(store.close(timeout=5), None)


def named(store: ArtifactStore, artifact_id: str) -> None:
    """Ask a store for its settings and keys."""
    assert_type(store.sandbox_id, str)
    assert_type(store.storage_provider, str)
    assert_type(store.session_provider, str)
    assert_type(store.bucket, str | None)
    assert_type(store.get_canonical_prefix("alice"), str)
    assert_type(store.get_session_prefix_pattern(), str)
    assert_type(store.generate_artifact_key("alice", artifact_id), str)
    assert_type(store.parse_grid_key("grid/a/b/c"), GridKey | None)


def wrong(store: ArtifactStore, body: AsyncIterator[bytes]) -> None:
    """Pass data that has no bytes, misspell arguments, and expect the wrong type."""
    store.store("abc")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.store(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.store(["a"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    store.store(body)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.store(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.update_file("id", data=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.update_file("id", data="abc")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    store.store_batch([{"data": "abc"}])  # type: ignore[typeddict-item]  # pyright: ignore[reportArgumentType]
    store.store_batch([{"data": 5}])  # type: ignore[typeddict-item]  # pyright: ignore[reportArgumentType]
    store.store_batch([{"mime": "a/b"}])  # type: ignore[typeddict-item]  # pyright: ignore[reportArgumentType]
    store.store_batch([{"data": b"", "mine": 5}])  # type: ignore[typeddict-unknown-key]  # pyright: ignore[reportArgumentType]
    _: bytes = store.read_file("id")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    ArtifactStore(storage_provider=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ArtifactStore(session_provider="mysql")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
