"""The command line: each command calls one method of the store."""

from __future__ import annotations

from typing import Any

import click

from chuk_artifacts import __version__
from chuk_artifacts.cli import (
    changing,
    diagnosis,
    fetching,
    finding,
    history,
    listing,
    moving,
    serving,
    sessions,
    storing,
    syncing,
    upkeep,
    urls,
)
from chuk_artifacts.cli.opening import add_store_options
from chuk_artifacts.cli.output import errors_in_one_line
from chuk_artifacts.cli.values import examples


class _Commands(click.Group):
    """The commands, which print errors in one line."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line, and print the help if it asks for it."""
        with errors_in_one_line():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with errors_in_one_line():
            return super().invoke(ctx)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("chuk-artifacts --root ./artifacts ls demo"),
)
@click.version_option(__version__, prog_name="chuk-artifacts")
def cli() -> None:
    """Store files that belong to sessions, and find them again.

    Options, or else the environment, choose the store: ARTIFACT_PROVIDER (default here: filesystem), ARTIFACT_FS_ROOT
    (default: ./artifacts), ARTIFACT_SANDBOX_ID and others, which the documentation lists.
    """


for _command in (
    *(storing.put, fetching.get, fetching.cat, changing.cp, changing.mv, changing.rm),
    *(finding.find, finding.du, listing.ls, listing.info, listing.stats, urls.url, urls.upload_url, serving.serve),
    serving.browse,
    *(syncing.sync, history.versions, history.restore, moving.migrate_command),
    *(upkeep.gc, upkeep.reindex, upkeep.init, diagnosis.doctor),
):
    cli.add_command(add_store_options(_command))
for _group in (sessions.sessions, sessions.users, moving.catalog):
    for _command in _group.commands.values():
        add_store_options(_command)
    cli.add_command(_group)
add_store_options(cli)
