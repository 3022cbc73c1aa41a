"""What every store does with presigned URLs: they download or upload one file for a while, and allow nothing else."""

from __future__ import annotations

import io
import re
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
import zipfile

import pytest
from orphans import orphans

from chuk_artifacts import (
    AccessDeniedError,
    ArtifactExpiredError,
    ArtifactNotFoundError,
    ArtifactStore,
    InvalidInputError,
)

SESSION = "user_alice"
HOUR = 3600
WEEK = 7 * 86400
UNKNOWN = "0" * 32

SERVED = [
    ("blocking", "memory"),
    ("aio", "memory"),
    ("blocking", "filesystem"),
    ("aio", "filesystem-memory"),
    ("blocking", "s3-rgw"),
    ("aio", "ibm_cos-rgw"),
    ("blocking", "ibm_cos_iam-moto"),
]
"""The rigs that check what they have signed."""

UNCHECKED = ("aio", "s3-moto-served")
"""The rig that takes any signature, and so says nothing of what it must refuse."""

pytestmark = pytest.mark.parametrize("rig", [*SERVED, UNCHECKED], indirect=True, ids="-".join)

USES = {
    "retrieve": lambda store, one: store.retrieve(one),
    "read_file": lambda store, one: store.read_file(one),
    "open": lambda store, one: store.open(one).close(),
    "stream": lambda store, one: list(store.stream(one)),
    "metadata": lambda store, one: store.metadata(one),
    "presign": lambda store, one: store.presign(one),
    "retrieve_batch": lambda store, one: store.retrieve_batch([one]),
    "copy_file": lambda store, one: store.copy_file(one),
    "update_metadata": lambda store, one: store.update_metadata(one, summary="new"),
    "update_file": lambda store, one: store.update_file(one, data=b"new"),
    "move_file": lambda store, one: store.move_file(one, new_filename="new.txt"),
    "extend_ttl": lambda store, one: store.extend_ttl(one, 1),
}

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url):
    """Return status, headers and body of a download."""
    try:
        with _direct.open(url, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, b""


def test_url_of_a_revision(store, clock):
    """A URL of a revision downloads its content, with the name and the type of that time, while it is kept."""
    one = store.store(b"first", filename="old.txt", mime="text/x-first", keep_versions=1)
    store.update_file(one, data=b"second", filename="new.txt", mime="text/x-second")
    for presign in (store.presign, store.presign_short, store.presign_medium, store.presign_long):
        status, headers, body = get(presign(one, revision=1))
        assert (status, body, headers["Content-Type"]) == (200, b"first", "text/x-first")
        assert "old.txt" in headers["Content-Disposition"]
        assert get(presign(one, revision=2))[2] == get(presign(one))[2] == b"second"
    url, current = store.presign(one, revision=1), store.presign(one, revision=2)
    store.update_file(one, data=b"third")
    assert get(current)[2] == b"second"
    with pytest.raises(ArtifactNotFoundError):
        store.presign(one, revision=4)
    store.update_file(one, data=b"fourth", keep_versions=0)
    clock.advance(HOUR - 1)
    store.update_file(one, data=b"fifth")
    clock.advance(2)
    store.cleanup()
    assert get(url)[0] in {403, 404}


def test_url_of_an_archive(store, clock):
    """A URL of an archive downloads what the session has then, with its name, until it expires."""
    store.store(b"first", filename="docs/a.txt", session_id=SESSION)
    store.store(b"other", filename="b.txt", session_id=SESSION)
    url = store.presign_archive(SESSION, prefix="docs/", expires=60)
    bound = store.session(SESSION).presign_archive()
    store.store(b"second", filename="docs/c.txt", session_id=SESSION)
    status, headers, body = get(url)
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert (status, headers["Content-Type"]) == (200, "application/zip")
    assert f"{SESSION}.zip" in headers["Content-Disposition"]
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "docs/a.txt": b"first",
        "docs/c.txt": b"second",
    }
    assert zipfile.ZipFile(io.BytesIO(get(bound)[2])).namelist() == ["b.txt", "docs/a.txt", "docs/c.txt"]
    for altered in (url.replace("&prefix=", "&prefix=YQ"), url.replace("/archive?", "/archives?"), url[:-1]):
        assert get(altered)[0] == 403
    assert put(url, b"x") == 403
    clock.advance(60)
    assert get(url)[0] == 403


