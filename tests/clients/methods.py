"""What a store does on any service, in one go."""

from __future__ import annotations

import urllib.request

import pytest

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore
from chuk_artifacts.source import source
from chuk_artifacts.storage import Description, Storage

DATA = bytes(range(256)) * 20_000  # 5 MB


def use(store: ArtifactStore) -> None:
    """Store, read, change, list, sign, batch and delete, and leave nothing."""
    file_id = store.store(
        (DATA[at : at + 100_000] for at in range(0, len(DATA), 100_000)), filename="docs/a", session_id="alice"
    )
    assert store.retrieve(file_id) == DATA
    assert b"".join(store.stream(file_id, start=1_000_000, end=1_000_010)) == DATA[1_000_000:1_000_010]
    with store.open(file_id) as file:
        file.seek(-10, 2)
        assert file.read() == DATA[-10:]
    assert store.update_file(file_id, data=b"new", mime="text/plain").revision == 2
    assert store.retrieve(file_id) == b"new"
    copy = store.copy_file(file_id, new_filename="docs/b")
    assert store.move_file(copy, new_filename="c").filename == "c"
    assert [file.filename for file in store.get_directory_contents("alice", "docs")] == ["docs/a"]
    with urllib.request.urlopen(store.presign(copy)) as answer:
        assert answer.read() == b"new"
    url, upload = store.presign_upload("alice", "up")
    head = {"Content-Type": "application/octet-stream"}
    with urllib.request.urlopen(urllib.request.Request(url, b"up", head, method="PUT")) as answer:
        assert answer.status == 200
    store.register_uploaded_artifact(upload, mime="text/plain", summary="")
    assert store.retrieve_batch([file_id, copy, upload]) == [b"new", b"new", b"up"]
    ids = store.store_batch([{"data": str(number).encode()} for number in range(20)], session_id="alice")
    assert store.delete_batch([*ids, copy, upload]) == 22
    assert store.delete(file_id)
    with pytest.raises(ArtifactNotFoundError):
        store.retrieve(file_id)
    assert store.validate_configuration()["storage"]["status"] == "ok"
    assert store.get_stats()["artifacts"] == 0


def describe(storage: Storage) -> None:
    """Put bytes that describe themselves: short and long ones, and a copy."""

    def about(sha256: str, size: int | None) -> Description:
        return Description("text/plain", {"format": "1", "stored-at": "now", "filename": "Ü.txt", "bytes": str(size)})

    for key, data in (("grid/a/b/c", b"short"), ("grid/a/b/d", source(iter([b"x" * 1_000_000] * 7)))):
        size, _ = storage.put(key, data, about=about)
        assert storage.description(key) == about("", size)
    storage.copy("grid/a/b/c", "grid/a/b/e", 5, about=lambda *_: Description("image/png", {"format": "1"}))
    assert storage.description("grid/a/b/e") == Description("image/png", {"format": "1"})
    storage.put("grid/a/b/c", b"without")
    assert storage.description("grid/a/b/c") is None
    assert storage.description("grid/a/b/f") is None
