"""Checked by mypy and pyright, never run: right use of the async store passes, wrong use has the error named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, assert_type

from chuk_artifacts import ArtifactMetadata, ArtifactVersion, CleanupReport, GridKey, SessionInfo
from chuk_artifacts import ArtifactStore as BlockingStore
from chuk_artifacts.aio import ArtifactStore, Reader
from chuk_artifacts.listings import Listing


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
    store.retreive("id")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
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
    _ = store.metadata(artifact_id).bytes  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    for _ in store.stream(artifact_id):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    with store.open(artifact_id):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    return store.retrieve(artifact_id)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
