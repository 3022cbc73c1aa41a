"""The sources of signing keys, and the outputs that never show one."""

from __future__ import annotations

import copy
import errno
import logging
import os
import pickle
import stat
import subprocess
import sys
import threading

import pytest
from werkzeug.test import Client

from chuk_artifacts import ArtifactStore, InvalidInputError, ProviderError, core
from chuk_artifacts.gateway import Gateway
from chuk_artifacts.signing import UPLOAD

BASE = "https://example.org/files"
STARTS_AND_SIGNS = """
import sys
from chuk_artifacts import ArtifactStore

with ArtifactStore(storage_provider="filesystem", gateway_url="https://example.org/files") as store:
    sys.stdin.readline()
    print(store.presign(store.store(b"x", session_id="s")))
"""


def on_disk(folder, **options):
    """Return a store on the disk."""
    return ArtifactStore(storage_provider="filesystem", fs_root=folder, **{"gateway_url": BASE, **options})


def status(store, url):
    """Return the status of a GET of *url* from the gateway of *store*."""
    return Client(Gateway(store)).get(url.removeprefix(BASE)).status_code


def test_key_of_a_folder(tmp_path):
    """All stores in one folder sign with one key file, which only the owner can read."""
    with on_disk(tmp_path / "root") as first:
        url = first.presign(first.store(b"x"))
    file = tmp_path / "root" / "signing.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with on_disk(tmp_path / "root") as second:
        assert status(second, url) == 200
    file.write_text("0" * 64)
    with on_disk(tmp_path / "root") as third:
        assert status(third, url) == 403


def test_key_is_made_once(tmp_path):
    """Eight processes that start at the same time accept the URLs of each other."""
    environment = {**os.environ, "ARTIFACT_FS_ROOT": str(tmp_path / "root")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STARTS_AND_SIGNS],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    urls = [process.communicate()[0].strip() for process in processes]
    with on_disk(tmp_path / "root") as store:
        assert [status(store, url) for url in urls] == [200] * 8
    assert {path.name for path in (tmp_path / "root").iterdir()} >= {"signing.key"}
    assert not list((tmp_path / "root").glob("*.tmp"))


def test_key_is_made_once_where_there_are_no_hard_links(tmp_path, monkeypatch):
    """A store that finds an empty key file waits until the other process has written the key."""
    replace, met_empty, urls = os.replace, threading.Event(), []

    def refuse(*_args, **_options):
        raise OSError(errno.EPERM, "no hard links here")

    def replace_later(source, target, **options):
        if target.endswith("signing.key"):
            second.start()
            assert met_empty.wait(30)
        replace(source, target, **options)

    with on_disk(tmp_path) as first, on_disk(tmp_path) as other:
        read_key = core._read_key

        def read_and_note(root):
            data = read_key(root)
            if data == b"":
                met_empty.set()
            return data

        artifact_id = first.store(b"x")
        monkeypatch.setattr(core, "_read_key", read_and_note)
        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(os, "replace", replace_later)
        second = threading.Thread(target=lambda: urls.append(other.presign(artifact_id)))
        urls.append(first.presign(artifact_id))
        second.join()
        assert [status(store, url) for url in urls for store in (first, other)] == [200] * 4


def together(start):
    """Call a function in eight threads that meet at a barrier."""
    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=start, args=(barrier,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def at_a_url(**options):
    """Return a store at a URL, where no exclusive write exists."""
    return ArtifactStore(storage_provider="memory://keys", session_provider="memory", **options)


def test_stores_that_start_at_once_at_a_url_accept_each_other():
    """Stores at one URL sign with the configured key; without a key they refuse to sign for a shared gateway."""
    urls, refused = [], []

    def start(barrier):
        with (
            at_a_url(gateway_url=BASE, signing_key="a secret of 16 bytes", sandbox_id="box") as store,
            at_a_url(gateway_url=BASE) as keyless,
        ):
            barrier.wait()
            urls.append(store.presign_upload("s")[0])
            with pytest.raises(InvalidInputError, match="ARTIFACT_SIGNING_KEY"):
                keyless.presign_upload("s")
            refused.append(True)

    together(start)
    with at_a_url(gateway_url=BASE, signing_key="a secret of 16 bytes", sandbox_id="box") as store:
        for url in urls:
            path, _, query = url.removeprefix(f"{BASE}/").partition("?")
            store.scope.core.signer.check(UPLOAD, path, query, 0.0)
    assert len(urls) == len(refused) == 8


@pytest.mark.parametrize("content", ["", "short", "x" * 65])
def test_damaged_key(tmp_path, content):
    """A key file of another length is an error, not a weak key."""
    with on_disk(tmp_path) as store:
        artifact_id = store.store(b"x")
        (tmp_path / "signing.key").write_text(content)
        with pytest.raises(ProviderError, match=r"signing\.key"):
            store.presign(artifact_id)


def test_key_that_is_a_link(tmp_path):
    """A key file that is a symbolic link is not followed."""
    (tmp_path / "elsewhere").write_text("0" * 64)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "signing.key").symlink_to(tmp_path / "elsewhere")
    with on_disk(tmp_path / "root") as store, pytest.raises(ProviderError):
        store.presign(store.store(b"x"))


def test_key_of_memory():
    """Each store in memory has a key of its own."""
    with ArtifactStore(sandbox_id="box", gateway_url=BASE) as one, ArtifactStore(sandbox_id="box") as other:
        url = one.presign(one.store(b"x"))
        assert (status(one, url), status(other, url)) == (200, 403)


