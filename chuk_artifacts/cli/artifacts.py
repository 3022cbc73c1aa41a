"""The command line: a thin dress of the verbs."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from chuk_artifacts import ArtifactStore, ArtifactStoreError, InvalidInputError, __version__
from chuk_artifacts.models import ORPHAN_GRACE_SECONDS
from chuk_artifacts.settings import (
    FILESYSTEM,
    GATEWAY_PORT,
    MEMORY,
    REDIS,
    SQLITE,
    Settings,
    default_gateway_of_commands,
    default_provider_of_commands,
    resolve,
)
from chuk_artifacts.source import StoreItem
from chuk_artifacts.storage import open_storage

_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]").sub

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chuk-artifacts")
def cli() -> None:
    """Store files that belong to sessions, and find them again.

    Everything is configured by the environment: ARTIFACT_PROVIDER (here: filesystem, unless set), ARTIFACT_FS_ROOT
    (./artifacts), ARTIFACT_SANDBOX_ID and the others that the README lists.
    """


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--session", default="cli", show_default=True, help="The session that the files belong to.")
@click.option("--summary", default="", help="A description.")
@click.option("--mime", help="Media type; guessed from the file's name when left out.")
@click.option(
    "--ttl", type=float, metavar="SECONDS", help="How long to keep the files; as long as the session if not given."
)
def put(files: tuple[str, ...], session: str, summary: str, mime: str | None, ttl: float | None) -> None:
    """Store FILEs, all of them or none, and print their ids. - is the standard input."""
    with _store() as store:
        items = [_item(name, mime, summary) for name in files]
        _print_lines(store.store_batch(items, session_id=session, ttl=ttl))


@cli.command()
@click.argument("artifact_id", metavar="ID")
@click.option("-o", "--output", metavar="PATH", help="Write to this file or folder instead of the standard output.")
@click.option("--force", is_flag=True, help="Replace a file that a folder has under the artifact's name.")
def get(artifact_id: str, output: str | None, *, force: bool) -> None:
    """Write the content of an artifact."""
    with _store() as store:
        if output is not None:
            click.echo(str(store.download(artifact_id, output, overwrite=force)), err=True)
            return
        for chunk in store.stream(artifact_id):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


@cli.command()
@click.argument("session", default="cli")
@click.option("--prefix", default="", help="Only filenames that begin with this.")
@_as_json
def ls(session: str, prefix: str, *, as_json: bool) -> None:
    """List the artifacts of a SESSION (cli, when left out)."""
    with _store() as store:
        found = store.iter_session(session, prefix=prefix)
        if as_json:
            click.echo(json.dumps([dict(metadata) for metadata in found], indent=2))
            return
        _print_lines(
            f"{metadata.artifact_id}  {metadata.bytes:>12}  {metadata.stored_at[:19]}  {metadata.filename or '-'}"
            for metadata in found
        )


@cli.command()
@click.argument("artifact_id", metavar="ID")
@_as_json
def info(artifact_id: str, *, as_json: bool) -> None:
    """Print what is known of an artifact."""
    with _store() as store:
        _print_mapping(store.metadata(artifact_id), as_json=as_json)


@cli.command()
@click.argument("artifact_ids", nargs=-1, required=True, metavar="ID...")
def rm(artifact_ids: tuple[str, ...]) -> None:
    """Delete artifacts."""
    with _store() as store:
        missing = [artifact_id for artifact_id in artifact_ids if not store.delete(artifact_id)]
    if missing:
        _fail(f"not found: {', '.join(missing)}")


@cli.command()
@click.argument("artifact_id", metavar="ID")
@click.option(
    "--expires", type=float, default=3600, show_default=True, metavar="SECONDS", help="How long the URL works."
)
def url(artifact_id: str, expires: float) -> None:
    """Print a URL from which anybody can download an artifact for a while.

    Where the storage can't sign it itself, it is one of the gateway at ARTIFACT_GATEWAY_URL, or, when that is not set,
    of chuk-artifacts serve on this machine.
    """
    with _store(gateway_url=default_gateway_of_commands()) as store:
        click.echo(store.presign(artifact_id, expires))


@cli.command()
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
    help="How many clients are served at once; others queue.",
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
    """Serve the signed URLs of the store, until interrupted.

    There is no TLS: before it meets the internet it belongs behind a proxy.
    """
    from chuk_artifacts.gateway import Gateway  # noqa: PLC0415 - the other commands start faster without
    from chuk_artifacts.server import Limits, Server  # noqa: PLC0415 - as above

    with _store() as store:
        limits = Limits(connections=connections, wait_seconds=timeout)
        server = Server(Gateway(store, origins=origins), host, port, limits=limits)
        click.echo(f"serving {server.url}", err=True)
        with suppress(KeyboardInterrupt):
            server.run()


@cli.command()
@click.option("--orphans", is_flag=True, help="Also remove bytes without a record, such as a crash leaves.")
@click.option("--dry-run", is_flag=True, help="Only report what would be removed.")
@click.option(
    "--older-than",
    default="1d",
    show_default=True,
    metavar="AGE",
    callback=lambda _context, _option, value: _seconds(value),
    help="How old an orphan must be, at least a day: 36h, 7d, 2w.",
)
@click.option("--force", is_flag=True, help="Remove orphans even when they are more than half of what is stored.")
@click.option("-v", "--verbose", is_flag=True, help="Print up to ten keys of orphans.")
@_as_json
def gc(*, orphans: bool, dry_run: bool, older_than: float, force: bool, verbose: bool, as_json: bool) -> None:
    """Remove expired files and sessions.

    With --orphans, bytes without a record go too, if they are older than a day and the catalog proves to be the one
    that describes this storage.
    """
    with _store() as store:
        report = store.cleanup(orphans=orphans, dry_run=dry_run, force=force, older_than=older_than)
    _print_mapping(report, as_json=as_json)
    if verbose:
        for key in report.orphan_keys:
            click.echo(f"orphan  {_shown(key)}", err=as_json)
    if report.damaged:
        _fail(f"{report.damaged} records are damaged, and were left alone: run chuk-artifacts doctor")


@cli.command()
def init() -> None:
    """Make the bucket that the bytes go to, unless it is there. Other providers need none."""
    with _failing_in_one_line():
        storage = open_storage(resolve(storage_provider=default_provider_of_commands(), now=time.time()))
        storage.create()
        storage.check()
        storage.close()


@cli.command()
@_as_json
def doctor(*, as_json: bool) -> None:
    """Try the storage and the catalog, and report what they are.

    The exit status is 1 when one of them does not work, or when they may lose data. A few KiB are written and removed.
    """
    with _store(any_records=True) as store:
        found = store.validate_configuration(thorough=True)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print_lines(line for side, facts in found.items() for line in _diagnosis(side, facts))
    if any(facts["status"] != "ok" or "warning" in facts for facts in found.values()):
        sys.exit(1)


def _diagnosis(side: str, facts: Mapping[str, str]) -> Iterator[str]:
    yield f"{side}: {facts['provider']}, {facts['status']}"
    for name, value in facts.items():
        if name not in {"provider", "status"}:
            yield f"  {name}: {value}"


@contextmanager
def _store(*, any_records: bool = False, **options: Any) -> Iterator[ArtifactStore]:
    """Open the store of the environment; unless *any_records* will do, one that the next command finds again."""
    provider = default_provider_of_commands()
    with _failing_in_one_line():
        if not any_records:
            _check_persistence(resolve(storage_provider=provider, now=time.time()))
        with ArtifactStore(storage_provider=provider, **options) as store:
            yield store


def _check_persistence(settings: Settings) -> None:
    """Refuse providers that end with this command."""
    if settings.session_provider == MEMORY:
        raise InvalidInputError(
            "the records would be in memory, where the next command can't find them:"
            f" set SESSION_PROVIDER to {SQLITE} or {REDIS}"
        )
    if settings.storage_provider == MEMORY:
        raise InvalidInputError(
            f"the files would be in memory, and end with this command: set ARTIFACT_PROVIDER to {FILESYSTEM} or another"
        )


_UNITS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def _seconds(age: str) -> float:
    """Return an age such as ``36h``, ``7d`` or ``2w`` in seconds."""
    match = re.fullmatch(r"([0-9]{1,6})([hdw])", age)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if seconds < ORPHAN_GRACE_SECONDS:
        raise click.BadParameter(f"{age!r} is not an age of at least a day, such as 36h, 7d or 2w")
    return seconds


@contextmanager
def _failing_in_one_line() -> Iterator[None]:
    """Turn an error into one line and exit status 1."""
    try:
        yield
    except BrokenPipeError:
        sys.stderr.close()  # or the interpreter complains of the same when it ends
        sys.exit(1)
    except (ArtifactStoreError, OSError) as error:
        _fail(str(error))


def _item(name: str, mime: str | None, summary: str) -> StoreItem:
    if name == "-":
        return {"data": sys.stdin.buffer, "mime": mime, "summary": summary}
    path = Path(name)
    return {"data": path, "filename": path.name, "mime": mime, "summary": summary}


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(_shown(line))


def _print_mapping(mapping: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(dict(mapping), indent=2))
        return
    width = max(map(len, mapping))
    _print_lines(f"{name:{width}}  {value}" for name, value in mapping.items())


def _shown(text: str) -> str:
    """Return a text with escapes for what a terminal would obey: control characters, and changes of direction."""
    return _OBEYED(lambda found: found[0].encode("unicode_escape").decode(), text)


def _fail(message: str) -> NoReturn:
    click.echo(f"chuk-artifacts: {_shown(' '.join(message.split()))}", err=True)
    sys.exit(1)
