"""Commands for operators: gc, reindex, init."""

from __future__ import annotations

import os

import click

from chuk_artifacts.cli.opening import opened, settings
from chuk_artifacts.cli.output import errors_in_one_line, fail, note, shown
from chuk_artifacts.cli.progress import callback_of, counted
from chuk_artifacts.cli.tables import form_options, print_facts
from chuk_artifacts.cli.values import age, examples
from chuk_artifacts.settings import POSTGRES, SQLITE, Settings
from chuk_artifacts.storage import open_storage


@click.command(epilog=examples("chuk-artifacts gc --orphans --dry-run -v"))
@click.option("--orphans", is_flag=True, help="Also remove bytes without a record, such as a crash leaves.")
@click.option("--dry-run", is_flag=True, help="Only report what would be removed.")
@click.option(
    "--older-than",
    default="1d",
    show_default=True,
    metavar="AGE",
    callback=age,
    help="How old an orphan must be, at least a day: 36h, 7d, 2w.",
)
@click.option("--force", is_flag=True, help="Remove orphans even when they are more than half of what is stored.")
@click.option("-v", "--verbose", is_flag=True, help="Print up to ten keys of orphans.")
@form_options
def gc(*, orphans: bool, dry_run: bool, older_than: float, force: bool, verbose: bool, form: str | None) -> None:
    """Remove expired files and sessions.

    With --orphans, also remove bytes without a record that are older than a day, if the catalog proves that it
    describes this storage. What such a sweep skips is counted: objects that are too young to be looked at, and objects
    whose keys are not of artifacts.
    """
    with opened(must_exist=True, new_catalog=True) as store:
        report = store.cleanup(orphans=orphans, dry_run=dry_run, force=force, older_than=older_than)
    facts = dict(report)
    if orphans and form is None:
        facts["skipped"] = f"{report.young} younger than the age, {report.foreign} that are not of artifacts"
    elif orphans:
        facts["skipped"] = {"young": report.young, "foreign": report.foreign}
    print_facts(facts, form)
    if verbose:
        for key in report.orphan_keys:
            if form is None:
                click.echo(f"orphan  {shown(key)}")
            else:
                note(f"orphan  {key}")
    if report.damaged:
        fail(f"{report.damaged} records are damaged, and were left as they are: run chuk-artifacts doctor")


@click.command(epilog=examples("chuk-artifacts reindex --dry-run --json", "chuk-artifacts --root ./artifacts reindex"))
@click.option("--dry-run", is_flag=True, help="Only report what would come back.")
@form_options
def reindex(*, dry_run: bool, form: str | None) -> None:
    """Rebuild a lost catalog from what the storage keeps beside the bytes.

    Adds what the catalog lacks and leaves the rest as it is, so it may run at any time, and again after an
    interruption. Exits with status 1 if something could not be read.
    """
    with opened(must_exist=True, new_catalog=True) as store, counted("reindex") as advance:
        report = store.reindex(callback=callback_of(advance), dry_run=dry_run)
    facts = dict(report)
    if form is None:
        facts.pop("failures")
    print_facts(facts, form)
    if report.failed:
        for key, reason in report.failures.items():
            note(f"{key}: {reason}")
        fail(f"{report.failed} objects could not be read")


@click.command(epilog=examples("chuk-artifacts init --root ./artifacts", "chuk-artifacts init --json"))
@form_options
def init(*, form: str | None) -> None:
    """Create the store: its folder or bucket, and the database or its tables. What exists stays as it is.

    Prints what was created and what was there. Other commands that store files create the folder too, but not a
    bucket. At a custom endpoint the service chooses the region of a new bucket, unless it requires the configured one.
    """
    with errors_in_one_line():
        found = settings()
        storage = open_storage(found)
        created = storage.create()
        storage.check()
        storage.close()
    catalog = _catalog_of(found)
    if found.session_provider in {SQLITE, POSTGRES}:
        with opened(in_memory=True) as store:
            store.get_stats()  # opening the database creates it, or its tables
    print_facts({"storage": created, "catalog": catalog}, form)


def _catalog_of(found: Settings) -> str:
    """Return what ``init`` creates for the catalog, or finds, in a few words; called before it does."""
    if found.session_provider == SQLITE:
        path = str(found.sqlite_path)
        return f"{'found' if os.path.exists(path) else 'created'} the database {path!r}"
    if found.session_provider == POSTGRES:
        return "PostgreSQL has the tables"
    return f"nothing to create in {found.session_provider}"
