"""Commands that carry a store elsewhere: catalog export, catalog import, migrate."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from chuk_artifacts import ArtifactStore, InvalidInputError, MigrationReport, migrate
from chuk_artifacts.cli.addressing import Session
from chuk_artifacts.cli.opening import missing_part, opened
from chuk_artifacts.cli.output import fail, note, print_json
from chuk_artifacts.cli.progress import callback_of, progress, records_progress
from chuk_artifacts.cli.tables import print_facts
from chuk_artifacts.cli.values import examples
from chuk_artifacts.errors import shown
from chuk_artifacts.migration import DEFAULT_WORKERS
from chuk_artifacts.operations import reporting
from chuk_artifacts.settings import MEMORY, default_provider_of_commands, of_one_store, overridden, resolve

_STREAM = "-"
_FILE = click.Path(dir_okay=False, allow_dash=True)
_KEPT = ("SESSION_REDIS_URL", "SESSION_POSTGRES_URL", "SESSION_POSTGRES_SCHEMA")
"""What a target that is given by a URL has in common with the store, unless it is given too."""
_VARIABLE = r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*"


@click.group()
def catalog() -> None:
    """Export all records to a file, and import them again."""


@catalog.command("export", epilog=examples("chuk-artifacts catalog export backup.jsonl.gz"))
@click.argument("file", type=_FILE)
@click.option("--dry-run", is_flag=True, help="Read all records, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def catalog_export(file: str, *, dry_run: bool, as_json: bool) -> None:
    """Write all sessions and records to a file; the files themselves are not in it.

    A name that ends with .gz makes it gzip; - is the standard output.
    """
    with opened(must_exist=True) as store, records_progress("export") as callback:
        target = _Nowhere() if dry_run else sys.stdout.buffer if file == _STREAM else file
        count = store.export_catalog(target, callback=callback)
    if file != _STREAM or dry_run:
        _print_count("exported", count, as_json=as_json)


@catalog.command("import", epilog=examples("chuk-artifacts catalog import backup.jsonl.gz"))
@click.argument("file", type=_FILE)
@click.option("--dry-run", is_flag=True, help="Check the file, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def catalog_import(file: str, *, dry_run: bool, as_json: bool) -> None:
    """Add the sessions and records of an export, and keep what is newer in the catalog.

    The file may be gzip; - is the standard input.
    """
    with opened(must_exist=True, new_catalog=True) as store, records_progress("import") as callback:
        source = sys.stdin.buffer if file == _STREAM else file
        count = store.import_catalog(source, callback=callback, dry_run=dry_run)
    _print_count("records" if dry_run else "imported", count, as_json=as_json)


def _print_count(name: str, count: int, *, as_json: bool) -> None:
    if as_json:
        print_json({name: count})
    else:
        click.echo(f"{name}  {count}")


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: bytes, /) -> int:
        """Drop *data*."""
        return len(data)


@click.command("migrate", epilog=examples("chuk-artifacts migrate --to ./copy"))
@click.option("--to", "url", metavar="URL", help="The target's storage: s3://bucket/prefix, a folder, or another URL.")
@click.option(
    "--to-env",
    "variables_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="A file with the target's variables (ARTIFACT_PROVIDER and so on), as lines NAME=VALUE.",
)
@click.option(
    "--to-session-provider", "sessions_in", metavar="NAME", help="The target's records: sqlite, redis, postgres."
)
@click.option(
    "--to-sandbox",
    metavar="NAME",
    help="The target's namespace; default: ARTIFACT_SANDBOX_ID in FILE, else that of the store, so that ids stay.",
)
@click.option("--session", "session_ids", multiple=True, type=Session(), help="Only this session; may be repeated.")
@click.option("--workers", default=DEFAULT_WORKERS, show_default=True, metavar="N", help="How many files at once.")
@click.option("--dry-run", is_flag=True, help="Only count what would be copied.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def migrate_command(
    *,
    url: str | None,
    variables_file: str | None,
    sessions_in: str | None,
    to_sandbox: str | None,
    session_ids: tuple[str, ...],
    workers: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Copy all files to another store, verified, with their ids, records and earlier versions.

    This store is only read. Run it again to copy what is missing or has changed since.
    """
    if (url is None) == (variables_file is None):
        raise click.UsageError("name the target: --to URL, or --to-env FILE")
    with opened(must_exist=True) as source:
        reporting.answers(source.scope)  # with its own credentials, before the target's are set
        variables = _variables_of_url(url) if url is not None else _variables_in(variables_file or "")
        if sessions_in is not None:
            variables["SESSION_PROVIDER"] = sessions_in
        is_named = to_sandbox or variables.get("ARTIFACT_SANDBOX_ID")
        variables["ARTIFACT_SANDBOX_ID"] = is_named or source.sandbox_id
        if variables["ARTIFACT_SANDBOX_ID"] != source.sandbox_id:
            note(f"ids change: this sandbox is {source.sandbox_id}, the target's {variables['ARTIFACT_SANDBOX_ID']}")
        with _target(variables, dry_run=dry_run) as target:
            report = _migrated(source, target, session_ids or None, workers, dry_run=dry_run)
            if not (is_named or dry_run or as_json):
                note(f"open the target with --sandbox {target.sandbox_id} (ARTIFACT_SANDBOX_ID)")
    _print_report(report, as_json=as_json)


