"""What notebooks show: values, listings, stores and contents, as tables, images, text and links."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import pickle

import pytest

from chuk_artifacts import ArtifactStore, aio
from chuk_artifacts.listings import Listing
from chuk_artifacts.previews import MAX_TEXT_BYTES

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IN_HTML = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def store():
    """Return a store in memory."""
    with ArtifactStore() as store:
        yield store


def html(value):
    """Return what a notebook shows."""
    return value._repr_html_()


def test_listing_is_a_list(store):
    """A listing equals a list, is JSON like one, and stays a listing in slices, copies and pickles."""
    for name in ("a", "b", "c"):
        store.store(b"x", session_id="alice", filename=name)
    files = store.list_by_session("alice")
    assert isinstance(files, list)
    assert files == list(files)
    assert json.loads(json.dumps(list(map(dict, files)))) == list(map(dict, files))
    assert [file.filename for file in files[1:]] == ["b", "c"]
    assert files[0].filename == "a"
    for other in (files[:], copy.copy(files), pickle.loads(pickle.dumps(files)), store.list_files("alice")):
        assert type(other) is Listing
        assert other == files
    assert type(store.list_directory("alice")[1]) is type(store.versions(files[0].artifact_id)) is Listing


def test_listing_of_the_async_store():
    """The async store returns the same listing."""

    async def listed():
        async with aio.ArtifactStore() as files:
            await files.store(b"x", session_id="alice", filename="a")
            return await files.list_by_session("alice")

    assert "<td" in html(asyncio.run(listed()))


def test_listing_as_a_table(store):
    """A listing is a table with sizes and times for people, and with everything escaped."""
    store.store(bytes(5000), session_id="alice", filename=f"{EVIL[1:]}.bin", ttl=3 * 86400 + 60)
    shown = html(store.list_by_session("alice"))
    assert "4.9 KiB" in shown
    assert "in 3 d" in shown
    assert "1 item," in shown
    assert "<script" not in shown.replace("script&gt;", "")
    assert html(store.list_by_session("unknown")) == "<p>no items</p>"


def test_long_listing_is_cut():
    """A long listing shows its first and its last items."""
    shown = html(Listing({"filename": f"f{number}", "bytes": 1, "mime": "a/b"} for number in range(100)))
    assert ("f29<" in shown, "f30<" in shown, "f70<" in shown, "40 more" in shown) == (True, False, True, True)


def test_thumbnails(store):
    """Small images are shown in the table, which reads them then; large ones, and those of a closed store, are not."""
    store.store(PIXEL, session_id="alice", filename="a.png")
    store.store(PIXEL + bytes(65536), session_id="alice", filename="b.png")
    for files in (store.list_by_session("alice"), store.session("alice").list_by_session()):
        assert html(files).count("<img") == 1
        assert IN_HTML in html(files)
        assert "<img" not in html(pickle.loads(pickle.dumps(files)))
    store.close()
    assert "<img" not in html(files)


def test_thumbnails_stay_in_the_session(store):
    """A listing of a bound store shows no image of another session, even if its metadata is put into the list."""
    store.store(PIXEL, session_id="bob", filename="a.png")
    files = store.session("alice").list_by_session()
    files.extend(store.list_by_session("bob"))
    assert "<img" not in html(files)


def test_metadata(store):
    """Metadata is short as text, with id, name, length and expiry first; all of it is in the table."""
    metadata = store.metadata(store.store(b"abc", session_id="alice", filename="a.txt", summary=EVIL, ttl=60))
    expected = f"ArtifactMetadata(artifact_id='{metadata.artifact_id}', filename='a.txt', bytes=3, expires_at='20"
    assert repr(metadata).startswith(expected)
    assert len(repr(metadata)) < 250
    assert metadata.sha256 in html(metadata)
    assert EVIL not in html(metadata)


def test_other_values(store):
    """Sessions, reports, usage and stores are tables too."""
    store.create_session(session_id="alice", custom_metadata={"a": EVIL})
    values = [store.get_session_info("alice"), store.cleanup(), store.usage(), store, aio.ArtifactStore.wrap(store)]
    for value in values:
        assert html(value).startswith("<table>")
        assert EVIL not in html(value)
    assert store.sandbox_id in html(store)
    store.close()
    assert "closed" in html(store)


def test_display_image(store):
    """An image is shown whole."""
    preview = store.display(store.store(PIXEL, filename="a.png"))
    assert IN_HTML in html(preview)
    assert repr(preview) == f"a.png (image/png, {len(PIXEL)} B)"


def test_display_text(store):
    """Text is shown, HTML too, escaped and cut."""
    preview = store.display(store.write_file(f"<h1>{EVIL}", filename="a.html"))
    assert preview.kind == "text"
    assert "&lt;h1&gt;&lt;script&gt;" in html(preview)
    assert EVIL not in html(preview)
    long = store.display(store.write_file("x" * (MAX_TEXT_BYTES + 1), filename="a.txt"))
    assert len(long.content) == MAX_TEXT_BYTES
    assert "the beginning of a.txt" in html(long)
    assert '"a": 1' in html(store.display(store.write_file('{"a":1}', filename="a.json"))).replace("&quot;", '"')


def test_display_table(store):
    """CSV is a table of its first rows, escaped."""
    text = "name,size\n" + f'"{EVIL}",1\n' * 50
    preview = store.display(store.write_file(text, filename="a.csv"))
    assert html(preview).count("<tr>") == 21
    assert "<th" in html(preview)
    assert EVIL not in html(preview)
    assert repr(preview) == text


def test_display_link(store):
    """Everything else is a link, with its name escaped."""
    preview = store.display(store.store(b"PK", filename="<b>.zip"))
    assert (preview.kind, preview.content) == ("link", b"")
    assert "<b>" not in html(preview)
    assert f'<a href="{preview.url}"' in html(preview).replace("&amp;", "&")


def test_display_revision(store):
    """An earlier content is shown on request."""
    artifact_id = store.write_file("first", filename="a.txt", keep_versions=1)
    store.update_file(artifact_id, data=b"second")
    assert [repr(store.display(artifact_id, revision=one)) for one in (1, None)] == ["first", "second"]


def test_display_awaited():
    """The awaited method returns the same."""

    async def shown():
        async with aio.ArtifactStore() as files:
            return repr(await files.display(await files.write_file("text", filename="a.txt")))

    assert asyncio.run(shown()) == "text"


def test_pandas(store):
    """A listing becomes a table of pandas, on request with times as datetimes.

    The constructor takes the items of each mapping as they are: times are the texts that JSON has.
    """
    pd = pytest.importorskip("pandas")
    store.store(b"abc", session_id="alice", filename="a.txt")
    store.store(b"abc", session_id="alice", filename="b.txt")
    files = store.list_by_session("alice")
    frame = files.to_pandas()
    assert list(frame["filename"]) == ["a.txt", "b.txt"]
    assert isinstance(frame["stored_at"].dtype, pd.DatetimeTZDtype)
    assert isinstance(frame["expires_at"].dtype, pd.DatetimeTZDtype)
    assert list(pd.DataFrame(files)["bytes"]) == [3, 3]
    assert list(pd.DataFrame(files)["stored_at"]) == [file.stored_at for file in files]
