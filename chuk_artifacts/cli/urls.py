"""Commands for signed URLs: url, serve."""

from __future__ import annotations

from contextlib import suppress

import click

from chuk_artifacts.cli.opening import opened
from chuk_artifacts.settings import GATEWAY_PORT, default_gateway_of_commands


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


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=GATEWAY_PORT, show_default=True, help="The port; 0: a free one."
)
@click.option(
    "--origin", "origins", multiple=True, metavar="ORIGIN", help="A web origin whose pages may read answers (CORS)."
)
@click.option(
    "--connections",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="How many clients to serve at once; others queue.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long a client may keep a request waiting in all.",
)
def serve(host: str, port: int, origins: tuple[str, ...], connections: int, timeout: float) -> None:
    """Serve the signed URLs of the store until interrupted.

    The server speaks no TLS: on the internet, put a proxy in front of it.
    """
    from chuk_artifacts.gateway import Gateway  # noqa: PLC0415 - the other commands start faster without
    from chuk_artifacts.gateway.server import Limits, Server  # noqa: PLC0415 - as above

    with opened() as store:
        limits = Limits(connections=connections, wait_seconds=timeout)
        server = Server(Gateway(store, origins=origins), host, port, limits=limits)
        click.echo(f"serving {server.url}", err=True)
        with suppress(KeyboardInterrupt):
            server.run()
