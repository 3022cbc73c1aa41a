"""``ServeOptions``: what the command ``serve`` hands to each of its processes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

import attrs


@attrs.frozen
class ServeOptions:
    """What the command ``serve`` hands to each of its processes.

    Attributes:
        origins: the web origins whose pages may read the answers.
        connections: how many clients are served at once.
        timeout: how long a client may keep a request waiting in all, in seconds.
        verbose: whether each request is a line on standard error.
        has_gateway: whether signed URLs are served.
        browse_token: the secret in the path of the page that shows the store; None: there is no such page.

    """

    origins: tuple[str, ...] = ()
    connections: int = 400
    timeout: float = 60.0
    verbose: bool = False
    has_gateway: bool = True
    browse_token: str | None = None

    @property
    def browse_path(self) -> str | None:
        """The path that the page is below, or None."""
        return None if self.browse_token is None else f"/browse/{self.browse_token}/"


class Run(Protocol):
    """A function that serves until a signal."""

    def __call__(
        self, options: ServeOptions, listening: socket.socket, announce: Callable[[], None] | None = None
    ) -> None:
        """Serve; *announce* is called once signals end this process in order."""
        ...
