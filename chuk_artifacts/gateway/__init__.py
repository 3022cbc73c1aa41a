"""The gateway: it serves the signed URLs of a store over HTTP, to download and to upload.

``service`` decides what a request is answered, whatever protocol carries it; ``request`` is what it needs to know of
one, ``answer`` what it returns. ``wsgi`` is its face for WSGI applications; :mod:`chuk_artifacts.aio` has the one for
ASGI. ``respond`` answers a request for one artifact in a handler of any framework. ``server`` and ``http1`` are a small
HTTP server for stores that serve their own URLs (``local``).
"""

from __future__ import annotations

from chuk_artifacts.gateway.respond import Response, respond
from chuk_artifacts.gateway.wsgi import Gateway

__all__ = ["Gateway", "Response", "respond"]
