"""The ASGI application of ``serve`` and ``browse``: gateway, page, ``/healthz``, a limit of waiting, an access log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import click

from chuk_artifacts.aio import ArtifactStore, Gateway
from chuk_artifacts.aio.gateway import Connection, Message, Receive, Send
from chuk_artifacts.aio.store import inside
from chuk_artifacts.cli.options import ServeOptions
from chuk_artifacts.cli.output import shown
from chuk_artifacts.errors import ArtifactStoreError
from chuk_artifacts.log import log as _log
from chuk_artifacts.operations import reporting

Asgi = Callable[[Connection, Receive, Send], Awaitable[None]]
_HEALTH_PATH = "/healthz"
_HEALTH_SECONDS = 5.0
_BYTES_PER_SECOND = 1024


class Application:
    """Answers ``/healthz``, the page that shows the store, and all else by the gateway, if each is wanted.

    Args:
        store: the store.
        options: see :class:`ServeOptions`.

    """

    def __init__(self, store: ArtifactStore, options: ServeOptions) -> None:
        """Make the gateway."""
        self._options = options
        self._gateway = Gateway(store, origins=options.origins)
        self._health = Health(store)
        self._browser = _browser(store, options)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._gateway(scope, receive, send)
            return
        client = PatientClient(receive, send, self._options.timeout)
        begun = time.monotonic()
        try:
            await self._answering(scope)(scope, client.receive, client.send)
        finally:
            if self._options.verbose:
                line = _line(scope, client, time.monotonic() - begun)
                click.echo(line.replace(self._options.browse_token or "\0", "..."), err=True)

    def _answering(self, scope: Connection) -> Asgi:
        """Return what answers a request."""
        if scope["path"] == _HEALTH_PATH:
            return self._health
        if self._browser is not None and (scope["path"].startswith("/browse/") or not self._options.has_gateway):
            return self._browser
        return self._gateway


def _browser(store: ArtifactStore, options: ServeOptions) -> Asgi | None:
    if options.browse_token is None:
        return None
    from chuk_artifacts.browse import Browser  # noqa: PLC0415 - an extra

    browser = Browser(store, token=options.browse_token)

    async def below(scope: Connection, receive: Receive, send: Send) -> None:
        await browser({**scope, "root_path": "/browse"}, receive, send)

    return below


def _line(scope: Connection, client: PatientClient, seconds: float) -> str:
    """Return the line of a request in the access log. The query is left out: it holds a signature."""
    address = (scope.get("client") or ("-",))[0]
    asked = shown(f"{scope['method']} {scope['path']}")[:200]
    end = "" if client.is_answered else " broken off"
    return f'{address} "{asked}" {client.status} {client.sent_bytes} bytes {seconds * 1000:.0f} ms{end}'


class PatientClient:
    """A client that may keep its request waiting for a limited time in all.

    Only the time counts that the server waits for the client: for the rest of a content, or until it takes more of the
    answer. A client that is too slow is taken for one that has gone.

    Args:
        receive: returns the next message of the client.
        send: sends a message to the client.
        patience: how long to wait in all, in seconds; 1,024 bytes earn another second, up to *patience*.
        clock: returns a time in seconds.

    Attributes:
        status: the status of the answer; 0 before.
        sent_bytes: how many bytes of content were sent.
        is_answered: whether the answer is complete.

    """

    def __init__(
        self, receive: Receive, send: Send, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Wait for nothing yet."""
        self.status: int = 0
        self.sent_bytes: int = 0
        self.is_answered: bool = False
        self._receive = receive
        self._send = send
        self._patience = self._left = patience
        self._clock = clock
        self._has_more = True

    async def receive(self) -> Message:
        """Return the next message of the client. After its content the client has time: it waits for the answer."""
        begun = self._clock()
        if self._has_more and self._left <= 0:
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout(self._left if self._has_more else None):
                message = await self._receive()
        except TimeoutError:
            _log.debug("serve: a client was too slow to send")
            return {"type": "http.disconnect"}
        if self._has_more:
            self._account(begun, len(message.get("body", b"")))
            self._has_more = message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a message; raise ``TimeoutError`` when the client does not take it in time."""
        self.status = message.get("status", self.status)
        size, begun = len(message.get("body", b"")), self._clock()
        if self._left <= 0:
            raise TimeoutError("the client is too slow")
        async with asyncio.timeout(self._left):
            await self._send(message)
        self._account(begun, size)
        self.sent_bytes += size
        self.is_answered = message["type"] == "http.response.body" and not message.get("more_body", False)

    def _account(self, begun: float, size: int) -> None:
        waited = self._clock() - begun
        self._left = min(self._patience, self._left - waited + size / _BYTES_PER_SECOND)


class Health:
    """Answers 200 while storage and catalog answer, else 503. Requests that come at once share one look.

    Args:
        store: the store.

    """

    def __init__(self, store: ArtifactStore) -> None:
        """Look at nothing yet."""
        blocking, self._calls = inside(store)
        self._scope = blocking.scope
        self._look: asyncio.Task[bool] | None = None

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_allowed = scope["method"] in {"GET", "HEAD"}
        status = (200 if await self._is_well() else 503) if is_allowed else 405
        text = {200: b"ok\n", 503: b"storage or catalog does not answer\n", 405: b"use GET\n"}[status]
        headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(text))}
        headers |= {"cache-control": "no-store"} if is_allowed else {"allow": "GET, HEAD"}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})

    async def _is_well(self) -> bool:
        if self._look is None or self._look.done():
            self._look = asyncio.ensure_future(self._answers())
        done, _ = await asyncio.wait({self._look}, timeout=_HEALTH_SECONDS)
        return bool(done) and self._look.result()

    async def _answers(self) -> bool:
        try:
            await self._calls.run(reporting.answers, self._scope)
        except ArtifactStoreError as error:
            _log.error("serve: %s", error)
            return False
        return True
