"""IBM COS under IAM, by IBM's own SDK: tokens that come, end, are refused, or can't be had."""

from __future__ import annotations

import sys
import traceback
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from servers import iam
from servers.buckets import ibm_iam_on_moto
from servers.http_proxy import HttpProxy

from chuk_artifacts import ArtifactStore, ProviderError

SESSION = "user_alice"


@pytest.fixture
def options(request):
    """Return the options of an empty bucket under IAM."""
    return ibm_iam_on_moto(request)


def test_requests_carry_the_token(store, proxy, ibm_iam):
    """Each request carries the token that was fetched once for the API key."""
    artifact_id = store.store(b"0123456789", session_id=SESSION)
    assert store.retrieve(artifact_id) == b"0123456789"
    assert {request.headers["authorization"] for request in proxy.requests} == {"Bearer token-1"}
    assert ibm_iam.grants == ["apikey"]


def test_large_data(store):
    """Large data goes in parts and comes in ranges as everywhere."""
    data = bytes(range(256)) * 50_000
    artifact_id = store.store(data, session_id=SESSION)
    assert b"".join(store.stream(artifact_id)) == data


def test_token_that_ends(store, proxy, ibm_iam):
    """A token that is over is fetched anew, and the store goes on."""
    artifact_id = store.store(b"1", session_id=SESSION)
    tokens = store.scope.core.storage._client.connected()._request_signer._credentials.token_manager
    tokens._expiry_time -= timedelta(hours=2)
    assert store.retrieve(artifact_id) == b"1"
    assert ibm_iam.grants == ["apikey", "refresh_token"]
    assert proxy.requests[-1].headers["authorization"] == "Bearer token-2"


def test_closed_store_renews_no_token(open_store):
    """The thread that renews the token ends with the store."""
    store = open_store()
    store.store(b"1", session_id=SESSION)
    tokens = store.scope.core.storage._client.connected()._request_signer._credentials.token_manager
    assert tokens._background_thread.is_alive()
    store.close()
    tokens._background_thread.join(10)
    assert not tokens._background_thread.is_alive()


def test_token_that_is_over_at_once(open_store, ibm_iam):
    """A token that is over when it comes is an error of the provider."""
    ibm_iam.lifetime = 0
    with pytest.raises(ProviderError):
        open_store().store(b"1", session_id=SESSION)


def test_wrong_api_key(open_store, monkeypatch):
    """An API key that IAM does not know is an error of the provider, which does not show it."""
    monkeypatch.setenv("IBM_COS_APIKEY", "wrong-hunter2")
    store = open_store()
    with pytest.raises(ProviderError, match="credentials were refused") as caught:
        store.store(b"1", session_id=SESSION)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert store.validate_configuration()["storage"]["status"] == "error"


@pytest.mark.parametrize("answer", [(500, b"no JSON"), (200, b"no JSON"), (200, b"{}"), (503, b"{}")], ids=str)
def test_iam_that_talks_nonsense(open_store, ibm_iam, answer):
    """An endpoint that answers something else than a token is an error of the provider."""
    ibm_iam.broken = answer
    with pytest.raises(ProviderError):
        open_store().store(b"1", session_id=SESSION)


def test_iam_is_down(open_store):
    """An endpoint that can't be reached is an error of the provider, and no other."""
    store = open_store(storage_options={"ibm_auth_endpoint": "http://127.0.0.1:1/token"})
    with pytest.raises(ProviderError, match="can't be reached"):
        store.store(b"1", session_id=SESSION)


def test_urls_without_keys(store, options):
    """What the SDK can't sign under IAM is signed by the library, and leads not to the service but to the gateway."""
    artifact_id = store.store(b"1", session_id=SESSION)
    urls = [
        store.presign(artifact_id),
        store.presign_upload(SESSION)[0],
        store.presign_upload_and_register(mime="text/plain", summary="")[0],
    ]
    assert len({urlsplit(url).netloc for url in urls}) == 1
    assert not any(url.startswith(options["endpoint_url"]) for url in urls)


def test_no_api_key(options, monkeypatch):
    """Without an API key the error says what to set, when it is needed and not before."""
    monkeypatch.delenv("IBM_COS_APIKEY")
    with ArtifactStore(**options) as store, pytest.raises(ProviderError, match="IBM_COS_APIKEY"):
        store.store(b"1", session_id=SESSION)


def test_api_key_as_an_option(options, monkeypatch):
    """The API key may be given with the store."""
    monkeypatch.delenv("IBM_COS_APIKEY")
    options["storage_options"] = {**options["storage_options"], "ibm_api_key_id": iam.API_KEY}
    with ArtifactStore(**options) as store:
        assert store.retrieve(store.store(b"1", session_id=SESSION)) == b"1"


@pytest.mark.parametrize("provider", ["ibm_cos", "ibm_cos_iam"])
def test_no_endpoint(provider):
    """Without the URL of a service the error says what to set."""
    with ArtifactStore(storage_provider=provider) as store, pytest.raises(ProviderError, match="IBM_COS_ENDPOINT"):
        store.store(b"1", session_id=SESSION)


@pytest.mark.parametrize("provider", ["ibm_cos", "ibm_cos_iam"])
def test_no_sdk(monkeypatch, provider):
    """Without the SDK of IBM the error says how to install it, and S3 works on."""
    monkeypatch.setitem(sys.modules, "ibm_boto3", None)
    with pytest.raises(ProviderError, match=r"pip install .*\[ibm\]"):
        ArtifactStore(storage_provider=provider, endpoint_url="https://localhost")
    ArtifactStore(storage_provider="s3").close()


def test_instance_of_a_new_bucket(options):
    """A bucket is made in the service instance that is configured."""
    with HttpProxy(options["endpoint_url"]) as proxy:
        with ArtifactStore(**{**options, "endpoint_url": proxy.url, "bucket": f"{options['bucket']}-2"}) as store:
            store.scope.core.storage.create()
        headers = next(request.headers for request in proxy.requests if request.method == "PUT")
        assert headers["ibm-service-instance-id"].startswith("crn:v1:bluemix:public:cloud-object-storage")
