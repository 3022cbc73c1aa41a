"""The command serve: the gateway on uvicorn, in one process or in several."""

from __future__ import annotations

import socket
from collections.abc import Callable

import click

from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.options import ServeOptions
from chuk_artifacts.cli.output import errors_in_one_line, fail
from chuk_artifacts.settings import GATEWAY_PORT

_BACKLOG = 1024


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=GATEWAY_PORT, show_default=True, help="The port; 0: a free one."
)
@click.option(
    "--origin", "origins", multiple=True, metavar="ORIGIN", help="A web origin whose pages may read answers (CORS)."
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="How many processes serve.")
@click.option(
    "--connections",
    type=click.IntRange(1),
    default=400,
    show_default=True,
    help="How many clients each process serves at once; others get a 503.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long a client may keep a request waiting in all.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each request, without its signature.")
def serve(
    *,
    host: str,
    port: int,
    origins: tuple[str, ...],
    workers: int,
    connections: int,
    timeout: float,
    verbose: bool,
) -> None:
    """Serve the signed URLs of the store until interrupted; requests under way are answered to their end.

    /healthz answers 200 while storage and catalog do. The server speaks no TLS: on the internet, put a proxy in front
    of it.

    Example: chuk-artifacts serve --host 0.0.0.0 --workers 2 -v
    """
    run = _runner()
    options = ServeOptions(origins=origins, connections=connections, timeout=timeout, verbose=verbose)
    with opened():  # what is wrong with the configuration is one line, and not one a worker
        pass
    with errors_in_one_line(), _listen(host, port) as listening:
        place = f"[{host}]" if ":" in host else host
        click.echo(f"serving http://{place}:{listening.getsockname()[1]}", err=True)
        if workers == 1:
            run(options, listening)
        else:
            from chuk_artifacts.cli.workers import Workers  # noqa: PLC0415 - as below

            Workers(run, options, listening).run(workers)


def _runner() -> Callable[[ServeOptions, socket.socket], None]:
    """Return the function that serves; it needs an extra."""
    try:
        from chuk_artifacts.cli.server import run  # noqa: PLC0415 - the other commands start faster without
    except ModuleNotFoundError as error:
        if error.name != "uvicorn":
            raise
        fail("serve needs uvicorn: python -m pip install 'chuk-artifacts[serve]'")
    return run


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)
