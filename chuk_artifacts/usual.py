"""A fast check of records from a catalog that recognises those in the usual form.

SQLite finds a record in a few microseconds, so that the complete check in :mod:`~chuk_artifacts.models` would dominate.
Every record that passes here would pass there. A record that fails here may still be valid.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import itemgetter, le
from typing import Any

from chuk_artifacts import grid
from chuk_artifacts.arguments import LAST_MOMENT
from chuk_artifacts.fields import JsonObject

LARGEST = 2**63 - 1
"""The largest integer in SQLite."""

_DEEPEST = 64  # levels of a JSON object, as in arguments.check_meta
_TEXTS = ("artifact_id", "session_id", "sandbox_id", "key", "mime", "summary", "sha256", "stored_at", "updated_at")
_NAMES = (
    *_TEXTS,
    *("storage_provider", "session_provider", "filename", "expires_at", "meta", "bytes", "revision", "ttl"),
    *("superseded", "released", "pending"),
)
_VALUES = itemgetter(*_NAMES)
_COUNT = len(_NAMES)  # a record whose content was replaced has one more, "origin"
_ORIGIN_TEXTS = 2  # the name, and a timestamp
_EARLIER_TEXTS = 5  # key, end, SHA-256, media type and moment of a superseded content, which may have a filename
_ALWAYS_TEXTS = _COUNT + len(_TEXTS) + 2  # the names, and the values that are strings in each record
_ID_DIGITS = 32
_HASH_DIGITS = 64
_SHORT_NAME = 255
_ENDS = frozenset("/\\.")
_ODD = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""The exceptions that values of the wrong type, or missing ones, cause in these functions."""


# No quantifier gives back what it took (``*+``): with plain ones the same pattern takes half as long again.
_TEXT = r'"([^"\\\x00-\x1f\ud800-\udfff]*+)"'  # without escapes
_SHOWN = r'"([ !#-\[\]-~]*+)"'  # printable ASCII, without escapes
_MOMENT = r'"([0-9T:.+-]{32})"'  # see check_moment
_NUMBER = r"(0|[1-9][0-9]{0,17})"
_KEY = rf'"({grid.ROOT}/\3/\2/\1(~[0-9]+)?)"'  # of the sandbox, the session and the artifact before it
_PLAIN = re.compile(
    rf'{{"artifact_id":"([0-9a-f]{{32}})","session_id":{_TEXT},"sandbox_id":{_TEXT},"key":{_KEY},"mime":{_SHOWN},'
    rf'"summary":{_TEXT},"meta":{{}},"filename":(?:null|{_TEXT}),"bytes":{_NUMBER},"sha256":"([0-9a-f]{{64}})",'
    rf'"stored_at":{_MOMENT},"updated_at":{_MOMENT},"expires_at":(?:null|{_MOMENT}),"ttl":(?:null|((?:0|[1-9][0-9]*)\.[0-9]+)),'
    rf'"revision":{_NUMBER},"storage_provider":{_SHOWN},"session_provider":{_SHOWN},'
    r'"superseded":\[\],"released":false,"pending":null}'
).fullmatch
"""A record without metadata of the caller and without earlier contents, as ``to_json`` writes it."""


def plain_fields(text: str) -> JsonObject | None:
    """Return the fields of the record in a JSON text if it matches :data:`_PLAIN`; None: decode and check it.

    That is most records, and takes a third of the time of decoding and checking them.
    """
    match = _PLAIN(text)
    if match is None:
        return None
    # fmt: off
    (
        artifact_id, session_id, sandbox_id, key, later, mime, summary, filename, size, sha256, stored, updated, end,
        ttl, revision, storage, catalog,
    ) = match.groups()
    # fmt: on
    seconds = None if ttl is None else float(ttl)
    if revision == "0" or "/" not in mime or (seconds is not None and seconds > LAST_MOMENT):
        return None
    if not _is_sound(sandbox_id, session_id, (stored, updated, end), later, filename):
        return None
    return {
        "artifact_id": artifact_id,
        "session_id": session_id,
        "sandbox_id": sandbox_id,
        "key": key,
        "mime": mime,
        "summary": summary,
        "meta": {},
        "filename": filename,
        "bytes": int(size),
        "sha256": sha256,
        "stored_at": stored,
        "updated_at": updated,
        "expires_at": end,
        "ttl": seconds,
        "revision": int(revision),
        "storage_provider": storage,
        "session_provider": catalog,
        "superseded": (),
        "released": False,
        "pending": None,
        "origin": None,
    }


