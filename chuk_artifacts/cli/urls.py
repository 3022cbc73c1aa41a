"""The command url."""

from __future__ import annotations

import click

from chuk_artifacts.cli.opening import opened
from chuk_artifacts.settings import default_gateway_of_commands


@click.command()
@click.argument("artifact_id", metavar="ID")
@click.option(
    "--expires", type=float, default=3600, show_default=True, metavar="SECONDS", help="How long the URL works."
)
def url(artifact_id: str, expires: float) -> None:
    """Print a URL that downloads an artifact, without credentials, until it expires.

    If the storage can't sign URLs, the URL leads to the gateway at ARTIFACT_GATEWAY_URL (default: chuk-artifacts serve
    on this machine).
    """
    with opened(gateway_url=default_gateway_of_commands()) as store:
        click.echo(store.presign(artifact_id, expires))
