"""A store on a bucket of a real server, behind a proxy that sees all and can make it bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import ibm_botocore.credentials
import ibm_botocore.endpoint
import pytest
from servers.buckets import Options, ibm_on_rgw, open_bucket, s3_on_rgw, warm
from servers.http_proxy import HttpProxy

from chuk_artifacts import ArtifactStore
from chuk_artifacts.storage.bucket import BucketStorage, client

KINDS = {"s3": s3_on_rgw, "ibm_cos": ibm_on_rgw}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the storage and the SDKs retry at once."""
    for module in (client, botocore.endpoint, ibm_botocore.endpoint, ibm_botocore.credentials):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture(params=KINDS)
def options(request: pytest.FixtureRequest) -> Options:
    """Return the options of an empty bucket, with each SDK."""
    return KINDS[request.param](request)


@pytest.fixture
def proxy(options: Options) -> Iterator[HttpProxy]:
    """Return the proxy before the bucket's server."""
    with HttpProxy(options["endpoint_url"]) as proxy:
        yield proxy


@pytest.fixture
def storage(options: Options, proxy: HttpProxy) -> Iterator[BucketStorage]:
    """Return the storage in the bucket, which makes its next requests directly where it may."""
    storage: Any = open_bucket({**options, "endpoint_url": proxy.url})
    warm(storage)
    proxy.told()
    yield storage
    storage.close()


@pytest.fixture
def open_store(options: Options, proxy: HttpProxy) -> Iterator[Callable[..., ArtifactStore]]:
    """Return a function that opens a store on the bucket."""
    stores: list[ArtifactStore] = []

    def open_one(**more: Any) -> ArtifactStore:
        stores.append(ArtifactStore(**{**options, "endpoint_url": proxy.url, **more}))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., ArtifactStore], proxy: HttpProxy) -> ArtifactStore:
    """Return a store on the bucket, which makes its next requests directly where it may."""
    store = open_store()
    warm(store.scope.core.storage)
    proxy.told()
    return store
