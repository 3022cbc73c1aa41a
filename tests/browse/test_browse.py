"""The page that shows a store."""

from __future__ import annotations

import csv
import html
import io
import json
import re

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from chuk_artifacts import ArtifactStore, InvalidInputError, ProviderError, aio
from chuk_artifacts.browse import Browser

PNG = b"\x89PNG\r\n\x1a\n and more"
SCRIPT = "<script>alert(1)</script>"
TOKEN = "a-token-of-24-characters"


@pytest.fixture
def store():
    """Return a store in memory."""
    with ArtifactStore() as opened:
        yield opened


def client_of(store):
    """Return a client of the page of a store."""
    return TestClient(Browser(store, token=TOKEN), base_url=f"http://127.0.0.1/{TOKEN}/", follow_redirects=False)


@pytest.fixture
def client(store):
    """Return a client of the page."""
    with client_of(store) as opened:
        yield opened


def text_of(response, status=200):
    """Return the words of a page."""
    assert response.status_code == status, response.text
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


def links_of(response):
    """Return the links of a page below its first one."""
    return [html.unescape(link) for link in re.findall(r'<a [^>]*?href="([^"#/][^"]*)"', response.text)]


@pytest.mark.parametrize(
    "path",
    ["/", "/wrong/", f"/{TOKEN}x/", f"/{TOKEN[:-1]}/", f"//{TOKEN}/", "/é/", f"/x/{TOKEN}/", f"/{TOKEN.upper()}/"],
)
def test_nothing_is_shown_without_the_token(store, path):
    """A path without the token is a 404 that shows nothing."""
    store.store(b"x", filename="secret.txt", session_id="demo")
    with TestClient(Browser(store, token=TOKEN), follow_redirects=False) as client:
        response = client.get(path)
    assert (response.status_code, response.text) == (404, "Not found.\n")


@pytest.mark.parametrize(
    "token", ["short", "", 7, "with a space in it and long", "../../etc/passwd-and-more", "ü" * 20]
)
def test_a_token_that_is_no_secret_or_no_part_of_a_path_is_refused(store, token):
    """A token is at least 16 characters that a URL has unescaped."""
    with pytest.raises(InvalidInputError, match="token must be"):
        Browser(store, token=token)


def test_each_page_has_a_token_of_its_own(store):
    """Without a token given, each application has another one."""
    assert len({Browser(store).token for _ in range(10)}) == 10


def test_the_path_without_its_last_slash_leads_to_the_page(store):
    """Links are relative, so the last slash is needed, also below a mount."""
    application = Starlette(routes=[Mount("/look", Browser(store, token=TOKEN))])
    with TestClient(application, follow_redirects=False) as client:
        response = client.get(f"/look/{TOKEN}")
        assert response.headers["location"] == f"/look/{TOKEN}/"
        page = client.get(f"/look/{TOKEN}/")
        assert text_of(page).startswith("Sessions")
        assert f'href="/look/{TOKEN}/style.css"' in page.text


def test_sessions_with_users_sizes_and_expiry(store, client):
    """The first page lists the sessions."""
    store.create_session(user_id="alice", session_id="demo")
    store.store(b"x" * 2048, session_id="demo")
    page = text_of(client.get(""))
    assert "1 files, 2.0 KiB in all" in page
    assert re.search(r"demo 1 2\.0 KiB 2\.0 KiB alice \S+ \S+ in 24 h", page)
    assert "demo" not in text_of(client.get("", params={"user": "bob"}))
    assert "demo" in text_of(client.get("", params={"user": "alice"}))


def test_pages_of_sessions(store, client):
    """Many sessions are on several pages, each once."""
    names = {f"s{number:03}" for number in range(250)}
    for name in names:
        store.create_session(session_id=name)
    seen, link = [], ""
    while link is not None:
        page = client.get(link)
        seen += re.findall(r">(s\d{3})<", page.text)
        link = next(iter(re.findall(r'rel="next" href="([^"]*)"', page.text)), None)
    assert sorted(seen) == sorted(names)


