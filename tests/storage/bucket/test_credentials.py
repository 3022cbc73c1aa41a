"""Credentials that come from elsewhere and can't be used: an error of the provider, which shows nothing of them."""

from __future__ import annotations

import hashlib
import json
import traceback

import pytest

from chuk_artifacts import ArtifactStore, ProviderError
from chuk_artifacts.settings import resolve
from chuk_artifacts.storage import open_storage

SECRET = "hunter2"
KEYS = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": SECRET, "SessionToken": SECRET}
PRINTED = {
    "nothing": b"",
    "no JSON": SECRET.encode(),
    "no text": b"\xff\xfe" + SECRET.encode(),
    "a list": json.dumps([SECRET]).encode(),
    "a number": b"5",
    "another version": json.dumps({**KEYS, "Version": SECRET}).encode(),
    "no keys": b'{"Version": 1}',
    "keys of another type": json.dumps({**KEYS, "AccessKeyId": [SECRET], "SecretAccessKey": 6}).encode(),
    "a time that is none": json.dumps({**KEYS, "Expiration": SECRET}).encode(),
    "a time that is over": json.dumps({**KEYS, "Expiration": "2001-01-01T00:00:00Z"}).encode(),
    "a token of two lines": json.dumps({**KEYS, "SessionToken": f"{SECRET}\n"}).encode(),
    "much": b"[" * 100_000,
}
CACHED = {
    "nothing": b"",
    "no JSON": SECRET.encode(),
    "no text": b"\xff\xfe",
    "a number": b"5",
    "no token": b"{}",
    "a token of another type": json.dumps({"accessToken": [SECRET], "expiresAt": "2999-01-01T00:00:00Z"}).encode(),
    "a time that is none": json.dumps({"accessToken": SECRET, "expiresAt": SECRET}).encode(),
}
SSO = """
[sso-session s]
sso_start_url = https://example.invalid
sso_region = us-east-1
[profile mine]
sso_session = s
sso_account_id = 1
sso_role_name = r
"""


@pytest.fixture
def configure(tmp_path):
    """Return a function that writes the configuration of the SDK."""

    def write(text):
        (tmp_path / ".aws").mkdir(exist_ok=True)
        (tmp_path / ".aws" / "config").write_text(text, "utf-8")

    return write


def assert_refused(caught):
    """Say that an error is of the provider, and shows no secret, not even with what led to it."""
    assert type(caught.value) is ProviderError
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def open_profile():
    """Return a storage that takes its credentials from the profile."""
    return open_storage(
        resolve(
            now=0,
            storage_provider="s3",
            endpoint_url="http://127.0.0.1:1",
            max_retries=0,
            storage_options={"profile_name": "mine"},
        )
    )


@pytest.mark.parametrize("printed", PRINTED.values(), ids=PRINTED)
def test_process_that_prints_rubbish(configure, tmp_path, printed):
    """A credential process that prints something else than credentials is an error of the provider, each time."""
    (tmp_path / "printed").write_bytes(printed)
    configure(f"[profile mine]\ncredential_process = cat {tmp_path / 'printed'}\n")
    storage = open_profile()
    for _ in range(2):
        with pytest.raises(ProviderError) as caught:
            storage.get("grid/a")
        assert_refused(caught)
    storage.close()


@pytest.mark.parametrize(
    "command", ["/no/such/file --token hunter2", "sh -c 'echo hunter2 >&2; exit 3'", "cat 'hunter2"]
)
def test_process_that_fails(configure, command):
    """A credential process that can't be run, or fails, is an error of the provider."""
    configure(f"[profile mine]\ncredential_process = {command}\n")
    storage = open_profile()
    with pytest.raises(ProviderError) as caught:
        storage.put("grid/a", b"1")
    assert_refused(caught)
    storage.close()


@pytest.mark.parametrize("cached", CACHED.values(), ids=CACHED)
def test_token_cache_that_is_rubbish(configure, tmp_path, cached):
    """A cached token that can't be read is an error of the provider, for a request and for a URL."""
    configure(SSO)
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    (cache / f"{hashlib.sha1(b's').hexdigest()}.json").write_bytes(cached)
    storage = open_profile()
    for method in (
        lambda: storage.get("grid/a"),
        lambda: storage.sign_get("grid/a", expires=5, filename=None, mime="text/plain"),
    ):
        with pytest.raises(ProviderError) as caught:
            method()
        assert_refused(caught)
    storage.close()


def test_token_cache_that_is_no_file(configure, tmp_path):
    """A cached token that can't be opened is an error of the provider that says what to do."""
    configure(SSO)
    (tmp_path / ".aws" / "sso" / "cache" / f"{hashlib.sha1(b's').hexdigest()}.json").mkdir(parents=True)
    storage = open_profile()
    with pytest.raises(ProviderError, match="log in again"):
        storage.get("grid/a")
    storage.close()


@pytest.mark.parametrize(
    "text", ["hunter2\n[[[", "[profile mine]\nsource_profile = none\nrole_arn = arn:aws:iam::1:role/x\n"]
)
def test_configuration_that_is_rubbish(configure, text):
    """A configuration of the SDK that can't be read is an error of the provider."""
    configure(text)
    storage = open_profile()
    with pytest.raises(ProviderError) as caught:
        storage.get("grid/a")
    assert_refused(caught)
    storage.close()


def test_option_of_the_wrong_type(options):
    """A storage option that the SDK refuses is named, without its value."""
    with (
        ArtifactStore(**options, storage_options={"SSEKMSKeyId": [SECRET]}) as store,
        pytest.raises(ProviderError, match="SSEKMSKeyId") as caught,
    ):
        store.store(b"1")
    assert_refused(caught)


def test_configuration_of_the_wrong_type(options):
    """A configuration that is none is an error of the provider."""
    with ArtifactStore(**options, storage_options={"config": 5}) as store, pytest.raises(ProviderError):
        store.store(b"1")
