"""The pages: what each one shows, and the templates that it is rendered with."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import attrs
from jinja2 import Environment, PackageLoader

from chuk_artifacts.browse import previews
from chuk_artifacts.errors import ArtifactNotFoundError, InvalidInputError, shown
from chuk_artifacts.human import expiry_text, moment_text, size_text
from chuk_artifacts.models import ArtifactMetadata, ArtifactVersion
from chuk_artifacts.operations import listing
from chuk_artifacts.store import ArtifactStore

if TYPE_CHECKING:
    from starlette.requests import Request

_PACKAGE = "chuk_artifacts.browse"
_PAGE = 100
_LAST_PAGE = 100_000
_TIMES = ("after", "before")
T = TypeVar("T")


@attrs.frozen
class Entry:
    """A line of a listing: a folder or a file.

    Attributes:
        name: what is shown.
        url: where it leads.
        record: the file; None for a folder.
        thumbnail: the URL of a small picture, or None.

    """

    name: str
    url: str
    record: ArtifactMetadata | None = None
    thumbnail: str | None = None


class Pages:
    """The pages of a store, each as HTML for a request.

    Args:
        store: the store. Bound to a session, all pages are of that session.

    """

    def __init__(self, store: ArtifactStore) -> None:
        """Keep the store."""
        self._store = store
        self._session = store.scope.session_id

    def start(self, request: Request) -> str:
        """Return the list of sessions, or the files of a bound store's session."""
        if self._session is not None:
            return self.folder(request)
        user, page = _given(request, "user"), _number(request, "page", 1)
        sessions = self._store.iter_sessions(user_id=user, page_size=_PAGE)
        found, has_more = _first(islice(sessions, (page - 1) * _PAGE, None))
        usages = [self._store.usage(info.session_id) for info in found]
        return render(
            "sessions.html",
            request,
            title="Sessions",
            total=self._store.usage(),
            sessions=list(zip(found, usages, strict=True)),
            largest=max((usage.bytes for usage in usages), default=0),
            user=user,
            previous=_link("", user=user, page=page - 1) if page > 1 else None,
            next=_link("", user=user, page=page + 1) if has_more else None,
        )

    def folder(self, request: Request) -> str:
        """Return the folders and files of one folder of a session."""
        session_id = self._session_of(request)
        info = self._store.get_session_info(session_id)
        if info is None and self._session is None:
            raise ArtifactNotFoundError(f"no session {shown(session_id)}")
        folder = (_given(request, "in") or "").strip("/")
        prefix = f"{folder}/" if folder else ""
        found, has_more = _first(listing.level(self._store.scope, session_id, prefix, _place(request)))
        last = listing.behind(found[-1], prefix) if found else ("", "")
        return render(
            "folder.html",
            request,
            title=folder or session_id,
            session=session_id,
            info=info,
            facts=json.dumps(info.custom_metadata, ensure_ascii=False) if info and info.custom_metadata else "",
            usage=self._store.usage(session_id),
            trail=_trail(session_id, folder),
            entries=[_entry(session_id, prefix, record) for record in found],
            next=_link("folder", session=session_id, **{"in": folder}, name=last[0], id=last[1]) if has_more else None,
        )

    def file(self, request: Request) -> str:
        """Return what is known of a file, and a preview of it or of an earlier content."""
        artifact_id, asked = content_of(request)
        record = self._store.metadata(artifact_id)
        versions = self._store.versions(artifact_id)
        described = record if asked is None else version_of(versions, asked)
        folder = listing.shown_name(record).rpartition("/")[0]
        return render(
            "file.html",
            request,
            title=listing.shown_name(record),
            record=record,
            meta=json.dumps(record.meta, indent=2, ensure_ascii=False) if record.meta else "",
            versions=versions,
            revision=asked,
            preview=previews.preview(self._store, artifact_id, described, asked),
            content=_link("content", id=artifact_id, revision=asked),
            trail=_trail(record.session_id, folder),
        )

    def search(self, request: Request) -> str:
        """Return a form to search with, and what it found."""
        asked = {name: _given(request, name) for name in ("session", "prefix", "mime", "meta", "user", *_TIMES)}
        found: list[ArtifactMetadata] = []
        has_more = False
        if any(asked.values()):
            found, has_more = _first(self._found(asked))
        return render(
            "search.html",
            request,
            title="Search",
            asked=asked,
            is_asked=any(asked.values()),
            is_bound=self._session is not None,
            entries=[_entry(record.session_id, "", record, whole=True) for record in found],
            has_more=has_more,
        )

    def _found(self, asked: Mapping[str, str | None]) -> Iterator[ArtifactMetadata]:
        times = {name: f"{asked[name]}T00:00:00+00:00" if asked[name] else None for name in _TIMES}
        return self._store.search(
            asked["session"] if self._session is None else None,
            prefix=asked["prefix"] or "",
            mime=asked["mime"],
            meta=_meta(asked["meta"]),
            stored_after=times["after"],
            stored_before=times["before"],
            user_id=asked["user"],
            limit=_PAGE + 1,
        )

    def _session_of(self, request: Request) -> str:
        if self._session is not None:
            return self._session
        session_id = _given(request, "session")
        if session_id is None:
            raise InvalidInputError("the session is missing in the URL")
        return session_id


