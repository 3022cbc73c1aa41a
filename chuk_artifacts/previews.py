"""``Preview``: how a notebook shows the content of an artifact: an image, a table, text, or a link."""

from __future__ import annotations

import io
from itertools import islice
from typing import Literal

import attrs

from chuk_artifacts.human import size_text
from chuk_artifacts.media import IMAGES, SEPARATORS, indented, is_json, is_text, plain_type
from chuk_artifacts.models import ArtifactMetadata

Kind = Literal["image", "table", "text", "link"]

MAX_IMAGE_BYTES = 8 * 1024 * 1024
MAX_TEXT_BYTES = 64 * 1024
_ROWS = 20


def kind_of(record: ArtifactMetadata) -> Kind:
    """Return how an artifact is shown, by its media type and its length."""
    mime = plain_type(record.mime)
    if mime in IMAGES:
        return "image" if record.bytes <= MAX_IMAGE_BYTES else "link"
    if mime in SEPARATORS:
        return "table"
    return "text" if is_text(mime) else "link"


@attrs.frozen(kw_only=True, repr=False)
class Preview:
    """The content of an artifact, as a notebook shows it.

    Attributes:
        metadata: the artifact.
        kind: ``"image"``, ``"table"``, ``"text"`` or ``"link"``.
        content: the bytes of an image, or the first 64 KiB of a table or a text; empty for a link.
        url: the URL of a link, which is valid for an hour; None for the others.

    Example:
        >>> from chuk_artifacts import ArtifactStore
        >>> with ArtifactStore() as store:
        ...     preview = store.display(store.write_file("a,b", filename="table.csv"))
        >>> preview.kind, preview.content
        ('table', b'a,b')

    """

    metadata: ArtifactMetadata
    kind: Kind
    content: bytes = b""
    url: str | None = None

    @property
    def text(self) -> str:
        """What it shows as plain text: the text or the table; for an image or a link, what it is."""
        if self.kind in {"text", "table"}:
            text = self.content.decode("utf-8", "replace")
            return f"{text}\n… {self._title}" if self._is_cut else text
        return self._title if self.url is None else f"{self._title}: {self.url}"

    def __repr__(self) -> str:
        """Return the plain text."""
        return self.text

    def _repr_html_(self) -> str:
        """Return the image, table, text or link. The text of an artifact is escaped, also if it is HTML."""
        from html import escape  # noqa: PLC0415 - only a notebook needs it

        from chuk_artifacts.markup import image, rows_of  # noqa: PLC0415 - as above

        title = escape(self._title)
        if self.kind == "image":
            return image(plain_type(self.metadata.mime), self.content, "60vh")
        if self.kind == "link":
            return f'<a href="{escape(self.url or "")}" target="_blank" rel="noopener">{title}</a>'
        if self.kind == "table":
            return f"{rows_of(self._rows())}<p>{title}</p>"
        note = f"<p>the beginning of {title}</p>" if self._is_cut else ""
        return f'<pre style="max-height:60vh;overflow:auto">{escape(self._pretty())}</pre>{note}'

    @property
    def _title(self) -> str:
        record = self.metadata
        return f"{record.filename or record.artifact_id} ({record.mime}, {size_text(record.bytes)})"

    @property
    def _is_cut(self) -> bool:
        return len(self.content) < self.metadata.bytes

    def _rows(self) -> list[list[str]]:
        """Return the first rows."""
        import csv  # noqa: PLC0415 - only a notebook needs it

        lines = io.StringIO(self.content.decode("utf-8-sig", "replace"), newline="")
        reader = csv.reader(lines, delimiter=SEPARATORS[plain_type(self.metadata.mime)])
        try:
            return list(islice(reader, _ROWS + 1))
        except csv.Error:  # it is no CSV
            return [[self.text]]

    def _pretty(self) -> str:
        text = self.content.decode("utf-8", "replace")
        return indented(text) if is_json(plain_type(self.metadata.mime)) and not self._is_cut else text