def test_files_as_folders(store, client):
    """A folder shows its folders and files, and links to them and to the folders above."""
    file_id = store.store(b"x", filename="a/b/c.txt", session_id="demo")
    page = client.get("folder", params={"session": "demo"})
    (link,) = [link for link in links_of(page) if "in=" in link]
    inner = client.get(client.get(link) and link)
    assert "b/" in text_of(inner)
    deepest = client.get("folder", params={"session": "demo", "in": "a/b"})
    assert f"file?id={file_id}" in links_of(deepest)
    assert "Artifacts demo a b" in text_of(deepest)


@pytest.mark.parametrize("with_names", [True, False])
def test_pages_of_a_folder(store, client, with_names):
    """A folder of many files is shown on several pages, each file once, and one page reads no more than it shows."""
    ids = [store.store(b"x", filename=f"d/{n:03}" if with_names else None, session_id="demo") for n in range(250)]
    store.store(b"x", filename="e/z", session_id="demo")
    seen, link = [], "folder?session=demo" + ("&in=d" if with_names else "")
    while link is not None:
        page = client.get(link)
        seen += re.findall(r"file\?id=(\w{32})", page.text)
        link = next((html.unescape(found) for found in re.findall(r'rel="next" href="([^"]*)"', page.text)), None)
    assert seen == (ids if with_names else sorted(ids))


def test_a_page_of_a_folder_reads_a_page_of_records(store, client, monkeypatch):
    """The cost of a page does not grow with the folder."""
    for number in range(600):
        store.store(b"x", filename=f"{number:04}", session_id="demo")
    wanted = []
    page = store.scope.core.catalog.page
    monkeypatch.setattr(
        store.scope.core.catalog, "page", lambda *args, **given: wanted.append(given["limit"]) or page(*args, **given)
    )
    text_of(client.get("folder", params={"session": "demo"}))
    assert sum(wanted) <= 256


def test_names_are_shown_as_they_are(store, client):
    """Names, metadata and users are text on each page, whatever characters they have."""
    store.create_session(user_id=SCRIPT, session_id="demo", custom_metadata={"k": SCRIPT})
    meta = {"note": SCRIPT}
    file_id = store.store(b"x", filename=f'{SCRIPT}/"&{SCRIPT}', summary=SCRIPT, meta=meta, session_id="demo")
    folder = client.get("folder", params={"session": "demo"})
    pages = [client.get(""), folder, *(client.get(link) for link in links_of(folder) if "in=" in link)]
    pages += [client.get("file", params={"id": file_id}), client.get("search", params={"prefix": "<script"})]
    pages += [client.get("search", params={"session": SCRIPT, "mime": '"><script>'}), client.get(SCRIPT)]
    for page in pages:
        assert "<script" not in page.text, page.url
    assert SCRIPT in text_of(pages[0])
    assert SCRIPT in text_of(folder)


def test_what_is_known_of_a_file(store, client):
    """The page of a file shows its metadata."""
    file_id = store.store(
        b"hello", filename="a.txt", mime="text/plain", summary="A greeting", meta={"n": 1}, session_id="demo"
    )
    page = text_of(client.get("file", params={"id": file_id}))
    record = store.metadata(file_id)
    for word in (file_id, "demo", "5 B (5 bytes)", "text/plain", "A greeting", record.sha256, '"n": 1', "hello"):
        assert word in page


def preview_of(store, client, content, **given):
    """Return the page of a file, and the part with its preview."""
    file_id = store.store(content, session_id="demo", **given)
    page = client.get("file", params={"id": file_id})
    assert page.status_code == 200
    return file_id, page.text.split('id="preview"')[1].split("</section>")[0]


