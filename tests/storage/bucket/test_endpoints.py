"""The endpoint in the configuration of the AWS SDK is as good as the argument."""

from __future__ import annotations

import pytest
from botocore.config import Config
from servers.scripted import Scripted

from chuk_artifacts import ArtifactStore, InvalidInputError
from chuk_artifacts.settings import resolve

URL = "http://127.0.0.1:9000"
FILES = {
    "global": f"[default]\nendpoint_url = {URL}\n",
    "service": f"[default]\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = {URL}\n",
    "service before global": (
        f"[default]\nservices = mine\nendpoint_url = http://other\n[services mine]\ns3 =\n  endpoint_url = {URL}\n"
    ),
    "profile": f"[default]\nendpoint_url = http://other\n[profile mine]\nendpoint_url = {URL}/\n",
}
PROFILES = {"profile": "mine"}


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Return a function that writes the configuration of the SDK."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")

    def write(text, name="config"):
        (tmp_path / ".aws").mkdir(exist_ok=True)
        (tmp_path / ".aws" / name).write_text(text, "utf-8")

    return write


def resolved(**options):
    """Return the settings of a bucket."""
    return resolve(now=0, storage_provider="s3", **options)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("by", ["variable", "option"])
def test_endpoint_of_the_files(configure, monkeypatch, name, by):
    """The endpoint of the profile, of its services or its own, is that of the store, and so is the sandbox."""
    configure(FILES[name])
    options = {}
    if name in PROFILES and by == "variable":
        monkeypatch.setenv("AWS_PROFILE", PROFILES[name])
    elif name in PROFILES:
        options = {"storage_options": {"profile_name": PROFILES[name]}}
    settings = resolved(**options)
    assert settings.bucket.endpoint_url == URL
    assert settings.sandbox_id == resolved(endpoint_url=URL).sandbox_id


def test_other_files(configure, monkeypatch, tmp_path):
    """Files elsewhere count, and so does the file of the credentials."""
    configure(FILES["global"], "elsewhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / ".aws" / "elsewhere"))
    assert resolved().bucket.endpoint_url == URL
    monkeypatch.delenv("AWS_CONFIG_FILE")
    assert resolved().bucket.endpoint_url is None
    configure(FILES["global"], "credentials")
    assert resolved().bucket.endpoint_url == URL


def test_what_comes_first(configure, monkeypatch):
    """The argument comes before our variable, that before those of the SDK, and the files come last."""
    configure(FILES["global"])
    for name, url in (
        ("AWS_ENDPOINT_URL", "http://one"),
        ("AWS_ENDPOINT_URL_S3", "http://two"),
        ("S3_ENDPOINT_URL", "http://three"),
    ):
        monkeypatch.setenv(name, url)
        assert resolved().bucket.endpoint_url == url
    assert resolved(endpoint_url="http://four").bucket.endpoint_url == "http://four"


def test_endpoints_that_are_to_be_ignored(configure, monkeypatch):
    """Who has the SDK ignore endpoints that are configured has us ignore them too, but not our own variable."""
    configure(FILES["global"] + "ignore_configured_endpoint_urls = true\n")
    assert resolved().bucket.endpoint_url is None
    configure(FILES["global"])
    config = {"storage_options": {"config": Config(ignore_configured_endpoint_urls=True)}}
    assert resolved(**config).bucket.endpoint_url is None
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://one")
    assert resolved().bucket.endpoint_url is None
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://three")
    assert resolved().bucket.endpoint_url == "http://three"


@pytest.mark.parametrize(
    "text",
    [
        "endpoint_url\n[[[",
        "# endpoint_url = http://other\n[default]\nregion = eu-west-1\n",
        "[default]\nservices = none\n# endpoint_url\n",
        "[default]\nservices = mine\n[services mine]\ns3 = endpoint_url\n",
        "[default]\n[profile other]\nendpoint_url = http://other\n",
        "[default]\nendpoint_url =\n",
    ],
)
def test_no_endpoint(configure, text):
    """Files without an endpoint of S3 for the profile, or that can't be read, change nothing."""
    configure(text)
    assert resolved().bucket.endpoint_url is None


def test_profile_that_is_missing(configure):
    """A profile that does not exist is reported when a client is made, not here."""
    configure(FILES["global"])
    assert resolved(storage_options={"profile_name": "nobody"}).bucket.endpoint_url is None


def test_endpoint_that_is_none(configure):
    """What can be no endpoint is refused, as an argument is."""
    configure("[default]\nendpoint_url = ftp://there\n")
    with pytest.raises(InvalidInputError, match="endpoint_url"):
        resolved()


def test_ibm_has_its_own(configure):
    """IBM's services are not named by the files of the AWS SDK."""
    configure(FILES["global"])
    assert resolve(now=0, storage_provider="ibm_cos").bucket.endpoint_url is None


@pytest.mark.parametrize("way", ["file", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_requests_are_as_with_the_argument(configure, monkeypatch, way):
    """Such a service gets requests in path style, and no checksums of AWS's own."""
    with Scripted() as service:
        if way == "file":
            configure(f"[default]\nendpoint_url = {service.url}\n")
        else:
            configure("")
            monkeypatch.setenv(way, service.url)
        with ArtifactStore(storage_provider="s3", bucket="my-files") as store:
            store.scope.core.identified = True
            artifact_ids = [store.store(b"1", session_id="user_alice") for _ in range(2)]
            store.delete_batch(artifact_ids)
        names = {name for request in service.requests for name in request.headers}
        assert all(request.path.startswith("/my-files") for request in service.requests)
        assert "content-md5" in names
        assert not [name for name in names if "checksum" in name]
