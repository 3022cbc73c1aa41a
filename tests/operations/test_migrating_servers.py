"""Copying between real servers, both ways, with a kill in the middle; and to and from each kind of catalog."""

from __future__ import annotations

import json
import random
import signal
from itertools import pairwise

import child
import pytest
from servers.buckets import s3_on_rgw
from servers.urls import URLS

from chuk_artifacts import ArtifactStore, migrate

MANY = 2000
KILLED_AFTER = 900
CODE = """
    import json, sys
    from fsspec.callbacks import Callback
    from chuk_artifacts import ArtifactStore, migrate

    class Lines(Callback):
        def relative_update(self, inc=1):
            print("done", flush=True)

    with ArtifactStore(**json.loads(sys.argv[1])) as source, ArtifactStore(**json.loads(sys.argv[2])) as target:
        migrate(source, target, callback=Lines())
        input()
    """


def on_disk(root, **options):
    """Return the options of a store on disk."""
    return {"storage_provider": "filesystem", "fs_root": str(root), "sandbox_id": "box", **options}


def fill(store, count):
    """Store small files in some sessions."""
    rng = random.Random(1)
    for number in range(8):
        session_id = f"session {number}"
        store.create_session(session_id=session_id, user_id=f"user {number % 3}", custom_metadata={"n": number})
        items = [
            {
                "data": rng.randbytes(rng.randrange(200)),
                "filename": f"{at % 5}/é{at}.txt",
                "meta": {"at": at},
                "ttl": 10**6,
            }
            for at in range(number, count, 8)
        ]
        store.store_batch(items, session_id=session_id)
        if items:
            changed = store.lookup(items[0]["filename"], session_id).artifact_id
            store.update_file(changed, data=b"changed", keep_versions=1)


def everything(store):
    """Return all metadata and contents by id, the kept versions, and the sessions."""
    infos = {info.session_id: dict(info) for info in store.iter_sessions()}
    metadata, contents = {}, {}
    for session_id in infos:
        listed = store.list_by_session(session_id)
        ids = [one.artifact_id for one in listed]
        metadata |= {one.artifact_id: {**one, "storage_provider": "", "session_provider": ""} for one in listed}
        contents |= dict(zip(ids, store.retrieve_batch(ids), strict=True))
        for one in listed:
            if one.revision > 1:
                contents[one.artifact_id, 1] = store.retrieve(one.artifact_id, revision=1)
    return infos, metadata, contents


def killed(source, target):
    """Copy in a process of its own, and kill it in the middle."""
    process = child.start(CODE, json.dumps(source), json.dumps(target))
    try:
        for _ in range(KILLED_AFTER):
            assert process.stdout.readline() == "done\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_both_ways_with_a_kill(request, tmp_path):
    """2,000 files reach a bucket with records in Redis, and a new folder from there, though the copying is killed."""
    bucket = {**s3_on_rgw(request), "session_provider": "redis", "redis_url": request.getfixturevalue("redis_url")}
    places = [on_disk(tmp_path / "one"), {**bucket, "sandbox_id": "box"}, on_disk(tmp_path / "two")]
    with ArtifactStore(**places[0]) as store:
        fill(store, MANY)
        expected = everything(store)
    assert len(expected[1]) == MANY
    for here, there in pairwise(places):
        killed(here, there)
        with ArtifactStore(**here) as source, ArtifactStore(**there) as target:
            copied = target.usage().artifacts
            assert KILLED_AFTER - 200 <= copied < MANY
            report = migrate(source, target)
            assert (report.present, report.artifacts, report.failed) == (copied, MANY - copied, 0)
            assert everything(target) == expected
            assert target.usage() == source.usage()
            assert migrate(source, target).present == MANY


OTHERS = {
    "url": lambda request, tmp_path: {**URLS["url-memory"](request), "session_provider": "sqlite"},
    "postgres": lambda request, tmp_path: {
        "session_provider": "postgres",
        "postgres_url": request.getfixturevalue("postgres_url"),
    },
    "redis": lambda request, tmp_path: {
        "session_provider": "redis",
        "redis_url": request.getfixturevalue("redis_cluster_url"),
    },
    "disk": lambda request, tmp_path: on_disk(tmp_path / "disk", sandbox_id=None),
}


@pytest.mark.parametrize("sandbox_id", ["box", "bix"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_stores(request, tmp_path, name, sandbox_id):
    """A few files reach any other store, in the same sandbox and in another one, and come back as they were."""
    options = {"fs_root": tmp_path / "root", **OTHERS[name](request, tmp_path), "sandbox_id": sandbox_id}
    with (
        ArtifactStore(sandbox_id="box") as first,
        ArtifactStore(**options) as other,
        ArtifactStore(sandbox_id="box") as last,
    ):
        fill(first, 20)
        expected = everything(first)
        for source, target in ((first, other), (other, last)):
            assert migrate(source, target).artifacts == 20
            assert migrate(source, target).present == 20
        assert other.scope.core.catalog.verify() == 0
        assert everything(last) == expected
