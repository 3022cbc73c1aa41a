"""Commands for signed URLs: url, upload-url."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import click

from chuk_artifacts import ArtifactMetadata
from chuk_artifacts.arguments import OCTET_STREAM, check_mime
from chuk_artifacts.cli.addressing import Address, find
from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.output import note
from chuk_artifacts.cli.tables import form_options, is_terminal, print_facts
from chuk_artifacts.cli.values import NEVER, Duration, examples, pairs
from chuk_artifacts.human import expiry_text, seconds_left
from chuk_artifacts.settings import default_gateway_of_commands

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_EXPIRES = click.option(
    "--expires",
    type=Duration(endless=False),
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How long the URL works, at most 7d: 90 (seconds), 12h or 7d.",
)


@click.command(epilog=examples("chuk-artifacts url demo/hello.txt --expires 12h"))
@click.argument("addresses", nargs=-1, required=True, type=Address(), metavar="ADDRESS...")
@_EXPIRES
def url(addresses: tuple[str, ...], expires: float) -> None:
    """Print a URL that downloads a file, without credentials, until it expires.

    If the storage can't sign URLs, the URL leads to the gateway at ARTIFACT_GATEWAY_URL (default: chuk-artifacts serve
    on this machine).
    """
    with opened(must_exist=True, gateway_url=default_gateway_of_commands()) as store:
        for artifact in [find(store, address) for address in addresses]:
            address = store.presign(artifact.artifact_id, expires)
            click.echo(address)
            _note_limits(artifact, address, expires)


def _note_limits(artifact: ArtifactMetadata, address: str, expires: float) -> None:
    """Say what keeps a link from working for as long as it was wanted, or elsewhere."""
    name = artifact.filename or artifact.artifact_id
    if artifact.expires_at is not None and seconds_left(artifact.expires_at) < expires:
        note(f"{name} expires {expiry_text(artifact.expires_at)}, before the link does")
    if is_terminal() and urlsplit(address).hostname in _LOOPBACK:
        note("this link works on this machine, while chuk-artifacts serve runs; for others set ARTIFACT_GATEWAY_URL")


@click.command(
    "upload-url", epilog=examples("chuk-artifacts upload-url demo/photo.jpg --expires 15m --max-bytes 5000000")
)
@click.argument("target", type=Address(), metavar="SESSION/FILENAME")
@_EXPIRES
@click.option("--mime", help="Media type of the upload; default: guessed from the filename.")
@click.option("--summary", default="", help="A description.")
@click.option(
    "--meta", multiple=True, callback=pairs, metavar="NAME=VALUE", help="A value to keep with the file; see put."
)
@click.option("--ttl", type=Duration(endless=False), metavar="DURATION", help="How long to keep the file, as for put.")
@click.option("--max-bytes", type=click.IntRange(0), metavar="BYTES", help="The longest upload.")
@form_options
def upload_url(
    *,
    target: str,
    expires: float,
    mime: str | None,
    summary: str,
    meta: dict[str, Any],
    ttl: float | None,
    max_bytes: int | None,
    form: str | None,
) -> None:
    """Print a URL that takes one upload (HTTP PUT), without credentials, and the id of the later file.

    The first read or listing after the upload makes the file.
    """
    session_id, _, filename = target.partition("/")
    with opened(gateway_url=default_gateway_of_commands()) as store:
        media_type = check_mime(mime, filename, OCTET_STREAM)
        address, artifact_id = store.presign_upload_and_register(
            mime=media_type,
            summary=summary,
            meta=meta or None,
            filename=filename or None,
            session_id=session_id,
            ttl=None if ttl in {None, NEVER} else ttl,
            expires=expires,
            max_bytes=max_bytes,
        )
        print_facts({"url": address, "artifact_id": artifact_id, "content_type": media_type}, form)
