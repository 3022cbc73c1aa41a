"""Where the bucket and its credentials come from, and where these must not appear."""

from __future__ import annotations

import json
import logging
import os
import pickle
import traceback
from pathlib import Path

import child
import pytest
from click.testing import CliRunner
from servers import rgw
from servers.buckets import open_bucket, s3_on_served_moto

from chuk_artifacts import ArtifactStore, InvalidInputError, ProviderError
from chuk_artifacts.cli import cli
from chuk_artifacts.settings import resolve

SESSION = "user_alice"
SECRET = "hunter2"


def place(**options):
    """Return bucket, prefix, endpoint and region of a configuration."""
    bucket = resolve(now=0, **{"storage_provider": "s3", **options}).bucket
    return bucket.name, bucket.prefix, bucket.endpoint_url, bucket.region


def sandbox(**options):
    """Return the sandbox of a configuration."""
    return resolve(now=0, **{"storage_provider": "s3", **options}).sandbox_id


def test_defaults():
    """Without more than the provider's name the bucket is ``artifacts``, at AWS."""
    assert place() == ("artifacts", "", None, None)


def test_environment(monkeypatch):
    """The environment names bucket, service and region."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", "s3")
    monkeypatch.setenv("ARTIFACT_BUCKET", "my-files")
    monkeypatch.setenv("S3_ENDPOINT_URL", "https://minio.example.com/")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert place(storage_provider=None) == ("my-files", "", "https://minio.example.com", "eu-west-1")


def test_arguments_outrank_the_environment(monkeypatch):
    """What is given outranks the environment."""
    monkeypatch.setenv("ARTIFACT_BUCKET", "my-files")
    monkeypatch.setenv("S3_ENDPOINT_URL", "https://minio.example.com")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    given = {"bucket": "other", "endpoint_url": "http://localhost:9000", "region": "us-west-2"}
    assert place(**given) == ("other", "", "http://localhost:9000", "us-west-2")
    assert place(storage_provider="s3://third/a")[:2] == ("third", "a/")


@pytest.mark.parametrize("provider", ["ibm_cos", "ibm_cos_iam"])
def test_service_of_ibm(monkeypatch, provider):
    """IBM has a variable of its own, and takes no service of another."""
    monkeypatch.setenv("S3_ENDPOINT_URL", "https://minio.example.com")
    assert place(storage_provider=provider)[2] is None
    monkeypatch.setenv("IBM_COS_ENDPOINT", "https://s3.eu-de.cloud-object-storage.appdomain.cloud")
    assert place(storage_provider=provider)[2] == "https://s3.eu-de.cloud-object-storage.appdomain.cloud"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://files", ("files", "")),
        ("s3://files/", ("files", "")),
        ("s3://files/a/b", ("files", "a/b/")),
        ("s3://files/a/b/", ("files", "a/b/")),
        ("s3://files/ü 1", ("files", "ü 1/")),
    ],
)
def test_url(url, expected):
    """A URL names the bucket, and what the keys in it begin with."""
    assert place(storage_provider=url)[:2] == expected


@pytest.mark.parametrize(
    "options",
    [
        {"storage_provider": "s3://"},
        {"storage_provider": "s3:///a"},
        {"storage_provider": f"s3://user:{SECRET}@files"},
        {"storage_provider": "s3://files/a/../b"},
        {"storage_provider": "s3://files/a//b"},
        {"storage_provider": "s3://files", "bucket": "other"},
        {"bucket": "a"},
        {"bucket": "a/b"},
        {"bucket": "../files"},
        {"bucket": 5},
        {"endpoint_url": "localhost:9000"},
        {"endpoint_url": "ftp://localhost"},
        {"endpoint_url": "https://"},
        {"endpoint_url": "https://[::1"},
        {"endpoint_url": f"https://user:{SECRET}@localhost"},
        {"endpoint_url": 5},
        {"region": 5},
        {"storage_options": {"aws_acess_key_id": SECRET}},
        {"storage_options": {"Body": b""}},
        {"storage_options": {"fsync": True}},
        {"storage_options": {"part_size": 1}},
    ],
    ids=str,
)
def test_bad_configuration(options):
    """A configuration that can't be meant is refused when a store is built, without its secrets."""
    with pytest.raises(InvalidInputError) as caught:
        ArtifactStore(**{"storage_provider": "s3", **options})
    assert SECRET not in str(caught.value)


