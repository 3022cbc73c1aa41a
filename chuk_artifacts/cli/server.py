"""uvicorn for ``chuk-artifacts serve``: it drains when it is told to stop, and closes idle connections."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from chuk_artifacts.aio import ArtifactStore
from chuk_artifacts.cli.application import Application
from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.options import ServeOptions

if TYPE_CHECKING:
    import socket

_HEAD_BYTES = 16 * 1024
_HEAD_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 5
_LOOK_SECONDS = 1.0
_BRIEF_SECONDS = 0.5
_ON_TOP = 100
"""Connections beyond the limit that are accepted, to be answered with a 503."""

_numbers = itertools.count()


def run(options: ServeOptions, listening: socket.socket, announce: Callable[[], None] | None = None) -> None:
    """Serve the store that the environment configures, until a signal: then requests under way end whole.

    Args:
        options: what to serve, and how.
        listening: the socket to accept from.
        announce: called when a signal no longer ends this process at once.

    """
    with opened() as store:
        config = uvicorn.Config(
            cast("Any", Application(ArtifactStore.wrap(store), options)),
            http=cast("Any", partial(Protocol, options=options)),
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=options.connections + 1,  # it counts the connection that asks
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
        server = uvicorn.Server(config)

        def stop(*_: object) -> None:
            server.should_exit = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)  # uvicorn has handlers of its own, and at its end raises the signal again
        if announce is not None:
            announce()
        server.run(sockets=[listening])


class Protocol(H11Protocol):
    """A connection that is closed when its client sends no request, or does not take the rest of an answer.

    Args:
        options: see :class:`ServeOptions`.
        arguments: those of uvicorn.

    Attributes:
        since: when its last request began or was answered, or else the connection was opened, by the loop's clock.
        number: orders connections of one moment: uvloop's clock has milliseconds.

    """

    def __init__(self, *, options: ServeOptions, **arguments: Any) -> None:
        """Begin idle."""
        super().__init__(**arguments)
        self._options = options
        self.since: float = self.loop.time()
        self.number: int = next(_numbers)
        self._seen: tuple[object, bool] = None, True
        self._look_later: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, if need be in place of the one that is idle for longest."""
        super().connection_made(transport)
        self._look_later = self.loop.call_later(_LOOK_SECONDS, self._look)
        if len(self.connections) > self._options.connections + _ON_TOP:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the watch."""
        if self._look_later is not None:
            self._look_later.cancel()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        """Cut off the connection that has been idle for longest, or this one if the others are busy or new too."""
        now = self.loop.time()
        others = (one for one in self.connections if isinstance(one, Protocol) and one is not self and one.is_idle)
        oldest = min(others, key=lambda one: (one.since, one.number), default=self)
        (oldest if now - oldest.since >= _BRIEF_SECONDS else self).transport.abort()

    def _look(self) -> None:
        """Close the connection if it is overdue."""
        if self._seen != (self.cycle, self.is_idle):  # another request, or it is answered
            self._seen, self.since = (self.cycle, self.is_idle), self.loop.time()
        waited = self.loop.time() - self.since
        is_unsent = self.transport.get_write_buffer_size() > 0
        if self.transport.is_closing() or (self.is_idle and is_unsent):
            if waited > self._options.timeout + _HEAD_SECONDS:  # the client does not read the end of its answer
                self.transport.abort()
                return
        elif self.is_idle and waited > _HEAD_SECONDS:
            self.transport.close()
        self._look_later = self.loop.call_later(_LOOK_SECONDS, self._look)
