"""Commands for operators: gc, init, doctor."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping

import click

from chuk_artifacts.cli.opening import opened, settings
from chuk_artifacts.cli.output import (
    errors_in_one_line,
    fail,
    json_option,
    print_json,
    print_lines,
    print_mapping,
    shown,
)
from chuk_artifacts.models import ORPHAN_GRACE_SECONDS
from chuk_artifacts.storage import open_storage

_UNITS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def _seconds(_context: click.Context, _option: click.Parameter, age: str) -> float:
    """Return an age such as ``36h``, ``7d`` or ``2w`` in seconds."""
    match = re.fullmatch(r"([0-9]{1,6})([hdw])", age)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if seconds < ORPHAN_GRACE_SECONDS:
        raise click.BadParameter(f"{age!r} is not an age of at least a day, such as 36h, 7d or 2w")
    return seconds


@click.command()
@click.option("--orphans", is_flag=True, help="Also remove bytes without a record, such as a crash leaves.")
@click.option("--dry-run", is_flag=True, help="Only report what would be removed.")
@click.option(
    "--older-than",
    default="1d",
    show_default=True,
    metavar="AGE",
    callback=_seconds,
    help="How old an orphan must be, at least a day: 36h, 7d, 2w.",
)
@click.option("--force", is_flag=True, help="Remove orphans even when they are more than half of what is stored.")
@click.option("-v", "--verbose", is_flag=True, help="Print up to ten keys of orphans.")
@json_option
def gc(*, orphans: bool, dry_run: bool, older_than: float, force: bool, verbose: bool, as_json: bool) -> None:
    """Remove expired files and sessions.

    With --orphans, also remove bytes without a record that are older than a day, if the catalog proves that it
    describes this storage.
    """
    with opened() as store:
        report = store.cleanup(orphans=orphans, dry_run=dry_run, force=force, older_than=older_than)
    print_mapping(report, as_json=as_json)
    if verbose:
        for key in report.orphan_keys:
            click.echo(f"orphan  {shown(key)}", err=as_json)
    if report.damaged:
        fail(f"{report.damaged} records are damaged, and were left as they are: run chuk-artifacts doctor")


@click.command()
def init() -> None:
    """Create the bucket, unless it exists. Other providers need no init."""
    with errors_in_one_line():
        storage = open_storage(settings())
        storage.create()
        storage.check()
        storage.close()


@click.command()
@json_option
def doctor(*, as_json: bool) -> None:
    """Check the storage and the catalog, and report what they are.

    The check writes and removes a few KiB. The exit status is 1 if one of them does not work, or may lose data.
    """
    with opened(in_memory=True) as store:
        found = store.validate_configuration(thorough=True)
    if as_json:
        print_json(found)
    else:
        print_lines(line for side, facts in found.items() for line in _diagnosis(side, facts))
    if any(facts["status"] != "ok" or "warning" in facts for facts in found.values()):
        sys.exit(1)


def _diagnosis(side: str, facts: Mapping[str, str]) -> Iterator[str]:
    yield f"{side}: {facts['provider']}, {facts['status']}"
    for name, value in facts.items():
        if name not in {"provider", "status"}:
            yield f"  {name}: {value}"