def test_sandbox_is_that_of_the_place():
    """The same bucket has the same sandbox, for every instance and both kinds of IBM; another place has another."""
    assert sandbox() == sandbox(bucket="artifacts") == sandbox(storage_provider="s3://artifacts", region="eu-west-1")
    service = {"endpoint_url": "https://localhost"}
    assert sandbox(storage_provider="ibm_cos", **service) == sandbox(storage_provider="ibm_cos_iam", **service)
    others = [{}, {"bucket": "other"}, {"storage_provider": "s3://artifacts/a"}, service]
    assert len({sandbox(**other) for other in others}) == 4


# Credentials


def test_keys_of_a_profile(options, monkeypatch, tmp_path):
    """Keys may come from a profile of the SDK's own files."""
    if options["storage_provider"] != "s3":
        pytest.skip("IBM's files are of another kind")
    (tmp_path / ".aws").mkdir()
    credentials = f"[mine]\naws_access_key_id={rgw.ACCESS_KEY}\naws_secret_access_key={rgw.SECRET_KEY}\n"
    (tmp_path / ".aws" / "credentials").write_text(credentials)
    (tmp_path / ".aws" / "config").write_text("[profile mine]\nregion = eu-west-1\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with ArtifactStore(**options, storage_options={"profile_name": "mine"}) as store:
        assert store.retrieve(store.store(b"1", session_id=SESSION)) == b"1"
        assert store.scope.core.storage._client.connected().meta.region_name == "eu-west-1"
    monkeypatch.setenv("AWS_PROFILE", "mine")
    with ArtifactStore(**options) as store:
        assert store.retrieve(store.store(b"1", session_id=SESSION)) == b"1"
    nobody = {"storage_options": {"profile_name": "nobody"}}
    with ArtifactStore(**options, **nobody) as store, pytest.raises(ProviderError, match="profile"):
        store.store(b"1")


def test_keys_as_options(options, monkeypatch):
    """Keys may be given with the store, and others without."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    keys = {"aws_access_key_id": rgw.ACCESS_KEY, "aws_secret_access_key": rgw.SECRET_KEY}
    with ArtifactStore(**options, storage_options=keys) as store:
        assert store.retrieve(store.store(b"1", session_id=SESSION)) == b"1"
    with ArtifactStore(**options) as store, pytest.raises(ProviderError, match="access key is not known"):
        store.store(b"1")


def test_wrong_secret(options, monkeypatch):
    """A secret key that does not fit is an error of the provider."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with ArtifactStore(**options) as store, pytest.raises(ProviderError, match="secret key does not fit"):
        store.store(b"1")


def test_no_credentials(options, monkeypatch):
    """Without credentials the error says what to set, and so does the validation."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with ArtifactStore(**options) as store:
        with pytest.raises(ProviderError, match="AWS_ACCESS_KEY_ID"):
            store.store(b"1")
        assert "AWS_ACCESS_KEY_ID" in store.validate_configuration()["storage"]["message"]


def test_half_of_the_credentials(options, monkeypatch):
    """An access key without its secret is incomplete."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with ArtifactStore(**options) as store, pytest.raises(ProviderError, match="incomplete"):
        store.store(b"1")


def test_secrets_are_not_shown(options, caplog):
    """Neither text nor log nor error nor pickle of a store holds a secret that it was given."""
    caplog.set_level(logging.DEBUG, "chuk_artifacts")
    secrets = {"aws_access_key_id": "AKIA-given", "aws_secret_access_key": SECRET, "aws_session_token": f"{SECRET}-2"}
    with ArtifactStore(**options, storage_options={**secrets, "use_ssl": False}) as store:
        with pytest.raises(ProviderError) as caught:
            store.store(b"1", session_id=SESSION)
        shown = [
            repr(store),
            repr(store.scope.core.settings),
            repr(store.scope.core.storage),
            "".join(traceback.format_exception(caught.value)),
            caplog.text,
            str(store.validate_configuration()),
            str(store.get_stats()),
            pickle.dumps(store).decode("latin-1"),
        ]
        assert [text for text in shown if SECRET in text or "AKIA-given" in text] == []
        copy = pickle.loads(pickle.dumps(store))
    assert dict(copy.scope.core.settings.storage_options) == {"use_ssl": False}
    copy.close()


def test_pickled_store_works(store, options):
    """A store in another process finds the bytes, by the keys of its own environment."""
    artifact_id = store.store(b"0123456789", session_id=SESSION)
    record = store.scope.core.catalog.get([artifact_id])[0]
    with pickle.loads(pickle.dumps(store)) as copy:
        copy.scope.core.catalog.add([record], now=0)  # memory is not shared
        assert copy.retrieve(artifact_id) == b"0123456789"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_connects_anew(options):
    """A child has a client and threads of its own, and the parent goes on with its own."""
    code = """
        import json, os, sys, warnings
        from chuk_artifacts import ArtifactStore
        warnings.simplefilter("ignore")
        large = b"x" * 20_000_000
        with ArtifactStore(**json.loads(sys.argv[1])) as store:
            artifact_id = store.store(large)
            storage = store.scope.core.storage
            client, threads = storage._client.connected(), storage._threads._executor()
            child = os.fork()
            works = b"".join(store.stream(artifact_id)) == store.retrieve(store.store(large)) == large
            apart = storage._client.connected() is not client and storage._threads._executor() is not threads
            if not child:
                os._exit(0 if works and apart else 1)
            print(works, apart, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert child.run(code, json.dumps(options)).split() == ["True", "False", "0"]


# The command


def test_init(options, monkeypatch, tmp_path):
    """``init`` makes the bucket of the environment, and the second time leaves it; then the other commands work."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", options["storage_provider"])
    monkeypatch.setenv("S3_ENDPOINT_URL", options["endpoint_url"])
    monkeypatch.setenv("IBM_COS_ENDPOINT", options["endpoint_url"])
    monkeypatch.setenv("ARTIFACT_BUCKET", f"{options['bucket']}-2")
    monkeypatch.setenv("SESSION_PROVIDER", "sqlite")
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("content", "utf-8")
    runner = CliRunner()
    refused = runner.invoke(cli, ["put", "file"])
    assert refused.exit_code == 1
    assert "init" in refused.stderr
    for done in ("created", "found"):
        made = runner.invoke(cli, ["init", "--json"])
        assert made.exit_code == 0
        said = json.loads(made.stdout)
        assert said["storage"].startswith(f"{done} the bucket '{options['bucket']}-2'")
        assert ("no LocationConstraint" in said["storage"]) == (done == "created")
    put = runner.invoke(cli, ["put", "file"])
    assert runner.invoke(cli, ["get", put.output.strip()]).output == "content"


