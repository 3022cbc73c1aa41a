"""Paths of ``artifact://{session_id}/{filename}``: parsing them, and the folders in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from fsspec.utils import stringify_path

from chuk_artifacts.arguments import plain
from chuk_artifacts.errors import InvalidInputError

PROTOCOL = "artifact"
_BEGINNINGS = (f"{PROTOCOL}://", f"{PROTOCOL}::")
_KEPT = 512  # characters; 4 bytes of memory each at most, and a cache keeps thousands of paths
_PLAIN_SESSION = re.compile(r"[A-Za-z0-9_.~@+,;=!$'()&-]+").fullmatch
_UNQUOTED = "@+,;=!$'()&"  # neither a glob's magic nor what separates the parts of a URL or of a chain of URLs


def parsed(path: object) -> tuple[str, tuple[str, str]]:
    """Return the canonical path of a path or URL, and its session and filename."""
    text = path if type(path) is str else text_of(path)
    return _parsed_again(text) if len(text) <= _KEPT else _parse(text)


def text_of(path: Any) -> str:
    """Return the text of a path, which may be an ``os.PathLike``; anything else is :class:`InvalidInputError`."""
    text = stringify_path(path)
    if not isinstance(text, str):
        raise InvalidInputError(f"path must be a str or a path, not {type(path).__name__}")
    return plain(text)


def _parse(text: str) -> tuple[str, tuple[str, str]]:
    if text.startswith(_BEGINNINGS):
        text = text[len(PROTOCOL) + 1 :].lstrip(":")
    first, slash, name = text.strip("/").partition("/")
    segment, session = session_segment(first)
    return f"{segment}{slash}{name}", (session, name)


_parsed_again = lru_cache(maxsize=4096)(_parse)


def session_segment(text: str) -> tuple[str, str]:
    """Return a session as a path's first segment, encoded unless it already is, and its id."""
    if _PLAIN_SESSION(text):
        return text, text
    session = unquote(text, errors="surrogateescape")
    try:
        return quote(session, safe=_UNQUOTED, errors="surrogateescape"), session
    except UnicodeEncodeError:  # half of a surrogate pair, which can be in no session
        return quote(session, safe=_UNQUOTED, errors="surrogatepass"), session


def folders_between(path: str, name: str) -> Iterator[str]:
    """Iterate over the folders between *path* and *name*."""
    end = name.find("/", len(path) + 2)
    while end > 0:
        yield name[:end]
        end = name.find("/", end + 2)
