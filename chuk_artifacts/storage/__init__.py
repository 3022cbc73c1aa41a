"""Where bytes live: the contract of a backend. What implements it never hears of artifacts, only of keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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


@attrs.frozen
class Description:
    """What an object says of itself, beside its bytes, where a backend can keep that.

    Attributes:
        mime: its media type.
        details: more by name, in any characters, what matters most first: where there is too much, the end is cut.

    """

    mime: str
    details: Mapping[str, str]


About = Callable[[str], Description]
"""Returns the description of an object, given the SHA-256 of its bytes, or an empty text where that is not known."""


class Storage(Protocol):
    """What every backend does. Any method but ``close`` raises ``ProviderError`` when the backend fails.

    Attributes:
        provider: the name by which a user chooses this backend.
        blocks: whether a call may wait for a disk or a network.
        parallel: how many calls are worth running side by side.
        distant: whether a read waits for a network, so that short ones too are worth running side by side.
        guards: whether an exclusive put costs no more than another, so that it is worth it for a fresh key too.
        claims: whether of several exclusive puts at once one succeeds. Where that is not so, a key must be fresh.

    """

    provider: str
    blocks: bool
    parallel: int
    distant: bool
    guards: bool
    claims: bool

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Write *data*, whole or not at all, and return its length and SHA-256.

        What the stream raises passes through. An *exclusive* put raises ``ObjectExistsError`` instead of replacing.
        A backend whose objects describe themselves calls *about*.
        """
        ...

    def get(self, key: str) -> bytes:
        """Return all bytes, or raise ``ObjectMissingError``."""
        ...

    def open(self, key: str, size: int, *, start: int = 0) -> BinaryIO:
        """Return a seekable reader that fetches what is read, or raise ``ObjectMissingError``.

        It stands at *start*, and knows the true length; *size* is the one to expect.
        """
        ...

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing would tell of one key, or None when there are no bytes."""
        ...

    def copy(
        self,
        source: str,
        target: str,
        size: int,
        *,
        exclusive: bool = False,
        hashed: bool = False,
        about: About | None = None,
    ) -> str | None:
        """Copy *size* bytes inside the backend, or raise ``ObjectMissingError``.

        *exclusive* and *about* are as with ``put``. Return the SHA-256 of the copy, if it is asked for (*hashed*) and
        the backend tells it.
        """
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the bytes of *keys*; a missing one is no error."""
        ...

    def sign_get(self, key: str, *, expires: int, filename: str | None, mime: str) -> str | None:
        """Return a URL that downloads for *expires* seconds, with a name and a type, or None where it can't."""
        ...

    def sign_put(self, key: str, *, expires: int, mime: str | None) -> str | None:
        """Return a URL that takes an HTTP PUT for *expires* seconds, or None where it can't.

        With *mime* the upload must have that ``Content-Type``.
        """
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

    def create(self) -> None:
        """Make the place where the bytes go, unless it is there; nothing else does, where it costs something."""
        ...

    def close(self) -> None:
        """Give back what is held; harmless the second time."""
        ...


def open_storage(settings: Settings) -> Storage:
    """Return the backend that *settings* name. Its module, and the driver with it, is imported here and not before."""
    if settings.storage_provider == MEMORY:
        from chuk_artifacts.storage.memory import MemoryStorage  # noqa: PLC0415

        return MemoryStorage()
    if settings.bucket is not None:
        from chuk_artifacts.storage.bucket import BucketStorage  # noqa: PLC0415

        return BucketStorage(settings)
    if settings.url is not None:
        from chuk_artifacts.storage.url import UrlStorage  # noqa: PLC0415

        return UrlStorage(settings)
    from chuk_artifacts.storage.local import LocalStorage  # noqa: PLC0415

    return LocalStorage(str(settings.fs_root), fsync=settings.fsync)
