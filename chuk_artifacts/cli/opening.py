"""The store that a command works on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from chuk_artifacts import ArtifactStore, InvalidInputError
from chuk_artifacts.cli.output import errors_in_one_line
from chuk_artifacts.settings import (
    FILESYSTEM,
    MEMORY,
    POSTGRES,
    REDIS,
    SQLITE,
    Settings,
    default_provider_of_commands,
    resolve,
)


@contextmanager
def opened(*, in_memory: bool = False, gateway_url: str | None = None) -> Iterator[ArtifactStore]:
    """Open the store that the environment configures, and print its errors in one line.

    Args:
        in_memory: whether bytes and records may be in memory, where the next command can't find them.
        gateway_url: see :class:`~chuk_artifacts.ArtifactStore`.

    Yields:
        the store.

    """
    provider = default_provider_of_commands()
    with errors_in_one_line():
        if not in_memory:
            _check_persistence(settings())
        with ArtifactStore(storage_provider=provider, gateway_url=gateway_url) as store:
            yield store


def settings() -> Settings:
    """Return the settings of the environment, with the default provider of commands."""
    return resolve(storage_provider=default_provider_of_commands(), now=time.time())


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
