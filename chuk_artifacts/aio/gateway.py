"""``Gateway``: the gateway as an ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html).

A thread works while there is something to read from or to write to the store, and never waits for a client: the event
loop awaits the content of uploads, and sends downloads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any

from werkzeug.datastructures import EnvironHeaders
from werkzeug.exceptions import ClientDisconnected, HTTPException

from chuk_artifacts.aio import uploads
from chuk_artifacts.aio.content import Content
from chuk_artifacts.aio.store import ArtifactStore, inside
from chuk_artifacts.aio.workers import Calls, running_loop
from chuk_artifacts.errors import ArtifactStoreError
from chuk_artifacts.gateway.answer import Answer
from chuk_artifacts.gateway.fields import environment_of
from chuk_artifacts.gateway.request import Measure, Request, ServerSends
from chuk_artifacts.gateway.service import Service, Upload
from chuk_artifacts.log import log as _log
from chuk_artifacts.store import ArtifactStore as Blocking

Connection = MutableMapping[str, Any]
"""A scope of ASGI."""
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PIECE_BYTES = 64 * 1024
_UNREAD_SECONDS = 10.0
"""how long a client may go on sending after its answer"""
_SENDS_FILES = "http.response.zerocopysend"
_SENDS_PATHS = "http.response.pathsend"


class Gateway:
    """Serves the signed URLs of a store: ``GET``, ``HEAD`` and ``PUT``. It is an ASGI application (version 3).

    Mount it at any path of a web application, and give the store its URL as ``gateway_url``. A URL works for everyone
    who has it, until it expires: only its signature is checked. The gateway of a bound store serves only its session.

    The event loop waits for clients. A thread of the store is taken to look up an artifact, to read the next chunk of a
    download, and to store an upload that has arrived; of that, 256 KiB are in memory, and the rest in a temporary file.

    Args:
        store: the store, async or blocking. Closing it ends the service.
        origins: the web origins whose pages may read the answers (CORS), such as ``https://app.example.org``; ``*`` is
            any. Pages of the gateway's own origin always may.
        verify: whether to compare the SHA-256 of a whole download with the record. A download that does not match
            breaks off before its end. This takes about a second for each gigabyte. Without it a client can compare the
            ``ETag``, which is the recorded SHA-256.

    Raises:
        InvalidInputError: *store* is no store, or *origins* is not a list of web origins.

    Example:
        >>> from chuk_artifacts.aio import ArtifactStore
        >>> app = Gateway(ArtifactStore(gateway_url="https://example.org/files"))

    """

    def __init__(self, store: ArtifactStore | Blocking, *, origins: Iterable[str] = (), verify: bool = False) -> None:
        """Check the arguments; nothing is started."""
        blocking, self._calls = inside(store)
        self._service = Service(blocking, origins, verify=verify)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one request; refuse a WebSocket; accept the events of an application's life.

        Raises:
            ArtifactStoreError: a download broke off, or the event loop is not asyncio's.
            ValueError: the server speaks another protocol.

        """
        running_loop()
        if scope["type"] == "http":
            await _Exchange(self._service, self._calls, scope, receive).run(send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})  # before it is accepted: the server answers 403
        else:
            raise ValueError(f"the gateway does not speak {scope['type']!r}")


async def _live(receive: Receive, send: Send) -> None:
    """Acknowledge start and end; the owner of the store opens and closes it."""
    for event in ("lifespan.startup", "lifespan.shutdown"):
        await receive()
        await send({"type": f"{event}.complete"})


class _Client:
    """What the client of one request sends.

    Attributes:
        sends: whether it sends more, as far as is known.

    """

    def __init__(self, receive: Receive, *, sends: bool) -> None:
        self._receive = receive
        self.sends = sends

    async def next(self) -> Message:
        """Return the next message."""
        message = await self._receive()
        self.sends = message["type"] == "http.request" and message.get("more_body", False)
        return message


