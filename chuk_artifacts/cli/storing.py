"""The command put."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from chuk_artifacts import ArtifactMetadata, ArtifactStore, ConflictError, InvalidInputError
from chuk_artifacts.cli.addressing import Session
from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.progress import Watched, progress, size_of
from chuk_artifacts.cli.tables import Column, form_options, id_text, is_terminal, print_rows
from chuk_artifacts.cli.values import NEVER, Duration, examples, pairs
from chuk_artifacts.errors import shown
from chuk_artifacts.human import expiry_text, moment_text, size_text

STANDARD_INPUT = "-"
_NAMES = ("artifact_id", "session_id", "bytes", "expires_at", "mime", "filename", "sha256")


@attrs.frozen
class _File:
    """A file to store: its path, or ``-``, and its filename in the store."""

    path: str
    filename: str | None


@attrs.frozen
class _Terms:
    """How files are stored; see :func:`put`."""

    session_id: str
    described: dict[str, Any]
    ttl: float | None
    exclusive: bool
    replace: bool


@click.command(
    epilog=examples(
        "chuk-artifacts put report.pdf --session demo --ttl 7d",
        "chuk-artifacts put -r docs --session demo --meta team=blue",
        "date | chuk-artifacts put - --name date.txt --session demo",
    )
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-r", "--recursive", is_flag=True, help="Store folders with all that is in them; paths are kept.")
@click.option("--session", type=Session(), default="cli", show_default=True, help="The session to store the files in.")
@click.option("--name", help="The filename in the store, for a single file or the standard input.")
@click.option("--summary", default="", help="A description.")
@click.option("--mime", help="Media type; default: guessed from the filename.")
@click.option(
    "--meta",
    multiple=True,
    callback=pairs,
    metavar="NAME=VALUE",
    help="A value to keep with the files; NAME:=JSON for one that is no text.",
)
@click.option(
    "--ttl",
    type=Duration(),
    metavar="DURATION",
    help="How long to keep the files: 90 (seconds), 12h, 7d or never; default: as long as the session.",
)
@click.option("--replace", is_flag=True, help="Replace the content of files of these names; their ids stay.")
@click.option("--exclusive", is_flag=True, help="Fail, and store nothing, if the session has a file of that name.")
@click.option("-l", "--long", "is_long", is_flag=True, help="Print session, size and expiry in a pipe too.")
@form_options
def put(
    *,
    files: tuple[str, ...],
    recursive: bool,
    session: str,
    name: str | None,
    summary: str,
    mime: str | None,
    meta: dict[str, Any],
    ttl: float | None,
    replace: bool,
    exclusive: bool,
    is_long: bool,
    form: str | None,
) -> None:
    """Store FILEs, all of them or none. - is the standard input.

    Prints the id, session and size of each, and when it expires; in a pipe only the ids, unless -l is given.
    """
    if replace and exclusive:
        raise click.UsageError("--replace and --exclusive exclude each other")
    described = {"summary": summary, "mime": mime, "meta": meta or None}
    with opened(endless_sessions=ttl == NEVER) as store:
        found = list(_files(files, name, recursive=recursive))
        if ttl == NEVER:
            _check_endless(store, session)
        terms = _Terms(session, described, None if ttl == NEVER else ttl, exclusive, replace)
        with progress("put", sum(size_of(one.path) for one in found), len(found)) as advance:
            stored = _store(store, found, terms, advance)
        if form is None and not is_long and not is_terminal():
            for artifact_id in stored:
                click.echo(artifact_id)
            return
        _print([store.metadata(artifact_id) for artifact_id in stored], form)


def _print(stored: Sequence[ArtifactMetadata], form: str | None) -> None:
    short = id_text([one.artifact_id for one in stored])
    columns = (
        Column("id", lambda row: row["artifact_id"], lambda row: short(row["artifact_id"])),
        Column("session", lambda row: row["session_id"]),
        Column("size", lambda row: str(row["bytes"]), lambda row: size_text(row["bytes"]), right=True),
        Column("expires", lambda row: moment_text(row["expires_at"]), lambda row: expiry_text(row["expires_at"])),
        Column("name", lambda row: row["filename"] or "-", folds=True),
    )
    print_rows(stored, columns, form, names=_NAMES, header=True)


def _files(paths: Sequence[str], name: str | None, *, recursive: bool) -> Iterator[_File]:
    if paths.count(STANDARD_INPUT) > 1:
        raise InvalidInputError("the standard input (-) can be stored once only")
    if name is not None and (len(paths) > 1 or os.path.isdir(paths[0])):
        raise InvalidInputError("--name is for a single file")
    for path in paths:
        if path == STANDARD_INPUT:
            yield _File(path, name)
        elif os.path.isdir(path):
            if not recursive:
                raise InvalidInputError(f"{shown(path)} is not a file: add -r to store the folder")
            yield from _files_in(path)
        elif not os.path.exists(path):
            raise InvalidInputError(f"{shown(path)} does not exist")
        else:
            yield _File(path, name or os.path.basename(path))


def _files_in(folder: str) -> Iterator[_File]:
    """Yield the files below a folder, by name, with filenames that begin with the folder's own."""
    name = os.path.basename(os.path.normpath(folder))
    base = "" if name in {".", "..", ""} else f"{name}/"
    found = [_File(path, base + filename) for filename, path in walk(folder)]
    if not found:
        raise InvalidInputError(f"there is no file in {shown(folder)}")
    yield from found


