"""The store that a command works on: the options that choose it, and how it is opened."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from chuk_artifacts import ArtifactStore, InvalidInputError
from chuk_artifacts.cli.output import errors_in_one_line
from chuk_artifacts.log import log
from chuk_artifacts.settings import (
    DEFAULT_SESSION_TTL_HOURS,
    FILESYSTEM,
    MEMORY,
    POSTGRES,
    REDIS,
    SQLITE,
    Settings,
    default_provider_of_commands,
    overridden,
    resolve,
)

_CHOSEN = "chuk_artifacts.cli.chosen"
STORE_OPTIONS = {
    "--root": ("ARTIFACT_FS_ROOT", "FOLDER", "The folder of the store; default: ARTIFACT_FS_ROOT, else ./artifacts."),
    "--provider": ("ARTIFACT_PROVIDER", "NAME", "Where files are: filesystem, s3, ibm_cos, or a URL."),
    "--session-provider": ("SESSION_PROVIDER", "NAME", "Where records are: sqlite, redis or postgres."),
    "--bucket": ("ARTIFACT_BUCKET", "NAME", "The bucket of s3 and ibm_cos."),
    "--sandbox": ("ARTIFACT_SANDBOX_ID", "NAME", "The namespace in the store."),
}
"""The options that choose a store: for each the variable that it overrides, its value and its help."""


def add_store_options(command: click.Command) -> click.Command:
    """Add the options that choose a store, and ``-v`` unless the command has one of its own."""
    command.params += [
        click.Option([name], metavar=metavar, help=text, expose_value=False, callback=_choose(variable))
        for name, (variable, metavar, text) in STORE_OPTIONS.items()
    ]
    if not any("-v" in parameter.opts for parameter in command.params):
        names = ["-v", "--verbose"]
        text = "Print log lines on the standard error."
        command.params.append(click.Option(names, is_flag=True, help=text, expose_value=False, callback=_log_lines))
    return command


def _choose(variable: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def choose(context: click.Context, _option: click.Parameter, value: str | None) -> None:
        if value is None:
            return
        chosen(context)[variable] = value
        if not context.resilient_parsing:
            context.with_resource(overridden({variable: value}))

    return choose


def chosen(context: click.Context) -> dict[str, str]:
    """Return the variables that options override, with their values."""
    variables: dict[str, str] = context.meta.setdefault(_CHOSEN, {})
    return variables


def _log_lines(context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - of click
    if not value or context.resilient_parsing:
        return
    context.with_resource(log.shown(sys.stderr))


@contextmanager
def opened(
    *,
    in_memory: bool = False,
    must_exist: bool = False,
    new_catalog: bool = False,
    gateway_url: str | None = None,
    endless_sessions: bool = False,
) -> Iterator[ArtifactStore]:
    """Open the store as :func:`open_store` does, and print its errors in one line."""
    with (
        errors_in_one_line(),
        open_store(
            in_memory=in_memory,
            must_exist=must_exist,
            new_catalog=new_catalog,
            gateway_url=gateway_url,
            endless_sessions=endless_sessions,
        ) as store,
    ):
        yield store


@contextmanager
def open_store(
    *,
    in_memory: bool = False,
    must_exist: bool = False,
    new_catalog: bool = False,
    gateway_url: str | None = None,
    endless_sessions: bool = False,
) -> Iterator[ArtifactStore]:
    """Open the store that options and the environment configure.

    Args:
        in_memory: whether bytes and records may be in memory, where the next command can't find them.
        must_exist: whether to fail, and create nothing, where there is no store yet.
        new_catalog: with *must_exist*: whether a catalog that does not exist yet is no reason to fail.
        gateway_url: see :class:`~chuk_artifacts.ArtifactStore`.
        endless_sessions: whether new sessions never expire, whatever the environment configures.

    Yields:
        the store.

    Raises:
        InvalidInputError: the settings are invalid, or there is no store yet.

    """
    arguments: dict[str, Any] = {
        "storage_provider": default_provider_of_commands(),
        "gateway_url": gateway_url,
        "session_ttl_hours": None if endless_sessions else DEFAULT_SESSION_TTL_HOURS,
    }
    found = settings()
    if not in_memory:
        _check_persistence(found)
    missing = missing_part(found, new_catalog=new_catalog) if must_exist else None
    if missing is not None:
        raise InvalidInputError(no_store(missing))
    with ArtifactStore(**arguments) as store:
        yield store


def no_store(place: str) -> str:
    """Return the message for a folder or database that does not exist."""
    return f"no store at {place!r}: put a file there, or name another folder (--root, ARTIFACT_FS_ROOT)"


def settings() -> Settings:
    """Return the settings of options and environment, with the default provider of commands."""
    found = resolve(storage_provider=default_provider_of_commands(), now=time.time())
    context = click.get_current_context(silent=True)
    if context is not None:
        _check_use(chosen(context), found)
    return found


def missing_part(settings: Settings, *, new_catalog: bool = False) -> str | None:
    """Return the path of the root folder, or of the database, that does not exist yet; None if there is a store.

    Args:
        settings: the settings of the store.
        new_catalog: whether the database need not exist.

    """
    if settings.fs_root is not None and not os.path.isdir(settings.fs_root):
        return settings.fs_root
    if not new_catalog and settings.sqlite_path is not None and not os.path.exists(settings.sqlite_path):
        folder = settings.fs_root
        is_usual = folder is not None and os.path.dirname(settings.sqlite_path) == folder
        return folder if is_usual else settings.sqlite_path
    return None


def _check_use(variables: dict[str, str], settings: Settings) -> None:
    """Refuse options that another setting makes meaningless: a URL names its folder or bucket itself."""
    root, bucket = variables.get("ARTIFACT_FS_ROOT"), variables.get("ARTIFACT_BUCKET")
    if root is not None:
        folder = os.path.realpath(os.path.expanduser(root))
        database = settings.sqlite_path
        is_used = settings.fs_root == folder or (database is not None and os.path.dirname(database) == folder)
        if not is_used:
            raise InvalidInputError(
                f"--root {root!r} is not used by the provider {settings.storage_provider!r}: add --provider filesystem"
            )
    if bucket is not None and (settings.bucket is None or settings.bucket.name != bucket):
        raise InvalidInputError(
            f"--bucket {bucket!r} is not used by the provider {settings.location or settings.storage_provider!r}:"
            " add --provider s3"
        )


def _check_persistence(settings: Settings) -> None:
    """Refuse providers that lose what they hold when the command ends."""
    if settings.session_provider == MEMORY:
        raise InvalidInputError(
            "the records would be in memory, where the next command can't find them:"
            f" set SESSION_PROVIDER to {SQLITE}, {REDIS} or {POSTGRES}"
        )
    if settings.storage_provider == MEMORY:
        raise InvalidInputError(
            f"the files would be in memory, and end with this command: set ARTIFACT_PROVIDER to {FILESYSTEM} or another"
        )
