"""What commands print: lines, JSON, and errors in one line."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NoReturn

import click

from chuk_artifacts import ArtifactStoreError

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]").sub
_WORDS_OF_OPTIONS = {
    "storage_provider": "--provider (ARTIFACT_PROVIDER)",
    "session_provider": "--session-provider (SESSION_PROVIDER)",
    "fs_root": "--root (ARTIFACT_FS_ROOT)",
    "sandbox_id": "--sandbox (ARTIFACT_SANDBOX_ID)",
    "session_id": "session",
    "user_id": "user",
    "overwrite=True, --force": "--force",
    "postgres_url": "SESSION_POSTGRES_URL",
    "postgres_schema": "SESSION_POSTGRES_SCHEMA",
    "redis_url": "SESSION_REDIS_URL",
    "max_bytes": "--max-bytes",
    "max_artifact_bytes": "ARTIFACT_MAX_BYTES",
    "max_session_bytes": "ARTIFACT_MAX_SESSION_BYTES",
    "filename must": "--name must",
    "ttl must": "--ttl must",
    "expires must": "--expires must",
    "mime must": "--mime must",
    "meta must": "--meta must",
    "summary is": "--summary is",
    "meta is": "--meta is",
    "bucket must": "--bucket (ARTIFACT_BUCKET) must",
}
"""The names of Python arguments in messages, and what they are on the command line."""
_ARGUMENTS = re.compile("|".join(rf"(?<![\w'/]){re.escape(word)}(?!\w)" for word in _WORDS_OF_OPTIONS)).sub


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


def note(message: str) -> None:
    """Print a line on standard error."""
    click.echo(shown(message), err=True)


def shown(text: str) -> str:
    """Escape the characters that a terminal obeys: control characters, and changes of direction."""
    return _OBEYED(lambda found: found[0].encode("unicode_escape").decode(), text)


def fail(message: str) -> NoReturn:
    """Print an error in one line, and exit with status 1."""
    note(f"chuk-artifacts: {' '.join(message.split())}")
    sys.exit(1)


def in_words_of_options(message: str) -> str:
    """Return the message of an error with options in place of Python arguments."""
    message = re.sub(r"^(items\[\d+\]: )?((data|path): )?", "", message)
    return _ARGUMENTS(lambda found: _WORDS_OF_OPTIONS[found[0]], message)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn the errors of the store and of the system into one line and exit status 1.

    Ctrl-C exits with status 130; a reader that has closed the pipe is no error.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ArtifactStoreError as error:
        fail(in_words_of_options(str(error)))
    except OSError as error:
        fail(str(error))


def _discard_output() -> None:
    """Send what is still buffered nowhere, or the interpreter would complain of the pipe when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
