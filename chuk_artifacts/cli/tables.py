"""Listings: JSON and CSV for programs, plain lines in a pipe, a table on a terminal."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from chuk_artifacts.cli.output import print_json, shown

if TYPE_CHECKING:
    from rich.console import Console

Row = Mapping[str, Any]
Command = Callable[..., None]
TEXT, JSON, CSV = "text", "json", "csv"
_WIDE = 100  # columns, from which whole ids fit beside names
_SHORT_ID = 12  # digits: 8 are the same for all files of a session
_ID = 32
_LONGEST_TABLE = 2000  # rows: rich lays out a table as a whole, which takes seconds from here on


@attrs.frozen
class Column:
    """A column of a listing.

    Attributes:
        title: its title.
        plain: returns its text in a pipe.
        human: returns its text on a terminal; None: as in a pipe.
        right: whether it is aligned to the right.
        folds: whether a terminal may break it over several lines; the others keep their width.
        least: the width from which a terminal shows it.

    """

    title: str
    plain: Callable[[Row], str]
    human: Callable[[Row], str] | None = None
    right: bool = False
    folds: bool = False
    least: int = 0

    def text(self, row: Row, *, human: bool) -> str:
        """Return the text of a row in this column."""
        return shown((self.human if human and self.human else self.plain)(row))


def form_options(command: Command) -> Command:
    """Add ``--json`` and ``--csv``, which set the argument ``form``."""
    as_json = click.option("--json", "form", flag_value=JSON, help="Print JSON.")
    as_csv = click.option("--csv", "form", flag_value=CSV, help="Print CSV, with a line of names.")
    return as_json(as_csv(command))


def is_terminal() -> bool:
    """Return whether the standard output is a terminal."""
    return sys.stdout.isatty()


def print_rows(  # what each form takes stands in its branch
    rows: Iterable[Row],
    columns: Sequence[Column],
    form: str | None,
    *,
    names: Sequence[str],
    total: Callable[[Sequence[Row]], str] | None = None,
    header: bool = False,
) -> None:
    """Print rows in a form.

    Args:
        rows: the rows.
        columns: the columns of text.
        form: JSON, CSV, or None for text.
        names: the names of the columns of CSV.
        total: returns the last line of a listing that has titles.
        header: whether text in a pipe has titles too.

    """
    if form == JSON:
        print_json([dict(row) for row in rows])
    elif form == CSV:
        print_csv(rows, names)
    elif is_terminal():
        _print_table(list(rows), columns, total)
    elif header:
        _print_columns(list(rows), columns, total, human=False)
    else:
        for row in rows:
            click.echo("  ".join(_padded(column, column.text(row, human=False)) for column in columns).rstrip())


def print_csv(rows: Iterable[Row], names: Sequence[str]) -> None:
    """Print rows as CSV (RFC 4180), with a line of names first; objects and lists are JSON."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)


def print_facts(facts: Mapping[str, object], form: str | None) -> None:
    """Print names and values: JSON, CSV of one row, or two columns."""
    if form == JSON:
        print_json(dict(facts))
    elif form == CSV:
        print_csv([facts], list(facts))
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            click.echo(shown(f"{name:{width}}  {value}"))


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _padded(column: Column, text: str, width: int | None = None) -> str:
    if column.right:
        return text.rjust(12 if width is None else width)
    return text if width is None else text.ljust(width)


def _print_columns(
    rows: Sequence[Row], columns: Sequence[Column], total: Callable[[Sequence[Row]], str] | None, *, human: bool
) -> None:
    """Print titles and rows in columns of spaces, and the total."""
    texts = [[column.text(row, human=human) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip([one.title for one in columns], *texts, strict=True)]
    for line in ([column.title for column in columns], *texts):
        click.echo("  ".join(map(_padded, columns, line, widths)).rstrip())
    if total is not None:
        click.echo(total(rows))


def _print_table(rows: Sequence[Row], columns: Sequence[Column], total: Callable[[Sequence[Row]], str] | None) -> None:
    if not rows:
        return
    console = terminal()
    if console is None or len(rows) > _LONGEST_TABLE:
        _print_columns(rows, columns, total, human=True)
        return
    from rich.table import Table  # noqa: PLC0415 - only a terminal needs it
    from rich.text import Text  # noqa: PLC0415 - as above

    columns = [column for column in columns if console.width >= column.least]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.title.upper(),
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=not column.folds,
        )
    for row in rows:
        table.add_row(*(Text(column.text(row, human=True)) for column in columns))
    console.print(table)
    if total is not None:
        console.print(Text(total(rows), style="dim"))


def terminal() -> Console | None:
    """Return the terminal of the standard output; None if ``rich`` is not installed."""
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra, and only a terminal needs it
    except ModuleNotFoundError:
        return None
    return Console(soft_wrap=False)


def id_text(artifact_ids: Sequence[str], *, wide: int = _WIDE) -> Callable[[str], str]:
    """Return how a terminal shows these ids: whole from a width, else as a prefix that is unique among them."""
    if shutil.get_terminal_size().columns >= wide:
        return str
    length = next(
        (size for size in range(_SHORT_ID, _ID) if len({one[:size] for one in artifact_ids}) == len({*artifact_ids})),
        _ID,
    )
    return lambda artifact_id: artifact_id[:length]