def _is_sound(
    sandbox_id: str, session_id: str, moments: tuple[str, str, str | None], later: str | None, filename: str | None
) -> bool:
    """Return whether values of a record that matches :data:`_PLAIN` are in the usual form, where that can't say it.

    Args:
        sandbox_id: the sandbox.
        session_id: the session.
        moments: when it was stored, was changed, and expires.
        later: the end of the key, of the bytes of a later content.
        filename: the filename.

    """
    try:
        grid.beginnings(sandbox_id, session_id)  # raises for ids that are none
        _check_moments(*moments)
        return (later is None or grid.is_later(later)) and (filename is None or _is_plain(filename))
    except _ODD:
        return False


def plain_fields_each(texts: Iterable[str]) -> list[JsonObject] | None:
    """Return what :func:`plain_fields` returns for each text; None if that is None for one."""
    found = []
    for text in texts:
        fields = plain_fields(text)
        if fields is None:
            return None
        found.append(fields)
    return found


def is_usual(text: str | None, fields: JsonObject) -> bool:
    """Return whether *fields*, decoded from *text*, are those of a record in the usual form.

    Without a *text* they come from elsewhere, with names that are all different.
    """
    try:
        return _has_usual_fields(text, fields)
    except _ODD:
        return False


def are_usual(text: str, records: Sequence[JsonObject]) -> bool:
    """Return whether all *records*, decoded from *text*, have the usual form; faster than one by one."""
    try:
        return _have_usual_fields(text, records)
    except _ODD:
        return False


def _has_usual_fields(text: str | None, fields: JsonObject) -> bool:
    # fmt: off
    (
        artifact_id, session_id, sandbox_id, key, mime, summary, sha256, stored, updated, storage, catalog, filename,
        end, meta, size, revision, ttl, superseded, released, pending,
    ) = _VALUES(fields)
    # fmt: on
    texts = _ALWAYS_TEXTS + (end is not None) + (filename is not None)
    _check_moments(stored, updated, end)
    if len(fields) != _COUNT:
        _check_origin(fields)
        texts += _ORIGIN_TEXTS
    first = grid.beginnings(sandbox_id, session_id)[1] + artifact_id
    if superseded:
        texts += _texts_of_earlier(superseded, first)
    digits = artifact_id + sha256
    shown = mime + storage + catalog
    return (
        (_can_be_encoded(summary, filename, meta) if text is None else text.count('"') == _quotes(text, texts, meta))
        and type(meta) is dict
        and type(summary) is str
        and type(superseded) is list
        and released is False
        and pending is None
        and type(size) is type(revision) is int
        and (ttl is None or (type(ttl) is float and 0 <= ttl <= LAST_MOMENT))
        and 0 <= size <= LARGEST
        and 0 < revision <= LARGEST
        and len(artifact_id) == _ID_DIGITS
        and len(bytes.fromhex(digits)) * 2 == len(digits) == _ID_DIGITS + _HASH_DIGITS
        and digits == digits.lower()
        and shown.isascii()
        and shown.isprintable()
        and "/" in mime
        and is_own(key, first)
        and (filename is None or _is_plain(filename))
    )


def _check_moments(stored: str, updated: str, end: str | None) -> None:
    """Raise one of :data:`_ODD` if a time of a record is not in the usual form."""
    check_moment(stored)
    if updated != stored:
        check_moment(updated)
    if end is not None:
        check_moment(end)


