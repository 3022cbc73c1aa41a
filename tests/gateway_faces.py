"""The faces of the gateway, as WSGI applications: the tests of one run on the other."""

from __future__ import annotations

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from werkzeug.http import HTTP_STATUS_CODES

from chuk_artifacts import aio, gateway

_VIEWS = weakref.WeakKeyDictionary()


class AsgiGateway:
    """The ASGI gateway behind a WSGI interface, which runs each request in an event loop of its own.

    An error of the application is raised after the content that came before it.
    """

    def __init__(self, store, **options):
        if store not in _VIEWS:
            _VIEWS[store] = aio.ArtifactStore.wrap(store)
        self._app = aio.Gateway(_VIEWS[store], **options)

    def __call__(self, environ, start_response):
        """Answer one request."""
        with ThreadPoolExecutor(1) as thread:  # the content of a request may make a request of its own
            sent, error = thread.submit(asyncio.run, self._exchange(environ)).result()
        if not sent:
            raise error
        headers = [(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in sent[0]["headers"]]
        headers = [field for field in headers if field[0] != "Connection"]  # which is between it and its server
        start_response(f"{sent[0]['status']} {HTTP_STATUS_CODES[sent[0]['status']].upper()}", headers)
        return content(sent[1:], error)

    async def _exchange(self, environ):
        return await exchange(self._app, scope_of(environ), environ["wsgi.input"])


def content(messages, error):
    """Yield the content of messages, and raise the error that came after them."""
    for message in messages:
        yield message["body"]
    if error is not None:
        raise error


async def exchange(app, scope, body):
    """Send one request to an ASGI application, and return the messages that it sent and the error that it raised.

    The client sends no more once it has the answer.
    """
    sent, over = [], asyncio.Event()
    more = True

    async def receive():
        nonlocal more
        if is_whole(sent):
            return {"type": "http.disconnect"}
        if not more:
            await over.wait()
            return {"type": "http.disconnect"}
        try:
            chunk = body.read(256 * 1024)
        except (OSError, ValueError):
            return {"type": "http.disconnect"}
        more = bool(chunk)
        return {"type": "http.request", "body": chunk, "more_body": more}

    async def send(message):
        sent.append(message)

    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 - the caller raises it
        return sent, error
    assert not sent[-1].get("more_body")
    return sent, None


def is_whole(sent):
    """Whether messages hold the whole of an answer."""
    length = dict(sent[0]["headers"]).get(b"content-length") if sent else None
    return length is not None and sum(len(message["body"]) for message in sent[1:]) == int(length)


def scope_of(environ):
    """Return the scope of a request from its WSGI environment."""
    names = {name: name[5:] for name in environ if name.startswith("HTTP_")}
    names |= {name: name for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if name in environ}
    headers = [(short.replace("_", "-").lower().encode(), encoded(environ[name])) for name, short in names.items()]
    if environ.get("wsgi.input_terminated") and not environ.keys() & {"HTTP_TRANSFER_ENCODING", "CONTENT_LENGTH"}:
        headers.append((b"transfer-encoding", b"chunked"))
    path = encoded(environ["SCRIPT_NAME"] + environ["PATH_INFO"])
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": "http",
        "root_path": environ["SCRIPT_NAME"],
        "path": path.decode("utf-8", "replace"),
        "raw_path": quote(path).encode(),
        "query_string": encoded(environ["QUERY_STRING"]),
        "headers": headers,
    }


def encoded(text):
    """Return the bytes of a value of an environment, which may hold what no server passes on."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


FACES = {"wsgi": gateway.Gateway, "asgi": AsgiGateway}
