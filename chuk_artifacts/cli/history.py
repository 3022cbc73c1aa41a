"""Commands for earlier contents: versions, restore."""

from __future__ import annotations

import click

from chuk_artifacts.cli.addressing import Address, find
from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.tables import Column, form_options, print_rows
from chuk_artifacts.cli.values import examples
from chuk_artifacts.human import moment_text, size_text

_NAMES = ("revision", "current", "bytes", "stored_at", "mime", "filename", "sha256")
_HASH_DIGITS = 12


@click.command(epilog=examples("chuk-artifacts versions demo/hello.txt"))
@click.argument("address", type=Address(), metavar="ADDRESS")
@click.option("-l", "--long", "is_long", is_flag=True, help="Print titles in a pipe too.")
@form_options
def versions(address: str, form: str | None, *, is_long: bool) -> None:
    """List the contents of a file that can be read, the newest first; * marks the current one.

    ARTIFACT_KEEP_VERSIONS is how many earlier ones are kept for good. In any case the last ones are kept for an hour.
    """
    with opened(must_exist=True) as store:
        columns = (
            Column("revision", lambda row: f"{row['revision']}{'*' if row['current'] else ' '}", right=True),
            Column("size", lambda row: str(row["bytes"]), lambda row: size_text(row["bytes"]), right=True),
            Column("stored", lambda row: moment_text(row["stored_at"])),
            Column("sha256", lambda row: row["sha256"][:_HASH_DIGITS], least=80),
            Column("name", lambda row: row["filename"] or "-", folds=True),
        )
        print_rows(store.versions(find(store, address).artifact_id), columns, form, names=_NAMES, header=is_long)


@click.command(epilog=examples("chuk-artifacts restore demo/hello.txt 1"))
@click.argument("address", type=Address(), metavar="ADDRESS")
@click.argument("revision", type=click.IntRange(1))
def restore(address: str, revision: int) -> None:
    """Make an earlier content of a file the current one, as a new revision, and print its number."""
    with opened(must_exist=True) as store:
        click.echo(store.restore(find(store, address).artifact_id, revision).revision)
