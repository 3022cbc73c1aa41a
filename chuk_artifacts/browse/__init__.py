"""A read-only web page to look at a store: ``Browser``, an ASGI application, needs the extra ``browse``."""

from __future__ import annotations

from chuk_artifacts.browse.application import Browser

__all__ = ["Browser"]
