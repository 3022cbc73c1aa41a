"""What services say that is neither success nor failure: busy keys, requests that they do not know, bad listings."""

from __future__ import annotations

import logging

import pytest
from botocore.config import Config
from ibm_botocore.config import Config as IbmConfig
from servers.buckets import open_bucket
from servers.scripted import Answer, Scripted, always, in_turn, keys_of, refusal

from chuk_artifacts import ArtifactCorruptedError, ArtifactStore, ProviderError
from chuk_artifacts.storage.bucket import client

KEY = "grid/box/session/0123"
MIB = 1024 * 1024
SESSION = "user_alice"


@pytest.fixture(params=["s3", "ibm_cos"])
def options(request, monkeypatch, service):
    """Return the options of a bucket of the service, with each SDK."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    return {"storage_provider": request.param, "bucket": "bucket", "endpoint_url": service.url}


@pytest.fixture
def service():
    """Return the service."""
    with Scripted() as service:
        yield service


@pytest.fixture
def storage(options):
    """Return a storage in the bucket."""
    storage = open_bucket(options)
    yield storage
    storage.close()


# Others at the same key


@pytest.mark.parametrize("code", ["OperationAborted", "ConditionalRequestConflict"])
def test_conflict_is_repeated_with_a_pause(storage, service, monkeypatch, code):
    """A request that meets another one is made again after a pause, whichever it is, and up to the retries allowed."""
    pauses = []
    monkeypatch.setattr(client.random, "uniform", lambda _, longest: pauses.append(longest) or 0)
    busy = refusal(409, code)
    for operation, method in (
        ("PUT", lambda: storage.put(KEY, b"1", exclusive=True)),
        ("GET", lambda: storage.get(KEY)),
        ("HEAD", lambda: storage.stat(KEY)),
        ("POST delete", lambda: storage.delete([KEY, f"{KEY}~2"])),
        ("DELETE", lambda: storage.delete([KEY])),
        ("GET list-type", lambda: list(storage.list_objects("grid/"))),
    ):
        if operation == "HEAD":
            continue  # its answers have no code
        service.script = in_turn(operation, busy, busy)
        method()
        assert service.told() == [operation] * 3
        assert pauses == [1, 2]
        service.script = always(operation, busy)
        with pytest.raises(ProviderError, match="all the time"):
            method()
        assert service.told()[:4] == [operation] * 4
        assert pauses == [1, 2, 1, 2, 4]
        pauses.clear()


# Deletions of many


def failing_for(code, *keys):
    """Return an answer to a deletion of many that fails for some."""
    errors = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key in keys)
    return Answer(200, f"<DeleteResult>{errors}</DeleteResult>".encode())


@pytest.mark.parametrize("code", ["InternalError", "SlowDown", "OperationAborted"])
def test_only_failed_keys_are_deleted_again(storage, service, code):
    """Of a deletion of many only those keys are asked for again that the service was too busy for."""
    keys = [f"grid/box/session/{number}" for number in range(10)]
    service.objects = dict.fromkeys(keys, b"1")
    service.script = in_turn("POST delete", failing_for(code, keys[3], keys[7]), failing_for(code, keys[7]))
    storage.delete(keys)
    assert [keys_of(request) for request in service.requests] == [keys, [keys[3], keys[7]], [keys[7]]]


def test_key_that_always_fails_does_not_keep_the_others(storage, service):
    """A key that always fails is an error in the end, when the other portions have been deleted."""
    keys = [f"grid/box/session/{number:04}" for number in range(2500)]
    service.objects = dict.fromkeys(keys, b"1")
    bad = keys[5]

    def script(request):
        if bad not in keys_of(request):
            return None
        for key in set(keys_of(request)) - {bad}:
            service.objects.pop(key, None)
        return failing_for("InternalError", bad)

    service.script = script
    with pytest.raises(ProviderError, match="InternalError"):
        storage.delete(keys)
    assert list(service.objects) == [bad]
    assert [len(keys_of(request)) for request in service.requests] == [1000, 1, 1, 1, 1000, 500]


def test_portion_that_is_refused_does_not_keep_the_others(storage, service):
    """A portion that fails as a whole is an error in the end, when the others have been deleted."""
    keys = [f"grid/box/session/{number:04}" for number in range(1500)]
    service.objects = dict.fromkeys(keys, b"1")
    service.script = in_turn("POST delete", refusal(400, "MalformedXML"))
    with pytest.raises(ProviderError, match="MalformedXML"):
        storage.delete(keys)
    assert list(service.objects) == keys[:1000]


def test_refused_and_busy_keys(storage, service):
    """A key that is refused is not asked for again beside one that is busy, and is an error all the same."""
    both = failing_for("AccessDenied", f"{KEY}1").body[:-15] + failing_for("SlowDown", f"{KEY}2").body[14:]
    service.script = in_turn("POST delete", Answer(200, both))
    with pytest.raises(ProviderError, match="access is denied"):
        storage.delete([f"{KEY}1", f"{KEY}2", f"{KEY}3"])
    assert [keys_of(request) for request in service.requests][1:] == [[f"{KEY}2"]]


@pytest.mark.parametrize(
    "answer",
    [refusal(405, "MethodNotAllowed"), Answer(405), refusal(501, "NotImplemented"), Answer(501)],
    ids=["405", "405 empty", "501", "501 empty"],
)
def test_service_without_deletions_of_many(storage, service, answer):
    """A service that does not know the deletion of many is asked once, and then for one object after the other."""
    keys = [f"{KEY}{number}" for number in range(3)]
    service.script = always("POST delete", answer)
    for _ in range(2):
        service.objects = dict.fromkeys(keys, b"1")
        storage.delete(keys)
        assert service.objects == {}
    assert service.told() == ["POST delete", *["DELETE"] * 6]


# Unfinished uploads


@pytest.mark.parametrize("answer", [refusal(501, "NotImplemented"), refusal(405, "MethodNotAllowed")])
def test_service_that_lists_no_uploads(options, service, answer, caplog):
    """A sweep leaves unfinished uploads out where the service can't list them, says so, and does the rest."""
    caplog.set_level(logging.WARNING, "chuk_artifacts")
    service.script = always("GET uploads", answer)
    with ArtifactStore(**options, sandbox_id="box") as store:
        store.scope.core.identified = True
        artifact_id = store.store(b"1", session_id=SESSION)
        orphan = store.generate_artifact_key(SESSION, artifact_id).replace(artifact_id, artifact_id[:-1] + "0")
        service.objects[orphan] = b"2"
        assert list(store.scope.core.storage.sweep("grid/box/", float("inf"))) == []
    assert "skips unfinished uploads" in caplog.text


