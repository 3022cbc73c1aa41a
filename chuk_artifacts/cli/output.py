"""What commands print: lines, mappings, JSON, and errors in one line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import click

from chuk_artifacts import ArtifactStoreError

Command = Callable[..., None]

_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]").sub

json_option: Callable[[Command], Command] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: object) -> None:
    """Print JSON."""
    click.echo(json.dumps(value, indent=2))


def print_lines(lines: Iterable[str]) -> None:
    """Print each line, safe for a terminal."""
    for line in lines:
        click.echo(shown(line))


def print_mapping(mapping: Mapping[str, object], *, as_json: bool) -> None:
    """Print names and values as JSON, or in two columns."""
    if as_json:
        print_json(dict(mapping))
        return
    width = max(map(len, mapping))
    print_lines(f"{name:{width}}  {value}" for name, value in mapping.items())


def shown(text: str) -> str:
    """Escape the characters that a terminal obeys: control characters, and changes of direction."""
    return _OBEYED(lambda found: found[0].encode("unicode_escape").decode(), text)


def fail(message: str) -> NoReturn:
    """Print an error in one line, and exit with status 1."""
    click.echo(f"chuk-artifacts: {shown(' '.join(message.split()))}", err=True)
    sys.exit(1)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn the errors of the store and of the system into one line and exit status 1."""
    try:
        yield
    except BrokenPipeError:
        sys.stderr.close()  # or the interpreter complains of the same when it ends
        sys.exit(1)
    except (ArtifactStoreError, OSError) as error:
        fail(str(error))
