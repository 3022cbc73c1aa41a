"""Checks of the arguments of methods: each returns the value in its stored form or raises ``InvalidInputError``."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import TIMEOUT_MAX
from typing import Any

import attrs

from chuk_artifacts.errors import SHOWN, InvalidInputError, shown
from chuk_artifacts.fields import JsonObject
from chuk_artifacts.media import MORE_TYPES

OCTET_STREAM = "application/octet-stream"
PLAIN_TEXT = "text/plain"
MAX_EXPIRES_SECONDS = 7 * 86400
"""The longest life of a signed URL in seconds, the limit of AWS Signature Version 4."""
LAST_MOMENT = 253402300799
"""The end of the year 9999 in seconds since the epoch: ISO 8601 writes later years only by agreement."""
_MAX_FILENAME_BYTES = 1024
_MAX_MIME_CHARACTERS = 1024
_MAX_NAME_BYTES = 255
_MAX_META_DEPTH = 64
_MAX_INTEGER_BITS = 1024
_MAX_ENCODING_CHARACTERS = 64  # Python caches every name that it looks up
# JSON may be 8 times as long as the part counted while copying: a float has 3 to 24 digits, a character takes 1 to 6.
_WORST = 8
MAX_COUNT = 2**63 - 1
"""The largest count: SQLite, Redis and file systems store signed 64-bit integers."""
MAX_PAGE = 1_000_000
"""The largest number of records that are read at once."""
MAX_VERSIONS = 100
"""The largest number of earlier contents that one artifact keeps for good: they are part of its record."""
MAX_AT_ONCE = 65_536
"""The largest number of connections or threads."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# Patterns are compiled on first use, so that importing stays fast.
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 section 5.6.2, no password
_MIME = rf"""{_TOKEN}/{_TOKEN}([ \t]*;[ \t]*{_TOKEN}=({_TOKEN}|"([\t !#-\[\]-~]|\\[\t -~])*"))*[ \t]*"""
_DRIVE = r"[A-Za-z]:[\\/]"
_SEPARATOR = r"[\\/]"
_NUMBER = r"[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?|\.[0-9]+(e[+-]?[0-9]+)?"
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_ENCODED_MIMES = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}


@attrs.frozen(kw_only=True)
class Limits:
    """The longest texts and JSON objects of a record or a session, in bytes of UTF-8.

    Attributes:
        summary: a summary.
        meta: a meta of an artifact, or the custom metadata of a session, as JSON.
        user_id: a user id.

    """

    summary: int = 64 * 1024
    meta: int = 1024 * 1024
    user_id: int = 255

    def check_summary(self, value: object) -> str:
        """Return *value*, a summary."""
        return _short_text("summary", value, self.summary)

    def check_user_id(self, value: object) -> str | None:
        """Return *value*, a user id or None."""
        return None if value is None else _short_text("user_id", value, self.user_id)

    def check_meta(self, name: str, value: object) -> JsonObject:
        """Return a copy of *value*, a JSON object; None becomes an empty one. An error names the invalid key."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise InvalidInputError(f"{name} must be a mapping, not {type(value).__name__}")
        copy: JsonObject = _Copy(name, self.meta).of(value)
        return copy

    def check_merged(self, name: str, present: Mapping[str, object], addition: Mapping[str, object]) -> JsonObject:
        """Return two JSON objects merged, key by key; raise if the result is too long."""
        merged = {**present, **addition}
        if addition:
            _check_length(name, len(_encode(merged).encode()), self.meta)
        return merged


LIMITS = Limits()
"""The default limits."""


def plain(value: str) -> str:
    """Return *value* as a plain str, because a subclass may override any method."""
    return value if type(value) is str else str.__str__(value)


def _is_unicode(text: str) -> bool:
    """Return whether UTF-8 can encode a plain str: it can't encode half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(name: str, value: object) -> str:
    """Return *value*, a str that UTF-8 can encode, as a plain str."""
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} must be a str, not {type(value).__name__}")
    text = plain(value)
    if not _is_unicode(text):
        raise InvalidInputError(f"{name} is not valid Unicode")
    return text