def put(url, data, mime="application/octet-stream"):
    """Return the status of an upload."""
    request = urllib.request.Request(url, data=data, method="PUT", headers={"Content-Type": mime})
    try:
        with _direct.open(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def filename_of(headers):
    """Return the filename that a browser saves a download under (RFC 6266)."""
    disposition = headers["Content-Disposition"]
    assert disposition.isascii()
    assert disposition.partition(";")[0] == "attachment"
    encoded = re.search(r"filename\*=UTF-8''([^;]*)$", disposition)
    if encoded:
        return urllib.parse.unquote(encoded[1])
    plain = re.search(r'filename="([^"\\]*)"$', disposition)
    return plain and plain[1]


def register(store, artifact_id, **more):
    """Register an upload with the required arguments."""
    return store.register_uploaded_artifact(artifact_id, **{"mime": "text/plain", "summary": "uploaded", **more})


@pytest.fixture
def _checked(rig):
    """Skip the test if the rig does not check signatures."""
    if rig.name == UNCHECKED[1]:
        pytest.skip("moto checks no signatures")


def core(store):
    """Return the core of a blocking or async store."""
    return (store if isinstance(store, ArtifactStore) else store._store._blocking).scope.core


def keys(store):
    """Return the keys of all bytes."""
    return sorted(item.key for item in core(store).storage.list_objects(store.get_session_prefix_pattern()))


# Download


@pytest.mark.parametrize("method", ["presign", "presign_short", "presign_medium", "presign_long"])
def test_download(store, method):
    """Each kind of URL returns the artifact's bytes, media type and filename."""
    artifact_id = store.store(b"0123456789", filename="docs/a report.txt", mime="text/plain", session_id=SESSION)
    status, headers, body = get(getattr(store, method)(artifact_id))
    assert (status, body) == (200, b"0123456789")
    assert headers["Content-Type"] == "text/plain"
    assert filename_of(headers) == "a report.txt"


@pytest.mark.parametrize("name", ["Übersicht 日本.txt", 'a"b\\c;d=e.txt', "50%.txt", "'%41'.txt", "a" * 200 + "é.txt"])
def test_download_under_any_name(store, name):
    """A filename in any script is in the download; a backslash counts as a separator."""
    artifact_id = store.store(b"1", filename=name, session_id=SESSION)
    assert filename_of(get(store.presign(artifact_id))[1]) == name.rpartition("\\")[2]


def test_download_without_a_name(store):
    """An artifact without a filename is downloaded too, and never shown as a page."""
    artifact_id = store.store(b"<script>", mime="text/html", session_id=SESSION)
    assert filename_of(get(store.presign(artifact_id))[1]) is None


def test_download_of_an_empty_artifact(store):
    """An empty artifact can be downloaded."""
    assert get(store.presign(store.store(b"", session_id=SESSION)))[::2] == (200, b"")


@pytest.mark.usefixtures("_checked")
def test_altered_url(store):
    """A URL with any part altered is refused."""
    url = store.presign(store.store(b"mine", session_id=SESSION, filename="a.txt"))
    other = store.metadata(store.store(b"theirs", session_id="user_bob")).key
    mine = store.list_by_session(SESSION)[0].key
    parts = urllib.parse.urlsplit(url)
    altered = [
        url.replace("3600", "9999"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        parts._replace(query="").geturl(),
    ]
    if mine.rpartition("/")[2] in url:
        altered.append(url.replace(mine.rpartition("/")[2], other.rpartition("/")[2]))
    assert {get(one)[0] for one in altered if one != url} == {403}
    assert get(url)[0] == 200


@pytest.mark.usefixtures("_checked")
def test_download_url_does_not_upload(store):
    """A download URL can't be used to upload."""
    artifact_id = store.store(b"mine", session_id=SESSION)
    assert put(store.presign(artifact_id), b"theirs") in {403, 405}
    assert store.retrieve(artifact_id) == b"mine"


def test_download_url_after_an_update(store):
    """A URL signed before an update works while the old bytes are kept; a new URL returns the new bytes."""
    artifact_id = store.store(b"old", session_id=SESSION)
    before = store.presign(artifact_id)
    store.update_file(artifact_id, data=b"new")
    assert get(before)[2] in {b"old", b"new"}
    assert get(store.presign(artifact_id))[2] == b"new"


@pytest.mark.parametrize("expires", [0, -1, float("nan"), float("inf"), "60", None, True, WEEK + 1])
def test_presign_with_a_bad_expiry(store, expires):
    """An expiry that is not a number of seconds up to 7 days is refused by name."""
    artifact_id = store.store(b"1", session_id=SESSION)
    with pytest.raises(InvalidInputError, match="expires"):
        store.presign(artifact_id, expires)
    with pytest.raises(InvalidInputError, match="expires"):
        store.presign_upload(SESSION, expires=expires)


@pytest.mark.parametrize("expires", [0.2, 1.5, WEEK])
def test_presign_with_a_good_expiry(store, expires):
    """Fractions of a second and 7 days are accepted."""
    assert store.presign(store.store(b"1", session_id=SESSION), expires)


def test_presign_of_a_missing_artifact(store, clock):
    """An unknown, expired or foreign artifact has no URL."""
    artifact_id = store.store(b"1", session_id=SESSION, ttl=10)
    with pytest.raises(ArtifactNotFoundError):
        store.presign(UNKNOWN)
    with pytest.raises(ArtifactNotFoundError):
        store.session("user_bob").presign(artifact_id)
    clock.advance(11)
    with pytest.raises(ArtifactExpiredError):
        store.presign(artifact_id)


# Upload


def test_upload_and_register(store):
    """An upload becomes an artifact when it is registered, with the given metadata."""
    url, artifact_id = store.presign_upload(SESSION, filename="docs/upload.txt", mime_type="image/png")
    assert put(url, b"0123456789", "image/png") in {200, 201, 204}
    assert register(store, artifact_id, mime="image/jpeg", summary="a photo", meta={"n": 1}, ttl=60) is True
    metadata = store.metadata(artifact_id)
    assert store.retrieve(artifact_id) == b"0123456789"
    assert (metadata.session_id, metadata.filename, metadata.bytes) == (SESSION, "docs/upload.txt", 10)
    assert (metadata.mime, metadata.summary, metadata.meta) == ("image/jpeg", "a photo", {"n": 1})
    assert (metadata.ttl, metadata.revision) == (60, 1)
    assert metadata.key.startswith(f"{store.generate_artifact_key(SESSION, artifact_id)}~")
    assert [one.artifact_id for one in store.list_by_session(SESSION)] == [artifact_id]
    assert keys(store) == [metadata.key]


@pytest.mark.usefixtures("_checked")
def test_broken_upload(store):
    """An interrupted upload leaves nothing."""
    url, artifact_id = store.presign_upload(SESSION)
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 9000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 1_000_000)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    with pytest.raises(ArtifactNotFoundError):
        register(store, artifact_id)
    assert keys(store) == []


def test_upload_to_a_new_session(store):
    """Without a session id an upload gets a new session; its registration may pass that and another filename."""
    url, artifact_id = store.presign_upload()
    put(url, b"1")
    register(store, artifact_id, filename="named.txt")
    metadata = store.metadata(artifact_id)
    assert store.validate_session(metadata.session_id)
    assert metadata.filename == "named.txt"
    assert register(store, artifact_id, session_id=metadata.session_id) is True


def test_registered_artifact_lives_as_long_as_its_session(store):
    """An upload registered without a ttl gets that of its session, counted from now."""
    session_id = store.create_session(ttl_hours=2)
    url, artifact_id = store.presign_upload(session_id)
    put(url, b"1")
    register(store, artifact_id)
    assert store.metadata(artifact_id).ttl == 2 * HOUR


@pytest.mark.usefixtures("_checked")
def test_upload_of_another_type(store):
    """The upload must have the signed media type; without one any is accepted."""
    url, artifact_id = store.presign_upload(SESSION, mime_type="image/png")
    assert put(url, b"1", "text/html") in {400, 403, 415}
    with pytest.raises(ArtifactNotFoundError):
        register(store, artifact_id)
    url, artifact_id = store.presign_upload(SESSION)
    assert put(url, b"1", "text/html") in {200, 201, 204}
    assert register(store, artifact_id)


@pytest.mark.usefixtures("_checked")
def test_upload_url_does_not_download(store):
    """An upload URL can't be used to download."""
    url, _ = store.presign_upload(SESSION)
    put(url, b"1")
    assert get(url)[0] in {403, 405}


def test_register_before_the_upload(store):
    """Registering before the upload raises not-found, and works after it."""
    url, artifact_id = store.presign_upload(SESSION)
    with pytest.raises(ArtifactNotFoundError):
        register(store, artifact_id)
    put(url, b"1")
    assert register(store, artifact_id)


@pytest.mark.parametrize("artifact_id", [UNKNOWN, "x", None, 5])
def test_register_the_unknown(store, artifact_id):
    """Registering an unknown id raises not-found."""
    with pytest.raises(ArtifactNotFoundError):
        register(store, artifact_id)


def test_register_from_another_session(store):
    """An upload can't be registered for another session; a store bound to that does not find it."""
    url, artifact_id = store.presign_upload(SESSION)
    put(url, b"1")
    with pytest.raises(AccessDeniedError):
        register(store, artifact_id, session_id="user_bob")
    with pytest.raises(ArtifactNotFoundError):
        register(store.session("user_bob"), artifact_id)
    with pytest.raises(AccessDeniedError):
        store.session("user_bob").presign_upload(SESSION)
    alice = store.session(SESSION)
    assert register(alice, artifact_id)
    with pytest.raises(AccessDeniedError):
        register(store, artifact_id, session_id="user_bob")
    url, artifact_id = alice.presign_upload()
    put(url, b"2")
    assert register(alice, artifact_id)
    assert store.metadata(artifact_id).session_id == SESSION


@pytest.mark.parametrize(
    "bad",
    [{"mime": "text"}, {"summary": 5}, {"meta": []}, {"filename": "/a"}, {"session_id": ".."}, {"ttl": 0}],
    ids=str,
)
def test_register_with_a_bad_argument(store, bad):
    """An invalid argument is refused first, and the upload can be registered later."""
    url, artifact_id = store.presign_upload(SESSION)
    put(url, b"1")
    with pytest.raises(InvalidInputError):
        register(store, artifact_id, **bad)
    assert register(store, artifact_id)


@pytest.mark.parametrize(
    "bad",
    [{"mime_type": "text"}, {"filename": "../a"}, {"session_id": "a/b"}, {"max_bytes": -1}, {"max_bytes": "1"}],
    ids=str,
)
def test_presign_upload_with_a_bad_argument(store, bad):
    """An invalid argument is refused, and no pending record is stored."""
    with pytest.raises(InvalidInputError):
        store.presign_upload(**bad)
    assert store.get_stats()["sessions"] == 0


def test_register_twice(store):
    """Registering twice changes nothing and raises nothing; an expired artifact raises expired."""
    url, artifact_id = store.presign_upload(SESSION)
    put(url, b"1")
    register(store, artifact_id)
    before = store.metadata(artifact_id)
    put(url, b"another upload")
    assert register(store, artifact_id, summary="another") is True
    assert dict(store.metadata(artifact_id)) == dict(before)


def test_upload_after_the_registration(store, clock):
    """A URL that still works can't change a registered artifact; its upload is an orphan."""
    url, artifact_id = store.presign_upload(SESSION)
    put(url, b"registered")
    register(store, artifact_id)
    assert put(url, b"changed") in {200, 201, 204, 403, 404}
    assert store.retrieve(artifact_id) == b"registered"
    clock.advance(2 * HOUR)
    store.cleanup()
    assert set(keys(store)) <= {store.metadata(artifact_id).key, *orphans(store)}


def test_pending_upload_is_not_an_artifact(store):
    """Until it is registered, no method finds an upload, though its bytes exist."""
    url, artifact_id = store.presign_upload(SESSION, filename="a.txt")
    put(url, b"1")
    for method, use in USES.items():
        with pytest.raises(ArtifactNotFoundError):
            pytest.fail(f"{method} knows it: {use(store, artifact_id)!r}")
    assert store.exists(artifact_id) is False
    assert store.list_by_session(SESSION) == []
    assert register(store, artifact_id)


def test_pending_uploads_do_not_count(store):
    """A listing with a limit finds the artifacts behind any number of pending uploads."""
    for number in range(7):
        store.presign_upload(SESSION, filename=f"a{number}.txt")
    ids = [store.store(b"1", filename=f"b{number}.txt", session_id=SESSION) for number in range(3)]
    assert [one.artifact_id for one in store.list_by_session(SESSION, limit=2)] == ids[:2]
    assert [one.artifact_id for one in store.iter_session(SESSION, page_size=2)] == ids


def test_delete_cancels_an_upload(store):
    """Deleting a pending upload returns False, and cancels the upload."""
    url, artifact_id = store.presign_upload(SESSION)
    put(url, b"1")
    assert store.delete(artifact_id) is False
    assert keys(store) == []
    with pytest.raises(ArtifactNotFoundError):
        register(store, artifact_id)


def test_delete_session_cancels_its_uploads(store):
    """Deleting a session removes its pending uploads with their bytes."""
    url, artifact_id = store.presign_upload(SESSION)
    put(url, b"1")
    assert store.delete_session(SESSION) is True
    assert keys(store) == []
    with pytest.raises(ArtifactNotFoundError):
        register(store, artifact_id)


def test_longest_upload(store):
    """An upload of max_bytes is registered; a longer one is refused and removed."""
    url, artifact_id = store.presign_upload(SESSION, max_bytes=5)
    if put(url, b"123456") in {200, 201, 204}:
        with pytest.raises(InvalidInputError, match="6 bytes"):
            register(store, artifact_id)
    assert keys(store) == []
    with pytest.raises(ArtifactNotFoundError):
        register(store, artifact_id)
    put(url, b"12345")
    assert register(store, artifact_id)
    assert store.metadata(artifact_id).bytes == 5


def test_upload_changes_while_it_is_registered(store, monkeypatch):
    """The record has length and SHA-256 of the copied bytes, whatever is uploaded at that moment."""
    url, artifact_id = store.presign_upload(SESSION, max_bytes=100)
    put(url, b"first")
    storage = core(store).storage
    stat = storage.stat

    def stat_and_upload(key):
        stored = stat(key)
        put(url, b"second, which is longer")
        return stored

    monkeypatch.setattr(storage, "stat", stat_and_upload)
    register(store, artifact_id)
    assert store.retrieve(artifact_id) == b"second, which is longer"


def test_upload_grows_while_it_is_registered(store, monkeypatch):
    """An upload that grows too long at that moment is refused too."""
    url, artifact_id = store.presign_upload(SESSION, max_bytes=10)
    put(url, b"first")
    storage = core(store).storage
    stat, key = storage.stat, core(store).catalog.get([artifact_id])[0].key

    def stat_and_upload(asked):
        stored = stat(asked)
        storage.put(key, b"longer than ten")
        return stored

    monkeypatch.setattr(storage, "stat", stat_and_upload)
    with pytest.raises(InvalidInputError):
        register(store, artifact_id)
    assert keys(store) == []


def test_register_at_once(store):
    """Concurrent registrations of one upload all succeed, and make one artifact."""
    url, artifact_id = store.presign_upload(SESSION)
    put(url, b"0123456789")
    results = []

    def run():
        barrier.wait()
        try:
            results.append(register(store, artifact_id))
        except Exception as error:  # noqa: BLE001 - asserted below
            results.append(error)

    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 6
    assert store.retrieve(artifact_id) == b"0123456789"
    assert keys(store) == [store.metadata(artifact_id).key]


def test_register_too_late(store, clock):
    """An hour after the URL expires an upload is given up; cleanup removes its bytes, and later ones."""
    url, artifact_id = store.presign_upload(SESSION, expires=60)
    put(url, b"1")
    clock.advance(60 + HOUR - 1)
    store.cleanup()
    assert len(keys(store)) == 1
    clock.advance(2)
    with pytest.raises(ArtifactExpiredError):
        register(store, artifact_id)
    store.cleanup()
    assert keys(store) == []
    with pytest.raises(ArtifactExpiredError):
        register(store, artifact_id)
    clock.advance(2 * HOUR)
    store.cleanup()
    with pytest.raises(ArtifactNotFoundError) as caught:
        register(store, artifact_id)
    assert not isinstance(caught.value, ArtifactExpiredError)


# Upload that registers itself


@pytest.fixture
def uploaded(store):
    """Return the id of an upload with complete metadata."""
    url, artifact_id = store.presign_upload_and_register(
        mime="text/plain", summary="given", meta={"n": 1}, filename="docs/a.txt", session_id=SESSION, ttl=2 * HOUR
    )
    assert put(url, b"0123456789", "text/plain") in {200, 201, 204}
    return artifact_id


@pytest.mark.parametrize("method", USES)
def test_upload_registers_itself(store, uploaded, method):
    """The first method that asks for the artifact finds it."""
    USES[method](store, uploaded)
    assert store.exists(uploaded)


def test_upload_registers_itself_with_its_metadata(store, uploaded):
    """The artifact has the metadata passed beforehand, and the uploaded bytes."""
    assert store.exists(uploaded)
    metadata = store.metadata(uploaded)
    assert (metadata.filename, metadata.mime, metadata.summary) == ("docs/a.txt", "text/plain", "given")
    assert (metadata.meta, metadata.ttl, metadata.bytes, metadata.revision) == ({"n": 1}, 2 * HOUR, 10, 1)
    assert store.retrieve(uploaded) == b"0123456789"
    assert keys(store) == [metadata.key]


def test_upload_is_listed(store, uploaded):
    """A listing has the artifact, and no uploads that have not arrived."""
    store.presign_upload_and_register(mime="text/plain", summary="", session_id=SESSION)
    assert [one.bytes for one in store.list_files(SESSION, "docs/")] == [10]
    assert [one.artifact_id for one in store.list_by_session(SESSION, limit=5)] == [uploaded]
    assert store.get_stats()["bytes"] == 10


def test_upload_registers_itself_once(store, uploaded):
    """Registering it by hand, before or after, changes nothing."""
    assert register(store, uploaded)
    assert store.metadata(uploaded).filename == "docs/a.txt"
    assert register(store, uploaded)


def test_delete_of_an_upload_that_registers_itself(store, uploaded):
    """Deleting it before the first read returns True; without an upload it returns False."""
    _, empty_id = store.presign_upload_and_register(mime="text/plain", summary="", session_id=SESSION)
    assert store.delete_batch([uploaded, empty_id]) == 1
    assert keys(store) == []
    assert not store.exists(uploaded)


def test_nothing_uploaded_yet(store):
    """Before the upload the artifact is not found."""
    _, artifact_id = store.presign_upload_and_register(mime="text/plain", summary="", session_id=SESSION)
    assert not store.exists(artifact_id)
    with pytest.raises(ArtifactNotFoundError):
        store.retrieve(artifact_id)
    assert store.list_by_session(SESSION) == []
    assert store.delete(artifact_id) is False


def test_too_long_an_upload_never_registers_itself(store):
    """The first read removes an upload that is too long, and raises not-found."""
    url, artifact_id = store.presign_upload_and_register(
        mime="application/octet-stream", summary="", session_id=SESSION, max_bytes=5
    )
    put(url, b"123456")
    assert not store.exists(artifact_id)
    assert keys(store) == []


def test_cleanup_of_an_unread_upload(store, clock, uploaded):
    """Cleanup makes an artifact of a complete upload, and does not remove it."""
    clock.advance(2 * HOUR + 1)
    store.cleanup()
    clock.advance(2 * HOUR - 1)
    assert store.retrieve(uploaded) == b"0123456789"
    clock.advance(2)
    assert not store.exists(uploaded)
    store.cleanup()
    assert keys(store) == []


def test_upload_that_never_came(store, clock):
    """Cleanup removes the record of an upload that never arrived; later bytes are an orphan."""
    url, artifact_id = store.presign_upload_and_register(
        mime="application/octet-stream", summary="", session_id=SESSION, expires=WEEK
    )
    clock.advance(WEEK + HOUR + 1)
    store.cleanup()
    put(url, b"1")
    assert not store.exists(artifact_id)
    clock.advance(2 * HOUR)
    store.cleanup()
    assert keys(store) == orphans(store)
