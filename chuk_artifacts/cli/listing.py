"""Commands that list and describe: ls, info, stats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import click

from chuk_artifacts import ArtifactNotFoundError, ArtifactStore
from chuk_artifacts.cli.addressing import Address, find, must_exist, session_ids
from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.output import note
from chuk_artifacts.cli.tables import Column, Row, form_options, id_text, is_terminal, print_facts, print_rows
from chuk_artifacts.cli.values import examples
from chuk_artifacts.errors import shown
from chuk_artifacts.human import expiry_text, moment_text, size_text

ARTIFACT_NAMES = (
    *("artifact_id", "session_id", "filename", "bytes", "mime", "summary", "meta", "sha256"),
    *("stored_at", "updated_at", "expires_at", "ttl", "revision"),
)
_WIDE_OF_LONG = 150
_DEFAULT = "cli"  # what put stores in


@click.command(
    epilog=examples(
        "chuk-artifacts ls demo", "chuk-artifacts ls -l demo/docs/ --recursive", "chuk-artifacts ls demo --json"
    )
)
@click.argument("session", required=False, type=Address(), metavar="[SESSION[/FOLDER]]")
@click.option("--prefix", default="", help="List only filenames that begin with this, at any depth.")
@click.option("-l", "--long", "is_long", is_flag=True, help="Add expiry, media type, titles and a total.")
@click.option("-R", "--recursive", is_flag=True, help="List the files in folders too, at any depth.")
@form_options
def ls(*, session: str | None, prefix: str, is_long: bool, recursive: bool, form: str | None) -> None:
    """List the files and folders of a SESSION (default: cli), or of a folder in it.

    Without --recursive, a folder is one line. JSON and CSV always have every file.
    """
    session_id, _, folder = (_DEFAULT if session is None else session).partition("/")
    folder = f"{folder.rstrip('/')}/" if folder else ""
    with opened(must_exist=True) as store:
        is_flat = recursive or bool(prefix) or form is not None
        rows: Iterator[Row] = (
            store.iter_session(session_id, prefix=folder + prefix) if is_flat else _level(store, session_id, folder)
        )
        if form is None:
            rows = unless_empty(rows, lambda: _explain(store, session, session_id, "" if prefix else folder))
        print_artifacts(rows, form, is_long=is_long)


def unless_empty(rows: Iterator[Row], explain: Callable[[], None]) -> Iterator[Row]:
    """Yield rows; if there are none, call *explain*, which says why or fails."""
    first = next(rows, None)
    if first is None:
        explain()
    else:
        yield from chain([first], rows)


def _explain(store: ArtifactStore, session: str | None, session_id: str, folder: str) -> None:
    """Say why a listing is empty; fail if what was named does not exist."""
    if session is None:
        if any(True for _ in session_ids(store)):
            note(f"no files in session {session_id}; chuk-artifacts sessions ls lists the others")
        return
    must_exist(store, session_id)
    if folder:
        raise ArtifactNotFoundError(f"no folder {shown(folder)} in session {shown(session_id)}")


def _level(store: ArtifactStore, session_id: str, folder: str) -> Iterator[Row]:
    """Yield the folders directly in a folder, then its files."""
    folders, files = store.list_directory(session_id, folder)
    yield from (_folder_row(f"{folder}{name}/") for name in folders)
    yield from files


def _folder_row(name: str) -> Row:
    return {"artifact_id": "-", "bytes": None, "stored_at": "-", "expires_at": "-", "mime": "-", "filename": name}


def print_artifacts(
    artifacts: Iterable[Row], form: str | None, *, is_long: bool = False, with_session: bool = False
) -> None:
    """Print artifacts in a form; see :func:`~chuk_artifacts.cli.tables.print_rows`."""
    if form is None and is_terminal():
        artifacts = list(artifacts)
        columns = _columns([one["artifact_id"] for one in artifacts], is_long=is_long, with_session=with_session)
    else:
        columns = _columns((), is_long=is_long, with_session=with_session)
    print_rows(artifacts, columns, form, names=ARTIFACT_NAMES, total=total, header=is_long)


def total(rows: Sequence[Row]) -> str:
    """Return the last line of a listing."""
    sizes = [row["bytes"] for row in rows if row["bytes"] is not None]
    files = f"{len(sizes)} file{'' if len(sizes) == 1 else 's'}, {size_text(sum(sizes))}"
    folders = len(rows) - len(sizes)
    return f"{folders} folder{'' if folders == 1 else 's'}, {files}" if folders else files


def _columns(ids: Sequence[str], *, is_long: bool, with_session: bool) -> list[Column]:
    short = id_text(ids, wide=_WIDE_OF_LONG) if is_long else id_text(ids)
    columns = [
        Column("id", lambda row: row["artifact_id"], lambda row: short(row["artifact_id"])),
        Column("size", _size if is_long else _bytes, _size, right=True),
    ]
    expires = Column("expires", lambda row: moment_text(row["expires_at"]), _expiry)
    stored = Column("stored", lambda row: moment_text(row["stored_at"]), least=80)
    if is_long:
        columns += [stored, expires, Column("type", lambda row: row["mime"], folds=True, least=100)]
    else:
        columns += [expires if is_terminal() else stored]
    if with_session:
        columns.append(Column("session", lambda row: row["session_id"], folds=True))
    return [*columns, Column("name", lambda row: row["filename"] or "-", folds=True)]


def _size(row: Row) -> str:
    return "-" if row["bytes"] is None else size_text(row["bytes"])


def _bytes(row: Row) -> str:
    return "-" if row["bytes"] is None else str(row["bytes"])


def _expiry(row: Row) -> str:
    return "-" if row["expires_at"] == "-" else expiry_text(row["expires_at"])


@click.command(epilog=examples("chuk-artifacts info demo/hello.txt"))
@click.argument("address", type=Address(), metavar="ADDRESS")
@form_options
def info(address: str, form: str | None) -> None:
    """Print the metadata of a file.

    ADDRESS is an id, a unique prefix of it, or session/filename.
    """
    with opened(must_exist=True) as store:
        print_facts(find(store, address), form)


@click.command(epilog=examples("chuk-artifacts stats --json"))
@form_options
def stats(form: str | None) -> None:
    """Print the number of sessions and files, and their bytes in all."""
    with opened(must_exist=True) as store:
        print_facts(store.get_stats(), form)
