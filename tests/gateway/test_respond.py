"""``respond``, blocking and awaited: the answer to a request for one artifact, in any web framework."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections import UserDict

import pytest
from process import eventually, open_below

from chuk_artifacts import ArtifactCorruptedError, ArtifactNotFoundError, ArtifactStore, InvalidInputError, aio, gateway

DATA = random.Random(1).randbytes(700_000)
ETAG = f'"{hashlib.sha256(DATA).hexdigest()}"'
FACES = ("blocking", "aio")

needs_descriptors = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="this system does not list open files"
)


@pytest.fixture
def root(tmp_path):
    """Return the folder of the store."""
    return tmp_path / "root"


@pytest.fixture
def store(root):
    """Return a store on disk."""
    with ArtifactStore(storage_provider="filesystem", fs_root=root) as store:
        yield store


@pytest.fixture(params=FACES)
def ask(request, store):
    """Return a function that answers a request by ``respond``, and returns status, header and content."""

    def blocking(artifact_id, *arguments, session_id=None, **options):
        answer = gateway.respond(store.session(session_id) if session_id else store, artifact_id, *arguments, **options)
        content = b"".join(answer)
        answer.close()
        return answer.status, answer.headers, content

    def awaited(artifact_id, *arguments, session_id=None, **options):
        async def main():
            view = aio.ArtifactStore.wrap(store.session(session_id) if session_id else store)
            answer = await aio.respond(view, artifact_id, *arguments, **options)
            return answer.status, answer.headers, b"".join([chunk async for chunk in answer])

        return asyncio.run(main())

    return blocking if request.param == "blocking" else awaited


@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=len)
def test_download(ask, store, data):
    """The answer has the bytes, their type and length, the last segment of the filename, and the SHA-256 as ETag."""
    artifact_id = store.store(data, mime="image/png", filename="a/Größe.png")
    status, headers, content = ask(artifact_id)
    assert (status, content) == (200, data)
    assert headers == {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private",
        "Content-Disposition": "attachment; filename=\"Gr__e.png\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.png",
        "Content-Length": str(len(data)),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Type": "image/png",
        "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    assert ask(artifact_id, "HEAD") == (200, headers, b"")
    assert ask(artifact_id, "GET", {}, inline=True)[1]["Content-Disposition"].startswith("inline; ")


def test_an_earlier_content(ask, store):
    """A revision selects the content, its type and its ``ETag``; what is no revision is refused."""
    artifact_id = store.store(b"first", mime="text/plain", keep_versions=1)
    store.update_file(artifact_id, data=b"the second", mime="image/png")
    status, headers, content = ask(artifact_id, "GET", {"Range": "bytes=1-"}, revision=1)
    assert (status, content, headers["Content-Type"]) == (206, b"irst", "text/plain")
    assert headers["ETag"] == f'"{hashlib.sha256(b"first").hexdigest()}"'
    assert ask(artifact_id, revision=2)[2] == ask(artifact_id)[2] == b"the second"
    with pytest.raises(ArtifactNotFoundError):
        ask(artifact_id, revision=3)
    for wrong in (0, -1, "1", 1.0, True):
        with pytest.raises(InvalidInputError, match="revision"):
            ask(artifact_id, revision=wrong)


@pytest.mark.parametrize(
    ("headers", "status", "content"),
    [
        ({"Range": "bytes=10-19"}, 206, DATA[10:20]),
        ({"range": "bytes=10-", "if-range": ETAG}, 206, DATA[10:]),
        ({"Range": "bytes=10-", "If-Range": '"0"'}, 200, DATA),
        ({"RANGE": "bytes=700000-"}, 416, None),
        ({"If-None-Match": ETAG}, 304, b""),
        ({"If-None-Match": '"0"'}, 200, DATA),
        ({"If-Match": '"0"'}, 412, None),
        (UserDict({"Range": "bytes=-1"}), 206, DATA[-1:]),
        (None, 200, DATA),
    ],
)
def test_conditions(ask, store, headers, status, content):
    """Ranges and conditions in the header of the request are followed, whatever the case of the names."""
    answered = ask(store.store(DATA), "GET", headers)
    assert answered[0] == status
    assert content is None or answered[2] == content


@pytest.mark.parametrize("method", ["POST", "PUT", "get", ""])
def test_other_methods(ask, store, method):
    """Other methods are answered with those that are possible."""
    status, headers, _ = ask(store.store(DATA), method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("headers", [5, "Range", {"Range": 5}, {5: "x"}, [("Range", "bytes=1-")]])
def test_headers_that_are_none(ask, store, headers):
    """Anything but a mapping of texts is invalid as a header."""
    with pytest.raises(InvalidInputError, match="headers"):
        ask(store.store(DATA), "GET", headers)


def test_unknown_artifact(ask, store):
    """An artifact that does not exist, or belongs to another session, is an error that the application handles."""
    artifact_id = store.store(DATA, session_id="alice")
    assert ask(artifact_id, session_id="alice")[0] == 200
    for unknown, session_id in ((artifact_id, "bob"), ("0" * 32, None), ("../x", None), (None, None)):
        with pytest.raises(ArtifactNotFoundError):
            ask(unknown, session_id=session_id)


@pytest.mark.parametrize("size", [1, 700_000])
def test_verified(ask, store, root, size):
    """With ``verify`` altered bytes are an error before the end of the content."""
    artifact_id = store.store(b"x" * size)
    assert ask(artifact_id, verify=True)[0] == 200
    (root / store.metadata(artifact_id).key).write_bytes(b"y" * size)
    assert ask(artifact_id)[2] == b"y" * size
    with pytest.raises(ArtifactCorruptedError):
        ask(artifact_id, verify=True)


@pytest.mark.parametrize("other", [None, "store", gateway.Gateway])
def test_anything_but_a_store(other):
    """Anything but a store is refused."""
    with pytest.raises(InvalidInputError):
        gateway.respond(other, "0" * 32)
    with pytest.raises(InvalidInputError):
        asyncio.run(aio.respond(other, "0" * 32))


@needs_descriptors
@pytest.mark.parametrize("reads", [0, 1])
@pytest.mark.parametrize("face", FACES)
def test_answer_that_is_not_read(store, root, face, reads):
    """An answer that is closed before its end keeps no file open."""
    artifact_id, before = store.store(DATA), len(open_below(root))

    async def awaited():
        answer = await aio.respond(aio.ArtifactStore.wrap(store), artifact_id)
        chunks = aiter(answer)
        for _ in range(reads):
            await anext(chunks)
        assert len(open_below(root)) == before + 1
        answer.close()
        await chunks.aclose()
        return await asyncio.to_thread(eventually, lambda: len(open_below(root)) == before)

    if face == "aio":
        assert asyncio.run(awaited())
        return
    answer = gateway.respond(store, artifact_id)
    for _ in range(reads):
        next(iter(answer))
    assert len(open_below(root)) == before + 1
    answer.close()
    answer.close()
    assert len(open_below(root)) == before