class _Exchange:
    """One request and its answer."""

    def __init__(self, service: Service, calls: Calls, scope: Connection, receive: Receive) -> None:
        self._service = service
        self._calls = calls
        self._request = _request(scope)
        self._content = Content(calls)
        self._client = _Client(receive, sends=scope["http_version"].startswith("1.") and _has_content(self._request))

    async def run(self, send: Send) -> None:
        """Answer the request."""
        try:
            answer = await self._answered()
            await send(_start(self._request, answer))
            if answer.path is not None:
                await send({"type": _SENDS_PATHS, "path": answer.path})
            elif answer.file is not None:
                await send({"type": _SENDS_FILES, "file": answer.file, "more_body": False})
            elif self._content.is_whole:
                await self._send_whole(self._content.first or b"".join(answer.content), send)
            else:
                await self._stream(send)
        except BaseException as error:
            self._content.release()
            if isinstance(error, OSError) and not isinstance(error, ArtifactStoreError):
                _log.debug("gateway: broken off: %s", error)  # as of ASGI 2.4 a server raises it when a client is gone
                return
            raise
        if not self._content.is_whole:
            self._content.release()

    async def _answered(self) -> Answer:
        try:
            begun = await self._content.open(partial(self._service.begin, self._request, ahead=True))
            return await self._received(begun) if isinstance(begun, Upload) else begun
        except (HTTPException, ArtifactStoreError) as error:
            return self._service.refuse(self._request, error)

    async def _received(self, upload: Upload) -> Answer:
        async with uploads.Upload(self._calls) as collected:
            data = await collected.collect(_arriving(self._client, upload.measure))
            return await collected.run(self._service.receive, upload, data)

    async def _send_whole(self, content: bytes, send: Send) -> None:
        """Send an answer; if the client still sends an upload, read and drop that before the answer ends.

        At the end of the answer a server may close the connection. If bytes are unread then, the system resets it, and
        the client may lose the answer.
        """
        await send(_body(content, more=self._client.sends))
        if self._client.sends:
            with suppress(TimeoutError):
                async with asyncio.timeout(_UNREAD_SECONDS):
                    while self._client.sends:
                        await self._client.next()
            await send(_body(b"", more=False))

    async def _stream(self, send: Send) -> None:
        """Send a content of several chunks, until the client goes away."""
        gone = asyncio.ensure_future(_until_gone(self._client))
        try:
            chunk: bytes | None = self._content.first
            while chunk is not None:
                await send(_body(chunk, more=True))
                if gone.done() and gone.exception() is None and gone.result():
                    return
                chunk = await self._content.next()
            await send(_body(b"", more=False))
        finally:
            gone.cancel()
            await asyncio.wait({gone})
            if not gone.cancelled():
                gone.exception()  # or asyncio would report it as never retrieved


def _request(scope: Connection) -> Request:
    environ = environment_of((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    extensions = scope.get("extensions") or {}
    sends = ServerSends.NOTHING
    if _SENDS_FILES in extensions:
        sends = ServerSends.FILES
    elif _SENDS_PATHS in extensions:
        sends = ServerSends.PATHS
    return Request(
        method=scope["method"],
        segment=_path_below(scope).removeprefix("/"),
        query=scope["query_string"].decode("latin-1"),
        headers=EnvironHeaders(environ),
        # A request of HTTP/1.1 that announces nothing has no content (RFC 9112 section 6.3).
        terminated=not scope["http_version"].startswith("1.") or "HTTP_TRANSFER_ENCODING" in environ,
        server_sends=sends,
    )


def _path_below(scope: Connection) -> str:
    """Return the path below the one that the application is mounted at."""
    path: str = scope["path"]
    mounted: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(mounted) if path == mounted or path.startswith(f"{mounted}/") else path


def _start(request: Request, answer: Answer) -> Message:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if "Content-Length" in request.headers and "Transfer-Encoding" in request.headers:
        # A proxy may see another end of the content, and another request after it (RFC 9112 section 6.3).
        headers.append((b"connection", b"close"))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


def _body(chunk: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


async def _arriving(client: _Client, measure: Measure) -> AsyncIterator[bytes]:
    """Yield the content of an upload, counted, in pieces that are not tiny: each has a cost of its own in memory."""
    piece, more = bytearray(), True
    while more:
        message = await client.next()
        if message["type"] != "http.request":
            raise ClientDisconnected
        piece += measure.add(message.get("body", b""))
        more = message.get("more_body", False)
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    measure.end()
    yield bytes(piece)


def _has_content(request: Request) -> bool:
    """Whether the client sends a content without waiting to be asked for it (RFC 9110 section 10.1.1)."""
    announced = "Transfer-Encoding" in request.headers or request.headers.get("Content-Length", "0").strip() != "0"
    return announced and "Expect" not in request.headers


async def _until_gone(client: _Client) -> bool:
    """Wait until the client goes away; return False where the server does not wait for that."""
    ends = 0
    while ends < 2:  # noqa: PLR2004 - the end of the content, and then the client's
        message = await client.next()
        if message["type"] == "http.disconnect":
            return True
        ends += not message.get("more_body", False)
    return False
