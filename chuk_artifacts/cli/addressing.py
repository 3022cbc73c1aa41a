"""Addresses: an artifact by its id, by a unique prefix of it, or by session and filename."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
from click.shell_completion import CompletionItem

from chuk_artifacts import (
    ArtifactMetadata,
    ArtifactNotFoundError,
    ArtifactStore,
    ArtifactStoreError,
    InvalidInputError,
    grid,
)
from chuk_artifacts.cli.opening import chosen, open_store
from chuk_artifacts.cli.values import ParamType
from chuk_artifacts.errors import ArtifactExpiredError, shown
from chuk_artifacts.settings import overridden

if TYPE_CHECKING:
    import click

_LEAST_DIGITS = 4
_TAG_DIGITS = 8
_ID_DIGITS = 32
_SHOWN = 10
_LOOKED_AT = 1000  # sessions that a hint may look at
_MOST_COMPLETIONS = 100


@attrs.frozen
class Selection:
    """Several artifacts of one session, or a single one.

    Attributes:
        session_id: the session.
        prefix: what the filenames begin with.
        folder: the part of the filenames that names the folder of all, empty or with a slash at its end.
        found: the artifacts, ordered by filename.
        is_many: whether the address named several: a session, a folder or a prefix.

    """

    session_id: str
    prefix: str
    folder: str
    found: tuple[ArtifactMetadata, ...]
    is_many: bool


class Address(ParamType):
    """An address, completed by the shell: sessions first, then filenames."""

    name = "address"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the sessions, or after a slash the filenames, that begin with *incomplete*."""
        return [CompletionItem(found) for found in _completions(ctx, incomplete)]