def check_text_or_none(name: str, value: object) -> str | None:
    """Return *value*, None or a str that UTF-8 can encode."""
    return None if value is None else check_text(name, value)


def _short_text(name: str, value: object, most: int) -> str:
    text = check_text(name, value)
    if len(text) * 4 > most:
        _check_length(name, len(text.encode()), most)
    return text


def _check_length(name: str, size: int, most: int) -> None:
    if size > most:
        raise InvalidInputError(f"{name} is longer than {most} bytes: {size}")


def check_filename(value: object) -> str:
    """Return *value*, a filename that may contain folders and is valid on any system."""
    name = check_text("filename", value)
    if not name or name[-1] in "/\\" or name == "." or name.endswith(("/.", "\\.")):
        raise InvalidInputError(f"filename must end with the name of a file: {shown(name)}")
    if name[0] in "/\\" or re.match(_DRIVE, name):
        raise InvalidInputError(f"filename must not be absolute: {shown(name)}")
    if ".." in name and ".." in re.split(_SEPARATOR, name):
        raise InvalidInputError(f"filename must not hold a '..' segment: {shown(name)}")
    if re.search(_CONTROL, name):
        raise InvalidInputError(f"filename must not hold a control character: {shown(name)}")
    if len(name) * 4 > _MAX_FILENAME_BYTES and len(name.encode()) > _MAX_FILENAME_BYTES:
        raise InvalidInputError(f"filename is longer than {_MAX_FILENAME_BYTES} bytes of UTF-8")
    return name


def last_segment(filename: str) -> str:
    """Return a filename without its folders."""
    return re.split(_SEPARATOR, filename)[-1]


def name_in_folder(filename: str) -> str:
    """Return a filename without folders or a drive (on Windows, ``D:x``), cut to the length that file systems allow."""
    name = last_segment(filename)
    drive, _ = os.path.splitdrive(name)
    return _cut_name(name.replace(":", "_") if drive else name)


def _cut_name(name: str) -> str:
    """Return a name cut to 255 bytes, the limit of most file systems; the extension stays."""
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    stem, extension = os.path.splitext(name)
    if len(extension.encode()) > _MAX_NAME_BYTES // 4:
        stem, extension = name, ""
    most = _MAX_NAME_BYTES - len(extension.encode())
    return stem.encode()[:most].decode(errors="ignore") + extension


def check_mime(value: object, filename: str | None, default: str) -> str:
    """Return the media type *value* (RFC 9110 section 8.3.1), or, for None, a guess from *filename*, or *default*."""
    if value is None:
        return _guess(filename) or default
    mime = plain(value) if isinstance(value, str) else ""
    if len(mime) > _MAX_MIME_CHARACTERS:
        raise InvalidInputError(f"mime is longer than {_MAX_MIME_CHARACTERS} characters: {len(mime)}")
    if not re.fullmatch(_MIME, mime):
        raise InvalidInputError(f"mime must be a media type such as 'image/png' (RFC 9110): {shown(value)}")
    return mime


@functools.cache
def _known_types() -> Callable[..., tuple[str | None, str | None]]:
    import mimetypes  # noqa: PLC0415 - reads tables of the system, which most stores never need

    return mimetypes.guess_type


def _guess(filename: str | None) -> str | None:
    if filename is None:
        return None
    name = "x" + last_segment(filename).lower()
    mime, encoding = _known_types()(name, strict=False)
    if encoding is not None:  # the stored bytes are the compressed form
        return _ENCODED_MIMES.get(encoding, OCTET_STREAM)
    return mime or MORE_TYPES.get(os.path.splitext(name)[1])