def walk(folder: str) -> Iterator[tuple[str, str]]:
    """Yield filename, with slashes and relative to a folder, and path of each file below it, in order."""
    for path, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        for name in sorted(names):
            whole = os.path.join(path, name)
            if os.path.isfile(whole) or os.path.islink(whole):  # not sockets and pipes
                yield Path(os.path.relpath(whole, folder)).as_posix(), whole


def _raise(error: OSError) -> None:
    raise error


def _check_endless(store: ArtifactStore, session_id: str) -> None:
    """Refuse ``--ttl never`` in a session that expires: its files take its time to live."""
    info = store.get_session_info(session_id)
    if info is not None and info.expires_at is not None:
        raise InvalidInputError(
            f"--ttl never: session {shown(session_id)} expires at {moment_text(info.expires_at)}, and its files with"
            " it; choose another --session, or a long --ttl such as 3650d"
        )


def _store(store: ArtifactStore, files: Sequence[_File], terms: _Terms, advance: Any) -> list[str]:
    items: list[Any] = [_item(file, terms, advance) for file in files]
    if not terms.exclusive and not terms.replace:
        return store.store_batch(items, session_id=terms.session_id, ttl=terms.ttl)
    names = [item["filename"] for item in items]
    if None in names:
        option = "--exclusive" if terms.exclusive else "--replace"
        raise InvalidInputError(f"{option} needs a filename: add --name")
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConflictError(f"two of the files would be called {shown(twice)}")
    if terms.replace:
        return [_replace(store, item, terms) for item in items]
    return _store_exclusive(store, items, terms)


def _item(file: _File, terms: _Terms, advance: Any) -> dict[str, Any]:
    data: Any = sys.stdin.buffer if file.path == STANDARD_INPUT else Path(file.path)
    if advance is not None and file.path != STANDARD_INPUT:
        data = Watched(file.path, advance)
    return {"data": data, "filename": file.filename, **terms.described}


def _store_exclusive(store: ArtifactStore, items: Sequence[dict[str, Any]], terms: _Terms) -> list[str]:
    """Store all items or none; fail if the session has one of the names."""
    stored: list[str] = []
    try:
        for item in items:
            artifact_id = store.store(**item, session_id=terms.session_id, ttl=terms.ttl, exclusive=True)
            stored.append(artifact_id)
    except BaseException:
        store.delete_batch(stored)
        raise
    return stored


def _replace(store: ArtifactStore, item: dict[str, Any], terms: _Terms) -> str:
    """Replace the content of the newest artifact of that name, or store a first one."""
    before = store.lookup(item["filename"], terms.session_id)
    if before is None:
        return store.store(**item, session_id=terms.session_id, ttl=terms.ttl)
    changes = {name: value for name, value in item.items() if value}
    changes["data"] = item["data"]
    del changes["filename"]
    return store.update_file(before.artifact_id, **changes, ttl=terms.ttl).artifact_id
