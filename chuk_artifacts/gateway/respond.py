"""``respond``: the answer to a request for one artifact, for a handler of any web framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from chuk_artifacts import arguments
from chuk_artifacts.errors import InvalidInputError
from chuk_artifacts.gateway.answer import Answer, refusal
from chuk_artifacts.gateway.download import Terms, damage, download
from chuk_artifacts.gateway.fields import environment_of
from chuk_artifacts.gateway.request import Request
from chuk_artifacts.operations.scope import Scope, Scoped

_METHODS = ("GET", "HEAD")


class Fields(Protocol):
    """The header of a request, as web frameworks have it: a mapping, perhaps of several values a name."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Iterate over names and values."""
        ...


class Response:
    """An answer to a request for an artifact. Iterating over it yields the chunks of its content.

    Attributes:
        status: the status code: 200; 206 for a part; 304, 412, 416 or 405 where the request asks for it.
        headers: the header: length, type, ``Content-Disposition``, ``ETag`` and what keeps scripts from running.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> store = ArtifactStore()
        >>> answer = respond(store, store.store(b"Hello, world!", filename="hello.txt"))
        >>> answer.status, answer.headers["Content-Disposition"], b"".join(answer)
        (200, 'attachment; filename="hello.txt"', b'Hello, world!')

    """

    def __init__(self, answer: Answer) -> None:
        """Keep the answer."""
        self.status: int = answer.status
        self.headers: dict[str, str] = headers_of(answer)
        self._content = iter(answer.content)
        self._close = answer.close

    def __iter__(self) -> Iterator[bytes]:
        """Return an iterator over the content, which can be read once."""
        return self._content

    def close(self) -> None:
        """Close the file that the content is read from. Closing twice is allowed.

        Example:
            >>> from chuk_artifacts import ArtifactStore
            >>> store = ArtifactStore()
            >>> answer = respond(store, store.store(b"Hello, world!"), "HEAD")
            >>> answer.close()

        """
        if self._close is not None:
            self._close()


def respond(
    store: Scoped,
    artifact_id: str,
    method: str = "GET",
    headers: Fields | None = None,
    *,
    inline: bool = False,
    verify: bool = False,
    revision: int | None = None,
) -> Response:
    """Answer a request for an artifact: its bytes, or a part of them, with type, name and ``ETag``.

    Hand the answer to the framework's streaming response, which closes it: ``Response(answer, answer.status,
    answer.headers)`` in Flask, ``StreamingHttpResponse(answer, status=answer.status, headers=answer.headers)`` in
    Django.

    Args:
        store: the store; bound to a session, it answers only for that session's artifacts.
        artifact_id: the artifact.
        method: the method of the request: ``GET`` or ``HEAD``.
        headers: the header of the request, for ``Range``, ``If-Range``, ``If-Match`` and ``If-None-Match``.
        inline: whether a browser may show the file; by default it saves it. Scripts in it never run.
        verify: whether to compare the SHA-256 of a whole download with the record, see :class:`~.Gateway`.
        revision: the revision of the artifact whose content is sent; default: the current one.

    Returns:
        the answer.

    Raises:
        ArtifactNotFoundError: this store has no such artifact or revision. Other errors of reading pass too.
        InvalidInputError: an argument is invalid.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> with ArtifactStore() as store:
        ...     file_id = store.store(b"Hello, world!", filename="hello.txt")
        ...     answer = respond(store, file_id, "GET", {"Range": "bytes=7-"})
        ...     answer.status, answer.headers["Content-Range"], b"".join(answer)
        (206, 'bytes 7-12/13', b'world!')

    """
    if not isinstance(getattr(store, "scope", None), Scope):
        raise InvalidInputError(f"store must be an ArtifactStore, not {type(store).__name__}")
    terms = Terms(verify=verify, inline=inline, revision=revision)
    return Response(responder(store.scope, artifact_id, method, headers, terms)())


def responder(
    scope: Scope, artifact_id: str, method: str, headers: Fields | None, terms: Terms
) -> Callable[[], Answer]:
    """Return a function that answers a request; check the arguments, and do no I/O."""
    if terms.revision is not None:
        arguments.check_count("revision", terms.revision, 1)
    request = Request(method=method, segment="", query="", headers=_checked(headers))

    def answer() -> Answer:
        try:
            if method not in _METHODS:
                raise MethodNotAllowed(list(_METHODS))
            with damage(artifact_id):
                return download(scope, request, artifact_id, terms)
        except HTTPException as error:
            return refusal(error)

    return answer


def headers_of(answer: Answer) -> dict[str, str]:
    """Return the header of an answer, in which no field comes twice."""
    return dict(answer.headers)


def _checked(headers: Fields | None) -> Headers:
    fields = () if headers is None else _items(headers)
    return EnvironHeaders(environment_of(fields))


def _items(headers: Fields) -> list[tuple[str, str]]:
    try:
        fields = list(headers.items())
        if all(isinstance(name, str) and isinstance(value, str) for name, value in fields):
            return fields
    except (AttributeError, TypeError, ValueError):
        pass
    raise InvalidInputError("headers must be a mapping of names to values, both str")
