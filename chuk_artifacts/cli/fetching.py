"""Commands that read content: get, cat."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from chuk_artifacts import ArtifactMetadata, ArtifactStore, ConflictError, InvalidInputError
from chuk_artifacts.arguments import name_in_folder
from chuk_artifacts.cli.addressing import Address, Selection, Session, select
from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.output import note
from chuk_artifacts.cli.progress import Advance, callback_of, progress
from chuk_artifacts.cli.tables import is_terminal
from chuk_artifacts.cli.values import examples
from chuk_artifacts.errors import shown

STANDARD_OUTPUT = "-"
F = TypeVar("F", bound=Callable[..., Any])


def revision_option(command: F) -> F:
    """Add ``--revision`` to a command."""
    text = "The content of an earlier revision, of a single file: see versions."
    return click.option("--revision", type=click.IntRange(1), help=text)(command)


@click.command(
    epilog=examples(
        "chuk-artifacts get demo/report.pdf -o copy.pdf",
        "chuk-artifacts get demo/docs/ -o out --force",
        "chuk-artifacts get demo/ --zip -o demo.zip",
        "chuk-artifacts get demo/hello.txt -o -",
    )
)
@click.argument("addresses", nargs=-1, type=Address(), metavar="ADDRESS...")
@click.option(
    "-o", "--output", metavar="PATH", help="Write to this file or folder; - is the standard output, the default."
)
@click.option("--session", type=Session(), help="All files of this session.")
@click.option("--prefix", default="", help="With --session: only filenames that begin with this.")
@click.option("--zip", "as_zip", is_flag=True, help="Write one ZIP archive of a session or folder to -o PATH.")
@revision_option
@click.option("--force", is_flag=True, help="Replace files of these names in the folder.")
def get(
    *,
    addresses: tuple[str, ...],
    output: str | None,
    session: str | None,
    prefix: str,
    as_zip: bool,
    revision: int | None,
    force: bool,
) -> None:
    """Write the content of files to a file, to a folder, or to the standard output.

    ADDRESS is an id, a unique prefix of it, or session/filename. With -o FOLDER also: session/ for a whole session,
    session/folder/ for a folder, session/prefix* for all that begin so; their paths are kept. The folder is created.
    """
    wanted = [*addresses, *([] if session is None else [f"{session}/{prefix}*"])]
    if not wanted:
        raise click.UsageError("give an ADDRESS, or --session")
    if prefix and session is None:
        raise click.UsageError("--prefix is for --session")
    with opened(must_exist=True) as store:
        selections = [select(store, address) for address in wanted]
        if as_zip:
            _save_archive(store, selections, output, force=force)
            return
        is_many = len(selections) > 1 or selections[0].is_many
        _check_revision(revision, is_many=is_many)
        if output in {None, STANDARD_OUTPUT}:
            if is_many:
                raise InvalidInputError("several files do not fit the standard output: name a folder with -o FOLDER")
            write(store, selections[0].found, revision)
        elif is_many:
            _save_all(store, selections, str(output), force=force)
        else:
            _save(store, selections[0].found[0], str(output), revision, force=force)


@click.command(epilog=examples("chuk-artifacts cat demo/hello.txt"))
@click.argument("addresses", nargs=-1, required=True, type=Address(), metavar="ADDRESS...")
@revision_option
def cat(addresses: tuple[str, ...], revision: int | None) -> None:
    """Write the content of files to the standard output, one after the other."""
    with opened(must_exist=True) as store:
        selections = [select(store, address) for address in addresses]
        _check_revision(revision, is_many=len(selections) > 1 or selections[0].is_many)
        for selection in selections:
            write(store, selection.found, revision)


def _check_revision(revision: int | None, *, is_many: bool) -> None:
    if revision is not None and is_many:
        raise InvalidInputError("--revision is for a single file")


def write(store: ArtifactStore, artifacts: Iterable[ArtifactMetadata], revision: int | None = None) -> None:
    """Write contents to the standard output."""
    for artifact in artifacts:
        for chunk in store.stream(artifact.artifact_id, revision=revision):
            sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def local_name(filename: str) -> Path:
    """Return a filename as a relative path of this system; no segment is a drive or too long."""
    return Path(*(name_in_folder(part) for part in filename.split("/") if part not in {"", "."}))


def newest_by_name(artifacts: Iterable[ArtifactMetadata]) -> dict[str, ArtifactMetadata]:
    """Return the newest artifact of each filename, by filename; the id stands for a missing one."""
    found: dict[str, ArtifactMetadata] = {}
    for artifact in artifacts:
        name = artifact.filename or artifact.artifact_id
        if name not in found or found[name].stored_at < artifact.stored_at:
            found[name] = artifact
    return found


def _save(store: ArtifactStore, artifact: ArtifactMetadata, output: str, revision: int | None, *, force: bool) -> None:
    if output.endswith(("/", os.sep)) and not os.path.isdir(output):
        os.makedirs(output)
    with progress("get", artifact.bytes) as advance:
        callback = callback_of(advance)
        path = store.download(artifact.artifact_id, output, revision=revision, overwrite=force, callback=callback)
    note(str(path))


def _save_all(store: ArtifactStore, selections: Sequence[Selection], output: str, *, force: bool) -> None:
    plan: dict[Path, ArtifactMetadata] = {}
    for selection in selections:
        newest = newest_by_name(selection.found)
        if len(newest) < len(selection.found):
            count = len(selection.found) - len(newest)
            note(f"{count} older files of the same names are left out: get them by id")
        for name, artifact in newest.items():
            inner = name.removeprefix(selection.folder) if selection.is_many else name.rpartition("/")[2]
            target = Path(output) / local_name(inner)
            if plan.setdefault(target, artifact).artifact_id != artifact.artifact_id:
                raise ConflictError(f"two of the files would be called {shown(str(target))}: get them one by one")
    for target in plan:
        if not force and os.path.lexists(target):  # before the first is written
            raise ConflictError(f"{shown(str(target))} exists: name another folder, or replace it (--force)")
    with progress("get", sum(one.bytes for one in plan.values()), len(plan)) as advance:
        for target, artifact in plan.items():
            save_as(store, artifact, target, advance, force=True)
            if advance is None:
                note(str(target))


def _save_archive(store: ArtifactStore, selections: Sequence[Selection], output: str | None, *, force: bool) -> None:
    """Write a ZIP archive, which appears under its name only when it is whole."""
    if len(selections) > 1 or not selections[0].is_many:
        raise InvalidInputError("--zip is for one session or folder, such as demo/ or demo/docs/")
    chunks = store.archive(selections[0].session_id, prefix=selections[0].prefix)
    if output in {None, STANDARD_OUTPUT}:
        if output is None and is_terminal():
            raise InvalidInputError("a ZIP archive is not for a terminal: name a file with -o PATH")
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    target = Path(str(output))
    if target.is_dir():
        target /= name_in_folder(f"{selections[0].session_id}.zip")
        if not force and os.path.lexists(target):
            raise ConflictError(f"{shown(str(target))} exists: name another file, or replace it (--force)")
    part = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        with part.open("xb") as file, progress("zip", sum(one.bytes for one in selections[0].found)) as advance:
            for chunk in chunks:
                file.write(chunk)
                if advance is not None:
                    advance(len(chunk))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    note(str(target))


def save_as(
    store: ArtifactStore, artifact: ArtifactMetadata, target: Path, advance: Advance | None, *, force: bool
) -> None:
    """Write an artifact to a path, whose folders are created."""
    os.makedirs(target.parent, exist_ok=True)
    if target.is_dir():
        raise ConflictError(f"{shown(str(target))} is a folder")
    store.download(artifact.artifact_id, target, overwrite=force, callback=callback_of(advance))