# Conditions


@pytest.mark.parametrize("size", [10, 2 * MIB])
@pytest.mark.parametrize("retries", [0, 3])
def test_service_without_conditions(options, service, size, retries):
    """A service that answers 501 to a condition gets the bytes all the same, also when nothing is retried.

    It may do so in place of ``100 Continue``, and keep the connection.
    """
    refuse = lambda request: refusal(501, "NotImplemented") if "if-none-match" in request.headers else None  # noqa: E731
    service.script = service.early = refuse
    storage = open_bucket({**options, "max_retries": retries})
    for number in range(2):
        storage.put(f"{KEY}{number}", b"x" * size, exclusive=True)
        assert storage.get(f"{KEY}{number}") == b"x" * size
    assert service.told() == ["PUT", "PUT", "GET", "PUT", "GET"]
    storage.close()


# Retries of the user's own


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("answer", [refusal(503, "SlowDown"), refusal(409, "OperationAborted"), Answer(404)])
def test_own_retries_win_as_a_whole(options, service, attempts, answer, monkeypatch):
    """How often a request is made is what a configuration of the SDK says, whichever failure it meets."""
    kind = Config if options["storage_provider"] == "s3" else IbmConfig
    config = kind(retries={"mode": "standard", "total_max_attempts": attempts})
    storage = open_bucket({**options, "max_retries": 5, "storage_options": {"config": config}})
    service.script = always("GET", answer)
    with pytest.raises(ProviderError):
        storage.get(KEY)
    assert service.told() == ["GET"] * attempts
    storage.close()


@pytest.mark.parametrize(("mode", "attempts"), [("standard", 3), ("adaptive", 3), ("legacy", 5)])
def test_own_mode_of_retries(options, service, mode, attempts):
    """A configuration that names no number of attempts has that of its mode, and not the store's."""
    kind = Config if options["storage_provider"] == "s3" else IbmConfig
    more = {"storage_options": {"config": kind(retries={"mode": mode})}}
    storage = open_bucket({**options, "max_retries": 9, **more})
    service.script = always("GET", Answer(404))
    with pytest.raises(ProviderError):
        storage.get(KEY)
    assert service.told() == ["GET"] * attempts
    storage.close()


# Listings


def page(token, key="a"):
    """Return a page of a listing that names the next one, or does not."""
    following = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    entry = f"<Contents><Key>grid/{key}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
    body = f"<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated>{following}{entry}</ListBucketResult>"
    return Answer(200, body.encode())