def _migrated(
    source: ArtifactStore, target: ArtifactStore, session_ids: tuple[str, ...] | None, workers: int, *, dry_run: bool
) -> MigrationReport:
    usage = source.usage()
    with progress("migrate", usage.bytes, usage.artifacts) as advance:
        return migrate(
            source,
            target,
            sessions=session_ids,
            max_workers=workers,
            callback=callback_of(advance),
            dry_run=dry_run,
        )


def _print_report(report: MigrationReport, *, as_json: bool) -> None:
    if as_json:
        print_json(dict(report))
    else:
        print_facts({name: value for name, value in report.items() if name != "failures"}, None)
        for name, reason in report.failures.items():
            note(f"{name}: {reason}")
    if report.failed or report.damaged:
        fail(f"{report.failed} files were not copied, and {report.damaged} records are damaged")


def _variables_of_url(url: str) -> dict[str, str]:
    """Return the variables of a target; a path is that of a folder."""
    if re.search(r"[/.\\]", url) and "://" not in url and "::" not in url:
        return {**of_one_store(_KEPT), "ARTIFACT_PROVIDER": "filesystem", "ARTIFACT_FS_ROOT": url}
    return {**of_one_store(_KEPT), "ARTIFACT_PROVIDER": url}


def _variables_in(path: str) -> dict[str, str]:
    """Return the variables in a file.

    Raises:
        InvalidInputError: a line is not of the form NAME=VALUE.

    """
    found: dict[str, str] = of_one_store()
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            match = re.fullmatch(_VARIABLE, text)
            if match is None:  # no text in the message: it may be a secret
                raise InvalidInputError(f"{shown(path)}, line {number}: not of the form NAME=VALUE")
            value = match[2]
            is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[match[1]] = value[1:-1] if is_quoted else value
    return found


@contextmanager
def _target(variables: dict[str, str], *, dry_run: bool) -> Iterator[ArtifactStore]:
    """Open the store that variables describe; for a dry run an empty one in memory if there is none yet."""
    with overridden(variables):
        provider = default_provider_of_commands()
        found = resolve(storage_provider=provider, now=time.time())
        if MEMORY in {found.storage_provider, found.session_provider}:
            raise InvalidInputError(
                "the target would be in memory, and end with this command: name its storage (--to), and where its"
                " records are (--to-session-provider sqlite, redis or postgres)"
            )
        is_missing = dry_run and missing_part(found) is not None
        with ArtifactStore(
            storage_provider=MEMORY if is_missing else provider, session_provider="memory" if is_missing else None
        ) as store:
            yield store