class _Copy:
    """Copies a JSON value, and stops as soon as it is known to be too long.

    Args:
        name: the name of the argument, for messages.
        most: the longest JSON in bytes.

    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._least = 0  # a lower bound of the length in bytes

    def of(self, value: Mapping[object, object]) -> Any:
        """Return the copy; an error contains the path to the invalid value."""
        try:
            copy = self._copied(value, _MAX_META_DEPTH)
        except _NotJsonError as error:
            way = "".join(f"[{shown(step)}]" for step in reversed(error.way))
            raise InvalidInputError(f"{self._name}{way[-SHOWN:]} {error.reason}") from None
        if self._least * _WORST > self._most:
            _check_length(self._name, len(_encode(copy).encode()), self._most)
        return copy

    def _copied(self, value: object, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool):
            self._grow(4)
            return value
        if isinstance(value, int):
            return self._integer(value)
        if isinstance(value, float):
            return self._finite(value)
        self._grow(2)
        if isinstance(value, (list, tuple)):
            return self._values(value, depth)
        if isinstance(value, Mapping):
            return self._items(value, depth)
        raise _NotJsonError(f"is not JSON: {type(value).__name__}")

    def _items(self, value: Mapping[object, object], depth: int) -> JsonObject:
        _check_depth(depth)
        copy = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _NotJsonError(f"has a key that is no str: {shown(key)}")
            name = self._text(key, "has a key that ")
            try:
                copy[name] = self._copied(item, depth - 1)
            except _NotJsonError as error:
                error.way.append(name)
                raise
        return copy

    def _values(self, value: Sequence[object], depth: int) -> list[Any]:
        _check_depth(depth)
        copy = []
        for index, item in enumerate(value):
            try:
                copy.append(self._copied(item, depth - 1))
            except _NotJsonError as error:
                error.way.append(index)
                raise
        return copy

    def _text(self, value: str, subject: str = "") -> str:
        text = plain(value)
        self._grow(len(text) + 2)
        if not _is_unicode(text):
            raise _NotJsonError(f"{subject}is not valid Unicode")
        return text

    def _integer(self, value: int) -> int:
        bits = int.bit_length(value)
        if bits > _MAX_INTEGER_BITS:
            raise _NotJsonError(f"is an integer of more than {_MAX_INTEGER_BITS} bits")
        self._grow(bits // 4 or 1)  # at most its number of digits
        return int.__int__(value)

    def _finite(self, value: float) -> float:
        number = float.__float__(value)
        if not math.isfinite(number):
            raise _NotJsonError(f"is not a finite number: {number}")
        self._grow(3)
        return number

    def _grow(self, size: int) -> None:
        self._least += size
        if self._least > self._most:
            raise InvalidInputError(f"{self._name} is longer than {self._most} bytes of JSON")


class _NotJsonError(Exception):
    """Why a value is invalid, and the keys and indices that lead to it, innermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.way: list[str | int] = []


def _check_depth(depth: int) -> None:
    if depth == 0:
        raise _NotJsonError(f"is nested deeper than {_MAX_META_DEPTH} levels")


def copy_json(value: object) -> Any:
    """Return a deep copy of *value*, which must be JSON."""
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    return value


def check_items(name: str, value: object) -> list[Any]:
    """Return the items of *value*, an iterable other than str and bytes."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise InvalidInputError(f"{name} must be a list, not {type(value).__name__}")
    return list(value)


def check_path(name: str, value: Any) -> str:
    """Return *value*, a str or an ``os.PathLike``, as a str that the operating system accepts."""
    try:
        path = os.fspath(value)
    except TypeError:
        raise InvalidInputError(f"{name} must be a path, not {type(value).__name__}") from None
    path = plain(path) if isinstance(path, str) else "\0"
    if "\0" in path:
        raise InvalidInputError(f"{name} must be a path of text without NUL")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise InvalidInputError(f"{name} is not valid Unicode") from None
    return path


def check_encoding(value: object) -> str:
    """Return *value*, the name of a text encoding."""
    encoding = check_text("encoding", value)
    if len(encoding) <= _MAX_ENCODING_CHARACTERS:
        try:
            "".encode(encoding)
        except (LookupError, ValueError):
            pass
        else:
            return encoding
    raise InvalidInputError(f"encoding is not known: {shown(encoding)}")


def check_positive(name: str, value: object, most: float = sys.float_info.max) -> float:
    """Return *value*, a finite number above 0 and at most *most*, as a plain int or float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInputError(f"{name} must be a number, not {type(value).__name__}")
    number: float = int.__int__(value) if isinstance(value, int) else float.__float__(value)
    if not 0 < number <= sys.float_info.max:
        raise InvalidInputError(f"{name} must be a finite number above 0: {shown(number)}")
    if number > most:
        raise InvalidInputError(f"{name} must be at most {most}: {shown(number)}")
    return number