@pytest.mark.parametrize(
    "tokens", [["1", "1"], ["1", "2", "1"], ["1", "2", "3", "2"], ["", "", "", ""], ["1", "", "", "", ""]], ids=str
)
def test_token_that_repeats_or_is_missing(storage, service, tokens):
    """A listing that comes back to a page, or does not say where it goes on, is an error, and no endless one."""
    service.script = in_turn("GET list-type", *map(page, tokens))
    with pytest.raises(ProviderError):
        list(storage.list_objects("grid/"))
    assert len(service.requests) == len(tokens)


def test_uploads_that_repeat(storage, service):
    """The same holds for a listing of unfinished uploads."""
    body = b"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>%s</L>"
    answer = Answer(200, body.replace(b"%s", b"").replace(b"</L>", b"</ListMultipartUploadsResult>"))
    service.script = always("GET uploads", answer)
    with pytest.raises(ProviderError, match="again and again"):
        list(storage.sweep("grid/", float("inf")))
    assert len(service.requests) == 2


# Objects that are replaced while they are read


def conditions(service):
    """Return the If-Match of each request that reads."""
    return [request.headers.get("if-match") for request in service.requests if request.method == "GET"]


@pytest.mark.parametrize("kept", ["If-Match", "nothing", "501"])
@pytest.mark.parametrize("size", [3 * MIB, 4 * MIB])
def test_object_that_is_replaced_while_it_is_read(storage, service, kept, size):
    """A reader gives bytes of one object only, whether the service knows If-Match, ignores it or refuses it."""
    service.objects[KEY] = b"a" * (3 * MIB)

    def script(request):
        if kept == "501" and "if-match" in request.headers:
            return refusal(501, "NotImplemented")
        request.headers.pop("if-match" if kept == "nothing" else "", None)
        return None

    service.script = script
    reader = storage.open(KEY, 3 * MIB)
    assert reader.read(10) == b"a" * 10
    service.objects[KEY] = b"b" * size
    with pytest.raises(ArtifactCorruptedError, match="replaced") as caught:
        reader.read()
    assert (caught.value.key, caught.value.provider) == (KEY, storage.provider)
    reader.close()


def test_object_that_becomes_shorter(storage, service):
    """An object that is replaced by a shorter one, after which a range begins, is not taken for a lost one."""
    service.objects[KEY] = b"a" * (3 * MIB)
    service.script = lambda request: request.headers.pop("if-match", None) and None
    with storage.open(KEY, 3 * MIB) as reader:
        reader.read(10)
        service.objects[KEY] = b"b"
        with pytest.raises(ArtifactCorruptedError, match="replaced"):
            reader.read()


def test_reader_that_begins_at_the_end(storage, service):
    """A reader that has fetched nothing knows its object too."""
    service.objects[KEY] = b"a" * 10
    with storage.open(KEY, 10, start=10) as reader:
        service.objects[KEY] = b"b" * 10
        reader.seek(0)
        with pytest.raises(ArtifactCorruptedError):
            reader.read()
    assert conditions(service)[0] is not None


def test_condition_of_a_reader(storage, service):
    """Blocks after the first ask for the same ETag; a service that refuses that is asked without, once and for all.

    It refuses twice: the direct path, and the client.
    """
    service.objects[KEY] = b"a" * (7 * MIB)
    with storage.open(KEY, 7 * MIB) as reader:
        assert len(reader.read()) == 7 * MIB
    first, *others = conditions(service)
    assert first is None
    assert len(set(others)) == 1
    assert None not in others
    service.requests.clear()
    service.script = lambda request: refusal(501, "NotImplemented") if "if-match" in request.headers else None
    for _ in range(2):
        with storage.open(KEY, 7 * MIB) as reader:
            assert len(reader.read()) == 7 * MIB
    assert sum(condition is not None for condition in conditions(service)) == 2


def test_store_that_reads_a_replaced_object(options, service):
    """What the store opens and streams is never a mixture either."""
    with ArtifactStore(**options) as store:
        store.scope.core.identified = True
        artifact_id = store.store(b"a" * (3 * MIB), session_id=SESSION)
        (key,) = service.objects
        chunks = store.stream(artifact_id, chunk_size=1000)
        with store.open(artifact_id) as reader:
            reader.read(10)
            next(chunks)
            service.objects[key] = b"b" * (3 * MIB)
            for read in (reader.read, lambda: list(chunks)):
                with pytest.raises(ArtifactCorruptedError, match="replaced"):
                    read()
