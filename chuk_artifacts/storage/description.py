"""What stored bytes say of themselves: one format for the metadata of objects and the attributes of files."""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote, unquote_to_bytes

import attrs

LIMIT = 2048
"""The longest description in bytes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""

_MIME = "mime"
_CUT = "cut"  # names the details that are not whole
_READABLE = string.punctuation.replace("%", "")
_PLAIN = re.compile(r"[!-$&-~]*").fullmatch  # what quoting with these leaves as it is
_BROKEN_ESCAPE = re.compile(r"%[0-9A-F]?$")


@attrs.frozen
class Description:
    """What an object says of itself, beside its bytes, where a backend can keep that.

    Attributes:
        mime: its media type.
        details: more by name, in any characters, what matters most first: where there is too much, the end is cut.
        cut: the names of details that were cut.

    """

    mime: str
    details: Mapping[str, str]
    cut: frozenset[str] = frozenset()


About = Callable[[str, int | None], Description]
"""Returns the description of an object, given the SHA-256 and the length of its bytes.

Before a stream has ended they are an empty text and None.
"""


def pack(description: Description, limit: int = LIMIT) -> dict[str, str]:
    """Return a description in printable ASCII, percent-encoded UTF-8, with names and values of *limit* bytes at most.

    What does not fit is cut from the end; ``cut`` names these details.
    """
    details = {_MIME: description.mime, **description.details}
    text = "".join((*details, *details.values()))
    if len(text) <= limit and _PLAIN(text):  # the usual case, and faster
        return details
    room = limit
    packed, cut = {}, []
    for name, value in details.items():
        text = value if _PLAIN(value) else quote(value, safe=_READABLE)
        room -= len(name)
        if len(text) > room:
            cut.append(name)
            text = quote(unquote(_BROKEN_ESCAPE.sub("", text[: max(room, 0)]), errors="ignore"), safe=_READABLE)
        if text:
            packed[name] = text
            room -= len(text)
    return {**packed, _CUT: ",".join(cut)} if cut else packed


@functools.lru_cache(maxsize=64)  # of many objects
def _name(name: str) -> str:
    return name.lower().replace("_", "-")


def unpack(packed: Mapping[str, str], mime: str = "") -> Description:
    """Return the description that :func:`pack` made.

    Names may come in another case, and with underscores for hyphens, because not every service keeps them.

    Args:
        packed: what was stored.
        mime: the media type, where an earlier version stored none here.

    Raises:
        ValueError: a value is not percent-encoded UTF-8.

    """
    details = {
        _name(name): unquote_to_bytes(value).decode() if "%" in value else value for name, value in packed.items()
    }
    cut = frozenset(filter(None, details.pop(_CUT, "").split(",")))
    return Description(details.pop(_MIME, mime), details, cut)
