"""Commands for artifacts: put, get, ls, info, rm."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chuk_artifacts.cli.opening import opened
from chuk_artifacts.cli.output import fail, json_option, print_json, print_lines, print_mapping
from chuk_artifacts.source import StoreItem


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--session", default="cli", show_default=True, help="The session to store the files in.")
@click.option("--summary", default="", help="A description.")
@click.option("--mime", help="Media type; default: guessed from the filename.")
@click.option(
    "--ttl", type=float, metavar="SECONDS", help="How long to keep the files; default: as long as the session."
)
def put(files: tuple[str, ...], session: str, summary: str, mime: str | None, ttl: float | None) -> None:
    """Store FILEs, all of them or none, and print their ids. - is the standard input."""
    with opened() as store:
        items = [_item(name, mime, summary) for name in files]
        print_lines(store.store_batch(items, session_id=session, ttl=ttl))


def _item(name: str, mime: str | None, summary: str) -> StoreItem:
    if name == "-":
        return {"data": sys.stdin.buffer, "mime": mime, "summary": summary}
    path = Path(name)
    return {"data": path, "filename": path.name, "mime": mime, "summary": summary}


@click.command()
@click.argument("artifact_id", metavar="ID")
@click.option("-o", "--output", metavar="PATH", help="Write to this file or folder instead of the standard output.")
@click.option("--force", is_flag=True, help="Replace a file of that name in the folder.")
def get(artifact_id: str, output: str | None, *, force: bool) -> None:
    """Write the content of an artifact."""
    with opened() as store:
        if output is not None:
            click.echo(str(store.download(artifact_id, output, overwrite=force)), err=True)
            return
        for chunk in store.stream(artifact_id):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


@click.command()
@click.argument("session", default="cli")
@click.option("--prefix", default="", help="List only filenames that begin with this.")
@json_option
def ls(session: str, prefix: str, *, as_json: bool) -> None:
    """List the artifacts of a SESSION (default: cli)."""
    with opened() as store:
        found = store.iter_session(session, prefix=prefix)
        if as_json:
            print_json([dict(metadata) for metadata in found])
            return
        print_lines(
            f"{metadata.artifact_id}  {metadata.bytes:>12}  {metadata.stored_at[:19]}  {metadata.filename or '-'}"
            for metadata in found
        )


@click.command()
@click.argument("artifact_id", metavar="ID")
@json_option
def info(artifact_id: str, *, as_json: bool) -> None:
    """Print the metadata of an artifact."""
    with opened() as store:
        print_mapping(store.metadata(artifact_id), as_json=as_json)


@click.command()
@click.argument("artifact_ids", nargs=-1, required=True, metavar="ID...")
def rm(artifact_ids: tuple[str, ...]) -> None:
    """Delete artifacts."""
    with opened() as store:
        missing = [artifact_id for artifact_id in artifact_ids if not store.delete(artifact_id)]
    if missing:
        fail(f"not found: {', '.join(missing)}")