def render(template: str, request: Request, **values: Any) -> str:
    """Return a page as HTML.

    Args:
        template: the name of its template.
        request: the request, whose URL the links begin with.
        values: what the template shows.

    """
    root = request.scope.get("root_path", "")
    return _templates().get_template(template).render(root=f"{root}/", link=_link, **values)


def style() -> str:
    """Return the style sheet."""
    return importlib.resources.files(_PACKAGE).joinpath("templates/style.css").read_text("utf-8")


@functools.cache
def _templates() -> Environment:
    found = Environment(loader=PackageLoader(_PACKAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    found.filters |= {
        "size": size_text,
        "expiry": expiry_text,
        "moment": lambda moment: moment_text(moment).replace("T", " "),
    }
    return found


def _link(page: str, /, **query: object) -> str:
    """Return the URL of a page, relative to the first one."""
    given = {name: value for name, value in query.items() if value not in {None, ""}}
    return f"{page}?{urlencode(given)}" if given else page or "."


def content_of(request: Request) -> tuple[str, int | None]:
    """Return the artifact and the revision that a request asks for; None is the current content."""
    return _given(request, "id") or "", _number(request, "revision", 0) or None


def _given(request: Request, name: str) -> str | None:
    return request.query_params.get(name) or None


def _number(request: Request, name: str, default: int) -> int:
    text = _given(request, name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= _LAST_PAGE:
        raise InvalidInputError(f"{name} must be a number from 1 to {_LAST_PAGE}: {shown(text)}")
    return int(text)


def _place(request: Request) -> tuple[str, str] | None:
    """Return the place that a page of a folder begins behind."""
    name, artifact_id = _given(request, "name"), _given(request, "id")
    return None if name is None and artifact_id is None else (name or "", artifact_id or "")


def _first(found: Iterator[T]) -> tuple[list[T], bool]:
    """Return the first page of results, and whether there are more."""
    page = list(islice(found, _PAGE + 1))
    return page[:_PAGE], len(page) > _PAGE


def _entry(session_id: str, prefix: str, record: ArtifactMetadata, *, whole: bool = False) -> Entry:
    name = listing.shown_name(record)
    inner = "" if whole else listing.inner_folder(name, prefix)
    if inner:
        return Entry(inner[len(prefix) :], _link("folder", session=session_id, **{"in": inner[:-1]}))
    thumbnail = _link("content", id=record.artifact_id) if previews.has_thumbnail(record) else None
    return Entry(name[len(prefix) :], _link("file", id=record.artifact_id), record, thumbnail)


def _trail(session_id: str, folder: str) -> list[tuple[str, str]]:
    """Return the names and URLs of a session and of the folders down to *folder*."""
    trail = [(session_id, _link("folder", session=session_id))]
    path = ""
    for name in folder.split("/") if folder else ():
        path = f"{path}/{name}" if path else name
        trail.append((name or "/", _link("folder", session=session_id, **{"in": path})))
    return trail


def version_of(versions: Sequence[ArtifactVersion], revision: int) -> ArtifactVersion:
    """Return the version that began with a revision.

    Raises:
        ArtifactNotFoundError: there is none.

    """
    for version in versions:
        if version.revision == revision:
            return version
    raise ArtifactNotFoundError(f"no content of revision {revision}")


def _meta(text: str | None) -> dict[str, object] | None:
    """Return ``name=value``, or ``name:=JSON``, as metadata."""
    if text is None:
        return None
    name, separator, value = text.partition("=")
    if not separator or name in {"", ":"}:
        raise InvalidInputError(f"metadata must be of the form name=value: {shown(text)}")
    if not name.endswith(":"):
        return {name: value}
    try:
        return {name[:-1]: json.loads(value)}
    except ValueError:
        raise InvalidInputError(f"the value is not JSON: {shown(value)}") from None
