"""Commands for sessions and users: sessions ls, info, rm; users ls, rm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from chuk_artifacts import ArtifactNotFoundError
from chuk_artifacts.cli.addressing import Session
from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.output import fail
from chuk_artifacts.cli.tables import Column, Row, form_options, print_facts, print_rows
from chuk_artifacts.cli.values import examples
from chuk_artifacts.errors import shown
from chuk_artifacts.human import expiry_text, moment_text

_NAMES = ("session_id", "user_id", "created_at", "expires_at", "custom_metadata")


@click.group()
def sessions() -> None:
    """List, describe and delete sessions."""


@sessions.command("ls", epilog=examples("chuk-artifacts sessions ls"))
@click.option("-l", "--long", "is_long", is_flag=True, help="Print titles and a total in a pipe too.")
@click.option("--user", help="Only the sessions of this user.")
@form_options
def sessions_ls(form: str | None, *, user: str | None, is_long: bool) -> None:
    """List the sessions."""
    with opened(must_exist=True) as store:
        columns = (
            Column("session", lambda row: row["session_id"], folds=True),
            Column("user", lambda row: row["user_id"] or "-", folds=True),
            Column("created", lambda row: moment_text(row["created_at"])),
            Column("expires", lambda row: moment_text(row["expires_at"]), lambda row: expiry_text(row["expires_at"])),
        )
        print_rows(store.iter_sessions(user_id=user), columns, form, names=_NAMES, total=_total, header=is_long)


def _total(rows: Sequence[Row]) -> str:
    return "1 session" if len(rows) == 1 else f"{len(rows)} sessions"


@sessions.command("info", epilog=examples("chuk-artifacts sessions info demo"))
@click.argument("session", type=Session())
@form_options
def sessions_info(session: str, form: str | None) -> None:
    """Print what is known of a session."""
    with opened(must_exist=True) as store:
        found = store.get_session_info(session)
        if found is None:
            raise ArtifactNotFoundError(f"no session {shown(session)}")
        print_facts(found, form)


@sessions.command("rm", epilog=examples("chuk-artifacts sessions rm demo"))
@click.argument("names", nargs=-1, required=True, type=Session(), metavar="SESSION...")
def sessions_rm(names: tuple[str, ...]) -> None:
    """Delete sessions with all their files."""
    with opened(must_exist=True) as store:
        missing = [name for name in names if not store.delete_session(name)]
    if missing:
        fail(f"not found: session {', '.join(missing)}")


@click.group()
def users() -> None:
    """List users, and delete all that belongs to one."""


@users.command("ls", epilog=examples("chuk-artifacts users ls"))
@click.option("-l", "--long", "is_long", is_flag=True, help="Print titles and a total in a pipe too.")
@form_options
def users_ls(form: str | None, *, is_long: bool) -> None:
    """List the users, with how many sessions each has."""
    with opened(must_exist=True) as store:
        counts = Counter(info.user_id for info in store.iter_sessions() if info.user_id is not None)
        columns = (
            Column("user", lambda row: row["user_id"], folds=True),
            Column("sessions", lambda row: str(row["sessions"]), right=True),
        )
        rows = [{"user_id": user, "sessions": count} for user, count in sorted(counts.items())]
        print_rows(rows, columns, form, names=("user_id", "sessions"), total=_total_of_users, header=is_long)


def _total_of_users(rows: Sequence[Row]) -> str:
    return "1 user" if len(rows) == 1 else f"{len(rows)} users"


@users.command("rm", epilog=examples("chuk-artifacts users rm alice"))
@click.argument("names", nargs=-1, required=True, metavar="USER...")
def users_rm(names: tuple[str, ...]) -> None:
    """Delete every session of users with all files, and print how many files those were."""
    with opened(must_exist=True) as store:
        for name in names:
            click.echo(store.delete_user(name))
