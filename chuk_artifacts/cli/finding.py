"""Commands over all sessions: find, du."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from chuk_artifacts import ArtifactStore
from chuk_artifacts.cli.addressing import Address, Session, must_exist, session_ids
from chuk_artifacts.cli.listing import print_artifacts, unless_empty
from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.tables import Column, Row, form_options, print_rows
from chuk_artifacts.cli.values import Moment, examples, pairs
from chuk_artifacts.human import size_text


@click.command(
    epilog=examples(
        "chuk-artifacts find --mime 'image/*' --after 7d",
        "chuk-artifacts find demo/docs/ --meta team=blue --json",
    )
)
@click.argument("place", required=False, type=Address(), metavar="[SESSION[/PREFIX]]")
@click.option("--mime", help="Only this media type; image/* is any image.")
@click.option(
    "--meta",
    multiple=True,
    callback=pairs,
    metavar="NAME=VALUE",
    help="Only files with this value in their metadata; NAME:=JSON for one that is no text.",
)
@click.option(
    "--after", type=Moment(), metavar="TIME", help="Stored at 2026-11-27T12:00 (UTC) or later, or 7d ago or later."
)
@click.option("--before", type=Moment(), metavar="TIME", help="Stored before that time.")
@click.option("--user", help="Only in sessions of this user.")
@click.option("--limit", type=click.IntRange(1), help="At most so many files.")
@click.option("-l", "--long", "is_long", is_flag=True, help="Add expiry, media type, titles and a total.")
@form_options
def find(
    *,
    place: str | None,
    mime: str | None,
    meta: dict[str, Any],
    after: float | None,
    before: float | None,
    user: str | None,
    limit: int | None,
    is_long: bool,
    form: str | None,
) -> None:
    """Find files by the start of their names, media type, metadata, time and user, in all sessions or in one.

    A name is looked for in one session: SESSION/PREFIX.
    """
    session_id, _, prefix = (place or "").partition("/")
    with opened(must_exist=True) as store:
        found: Iterator[Row] = store.search(
            session_id or None,
            prefix=prefix.removesuffix("*"),
            mime=mime,
            meta=meta or None,
            stored_after=after,
            stored_before=before,
            user_id=user,
            limit=limit,
        )
        if session_id and form is None:
            found = unless_empty(found, lambda: must_exist(store, session_id))
        print_artifacts(found, form, is_long=is_long, with_session=True)


@click.command(epilog=examples("chuk-artifacts du", "chuk-artifacts du demo"))
@click.argument("names", nargs=-1, type=Session(), metavar="[SESSION...]")
@click.option("-l", "--long", "is_long", is_flag=True, help="Print titles, human sizes and a total in a pipe too.")
@form_options
def du(names: tuple[str, ...], form: str | None, *, is_long: bool) -> None:
    """Print how many bytes and files sessions hold; default: all sessions.

    Earlier contents count while they are kept, expired files until gc removes them.
    """
    with opened(must_exist=True) as store:
        columns = (
            Column("size", _size if is_long else lambda row: str(row["bytes"]), _size, right=True),
            Column("files", lambda row: str(row["artifacts"]), right=True),
            Column("session", lambda row: row["session_id"], folds=True),
        )
        rows = _usages(store, names)
        print_rows(rows, columns, form, names=("session_id", "bytes", "artifacts"), total=_total, header=is_long)


def _usages(store: ArtifactStore, names: Sequence[str]) -> Iterator[Row]:
    for name in names:
        must_exist(store, name)
    for name in names or session_ids(store):
        yield {"session_id": name, **store.usage(name)}


def _size(row: Row) -> str:
    return size_text(row["bytes"])


def _total(rows: Sequence[Row]) -> str:
    files = sum(row["artifacts"] for row in rows)
    return f"{size_text(sum(row['bytes'] for row in rows))} in {files} files of {len(rows)} sessions"
