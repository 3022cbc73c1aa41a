"""Bringing back a lost catalog from an export and from the bytes."""

from __future__ import annotations

import shutil

from chuk_artifacts import ArtifactStore


def on_disk(root, clock):
    """Return a store on disk."""
    return ArtifactStore(storage_provider="filesystem", fs_root=root, sandbox_id="box", clock=clock)


def everything(store):
    """Return all sessions and artifacts."""
    infos = {info.session_id: {**info, "ttl": info.ttl} for info in store.iter_sessions()}
    listed = [one for session_id in infos for one in store.list_by_session(session_id)]
    return infos, {
        one.artifact_id: (
            dict(one),
            store.retrieve(one.artifact_id),
            [dict(version) for version in store.versions(one.artifact_id)],
        )
        for one in listed
    }


def test_either_order(tmp_path, clock):
    """An import and a reindex, in either order, bring back the same: what was exported, and what came after it."""
    with on_disk(tmp_path / "root", clock) as store:
        store.create_session(session_id="alice", user_id="ann", custom_metadata={"k": 1}, ttl_hours=90)
        one = store.store(b"one", filename="draft", session_id="alice", meta={"long": "x" * 3000})
        two = store.store(b"two", filename="two", session_id="alice", keep_versions=2)
        three = store.store(b"three", session_id="bob", ttl=60)
        clock.advance(1)
        store.update_metadata(one, filename="final", meta={"more": True})
        store.update_file(two, data=b"two, again")
        store.extend_ttl(three, 3600)
        store.export_catalog(tmp_path / "export.gz")
        clock.advance(1)
        store.update_file(two, data=b"two, after the export", filename="third")
        store.store(b"four", filename="four", session_id="carol", user_id="ann")
        store.update_session_metadata("alice", {"k": 2})
        expected = everything(store)
    found = []
    steps = (lambda store: store.import_catalog(tmp_path / "export.gz"), lambda store: store.reindex())
    for name, order in (("a", steps), ("b", steps[::-1])):
        shutil.copytree(tmp_path / "root", tmp_path / name, ignore=shutil.ignore_patterns("catalog*"))
        with on_disk(tmp_path / name, clock) as store:
            for step in order:
                step(store)
            found.append(everything(store))
            assert store.cleanup(orphans=True).orphans == 0
    assert found[0] == found[1]
    assert found[0] == expected