def test_keys_are_configured(monkeypatch, tmp_path):
    """Keys come from the argument or else the environment, and no key file is written; the first key signs."""
    new, old = "new".zfill(16), "old".zfill(16)
    monkeypatch.setenv("ARTIFACT_SIGNING_KEY", f" {new} , {old} ")
    with (
        on_disk(tmp_path, signing_key=old) as only_old,
        on_disk(tmp_path) as both,
        on_disk(tmp_path, signing_key=new) as only_new,
    ):
        by_old, by_both = (store.presign(store.store(b"x")) for store in (only_old, both))
        assert [status(store, by_old) for store in (only_old, both, only_new)] == [200, 200, 403]
        assert [status(store, by_both) for store in (only_old, both, only_new)] == [403, 200, 200]
    assert not (tmp_path / "signing.key").exists()


def test_missing_key_is_reported():
    """The check warns where links need a key that all processes know, and there is none."""
    with ArtifactStore(storage_provider="memory://keyless", gateway_url=BASE) as store:
        assert "set ARTIFACT_SIGNING_KEY" in store.validate_configuration()["storage"]["warning"]
    with ArtifactStore(storage_provider="memory://keyless", gateway_url=BASE, signing_key="k" * 32) as store:
        assert "signing" not in store.validate_configuration()["storage"].get("warning", "")


@pytest.mark.parametrize("key", ["", ",", " , ", 5, b"key", "\ud800"])
def test_wrong_key(key):
    """A key that is empty or no text is refused when the store is opened."""
    with pytest.raises(InvalidInputError, match="signing_key"):
        ArtifactStore(signing_key=key)


@pytest.mark.parametrize(
    "key",
    ["x", "x" * 15, "\u00fc" * 7, " " * 20 + "x", f"{'x' * 16},{'y' * 15}", f"y,{'x' * 16}", "correct,horse,battery"],
)
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_short_key(monkeypatch, key, by):
    """A key below 16 bytes is refused, also among several; the error shows no key, and names the separator."""
    if by == "environment":
        monkeypatch.setenv("ARTIFACT_SIGNING_KEY", key)
    with pytest.raises(InvalidInputError, match="signing_key must be at least 16 bytes") as caught:
        ArtifactStore(**({"signing_key": key} if by == "argument" else {}))
    assert ("a comma separates keys" in str(caught.value)) == ("," in key)
    assert not any(one in str(caught.value) for one in ("horse", "battery", "x" * 5, "y" * 5))


@pytest.mark.parametrize("key", ["x" * 16, "\u00fc" * 8, f"{'x' * 16}, {'y' * 16},"])
def test_key_that_is_long_enough(key):
    """A key of 16 bytes of UTF-8 is long enough."""
    with ArtifactStore(signing_key=key, gateway_url=BASE) as store:
        assert status(store, store.presign(store.store(b"x"))) == 200


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "/files", "ftp://example.org", "https://u:p@example.org", "https://a/?b", "https://a/#b", 5],
)
def test_wrong_gateway_url(url):
    """A gateway URL must be http or https without query and credentials, and the error does not repeat it."""
    with pytest.raises(InvalidInputError, match="gateway_url") as caught:
        ArtifactStore(gateway_url=url)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("base", [BASE, BASE + "/"])
def test_gateway_url_is_configured(monkeypatch, base):
    """The gateway URL comes from the argument or else the environment, with or without a final slash."""
    monkeypatch.setenv("ARTIFACT_GATEWAY_URL", base)
    with ArtifactStore() as store, ArtifactStore(gateway_url="http://other") as other:
        assert store.presign(store.store(b"x")).startswith(BASE + "/")
        assert other.presign(other.store(b"x")).startswith("http://other/")


def test_storage_that_others_share_needs_a_key():
    """A shared gateway needs a configured key: no other process knows a random one."""
    options = {"storage_provider": "ibm_cos_iam", "endpoint_url": "http://127.0.0.1:9", "gateway_url": BASE}
    with ArtifactStore(**options) as store, pytest.raises(InvalidInputError, match="ARTIFACT_SIGNING_KEY"):
        store.presign_upload("s")
    with ArtifactStore(**options, signing_key="a secret of 16 bytes") as store:
        assert store.presign_upload("s")[0].startswith(BASE)


def test_key_is_shown_nowhere(tmp_path, caplog):
    """No repr, pickle or log shows a key."""
    caplog.set_level(logging.DEBUG)
    with on_disk(tmp_path, signing_key="a secret of 16 bytes,another of 16 bytes") as store:
        store.presign(store.store(b"x"))
        shown = [repr(store), repr(store.scope.core.settings), repr(vars(store.scope.core)), caplog.text]
        assert not any("secret" in text or "another" in text for text in shown)
        pickled = pickle.dumps(store)
        assert b"secret" not in pickled
        assert b"another" not in pickled


def test_key_does_not_travel(monkeypatch, tmp_path):
    """An unpickled store takes its key from the environment, and refuses to sign without one."""
    with on_disk(tmp_path, signing_key="a secret of 16 bytes") as store:
        artifact_id = store.store(b"x")
        pickled = pickle.dumps(store)
        with pickle.loads(pickled) as lost, pickle.loads(pickle.dumps(lost)) as lost_again:
            for one in (lost, lost_again):
                with pytest.raises(InvalidInputError, match="ARTIFACT_SIGNING_KEY"):
                    one.presign(artifact_id)
        monkeypatch.setenv("ARTIFACT_SIGNING_KEY", "a secret of 16 bytes")
        with pickle.loads(pickled) as there:
            assert status(store, there.presign(artifact_id)) == 200


def test_key_file_is_read_on_the_other_side(tmp_path):
    """An unpickled store of a folder signs with the key file of that folder."""
    with on_disk(tmp_path) as store, copy.deepcopy(store) as there:
        assert status(store, there.presign(store.store(b"x"))) == 200
