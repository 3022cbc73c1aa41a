"""Media types: which of them people look at as images, tables and text."""

from __future__ import annotations

import json

IMAGES = frozenset(
    f"image/{name}" for name in ("avif", "bmp", "gif", "jpeg", "png", "svg+xml", "vnd.microsoft.icon", "webp", "x-icon")
)
"""Media types that a browser shows in ``img``, where no script of an image runs."""

SEPARATORS = {"text/csv": ",", "text/tab-separated-values": "\t"}
"""The media types of tables, and what separates their columns."""

PARQUET = "application/vnd.apache.parquet"

MORE_TYPES = {".parquet": PARQUET, ".pq": PARQUET, ".markdown": "text/markdown"}
"""Media types, by extension, that :mod:`mimetypes` does not know."""

_TEXTS = frozenset(
    f"application/{name}"
    for name in ("javascript", "jsonl", "sql", "toml", "x-ndjson", "x-sh", "x-yaml", "xml", "yaml")
)


def plain_type(mime: str) -> str:
    """Return a media type in lower case and without parameters."""
    return mime.partition(";")[0].strip().lower()


def is_json(plain: str) -> bool:
    """Return whether files of a plain media type are one JSON value."""
    return plain == "application/json" or plain.endswith("+json")


def is_text(plain: str) -> bool:
    """Return whether files of a plain media type are text."""
    return plain.startswith("text/") or plain in _TEXTS or is_json(plain) or plain.endswith("+xml")


def indented(text: str) -> str:
    """Return JSON with a line for each value; other text as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
