"""Previews: the beginning of an artifact, in the form that its media type suggests."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from importlib import import_module
from itertools import islice
from typing import Any, Literal

import attrs
from markdown_it import MarkdownIt

from chuk_artifacts.arguments import OCTET_STREAM, PLAIN_TEXT, check_mime
from chuk_artifacts.errors import ArtifactStoreError
from chuk_artifacts.media import IMAGES, PARQUET, SEPARATORS, indented, is_json, is_text, plain_type
from chuk_artifacts.models import ArtifactMetadata, ArtifactVersion
from chuk_artifacts.store import ArtifactStore

_TEXT_BYTES = 256 * 1024
_ROWS = 50
_COLUMNS = 40
_CELL = 300  # characters
_THUMBNAIL_BYTES = 2 * 1024 * 1024
_PARQUET = frozenset({PARQUET, "application/x-parquet", "application/parquet"})
_NO_TEXT = bytes(range(9)) + bytes(range(14, 27))
"""Control characters that text does not have."""

Described = ArtifactMetadata | ArtifactVersion
Kind = Literal["image", "audio", "video", "document", "html", "table", "text", "none"]


@attrs.frozen
class Preview:
    """What a page shows of an artifact.

    Attributes:
        kind: which of the following it is; an image, audio, video or document is shown from its bytes.
        text: the text, or safe HTML.
        columns: the titles of a table.
        rows: its first rows.
        note: what is left out, or why there is no preview.

    """

    kind: Kind
    text: str = ""
    columns: list[str] = attrs.field(factory=list)
    rows: list[list[str]] = attrs.field(factory=list)
    note: str = ""


_NO_PREVIEW = Preview("none", note="There is no preview for this media type.")


def kind_of_bytes(described: Described) -> Kind | None:
    """Return how a page shows the bytes of an artifact as they are; None if it does not."""
    return _kind_of_bytes(_type_of(described))


def has_thumbnail(record: ArtifactMetadata) -> bool:
    """Return whether an artifact is an image that is small enough for a listing."""
    return _type_of(record) in IMAGES and record.bytes <= _THUMBNAIL_BYTES


def preview(store: ArtifactStore, artifact_id: str, described: Described, revision: int | None) -> Preview:
    """Return a preview of an artifact, or of an earlier content.

    Args:
        store: the store.
        artifact_id: the artifact.
        described: the artifact, or the version that *revision* names.
        revision: a revision of the content; None: the current one.

    Raises:
        ArtifactStoreError: as reading does.

    """
    mime = _type_of(described)
    kind = _kind_of_bytes(mime)
    if described.bytes == 0:
        return Preview("none", note="This file is empty.")
    if kind is not None:
        return Preview(kind)
    if mime in _PARQUET:
        return _parquet(store, artifact_id, revision)
    if not (is_text(mime) or mime == OCTET_STREAM):
        return _NO_PREVIEW
    beginning = b"".join(store.stream(artifact_id, end=min(described.bytes, _TEXT_BYTES), revision=revision))
    text = _text_of(beginning)
    return _NO_PREVIEW if text is None else _of_text(mime, text, is_cut=described.bytes > len(beginning))


def _of_text(mime: str, text: str, *, is_cut: bool) -> Preview:
    note = f"The first {_TEXT_BYTES // 1024} KiB." if is_cut else ""
    if mime in SEPARATORS:
        return _table(text, SEPARATORS[mime], is_cut=is_cut)
    if mime == "text/markdown":
        return Preview("html", MarkdownIt("commonmark", {"html": False}).enable("table").render(text), note=note)
    return Preview("text", indented(text) if is_json(mime) and not is_cut else text, note=note)


def _type_of(described: Described) -> str:
    """Return the media type without parameters; that of the filename where none is known."""
    mime = plain_type(described.mime)
    if mime not in {OCTET_STREAM, PLAIN_TEXT} or described.filename is None:
        return mime
    return check_mime(None, described.filename, mime)


def _kind_of_bytes(mime: str) -> Kind | None:
    if mime in IMAGES:
        return "image"
    if mime == "application/pdf":
        return "document"
    if mime.startswith("audio/"):
        return "audio"
    return "video" if mime.startswith("video/") else None


def _text_of(beginning: bytes) -> str | None:
    """Return the beginning of a file as text, without the part of a character at its end; None for no UTF-8."""
    if beginning.translate(None, _NO_TEXT) != beginning:
        return None
    try:
        return beginning.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and len(beginning) == _TEXT_BYTES:
            return beginning[: error.start].decode("utf-8-sig")
        return None


def _table(text: str, delimiter: str, *, is_cut: bool) -> Preview:
    lines = io.StringIO(text, newline="")
    try:
        rows = list(islice(csv.reader(lines, delimiter=delimiter), _ROWS + 1))
    except csv.Error:  # such as a field of more than 128 KiB
        return Preview("text", text, note="This is not a table.")
    has_more = is_cut or lines.tell() < len(text)
    return _shown_table(rows[0] if rows else [], rows[1:], has_more=has_more)


def _parquet(store: ArtifactStore, artifact_id: str, revision: int | None) -> Preview:
    try:
        arrow, parquet = (import_module(name) for name in ("pyarrow", "pyarrow.parquet"))  # large, and no extra of ours
    except ModuleNotFoundError:
        return Preview("none", note="To see its rows, install pyarrow: python -m pip install pyarrow")
    with store.open(artifact_id, revision=revision) as file:
        try:
            table = parquet.ParquetFile(file)
            first: Any = next(table.iter_batches(batch_size=_ROWS, columns=table.schema_arrow.names[:_COLUMNS]), None)
            rows = [] if first is None else list(zip(*(column.to_pylist() for column in first.columns), strict=True))
            names, count = table.schema_arrow.names, table.metadata.num_rows
        except ArtifactStoreError:
            raise
        except (arrow.ArrowException, OSError, LookupError, OverflowError, ValueError) as error:
            return Preview("none", note=f"This is not a Parquet file that can be read ({type(error).__name__}).")
    return _shown_table(names, rows, has_more=count > len(rows))


def _shown_table(columns: Iterable[object], rows: Iterable[Iterable[object]], *, has_more: bool) -> Preview:
    titles = list(map(_cell, columns))
    shown = [list(map(_cell, islice(row, _COLUMNS))) for row in rows]
    notes = [f"The first {len(shown)} rows."] if has_more else []
    notes += [f"The first {_COLUMNS} columns of {len(titles)}."] if len(titles) > _COLUMNS else []
    return Preview("table", columns=titles[:_COLUMNS], rows=shown, note=" ".join(notes))


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"
