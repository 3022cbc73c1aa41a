"""Azure Blob Storage, as npm's Azurite answers: a store on ``abfs://`` through adlfs."""

from __future__ import annotations

import re
import shutil

import pytest

from chuk_artifacts import ArtifactStore, ProviderError
from clients import methods

pytest.importorskip("adlfs")
blob = pytest.importorskip("azure.storage.blob")

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # by aiohttp, of adlfs

ACCOUNT = "devstoreaccount1"  # Azurite's own, and the key that its documentation names
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture
def options(spawn):
    """Return the storage options of a running Azurite with a container."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("not installed: azurite, of npm")
    azurite = spawn(
        *(program, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"),
        *("--skipApiVersionCheck", "--disableTelemetry"),
    )
    here = re.search(r"http://\S+", azurite.until("successfully listens"))[0]
    connection = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={here}/{ACCOUNT};"
    with blob.BlobServiceClient.from_connection_string(connection) as client:
        client.create_container("files")
    return {"connection_string": connection}


def test_methods(options):
    """A store on Azure does what a store does, and shows no key."""
    with ArtifactStore(storage_provider="abfs://files/some/prefix", storage_options=options) as store:
        methods.use(store)
        assert KEY not in f"{store!r} {store.get_sandbox_info()}"


def test_bytes_describe_themselves(options):
    """What is said of bytes is kept with them as metadata."""
    with ArtifactStore(storage_provider="abfs://files/some/prefix", storage_options=options) as store:
        methods.describe(store.scope.core.storage)


def test_missing_container(options):
    """A container that does not exist is an error of the provider."""
    with ArtifactStore(storage_provider="abfs://none/prefix", storage_options=options) as store:
        with pytest.raises(ProviderError):
            store.store(b"hello")
        assert store.validate_configuration()["storage"]["status"] == "error"
