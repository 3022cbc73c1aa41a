"""The commands serve and browse: the gateway, and a page that shows the store, on uvicorn."""

from __future__ import annotations

import socket
import sys
import webbrowser
from functools import partial

import click

from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.options import Run, ServeOptions
from chuk_artifacts.cli.output import errors_in_one_line, fail
from chuk_artifacts.cli.values import examples
from chuk_artifacts.errors import how_to_install
from chuk_artifacts.settings import GATEWAY_PORT

_BACKLOG = 1024
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


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
@click.option(
    "--browse", is_flag=True, help="Serve the page of the command browse too; only on 127.0.0.1, as it shows all files."
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
    browse: bool,
    verbose: bool,
) -> None:
    """Serve the signed URLs of the store until interrupted; requests under way are answered to their end.

    /healthz answers 200 while storage and catalog do. The server speaks no TLS: on the internet, put a proxy in front
    of it.

    Example: chuk-artifacts serve --host 0.0.0.0 --workers 2 -v
    """
    if browse and host not in _LOOPBACK:
        fail(f"--browse shows all files of the store, so it works on 127.0.0.1 only, and not on {host}")
    options = ServeOptions(
        origins=origins,
        connections=connections,
        timeout=timeout,
        verbose=verbose,
        browse_token=_token() if browse else None,
    )
    with opened():  # what is wrong with the configuration is one line, and not one a worker
        pass
    _serve(options, host, port, workers)


@click.command(epilog=examples("chuk-artifacts browse"))
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="The port; 0: a free one.")
@click.option("--open/--no-open", "opens", default=None, help="Open a web browser; default: on a terminal.")
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each request.")
def browse(*, port: int, opens: bool | None, verbose: bool) -> None:
    """Show the store on a web page: sessions, files, previews, versions and search. It changes nothing.

    The page is on 127.0.0.1 only. Its URL holds a random secret: whoever has it sees all files until the command ends.
    """
    options = ServeOptions(verbose=verbose, has_gateway=False, browse_token=_token())
    with opened(must_exist=True):
        pass
    _serve(options, "127.0.0.1", port, 1, opens=sys.stdout.isatty() if opens is None else opens)


def _serve(options: ServeOptions, host: str, port: int, workers: int, *, opens: bool = False) -> None:
    run = _runner()
    with errors_in_one_line(), _listen(host, port) as listening:
        place = f"[{host}]" if ":" in host else host
        address = f"http://{place}:{listening.getsockname()[1]}"
        announce = partial(_announce, options, address, opens=opens)
        if workers == 1:
            run(options, listening, announce)
        else:
            from chuk_artifacts.cli.workers import Workers  # noqa: PLC0415 - as below

            Workers(run, options, listening).run(workers, announce)


def _announce(options: ServeOptions, address: str, *, opens: bool) -> None:
    if options.has_gateway:
        click.echo(f"serving {address}", err=True)
    if options.browse_path is not None:
        click.echo(f"{address}{options.browse_path}")
    if opens:
        webbrowser.open(f"{address}{options.browse_path}")


def _token() -> str:
    """Return a secret for the path of the page; the page needs an extra."""
    try:
        from chuk_artifacts.browse.application import new_token  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"starlette", "jinja2", "markdown_it"}:
            raise
        fail(f"browse needs {missing}: {how_to_install('browse')}")
    return new_token()


def _runner() -> Run:
    """Return the function that serves; it needs an extra."""
    try:
        from chuk_artifacts.cli.server import run  # noqa: PLC0415 - the other commands start faster without
    except ModuleNotFoundError as error:
        if error.name != "uvicorn":
            raise
        fail(f"{click.get_current_context().info_name} needs uvicorn: {how_to_install('serve')}")
    return run


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)
