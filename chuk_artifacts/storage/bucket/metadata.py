"""Objects that describe themselves: the content type and user metadata that go with each write."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from urllib.parse import quote, unquote

from chuk_artifacts.storage import About, Description

SIGNATURE = "write"
"""The user metadata that lets a write recognize its own object."""

_METADATA_BYTES = 2048  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
_RESERVED_BYTES = 128  # of these, for the two names below and their values
_CUT = "cut"  # names the details that are not whole
_READABLE = string.punctuation.replace("%", "")
_PLAIN = re.compile(r"[!-$&-~]*").fullmatch  # what quoting with these leaves as it is
_BROKEN_ESCAPE = re.compile(r"%[0-9A-F]?$")


def object_description(about: About | None, sha256: str) -> Description | None:
    """Return what an object of this SHA-256 says of itself, or None."""
    return None if about is None else about(sha256)


def describe(description: Description | None, signature: str = "") -> dict[str, object]:
    """Return the arguments of a write that make the object describe itself."""
    signed = {SIGNATURE: signature} if signature else {}
    if description is None:
        return {"Metadata": signed} if signed else {}
    return {"ContentType": description.mime, "Metadata": {**_metadata(description.details), **signed}}


def _metadata(details: Mapping[str, str]) -> dict[str, str]:
    """Return details as user metadata: percent-encoded UTF-8, cut at the limit of S3."""
    room = _METADATA_BYTES - _RESERVED_BYTES
    metadata, cut = {}, []
    for name, value in details.items():
        text = value if _PLAIN(value) else quote(value, safe=_READABLE)
        room -= len(name)
        if len(text) > room:
            cut.append(name)
            text = quote(unquote(_BROKEN_ESCAPE.sub("", text[: max(room, 0)]), errors="ignore"), safe=_READABLE)
        if text:
            metadata[name] = text
            room -= len(text)
    return {**metadata, _CUT: ",".join(cut)} if cut else metadata
