"""``Browser``: the ASGI application of the page, behind a secret in its path."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from chuk_artifacts.aio import ArtifactStore, respond
from chuk_artifacts.aio.store import inside
from chuk_artifacts.browse.pages import Pages, content_of, render, style, version_of
from chuk_artifacts.browse.previews import kind_of_bytes
from chuk_artifacts.errors import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    InvalidInputError,
)
from chuk_artifacts.log import log as _log
from chuk_artifacts.store import ArtifactStore as Blocking

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

_MIN_TOKEN = 16
_PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; media-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_DOCUMENT_POLICY = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"
"""For PDF: Chromium shows none in a sandbox. Its type, which browsers may not guess, keeps it from being a page."""
_METHODS = ["GET", "HEAD"]
_STATUS = (
    (InvalidInputError, 400),
    (AccessDeniedError, 404),
    (ArtifactNotFoundError, 404),
    (ArtifactStoreError, 503),
)


def new_token() -> str:
    """Return a random token for a URL: 192 bits."""
    return secrets.token_urlsafe(24)


class Browser:
    """A web page that shows what is in a store, and changes nothing. It is an ASGI application (version 3).

    It answers below ``/{token}/`` only. Whoever has the URL sees all files of the store, so serve it on 127.0.0.1. The
    page holds no script, and stored pages and images can't run one either: they are shown in a sandbox without an
    origin.

    Args:
        store: the store, async or blocking. Bound to a session, the page shows that session.
        token: the secret in the path, at least 16 characters of ``A-Z a-z 0-9 - _``; default: a random one.

    Attributes:
        token: the secret.

    Raises:
        InvalidInputError: *store* is no store, or *token* is too short or has other characters.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> browser = Browser(ArtifactStore())
        >>> len(browser.token)
        32

    """

    def __init__(self, store: ArtifactStore | Blocking, *, token: str | None = None) -> None:
        """Check the arguments; nothing is started."""
        blocking, _ = inside(store)
        self.token: str = new_token() if token is None else _checked(token)
        self._store = store if isinstance(store, ArtifactStore) else ArtifactStore.wrap(store)
        self._pages = Pages(blocking)
        self._application = Starlette(
            routes=[
                Route("/", self._answer(self._pages.start), methods=_METHODS),
                Route("/folder", self._answer(self._pages.folder), methods=_METHODS),
                Route("/file", self._answer(self._pages.file), methods=_METHODS),
                Route("/search", self._answer(self._pages.search), methods=_METHODS),
                Route("/content", self._content, methods=_METHODS),
                Route("/style.css", _style, methods=_METHODS),
            ],
            exception_handlers={HTTPException: _refused, ArtifactStoreError: _failed},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; without the token in its path it is a 404, like any other path."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        mounted = scope.get("root_path", "")
        first, slash, _ = scope["path"].removeprefix(mounted).removeprefix("/").partition("/")
        root = f"{mounted}/{first}"
        if not hmac.compare_digest(first.encode(), self.token.encode()):
            answer = Response("Not found.\n", 404, _PAGE_HEADERS, "text/plain")
            await answer(scope, receive, send)
        elif not slash:  # links are relative
            await RedirectResponse(f"{root}/", headers=_PAGE_HEADERS)(scope, receive, send)
        else:
            await self._application({**scope, "root_path": root}, receive, send)

    def _answer(self, page: Callable[[Request], str]) -> Callable[[Request], Response]:
        def endpoint(request: Request) -> Response:  # Starlette calls it in a thread
            return HTMLResponse(page(request), headers=_PAGE_HEADERS)

        return endpoint

    async def _content(self, request: Request) -> Response:
        """Answer with the bytes of an artifact, or of an earlier content, which can't run a script."""
        artifact_id, revision = content_of(request)
        record = await self._store.metadata(artifact_id)
        described = record if revision is None else version_of(await self._store.versions(artifact_id), revision)
        kind = None if "save" in request.query_params else kind_of_bytes(described)
        given = request.method, request.headers
        answer = await respond(self._store, artifact_id, *given, inline=kind is not None, revision=revision)
        headers = answer.headers | ({"Content-Security-Policy": _DOCUMENT_POLICY} if kind == "document" else {})
        return StreamingResponse(answer, answer.status, headers)


def _checked(token: object) -> str:
    is_safe = isinstance(token, str) and len(token) >= _MIN_TOKEN and token.isascii()
    if not is_safe or not all(letter.isalnum() or letter in "-_" for letter in str(token)):
        raise InvalidInputError("token must be at least 16 characters of A-Z, a-z, 0-9, - and _")
    return str(token)


async def _style(_request: Request) -> Response:
    return Response(style(), media_type="text/css", headers=_PAGE_HEADERS)


def _message(request: Request, status: int, text: str) -> Response:
    return HTMLResponse(render("message.html", request, title=text, text=text), status, _PAGE_HEADERS)


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _message(
        request, status, {404: "There is no such page.", 405: "This page is read-only."}.get(status, "Error")
    )


async def _failed(request: Request, error: Exception) -> Response:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    if status >= 500:  # noqa: PLR2004 - a fault on this side
        _log.error("browse: %s", error)
        return _message(request, status, "The store does not answer.")
    return _message(request, status, str(error))
