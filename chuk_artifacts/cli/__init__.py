"""The command line: each command calls one method of the store."""

from __future__ import annotations

import click

from chuk_artifacts import __version__
from chuk_artifacts.cli import artifacts, serving, upkeep, urls


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chuk-artifacts")
def cli() -> None:
    """Store files that belong to sessions, and find them again.

    The environment configures everything: ARTIFACT_PROVIDER (default here: filesystem), ARTIFACT_FS_ROOT (default:
    ./artifacts), ARTIFACT_SANDBOX_ID and the other variables in the README.
    """


for _command in (
    *(artifacts.put, artifacts.get, artifacts.ls, artifacts.info, artifacts.rm),
    *(urls.url, serving.serve),
    *(upkeep.gc, upkeep.init, upkeep.doctor),
):
    cli.add_command(_command)
