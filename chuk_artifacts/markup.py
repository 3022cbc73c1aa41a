"""HTML for notebooks: tables of values and listings. All text is escaped, and no style or script comes from it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from chuk_artifacts.human import expiry_text, moment_text, size_text

_ROWS = 60  # of a listing that are shown; of a longer one the first and the last
_COLUMNS = ("filename", "bytes", "mime", "stored_at", "expires_at", "artifact_id")
_LEFT = ' style="text-align:left"'
_CHARACTERS = 300  # of a value that are shown


def facts(title: str, values: Mapping[str, Any]) -> str:
    """Return a table of names and values."""
    cells = ((escape(name), _cell(name, value)) for name, value in values.items())
    rows = "".join(f"<tr><th{_LEFT}>{name}</th><td{_LEFT}>{cell}</td></tr>" for name, cell in cells)
    return f"<table><caption{_LEFT}>{escape(title)}</caption>{rows}</table>"


def listing(items: Sequence[Mapping[str, Any]], thumbnails: Mapping[str, bytes]) -> str:
    """Return a table of artifacts, or of other values with the same names, in their order.

    Args:
        items: the values.
        thumbnails: the content of small images, by artifact id.

    """
    if not items:
        return "<p>no items</p>"
    names = [name for name in _COLUMNS if name in items[0]] if "mime" in items[0] else list(items[0])
    head = [*([""] if thumbnails else []), *names]
    hidden = len(items) - _ROWS
    shown = items if hidden <= 0 else [*items[: _ROWS // 2], *items[-_ROWS // 2 :]]
    rows = [_row(item, names, thumbnails) for item in shown]
    if hidden > 0:
        rows.insert(_ROWS // 2, f"<tr><td{_LEFT} colspan={len(head)}>… {hidden} more …</td></tr>")
    sizes = [item["bytes"] for item in items if "bytes" in item]
    caption = f"{len(items)} item{'' if len(items) == 1 else 's'}" + (f", {size_text(sum(sizes))}" if sizes else "")
    titles = "".join(f"<th{_LEFT}>{escape(name)}</th>" for name in head)
    return f"<table><caption{_LEFT}>{caption}</caption><tr>{titles}</tr>{''.join(rows)}</table>"


def rows_of(rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts; the first row has the titles."""
    lines = [
        "".join(f"<{'td' if number else 'th'}{_LEFT}>{escape(_cut(cell))}</{'td' if number else 'th'}>" for cell in row)
        for number, row in enumerate(rows)
    ]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def image(mime: str, content: bytes, height: str) -> str:
    """Return an image that contains its bytes."""
    source = f"data:{escape(mime)};base64,{b64encode(content).decode()}"
    return f'<img src="{source}" style="max-width:100%;max-height:{height}" alt="">'


def _row(item: Mapping[str, Any], names: Sequence[str], thumbnails: Mapping[str, bytes]) -> str:
    cells = [_cell(name, item[name]) for name in names]
    if thumbnails:
        content = thumbnails.get(item.get("artifact_id", ""))
        cells.insert(0, "" if content is None else image(item["mime"], content, "3em"))
    return f"<tr>{''.join(f'<td{_LEFT}>{cell}</td>' for cell in cells)}</tr>"


def _cell(name: str, value: object) -> str:
    if name == "bytes" and isinstance(value, int):
        return f'<span title="{value} bytes">{size_text(value)}</span>'
    if name == "expires_at" and (value is None or isinstance(value, str)):
        return f'<span title="{escape(moment_text(value))}">{escape(expiry_text(value))}</span>'
    if name.endswith("_at") and isinstance(value, str):
        return escape(moment_text(value))
    return "" if value is None else escape(_cut(value if isinstance(value, str) else repr(value)))


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"
