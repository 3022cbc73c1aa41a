"""``Service``: what a request for a signed URL is answered, whatever protocol carries it.

Answers follow RFC 9110 (HTTP) and the Fetch standard (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import attrs
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed, PreconditionFailed
from werkzeug.http import quote_etag

from chuk_artifacts.errors import ArtifactStoreError, ConflictError, InvalidInputError
from chuk_artifacts.gateway.answer import TEXT, Answer, failure, refusal
from chuk_artifacts.gateway.archives import archive
from chuk_artifacts.gateway.download import Terms, damage, download
from chuk_artifacts.gateway.request import Measure, Request, check_upload, content_length, upload_condition
from chuk_artifacts.operations import uploads
from chuk_artifacts.operations.scope import Scope, Scoped
from chuk_artifacts.signing import ARCHIVE, DOWNLOAD, UPLOAD, Grant

T = TypeVar("T")

METHODS = {"GET": DOWNLOAD, "HEAD": DOWNLOAD, "PUT": UPLOAD}
"""What a URL must be signed for, by the method of HTTP."""

_ORIGIN = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://[\x21-\x7e]+").fullmatch


@attrs.frozen
class Upload:
    """An upload whose header was accepted, and whose content the server may now read.

    Attributes:
        request: the request.
        grant: what its URL allows.
        measure: counts the content, and refuses it when its length is wrong.

    """

    request: Request
    grant: Grant
    measure: Measure


class Service:
    """Answers requests for the signed URLs of a store.

    Args:
        store: the store.
        origins: the web origins whose pages may read the answers (CORS).
        verify: whether to compare the SHA-256 of a whole download with the record.

    Raises:
        InvalidInputError: *store* is no store, or *origins* is not a list of web origins.

    """

    def __init__(self, store: Scoped, origins: Iterable[str], *, verify: bool) -> None:
        """Check the arguments."""
        if not isinstance(getattr(store, "scope", None), Scope):
            raise InvalidInputError(
                f"store must be a chuk_artifacts.ArtifactStore, not {type(store).__module__}.{type(store).__name__}"
            )
        if isinstance(origins, str):
            raise InvalidInputError("origins must be a list of origins, not one")
        self._store = store
        self._origins = frozenset(map(_check_origin, origins))
        self._terms = Terms(verify=verify)

    def begin(self, request: Request, *, ahead: bool = False) -> Answer | Upload:
        """Return the answer to a request, or an upload to be received. Failures are answers too.

        Args:
            request: the request.
            ahead: whether to find out before the content of an upload is read, at the cost of one more call of the
                catalog, that it would not be taken. Without it :meth:`receive` does so before it reads.

        """
        return self._finished(request, partial(self._begin, request, ahead=ahead))

    def receive(self, upload: Upload, data: uploads.Content) -> Answer:
        """Store the content of an upload, and return the answer."""
        return self._finished(upload.request, partial(self._receive, upload, data))

    def refuse(self, request: Request, error: HTTPException | ArtifactStoreError) -> Answer:
        """Return the answer to a request that failed."""
        answer = refusal(error) if isinstance(error, HTTPException) else failure(error)
        self._allow_origin(request, answer.headers)
        return attrs.evolve(answer, content=()) if request.method == "HEAD" else answer

    def _finished(self, request: Request, act: Callable[[], T]) -> T | Answer:
        try:
            answer = act()
        except (HTTPException, ArtifactStoreError) as error:
            return self.refuse(request, error)
        if isinstance(answer, Answer):
            self._allow_origin(request, answer.headers)
        return answer

    def _begin(self, request: Request, *, ahead: bool) -> Answer | Upload:
        length = content_length(request)
        if request.method == "OPTIONS" and self._origins:
            return Answer(204, Headers())
        method = METHODS.get(request.method)
        if method is None:
            raise MethodNotAllowed([*METHODS, "OPTIONS"] if self._origins else list(METHODS))
        scope = self._store.scope
        if method == DOWNLOAD and request.segment == ARCHIVE:
            return archive(scope, request)
        grant = scope.core.signer.check(method, request.segment, request.query, scope.core.clock())
        with damage(grant.artifact_id):
            if method == DOWNLOAD:
                terms = self._terms if grant.revision is None else attrs.evolve(self._terms, revision=grant.revision)
                return download(scope, request, grant.artifact_id, terms)
            check_upload(request, length, grant)
            measure = Measure(length, grant.max_bytes)
            if ahead:
                measure.limits = _met(
                    partial(uploads.check, scope, grant.artifact_id, upload_condition(request), length)
                )
        return Upload(request, grant, measure)

    def _receive(self, upload: Upload, data: uploads.Content) -> Answer:
        scope, artifact_id = self._store.scope, upload.grant.artifact_id
        with damage(artifact_id):
            condition, length = upload_condition(upload.request), content_length(upload.request)
            sha256 = _met(partial(uploads.receive, scope, artifact_id, data, condition, length))
        headers = {"Content-Type": TEXT, "Content-Length": "0"}
        return Answer(200, Headers({**headers, "ETag": quote_etag(sha256), "X-Content-Type-Options": "nosniff"}))

    def _allow_origin(self, request: Request, headers: Headers) -> None:
        """Let pages of the configured origins read an answer."""
        if not self._origins:
            return
        allowed = "*"
        if "*" not in self._origins:
            headers["Vary"] = "Origin"
            allowed = request.headers.get("Origin", "")
            if allowed not in self._origins:
                return
        headers["Access-Control-Allow-Origin"] = allowed
        headers["Access-Control-Expose-Headers"] = (
            "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag"
        )
        if request.method == "OPTIONS":
            headers["Access-Control-Allow-Methods"] = "GET, HEAD, PUT"
            headers["Access-Control-Allow-Headers"] = "Content-Type, If-Match, If-None-Match, If-Range, Range"
            headers["Access-Control-Max-Age"] = "600"


def _met(act: Callable[[], T]) -> T:
    """Return what a function returns; raise ``PreconditionFailed`` if the condition of an upload does not hold."""
    try:
        return act()
    except ConflictError:
        raise PreconditionFailed from None


def _check_origin(origin: object) -> str:
    """Return a web origin that is safe in a header."""
    if not isinstance(origin, str) or not _ORIGIN(origin):
        raise InvalidInputError(f"origins must hold web origins such as 'https://app.example.org': {origin!r:.200}")
    return origin
