"""An exception may come at any line: the interrupted call is made or not, and the store is not damaged."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import child
import pytest
from interrupts import Interrupt, TimeLimit, interrupted

from chuk_artifacts import ArtifactStore

SESSION = "alice"
CONTENT = b"content"


def on_disk(request, folder):
    """Return the options of a store on disk."""
    return {"storage_provider": "filesystem", "fs_root": folder, "sandbox_id": "box"}


def in_redis(request, folder):
    """Return the options of a store on disk with records in Redis."""
    request.getfixturevalue("every_server")  # lines of Python are interrupted, and other stores have these too
    url = request.getfixturevalue("redis_url")
    return {**on_disk(request, folder), "sandbox_id": folder.name, "session_provider": "redis", "redis_url": url}


STORES = {"memory": lambda request, folder: {}, "filesystem": on_disk, "redis": in_redis}


@pytest.fixture(params=STORES)
def options(request, tmp_path):
    """Return the options of a store on one backend."""
    return STORES[request.param](request, tmp_path)


def uploaded(store):
    """Return the id of an upload before ``register_uploaded_artifact``."""
    _, artifact_id = store.presign_upload(SESSION, "uploaded")
    store.scope.core.storage.put(f"{store.generate_artifact_key(SESSION, artifact_id)}~upload", CONTENT)
    return artifact_id


def register(store, artifact_id):
    """Register an upload."""
    store.register_uploaded_artifact(artifact_id, mime="text/plain", summary="")


def one(store):
    """Return the id of a new artifact."""
    return store.store(CONTENT, session_id=SESSION, filename="file")


def session(store):
    """Return a new session with some artifacts."""
    session_id = store.create_session()
    store.store_batch([{"data": CONTENT}] * 3, session_id)
    return session_id


CALLS = {
    "store": (lambda _: None, lambda store, _: one(store)),
    "store exclusive": (
        lambda _: None,
        lambda store, _: store.delete(store.store(CONTENT, session_id=SESSION, filename="only", exclusive=True)),
    ),
    "stream": (lambda _: None, lambda store, _: store.store(iter([b"con", b"tent"]), session_id=SESSION)),
    "store_batch": (lambda _: None, lambda store, _: store.store_batch([{"data": CONTENT}] * 2, SESSION)),
    "retrieve": (one, lambda store, this: store.retrieve(this)),
    "stream out": (one, lambda store, this: list(store.stream(this))),
    "open": (one, lambda store, this: store.open(this).close()),
    "retrieve_batch": (one, lambda store, this: store.retrieve_batch([this] * 2)),
    "update_metadata": (one, lambda store, this: store.update_metadata(this, meta={"a": 1})),
    "update_file": (one, lambda store, this: store.update_file(this, data=b"changed")),
    "copy_file": (one, lambda store, this: store.copy_file(this)),
    "move_file": (one, lambda store, this: store.move_file(this, new_filename="moved")),
    "extend_ttl": (one, lambda store, this: store.extend_ttl(this, 60)),
    "delete": (one, lambda store, this: store.delete(this)),
    "list": (one, lambda store, _: store.list_by_session(SESSION)),
    "register": (uploaded, register),
    "presign_upload": (lambda _: None, lambda store, _: uploaded(store)),
    "create_session": (lambda _: None, lambda store, _: store.create_session(custom_metadata={"a": 1})),
    "update_session": (lambda _: None, lambda store, _: store.update_session_metadata(SESSION, {"a": 1})),
    "extend_session": (lambda _: None, lambda store, _: store.extend_session_ttl(SESSION, 1)),
    "delete_session": (session, lambda store, this: store.delete_session(this)),
    "cleanup": (one, lambda store, _: store.cleanup(orphans=True, force=True)),
    "stats": (one, lambda store, _: store.get_stats()),
}
"""The calls, and what to prepare for each."""


def check(store):
    """Use a store: each record has its bytes, and a new artifact can be stored, changed, listed and deleted."""
    for record in store.list_by_session(SESSION):
        assert store.retrieve(record.artifact_id) in {CONTENT, b"changed"}
    artifact_id = store.store(b"check", session_id=SESSION, filename="check")
    assert store.update_file(artifact_id, data=b"checked").revision == 2
    assert [found.filename for found in store.list_files(SESSION, "check")] == ["check"]
    assert store.delete(artifact_id)
    store.delete_session(SESSION)  # including its pending uploads
    store.store(CONTENT, session_id=SESSION)


def check_in_thread(store):
    """Call :func:`check` in another thread."""
    problems = []

    def run():
        try:
            check(store)
        except BaseException as error:  # noqa: BLE001 - it is raised below
            problems.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "a lock stayed taken"
    for problem in problems:
        raise problem


def check_in_process(options):
    """Call :func:`check` in another process."""
    code = textwrap.dedent(f"""
        import sys
        sys.path[:0] = [{str(Path(__file__).parent)!r}]
        from test_interrupts import check
        from chuk_artifacts import ArtifactStore
        with ArtifactStore(**{options!r}) as store:
            check(store)
    """)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=child.environment())


# A file that an interrupted call had open is closed when its frames are freed.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", CALLS)
def test_every_line(options, name):
    """A method interrupted at any of its lines raises the interrupt, and the store still works everywhere."""
    prepare, call = CALLS[name]
    options = {key: str(value) for key, value in options.items()}
    options |= {"gateway_url": "http://127.0.0.1:1", "signing_key": "0123456789abcdef0123456789abcdef"}
    with ArtifactStore(**options) as store:
        store.store(CONTENT, session_id=SESSION)
        made = prepare(store)

        def again():
            call(store, made)

        kinds = (Interrupt, TimeLimit) if name in {"store", "update_file"} else (Interrupt,)
        for kind in kinds:
            for number, place in enumerate(interrupted(again, kind=kind)):
                assert place
                (check if number % 7 else check_in_thread)(store)
                made = prepare(store)
        check_in_thread(store)
        if "fs_root" in options:
            check_in_process(options)
        closing = threading.Thread(target=store.close, daemon=True)
        closing.start()
        closing.join(60)
        assert not closing.is_alive(), "close waits for a call that has ended"
