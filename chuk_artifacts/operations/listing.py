"""Listing the artifacts of a session, by page or by filename."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from chuk_artifacts import arguments
from chuk_artifacts.catalog import place
from chuk_artifacts.core import Core
from chuk_artifacts.errors import ArtifactStoreError
from chuk_artifacts.listings import Listing, Thumbnails
from chuk_artifacts.log import log as _log
from chuk_artifacts.media import IMAGES, plain_type
from chuk_artifacts.models import ArtifactMetadata
from chuk_artifacts.operations.calls import operation, operation_of
from chuk_artifacts.operations.finding import age, artifacts, public
from chuk_artifacts.operations.reading import retrieve_batch
from chuk_artifacts.operations.scope import Scope

PAGE_SIZE = 1000
_THUMBNAILS = 12
_THUMBNAIL_BYTES = 64 * 1024
_FIRST_PAGE = 128
_WASTE = 8  # a later page is at most this part of what was read before: what is in an inner folder is read in vain
_PAGE_BEHIND_A_FOLDER = 16  # the next name is a folder as well, mostly


@operation_of("iter_session")
def pages(
    scope: Scope,
    session_id: str | None,
    *,
    prefix: str = "",
    start: str = "",
    page_size: int = PAGE_SIZE,
) -> Iterator[ArtifactMetadata]:
    """Iterate over the artifacts of a session, one page of the catalog at a time.

    See :meth:`ArtifactStore.iter_session`.
    """
    return _listing(scope, scope.session(session_id), prefix, None, page_size, after=(start, "") if start else None)


@operation_of("list_files")
def listed(scope: Scope, session_id: str | None, prefix: str, limit: int | None) -> Listing[ArtifactMetadata]:
    """Return the artifacts of a session whose filenames begin with *prefix*, at most *limit*."""
    return Listing(_listing(scope, scope.session(session_id), prefix, limit, PAGE_SIZE), _thumbnails_of(scope))


@operation
def lookup(scope: Scope, session_id: str | None, filename: str) -> ArtifactMetadata | None:
    """Return the newest artifact of a session with a filename; see :meth:`ArtifactStore.lookup`."""
    session_id, filename = scope.session(session_id), arguments.check_filename(filename)
    _log.debug("lookup %s %s", session_id, filename)
    core = scope.core
    found = artifacts(scope, core.catalog.named(session_id, filename, core.clock()))
    return public(core, max(found, key=age)) if found else None


@operation_of("list_directory")
def directory(scope: Scope, session_id: str | None, folder: str) -> tuple[list[str], Listing[ArtifactMetadata]]:
    """Return the folders and the artifacts directly in a folder; see :meth:`ArtifactStore.list_directory`."""
    folder = arguments.check_text("directory", folder).rstrip("/")
    prefix = f"{folder}/" if folder else ""
    folders: list[str] = []
    files = Listing[ArtifactMetadata]((), _thumbnails_of(scope))
    for record in _first_of_each(scope, scope.session(session_id), prefix):
        inner = inner_folder(shown_name(record), prefix)
        if inner:
            folders.append(inner[len(prefix) : -1])
        else:
            files.append(record)
    return folders, files


@operation
def level(
    scope: Scope, session_id: str | None, prefix: str, after: tuple[str, str] | None = None
) -> Iterator[ArtifactMetadata]:
    """Iterate over the artifacts directly in a folder, and over the first artifact of each folder in it.

    The cost depends on the number of results, not on the contents of the inner folders.

    Args:
        scope: the scope of the session.
        session_id: the session.
        prefix: the folder with its last slash; empty: the top of the session.
        after: the place behind which to begin, see :func:`behind`; None: at the beginning.

    """
    if after is not None:
        after = arguments.check_text("after", after[0]), arguments.check_text("after", after[1])
    return _first_of_each(scope, scope.session(session_id), arguments.check_text("directory", prefix), after)


def behind(record: ArtifactMetadata, prefix: str) -> tuple[str, str]:
    """Return the place behind a record of :func:`level`, or behind the folder that it stands for."""
    inner = inner_folder(shown_name(record), prefix)
    return (_end_of(inner), "") if inner else place(record)


def shown_name(record: ArtifactMetadata) -> str:
    """Return the filename of an artifact, or else its id."""
    return record.filename or record.artifact_id


def inner_folder(name: str, prefix: str) -> str:
    """Return the folder directly below *prefix* that contains *name*, with its last slash, or an empty string.

    A segment has at least one character: in ``a//b`` the file ``/b`` is in the folder ``a``.
    """
    return name[: name.find("/", len(prefix) + 1) + 1]


def _end_of(folder: str) -> str:
    """Return the first text behind all filenames in a folder."""
    return f"{folder[:-1]}0"  # "0" follows the slash


def _thumbnails_of(scope: Scope) -> Thumbnails:
    """Return a function that reads small images of a session when a notebook shows them, while the store is open."""
    return partial(_thumbnails, weakref.ref(scope.core), scope.session_id)


def _thumbnails(
    core: Callable[[], Core | None], session_id: str | None, records: Sequence[Mapping[str, Any]]
) -> Mapping[str, bytes]:
    """Return the content of the first small images, by artifact id; of none where one can't be read."""
    images = [one for one in records if plain_type(one["mime"]) in IMAGES and one["bytes"] <= _THUMBNAIL_BYTES]
    ids = [one["artifact_id"] for one in images[:_THUMBNAILS]]
    store = core()
    if store is None or not ids:
        return {}
    try:
        return dict(zip(ids, retrieve_batch(Scope(store, session_id), ids), strict=True))
    except ArtifactStoreError:
        return {}


def _first_of_each(
    scope: Scope, session_id: str, prefix: str, after: tuple[str, str] | None = None
) -> Iterator[ArtifactMetadata]:
    size = _FIRST_PAGE
    while True:
        found = _listing(scope, session_id, prefix, None, size, after=after, waste=_WASTE)
        start = ""
        while page := list(islice(found, size)):
            for record in page:
                name = shown_name(record)
                if name < start:  # in the folder that was returned last
                    continue
                yield record
                inner = inner_folder(name, prefix)
                start = _end_of(inner) if inner else ""
            if len(page) < size:
                return
            if start:  # skip the rest of this folder
                after = start, ""
                break
        else:
            return
        size = _PAGE_BEHIND_A_FOLDER


def _listing(
    scope: Scope,
    session_id: str,
    prefix: str,
    limit: int | None,
    page_size: int,
    *,
    after: tuple[str, str] | None = None,
    waste: int | None = None,
) -> Iterator[ArtifactMetadata]:
    """Iterate over the artifacts of a session; with *waste*, later pages grow up to that part of what was read."""
    read = 0
    if after is not None and after[0] < prefix:
        after = None
    remaining = limit
    while remaining is None or remaining > 0:
        scope.check_open()  # the store may have been closed since the last page
        core = scope.core
        wanted = page_size if remaining is None else min(remaining, page_size)
        page = core.catalog.page(session_id, prefix=prefix, after=after, limit=wanted, now=core.clock())
        seen = artifacts(scope, page)
        yield from map(partial(public, core), seen) if core.catalog.returns_live_objects else seen
        if len(page) < wanted:
            return
        after = place(page[-1])
        remaining = None if remaining is None else remaining - len(seen)
        read += len(page)
        if waste is not None:
            page_size = min(max(page_size, read // waste), PAGE_SIZE)
