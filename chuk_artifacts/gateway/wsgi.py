"""``Gateway``: the gateway as a WSGI application (PEP 3333)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from werkzeug.datastructures import EnvironHeaders
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wsgi import ClosingIterator, get_input_stream

from chuk_artifacts.gateway.request import CHUNK_SIZE, Request, ServerSends, received
from chuk_artifacts.gateway.service import Service, Upload
from chuk_artifacts.operations.scope import Scoped

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Gateway:
    """Serves the signed URLs of a store: ``GET``, ``HEAD`` and ``PUT``. It is a WSGI application (PEP 3333).

    Mount it at any path of a web application, and give the store its URL as ``gateway_url``. A URL works for everyone
    who has it, until it expires: only its signature is checked. The gateway of a bound store serves only its session.

    Args:
        store: the store. Closing it ends the service.
        origins: the web origins whose pages may read the answers (CORS), such as ``https://app.example.org``; ``*`` is
            any. Pages of the gateway's own origin always may.
        verify: whether to compare the SHA-256 of a whole download with the record. A download that does not match
            breaks off before its end. This takes about a second for each gigabyte. Without it a client can compare the
            ``ETag``, which is the recorded SHA-256.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> from werkzeug.test import Client
        >>> with ArtifactStore(gateway_url="https://example.org/files") as store:
        ...     url = store.presign(store.store(b"Hello, world!", filename="hello.txt"))
        ...     Client(Gateway(store)).get(url.removeprefix("https://example.org/files")).text
        'Hello, world!'

    """

    def __init__(self, store: Scoped, *, origins: Iterable[str] = (), verify: bool = False) -> None:
        """Check the arguments; nothing is started."""
        self._service = Service(store, origins, verify=verify)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._service.begin(_request(environ))
        if isinstance(answer, Upload):
            answer = self._service.receive(answer, received(get_input_stream(environ).read, answer.measure))
        reason = HTTP_STATUS_CODES[answer.status].upper()
        start_response(f"{answer.status} {reason}", answer.headers.to_wsgi_list())
        if answer.file is not None:  # the server looks for the very object that it made
            return cast("Iterable[bytes]", environ["wsgi.file_wrapper"](answer.file, CHUNK_SIZE))
        return ClosingIterator(answer.content, answer.close)


def _request(environ: WSGIEnvironment) -> Request:
    return Request(
        method=str(environ.get("REQUEST_METHOD", "")),
        segment=str(environ.get("PATH_INFO", "")).removeprefix("/"),
        query=str(environ.get("QUERY_STRING", "")),
        headers=EnvironHeaders(environ),
        terminated="wsgi.input_terminated" in environ,
        server_sends=ServerSends.FILES if "wsgi.file_wrapper" in environ else ServerSends.NOTHING,
    )