@pytest.mark.parametrize(
    ("content", "mime", "name", "expected"),
    [
        (b"plain <b>text</b>", "text/plain", None, "plain &lt;b&gt;text&lt;/b&gt;</pre>"),
        (b'{"a":[1,"\xc3\xa4"]}', "application/json", None, "&#34;ä&#34;\n  ]\n}</pre>"),
        (b"{broken", "application/json", None, "{broken</pre>"),
        (b"[" * 100_000, "application/json", None, "[[["),
        (b"# Head\n\n**bold** <b>x</b>", "text/markdown", None, "<h1>Head</h1>\n<p><strong>bold</strong> &lt;b&gt;x"),
        (b"# Head", "application/octet-stream", "a.MD", "<h1>Head</h1>"),
        (b"[x](javascript:alert(1))", "text/markdown", None, "[x](javascript:alert(1))"),
        (b"a,b\n1,<i>\n", "text/csv", None, "<td>1</td><td>&lt;i&gt;</td>"),
        (b"a\tb\n1\t2\n", "text/tab-separated-values", None, "<td>1</td><td>2</td>"),
        (b"a,b\n1,2\n", "application/octet-stream", "t.csv", "<td>1</td><td>2</td>"),
        (b"\x00\x01", "text/plain", None, "There is no preview"),
        (b"\xff\xfe", "text/plain", None, "There is no preview"),
        (b"anything", "application/zip", None, "There is no preview"),
        (b"unknown but text", "application/octet-stream", None, "unknown but text</pre>"),
        (b"", "text/plain", None, "This file is empty."),
        (b"<h1>x</h1>", "text/html", None, "&lt;h1&gt;x&lt;/h1&gt;</pre>"),
        ("ä".encode() * 200_000, "text/plain", None, "The first 256 KiB."),
        (b"x" + "ä".encode() * 200_000, "text/plain", None, "The first 256 KiB."),
        (b'"' + b"x" * 200_000, "text/csv", None, "This is not a table."),
        (b"no parquet", "application/vnd.apache.parquet", None, "pyarrow"),
    ],
)
def test_previews(store, client, content, mime, name, expected):
    """Each kind of file is shown in its way, as text that can't be a page, and cut when it is long."""
    _, shown = preview_of(store, client, content, mime=mime, filename=name)
    if expected == "pyarrow" and expected not in shown:
        expected = "This is not a Parquet file"
    assert expected in shown
    assert len(shown) < 2_000_000


