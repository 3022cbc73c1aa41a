"""What web servers serve for the rows of the gateway: the gateway, and an application that sends a file statically."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.responses import FileResponse

from chuk_artifacts import ArtifactStore, aio
from chuk_artifacts.gateway import Gateway

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_FOLDER = Path(os.environ["BENCHMARK_FOLDER"])
_CHUNK = 256 * 1024

_store = ArtifactStore(storage_provider="filesystem", fs_root=_FOLDER / "store", gateway_url="http://x")
gateway_wsgi = Gateway(_store)
gateway_asgi = aio.Gateway(_store)
static_asgi = FileResponse(_FOLDER / "file")


def static_wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Leave the file to the server."""
    headers = [("Content-Length", str((_FOLDER / "file").stat().st_size))]
    start_response("200 OK", headers)
    return cast("Iterable[bytes]", environ["wsgi.file_wrapper"]((_FOLDER / "file").open("rb"), _CHUNK))
