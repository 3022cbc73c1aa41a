"""Google Cloud Storage, as its emulator answers: a store on ``gs://`` through gcsfs."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from chuk_artifacts import ArtifactStore, ProviderError
from clients import methods

with pytest.MonkeyPatch.context() as patch:  # or its first request waits a minute for a gRPC endpoint
    patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    pytest.importorskip("gcsfs")

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # by aiohttp, of gcsfs

EMULATOR = """
from gcp_storage_emulator.server import create_server

server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="files")
server.start()
print("port", server._api._httpd.server_address[1], flush=True)
server._api._thread.join()
"""


@pytest.fixture
def options(spawn):
    """Return the storage options of a running emulator."""
    if importlib.util.find_spec("gcp_storage_emulator") is None:
        pytest.skip("not installed: gcp-storage-emulator, of PyPI")
    port = spawn(sys.executable, "-W", "ignore", "-c", EMULATOR).until("port ").split()[-1]
    return {"endpoint_url": f"http://127.0.0.1:{port}", "token": "anon", "project": "test"}


def test_methods(options):
    """A store on Google Cloud does what a store does."""
    with ArtifactStore(storage_provider="gs://files/some/prefix", storage_options=options) as store:
        methods.use(store)


def test_bytes_describe_themselves(options):
    """What is said of bytes is kept with them as metadata."""
    with ArtifactStore(storage_provider="gs://files/some/prefix", storage_options=options) as store:
        methods.describe(store.scope.core.storage)


def test_missing_bucket(options):
    """A bucket that does not exist is an error of the provider."""
    with ArtifactStore(storage_provider="gs://none/prefix", storage_options=options) as store:
        with pytest.raises(ProviderError):
            store.store(b"hello")
        assert store.validate_configuration()["storage"]["status"] == "error"
