"""``ServeOptions``: what the command ``serve`` hands to each of its processes."""

from __future__ import annotations

import attrs


@attrs.frozen
class ServeOptions:
    """What the command ``serve`` hands to each of its processes.

    Attributes:
        origins: the web origins whose pages may read the answers.
        connections: how many clients are served at once.
        timeout: how long a client may keep a request waiting in all, in seconds.
        verbose: whether each request is a line on standard error.

    """

    origins: tuple[str, ...] = ()
    connections: int = 400
    timeout: float = 60.0
    verbose: bool = False
