"""The command sync."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import click

from chuk_artifacts import ArtifactMetadata, ArtifactStore, ConflictError, InvalidInputError
from chuk_artifacts.cli.addressing import Address, must_exist
from chuk_artifacts.cli.fetching import local_name, newest_by_name, save_as
from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.output import print_lines
from chuk_artifacts.cli.progress import Advance, Watched, progress
from chuk_artifacts.cli.storing import walk
from chuk_artifacts.cli.values import examples
from chuk_artifacts.errors import shown


@attrs.frozen
class _Plan:
    """What a sync does: filenames below the prefix, each with what it is about."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]

    def lines(self) -> Iterable[str]:
        for word, names in (("new", self.new), ("changed", self.changed), ("deleted", self.deleted)):
            yield from (f"{word:8}{name}" for name in names)


@click.command(
    epilog=examples("chuk-artifacts sync ./docs demo/docs", "chuk-artifacts sync demo/docs ./docs --delete --dry-run")
)
@click.argument("source", metavar="SOURCE", type=Address())
@click.argument("target", metavar="TARGET", type=Address())
@click.option("--delete", is_flag=True, help="Delete from TARGET what SOURCE does not have.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
def sync(source: str, target: str, *, delete: bool, dry_run: bool) -> None:
    """Make TARGET like SOURCE: one is a folder of this machine, the other session/ or session/prefix.

    Files are compared by SHA-256. A changed file keeps its id. Where it is unclear which is the folder, write ./ before
    it.
    """
    to_store = _goes_to_store(source, target)
    folder, address = (source, target) if to_store else (target, source)
    folder = os.path.expanduser(folder)
    session_id, _, rest = address.partition("/")
    prefix = f"{rest.rstrip('/')}/" if rest.strip("/") else ""
    if to_store and not os.path.isdir(folder):
        raise InvalidInputError(f"{shown(folder)} is not a folder")
    with opened(must_exist=not to_store or dry_run) as store:
        run = _upload if to_store else _download
        run(store, folder, session_id, prefix, delete=delete, dry_run=dry_run)


def _goes_to_store(source: str, target: str) -> bool:
    """Return whether the source is the folder of this machine."""
    explicit = [_is_explicit(source), _is_explicit(target)]
    local = explicit if explicit.count(True) == 1 else [os.path.isdir(source), os.path.isdir(target)]
    if local.count(True) != 1 or explicit.count(True) > 1:
        raise InvalidInputError(
            f"which of {source!r} and {target!r} is the folder of this machine? Write ./ before its name"
        )
    return local[0]


def _is_explicit(path: str) -> bool:
    return path in {".", ".."} or path.startswith(("./", "../", "~")) or os.path.isabs(path)


def _stored(store: ArtifactStore, session_id: str, prefix: str) -> dict[str, ArtifactMetadata]:
    """Return the newest artifact of each filename below the prefix; those without a filename are left out."""
    named = (one for one in store.iter_session(session_id, prefix=prefix) if one.filename is not None)
    return {name.removeprefix(prefix): one for name, one in newest_by_name(named).items()}


def _upload(store: ArtifactStore, folder: str, session_id: str, prefix: str, *, delete: bool, dry_run: bool) -> None:
    local = dict(walk(folder))
    stored = _stored(store, session_id, prefix)
    with progress("compare", sum(map(_size, local.values())), len(local)) as advance:
        plan = _plan({name: (_size(path), path) for name, path in local.items()}, stored, advance, delete=delete)
    _check_source(plan, local, folder)
    print_lines(plan.lines())
    if dry_run:
        return
    wanted = (*plan.new, *plan.changed)
    with progress("sync", sum(_size(local[name]) for name in wanted), len(wanted)) as advance:
        for name in wanted:
            path = local[name]
            data: Any = Path(path) if advance is None else Watched(path, advance)
            if name in stored:
                store.update_file(stored[name].artifact_id, data=data)
            else:
                store.store(data, filename=prefix + name, session_id=session_id)
    store.delete_batch(stored[name].artifact_id for name in plan.deleted)


def _download(store: ArtifactStore, folder: str, session_id: str, prefix: str, *, delete: bool, dry_run: bool) -> None:
    named = _stored(store, session_id, prefix)
    if not named:
        must_exist(store, session_id)
    stored = {local_name(name).as_posix(): one for name, one in named.items()}
    if len(stored) < len(named):
        raise ConflictError("two of the files would have the same path on this machine: get them one by one")
    local = dict(walk(folder)) if os.path.isdir(folder) else {}
    with progress("compare", sum(map(_size, local.values())), len(local)) as advance:
        opposite = _plan({name: (_size(path), path) for name, path in local.items()}, stored, advance, delete=True)
    plan = _Plan(opposite.deleted, opposite.changed, opposite.new if delete else ())
    _check_source(plan, stored, f"{session_id}/{prefix}")
    print_lines(plan.lines())
    if dry_run:
        return
    wanted = (*plan.new, *plan.changed)
    with progress("sync", sum(stored[name].bytes for name in wanted), len(wanted)) as advance:
        for name in wanted:
            save_as(store, stored[name], Path(folder, name), advance, force=True)
    for name in plan.deleted:
        os.unlink(local[name])


def _plan(
    local: dict[str, tuple[int, str]], stored: dict[str, ArtifactMetadata], advance: Advance | None, *, delete: bool
) -> _Plan:
    """Compare: new and changed files of the folder, and artifacts that it lacks."""
    changed = []
    for name, (size, path) in local.items():
        if name in stored and (size != stored[name].bytes or _sha256(path, advance) != stored[name].sha256):
            changed.append(name)
    new = tuple(name for name in local if name not in stored)
    return _Plan(new, tuple(changed), tuple(name for name in stored if name not in local) if delete else ())


def _check_source(plan: _Plan, source: dict[str, Any], name: str) -> None:
    """Refuse to delete all because the source is empty, as a mistyped one is."""
    if plan.deleted and not source:
        raise ConflictError(f"{name!r} has no files, and --delete would delete all {len(plan.deleted)} of the target")


def _sha256(path: str, advance: Advance | None) -> str:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if advance is not None:
        advance(_size(path))
    return digest


def _size(path: str) -> int:
    return os.stat(path).st_size
