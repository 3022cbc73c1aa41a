"""Many ranges of many files at once: each file is looked up once, and read in parallel where its storage is remote."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO

import attrs

from chuk_artifacts.errors import ArtifactStoreError, InvalidInputError
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations import reading
from chuk_artifacts.operations.scope import Scope

Outcome = bytes | Exception

_FAILURES = (ArtifactStoreError, OSError)


def bound(name: str, value: Any) -> int | None:
    """Return the start or end of a slice as a plain int, or None.

    Raises:
        InvalidInputError: *value* is neither an int nor None.

    """
    if value is None or type(value) is int:
        return value
    try:
        return int(operator.index(value))
    except TypeError:
        raise InvalidInputError(f"{name} must be an int, not {type(value).__name__}") from None


@attrs.frozen
class Range:
    """A requested range of a file.

    Attributes:
        index: its index among all requests.
        start: the first byte, as in a slice.
        end: the byte after the last, as in a slice.

    """

    index: int
    start: int | None
    end: int | None

    def within(self, size: int) -> tuple[int, int]:
        """Return its start and length in a file of *size* bytes."""
        begin, stop, _ = slice(self.start, self.end).indices(size)
        return begin, max(stop - begin, 0)


@attrs.frozen
class _Portion:
    """Ranges of one file, in their order, which one open file reads."""

    found: ArtifactMetadata
    ranges: list[Range]


def read_ranges(
    scope: Scope, wanted: Mapping[str, list[Range]], find: Callable[[str], ArtifactMetadata], *, exact: bool = False
) -> list[Outcome]:
    """Return the bytes of ranges of files, or the errors, in the order of their indices.

    Args:
        scope: where the files are.
        wanted: the ranges of each file, by path.
        find: returns the artifact of a path, or raises.
        exact: whether the bytes of a later revision are no substitute.

    """
    core = scope.core
    count = sum(map(len, wanted.values()))
    share = -(-count // core.side_by_side(0))  # ranges are short, mostly
    outcomes: dict[int, Outcome] = {}
    portions: list[_Portion] = []
    files = core.each(partial(_found, find), list(wanted), lambda _: 0)
    for found, ranges in zip(files, wanted.values(), strict=True):
        if isinstance(found, Exception):
            outcomes.update((one.index, found) for one in ranges)
        else:
            portions += _portions(found, ranges, share)
    for read in core.each(partial(_read_portion, scope, exact), portions, lambda _: 0):
        outcomes.update(read)
    return [outcomes[index] for index in range(count)]


def _found(find: Callable[[str], ArtifactMetadata], path: str) -> ArtifactMetadata | Exception:
    try:
        return find(path)
    except _FAILURES as error:
        return error


def _portions(found: ArtifactMetadata, ranges: list[Range], share: int) -> Iterator[_Portion]:
    """Yield the ranges of a file in portions of at most *share*."""
    ordered = sorted(ranges, key=lambda one: one.within(found.bytes))
    for begin in range(0, len(ordered), share):
        yield _Portion(found, ordered[begin : begin + share])


def _read_portion(scope: Scope, exact: bool, portion: _Portion) -> dict[int, Outcome]:  # noqa: FBT001 - for partial
    try:
        start, _ = portion.ranges[0].within(portion.found.bytes)
        found, file = reading.open_record(scope, portion.found, start=start, exact=exact)
    except _FAILURES as error:
        return {one.index: error for one in portion.ranges}
    with file:
        return {one.index: _read(file, *one.within(found.bytes)) for one in portion.ranges}


def _read(file: BinaryIO, begin: int, length: int) -> Outcome:
    try:
        file.seek(begin)
        return file.read(length)
    except _FAILURES as error:
        return error