def _have_usual_fields(text: str, records: Sequence[JsonObject]) -> bool:
    # fmt: off
    (
        ids, sessions, sandboxes, keys, mimes, summaries, hashes, stored, updated, storages, catalogs, filenames,
        ends, metas, sizes, revisions, ttls, superseded, released, pending,
    ) = zip(*map(_VALUES, records), strict=True)
    # fmt: on
    moments = {*stored, *updated, *ends} - {None}
    for moment in moments:
        datetime.fromisoformat(moment)
    names = [name for name in filenames if name is not None]
    texts = _ALWAYS_TEXTS * len(records) + len(names) + len(ends) - ends.count(None)
    if {*map(len, records)} != {_COUNT}:
        texts += _texts_of_origins(records)
    digits = "".join(ids) + "".join(hashes)
    prefixes = {session: grid.beginnings(*session)[1] for session in {*zip(sandboxes, sessions, strict=True)}}
    owners = zip(keys, ids, zip(sandboxes, sessions, strict=True), strict=True)
    return (
        text.count('"') == _quotes(text, texts, *metas)
        and {*map(type, metas)} == {dict}
        and {*map(type, summaries)} == {str}
        and {*map(type, superseded)} == {list}
        and {*map(type, released)} == {bool}
        and {*map(type, (*sizes, *revisions))} == {int}
        and {*map(type, ttls)} <= {float, type(None)}
        and all(ttl is None or 0 <= ttl <= LAST_MOMENT for ttl in {*ttls})
        and not any(superseded)
        and not any(released)
        and {*pending} == {None}
        and min(sizes) >= 0
        and min(revisions) > 0
        and max(*sizes, *revisions) <= LARGEST
        and all(map(_is_timestamp, moments))
        and {*map(len, ids)} == {_ID_DIGITS}
        and len(bytes.fromhex(digits)) * 2 == len(digits) == (_ID_DIGITS + _HASH_DIGITS) * len(records)
        and digits == digits.lower()
        and all(shown.isascii() and shown.isprintable() for shown in {*mimes, *storages, *catalogs})
        and all("/" in mime for mime in {*mimes})
        and all(is_own(key, prefixes[session] + artifact_id) for key, artifact_id, session in owners)
        and (not names or _are_plain(names))
    )


def _texts_of_earlier(superseded: Sequence[Sequence[Any]], first: str) -> int:
    """Return the number of strings in the superseded contents of the artifact whose first key is *first*.

    Raises:
        ValueError: one of them is not in the usual form; other exceptions of :data:`_ODD` mean the same.

    """
    keys, untils, sizes, kept, revisions, lasts, hashes, mimes, filenames, stored = zip(*superseded, strict=True)
    for moment in {*untils, *stored}:
        check_moment(moment)
    names = [name for name in filenames if name is not None]
    digits, shown = "".join(hashes), "".join(mimes)
    if not (
        {*map(type, superseded)} == {list}
        and {*map(type, kept)} == {bool}
        and {*map(type, (*sizes, *revisions, *lasts))} == {int}
        and min(sizes) >= 0
        and min(revisions) > 0
        and max(*sizes, *lasts) <= LARGEST
        and all(map(le, revisions, lasts))
        and {*map(len, hashes)} == {_HASH_DIGITS}
        and len(bytes.fromhex(digits)) * 2 == len(digits)
        and digits == digits.lower()
        and shown.isascii()
        and shown.isprintable()
        and all("/" in mime for mime in {*mimes})
        and all(is_own(key, first) for key in keys)
        and (not names or _are_plain(names))
    ):
        raise ValueError("a superseded content needs a closer look")
    return _EARLIER_TEXTS * len(superseded) + len(names)


def _texts_of_origins(records: Sequence[JsonObject]) -> int:
    """Return the number of strings and names in the origins of *records*; raise as :func:`_check_origin`."""
    changed = [fields for fields in records if len(fields) != _COUNT]
    for fields in changed:
        _check_origin(fields)
    return _ORIGIN_TEXTS * len(changed)


