"""A session as a ZIP archive (APPNOTE.TXT of PKWARE), made while it is read, so that it may have any size.

:mod:`zipfile` writes the format into a buffer that is emptied meanwhile: each file is followed by its length and CRC.
Memory holds a chunk, and for each file an entry of a few hundred bytes, which the end of an archive repeats.
"""

from __future__ import annotations

import contextlib
import itertools
import posixpath
import re
from collections.abc import Generator, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chuk_artifacts.errors import ArtifactNotFoundError
from chuk_artifacts.log import log as _log
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations.calls import operation
from chuk_artifacts.operations.finding import age, exists
from chuk_artifacts.operations.listing import pages
from chuk_artifacts.operations.reading import chunks_of, open_record
from chuk_artifacts.operations.scope import Scope
from chuk_artifacts.source import CHUNK_SIZE

if TYPE_CHECKING:
    from typing import BinaryIO
    from zipfile import ZipInfo

_MODE = 0o100600  # a regular file that only its owner reads and writes
_FIRST, _LAST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC)  # what MS-DOS can say
# Patterns are compiled on first use, so that importing stays fast.
_DRIVE = r"^([A-Za-z]):"
_COMPRESSED = (
    r"(image|audio|video)/(?!svg|bmp|x-ms-bmp|x-bmp|tiff|x-icon|vnd\.microsoft\.icon|wav|x-wav|vnd\.wave|aiff|x-aiff"
    r"|basic|midi|x-portable|x-rgb|x-x).*"
    r"|font/woff2?"
    r"|application/(pdf|zip|gzip|zstd|zlib|x-(gzip|7z-compressed|bzip2?|xz|compress|brotli|lzma|lzip|rar(-compressed)?"
    r"|zip-compressed|zstd)|vnd\.(rar|apache\.parquet|android\.package-archive|openxmlformats-.*|oasis\.opendocument\..*)"
    r"|java-archive|epub\+zip|.*\+zip|.*\+gzip)"
)


@operation
def archive(scope: Scope, session_id: str | None, prefix: str, chunk_size: int) -> Generator[bytes, None, None]:
    """Return an iterator over a ZIP of a session's artifacts; see :meth:`ArtifactStore.archive`."""
    session_id = scope.session(session_id)
    _log.debug("archive %s", session_id)
    return _archive(scope, session_id, prefix, chunk_size)


class _Buffer:
    """The file that an archive is written to: it can't be sought, and is emptied from its start.

    Args:
        size: the length of a chunk in bytes.

    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        """Append bytes."""
        self._data += data
        return len(data)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def chunks(self, least: int | None = None) -> Generator[bytes, None, None]:
        """Remove and yield chunks while there are *least* bytes; None: while there is a whole chunk."""
        while len(self._data) >= (self._size if least is None else least):
            chunk = bytes(self._data[: self._size])
            del self._data[: self._size]
            yield chunk


def _archive(scope: Scope, session_id: str, prefix: str, chunk_size: int) -> Generator[bytes, None, None]:
    """Yield an archive; skip artifacts that are deleted, or expire, before they are opened."""
    from zipfile import ZipFile  # noqa: PLC0415 - imports each compression, which most stores never need

    buffer, names = _Buffer(chunk_size), Names()
    with ZipFile(buffer, "w") as archive:
        for listed in _newest_first(pages(scope, session_id, prefix=prefix)):
            opened = _opened(scope, listed)
            if opened is None:
                continue
            record, file = opened
            chunks = chunks_of(record, file, 0, None, CHUNK_SIZE)
            with (
                file,
                contextlib.closing(chunks),
                archive.open(_entry(names.add(_name_of(listed)), record), "w") as entry,
            ):
                for chunk in chunks:
                    entry.write(chunk)
                    yield from buffer.chunks()
    yield from buffer.chunks(1)


def _newest_first(listed: Iterable[ArtifactMetadata]) -> Generator[ArtifactMetadata, None, None]:
    """Yield artifacts, the newest of a filename before the others, so that it keeps the name."""
    for filename, same in itertools.groupby(listed, key=lambda one: one.filename):
        if filename is None:
            yield from same
        else:
            yield from sorted(same, key=age, reverse=True)


def _opened(scope: Scope, listed: ArtifactMetadata) -> tuple[ArtifactMetadata, BinaryIO] | None:
    """Return the record and a reader of an artifact that was listed; None if it does not exist any more."""
    try:
        return open_record(scope, listed)
    except ArtifactNotFoundError:
        if exists(scope, listed.artifact_id):  # its bytes are lost
            raise
        return None


def _entry(name: str, record: ArtifactMetadata) -> ZipInfo:
    """Return the description of a file. Its length decides whether it needs ZIP64."""
    from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipInfo  # noqa: PLC0415 - see _archive

    entry = ZipInfo(name, _time_of(record))
    entry.compress_type = ZIP_STORED if re.fullmatch(_COMPRESSED, _type_of(record)) else ZIP_DEFLATED
    entry.external_attr = _MODE << 16
    entry.file_size = record.bytes
    return entry


class Names:
    """Gives each file of an archive a name that no other file or folder has, and that stays below the root."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}  # and the last number that was tried
        self._folders: dict[str, str] = {"": ""}

    def add(self, filename: str) -> str:
        """Return the name of the next file: its safe filename, with `` (2)`` before the extension if that is taken."""
        folder, _, last = safe_name(filename).rpartition("/")
        stem, extension = posixpath.splitext(last)
        return self._free(self._folder(folder) + stem, extension)

    def _folder(self, folder: str) -> str:
        """Return the name in the archive of a folder, with its last slash, which no file has."""
        known = self._folders.get(folder)
        if known is None:
            parent, _, last = folder.rpartition("/")
            known = self._folders[folder] = self._free(self._folder(parent) + last, "") + "/"
        return known

    def _free(self, stem: str, extension: str) -> str:
        name = f"{stem}{extension}"
        number = self._taken.get(name, 1)
        free = name
        while free in self._taken:
            number += 1
            free = f"{stem} ({number}){extension}"
        self._taken[name] = number
        self._taken.setdefault(free, 1)
        return free


def safe_name(filename: str) -> str:
    """Return a filename as a relative path that means the same to each system, and never leaves its root."""
    segments = [segment for segment in re.split(r"[/\\]", filename) if segment not in {"", "."}]
    return "/".join(re.sub(_DRIVE, r"\1_", "_" if segment == ".." else segment) for segment in segments) or "_"


def _name_of(record: ArtifactMetadata) -> str:
    if record.filename is not None:
        return record.filename
    from mimetypes import guess_extension  # noqa: PLC0415 - reads tables of the system

    return record.artifact_id + (guess_extension(_type_of(record)) or "")


def _type_of(record: ArtifactMetadata) -> str:
    """Return the media type of an artifact in lower case, without parameters."""
    return record.mime.partition(";")[0].strip().lower()


def _time_of(record: ArtifactMetadata) -> tuple[int, int, int, int, int, int]:
    """Return when an artifact was last changed, in UTC, as far as the format can express it."""
    moment = min(max(datetime.fromisoformat(record.updated_at), _FIRST), _LAST)
    return moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second
