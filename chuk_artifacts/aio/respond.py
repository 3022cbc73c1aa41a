"""``respond``: the answer to a request for one artifact, for a handler of any async web framework."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chuk_artifacts.aio.content import Content
from chuk_artifacts.aio.store import ArtifactStore, inside
from chuk_artifacts.gateway.answer import Answer
from chuk_artifacts.gateway.download import Terms
from chuk_artifacts.gateway.respond import Fields, headers_of, responder


class Response:
    """An answer to a request for an artifact. Iterating over it with ``async for`` yields the chunks of its content.

    Attributes:
        status: the status code: 200; 206 for a part; 304, 412, 416 or 405 where the request asks for it.
        headers: the header: length, type, ``Content-Disposition``, ``ETag`` and what keeps scripts from running.

    Example:
        >>> from chuk_artifacts.aio import ArtifactStore
        >>> store = ArtifactStore()
        >>> answer = await respond(store, await store.store(b"Hello, world!"))
        >>> answer.status, [chunk async for chunk in answer]
        (200, [b'Hello, world!'])

    """

    def __init__(self, answer: Answer, content: Content) -> None:
        """Keep the answer."""
        self.status: int = answer.status
        self.headers: dict[str, str] = headers_of(answer)
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the content, which can be read once."""
        try:
            chunk: bytes | None = self._content.first
            while chunk:
                yield chunk
                chunk = None if self._content.is_whole else await self._content.next()
        except BaseException:  # the consumer left
            self.close()
            raise

    def close(self) -> None:
        """Close the file that the content is read from. Closing twice is allowed.

        Example:
            >>> from chuk_artifacts.aio import ArtifactStore
            >>> store = ArtifactStore()
            >>> answer = await respond(store, await store.store(b"Hello, world!"), "HEAD")
            >>> answer.close()

        """
        if not self._content.is_whole:
            self._content.release()


async def respond(
    store: ArtifactStore,
    artifact_id: str,
    method: str = "GET",
    headers: Fields | None = None,
    *,
    inline: bool = False,
    verify: bool = False,
    revision: int | None = None,
) -> Response:
    """Answer a request for an artifact: its bytes, or a part of them, with type, name and ``ETag``.

    Hand the answer to the framework's streaming response: ``StreamingResponse(answer, answer.status, answer.headers)``
    in FastAPI and Starlette.

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
        >>> import asyncio
        >>> from chuk_artifacts.aio import ArtifactStore
        >>> async def main():
        ...     async with ArtifactStore() as store:
        ...         file_id = await store.store(b"Hello, world!", filename="hello.txt")
        ...         answer = await respond(store, file_id, "GET", {"Range": "bytes=7-"})
        ...         return answer.status, [chunk async for chunk in answer]
        >>> asyncio.run(main())
        (206, [b'world!'])

    """
    blocking, calls = inside(store)
    terms = Terms(verify=verify, inline=inline, revision=revision)
    answer = responder(blocking.scope, artifact_id, method, headers, terms)
    content = Content(calls)
    try:
        return Response(await content.open(answer), content)
    except BaseException:  # cancelled, and the file may yet be opened
        content.release()
        raise
