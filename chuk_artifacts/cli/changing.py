"""Commands that change what is stored: cp, mv, rm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click

from chuk_artifacts import (
    ArtifactMetadata,
    ArtifactNotFoundError,
    ArtifactStore,
    ConflictError,
    InvalidInputError,
    grid,
)
from chuk_artifacts.cli.addressing import Address, Session, destination, find, select
from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.output import fail, note
from chuk_artifacts.cli.values import examples
from chuk_artifacts.errors import shown

_FORCE = click.option("--force", is_flag=True, help="Replace a file of that name.")


@click.command(
    epilog=examples("chuk-artifacts cp demo/hello.txt demo/copy.txt", "chuk-artifacts cp demo/docs/ demo/backup/")
)
@click.argument("source", type=Address(), metavar="SOURCE")
@click.argument("target", type=Address(), metavar="TARGET")
@_FORCE
def cp(source: str, target: str, *, force: bool) -> None:
    """Copy a file, or a folder, within its session, and print the new ids.

    TARGET is session/filename, or session/folder/ to keep the name. A SOURCE with a slash at its end is a folder.
    """
    with opened(must_exist=True) as store:
        targets = list(_targets(store, source, target))
        taken = _taken(store, targets, force=force)
        for artifact, filename in targets:
            click.echo(store.copy_file(artifact.artifact_id, new_filename=filename))
        store.delete_batch(taken)


@click.command(
    epilog=examples("chuk-artifacts mv demo/hello.txt demo/greeting.txt", "chuk-artifacts mv demo/docs/ demo/guides/")
)
@click.argument("source", type=Address(), metavar="SOURCE")
@click.argument("target", type=Address(), metavar="TARGET")
@_FORCE
def mv(source: str, target: str, *, force: bool) -> None:
    """Rename a file, or a folder, within its session; ids stay.

    TARGET is as for cp.
    """
    with opened(must_exist=True) as store:
        targets = list(_targets(store, source, target))
        taken = _taken(store, targets, force=force)
        for artifact, filename in targets:
            store.move_file(artifact.artifact_id, new_filename=filename)
        store.delete_batch(taken)


@click.command(
    epilog=examples(
        "chuk-artifacts rm demo/hello.txt", "chuk-artifacts rm -r demo/docs/", "chuk-artifacts rm --session demo"
    )
)
@click.argument("addresses", nargs=-1, type=Address(), metavar="ADDRESS...")
@click.option("-r", "--recursive", is_flag=True, help="Delete all files of a folder (session/folder/) or session.")
@click.option("--session", type=Session(), help="Delete this session with all its files.")
def rm(addresses: tuple[str, ...], *, recursive: bool, session: str | None) -> None:
    """Delete files, by id, by a unique prefix of it, or by session/filename."""
    if not addresses and session is None:
        raise click.UsageError("give an ADDRESS, or --session")
    with opened(must_exist=True) as store:
        missing = []
        wanted: dict[str, str] = {}
        for address in addresses:
            try:
                wanted |= dict.fromkeys(_ids(store, address, recursive=recursive), address)
            except ArtifactNotFoundError as error:
                missing.append(_missing(address, error))
        missing += [address for artifact_id, address in wanted.items() if not store.delete(artifact_id)]
        if session is not None and not store.delete_session(session):
            missing.append(f"session {session}")
        _note_older(store, wanted)
    if missing:
        fail(f"not found: {', '.join(missing)}")


def _ids(store: ArtifactStore, address: str, *, recursive: bool) -> list[str]:
    if grid.is_artifact_id(address):
        return [address]  # a pending upload has no metadata, and can be cancelled
    if not recursive:
        if address.endswith(("/", "*")) and "/" in address:
            raise InvalidInputError(f"{address!r} means several files: add -r to delete them all")
        return [find(store, address).artifact_id]
    is_folder = "/" in address and not address.endswith(("/", "*"))
    try:
        return [one.artifact_id for one in select(store, address).found]
    except (ArtifactNotFoundError, InvalidInputError):
        if not is_folder:
            raise
        return [one.artifact_id for one in select(store, f"{address}/").found]


def _note_older(store: ArtifactStore, deleted: Mapping[str, str]) -> None:
    """Say which names lead to an older file now."""
    for name in dict.fromkeys(deleted.values()):
        session_id, is_path, filename = name.partition("/")
        if is_path and not name.endswith(("/", "*")) and store.lookup(filename, session_id) is not None:
            note(f"{name} is an older file of that name now")


def _missing(address: str, error: ArtifactNotFoundError) -> str:
    _, has_hint, hint = str(error).partition("; ")
    return f"{address} ({hint})" if has_hint else address


def _targets(store: ArtifactStore, source: str, target: str) -> Iterator[tuple[ArtifactMetadata, str]]:
    """Yield what to copy or to rename, and the new filenames."""
    selection = select(store, source)
    if not selection.is_many:
        yield selection.found[0], destination(selection.found[0], target)
        return
    if not target.endswith("/"):
        raise InvalidInputError(f"{source!r} means several files: TARGET must be a folder, such as {target}/")
    session_id, _, folder = target.partition("/")
    if session_id != selection.session_id:
        destination(selection.found[0], target)  # says why not
    for artifact in selection.found:
        name = artifact.filename or artifact.artifact_id
        yield artifact, folder + name.removeprefix(selection.folder)


def _taken(store: ArtifactStore, targets: Sequence[tuple[ArtifactMetadata, str]], *, force: bool) -> list[str]:
    """Return the ids of the files that have the new names already, to be deleted at the end; none without *force*."""
    taken = []
    sources = {artifact.artifact_id for artifact, _ in targets}
    for session_id, filename in {(artifact.session_id, filename): None for artifact, filename in targets}:
        before = store.lookup(filename, session_id)
        if before is None:
            continue
        if before.artifact_id in sources:
            raise ConflictError(f"{shown(filename)} is the name of a file that is to be copied or renamed")
        if not force:
            raise ConflictError(f"{shown(f'{session_id}/{filename}')} exists: replace it with --force")
        taken.append(before.artifact_id)
    return taken
