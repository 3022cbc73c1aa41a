"""The gateway: it serves the signed URLs of a store over HTTP, to download and to upload.

``service`` decides what a request is answered, whatever protocol carries it; ``request`` is what it needs to know of
one. ``wsgi`` is its face for web applications. ``server`` and ``http1`` are a small HTTP server, for ``chuk-artifacts
serve`` and for stores that serve their own URLs (``local``).
"""

from __future__ import annotations

from chuk_artifacts.gateway.wsgi import Gateway

__all__ = ["Gateway"]
