"""The checks of every argument of a verb: each returns the value in its stored form or raises ``InvalidInputError``."""

from __future__ import annotations

import functools
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chuk_artifacts.errors import InvalidInputError

OCTET_STREAM = "application/octet-stream"
PLAIN_TEXT = "text/plain"
MAX_EXPIRES_SECONDS = 7 * 86400
"""How long a signed URL works at most, as AWS Signature Version 4 has it."""
LAST_MOMENT = 253402300799
"""The end of the year 9999 in seconds since the epoch, beyond which ISO 8601 needs an agreement of both sides."""
_MAX_FILENAME_BYTES = 1024
_MAX_META_DEPTH = 64
_MAX_INTEGER_BITS = 1024
# Patterns are compiled when they are first needed, which is seldom at the import.
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 section 5.6.2, no password
_MIME = rf"""{_TOKEN}/{_TOKEN}([ \t]*;[ \t]*{_TOKEN}=({_TOKEN}|"([\t !#-\[\]-~]|\\[\t -~])*"))*[ \t]*"""
_DRIVE = r"[A-Za-z]:[\\/]"
_SEPARATOR = r"[\\/]"
_ENCODED_MIMES = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}


def check_text(name: str, value: Any) -> str:
    """Return *value* when it is a str that UTF-8 can hold."""
    if not isinstance(value, str):
        raise InvalidInputError(f"{name} must be a str, not {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidInputError(f"{name} is not valid Unicode") from None
    return value


def check_text_or_none(name: str, value: Any) -> str | None:
    """Return *value* when it is None or a str that UTF-8 can hold."""
    return None if value is None else check_text(name, value)


def check_filename(value: Any) -> str:
    """Return *value* when it can name a file, folders and all, on any system."""
    name = check_text("filename", value)
    if not name or name[-1] in "/\\" or name == "." or name.endswith(("/.", "\\.")):
        raise InvalidInputError(f"filename must end with the name of a file: {name!r}")
    if name[0] in "/\\" or re.match(_DRIVE, name):
        raise InvalidInputError(f"filename must not be absolute: {name!r}")
    if ".." in name and ".." in re.split(_SEPARATOR, name):
        raise InvalidInputError(f"filename must not hold a '..' segment: {name!r}")
    if re.search(_CONTROL, name):
        raise InvalidInputError(f"filename must not hold a control character: {name!r}")
    if len(name) * 4 > _MAX_FILENAME_BYTES and len(name.encode()) > _MAX_FILENAME_BYTES:
        raise InvalidInputError(f"filename is longer than {_MAX_FILENAME_BYTES} bytes of UTF-8")
    return name


def last_segment(filename: str) -> str:
    """Return a filename without its folders."""
    return re.split(_SEPARATOR, filename)[-1]


def name_in_folder(filename: str) -> str:
    """Return a filename without its folders, as a name that stays in its folder: on Windows ``D:x`` is on a drive."""
    name = last_segment(filename)
    drive, _ = os.path.splitdrive(name)
    return name.replace(":", "_") if drive else name


def check_mime(value: Any, filename: str | None, default: str) -> str:
    """Return the media type *value* (RFC 9110 section 8.3.1), or, for None, a guess from *filename*, or *default*."""
    if value is None:
        return _guess(filename) or default
    if not isinstance(value, str) or not re.fullmatch(_MIME, value):
        raise InvalidInputError(f"mime must be a media type such as 'image/png' (RFC 9110): {value!r}")
    return value


@functools.cache
def _known_types() -> Callable[..., tuple[str | None, str | None]]:
    import mimetypes  # noqa: PLC0415 - which reads the tables of the system, for those who name files

    return mimetypes.guess_type


def _guess(filename: str | None) -> str | None:
    if filename is None:
        return None
    mime, encoding = _known_types()("x" + last_segment(filename).lower(), strict=False)
    if encoding is not None:  # what is stored is the compressed form, not what comes out of it
        return _ENCODED_MIMES.get(encoding, OCTET_STREAM)
    return mime


def check_meta(name: str, value: Any) -> dict[str, Any]:
    """Return a copy of *value*, a JSON object; None is an empty one. The error names the offending key."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{name} must be a mapping, not {type(value).__name__}")
    copy: dict[str, Any] = _json_copy(value, name, _MAX_META_DEPTH)
    return copy


def _json_copy(value: Any, path: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_text(path, value)
    if isinstance(value, int):
        if value.bit_length() > _MAX_INTEGER_BITS:
            raise InvalidInputError(f"{path} is an integer of more than {_MAX_INTEGER_BITS} bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInputError(f"{path} is not a finite number: {value}")
        return float(value)
    if depth == 0:
        raise InvalidInputError(f"{path} is nested deeper than {_MAX_META_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(key, path): _json_copy(item, f"{path}[{key!r}]", depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_copy(item, f"{path}[{index}]", depth - 1) for index, item in enumerate(value)]
    raise InvalidInputError(f"{path} is not JSON: {type(value).__name__}")


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise InvalidInputError(f"{path} has a key that is no str: {key!r}")
    return check_text(f"a key of {path}", key)


def copy_json(value: Any) -> Any:
    """Return a copy of *value*, which is known to be JSON."""
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    return value


def check_items(name: str, value: Any) -> list[Any]:
    """Return the items of *value*, any iterable but a text."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise InvalidInputError(f"{name} must be a list, not {type(value).__name__}")
    return list(value)


def check_path(name: str, value: Any) -> str:
    """Return *value*, a str or an ``os.PathLike``, as a str that the operating system can take."""
    try:
        path = os.fspath(value)
    except TypeError:
        raise InvalidInputError(f"{name} must be a path, not {type(value).__name__}") from None
    if not isinstance(path, str) or "\0" in path:
        raise InvalidInputError(f"{name} must be a path of text without NUL")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise InvalidInputError(f"{name} is not valid Unicode") from None
    return path


def check_positive(name: str, value: Any) -> float:
    """Return *value* when it is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInputError(f"{name} must be a number, not {type(value).__name__}")
    if not 0 < value <= sys.float_info.max:
        raise InvalidInputError(f"{name} must be a finite number above 0: {value!r:.40}")
    return value


def check_ttl(name: str, value: Any, now: float) -> float | None:
    """Return *value*, a time to live in seconds; None stays None."""
    if value is None:
        return None
    ttl = check_positive(name, value)
    check_moment(name, now + min(ttl, LAST_MOMENT + 1))
    return ttl


def check_hours(name: str, value: Any, now: float) -> float | None:
    """Return *value*, a time to live in hours, in seconds; None stays None."""
    return None if value is None else check_ttl(name, check_positive(name, value) * 3600.0, now)


def check_moment(name: str, moment: float) -> float:
    """Return *moment*, in seconds since the epoch, when a timestamp can say it."""
    if moment > LAST_MOMENT:
        raise InvalidInputError(f"{name} reaches beyond the year 9999")
    return moment


def check_expires(value: Any) -> int:
    """Return *value*, how long a signed URL works in seconds, as whole seconds, rounded up."""
    seconds = check_positive("expires", value)
    if seconds > MAX_EXPIRES_SECONDS:
        raise InvalidInputError(f"expires must be at most 7 days, {MAX_EXPIRES_SECONDS} seconds: {value!r}")
    return math.ceil(seconds)


def check_limit(value: Any) -> int | None:
    """Return *value*, the greatest number of results; None is no limit."""
    return None if value is None else check_count("limit", value, 0)


def check_count(name: str, value: Any, least: int) -> int:
    """Return *value* when it is an int of at least *least*."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInputError(f"{name} must be an int, not {type(value).__name__}")
    if value < least:
        raise InvalidInputError(f"{name} must be at least {least}: {value}")
    return value