def test_init_at_an_endpoint_of_a_region(request, monkeypatch):
    """An endpoint that asks for the region of a new bucket, as moto's does, gets it."""
    options = s3_on_served_moto(request)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("S3_ENDPOINT_URL", options["endpoint_url"])
    monkeypatch.setenv("ARTIFACT_PROVIDER", f"s3://{options['bucket']}-3")
    made = CliRunner().invoke(cli, ["init"])
    assert made.exit_code == 0, made.output
    assert "in the region eu-west-1" in made.stdout
    assert "found" in CliRunner().invoke(cli, ["init"]).stdout


def test_init_where_nothing_listens(monkeypatch):
    """``init`` that fails is one line and exit status 1."""
    monkeypatch.setenv("ARTIFACT_PROVIDER", "s3")
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    result = CliRunner().invoke(cli, ["init"])
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "can't be reached" in result.stderr


def test_init_in_a_region(request, monkeypatch):
    """On AWS the bucket is made in the region that is configured."""
    request.getfixturevalue("moto_aws")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("ARTIFACT_PROVIDER", "s3")
    made = CliRunner().invoke(cli, ["init"])
    assert made.exit_code == 0
    assert "in the region eu-west-1" in made.stdout
    storage = open_bucket({"storage_provider": "s3"})
    assert storage._client.call("get_bucket_location")["LocationConstraint"] == "eu-west-1"
    storage.close()