def test_the_first_rows_of_parquet(store, client):
    """Parquet is shown as a table, where pyarrow is installed."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is in the extra test-pipelines")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"n": list(range(500)), "<b>": ["x"] * 500}), file)
    _, shown = preview_of(store, client, file.getvalue(), mime="application/octet-stream", filename="a.parquet")
    assert '<th scope="col">&lt;b&gt;</th>' in shown
    assert "<td>49</td>" in shown
    assert "<td>50</td>" not in shown
    assert "The first 50 rows." in shown


def test_a_wide_table_is_cut(store, client):
    """Of many columns and rows the first are shown, and a note says so."""
    file = io.StringIO()
    csv.writer(file).writerows([[f"c{n}" for n in range(100)]] + [["v"] * 100] * 100)
    _, shown = preview_of(store, client, file.getvalue().encode(), mime="text/csv")
    assert "The first 50 rows. The first 40 columns of 100." in " ".join(shown.split())
    assert shown.count("<tr>") == 51
    _, shown = preview_of(store, client, b"a\n" + b"v" * 1000, mime="text/csv")
    assert f"<td>{'v' * 299}…</td>" in shown


@pytest.mark.parametrize(
    ("mime", "tag"),
    [
        ("image/png", "<img"),
        ("image/svg+xml", "<img"),
        ("audio/wav", "<audio"),
        ("video/mp4", "<video"),
        ("application/pdf", "<iframe"),
    ],
)
def test_bytes_that_a_browser_shows(store, client, mime, tag):
    """Images, sound, films and documents come from a URL of their own, on which no script runs."""
    file_id, shown = preview_of(store, client, PNG, mime=mime)
    assert tag in shown
    answer = client.get("content", params={"id": file_id})
    assert (answer.content, answer.headers["content-type"]) == (PNG, mime)
    assert answer.headers["content-disposition"].startswith("inline")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script" not in answer.headers["content-security-policy"]
    assert ("sandbox" in answer.headers["content-security-policy"]) == (mime != "application/pdf")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("content", params={"id": file_id}, headers={"Range": "bytes=1-3"}).content == b"PNG"


@pytest.mark.parametrize(
    "mime", ["text/html", "application/xhtml+xml", "text/javascript", "application/xml", "image/x-unknown"]
)
def test_other_bytes_are_only_saved(store, client, mime):
    """A stored page is never shown as one."""
    file_id = store.store(b"<script>1</script>", mime=mime, session_id="demo")
    for query in ({"id": file_id}, {"id": file_id, "save": "1"}):
        answer = client.get("content", params=query)
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-security-policy"].startswith("sandbox;")


def test_pages_allow_no_script_and_no_frame(store, client):
    """Each page has a policy that allows neither scripts nor other origins, and is kept by no cache."""
    file_id = store.store(PNG, mime="image/png", session_id="demo")
    for path in ("", "folder?session=demo", f"file?id={file_id}", "search", "style.css", "nothing", "file?id=none"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; img-src 'self';")
        assert "script-src" not in headers["content-security-policy"]
        assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
        assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")


def test_pages_are_complete_without_other_origins(store, client):
    """No page has a script, an inline style or a URL of another origin."""
    file_id = store.store(PNG, mime="image/png", filename="a.png", session_id="demo")
    for path in ("", "folder?session=demo", f"file?id={file_id}", "search?mime=image/*"):
        text = client.get(path).text
        assert not re.search(r"<script|style=|https?://|onclick", text)
        assert '<html lang="en">' in text
        assert text.count("<h1") == 1
        assert not re.search(r"<img(?![^>]*alt=)", text)
        assert "@import" not in client.get("style.css").text


def test_thumbnails_of_small_images(store, client):
    """A listing shows small images, as their bytes."""
    small = store.store(PNG, mime="image/png", filename="small.png", session_id="demo")
    large = store.store(PNG + bytes(2 * 1024 * 1024), mime="image/png", filename="large.png", session_id="demo")
    text = client.get("folder", params={"session": "demo"}).text
    assert re.search(rf'<img src="content\?id={small}" alt="" [^>]*loading="lazy"', text)
    assert f"content?id={large}" not in text


def test_versions(store, client):
    """Earlier contents are listed, shown and sent."""
    file_id = store.store(b"first", filename="v.txt", mime="text/plain", session_id="demo", keep_versions=5)
    store.update_file(file_id, data=b"second")
    page = client.get("file", params={"id": file_id})
    assert "second</pre>" in page.text
    assert f"file?id={file_id}&revision=1" in links_of(page)
    old = client.get("file", params={"id": file_id, "revision": 1})
    assert "first</pre>" in old.text
    assert client.get("content", params={"id": file_id, "revision": 1}).content == b"first"
    assert client.get("content", params={"id": file_id}).content == b"second"
    assert client.get("file", params={"id": file_id, "revision": 9}).status_code == 404


def test_search(store, client):
    """A search is a form whose fields are those of the method."""
    found = store.store(b"1", filename="a/x.csv", mime="text/csv", meta={"team": "blue", "n": 1}, session_id="demo")
    store.store(b"2", filename="b.txt", mime="text/plain", session_id="other")
    for query in ({"mime": "text/csv"}, {"prefix": "a/"}, {"meta": "team=blue"}, {"meta": "n:=1"}, {"session": "demo"}):
        page = client.get("search", params=query)
        assert re.findall(r"file\?id=(\w{32})", page.text) == [found], query
        assert "a/x.csv" in text_of(page)
        assert "demo" in text_of(page)
    assert "No file matches." in text_of(client.get("search", params={"before": "2000-01-01"}))
    assert found in client.get("search", params={"after": "2000-01-01"}).text
    assert "file?id" not in client.get("search").text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("search?meta=x", 400),
        ("search?meta=x:=y", 400),
        ("search?mime=nonsense", 400),
        ("search?after=yesterday", 400),
        ("search?session=a/b", 400),
        ("folder", 400),
        ("folder?session=a%2Fb", 400),
        ("folder?session=none", 404),
        ("file?id=..", 404),
        ("file?id=" + "0" * 32, 404),
        ("content?id=" + "0" * 32, 404),
        ("?page=0", 400),
        ("?page=x", 400),
        ("?page=" + "9" * 5000, 400),
        ("file?id=x&revision=-1", 400),
        ("nothing", 404),
    ],
)
def test_a_request_that_makes_no_sense_is_answered_in_words(store, client, path, status):
    """A wrong address is an answer below 500 with a page."""
    page = client.get(path)
    assert page.status_code == status, page.text
    assert "Back to the start" in page.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_the_page_is_read_only(store, client, method):
    """Only GET and HEAD are answered."""
    file_id = store.store(b"x", session_id="demo")
    for path in ("", "folder?session=demo", f"file?id={file_id}", f"content?id={file_id}", "search"):
        assert client.request(method, path).status_code == 405


def test_looking_changes_nothing(store, client):
    """No page changes a record, a session or bytes."""
    file_id = store.store(b"a,b\n", mime="text/csv", filename="a/x.csv", session_id="demo")
    before = store.metadata(file_id), store.get_session_info("demo"), store.usage()
    for path in ("", "folder?session=demo", f"file?id={file_id}", f"content?id={file_id}", "search?prefix=a"):
        assert client.get(path).status_code == 200
        assert client.head(path).status_code == 200
    assert (store.metadata(file_id), store.get_session_info("demo"), store.usage()) == before
    assert client.get("folder?session=new").status_code == 404
    assert store.get_session_info("new") is None


def test_the_page_of_a_bound_store_shows_its_session_only(store):
    """A store that is bound to a session shows only that session."""
    own = store.store(b"own", filename="own.txt", mime="text/plain", session_id="mine")
    other = store.store(b"other", filename="secret.txt", mime="text/plain", session_id="theirs")
    with client_of(store.session("mine")) as client:
        assert "own.txt" in text_of(client.get(""))
        assert "own.txt" in text_of(client.get("folder", params={"session": "theirs"}))
        assert "own.txt" in text_of(client.get("search", params={"session": "theirs", "prefix": "o"}))
        assert "own</pre>" in client.get("file", params={"id": own}).text
        for path in (
            f"file?id={other}",
            f"content?id={other}",
            "search?prefix=secret",
            "?user=x",
            "folder?session=theirs",
        ):
            page = client.get(path)
            assert "theirs" not in page.text.replace("session=theirs", "")
            assert "secret.txt" not in page.text
        assert client.get("content", params={"id": other}).status_code == 404


def test_an_outage_is_not_an_empty_page(store, client, monkeypatch):
    """When the catalog fails, the answer is a 503."""

    def fail(*_args, **_given):
        raise ProviderError("redis://user:password@host does not answer")

    monkeypatch.setattr(store.scope.core.catalog, "sessions", fail)
    page = client.get("")
    assert page.status_code == 503
    assert "password" not in page.text


def test_an_async_store_is_shown_too(store):
    """The page takes a store of either kind."""
    store.store(b"x", filename="a.txt", session_id="demo")
    with client_of(aio.ArtifactStore.wrap(store)) as client:
        assert "a.txt" in text_of(client.get("folder", params={"session": "demo"}))
    with pytest.raises(InvalidInputError, match="store"):
        Browser("no store")


def test_metadata_is_json_of_any_depth(store, client):
    """Metadata is shown as JSON."""
    meta = {"deep": [{"x": [1, 2, {"y": "ü"}]}]}
    file_id = store.store(b"x", meta=meta, session_id="demo")
    text = html.unescape(client.get("file", params={"id": file_id}).text)
    assert json.dumps(meta, indent=2, ensure_ascii=False) in text
