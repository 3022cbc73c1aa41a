"""Checked by mypy and pyright, never run: right use of the blocking store passes, wrong use has the error named."""

from __future__ import annotations

import array
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, assert_type

from chuk_artifacts import ArtifactMetadata, ArtifactStore


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