def check_timeout(value: object) -> float | None:
    """Return *value*, a timeout in seconds; None: no timeout."""
    return None if value is None else check_positive("timeout", value, TIMEOUT_MAX)


def check_ttl(name: str, value: object, now: float) -> float | None:
    """Return *value*, a time to live in seconds; None stays None."""
    if value is None:
        return None
    ttl = check_positive(name, value)
    check_moment(name, now + min(ttl, LAST_MOMENT + 1))
    return ttl


def check_hours(name: str, value: object, now: float) -> float | None:
    """Return *value*, a time to live in hours, converted to seconds; None stays None."""
    return None if value is None else check_ttl(name, check_positive(name, value) * 3600.0, now)


def parse_duration(text: str, unit: str = "s") -> float | None:
    """Return a duration that a person wrote, in seconds; None for ``never``.

    Args:
        text: a number with one of the units ``s``, ``m``, ``h``, ``d`` and ``w``, such as ``12h`` or ``7d``; a number
            without a unit; or ``never``.
        unit: the unit of a number without one.

    Raises:
        InvalidInputError: *text* is nothing of these, or not a finite number above 0.

    """
    word = text.strip().lower()
    if word == "never":
        return None
    number, named = (word[:-1], word[-1:]) if word[-1:] in _UNIT_SECONDS else (word, unit)
    with contextlib.suppress(ValueError):
        seconds = float(number) * _UNIT_SECONDS[named]
        if 0 < seconds <= sys.float_info.max and re.fullmatch(_NUMBER, number):
            return seconds
    raise InvalidInputError(f"{shown(text)} is not a duration above 0, such as 90, 12h, 7d or never")


def check_moment(name: str, moment: float) -> float:
    """Return *moment*, in seconds since the epoch; raise if no timestamp can express it."""
    if moment > LAST_MOMENT:
        raise InvalidInputError(f"{name} reaches beyond the year 9999")
    return moment


def check_expires(value: object) -> int:
    """Return *value*, the life of a signed URL in seconds, rounded up to whole seconds."""
    seconds = check_positive("expires", value)
    if seconds > MAX_EXPIRES_SECONDS:
        raise InvalidInputError(f"expires must be at most 7 days, {MAX_EXPIRES_SECONDS} seconds: {shown(seconds)}")
    return math.ceil(seconds)


def check_limit(value: object) -> int | None:
    """Return *value*, the largest number of results; None: no limit."""
    return None if value is None else check_count("limit", value, 0)


def check_count(name: str, value: object, least: int, most: int = MAX_COUNT) -> int:
    """Return *value*, an int from *least* to *most*, as a plain int."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInputError(f"{name} must be an int, not {type(value).__name__}")
    number = int.__int__(value)
    if not least <= number <= most:
        bound = f"at least {least}" if number < least else f"at most {most}"
        raise InvalidInputError(f"{name} must be {bound}: {shown(number)}")
    return number


def check_keep_versions(value: object) -> int | None:
    """Return *value*, how many earlier contents an artifact keeps for good, or None."""
    return None if value is None else check_count("keep_versions", value, 0, MAX_VERSIONS)


def encoded(content: object, encoding: object) -> bytes | bytearray | memoryview:
    """Return text encoded as bytes; bytes-like content is returned unchanged.

    Raises:
        InvalidInputError: *content* is neither, or the encoding is unknown or can't represent the text.

    """
    encoding = check_encoding(encoding)
    if isinstance(content, (bytes, bytearray, memoryview)):
        return content
    if not isinstance(content, str):
        raise InvalidInputError(f"content must be a str or bytes, not {type(content).__name__}: use store for others")
    try:
        return plain(content).encode(encoding)
    except UnicodeError as error:
        where = f"the character at {error.start}" if isinstance(error, UnicodeEncodeError) else "it"
        raise InvalidInputError(f"content: {encoding} can't hold {where}") from None
