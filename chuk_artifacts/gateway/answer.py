"""``Answer``: a response, whatever protocol carries it, and the one that each failure becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, BinaryIO

import attrs
from werkzeug.datastructures import Headers
from werkzeug.http import HTTP_STATUS_CODES

from chuk_artifacts.errors import (
    AccessDeniedError,
    ArtifactCorruptedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    QuotaExceededError,
)
from chuk_artifacts.log import log as _log

if TYPE_CHECKING:
    from werkzeug.exceptions import HTTPException

TEXT = "text/plain; charset=utf-8"

_CONTENT_TOO_LARGE = 413
_INSUFFICIENT_STORAGE = 507  # RFC 4918 section 11.5
_STATUS = (
    (AccessDeniedError, 403),
    (ArtifactNotFoundError, 404),
    (ArtifactCorruptedError, 500),
    (ArtifactStoreError, 503),
)


@attrs.frozen
class Answer:
    """A response.

    Attributes:
        status: the status code.
        headers: the header.
        content: the chunks of the content.
        file: the content as an open file, in place of *content*, where the server sends files.
        path: the content as the absolute path of a file, in place of *content*, where the server sends paths.
        close: releases what *content* reads from. Call it at the end, also if *content* was never begun.

    """

    status: int
    headers: Headers
    content: Iterable[bytes] = ()
    file: BinaryIO | None = None
    path: str | None = None
    close: Callable[[], None] | None = None


def plain(status: int, text: str = "", headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Return a short, uncacheable plain-text answer."""
    content = (f"{HTTP_STATUS_CODES[status]}. {text}".strip() + "\n").encode()
    described = {"Content-Type": TEXT, "Content-Length": str(len(content))}
    described |= {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Answer(status, Headers([*described.items(), *headers]), [content])


def refusal(error: HTTPException) -> Answer:
    """Return the answer to a request that HTTP refuses."""
    headers = [item for item in error.get_headers() if item[0] != "Content-Type"]
    return plain(error.code or 500, error.description or "", headers)


def failure(error: ArtifactStoreError) -> Answer:
    """Return the answer for an error of the store. What failed on this side is logged, and not said."""
    if isinstance(error, QuotaExceededError):
        if error.scope == "session":
            return plain(_INSUFFICIENT_STORAGE, "The session is full.")
        return plain(_CONTENT_TOO_LARGE, f"At most {error.limit} bytes are taken.")
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    if status >= 500:  # noqa: PLR2004 - a fault on this side
        log_error(error)
    return plain(status)


def log_error(error: ArtifactStoreError) -> None:
    """Log an error of the store."""
    _log.error("gateway: %s", error)