class Session(Address):
    """A session id, completed by the shell."""

    name = "session"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the sessions that begin with *incomplete*."""
        return [CompletionItem(found) for found in _sessions(ctx, incomplete)]


def find(store: ArtifactStore, address: str) -> ArtifactMetadata:
    """Return the artifact at an address.

    Args:
        store: the store.
        address: an id, a prefix of at least 4 digits that no other id has, or ``session/filename``.

    Raises:
        ArtifactNotFoundError: there is no such artifact. The message says where there is one of that name.
        ArtifactExpiredError: the artifact has expired.
        InvalidInputError: several ids begin with the prefix; the message lists them. Or the name is that of a folder.

    """
    session_id, is_path, filename = address.partition("/")
    if is_path:
        return _by_name(store, session_id, filename)
    if re.fullmatch(r"[0-9a-f]{4,31}", address):
        return _by_prefix(store, address)
    if grid.is_artifact_id(address):
        return store.metadata(address)
    raise ArtifactNotFoundError(f"no artifact {shown(address)}{_hint(store, address)}")


def select(store: ArtifactStore, address: str) -> Selection:
    """Return the artifacts at an address, which may also be a session or a folder.

    Args:
        store: the store.
        address: as for :func:`find`; ``session/`` is a whole session, ``session/folder/`` all below a folder, and
            ``session/prefix*`` all whose filenames begin with the prefix.

    Raises:
        ArtifactNotFoundError: there is none.
        ArtifactExpiredError: see :func:`find`.
        InvalidInputError: see :func:`find`.

    """
    session_id, is_path, rest = address.partition("/")
    if not is_path or (rest and not rest.endswith(("/", "*"))):
        found = find(store, address)
        folder = (found.filename or "").rpartition("/")[0]
        return Selection(found.session_id, found.filename or "", folder and f"{folder}/", (found,), is_many=False)
    prefix = rest.removesuffix("*")
    artifacts = tuple(store.iter_session(session_id, prefix=prefix))
    if not artifacts:
        what = f"file that begins with {shown(prefix)}" if prefix else "file"
        raise ArtifactNotFoundError(f"no {what} in session {shown(session_id)}{_unless_known(store, session_id)}")
    folder = prefix[: prefix.rfind("/") + 1]
    return Selection(session_id, prefix, folder, artifacts, is_many=True)


def destination(source: ArtifactMetadata, address: str) -> str:
    """Return the filename that the destination of a copy or a move names.

    Args:
        source: what is copied.
        address: ``session/filename``, or ``session/folder/`` to keep the last segment of the filename.

    Raises:
        InvalidInputError: it is not in the session of *source*.

    """
    session_id, is_path, filename = address.partition("/")
    if not is_path:
        filename, session_id = session_id, source.session_id
    if session_id != source.session_id:
        raise InvalidInputError(
            f"{address!r} is in session {session_id!r}, and files stay in their session:"
            f" write {source.session_id}/{address} for a file there"
        )
    if not filename or filename.endswith("/"):
        filename += (source.filename or source.artifact_id).rpartition("/")[2]
    return filename


def session_ids(store: ArtifactStore) -> Iterator[str]:
    """Iterate over the ids of the sessions."""
    yield from dict.fromkeys(info.session_id for info in store.iter_sessions())


def must_exist(store: ArtifactStore, session_id: str) -> None:
    """Raise ``ArtifactNotFoundError`` if there is no such session."""
    if not store.validate_session(session_id):
        raise ArtifactNotFoundError(f"no session {shown(session_id)}; chuk-artifacts sessions ls lists all")


def _by_name(store: ArtifactStore, session_id: str, filename: str) -> ArtifactMetadata:
    found = store.lookup(filename, session_id) if filename and not filename.endswith("/") else None
    if found is not None:
        return found
    if any(True for _ in store.iter_session(session_id, prefix=f"{filename.rstrip('/')}/" if filename else "")):
        if not filename or filename.endswith("/"):
            raise InvalidInputError(f"{session_id}/{filename} means several files: name one of them")
        folder = f"{session_id}/{filename}".rstrip("/")
        raise InvalidInputError(f"{folder!r} is a folder: write {folder}/, with rm -r {folder}/, for all files in it")
    place = f"no file {shown(filename)} in session {shown(session_id)}"
    raise ArtifactNotFoundError(place + (_hint(store, filename) or _unless_known(store, session_id)))


def _by_prefix(store: ArtifactStore, prefix: str) -> ArtifactMetadata:
    found = []
    for session_id in session_ids(store):
        if not grid.slot_tag(store.sandbox_id, session_id).startswith(prefix[:_TAG_DIGITS]):
            continue  # no id in it begins so
        found += [one for one in store.iter_session(session_id) if one.artifact_id.startswith(prefix)]
        if len(found) > _SHOWN:
            break
    if len(found) == 1:
        return found[0]
    if not found:
        raise ArtifactNotFoundError(f"no artifact {shown(prefix)}{_hint(store, prefix)}")
    listed = ", ".join(f"{one.artifact_id} ({one.session_id}/{one.filename or '-'})" for one in found[:_SHOWN])
    more = ", …" if len(found) > _SHOWN else ""
    raise InvalidInputError(f"{prefix!r} begins the ids of several files: {listed}{more}")


def _hint(store: ArtifactStore, filename: str) -> str:
    """Return where there is a file of that name, for the end of a message; empty if it is nowhere."""
    for number, session_id in enumerate(session_ids(store)):
        if number >= _LOOKED_AT:
            break
        if session_id == filename:
            return f"; it is a session: write {session_id}/ for all its files, or {session_id}/NAME"
        with suppress(InvalidInputError, ArtifactExpiredError):
            if store.lookup(filename, session_id) is not None:
                return f"; there is a file of that name in session {session_id}: write {session_id}/{filename}"
    return ""


def _unless_known(store: ArtifactStore, session_id: str) -> str:
    return "" if store.validate_session(session_id) else "; there is no such session"


def _completions(context: click.Context, incomplete: str) -> list[str]:
    """Return the sessions or filenames that begin with *incomplete*; none where there is no store.

    A single folder is replaced by what is in it: shells add a space after what they complete alone.
    """
    found: list[str] = []
    with suppress(ArtifactStoreError, OSError), overridden(chosen(context)), open_store(must_exist=True) as store:
        found = _beginning(store, incomplete)
        while len(found) == 1 and found[0].endswith("/"):
            inner = _beginning(store, found[0])
            if not inner:
                break
            found = inner
    return found


def _beginning(store: ArtifactStore, incomplete: str) -> list[str]:
    session_id, is_path, prefix = incomplete.partition("/")
    if not is_path:
        return sorted(f"{one}/" for one in session_ids(store) if one.startswith(session_id))[:_MOST_COMPLETIONS]
    folder, _, name = prefix.rpartition("/")
    folders, files = store.list_directory(session_id, folder)
    names = [f"{one}/" for one in folders]
    names += dict.fromkeys((one.filename or "").rpartition("/")[2] for one in files if one.filename)
    start = f"{session_id}/{folder}/" if folder else f"{session_id}/"
    return [start + one for one in names if one.startswith(name)][:_MOST_COMPLETIONS]


def _sessions(context: click.Context, incomplete: str) -> list[str]:
    with suppress(ArtifactStoreError, OSError), overridden(chosen(context)), open_store(must_exist=True) as store:
        return sorted(one for one in session_ids(store) if one.startswith(incomplete))[:_MOST_COMPLETIONS]
    return []