def _check_origin(fields: JsonObject) -> None:
    """Raise ``ValueError`` unless the one field beside :data:`_NAMES` is an origin in the usual form."""
    revision, stored_at, keep_versions = fields["origin"]
    check_moment(stored_at)
    numbers = (revision,) if keep_versions is None else (revision, keep_versions)
    if (
        len(fields) != _COUNT + 1
        or type(fields["origin"]) is not list
        or {*map(type, numbers)} != {int}
        or not 0 <= min(numbers) <= max(numbers) <= LARGEST
    ):
        raise ValueError("more fields than an origin, or one that needs a closer look")


@functools.lru_cache(maxsize=4096)
def check_moment(moment: str) -> None:
    """Raise ``ValueError`` if a moment is not in the form of :func:`~chuk_artifacts.models.timestamp`."""
    datetime.fromisoformat(moment)
    if not _is_timestamp(moment):
        raise ValueError(f"{moment!r:.80} is not a timestamp")


def _is_timestamp(moment: str) -> bool:
    """Return whether a moment that ``fromisoformat`` accepts is in our form of it."""
    return moment[4:11:3] + moment[13:20:3] + moment[26:] == "--T::.+00:00"


def is_own(key: str, first: str) -> bool:
    """Return whether *key* is *first*, the key of an artifact's first content, or the key of a later one."""
    return key == first or (key.startswith(first) and grid.is_later(key[len(first) :]))


def _is_plain(filename: str) -> bool:
    """Return whether a string is a filename in the usual form."""
    return (
        filename.isprintable()
        and len(filename) <= _SHORT_NAME
        and ".." not in filename
        and filename[0] not in _ENDS
        and filename[-1] not in _ENDS
        and filename[1:2] != ":"
    )


def _are_plain(filenames: Sequence[str]) -> bool:
    """Return whether all strings are filenames in the usual form."""
    return (
        "".join(filenames).isprintable()
        and ".." not in "\n".join(filenames)
        and max(map(len, filenames)) <= _SHORT_NAME
        and _ENDS.isdisjoint([end for name in filenames for end in (name[0], name[-1])])
        and ":" not in {name[1:2] for name in filenames}
    )


def _quotes(text: str, texts: int, *metas: JsonObject) -> int:
    """Return the number of quotes in a JSON text without duplicate names. With duplicates it would contain more.

    Args:
        text: the JSON.
        texts: the number of strings and names in it, apart from those in *metas*.
        metas: the JSON objects of callers in it.

    Raises:
        ValueError: escapes make it unclear, a string can't be encoded, or an object is invalid.

    """
    if not text.isascii():
        text.encode()
    quotes = 2 * texts
    for meta in metas:
        if meta:
            quotes += quotes_in(meta)
    if "\\" in text:
        if "\\\\" in text or "\\u" in text:  # an escape may be half of a surrogate pair
            raise ValueError("a closer look is needed")
        quotes += text.count('\\"')
    return quotes


def _can_be_encoded(summary: str, filename: str | None, meta: JsonObject) -> bool:
    """Return whether it is clear that they can be written as JSON in UTF-8; raise as :func:`_quotes`."""
    f"{summary}{filename}".encode()
    quotes_in(meta)
    return not meta or "\\ud" not in f"{meta}"  # as Python shows half of a surrogate pair


def quotes_in(value: Any, levels: int = _DEEPEST) -> int:
    """Return the number of quotes around names and strings in a JSON object or list.

    Raises:
        ValueError: it is nested too deep, or a number is not finite.

    """
    if levels == 0:
        raise ValueError(f"nested deeper than {_DEEPEST} levels")
    quotes = 0
    if type(value) is dict:
        quotes, value = 2 * len(value), value.values()
    for one in value:
        kind = type(one)
        if kind is str:
            quotes += 2
        elif kind is dict or kind is list:
            quotes += quotes_in(one, levels - 1)
        elif kind is float and one - one:  # NaN if it is infinite
            raise ValueError("a number is not finite")
    return quotes
