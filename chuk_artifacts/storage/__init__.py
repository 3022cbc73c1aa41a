"""Where bytes live: the contract of a backend. What implements it never hears of artifacts, only of keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Protocol

import attrs

from chuk_artifacts.settings import MEMORY, Settings
from chuk_artifacts.source import Stream


class ObjectMissingError(Exception):
    """There are no bytes under the key."""


class ObjectExistsError(Exception):
    """There are bytes under the key already, and the put was exclusive."""


@attrs.frozen
class StoredObject:
    """One entry of a listing.

    Attributes:
        key: its key.
        bytes: its length in bytes.
        modified: when it was written, in seconds since the epoch.

    """

    key: str
    bytes: int
    modified: float


class Storage(Protocol):
    """What every backend does. Any method but ``close`` raises ``ProviderError`` when the backend fails.

    Attributes:
        provider: the name by which a user chooses this backend.
        blocks: whether a call may wait for a disk or a network.
        parallel: how many calls are worth running side by side.

    """

    provider: str
    blocks: bool
    parallel: int

    def put(self, key: str, data: bytes | Stream, *, exclusive: bool = False) -> tuple[int, str]:
        """Write *data*, whole or not at all, and return its length and SHA-256.

        What the stream raises passes through. An *exclusive* put raises ``ObjectExistsError`` instead of replacing.
        """
        ...

    def get(self, key: str) -> bytes:
        """Return all bytes, or raise ``ObjectMissingError``."""
        ...

    def open(self, key: str) -> BinaryIO:
        """Return a seekable reader that fetches what is read, or raise ``ObjectMissingError``."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Copy bytes inside the backend, or raise ``ObjectMissingError``."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the bytes of *keys*; a missing one is no error."""
        ...

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Iterate over all finished objects whose keys begin with *prefix*, which ends with a slash."""
        ...

    def sweep(self, prefix: str, before: float) -> Iterator[StoredObject]:
        """Remove what unfinished writes under *prefix* left before a moment, and tell of each."""
        ...

    def check(self) -> None:
        """Return when the backend can be reached and used."""
        ...

    def close(self) -> None:
        """Give back what is held; harmless the second time."""
        ...


def open_storage(settings: Settings) -> Storage:
    """Return the backend that *settings* name. Its module, and the driver with it, is imported here and not before."""
    if settings.storage_provider == MEMORY:
        from chuk_artifacts.storage.memory import MemoryStorage  # noqa: PLC0415

        return MemoryStorage()
    from chuk_artifacts.storage.local import LocalStorage  # noqa: PLC0415

    return LocalStorage(str(settings.fs_root), fsync=settings.fsync)
