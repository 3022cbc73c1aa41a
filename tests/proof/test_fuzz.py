"""Random arguments, requests and files: only our errors, no answer of 500, nothing left behind, no secret in a message."""

from __future__ import annotations

import contextlib
import inspect
import random
import socket
import sqlite3

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from orphans import orphans
from werkzeug.test import Client, EnvironBuilder

from chuk_artifacts import ArtifactStore, ArtifactStoreError
from chuk_artifacts.gateway import Gateway

KEY = "the-secret-signing-key-0123456789"
BYTES = b"the secret bytes"
TEXT = st.text(max_size=30) | st.sampled_from(
    ["", "..", "/", "a/../b", "\0", "user:x", "grid/a/b", "%2e%2e", "x" * 2000]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.integers(), inner, max_size=3),
    max_leaves=8,
)
TRUSTED = {"callback"}  # an object of the application, which is called


def tried(effort, examples):
    """Return the decorator of a test that tries so many examples in the gate, and 100 times as many with minutes."""
    many = examples * 100 if effort.minutes else examples
    return lambda test: seed(effort.seed)(
        settings(
            max_examples=many,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(test)
    )


def test_arguments(effort, tmp_path):
    """A method with any arguments returns, or raises one of our errors without a secret, and leaves nothing behind."""
    names = [n for n in dir(ArtifactStore) if n[0] != "_" and callable(getattr(ArtifactStore, n)) and n != "close"]
    with ArtifactStore(signing_key=KEY, gateway_url="http://gateway.test", session_ttl_hours=None) as store:
        known = store.store(BYTES, filename="a", session_id="alice")

        @tried(effort, 30)
        @given(st.data())
        def one(data):
            name = data.draw(st.sampled_from(names))
            parameters = [p for p in inspect.signature(getattr(store, name)).parameters if p not in TRUSTED]
            arguments = {p: data.draw(JSON | st.just(known)) for p in parameters if data.draw(st.booleans())}
            if name == "download":
                arguments["path"] = tmp_path / "here"
            view = data.draw(st.sampled_from([store, store.session("mallory")]))
            try:
                answer = getattr(view, name)(**arguments)
                if inspect.isgenerator(answer):
                    list(answer)
            except ArtifactStoreError as error:
                assert KEY not in str(error)
                assert BYTES.decode() not in str(error)
                assert len(str(error)) < 2000
            except TypeError as error:
                assert "required" in str(error), (name, arguments)
            assert orphans(store) == []

        one()


def test_gateway_requests(effort):
    """Any request to the gateway has an answer below 500, and changes nothing but by its own URL."""
    with ArtifactStore(signing_key=KEY, gateway_url="http://gateway.test") as store:
        artifact_id = store.store(BYTES, filename="a.txt", session_id="alice")
        upload, _ = store.presign_upload("alice", max_bytes=20)
        urls = [store.presign(artifact_id), upload, store.presign_archive("alice")]
        paths = [url.removeprefix("http://gateway.test") for url in urls]
        client = Client(Gateway(store))
        printable = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
        names = st.sampled_from(
            ["Range", "If-Match", "If-None-Match", "If-Range", "Content-Type", "Content-Length", "Origin", "Expect"]
        )
        values = printable | st.sampled_from(["bytes=0-", "bytes=5-1", "bytes=-0", "*", '"x"', "-1", "1e3", "9" * 30])

        @tried(effort, 30)
        @given(
            st.sampled_from(["GET", "HEAD", "PUT", "POST", "OPTIONS", "DELETE", "PATCH", "X"]),
            st.sampled_from(paths),
            st.none() | st.tuples(st.integers(0, 200), printable),
            st.dictionaries(names, values, max_size=3),
            st.binary(max_size=40),
        )
        def one(method, path, cut, headers, body):
            if cut is not None:
                path = f"/{path[1 : cut[0]]}{cut[1]}{path[cut[0] + 1 :]}"
            path, _, query = path.partition("?")
            builder = EnvironBuilder(path=path, query_string=query, method=method, headers=headers, data=body)
            environ = builder.get_environ()
            if "Content-Length" in headers:
                environ["CONTENT_LENGTH"] = headers["Content-Length"]
            answer = client.open(environ)
            assert answer.status_code < 500 or answer.status_code in {501, 505, 507}, answer.status
            assert KEY.encode() not in answer.data
            assert store.retrieve(artifact_id) == BYTES

        one()


def test_framing(effort):
    """A server gets random bytes for a request: it answers with less than 500, or closes, and goes on serving."""
    with ArtifactStore(signing_key=KEY) as store:
        url = store.presign(store.store(BYTES))  # starts the gateway of the store
        host, _, path = url.removeprefix("http://").partition("/")
        address = (host.partition(":")[0], int(host.partition(":")[2]))
        parts = [
            f"GET /{path} HTTP/1.1\r\n",
            f"PUT /{path} HTTP/1.1\r\n",
            "Host: x\r\n",
            "\r\n",
            "0\r\n\r\n",
            "5\r\nhello\r\n",
        ]
        parts += [
            "Transfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: -1\r\n",
            "Expect: 100-continue\r\n",
        ]
        parts += [
            "\n",
            " ",
            "\0",
            "Range: bytes=0-1\r\n",
            "HTTP/1.1",
            "ffffffffffffffffff\r\n",
            ": x\r\n",
            "Connection: close\r\n",
        ]
        dice = random.Random(effort.seed)
        for _ in range(2000 if effort.minutes else 40):
            said = "".join(dice.choices(parts, k=dice.randrange(1, 8))).encode("latin-1")
            if dice.random() < 0.3:
                said = dice.randbytes(dice.randrange(1, 60)) + said
            with socket.create_connection(address, timeout=30) as connection:
                connection.sendall(said)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                answer = b""
                with contextlib.suppress(ConnectionError):
                    while piece := connection.recv(65536):
                        answer += piece
            assert not answer or answer[:9] == b"HTTP/1.1 ", (said, answer)
            assert not answer or int(answer[9:12]) < 500 or answer[9:12] in {b"501", b"505"}, (said, answer)
        import urllib.request  # noqa: PLC0415 - to see that it still serves

        with urllib.request.urlopen(url, timeout=30) as good:
            assert good.read() == BYTES


def damaged(dice, data):
    """Return bytes with a random damage."""
    data = bytearray(data)
    for _ in range(dice.randrange(1, 4)):
        kind, at = dice.randrange(4), dice.randrange(len(data) or 1)
        if kind == 0 and data:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = dice.randbytes(dice.randrange(1, 5))
        else:
            data[at : at + 3] = dice.choice([b"null", b"-1", b'"..', b"[]", b"{", b"1e999", b"\\u0000", b"\xff"])
    return bytes(data)


USES = (
    lambda store, one: store.retrieve(one),
    lambda store, one: store.metadata(one),
    lambda store, one: store.versions(one),
    lambda store, one: store.update_metadata(one, summary="x"),
    lambda store, one: store.list_by_session("alice"),
    lambda store, one: list(store.search("alice", meta={"a": 1})),
    lambda store, one: store.get_session_info("alice"),
    lambda store, one: store.validate_configuration(thorough=True),
    lambda store, one: store.cleanup(orphans=True),
    lambda store, one: store.usage(),
    lambda store, one: store.presign(one),
    lambda store, one: store.delete(one),
)


def test_records_that_are_read_back(effort, tmp_path):
    """A damaged record in the database raises one of our errors, without a secret, or is as it was meant."""
    dice = random.Random(effort.seed)
    root = tmp_path / "root"
    for _ in range(500 if effort.minutes else 12):
        with ArtifactStore(storage_provider="filesystem", fs_root=root) as store:
            one = store.store(BYTES, filename="a", meta={"a": 1}, session_id="alice")
            store.update_file(one, data=BYTES * 2)
            other = store.store(b"other", session_id="bob")
            with sqlite3.connect(root / "catalog.sqlite3") as connection:
                (text,) = connection.execute("SELECT record FROM artifacts WHERE artifact_id = ?", [one]).fetchone()
                changed = damaged(dice, text.encode()).decode(errors="replace")
                connection.execute("UPDATE artifacts SET record = ? WHERE artifact_id = ?", [changed, one])
            connection.close()
            for use in USES:
                with contextlib.suppress(ArtifactStoreError):
                    use(store, one)
            assert store.retrieve(other) == b"other", changed


@pytest.mark.parametrize("name", ["signing.key", "catalog.sqlite3", "bytes"])
def test_files_that_are_read_back(name, effort, tmp_path):
    """A damaged file of a store raises one of our errors, and none that holds a secret; bytes are never wrong."""
    dice = random.Random(effort.seed)
    for number in range(200 if effort.minutes else 6):
        root = tmp_path / str(number)
        options = {"storage_provider": "filesystem", "fs_root": root, "gateway_url": "http://gateway.test"}
        with ArtifactStore(**options) as store:
            one = store.store(BYTES, filename="a", session_id="alice")
            secret = (store.presign(one), (root / "signing.key").read_text())[1]
        path = root / name if name != "bytes" else next(p for p in (root / "grid").rglob("*") if p.is_file())
        path.write_bytes(damaged(dice, path.read_bytes()))
        path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
        try:
            with ArtifactStore(**options) as store:
                for use in USES:
                    with contextlib.suppress(ArtifactStoreError):
                        assert use is not USES[0] or use(store, one) == BYTES
        except ArtifactStoreError as error:
            assert secret not in str(error)
