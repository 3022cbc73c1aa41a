"""Where bytes live: the contract of a backend. What implements it never hears of artifacts, only of keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Protocol

import attrs

from chuk_artifacts.errors import ProviderError
from chuk_artifacts.settings import MEMORY, Settings
from chuk_artifacts.source import Stream
from chuk_artifacts.storage.description import About as About
from chuk_artifacts.storage.description import Description as Description


class ObjectMissingError(ProviderError):
    """There are no bytes under the key. Internal: callers of the library get an error that says what that means."""

    key: str | None

    def __init__(self, key: str) -> None:
        """Keep the key, and say what it lacks."""
        super().__init__(f"there are no bytes under the key {key!r}")
        self.key = key

    def __reduce__(self) -> tuple[type[ObjectMissingError], tuple[str | None]]:
        """Pickle as the key."""
        return type(self), (self.key,)


class ObjectExistsError(ProviderError):
    """There are bytes under the key already, and the put was exclusive. Internal, as above."""

    key: str | None

    def __init__(self, key: str) -> None:
        """Keep the key, and say what is in the way."""
        super().__init__(f"there are bytes under the key {key!r} already")
        self.key = key

    def __reduce__(self) -> tuple[type[ObjectExistsError], tuple[str | None]]:
        """Pickle as the key."""
        return type(self), (self.key,)


class ObjectChangedError(ProviderError):
    """The bytes to copy are not as many as expected: they were cut, or replaced meanwhile. Internal, as above."""

    key: str | None

    def __init__(self, key: str, size: int, expected: int) -> None:
        """Say what differs."""
        super().__init__(f"there are {size} bytes under the key {key!r}, not {expected}")
        self.key = key

    def __reduce__(self) -> tuple[type[ProviderError], tuple[str]]:
        """Pickle as what callers get."""
        return ProviderError, (str(self),)


@attrs.frozen
class StoredObject:
    """One entry of a listing.

    Attributes:
        key: its key.
        bytes: its length in bytes.
        modified: when it was written, in seconds since the epoch.
        carries: the names of what it carries beside that which ``put`` leaves without a description: metadata, tags,
            headers. Only ``stat`` of a backend whose objects can carry such things says it.

    """

    key: str
    bytes: int
    modified: float
    carries: tuple[str, ...] = ()


class Storage(Protocol):
    """What every backend does. Any method but ``close`` raises ``ProviderError`` when the backend fails.

    Attributes:
        provider: the name that selects this backend.
        blocks: whether a call may wait for a disk or a network.
        parallel: how many calls are worth running side by side.
        remote: whether a read waits for a network, so that even short ones are worth running in parallel.
        conditional_put: whether a put that refuses to replace costs no more than a plain one.
        persistent: whether the bytes outlive the storage object, so that another store may find them.
        connected: whether it holds connections or files now, which ``close`` gives back.

    """

    provider: str
    blocks: bool
    parallel: int
    remote: bool
    conditional_put: bool
    persistent: bool

    @property
    def connected(self) -> bool: ...  # noqa: D102 - see above

    def put(
        self, key: str, data: bytes | Stream, *, exclusive: bool = False, about: About | None = None
    ) -> tuple[int, str]:
        """Write *data*, whole or not at all, and return its length and SHA-256.

        What the stream raises passes through. An *exclusive* put raises ``ObjectExistsError`` instead of replacing,
        where the backend can do so atomically; elsewhere it replaces. It is a second line of defence only: each write
        goes to a key that no other writer can have. A backend whose objects describe themselves calls *about*.
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

    def path(self, key: str) -> str | None:
        """Return the absolute path of a local file with the bytes, for a program that opens it by that.

        None: there is no such file, or another user could exchange it, or a folder above it, before it is opened.
        """
        ...

    def stat(self, key: str) -> StoredObject | None:
        """Return what a listing contains for one key, or None when it holds no bytes."""
        ...

    def description(self, key: str) -> Description | None:
        """Return what the bytes under a key say of themselves; None if that is nothing, or if they are missing.

        Raise ``ValueError`` if it can't be decoded.
        """
        ...

    def grantees(self, key: str) -> tuple[str, ...]:
        """Return who can read an object beside its owner; most backends return an empty tuple."""
        ...

    def copy(
        self,
        source: str,
        target: str,
        size: int,
        *,
        hashed: bool = False,
        about: About | None = None,
    ) -> str | None:
        """Copy *size* bytes inside the backend, or raise ``ObjectMissingError``.

        *about* is as with ``put``; with it nothing but the bytes is copied. Return the SHA-256 of the copy, if it is
        asked for (*hashed*) and the backend knows it without reading the bytes. Where *size* is not the true
        length and the backend can see that without another request, raise ``ObjectChangedError`` and leave no copy.
        """
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Remove the bytes of *keys*; a missing one is no error."""
        ...

    def sign_get(self, key: str, *, expires: int, filename: str | None, mime: str) -> str | None:
        """Return a URL that downloads for *expires* seconds, with a name and a type, or None where it can't."""
        ...

    def sign_put(self, key: str, *, expires: int, mime: str | None) -> str | None:
        """Return a URL that takes an HTTP PUT for *expires* seconds, or None where it can't, or can't safely.

        With *mime* the upload must have that ``Content-Type``. The URL must allow nothing but to write these bytes.
        """
        ...

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Iterate over all finished objects whose keys begin with *prefix*, which ends with a slash.

        Keys of one folder that begin alike follow each other, where the service sorts its listings.
        """
        ...

    def now(self) -> float:
        """Return the present by the clock that ``StoredObject.modified`` is measured with, in seconds since the epoch.

        That is the clock of the service or of the file system, which may differ from the one of this machine.
        """
        ...

    def sweep(self, prefix: str, before: float, *, dry_run: bool = False) -> Iterator[StoredObject]:
        """Remove what unfinished writes under *prefix* left before a moment, and yield each; *dry_run* only yields."""
        ...

    def check(self, *, thorough: bool = False) -> dict[str, str]:
        """Return facts about a backend that can be reached and used, and in ``warning`` what may lose data.

        A *thorough* check finds out more by writing a few KiB, which it removes again: whether the disk has space, and
        whether the service keeps what this library relies on.
        """
        ...

    def create(self) -> str:
        """Make the folder or bucket of the bytes if it is missing, and return in a few words what was done.

        The first write makes what costs nothing; nothing else makes a bucket.
        """
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
