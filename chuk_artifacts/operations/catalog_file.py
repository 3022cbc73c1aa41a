"""The export of a catalog: JSON Lines, plain or gzip. Reading one trusts nothing in it.

The first line is the header. Then comes each session, followed by its records, sorted by filename and id. The last line
holds the numbers of both, so that a file that was cut is recognised. Each line is an object with one name::

    {"format":"chuk-artifacts catalog","version":1,"sandbox_id":"…","identity":"…","exported_at":"…"}
    {"session":{"session_id":"…",…}}
    {"artifact":{"artifact_id":"…",…}}
    {"end":{"sessions":1,"artifacts":1}}

The header is the only line without that rule. A reader refuses a later version of the format, and ignores fields of a
session or a record that it does not know.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from chuk_artifacts import grid
from chuk_artifacts.catalog import DAMAGE, place
from chuk_artifacts.core import Core
from chuk_artifacts.errors import InvalidInputError, shown
from chuk_artifacts.fields import JsonObject, decode, encode
from chuk_artifacts.models import ArtifactMetadata, SessionInfo, timestamp
from chuk_artifacts.source import CHUNK_SIZE, Readable, as_bytes
from chuk_artifacts.usual import check_moment

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FORMAT = "chuk-artifacts catalog"
VERSION = 1
_GZIP = b"\x1f\x8b"  # RFC 1952 section 2.3.1
_SESSION, _ARTIFACT, _END = "session", "artifact", "end"
_LONGEST_FIXED = 8 * 1024**2
"""The largest number of bytes of a line without its summary and meta: 100 earlier contents take a few hundred KiB."""
_ESCAPED = 6  # characters of JSON for a control character

Item = SessionInfo | ArtifactMetadata


class Counts(NamedTuple):
    """How many sessions and records an export has."""

    sessions: int
    artifacts: int


def header(core: Core) -> str:
    """Return the first line of the export of a catalog, made now."""
    return encode(
        {
            "format": FORMAT,
            "version": VERSION,
            "sandbox_id": core.settings.sandbox_id,
            "identity": core.catalog.identity(),
            "exported_at": timestamp(core.clock()),
        }
    )


def line_of(item: Item) -> str:
    """Return the line of a session or a record."""
    return f'{{"{_SESSION if isinstance(item, SessionInfo) else _ARTIFACT}":{item.to_json()}}}'


def last_line(counts: Counts) -> str:
    """Return the last line of an export."""
    return encode({_END: counts._asdict()})


class Export:
    """An export, read once from its start.

    Iterating yields its sessions and records. It raises :class:`InvalidInputError`, with the number of the line, if a
    line is invalid, or at the end if the file is not complete.

    Args:
        file: a binary file, which need not be seekable.
        core: the store that imports it.

    Attributes:
        exported_at: when the catalog was exported (ISO 8601, UTC).

    Raises:
        InvalidInputError: the file is no export of this store's sandbox, or a newer version wrote it.

    """

    def __init__(self, file: Readable, core: Core) -> None:
        """Read the header."""
        limits = core.settings.limits
        self._sandbox_id = core.settings.sandbox_id
        self._lines = _lines(file, _LONGEST_FIXED + _ESCAPED * limits.summary + limits.meta)
        first = next(self._lines, None)
        if first is None:
            _refuse(1, "the file is empty")
        self.exported_at: str = _header_in(first, self._sandbox_id)["exported_at"]

    def __iter__(self) -> Iterator[Item]:
        """Read the other lines."""
        reader, number = _Reader(self._sandbox_id), 1
        for number, line in enumerate(self._lines, 2):
            item = reader.read(number, line)
            if item is not None:
                yield item
        if not reader.is_complete:
            _refuse(number, "the file ends here, without its last line: it is not complete")


class _Reader:
    """Checks the lines behind the header, one after the other.

    Args:
        sandbox_id: the sandbox that each line must belong to.

    Attributes:
        is_complete: whether the last line was read.

    """

    def __init__(self, sandbox_id: str) -> None:
        self.is_complete: bool = False
        self._sandbox_id = sandbox_id
        self._session_id: str | None = None
        self._last_place: tuple[str, str] | None = None
        self._sessions = self._artifacts = 0
        self._kinds: dict[str, Callable[[str], Item | None]] = {
            _SESSION: self._session,
            _ARTIFACT: self._record,
            _END: self._end,
        }

    def read(self, number: int, line: bytes) -> Item | None:
        """Return the item of a line; None for the last line."""
        if self.is_complete:
            _refuse(number, "there is more after the last line")
        kind, value = _parsed(number, line)
        read = self._kinds.get(kind)
        if read is None:
            _refuse(number, f"unknown kind of line {shown(kind)}")
        try:
            return read(value)
        except DAMAGE as error:
            _refuse(number, f"{kind} is invalid: {error}", error)

    def _session(self, text: str) -> SessionInfo:
        info = SessionInfo.from_json(text)
        if info.sandbox_id != self._sandbox_id:
            raise ValueError(f"it belongs to the sandbox {shown(info.sandbox_id)}")
        self._session_id, self._last_place = info.session_id, None
        self._sessions += 1
        return info

    def _record(self, text: str) -> ArtifactMetadata:
        """Return a record. Its keys lie within its own session, because :meth:`ArtifactMetadata.from_json` checks it.

        The id must begin with the digest of that session: it is how catalogs find the session of an id.
        """
        record = ArtifactMetadata.from_json(text)
        if (record.sandbox_id, record.session_id) != (self._sandbox_id, self._session_id):
            raise ValueError("it belongs to another session than the lines before it")
        if not record.artifact_id.startswith(grid.slot_tag(record.sandbox_id, record.session_id)):
            raise ValueError("artifact_id is not one of its session")
        if self._last_place is not None and place(record) <= self._last_place:
            raise ValueError("it is there twice, or the records are not sorted by filename and id")
        self._last_place = place(record)
        self._artifacts += 1
        return record

    def _end(self, text: str) -> None:
        found = decode(text)
        expected = Counts(self._sessions, self._artifacts)
        if Counts(found["sessions"], found["artifacts"]) != expected:
            raise ValueError(
                f"it counts {shown(found['sessions'])} sessions and {shown(found['artifacts'])} artifacts,"
                f" and the file has {expected.sessions} and {expected.artifacts}: lines are missing"
            )
        self.is_complete = True


def _header_in(line: bytes, sandbox_id: str) -> JsonObject:
    """Return the header, checked."""
    found = _decoded(1, line)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        _refuse(1, "this is no export of a catalog")
    version, sandbox = found.get("version"), found.get("sandbox_id")
    if type(version) is not int or version < 1:
        _refuse(1, f"version can't be {shown(version)}")
    if version > VERSION:
        _refuse(1, f"a newer chuk-artifacts wrote it (format {version}; this one knows {VERSION}): install that")
    if sandbox != sandbox_id:
        _refuse(1, f"the export is of the sandbox {shown(sandbox)}, and this store has sandbox_id {shown(sandbox_id)}")
    try:
        check_moment(found["exported_at"])
    except DAMAGE as error:
        _refuse(1, f"exported_at can't be {shown(found.get('exported_at'))}", error)
    return found


def _parsed(number: int, line: bytes) -> tuple[str, str]:
    """Return the kind of a line, and the JSON of its value."""
    text = _text(number, line)
    for kind in (_ARTIFACT, _SESSION):  # as this library writes it: no need to decode the value here
        begin = f'{{"{kind}":'
        if text.startswith(begin) and text.endswith("}"):
            return kind, text[len(begin) : -1].strip()
    found = _decoded(number, line)
    if not isinstance(found, dict) or len(found) != 1:
        _refuse(number, "it is no object with one name")
    ((kind, value),) = found.items()
    return kind, encode(value)


def _decoded(number: int, line: bytes) -> Any:
    try:
        return decode(_text(number, line))
    except (ValueError, RecursionError) as error:
        _refuse(number, f"it is not JSON: {error}", error)


def _text(number: int, line: bytes) -> str:
    try:
        return line.decode().strip()
    except UnicodeDecodeError as error:
        _refuse(number, "it is not UTF-8", error)


def _refuse(number: int, problem: str, error: Exception | None = None) -> NoReturn:
    raise InvalidInputError(f"export, line {number}: {problem}") from error


def _lines(file: Readable, longest: int) -> Iterator[bytes]:
    """Yield the lines of a file; one of more than *longest* bytes is refused before it is in memory as a whole."""
    read, rest, number = _reader_of(file), b"", 1
    while chunk := _read(read, number):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        number += len(lines)
        if len(rest) > longest:
            _refuse(number, f"it is longer than {longest} bytes")
    if rest:
        yield rest


def _read(read: Callable[[int], bytes], number: int) -> bytes:
    try:
        return as_bytes(read(CHUNK_SIZE))
    except EOFError as error:
        _refuse(number, "the gzip data ends here: the file is not complete", error)
    except _GzipDamageError as error:
        _refuse(number, f"the gzip data is damaged: {error}", error)


def _reader_of(file: Readable) -> Callable[[int], bytes]:
    """Return the function that reads a file, decompressed if it begins as gzip does."""
    begin = b""
    while len(begin) < len(_GZIP) and (some := as_bytes(file.read(len(_GZIP) - len(begin)))):
        begin += some
    whole = io.BufferedReader(_Whole(begin, file))
    if begin != _GZIP:
        return whole.read
    return _unpacked(whole)


def _unpacked(whole: io.BufferedReader[_Whole]) -> Callable[[int], bytes]:
    """Return the function that reads a file that is gzip."""
    import gzip  # noqa: PLC0415 - only few exports are, and only few programs read one
    import zlib  # noqa: PLC0415 - as above

    packed = gzip.GzipFile(fileobj=whole, mode="rb")

    def read(size: int) -> bytes:
        try:
            return packed.read1(size)  # not read, which loses what comes before the damage
        except (gzip.BadGzipFile, zlib.error) as error:
            raise _GzipDamageError(str(error)) from error

    return read


class _GzipDamageError(Exception):
    """What was packed can't be unpacked."""


class _Whole(io.RawIOBase):
    """A file whose first bytes were read already."""

    def __init__(self, begin: bytes, file: Readable) -> None:
        self._begin = begin
        self._file = file

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        data = self._begin[: len(view)] or as_bytes(self._file.read(len(view)))
        self._begin = self._begin[len(data) :]
        view[: len(data)] = data
        return len(data)
